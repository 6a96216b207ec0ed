//! One connection: handshake, requests with bounds, and its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

use super::activity::{Activity, Received, Watched};
use crate::admin::auth::ClientCertificate;
use crate::admin::counters::Counters;
use crate::admin::settings::Limits;
use crate::admin::shell::Shell;
use crate::tls::Server;

/// How often a connection is looked at.
const TICK: Duration = Duration::from_millis(500);

/// The least buffer that hyper takes.
const HEAD_BYTES_MIN: usize = 8192;

/// Who is at the other end of the connection that a request came over.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// A client certificate that was verified.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// What connections have in common.
pub(super) struct Connections {
    pub(super) router: Router,
    pub(super) tls: Option<Arc<Server>>,
    pub(super) shell: Arc<Shell>,
    /// Requests may end, new ones are not taken.
    pub(super) closing: CancellationToken,
    /// All is over.
    pub(super) ended: CancellationToken,
}

impl Connections {
    /// Serves a connection to its end.
    pub(super) async fn serve(&self, stream: TcpStream, address: SocketAddr) {
        let _open = Counters::opened(&self.shell.counters);
        // Answers are small and whole.
        let _ = stream.set_nodelay(true);
        let limits = self.shell.limits.load_full();
        let Some(tls) = &self.tls else {
            return self.talk(stream, Peer { address, certificate: None }, &limits).await;
        };
        let handshake = TlsAcceptor::from(tls.config()).accept(stream);
        let handshake = self.closing.run_until_cancelled(tokio::time::timeout(limits.head, handshake)).await;
        let Some(Ok(Ok(stream))) = handshake else {
            self.shell.counters.doors.failed_handshakes.add(1);
            if let Some(Ok(Err(error))) = handshake {
                debug!(client = %address, %error, "A TLS handshake failed");
            }
            return;
        };
        let chain = stream.get_ref().1.peer_certificates();
        let certificate = chain.and_then(|chain| ClientCertificate::read(chain.first()?)).map(Arc::new);
        self.talk(stream, Peer { address, certificate }, &limits).await;
    }

    async fn talk<S>(&self, stream: S, peer: Peer, limits: &Limits)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Activity::new();
        let (router, own) = (self.router.clone(), activity.clone());
        let client = peer.address;
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (router, exchange) = (router.clone(), own.begin());
            let (version, connection) = (request.version(), own.clone());
            let mut request = request.map(|body| Body::new(Received::new(body, own.clone())));
            request.extensions_mut().insert(peer.clone());
            async move {
                let mut response = router.oneshot(request).await?;
                // Unless it is told, a client sends its next request into the end of the connection (RFC 9112 §9.6).
                if version <= Version::HTTP_11 && connection.is_cut() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| exchange.answer(body)))
            }
        });
        let stream = TokioIo::new(Watched::new(stream, activity.clone()));
        let connection = builder(limits).serve_connection(stream, service).into_owned();
        let mut connection = std::pin::pin!(connection);
        let mut tick = tokio::time::interval(TICK);
        let mut is_closing = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        debug!(%client, %error, "A connection ended early");
                    }
                    return;
                }
                () = self.closing.cancelled(), if !is_closing => {
                    is_closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.ended.cancelled() => return,
                now = tick.tick() => {
                    if activity.is_over(limits, now) {
                        debug!(%client, "A connection that did nothing was closed");
                        return;
                    }
                }
            }
        }
    }
}

/// HTTP with the bounds of the settings.
fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let head_bytes = limits.head_bytes.max(HEAD_BYTES_MIN);
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // It also bounds the wait between requests: whoever has none for so long connects again.
        .header_read_timeout(limits.head.min(limits.idle))
        .max_headers(limits.header_fields)
        .max_buf_size(head_bytes)
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        // CVE-2023-44487 and CVE-2025-8671: streams that either side resets before they are handled.
        .max_pending_accept_reset_streams(limits.resets)
        .max_local_error_reset_streams(limits.resets)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX));
    builder
}
