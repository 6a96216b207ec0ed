//! Listings of Azure Resource Manager: all pages or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;
use tokio::time::Instant;

use super::super::arm::{ArmId, Body, PrivateEndpoint, Resource};
use super::super::desired::is_undecided;
use super::super::inventory::{ConnectionState, Inventory, Warning};
use super::super::listing::Listings;
use super::super::private_dns::PrivateZone;
use super::super::scope::Scope;
use super::Azure;
use super::asking::{Pages, Question, TEXT_BYTES_MAX};
use super::error::AzureError;
use super::http::Patience;
use super::memory::has_long_text;
use super::settings::Subject;
use super::trust;
use crate::privatelink::Catalogue;

/// Time for one scope: 64 pages twice, and a wait or two.
const SCOPE_TIMEOUT: Duration = Duration::from_secs(600);

/// The longest that a subscription is left alone because it said so.
const REST_MAX: Duration = Duration::from_secs(3600);

/// Interfaces of a scope that are asked for one by one: those that lie in another resource group than their endpoint,
/// and those made while the lists were read. Both are rare.
const INTERFACES_ASKED_MAX: usize = 50;

/// Ids of resources.
pub(super) type Ids = Arc<[Arc<str>]>;

/// The endpoints of a scope.
#[derive(Clone)]
pub(super) struct Assembled {
    pub inventory: Arc<Inventory>,
    pub undecided: Ids,
}

/// The complete listing of a scope.
#[derive(Default)]
pub(super) struct Listed {
    pub inventory: Arc<Inventory>,
    /// Ids of endpoints of which only the zone groups can tell where their names belong.
    pub undecided: Ids,
    pub zones: Vec<Arc<PrivateZone>>,
    /// Zones that could not be read, by ARM id.
    pub unread: BTreeMap<Arc<str>, AzureError>,
}

impl Azure {
    /// What the source is about, of one scope.
    pub(super) async fn scope(self: &Arc<Self>, scope: &Scope) -> Result<Listed, AzureError> {
        self.check_rest(&scope.subscription)?;
        let listed = match self.settings.subject {
            Subject::Endpoints => {
                let listed = tokio::time::timeout(SCOPE_TIMEOUT, self.listings(scope)).await;
                listed.unwrap_or(Err(AzureError::Slow { max: SCOPE_TIMEOUT }))
            }
            // There each zone has its own time.
            Subject::PrivateZones => self.private_zones(scope).await,
        };
        if let Err(AzureError::Throttled { wait, .. }) = &listed {
            self.let_rest(&scope.subscription, *wait);
        }
        listed
    }

    /// Whether a subscription may be asked already.
    pub(super) fn check_rest(&self, subscription: &str) -> Result<(), AzureError> {
        let throttled = |wait| AzureError::Throttled { status: 429, code: "still".to_owned(), wait };
        self.rest_of(subscription).map_or(Ok(()), |wait| Err(throttled(wait)))
    }

    /// How long a subscription is still to be left alone.
    pub(super) fn rest_of(&self, subscription: &str) -> Option<Duration> {
        let until = self.resting.lock().get(subscription).copied();
        until?.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
    }

    pub(super) fn let_rest(&self, subscription: &Arc<str>, wait: Duration) {
        self.resting.lock().insert(Arc::clone(subscription), Instant::now() + wait.min(REST_MAX));
    }

    async fn listings(&self, scope: &Scope) -> Result<Listed, AzureError> {
        let (endpoints, interfaces) = tokio::try_join!(
            self.listing(scope, "privateEndpoints"),
            self.listing(scope, "networkInterfaces"),
        )?;
        let mut bodies = [endpoints, interfaces].concat();
        let pages = bodies.clone();
        for id in self.memory.apart(move || unlisted_interfaces(&pages)).await? {
            bodies.extend(self.interface(&id).await?.map(Arc::new));
        }
        let (catalogue, of) = (self.catalogue.clone(), scope.clone());
        let make = move |bodies: &[Arc<Body>]| assemble(&of, bodies, catalogue.as_deref());
        let Assembled { inventory, undecided } = self.memory.assembled(scope.key(), bodies, make).await?;
        Ok(Listed { inventory, undecided, ..Listed::default() })
    }

    /// All pages of one type.
    async fn listing(
        &self,
        scope: &Scope,
        resource_type: &'static str,
    ) -> Result<Vec<Arc<Body>>, AzureError> {
        let path = format!("{}/providers/Microsoft.Network/{resource_type}", scope.path());
        let mut pages = Pages::of(self.url(&path, &self.settings.api_version));
        let known = self.memory.pages(&path);
        let mut seen = Vec::new();
        while let Some(bytes) = self.next_page(&mut pages, Patience::of_listing(&self.settings)).await? {
            let (number, of, kind) = (pages.number(), Arc::clone(&scope.subscription), resource_type);
            let check = move |bytes: &[u8], body: &Body| trust::check_page(bytes, body, number, &of, kind);
            let page = self.memory.read(&known, bytes, number, check).await?;
            pages.follow(page.next_link.clone(), self)?;
            let is_endpoint = |it: &&Resource| matches!(it, Resource::PrivateEndpoint(_));
            self.progress.page(page.body.resources.iter().filter(is_endpoint).count());
            seen.push(page);
        }
        let bodies = seen.iter().map(|page| Arc::clone(&page.body)).collect();
        self.memory.keep(&path, seen);
        Ok(bodies)
    }

    /// One interface; `None` when it is not there, or no longer.
    async fn interface(&self, id: &ArmId) -> Result<Option<Body>, AzureError> {
        let url = self.url(id.as_str(), &self.settings.api_version);
        match self.ask(Question::Get(&url), Patience::of_listing(&self.settings)).await {
            Ok(answered) => {
                let body = read(&answered.body, 1)?;
                let is_it = matches!(&body.resources[..], [Resource::NetworkInterface(it)] if it.id == *id);
                if is_it { Ok(Some(body)) } else { Err(AzureError::Stranger { id: id.as_str().to_owned() }) }
            }
            Err(AzureError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What bodies that are all of a scope's come to.
pub(super) fn assemble(
    scope: &Scope,
    bodies: &[Arc<Body>],
    catalogue: Option<&Catalogue>,
) -> Result<Assembled, AzureError> {
    trust::check_once(bodies.iter().map(|body| &**body))?;
    let mut listings = Listings::default();
    for (number, body) in (1..).zip(bodies) {
        listings.add(format!("page {number}"), Arc::clone(body));
    }
    let inventory =
        listings.into_inventory().expect("no page is owed: links are taken out when they are followed");
    let mut endpoints = inventory.endpoints().iter();
    if let Some(endpoint) = endpoints.find(|endpoint| !scope.holds(&ArmId::new(&endpoint.id))) {
        return Err(AzureError::Stranger { id: endpoint.id.to_string() });
    }
    let twice = inventory.warnings().iter().find_map(|warning| match warning {
        Warning::Duplicate { id, .. } => Some(id.to_string()),
        _ => None,
    });
    if let Some(id) = twice {
        return Err(AzureError::Duplicate { id });
    }
    let undecided = catalogue.iter().flat_map(|catalogue| {
        let endpoints = inventory.endpoints().iter();
        endpoints.filter(|endpoint| is_undecided(endpoint, catalogue)).map(|it| Arc::clone(&it.id))
    });
    Ok(Assembled { undecided: undecided.collect(), inventory: Arc::new(inventory) })
}

pub(super) fn read(bytes: &[u8], page: usize) -> Result<Body, AzureError> {
    if has_long_text(bytes) {
        return Err(AzureError::LongText { page, max: TEXT_BYTES_MAX });
    }
    Body::read(bytes).map_err(|source| AzureError::Page { page, source })
}

/// Interfaces that no page lists, of endpoints whose names are not told without them.
fn unlisted_interfaces(bodies: &[Arc<Body>]) -> Vec<ArmId> {
    let resources = || bodies.iter().flat_map(|body| &body.resources);
    let listed: HashSet<&ArmId> = resources()
        .filter_map(|resource| match resource {
            Resource::NetworkInterface(it) => Some(&it.id),
            _ => None,
        })
        .collect();
    let named = resources().flat_map(|resource| match resource {
        Resource::PrivateEndpoint(it) if it.custom_dns.is_empty() && is_approved(it) => {
            it.network_interfaces.as_slice()
        }
        _ => &[],
    });
    let is_interface =
        |id: &ArmId| id.resource_type().as_deref() == Some("microsoft.network/networkinterfaces");
    let unlisted = named.filter(|id| !listed.contains(id) && is_interface(id));
    unlisted.take(INTERFACES_ASKED_MAX).cloned().collect()
}

fn is_approved(endpoint: &PrivateEndpoint) -> bool {
    let mut states = endpoint.connections.iter().map(|it| ConnectionState::read(it.status.as_deref()));
    states.all(|state| state == ConnectionState::Approved)
}
