//! `/top`: what clients ask now.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::problem::Problem;
use crate::admin::{App, TopReport};
use crate::ledger::{Identity, blocking};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show))
}

/// Rates of the last ten seconds, and the names and clients that most queries are of.
///
/// They are counted from the first request on, and for a minute after the last: ask twice, a few seconds apart. It tells which
/// client asks for which name, so that a token must be an operator's without a scope.
#[utoipa::path(
    get, path = "/top", tag = "answers",
    responses((status = 200, description = "Rates, names and clients", body = TopReport)),
)]
async fn show(State(app): State<App>, who: Identity) -> Result<Json<TopReport>, Problem> {
    who.may_see_clients()?;
    Ok(Json(blocking(move || app.server.top()).await?))
}
