//! All zones at one revision: immutable, loaded once for a request.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;

use super::fit::Fit;
use super::network::{Networks, ViewId};
use super::numbering::{Numbering, OTHERS, UNNAMED};
use super::origin::{Claim, Origin};
use super::outcome::Outcome;
use super::reverse::{Reverse, ReverseOf};
use super::served::{Way, Zone};
use super::slot::{Offer, Rank};
use super::stale::StaleZones;
use super::withheld::Withheld;
use crate::dns::{Name, NameRef, RecordType, SuffixMap, Ttl, rdata};

/// What is served, at one revision.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub(super) revision: u64,
    pub(super) networks: Arc<Networks>,
    /// `None` where nobody wants reverse names.
    pub(super) reverse: Option<Arc<Reverse>>,
    zones: Arc<SuffixMap<Arc<Zone>>>,
    withheld: Arc<WithheldIndex>,
    stale: Option<Arc<StaleZones>>,
    zone_numbers: Arc<Numbering<Name>>,
    network_numbers: Arc<NetworkNumbers>,
}

/// The numbers of networks.
#[derive(Clone, Default)]
struct NetworkNumbers {
    of_names: Numbering<Arc<str>>,
    /// By view.
    of_views: Vec<u16>,
}

/// What a reverse name is among those of endpoints' addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reversed<'s> {
    /// The reverse name of an address, which leads to the name that a view is served with it.
    Pointer { target: &'s Name, ttl: Ttl, claim: &'s Claim },
    /// Some lie below it: it exists, without data (RFC 8020).
    Above,
}

#[derive(Clone, Default)]
struct WithheldIndex {
    by_source: BTreeMap<Arc<str>, Vec<Withheld>>,
    by_name: HashMap<Name, Withheld>,
}

impl Snapshot {
    /// Counts commits.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The networks that clients belong to.
    pub fn networks(&self) -> &Arc<Networks> {
        &self.networks
    }

    /// What queries of a network are counted under, below [`NUMBERS`](super::NUMBERS).
    pub fn network_number(&self, view: ViewId) -> u16 {
        self.network_numbers.of_views.get(usize::from(view.0)).copied().unwrap_or(UNNAMED)
    }

    /// The numbers of all networks that there were.
    pub fn network_numbers(&self) -> &Numbering<Arc<str>> {
        &self.network_numbers.of_names
    }

    /// The numbers of all zones that there were.
    pub fn zone_numbers(&self) -> &Numbering<Name> {
        &self.zone_numbers
    }

    /// Whether `reversed` knows the addresses of endpoints.
    pub fn keeps_reverse(&self) -> bool {
        self.reverse.is_some()
    }

    /// The zone that answers for a name in a view: the longest apex that encloses it (design R1).
    pub fn zone_for(&self, name: NameRef<'_>, view: ViewId) -> Option<&Zone> {
        self.served(name, view).map(|(_, zone)| zone)
    }

    /// The way to a name in the zone that answers for it.
    pub fn way(&self, name: NameRef<'_>, view: ViewId) -> Option<Way<'_>> {
        let (apex, zone) = self.served(name, view)?;
        let front = &name.as_wire()[..name.as_wire().len() - apex.as_wire().len()];
        Some(zone.way(front))
    }

    fn served<'n>(&self, name: NameRef<'n>, view: ViewId) -> Option<(NameRef<'n>, &Zone)> {
        let mut zones = self.zones.enclosing(name).map(|(apex, zone)| (apex, &**zone));
        zones.find(|(_, zone)| zone.is_served_to(view))
    }

    /// The zone of exactly this name, served or not.
    pub fn zone(&self, apex: NameRef<'_>) -> Option<&Arc<Zone>> {
        self.zones.exact(apex)
    }

    /// What an origin has put at a name of a zone.
    pub fn offer_of(&self, zone: &Name, name: &Name, rtype: RecordType, origin: &Origin) -> Option<&Offer> {
        let node = self.zone(zone.borrow())?.node(name.borrow())?;
        node.slot(rtype)?.offers().iter().find(|offer| offer.origin.replaces(origin))
    }

    /// What a reverse name is to a view; `None` where it is none of an endpoint's, or these are not kept.
    pub fn reversed(&self, name: NameRef<'_>, view: ViewId) -> Option<Reversed<'_>> {
        let (address, names) = match self.reverse.as_deref()?.at(name)? {
            ReverseOf::Range => return Some(Reversed::Above),
            ReverseOf::Address(address, names) => (address, names),
        };
        let networks = self.networks();
        let served = names.iter().filter_map(|name| Some((name, self.claim_served(name, address, view)?)));
        // As of the claims to one name, so that an endpoint with a name of its own choice does not name the address of
        // another's; of an endpoint's names the one with the fewest labels, then the shortest.
        let rank = |offer, fit| Rank::of(offer, fit, networks.get(view), networks);
        let size = |name: &Name| (name.borrow().label_count(), name.as_wire().len());
        let (target, (offer, _)) = served.min_by(|(one, (mine, fits)), (other, (theirs, other_fits))| {
            let by_claim = rank(mine, *fits).cmp(&rank(theirs, *other_fits));
            let by_size = || size(one).cmp(&size(other));
            by_claim.then_with(by_size).then_with(|| one.borrow().canonical_cmp(other.borrow()))
        })?;
        let Origin::Endpoint(claim) = &offer.origin else { return None };
        Some(Reversed::Pointer { target, ttl: offer.set.ttl, claim })
    }

    /// An endpoint's offer by which a view is served an address for a private name, and how well the name fits the resource.
    fn claim_served(&self, name: &Name, address: IpAddr, view: ViewId) -> Option<(&Offer, Fit)> {
        let rtype = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        let zone: &Zone = self.zone_for(name.borrow(), view)?;
        let Outcome::Hit(offer) = zone.lookup(name.borrow(), rtype, view) else { return None };
        let Origin::Endpoint(claim) = &offer.origin else { return None };
        let is_served = offer.set.records().any(|data| rdata::address(data) == Some(address));
        let front = name.borrow().strip_suffix(zone.apex().borrow())?;
        is_served.then(|| (offer, Fit::of(claim, front)))
    }

    /// All zones in no order.
    pub fn zones(&self) -> impl Iterator<Item = (&Name, &Arc<Zone>)> {
        self.zones.iter()
    }

    /// An endpoint that would publish this name, were it approved.
    pub fn withheld(&self, name: NameRef<'_>) -> Option<&Withheld> {
        if self.withheld.by_name.is_empty() { None } else { self.withheld.by_name.get(name.as_wire()) }
    }

    /// The zones that may be out of date; `None` while all are as they should be.
    pub fn stale(&self) -> Option<&Arc<StaleZones>> {
        self.stale.as_ref()
    }

    pub(super) fn set_stale(&mut self, stale: Option<Arc<StaleZones>>) {
        self.stale = stale;
    }

    /// What each source withholds.
    pub fn withheld_by_source(&self) -> impl Iterator<Item = (&Arc<str>, &[Withheld])> {
        self.withheld.by_source.iter().map(|(source, endpoints)| (source, &endpoints[..]))
    }

    /// What a source withholds.
    pub fn withheld_of(&self, source: &str) -> &[Withheld] {
        self.withheld.by_source.get(source).map_or(&[], |endpoints| endpoints)
    }

    pub(super) fn insert_zone(&mut self, mut zone: Zone) {
        // One that goes on has its number.
        if zone.number == UNNAMED {
            let apex = zone.apex();
            zone.number = match self.zone_numbers.get(apex) {
                Some(number) => number,
                None if self.zone_numbers.is_full() => OTHERS,
                None => Arc::make_mut(&mut self.zone_numbers).give(apex),
            };
        }
        Arc::make_mut(&mut self.zones).insert(zone.apex().clone(), Arc::new(zone));
    }

    pub(super) fn remove_zone(&mut self, apex: &Name) -> bool {
        self.zone(apex.borrow()).is_some() && Arc::make_mut(&mut self.zones).remove(apex).is_some()
    }

    pub(super) fn set_networks(&mut self, networks: Arc<Networks>) {
        let mut numbers = NetworkNumbers { of_views: vec![UNNAMED], ..(*self.network_numbers).clone() };
        for (_, network) in networks.iter() {
            let number = numbers.of_names.give(&network.name);
            numbers.of_views.push(number);
        }
        (self.networks, self.network_numbers) = (networks, Arc::new(numbers));
    }

    pub(super) fn set_withheld(&mut self, source: &Arc<str>, endpoints: &[Withheld]) {
        let index = Arc::make_mut(&mut self.withheld);
        if endpoints.is_empty() {
            index.by_source.remove(source);
        } else {
            index.by_source.insert(source.clone(), endpoints.to_vec());
        }
        let all = index.by_source.values().flatten();
        index.by_name = all.map(|withheld| (withheld.name.clone(), withheld.clone())).collect();
    }
}
