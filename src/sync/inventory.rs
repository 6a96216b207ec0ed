//! The private endpoints of a source, with the names and addresses they stand for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::dns::{Name, NameError, NameRef};
use crate::telemetry::Quoted;

use super::arm::{ArmId, CustomDns, NetworkInterface, PrivateEndpoint, RecordSet, ZoneGroup};
use super::private_dns::LeftOut;

/// All private endpoints of a source; made by [`super::listing::Listings`] from complete listings only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    endpoints: Vec<Endpoint>,
    warnings: Vec<Warning>,
}

/// A private endpoint. Ids are lower-cased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub id: Arc<str>,
    /// As Azure writes it.
    pub name: Arc<str>,
    pub subscription: Arc<str>,
    pub resource_group: Option<Arc<str>>,
    /// The network that its address lies in.
    pub virtual_network: Option<Arc<str>>,
    /// The resource behind it, which may be in a subscription that cannot be read.
    pub resource: Option<Arc<str>>,
    pub resource_type: Option<Arc<str>>,
    pub group_ids: Vec<Arc<str>>,
    pub state: ConnectionState,
    pub knowledge: Knowledge,
    /// Record sets of its zone group first, then the names of its interface or, without these, its own.
    pub names: Vec<EndpointName>,
}

/// What the resource's owner says to the connection; only an approved one carries traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    Approved,
    Pending,
    Rejected,
    Disconnected,
    /// A word that is not known, or none.
    Other(Arc<str>),
}

/// Whether the listing tells the endpoint's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    Whole,
    /// Not all of them: it is being provisioned, or its interface or zone group cannot be read. What was known stays.
    Unsettled,
}

/// A name of an endpoint and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointName {
    pub fqdn: Name,
    pub addresses: Vec<IpAddr>,
    pub group_id: Option<Arc<str>>,
    pub member: Option<Arc<str>>,
    /// Where the zone group keeps it; `fqdn` is the private name then.
    pub zone: Option<Name>,
}

/// What is odd in a listing, but no reason to refuse it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    #[error("{id} differs in {first} and {second}: that of {second} counts")]
    Duplicate { id: Arc<str>, first: Arc<str>, second: Arc<str> },
    #[error("{id} is not the id of a resource in a subscription: left out")]
    BadId { id: Arc<str> },
    #[error("{endpoint} has `{}`, which is no domain name: left out", Quoted(name))]
    BadName { endpoint: Arc<str>, name: Arc<str>, source: NameError },
    #[error("{endpoint} has `{}`, which is no address of an interface: left out", Quoted(address))]
    BadAddress { endpoint: Arc<str>, address: Arc<str> },
    #[error("{endpoint} has `{}` without an address: left out", Quoted(name))]
    NoAddress { endpoint: Arc<str>, name: Arc<str> },
    #[error("{endpoint} has `{}` in {}, which does not enclose it: left out", Quoted(name), Quoted(zone))]
    OutOfZone { endpoint: Arc<str>, name: Arc<str>, zone: Arc<str> },
    #[error("{endpoint} is approved but its names are not listed: export the network interfaces too")]
    Unsettled { endpoint: Arc<str> },
    #[error("{endpoint}: only its zone group could tell where its names belong: {why}")]
    GroupsUnread { endpoint: Arc<str>, why: Arc<str> },
    #[error(
        "{endpoint}: zone group and interface give `{name}` different addresses: those of the group count"
    )]
    GroupDiffers { endpoint: Arc<str>, name: Name },
    #[error("private DNS zone {zone} has {record_type} `{}`, which is left out: {why}", Quoted(name))]
    RecordSet { zone: Arc<str>, name: Arc<str>, record_type: Arc<str>, why: LeftOut },
    #[error("private DNS zone {zone} has {more} more record sets that are left out")]
    MoreRecordSets { zone: Arc<str>, more: usize },
}

impl Inventory {
    pub(super) fn new(endpoints: Vec<Endpoint>, warnings: Vec<Warning>) -> Inventory {
        Inventory { endpoints, warnings }
    }

    /// The endpoints in the order of their ids.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Adds what the zone groups of an endpoint say, which were asked for by themselves.
    pub(super) fn add_groups(&mut self, endpoint: &str, groups: &[ZoneGroup]) {
        let Some(endpoint) = self.endpoint_mut(endpoint) else { return };
        let id = Arc::clone(&endpoint.id);
        let mut warnings = Vec::new();
        let mut reader = NameReader { endpoint: &id, warnings: &mut warnings };
        let names = reader.of_groups(&groups.iter().collect::<Vec<_>>());
        if !names.is_empty() {
            endpoint.names.splice(..0, names);
            endpoint.knowledge = Knowledge::Whole;
            self.warnings.retain(|it| !matches!(it, Warning::Unsettled { endpoint } if *endpoint == id));
        }
        self.warnings.append(&mut warnings);
    }

    /// The zone groups of an endpoint are not known for now: what they had it publish stays.
    pub(super) fn miss_groups(&mut self, endpoint: &str, why: Arc<str>) {
        let Some(endpoint) = self.endpoint_mut(endpoint) else { return };
        endpoint.knowledge = Knowledge::Unsettled;
        let endpoint = Arc::clone(&endpoint.id);
        self.warnings.push(Warning::GroupsUnread { endpoint, why });
    }

    /// The endpoint of an id in lower case.
    pub(super) fn endpoint(&self, id: &str) -> Option<&Endpoint> {
        let at = self.endpoints.binary_search_by(|endpoint| (*endpoint.id).cmp(id)).ok()?;
        self.endpoints.get(at)
    }

    fn endpoint_mut(&mut self, id: &str) -> Option<&mut Endpoint> {
        let at = self.endpoints.binary_search_by(|endpoint| (*endpoint.id).cmp(id)).ok()?;
        Some(&mut self.endpoints[at])
    }

    /// What was odd, in the order it was met.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

impl ConnectionState {
    pub(super) fn read(status: Option<&str>) -> ConnectionState {
        let status = status.unwrap_or("Unknown");
        let known = [
            ConnectionState::Approved,
            ConnectionState::Pending,
            ConnectionState::Rejected,
            ConnectionState::Disconnected,
        ];
        let found = known.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(status));
        found.unwrap_or_else(|| ConnectionState::Other(Arc::from(status)))
    }

    /// Azure's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            ConnectionState::Approved => "Approved",
            ConnectionState::Pending => "Pending",
            ConnectionState::Rejected => "Rejected",
            ConnectionState::Disconnected => "Disconnected",
            ConnectionState::Other(word) => word,
        }
    }
}

impl std::fmt::Display for ConnectionState {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}

impl Endpoint {
    /// Puts together what the endpoint, its interfaces and its zone groups say.
    pub(super) fn assemble(
        endpoint: &PrivateEndpoint,
        interfaces: &[&NetworkInterface],
        groups: &[&ZoneGroup],
        warnings: &mut Vec<Warning>,
    ) -> Option<Endpoint> {
        let id = endpoint.id.shared();
        let Some(subscription) = endpoint.id.subscription() else {
            warnings.push(Warning::BadId { id });
            return None;
        };
        // There is one connection. Were there more, one that is not approved must not shadow a public name.
        let states = endpoint.connections.iter().map(|it| ConnectionState::read(it.status.as_deref()));
        let mut states: Vec<ConnectionState> = states.collect();
        states.sort_by_key(|state| *state == ConnectionState::Approved);
        let state = states.into_iter().next().unwrap_or_else(|| ConnectionState::read(None));
        let mut reader = NameReader { endpoint: &id, warnings };
        let mut names = reader.of_groups(groups);
        let public = reader.of_interfaces(interfaces);
        names.extend(if public.is_empty() { reader.of_endpoint(endpoint, interfaces) } else { public });
        let provisioning = endpoint.provisioning_state.as_deref().unwrap_or("Succeeded");
        let unfinished = !["Succeeded", "Deleting"].iter().any(|it| provisioning.eq_ignore_ascii_case(it));
        let unlisted = interfaces.is_empty() && !endpoint.network_interfaces.is_empty();
        let knowledge = match names.is_empty() && (unfinished || unlisted) {
            true => Knowledge::Unsettled,
            false => Knowledge::Whole,
        };
        if knowledge == Knowledge::Unsettled && !unfinished && state == ConnectionState::Approved {
            warnings.push(Warning::Unsettled { endpoint: Arc::clone(&id) });
        }
        let subnets =
            interfaces.iter().flat_map(|it| &it.ip_configurations).filter_map(|it| it.subnet.as_ref());
        let resource = endpoint.connections.iter().find_map(|it| it.resource.as_ref());
        Some(Endpoint {
            name: Arc::clone(&endpoint.name),
            subscription: Arc::from(subscription),
            resource_group: endpoint.id.resource_group().map(Arc::from),
            virtual_network: endpoint.subnet.iter().chain(subnets).find_map(network_of),
            resource: resource.map(ArmId::shared),
            resource_type: resource.and_then(ArmId::resource_type).map(Arc::from),
            group_ids: endpoint.connections.iter().flat_map(|it| it.group_ids.iter().cloned()).collect(),
            state,
            knowledge,
            names,
            id,
        })
    }
}

/// `…/virtualNetworks/{name}` of `…/virtualNetworks/{name}/subnets/{name}`.
fn network_of(subnet: &ArmId) -> Option<Arc<str>> {
    let network = subnet.parent()?;
    network.as_str().contains("/virtualnetworks/").then(|| network.shared())
}

/// Reads texts into names and addresses; what cannot be read becomes a warning.
struct NameReader<'a> {
    endpoint: &'a Arc<str>,
    warnings: &'a mut Vec<Warning>,
}

impl NameReader<'_> {
    fn of_groups(&mut self, groups: &[&ZoneGroup]) -> Vec<EndpointName> {
        let mut names = Vec::new();
        for record_set in groups.iter().flat_map(|group| &group.record_sets) {
            let Some(zone) = self.name(&record_set.zone, NameRef::ROOT) else { continue };
            let Some(fqdn) = self.private_name(record_set, &zone) else { continue };
            let addresses = self.addresses(&record_set.addresses);
            let text = record_set.name.as_ref().or(record_set.fqdn.as_ref());
            if let Some(text) = text.filter(|_| addresses.is_empty()) {
                self.warnings
                    .push(Warning::NoAddress { endpoint: Arc::clone(self.endpoint), name: Arc::clone(text) });
                continue;
            }
            let name = EndpointName { fqdn, addresses, group_id: None, member: None, zone: Some(zone) };
            names.push(name);
        }
        merged(names)
    }

    fn private_name(&mut self, record_set: &RecordSet, zone: &Name) -> Option<Name> {
        let (text, origin) = match (&record_set.name, &record_set.fqdn) {
            (Some(name), _) => (name, zone.borrow()),
            (None, Some(fqdn)) => (fqdn, NameRef::ROOT),
            (None, None) => return None,
        };
        let name = self.name(text, origin)?;
        if !name.is_within(zone) {
            let (endpoint, zone) = (Arc::clone(self.endpoint), Arc::clone(&record_set.zone));
            self.warnings.push(Warning::OutOfZone { endpoint, name: Arc::clone(text), zone });
            return None;
        }
        Some(name)
    }

    fn of_interfaces(&mut self, interfaces: &[&NetworkInterface]) -> Vec<EndpointName> {
        let mut names = Vec::new();
        for configuration in interfaces.iter().flat_map(|it| &it.ip_configurations) {
            let addresses = self.addresses(configuration.address.as_slice());
            for text in &configuration.fqdns {
                let Some(fqdn) = self.name(text, NameRef::ROOT) else { continue };
                if addresses.is_empty() {
                    let (endpoint, name) = (Arc::clone(self.endpoint), Arc::clone(text));
                    self.warnings.push(Warning::NoAddress { endpoint, name });
                    continue;
                }
                let name = EndpointName {
                    fqdn,
                    addresses: addresses.clone(),
                    group_id: configuration.group_id.clone(),
                    member: configuration.member.clone(),
                    zone: None,
                };
                names.push(name);
            }
        }
        merged(names)
    }

    /// The endpoint's own list, which is empty as soon as it has a zone group.
    fn of_endpoint(
        &mut self,
        endpoint: &PrivateEndpoint,
        interfaces: &[&NetworkInterface],
    ) -> Vec<EndpointName> {
        let mut names = Vec::new();
        for CustomDns { fqdn, addresses } in &endpoint.custom_dns {
            let Some(text) = fqdn else { continue };
            let Some(fqdn) = self.name(text, NameRef::ROOT) else { continue };
            let mut addresses = self.addresses(addresses);
            let mut configurations = interfaces.iter().flat_map(|it| &it.ip_configurations);
            // Without an address there is no doubt which one is meant if the interface has a single one.
            if let (true, Some(only), None) =
                (addresses.is_empty(), configurations.next(), configurations.next())
            {
                addresses = self.addresses(only.address.as_slice());
            }
            if addresses.is_empty() {
                let (endpoint, name) = (Arc::clone(self.endpoint), Arc::clone(text));
                self.warnings.push(Warning::NoAddress { endpoint, name });
                continue;
            }
            names.push(EndpointName { fqdn, addresses, group_id: None, member: None, zone: None });
        }
        merged(names)
    }

    fn name(&mut self, text: &Arc<str>, origin: NameRef<'_>) -> Option<Name> {
        Name::parse(text, origin)
            .map_err(|source| {
                let (endpoint, name) = (Arc::clone(self.endpoint), Arc::clone(text));
                self.warnings.push(Warning::BadName { endpoint, name, source });
            })
            .ok()
    }

    fn addresses(&mut self, texts: &[Arc<str>]) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for text in texts {
            match text.parse() {
                Ok(address) if can_be_an_interface(address) => addresses.push(address),
                _ => self.warnings.push(Warning::BadAddress {
                    endpoint: Arc::clone(self.endpoint),
                    address: Arc::clone(text),
                }),
            }
        }
        addresses
    }
}

/// Azure's own resolver, DHCP server and health probe, in every network.
const PLATFORM: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Whether an interface in a network can have this address; public ones it can, where a network uses such.
fn can_be_an_interface(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let is_of_this_network = ip.octets()[0] == 0;
            !(ip == PLATFORM
                || is_of_this_network
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast())
        }
        IpAddr::V6(ip) => {
            let stands_for = carried_ipv4(ip);
            !(ip.is_unicast_link_local()
                || ip.is_multicast()
                || ip.segments()[..6] == [0; 6]
                || ip.to_ipv4_mapped().is_some()
                || stands_for.is_some_and(|ip| !can_be_an_interface(ip.into())))
        }
    }
}

/// The IPv4 address that an IPv6 one leads to: by NAT64 (RFC 6052 §2.1) or 6to4 (RFC 3056 §2).
fn carried_ipv4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = ip.octets();
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Some([a, b, c, d].into()),
        [0x2002, high, low, ..] => Some((u32::from(high) << 16 | u32::from(low)).into()),
        _ => None,
    }
}

/// Whether an endpoint's address may be published: in these ranges if there are any, and never one of the platform.
// What an older version kept may have others than inventories do.
pub fn may_be_published(address: IpAddr, ranges: &[IpNet]) -> bool {
    can_be_an_interface(address) && (ranges.is_empty() || ranges.iter().any(|range| range.contains(&address)))
}

/// Whether an address is one of private networks (RFC 1918, RFC 6598, RFC 4193).
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.is_private() || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

/// Each name once, with all its addresses: a dual-stack endpoint lists a name twice.
fn merged(names: Vec<EndpointName>) -> Vec<EndpointName> {
    if names.len() < 2 {
        return names;
    }
    // Not by looking through the list: whoever owns an endpoint may give it as many names as they like.
    let mut places: HashMap<(Name, Option<Name>), usize> = HashMap::with_capacity(names.len());
    let mut merged: Vec<EndpointName> = Vec::with_capacity(names.len());
    for name in names {
        match places.entry((name.fqdn.clone(), name.zone.clone())) {
            Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(name);
            }
            Entry::Occupied(place) => {
                let known = &mut merged[*place.get()];
                for address in name.addresses {
                    if !known.addresses.contains(&address) {
                        known.addresses.push(address);
                    }
                }
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests;
