//! What monitors ask without a token: whether the process lives, whether clients are to be sent to it, and all numbers.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::listener::Peer;
use crate::admin::probes::Probes;
use crate::admin::problem::{Kind, Problem};
use crate::admin::{Degraded, Readiness};
use crate::telemetry::{Audience, Format};

pub(in crate::admin) fn routes<S: Clone + Send + Sync + 'static>(probes: Probes) -> OpenApiRouter<S> {
    let routes = OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz)).routes(routes!(metrics));
    routes.with_state(probes)
}

/// A probe that passed.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Clients may be sent here.
#[derive(Debug, Serialize, ToSchema)]
struct Ready {
    /// `ok`, or `degraded`.
    #[schema(example = "degraded")]
    status: &'static str,
    /// What is not as it should be, while all that is known is served.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<Degraded>,
}

/// Whether the process lives.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "probes",
    security(()),
    responses((status = 200, description = "It answers", body = Health)),
)]
async fn livez() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether clients are to be sent here. A source, store or upstream that fails sends nobody elsewhere: `reasons` lists it.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "probes",
    security(()),
    responses(
        (status = 200, description = "Sockets and zones are there", body = Ready),
        (
            status = 503, description = "They are not, or the server was told to stop; `not_ready` says which", body = Problem,
            content_type = "application/problem+json"
        ),
    ),
)]
async fn readyz(State(probes): State<Probes>) -> Response {
    let Readiness { not_ready, degraded } = probes.server.readiness();
    if not_ready.is_empty() {
        let status = if degraded.is_empty() { "ok" } else { "degraded" };
        return Json(Ready { status, reasons: degraded }).into_response();
    }
    let parts: Vec<&str> = not_ready.iter().map(|it| it.part.as_str()).collect();
    let detail = format!("not ready: {}", parts.join(", "));
    Problem::new(Kind::NotReady, detail).with("not_ready", json!(not_ready)).into_response()
}

/// All numbers, in the format that `Accept` prefers. Names of zones are for who has a token, or for all by
/// `telemetry.zone_names`.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "probes",
    security((), ("bearer" = [])),
    responses(
        (
            status = 200, description = "Counters, gauges and histograms", content(
                (String = "text/plain"),
                (String = "application/openmetrics-text"),
                (Vec<u8> = "application/vnd.google.protobuf"),
            )
        ),
        (
            status = 401, description = "A token was sent, and it is not right", body = Problem,
            content_type = "application/problem+json"
        ),
    ),
)]
async fn metrics(State(probes): State<Probes>, request: Request) -> Result<Response, Problem> {
    let format = Format::accepted(accepted(request.headers()).as_deref());
    let audience = match (&probes.auth, request.extensions().get::<Peer>()) {
        (Some(auth), Some(peer)) if request.headers().contains_key(AUTHORIZATION) => {
            auth.identify(request.headers(), peer).await?;
            Audience::Readers
        }
        _ => Audience::Anyone,
    };
    let page = probes.numbers.page(format, audience).await;
    let headers =
        [(CONTENT_TYPE, format.media_type()), (CACHE_CONTROL, "no-store"), (VARY, "accept, authorization")];
    Ok((headers, axum::body::Bytes::from_owner(page)).into_response())
}

/// All lines of `Accept` as one.
fn accepted(headers: &HeaderMap) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}
