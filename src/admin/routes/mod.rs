//! The routes: one file a resource.
//!
//! A resource is a function `routes() -> OpenApiRouter<App>` that is merged below: inside `api` it lies behind the
//! door (token, role by method, audit of refusals) and below `/api/v1`; spec and router are one list.

mod backup;
mod cache;
mod catalogue;
mod changes;
mod docs;
mod endpoints;
mod events;
mod explain;
mod forwarders;
mod import_export;
mod limits;
mod named;
mod networks;
mod openapi;
mod owned;
mod posted;
pub(super) mod probes;
mod record_sets;
mod statuses;
mod sync;
mod tokens;
mod top;
mod whoami;
mod zones;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use utoipa_axum::router::OpenApiRouter;

use self::owned::Owned;
use super::App;
use super::auth::authenticate;
use super::shell::{Shell, no_such_route, shell};
use crate::ledger::Ledger;

/// All routes with all that lies around them.
pub(super) fn router(app: App, around: Arc<Shell>, more: OpenApiRouter<App>) -> Router {
    let api = OpenApiRouter::new().merge(whoami::routes()).merge(known()).merge(more).fallback(no_such_route);
    let api = api.layer(from_fn_with_state(app.clone(), authenticate));
    let (router, spec) = OpenApiRouter::with_openapi(openapi::description())
        .merge(probes::routes(app.probes.clone()))
        .merge(events::routes())
        .merge(openapi::routes())
        .nest("/api/v1", api)
        .fallback(no_such_route)
        .split_for_parts();
    let document = openapi::Document::of(spec);
    let router =
        router.layer(from_fn(move |request, next| openapi::with_document(document.clone(), request, next)));
    router
        // The shell has the bound.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(around, shell))
        .with_state(app)
}

/// The routes of what the running server knows: endpoints, sync, networks, catalogue, answers, cache.
fn known() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(endpoints::routes())
        .merge(sync::routes())
        .merge(networks::routes())
        .merge(limits::routes())
        .merge(top::routes())
        .merge(catalogue::routes())
        .merge(explain::routes())
        .merge(cache::routes())
        .merge(backup::routes())
}

/// The routes of what operators own: zones, record sets, changes, forwarders, tokens.
pub(super) fn of_ledger(ledger: Arc<Ledger>) -> OpenApiRouter<App> {
    let routes = OpenApiRouter::new()
        .merge(zones::routes())
        .merge(record_sets::routes())
        .merge(import_export::routes())
        .merge(changes::routes())
        .merge(forwarders::routes())
        .merge(tokens::routes());
    routes.with_state(Owned::new(ledger))
}
