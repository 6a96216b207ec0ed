//! `/limits`: client networks that met one.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::{App, LimitMetReport};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// What limits were met.
#[derive(Debug, Serialize, ToSchema)]
struct LimitsView {
    /// Those of the last day, the heaviest first; 64 at most.
    met: Vec<LimitMetReport>,
}

/// Client networks that met a limit of the last day.
///
/// Queries of theirs that had to wait for an upstream were answered SERVFAIL. `limits.exempt` in the config names those that
/// stand for many clients.
#[utoipa::path(
    get, path = "/limits", tag = "networks",
    responses((status = 200, description = "Networks, the heaviest first", body = LimitsView)),
)]
async fn list(State(app): State<App>) -> Json<LimitsView> {
    Json(LimitsView { met: app.server.limits_met() })
}
