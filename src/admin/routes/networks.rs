//! `/networks`: by what clients' addresses are told apart.

use axum::extract::{OriginalUri, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::App;
use crate::admin::page::{After, Limit, Page, filter_id};
use crate::admin::problem::Problem;
use crate::admin::query::Query;
use crate::zone::Network;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A network of clients, the counterpart of a virtual network link.
#[derive(Debug, Serialize, ToSchema)]
struct NetworkView {
    #[schema(example = "hub-westeurope")]
    name: String,
    /// The longest range that holds a client's address decides.
    #[schema(example = json!(["10.10.0.0/16"]))]
    clients: Vec<String>,
    /// ARM ids in lower case: their endpoints go before others for these clients.
    virtual_networks: Vec<String>,
}

/// Which networks are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct NetworksQuery {
    /// Items of a page, 1 to 1000.
    #[param(value_type = Option<u16>, example = 100)]
    limit: Option<Limit>,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<After>,
}

impl NetworkView {
    fn of(network: &Network) -> NetworkView {
        NetworkView {
            name: network.name.to_string(),
            clients: network.clients.iter().map(ToString::to_string).collect(),
            virtual_networks: network.virtual_networks.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The networks of config, in the order of their names.
///
/// The network of a client is the one whose range is the longest that has its address.
#[utoipa::path(
    get, path = "/networks", tag = "networks", params(NetworksQuery),
    responses((status = 200, description = "A page of networks", body = Page<NetworkView>)),
)]
async fn list(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<NetworksQuery>,
) -> Result<Response, Problem> {
    let filter = filter_id(&[Some("networks")]);
    let after = query.after.as_ref().map(|after| {
        after.key(filter).ok_or_else(|| Problem::invalid("after", "this token is of another list"))
    });
    let (after, limit) = (after.transpose()?, query.limit.unwrap_or_default());
    let snapshot = app.server.store().snapshot();
    let mut networks: Vec<&Network> = snapshot.networks().iter().map(|(_, network)| network).collect();
    networks.retain(|network| after.is_none_or(|after| *network.name > *after));
    networks.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let items = networks.into_iter().take(limit.with_one_more()).map(NetworkView::of).collect();
    Ok(Page::of(items, limit, filter, |view: &NetworkView| view.name.clone()).answer(&uri))
}
