//! Probes: whether the process lives, and whether it is ready.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::App;
use crate::admin::problem::{Kind, Problem};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz))
}

/// A probe that passed.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    #[schema(example = "ok")]
    status: &'static str,
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

/// Whether questions are answered as they should be.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "probes",
    security(()),
    responses(
        (status = 200, description = "All parts are ready", body = Health),
        (
            status = 503, description = "Some are not; `not_ready` lists them", body = Problem,
            content_type = "application/problem+json"
        ),
    ),
)]
async fn readyz(State(app): State<App>) -> Response {
    let missing = app.server.ready();
    if missing.is_empty() {
        return Json(Health { status: "ok" }).into_response();
    }
    let parts: Vec<&str> = missing.iter().map(|it| it.part.as_str()).collect();
    let detail = format!("not ready yet: {}", parts.join(", "));
    Problem::new(Kind::NotReady, detail).with("not_ready", json!(missing)).into_response()
}
