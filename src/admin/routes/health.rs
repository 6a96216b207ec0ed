//! Probes: whether the process lives, and whether clients are to be sent to it.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::problem::{Kind, Problem};
use crate::admin::{App, Degraded, Readiness};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz))
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
async fn readyz(State(app): State<App>) -> Response {
    let Readiness { not_ready, degraded } = app.server.readiness();
    if not_ready.is_empty() {
        let status = if degraded.is_empty() { "ok" } else { "degraded" };
        return Json(Ready { status, reasons: degraded }).into_response();
    }
    let parts: Vec<&str> = not_ready.iter().map(|it| it.part.as_str()).collect();
    let detail = format!("not ready: {}", parts.join(", "));
    Problem::new(Kind::NotReady, detail).with("not_ready", json!(not_ready)).into_response()
}
