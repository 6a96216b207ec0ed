//! What should be published of an inventory, and why the rest should not. Pure: no clock, no store.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::dns::Name;
use crate::privatelink::{Catalogue, Hint, ServiceLines};
use crate::zone::Claim;

use super::arm::ArmId;
use super::extent::Extent;
use super::guard::HeldBack;
use super::inventory::{ConnectionState, Endpoint, EndpointName, Inventory, Knowledge, Warning};
use super::private_dns::PrivateZone;
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

/// One endpoint's addresses for one private name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub zone: Name,
    /// The whole private name.
    pub name: Name,
    pub ipv4: Vec<Ipv4Addr>,
    pub ipv6: Vec<Ipv6Addr>,
    /// The public names that lead to it, as Azure lists them.
    pub public_names: Vec<Name>,
    pub claim: Arc<Claim>,
}

impl Publication {
    /// Keeps the time when the older one of the same name and endpoint was first seen.
    fn take_over(&mut self, older: &Publication) {
        // Nearly all is as it was, and is kept in memory once: what each pass made anew would scatter it.
        self.name = older.name.clone();
        if self.zone == older.zone {
            self.zone = older.zone.clone();
        }
        if self.public_names == older.public_names {
            self.public_names.clone_from_slice(&older.public_names);
        }
        self.claim = match older.claim.is_but_for_time(&self.claim) {
            true => Arc::clone(&older.claim),
            false => Arc::new(Claim { since_secs: older.claim.since_secs, ..Claim::clone(&self.claim) }),
        };
    }
}

/// A name that is not published because its endpoint is not approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    pub zone: Name,
    /// The whole private name.
    pub name: Name,
    pub public_names: Vec<Name>,
    pub endpoint: Arc<str>,
    pub endpoint_name: Arc<str>,
    pub state: ConnectionState,
}

/// A name of an approved endpoint that neither a zone group nor itself nor the catalogue places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplaced {
    pub fqdn: Name,
    pub endpoint: Arc<str>,
    pub resource: Option<Arc<str>>,
    pub group_id: Option<Arc<str>>,
}

impl Unplaced {
    /// What to do about it.
    pub fn advice(&self) -> String {
        match self.lines() {
            Some(lines) => format!("if that is its zone, paste into the config:\n{lines}"),
            None if self.fqdn.borrow().is_wildcard() => {
                "it would stand for everybody's names: write a record of your own for those below it"
                    .to_owned()
            }
            None => "write a record of your own that leads to its address".to_owned(),
        }
    }

    /// The lines of config that have it published; `None` where none could.
    pub fn lines(&self) -> Option<ServiceLines> {
        let resource_type = self.resource.as_deref().and_then(|id| ArmId::new(id).resource_type());
        let (resource_type, group_id) = (resource_type.as_deref(), self.group_id.as_deref());
        ServiceLines::of_name(self.fqdn.borrow(), Hint { resource_type, group_id, beside: &[] })
    }
}

/// An endpoint without a name to publish: one of a Private Link service, or one that is not approved and of no known kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nameless {
    pub endpoint: Arc<str>,
    pub endpoint_name: Arc<str>,
    pub virtual_network: Option<Arc<str>>,
    pub resource: Option<Arc<str>>,
    pub state: ConnectionState,
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
        let records = Records::of(endpoint, catalogue, &mut desired);
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
mod tests {
    use super::*;
    use crate::privatelink::Cloud;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn listed(fqdn: &str, address: &str) -> EndpointName {
        let addresses = vec![address.parse().unwrap()];
        EndpointName { fqdn: name(fqdn), addresses, group_id: None, member: None, zone: None }
    }

    fn grouped(fqdn: &str, zone: &str, address: &str) -> EndpointName {
        EndpointName { zone: Some(name(zone)), ..listed(fqdn, address) }
    }

    fn endpoint(id: &str, state: ConnectionState, names: Vec<EndpointName>) -> Endpoint {
        Endpoint {
            id: id.into(),
            name: id.into(),
            subscription: "s".into(),
            resource_group: None,
            virtual_network: Some("v".into()),
            resource: None,
            resource_type: Some("microsoft.recoveryservices/vaults".into()),
            group_ids: vec!["AzureBackup".into()],
            state,
            knowledge: Knowledge::Whole,
            names,
        }
    }

    fn desired_of(endpoints: Vec<Endpoint>) -> Desired {
        desired(
            &Inventory::new(endpoints, Vec::new()),
            &Catalogue::builtin(Cloud::Public),
            &"source".into(),
            &[],
            |_| 7,
        )
    }

    fn told(desired: &Desired) -> Vec<String> {
        let publications = desired.publications.iter();
        publications
            .map(|it| {
                format!("{} {} {:?}{:?} {:?}", it.claim.endpoint, it.name, it.ipv4, it.ipv6, it.public_names)
            })
            .collect()
    }

    #[test]
    fn an_endpoint_without_a_name_is_told_of() {
        let odd = || vec![listed("app.example.com", "10.0.0.1")];
        let endpoints = vec![
            endpoint("service", ConnectionState::Approved, Vec::new()),
            endpoint("waiting", ConnectionState::Pending, odd()),
            endpoint("unplaced", ConnectionState::Approved, odd()),
            Endpoint {
                knowledge: Knowledge::Unsettled,
                ..endpoint("unsettled", ConnectionState::Approved, Vec::new())
            },
        ];
        let desired = desired_of(endpoints);
        let told: Vec<String> =
            desired.nameless.iter().map(|it| format!("{} {}", it.endpoint, it.state)).collect();
        assert_eq!(told, ["service Approved", "waiting Pending"]);
        assert_eq!((desired.unplaced.len(), desired.unsettled.len()), (1, 1));
    }

    #[test]
    fn two_endpoints_of_one_name_are_two_publications() {
        let names = |address| vec![listed("a.blob.core.windows.net", address)];
        let one = endpoint("1", ConnectionState::Approved, names("10.0.0.1"));
        let two = endpoint("2", ConnectionState::Approved, names("fd00::1"));
        let desired = desired_of(vec![one, two]);
        assert_eq!(
            told(&desired),
            [
                "1 a.privatelink.blob.core.windows.net. [10.0.0.1][] [a.blob.core.windows.net.]",
                "2 a.privatelink.blob.core.windows.net. [][fd00::1] [a.blob.core.windows.net.]"
            ]
        );
        let claim = &desired.publications[1].claim;
        assert_eq!(
            (&*claim.source, claim.since_secs, claim.virtual_network.as_deref()),
            ("source", 7, Some("v"))
        );
    }

    #[test]
    fn the_wildcard_of_a_whole_zone_is_for_the_service_that_the_catalogue_says_it_is_of() {
        let names = || {
            let wildcards = ["*.cloud.defender.microsoft.com", "*.blob.core.windows.net"];
            wildcards.map(|fqdn| listed(fqdn, "10.0.0.1")).to_vec()
        };
        let of_type = |resource_type: Option<&str>| {
            let resource_type = resource_type.map(Arc::from);
            Endpoint { resource_type, ..endpoint("pe", ConnectionState::Approved, names()) }
        };
        let defender = desired_of(vec![of_type(Some("microsoft.security/PRIVATELINKS"))]);
        assert_eq!(
            told(&defender),
            ["pe *.privatelink.cloud.defender.microsoft.com. [10.0.0.1][] [*.cloud.defender.microsoft.com.]"]
        );
        for other in [Some("Microsoft.Storage/storageAccounts"), None] {
            let desired = desired_of(vec![of_type(other)]);
            assert_eq!((told(&desired).len(), desired.unplaced.len()), (0, 2), "{other:?}");
        }
        let blob = "privatelink.blob.core.windows.net";
        let by_group = vec![grouped(&format!("*.{blob}"), blob, "10.0.0.1")];
        let desired = desired_of(vec![endpoint("pe", ConnectionState::Approved, by_group)]);
        assert_eq!((told(&desired).len(), desired.unplaced.len()), (0, 1));
    }

    #[test]
    fn a_wildcard_where_a_service_has_the_names_of_all_is_nobodys() {
        let (sites, registries) = ("privatelink.azurewebsites.net", "privatelink.azurecr.io");
        let learning = "privatelink.api.azureml.ms";
        for (names, published) in [
            (listed("*.scm.azurewebsites.net", "10.0.0.1"), false),
            (grouped(&format!("*.scm.{sites}"), sites, "10.0.0.1"), false),
            (grouped(&format!("*.westeurope.data.{registries}"), registries, "10.0.0.1"), false),
            // Below a name of the resource's own it takes nobody's.
            (grouped(&format!("*.app.{sites}"), sites, "10.0.0.1"), true),
            (grouped(&format!("*.9b4d2c60.inference.westeurope.{learning}"), learning, "10.0.0.1"), true),
        ] {
            let what = names.fqdn.clone();
            let desired = desired_of(vec![endpoint("pe", ConnectionState::Approved, vec![names])]);
            assert_eq!(told(&desired).len(), usize::from(published), "{what}");
        }
    }

    #[test]
    fn only_approved_endpoints_publish() {
        let names = vec![listed("a.blob.core.windows.net", "10.0.0.1"), listed("a.example", "10.0.0.1")];
        let states = [
            ConnectionState::Pending,
            ConnectionState::Rejected,
            ConnectionState::Disconnected,
            ConnectionState::Other("New".into()),
        ];
        let desired = desired_of(states.map(|state| endpoint("pe", state, names.clone())).to_vec());
        assert_eq!((desired.publications, desired.unplaced), (vec![], vec![]));
        assert_eq!(
            desired.withheld.iter().map(|it| it.state.as_str()).collect::<Vec<_>>(),
            ["Pending", "Rejected", "Disconnected", "New"]
        );
        assert_eq!(desired.withheld[0].public_names, [name("a.blob.core.windows.net")]);
    }

    #[test]
    fn a_zone_group_speaks_for_its_addresses_and_the_interface_for_the_rest() {
        let names = vec![
            grouped("a.privatelink.blob.core.windows.net", "privatelink.blob.core.windows.net", "10.0.0.1"),
            listed("a.blob.core.windows.net", "10.0.0.1"),
            listed("cert.a.blob.core.windows.net", "10.0.0.1"),
            listed("odd.example", "10.0.0.1"),
            listed("new.blob.core.windows.net", "10.0.0.2"),
            listed("a.queue.core.windows.net", "10.0.0.1"),
            listed("unknown.example", "10.0.0.3"),
        ];
        let desired = desired_of(vec![endpoint("pe", ConnectionState::Approved, names)]);
        assert_eq!(
            told(&desired),
            [
                "pe a.privatelink.blob.core.windows.net. [10.0.0.1][] [a.blob.core.windows.net.]",
                "pe new.privatelink.blob.core.windows.net. [10.0.0.2][] [new.blob.core.windows.net.]",
                "pe a.privatelink.queue.core.windows.net. [10.0.0.1][] [a.queue.core.windows.net.]",
            ]
        );
        assert_eq!(desired.unplaced.len(), 1);
        assert_eq!(desired.unplaced[0].fqdn, name("unknown.example"));
        assert!(desired.warnings.is_empty());
    }

    #[test]
    fn a_zone_group_that_differs_counts_and_is_told() {
        let names = vec![
            grouped("a.privatelink.blob.core.windows.net", "privatelink.blob.core.windows.net", "10.0.0.1"),
            listed("a.blob.core.windows.net", "10.0.0.2"),
        ];
        let desired = desired_of(vec![endpoint("pe", ConnectionState::Approved, names)]);
        assert_eq!(
            told(&desired),
            ["pe a.privatelink.blob.core.windows.net. [10.0.0.1][] [a.blob.core.windows.net.]"]
        );
        assert!(matches!(&desired.warnings[..], [Warning::GroupDiffers { .. }]));
    }

    #[test]
    fn an_endpoint_that_the_catalogue_decides_needs_no_zone_group() {
        let catalogue = Catalogue::builtin(Cloud::Public);
        let undecided = |state, names| is_undecided(&endpoint("pe", state, names), &catalogue);
        let (known, odd) = (listed("a.blob.core.windows.net", "10.0.0.1"), listed("a.example", "10.0.0.1"));
        let in_group =
            grouped("a.privatelink.blob.core.windows.net", "privatelink.blob.core.windows.net", "10.0.0.1");
        assert!(!undecided(ConnectionState::Approved, vec![known.clone()]));
        assert!(undecided(ConnectionState::Approved, vec![known, odd.clone()]));
        assert!(!undecided(ConnectionState::Pending, vec![odd.clone()]));
        assert!(!undecided(ConnectionState::Approved, vec![in_group, odd]));
        // Private Link services have no names at all.
        assert!(!undecided(ConnectionState::Approved, vec![]));
        let pe = endpoint("pe", ConnectionState::Approved, vec![]);
        assert!(is_undecided(&Endpoint { knowledge: Knowledge::Unsettled, ..pe }, &catalogue));
    }

    #[test]
    fn what_is_known_of_an_unsettled_endpoint_goes_before_what_it_had() {
        let names = |address| vec![listed("a.blob.core.windows.net", address)];
        let both = [names("10.0.0.1"), vec![listed("b.blob.core.windows.net", "10.0.0.2")]].concat();
        let before = desired_of(vec![endpoint("pe", ConnectionState::Approved, both)]);
        let pe = endpoint("pe", ConnectionState::Approved, names("10.0.0.9"));
        let mut now = desired_of(vec![Endpoint { knowledge: Knowledge::Unsettled, ..pe }]);
        now.carry_over(&before);
        assert_eq!(
            told(&now),
            [
                "pe a.privatelink.blob.core.windows.net. [10.0.0.9][] [a.blob.core.windows.net.]",
                "pe b.privatelink.blob.core.windows.net. [10.0.0.2][] [b.blob.core.windows.net.]"
            ]
        );
    }

    #[test]
    fn what_an_unsettled_endpoint_published_is_to_stay() {
        let unsettled = |state| Endpoint { knowledge: Knowledge::Unsettled, ..endpoint("pe", state, vec![]) };
        assert_eq!(desired_of(vec![unsettled(ConnectionState::Approved)]).unsettled, ["pe".into()]);
        // A rejection counts at once, whatever else is still to come.
        assert!(desired_of(vec![unsettled(ConnectionState::Rejected)]).unsettled.is_empty());
    }
}
