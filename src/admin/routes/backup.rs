//! `/backup`: the store and the last good state in one file.

use std::fs::File;
use std::io::{self, Read};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::mpsc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::auth::Deed;
use crate::admin::extract::Admin;
use crate::admin::listener::Peer;
use crate::admin::problem::{Kind, Problem};
use crate::admin::{App, RequestId};

/// Bytes that are read at once, and how many of these wait for a slow client.
const CHUNK_BYTES: usize = 64 << 10;
const CHUNKS_WAITING: usize = 4;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(backup))
}

/// A backup of the store and of the last good state, a gzipped tar.
///
/// `privatelink-dns restore` puts it back. It holds the hashes of tokens: only an admin of everything may take it. A store
/// of PostgreSQL is saved by `pg_dump`.
#[utoipa::path(
    get, path = "/backup", tag = "backup",
    responses((status = 200, description = "The backup", body = Vec<u8>, content_type = "application/gzip")),
)]
async fn backup(
    State(app): State<App>,
    Admin(who): Admin,
    Extension(request_id): Extension<RequestId>,
    Extension(peer): Extension<Peer>,
) -> Result<Response, Problem> {
    let file = app.server.backup().await.map_err(|why| Problem::new(Kind::Unavailable, why))?;
    let what = "took a backup".to_owned();
    let (client, request_id) = (peer.address.ip(), request_id.to_string());
    app.auth.note(Deed { who, client, request_id, what });
    let headers = [
        (CONTENT_TYPE, "application/gzip"),
        (CONTENT_DISPOSITION, "attachment; filename=\"privatelink-dns.tar.gz\""),
    ];
    Ok((headers, body_of(file)).into_response())
}

/// A file as a body, read on a thread that may block, as fast as the client takes it.
fn body_of(mut file: File) -> Body {
    let (chunks, mut waiting) = mpsc::channel::<io::Result<Bytes>>(CHUNKS_WAITING);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let read = match file.read(&mut chunk) {
                Ok(0) => return,
                Ok(count) => {
                    chunk.truncate(count);
                    Ok(Bytes::from(chunk))
                }
                Err(cause) => Err(cause),
            };
            let is_last = read.is_err();
            // A client that has gone away takes no more.
            if chunks.blocking_send(read).is_err() || is_last {
                return;
            }
        }
    });
    let frames = futures_util::stream::poll_fn(move |context| waiting.poll_recv(context));
    Body::new(StreamBody::new(futures_util::StreamExt::map(frames, |chunk| chunk.map(Frame::data))))
}
