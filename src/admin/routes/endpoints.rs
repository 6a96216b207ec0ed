//! `/endpoints`: private endpoints as they were last listed, and what became of their names.

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::page::{After, Limit, Page, filter_id};
use crate::admin::problem::Problem;
use crate::admin::query::Query;
use crate::admin::{App, EndpointReport, Extent, WantedEndpoints};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Which endpoints are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct EndpointsQuery {
    /// A private or public name, or the endpoint's name or id; `*` stands for any run of characters.
    #[param(example = "*.database.windows.net")]
    name: Option<String>,
    /// Azure's word for the connection, or `unknown`.
    #[param(example = "Pending")]
    state: Option<String>,
    /// The id of a subscription.
    #[param(example = "00000000-0000-4000-8000-0000000000a1")]
    subscription: Option<String>,
    /// The source that lists it.
    #[param(example = "azure")]
    source: Option<String>,
    /// How much of it is published.
    published: Option<Extent>,
    /// Items of a page, 1 to 1000.
    #[param(value_type = Option<u16>, example = 100)]
    limit: Option<Limit>,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<After>,
}

/// Private endpoints, in the order of their ids.
///
/// As their sources have last listed them: with the names they claim, what is published of them, and `why_not` for the rest.
#[utoipa::path(
    get, path = "/endpoints", tag = "sync", params(EndpointsQuery),
    responses((status = 200, description = "A page of endpoints", body = Page<EndpointReport>)),
)]
async fn list(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<EndpointsQuery>,
) -> Result<Response, Problem> {
    let EndpointsQuery { name, state, subscription, source, published, limit, after } = query;
    let extent = published.map(|published| format!("{published:?}"));
    let filter = [&name, &state, &subscription, &source, &extent].map(Option::as_deref);
    let filter = filter_id(&[&[Some("endpoints")], &filter[..]].concat());
    let after = after.map(|after| match after.key(filter) {
        Some(key) => Ok(key.to_owned()),
        None => Err(Problem::invalid("after", "this token is of another list")),
    });
    let limit = limit.unwrap_or_default();
    let wanted = WantedEndpoints {
        name,
        state,
        subscription,
        source,
        published,
        after: after.transpose()?,
        limit: limit.with_one_more(),
    };
    let server = Arc::clone(&app.server);
    let items = app.side.scan(move || server.endpoints(&wanted)).await?;
    Ok(Page::of(items, limit, filter, EndpointReport::key).answer(&uri))
}
