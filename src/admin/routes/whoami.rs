//! Who the server takes a client for.

use axum::Json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::App;
use crate::ledger::Identity;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(whoami))
}

/// Who you are, and what you may do.
///
/// By token, client certificate or Entra ID.
#[utoipa::path(
    get,
    path = "/whoami",
    tag = "server",
    responses((status = 200, description = "As the server sees you", body = Identity)),
)]
async fn whoami(identity: Identity) -> Json<Identity> {
    Json(identity)
}
