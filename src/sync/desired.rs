//! What should be published of an inventory, and why the rest should not. Pure: no clock, no store.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::dns::Name;
use crate::privatelink::Catalogue;
use crate::zone::Claim;

use super::extent::Extent;
use super::held_back::HeldBack;
use super::inventory::{ConnectionState, Endpoint, EndpointName, Inventory, Knowledge, Warning};
use super::private_dns::PrivateZone;
use super::publication::{Nameless, Publication, Unplaced, Withheld};
use super::records::{Records, hint};

/// What the zones should hold of one source, in the order of names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    pub publications: Vec<Publication>,
    /// Private DNS zones of Azure, in the order of their ids.
    pub zones: Vec<Arc<PrivateZone>>,
    pub withheld: Vec<Withheld>,
    pub unplaced: Vec<Unplaced>,
    /// Endpoints without a name to publish; for people.
    pub nameless: Vec<Nameless>,
    /// Ids of approved endpoints whose names, and of private DNS zones whose content, are not known for now: what
    /// they published stays.
    pub unsettled: Vec<Arc<str>>,
    /// Ids of endpoints and private DNS zones in subscriptions that may not publish.
    pub foreign: Vec<Arc<str>>,
    pub warnings: Vec<Warning>,
    pub extent: Extent,
    /// What of all this is published though it is not listed any more: it waits for an operator.
    pub held_back: Option<HeldBack>,
}

impl Desired {
    /// Takes what an older pass wanted of the scopes that this one tells nothing of.
    pub fn keep(&mut self, older: &Desired) {
        let extent = &self.extent;
        let kept = older.publications.iter().filter(|it| !extent.covers(&it.claim));
        let before = (self.publications.len(), self.withheld.len(), self.zones.len());
        self.publications.extend(kept.cloned());
        let kept = older.zones.iter().filter(|it| !extent.covers_id(&it.azure.id));
        self.zones.extend(kept.cloned());
        self.withheld.extend(older.withheld.iter().filter(|it| !extent.covers_id(&it.endpoint)).cloned());
        self.unplaced.extend(older.unplaced.iter().filter(|it| !extent.covers_id(&it.endpoint)).cloned());
        self.nameless.extend(older.nameless.iter().filter(|it| !extent.covers_id(&it.endpoint)).cloned());
        self.foreign.extend(older.foreign.iter().filter(|id| !extent.covers_id(id)).cloned());
        if before != (self.publications.len(), self.withheld.len(), self.zones.len()) {
            self.sort();
        }
    }

    /// Takes other parts of the same source.
    pub fn join(&mut self, others: impl IntoIterator<Item = Desired>) {
        for other in others {
            self.publications.extend(other.publications);
            self.zones.extend(other.zones);
            self.withheld.extend(other.withheld);
            self.unplaced.extend(other.unplaced);
            self.nameless.extend(other.nameless);
            self.unsettled.extend(other.unsettled);
            self.foreign.extend(other.foreign);
            self.warnings.extend(other.warnings);
        }
        // Once for all of them: there may be hundreds.
        self.sort();
    }

    // By the endpoints' ids too: in whatever order the parts come, what is the same looks the same.
    pub(super) fn sort(&mut self) {
        self.publications.sort_by(|a, b| (&a.name, &a.claim.endpoint).cmp(&(&b.name, &b.claim.endpoint)));
        self.withheld.sort_by(|a, b| (&a.name, &a.endpoint).cmp(&(&b.name, &b.endpoint)));
        self.zones.sort_by(|a, b| a.azure.id.cmp(&b.azure.id));
    }

    /// Adds private DNS zones; those of subscriptions that are not allowed (none = all are) want nothing.
    pub fn import(
        &mut self,
        zones: impl IntoIterator<Item = Arc<PrivateZone>>,
        allow_subscriptions: &[Arc<str>],
    ) {
        for zone in zones {
            if is_allowed(allow_subscriptions, &zone.azure.subscription) {
                self.warnings.extend(zone.warnings.iter().cloned());
                self.zones.push(zone);
            } else {
                self.foreign.push(Arc::clone(&zone.azure.id));
            }
        }
        self.sort();
    }

    /// How many names endpoints publish, and private DNS zones hold.
    pub fn names(&self) -> usize {
        self.publications.len() + self.zones.iter().map(|zone| zone.record_sets.len()).sum::<usize>()
    }

    /// Gives up what is not wanted, by its subscription and the ARM id of its endpoint or zone; answers whether there
    /// was any of that. What others hold is copied only then.
    pub fn retain(desired: &mut Arc<Desired>, is_wanted: impl Fn(&str, &Arc<str>) -> bool) -> bool {
        let is_published = |it: &Publication| is_wanted(&it.claim.subscription, &it.claim.endpoint);
        let is_imported = |it: &Arc<PrivateZone>| is_wanted(&it.azure.subscription, &it.azure.id);
        if desired.publications.iter().all(is_published) && desired.zones.iter().all(is_imported) {
            return false;
        }
        let desired = Arc::make_mut(desired);
        desired.publications.retain(is_published);
        desired.zones.retain(is_imported);
        if let Some(held_back) = desired.held_back.take() {
            let published = desired.publications.iter().map(|it| &it.claim.subscription);
            let published: HashSet<&Arc<str>> =
                published.chain(desired.zones.iter().map(|it| &it.azure.subscription)).collect();
            desired.held_back = held_back.retain(|part| published.contains(&part.subscription));
        }
        true
    }

    /// Whether what is published is the same, whatever was remarked on besides.
    pub fn publishes_as(&self, other: &Desired) -> bool {
        self.publications == other.publications
            && self.withheld == other.withheld
            && self.zones == other.zones
            && self.held_back == other.held_back
    }
}

/// What an inventory wants published; endpoints of subscriptions that are not allowed (none = all are) want nothing.
/// `since_secs` tells for an endpoint's id when its claim was first seen.
pub fn desired(
    inventory: &Inventory,
    catalogue: &Catalogue,
    source: &Arc<str>,
    allow_subscriptions: &[Arc<str>],
    since_secs: impl Fn(&Arc<str>) -> u64,
) -> Desired {
    let mut desired = Desired { warnings: inventory.warnings().to_vec(), ..Desired::default() };
    for endpoint in inventory.endpoints() {
        // Whoever can make an endpoint with a name could take the name over.
        if !is_allowed(allow_subscriptions, &endpoint.subscription) {
            desired.foreign.push(Arc::clone(&endpoint.id));
            continue;
        }
        let count =
            |it: &Desired| it.publications.len() + it.withheld.len() + it.unplaced.len() + it.unsettled.len();
        let before = count(&desired);
        let mut records = Records::of(endpoint, catalogue);
        desired.unplaced.append(&mut records.unplaced);
        desired.warnings.append(&mut records.warnings);
        if endpoint.state == ConnectionState::Approved {
            let claim = Arc::new(claim(endpoint, source, since_secs(&endpoint.id)));
            desired.publications.extend(records.publications(&claim));
            if endpoint.knowledge == Knowledge::Unsettled {
                desired.unsettled.push(Arc::clone(&endpoint.id));
            }
        } else {
            desired.withheld.extend(records.withheld(endpoint));
        }
        if count(&desired) == before {
            desired.nameless.push(nameless(endpoint));
        }
    }
    desired.sort();
    desired
}

/// Whether only its zone group can tell where an approved endpoint's names belong: it has one that no zone of the
/// catalogue takes, or none though it should.
pub fn is_undecided(endpoint: &Endpoint, catalogue: &Catalogue) -> bool {
    let names = || endpoint.names.iter();
    if endpoint.state != ConnectionState::Approved || names().any(|name| name.zone.is_some()) {
        return false;
    }
    let beside: Vec<Name> = names().map(|name| name.fqdn.clone()).collect();
    let is_placed =
        |name: &EndpointName| catalogue.place(name.fqdn.borrow(), hint(endpoint, name, &beside)).is_some();
    endpoint.knowledge == Knowledge::Unsettled || !names().all(is_placed)
}

/// Whether endpoints of a subscription may publish.
pub fn is_allowed(allow_subscriptions: &[Arc<str>], subscription: &str) -> bool {
    allow_subscriptions.is_empty() || allow_subscriptions.iter().any(|allowed| **allowed == *subscription)
}

impl Desired {
    /// Takes over from what was published before: the time when a claim was first seen, and what endpoints published
    /// whose names are not known for now.
    pub fn carry_over(&mut self, before: &Desired) {
        let unsettled: HashSet<&Arc<str>> = self.unsettled.iter().collect();
        let own = self.publications.iter().filter(|it| unsettled.contains(&it.claim.endpoint));
        // What is known of it now goes before.
        let known: HashSet<(&Name, &Arc<str>)> = own.map(|it| (&it.name, &it.claim.endpoint)).collect();
        let stays = before.publications.iter().filter(|it| {
            unsettled.contains(&it.claim.endpoint) && !known.contains(&(&it.name, &it.claim.endpoint))
        });
        let stays: Vec<Publication> = stays.cloned().collect();
        drop(known);
        let zones = before.zones.iter().filter(|it| unsettled.contains(&it.azure.id));
        let zones: Vec<Arc<PrivateZone>> =
            zones.filter(|it| !self.zones.iter().any(|new| new.azure.id == it.azure.id)).cloned().collect();
        let mut known: HashMap<(&Name, &Arc<str>), &Publication> =
            HashMap::with_capacity(before.publications.len());
        for old in &before.publications {
            known.insert((&old.name, &old.claim.endpoint), old);
        }
        for new in &mut self.publications {
            if let Some(old) = known.get(&(&new.name, &new.claim.endpoint))
                && old.claim.since_secs <= new.claim.since_secs
            {
                new.take_over(old);
            }
        }
        self.zones.extend(zones);
        self.zones.sort_by(|a, b| a.azure.id.cmp(&b.azure.id));
        let is_new = !stays.is_empty();
        self.publications.extend(stays);
        if is_new {
            self.publications.sort_by(|a, b| (&a.name, &a.claim.endpoint).cmp(&(&b.name, &b.claim.endpoint)));
        }
    }
}

fn nameless(endpoint: &Endpoint) -> Nameless {
    Nameless {
        endpoint: Arc::clone(&endpoint.id),
        endpoint_name: Arc::clone(&endpoint.name),
        virtual_network: endpoint.virtual_network.clone(),
        resource: endpoint.resource.clone(),
        state: endpoint.state.clone(),
    }
}

fn claim(endpoint: &Endpoint, source: &Arc<str>, since_secs: u64) -> Claim {
    Claim {
        endpoint: Arc::clone(&endpoint.id),
        virtual_network: endpoint.virtual_network.clone(),
        subscription: Arc::clone(&endpoint.subscription),
        resource: endpoint.resource.clone(),
        source: Arc::clone(source),
        since_secs,
    }
}

#[cfg(test)]
mod tests;
