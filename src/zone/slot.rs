//! One name and type: every record set that was offered for it, and which is served to whom.

use super::network::{Network, Networks, ViewId};
use super::origin::{Claim, Origin};
use crate::dns::{RecordSet, RecordType};

/// A record set and who offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub set: RecordSet,
    pub origin: Origin,
}

/// All offers for one name and type. There is at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    content: Content,
}

#[derive(Clone, Debug, PartialEq)]
enum Content {
    /// One offer, which is served to everyone: nearly all slots.
    Sole(Offer),
    Contest(Box<Contest>),
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Contest {
    offers: Vec<Offer>,
    /// The offer that is served where the view does not say otherwise.
    served: u16,
    /// Views that are served another offer; of an alias in one of Azure's zones, also those that the zone is linked to.
    by_view: Vec<(ViewId, u16)>,
}

impl Slot {
    pub(super) fn new(offer: Offer, networks: &Networks) -> Slot {
        let mut slot = Slot { content: Content::Sole(offer) };
        slot.choose(networks);
        slot
    }

    /// The type of all offers.
    pub fn rtype(&self) -> RecordType {
        self.offers()[0].set.rtype
    }

    /// The offer that a view is served.
    pub fn served(&self, view: ViewId) -> &Offer {
        match &self.content {
            Content::Sole(offer) => offer,
            Content::Contest(contest) => {
                let of_view = contest.by_view.iter().find(|(other, _)| *other == view);
                &contest.offers[usize::from(of_view.map_or(contest.served, |(_, index)| *index))]
            }
        }
    }

    /// Whether a view is served an offer of its own, where the others are served the same.
    pub(super) fn is_chosen_for(&self, view: ViewId) -> bool {
        match &self.content {
            Content::Sole(_) => false,
            Content::Contest(contest) => contest.by_view.iter().any(|(other, _)| *other == view),
        }
    }

    /// All offers, in the order in which they came.
    pub fn offers(&self) -> &[Offer] {
        match &self.content {
            Content::Sole(offer) => std::slice::from_ref(offer),
            Content::Contest(contest) => &contest.offers,
        }
    }

    fn offers_mut(&mut self) -> &mut [Offer] {
        match &mut self.content {
            Content::Sole(offer) => std::slice::from_mut(offer),
            Content::Contest(contest) => &mut contest.offers,
        }
    }

    /// Whether endpoints disagree: more than one claim, with different data.
    pub fn is_conflict(&self) -> bool {
        let mut claims = self.offers().iter().filter(|offer| matches!(offer.origin, Origin::Endpoint(_)));
        claims.next().is_some_and(|first| claims.any(|other| other.set.records().ne(first.set.records())))
    }

    /// Whether networks may have a say in what is served.
    pub(super) fn depends_on_networks(&self) -> bool {
        self.offers().len() > 1 || self.rtype() == RecordType::CNAME
    }

    /// Adds an offer, or replaces the one from the same origin; answers whether that changed anything.
    /// A claim keeps the time when it was first seen.
    pub(super) fn put(&mut self, mut offer: Offer, networks: &Networks) -> bool {
        match self.offers_mut().iter_mut().find(|other| other.origin.replaces(&offer.origin)) {
            Some(before) => {
                if let (Origin::Endpoint(old), Origin::Endpoint(new)) = (&before.origin, &mut offer.origin)
                    && old.since_secs < new.since_secs
                {
                    *new = Claim { since_secs: old.since_secs, ..(**new).clone() }.into();
                }
                if *before == offer {
                    return false;
                }
                *before = offer;
            }
            None => {
                let mut offers = self.take_offers();
                offers.push(offer);
                self.content = Content::Contest(Box::new(Contest { offers, ..Contest::default() }));
            }
        }
        self.choose(networks);
        true
    }

    /// Takes an offer back; answers what is left of the slot.
    pub(super) fn without(mut self, origin: &Origin, networks: &Networks) -> Option<Slot> {
        let mut offers = self.take_offers();
        offers.retain(|offer| !offer.origin.replaces(origin));
        if offers.is_empty() {
            return None;
        }
        self.content = Content::Contest(Box::new(Contest { offers, ..Contest::default() }));
        self.choose(networks);
        Some(self)
    }

    /// Leaves no offer behind, for a moment.
    fn take_offers(&mut self) -> Vec<Offer> {
        match std::mem::replace(&mut self.content, Content::Contest(Box::default())) {
            Content::Sole(offer) => vec![offer],
            Content::Contest(contest) => contest.offers,
        }
    }

    /// Decides anew who is served what (design §3).
    pub(super) fn choose(&mut self, networks: &Networks) {
        if matches!(self.content, Content::Sole(_)) && !self.depends_on_networks() {
            return;
        }
        let (served, by_view) = choice(self.offers(), networks);
        if self.offers().len() > 1 || !by_view.is_empty() {
            let offers = self.take_offers();
            self.content = Content::Contest(Box::new(Contest { offers, served, by_view }));
        } else if let Some(offer) = self.take_offers().pop() {
            self.content = Content::Sole(offer);
        }
    }
}

/// The offer that is served, and the views that are served another one.
fn choice(offers: &[Offer], networks: &Networks) -> (u16, Vec<(ViewId, u16)>) {
    let mut by_view = Vec::new();
    let served = best(offers, |_| 0, networks);
    // An operator's record is for everyone.
    let offer = &offers[usize::from(served)];
    let is_azure_alias = offer.set.rtype == RecordType::CNAME && matches!(offer.origin, Origin::AzureZone(_));
    if offer.origin.is_operators() || (offers.len() == 1 && !is_azure_alias) {
        return (served, by_view);
    }
    for (view, network) in networks.iter() {
        let is_own = |origin: &Origin| match origin {
            Origin::Endpoint(claim) => is_claim_of(claim, network),
            Origin::AzureZone(zone) => zone.is_linked_to(&network.virtual_networks),
            _ => false,
        };
        let index = best(offers, |origin| u8::from(!is_own(origin)), networks);
        if index != served || (is_azure_alias && is_own(&offers[usize::from(index)].origin)) {
            by_view.push((view, index));
        }
    }
    (served, by_view)
}

/// The index of the best offer: operators first, then claims by `distance`, preference, age, id, then Azure's zones.
fn best(offers: &[Offer], distance: impl Fn(&Origin) -> u8, networks: &Networks) -> u16 {
    let rank = |offer: &Offer| match &offer.origin {
        origin @ Origin::Endpoint(claim) => {
            (1, distance(origin), preference(claim, networks), claim.since_secs, Some(claim.endpoint.clone()))
        }
        // What endpoints say themselves is newer than what was written down of them.
        origin @ Origin::AzureZone(zone) => (2, distance(origin), 0, 0, Some(zone.id.clone())),
        // What operators wrote goes before what came with the zone.
        Origin::Rest => (0, 0, 0, 0, None),
        Origin::Update => (0, 1, 0, 0, None),
        Origin::File => (0, 2, 0, 0, None),
        Origin::Transfer => (0, 3, 0, 0, None),
        Origin::BuiltIn => (0, 4, 0, 0, None),
    };
    let best = offers.iter().enumerate().min_by_key(|(_, offer)| rank(offer));
    best.map_or(0, |(index, _)| index as u16)
}

/// Whether a claim is of a virtual network that a network stands for.
pub(super) fn is_claim_of(claim: &Claim, network: &Network) -> bool {
    claim.virtual_network.as_ref().is_some_and(|id| network.virtual_networks.contains(id))
}

/// The place of a claim in the configured preference; a shorter ARM id stands for all below it.
pub(super) fn preference(claim: &Claim, networks: &Networks) -> usize {
    let covers = |id: &str, preferred: &str| {
        id.strip_prefix(preferred).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let place = networks.preferred().iter().position(|preferred| {
        covers(&claim.endpoint, preferred)
            || claim.virtual_network.as_ref().is_some_and(|id| covers(id, preferred))
            || *claim.subscription == **preferred
    });
    place.unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::origin::{AzureZone, VirtualNetworkLink};
    use super::super::served::OnMissing;
    use super::*;
    use crate::dns::Ttl;

    fn offer(last: u8, origin: Origin) -> Offer {
        let ttl = Ttl::from_secs(10).unwrap();
        Offer { set: RecordSet::new(RecordType::A, ttl, [[10, 0, 0, last]]).unwrap(), origin }
    }

    fn claim(endpoint: &str, network: &str, since_secs: u64) -> Origin {
        Origin::Endpoint(Arc::new(Claim {
            endpoint: format!("/subscriptions/s/{endpoint}").into(),
            virtual_network: Some(network.into()),
            subscription: "s".into(),
            resource: None,
            source: "arm".into(),
            since_secs,
        }))
    }

    fn networks(preferred: &[&str]) -> Networks {
        let of =
            |name: &str| Network { name: name.into(), clients: vec![], virtual_networks: vec![name.into()] };
        Networks::new(vec![of("vnet1"), of("vnet2")], preferred.iter().map(|id| (*id).into()).collect())
            .unwrap()
    }

    fn served(slot: &Slot, view: u16) -> u8 {
        slot.served(ViewId(view)).set.records().next().unwrap()[3]
    }

    #[test]
    fn each_network_is_served_its_own_claim_and_strangers_the_oldest() {
        let networks = networks(&[]);
        let mut slot = Slot::new(offer(2, claim("b", "vnet2", 50)), &networks);
        slot.put(offer(1, claim("a", "vnet1", 100)), &networks);
        assert_eq!((served(&slot, 0), served(&slot, 1), served(&slot, 2)), (2, 1, 2));
        assert!(slot.is_conflict());
        let left = slot.without(&claim("b", "vnet2", 0), &networks).unwrap();
        assert_eq!((served(&left, 0), served(&left, 2)), (1, 1));
        assert!(left.without(&claim("a", "vnet1", 0), &networks).is_none());
    }

    #[test]
    fn a_preference_goes_before_age_and_an_operator_before_all() {
        let networks = networks(&["/subscriptions/s/a"]);
        let mut slot = Slot::new(offer(2, claim("b", "vnet2", 50)), &networks);
        slot.put(offer(1, claim("a", "vnet1", 100)), &networks);
        assert_eq!((served(&slot, 0), served(&slot, 2)), (1, 2));
        slot.put(offer(9, Origin::Rest), &networks);
        assert_eq!((served(&slot, 0), served(&slot, 1), served(&slot, 2)), (9, 9, 9));
    }

    fn azure(id: &str, network: &str) -> Origin {
        let link = VirtualNetworkLink { virtual_network: network.into(), on_missing: OnMissing::NxDomain };
        let (id, subscription, source) = (id.into(), "s".into(), "zones".into());
        Origin::AzureZone(Arc::new(AzureZone { id, subscription, links: vec![link], source }))
    }

    #[test]
    fn a_zone_of_azure_gives_way_to_endpoints_and_is_served_again_without_them() {
        let networks = networks(&[]);
        let mut slot = Slot::new(offer(7, azure("/zone", "vnet1")), &networks);
        slot.put(offer(1, claim("a", "vnet2", 100)), &networks);
        assert_eq!((served(&slot, 0), served(&slot, 1), served(&slot, 2)), (1, 1, 1));
        assert!(!slot.is_conflict());
        let left = slot.without(&claim("a", "vnet2", 0), &networks).unwrap();
        assert_eq!((served(&left, 0), served(&left, 1), served(&left, 2)), (7, 7, 7));
    }

    #[test]
    fn of_two_zones_of_azure_each_network_is_served_the_one_linked_to_it() {
        let networks = networks(&[]);
        let mut slot = Slot::new(offer(2, azure("/b", "vnet2")), &networks);
        slot.put(offer(1, azure("/a", "vnet1")), &networks);
        assert_eq!((served(&slot, 0), served(&slot, 1), served(&slot, 2)), (1, 1, 2));
        slot.put(offer(3, azure("/b", "vnet2")), &networks);
        assert_eq!((slot.offers().len(), served(&slot, 2)), (2, 3));
        slot.put(offer(9, Origin::File), &networks);
        assert_eq!((served(&slot, 0), served(&slot, 1), served(&slot, 2)), (9, 9, 9));
    }

    #[test]
    fn a_claim_seen_again_keeps_its_age() {
        let networks = networks(&[]);
        let mut slot = Slot::new(offer(1, claim("a", "vnet1", 100)), &networks);
        slot.put(offer(3, claim("a", "vnet1", 900)), &networks);
        slot.put(offer(2, claim("b", "vnet1", 500)), &networks);
        assert_eq!(served(&slot, 0), 3);
    }
}
