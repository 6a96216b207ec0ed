//! `/catalogue`: what is known of a name, whatever is served.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::named::name_of;
use crate::admin::App;
use crate::admin::problem::Problem;
use crate::admin::query::Query;
use crate::privatelink::{Description, Kind, Placement, Service, Status};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(describe))
}

/// Which name is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct CatalogueQuery {
    /// A public or private name, a zone, or a public suffix.
    #[param(example = "contoso.vault.azure.net")]
    name: String,
}

/// What the catalogue knows of a name.
#[derive(Debug, Serialize, ToSchema)]
struct DescriptionView {
    #[schema(example = "contoso.vault.azure.net.")]
    name: String,
    #[schema(example = "public")]
    cloud: &'static str,
    kind: KindOfName,
    /// The zone that looks most like a name that is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<String>,
    /// Where the name is served, the likeliest first.
    places: Vec<PlaceView>,
    /// The names that clients use for it.
    #[schema(example = json!(["contoso.vault.azure.net."]))]
    public_names: Vec<String>,
    /// The services that know it, the best first.
    services: Vec<ServiceView>,
}

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum KindOfName {
    /// The apex of a private zone.
    Zone,
    /// A name in a private zone.
    Private,
    /// A name that leads into a private zone.
    Public,
    /// A public suffix, or a name below it that has no record of its own.
    Suffix,
    Unknown,
}

/// Where a name is served.
#[derive(Debug, Serialize, ToSchema)]
struct PlaceView {
    #[schema(example = "privatelink.vaultcore.azure.net.")]
    zone: String,
    /// Relative to the zone.
    #[schema(example = "contoso")]
    record: String,
    #[schema(example = "contoso.privatelink.vaultcore.azure.net.")]
    fqdn: String,
}

/// A service of Azure.
#[derive(Debug, Serialize, ToSchema)]
struct ServiceView {
    #[schema(example = "Azure Key Vault")]
    name: String,
    #[schema(example = "Microsoft.KeyVault/vaults")]
    resource_type: String,
    #[schema(example = json!(["vault"]))]
    group_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "privatelink.vaultcore.azure.net")]
    zone: Option<String>,
    #[schema(example = json!(["vault.azure.net"]))]
    public_suffixes: Vec<String>,
    #[schema(example = "current")]
    status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

impl DescriptionView {
    fn of(description: Description) -> DescriptionView {
        let Description { name, cloud, kind, places, public_names, services } = description;
        let (kind, nearest) = match kind {
            Kind::Zone => (KindOfName::Zone, None),
            Kind::Private => (KindOfName::Private, None),
            Kind::Public => (KindOfName::Public, None),
            Kind::Suffix => (KindOfName::Suffix, None),
            Kind::Unknown { nearest } => (KindOfName::Unknown, nearest),
        };
        DescriptionView {
            name: name.to_string(),
            cloud: cloud.as_str(),
            kind,
            nearest,
            places: places.iter().map(PlaceView::of).collect(),
            public_names: public_names.iter().map(ToString::to_string).collect(),
            services: services.into_iter().map(ServiceView::of).collect(),
        }
    }
}

impl PlaceView {
    fn of(place: &Placement) -> PlaceView {
        PlaceView {
            zone: place.zone.to_string(),
            record: place.record.borrow().relative_to(place.zone.borrow()),
            fqdn: place.record.to_string(),
        }
    }
}

impl ServiceView {
    fn of(service: Service) -> ServiceView {
        ServiceView {
            zone: service.zone.as_ref().map(ToString::to_string),
            public_suffixes: service.public_suffixes.iter().map(ToString::to_string).collect(),
            status: match service.status {
                Status::Current => "current",
                Status::Variant => "variant",
                Status::Older => "older",
                Status::None => "none",
                Status::Unknown => "unknown",
            },
            name: service.name,
            resource_type: service.resource_type,
            group_ids: service.group_ids,
            note: service.note,
        }
    }
}

/// Which private zone and record a name leads to, or which public names lead to a private one.
///
/// By what is known of Azure's services alone: nothing is asked.
#[utoipa::path(
    get, path = "/catalogue", tag = "catalogue", params(CatalogueQuery),
    responses((status = 200, description = "What is known of it", body = DescriptionView)),
)]
async fn describe(
    State(app): State<App>,
    Query(query): Query<CatalogueQuery>,
) -> Result<Json<DescriptionView>, Problem> {
    let name = name_of(&query.name)?;
    Ok(Json(DescriptionView::of(app.server.catalogue().describe(name.borrow()))))
}
