//! One name and type: every record set that was offered for it, and which is served to whom.

use super::fit::Fit;
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
    /// Views that are served another offer, in their order; of an alias in one of Azure's zones, also those that the zone is
    /// linked to.
    by_view: Vec<(ViewId, u16)>,
}

impl Contest {
    /// The offer that is served to a view of its own.
    fn of_view(&self, view: ViewId) -> Option<u16> {
        let at = self.by_view.binary_search_by_key(&view, |(view, _)| *view).ok()?;
        Some(self.by_view[at].1)
    }
}

impl Slot {
    /// A slot of a name, which is told by its labels in front of the apex.
    pub(super) fn new(offer: Offer, front: &[u8], networks: &Networks) -> Slot {
        let mut slot = Slot { content: Content::Sole(offer) };
        slot.choose(front, networks);
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
                &contest.offers[usize::from(contest.of_view(view).unwrap_or(contest.served))]
            }
        }
    }

    /// Whether a view is served an offer of its own, where the others are served the same.
    pub(super) fn is_chosen_for(&self, view: ViewId) -> bool {
        match &self.content {
            Content::Sole(_) => false,
            Content::Contest(contest) => contest.of_view(view).is_some(),
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
    pub(super) fn put(&mut self, mut offer: Offer, front: &[u8], networks: &Networks) -> bool {
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
        self.choose(front, networks);
        true
    }

    /// Takes an offer back; answers what is left of the slot.
    pub(super) fn without(mut self, origin: &Origin, front: &[u8], networks: &Networks) -> Option<Slot> {
        let mut offers = self.take_offers();
        offers.retain(|offer| !offer.origin.replaces(origin));
        if offers.is_empty() {
            return None;
        }
        self.content = Content::Contest(Box::new(Contest { offers, ..Contest::default() }));
        self.choose(front, networks);
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
    pub(super) fn choose(&mut self, front: &[u8], networks: &Networks) {
        if matches!(self.content, Content::Sole(_)) && !self.depends_on_networks() {
            return;
        }
        let (served, by_view) = choice(self.offers(), front, networks);
        if self.offers().len() > 1 || !by_view.is_empty() {
            let offers = self.take_offers();
            self.content = Content::Contest(Box::new(Contest { offers, served, by_view }));
        } else if let Some(offer) = self.take_offers().pop() {
            self.content = Content::Sole(offer);
        }
    }
}

/// The offer that is served, and the views that are served another one.
fn choice(offers: &[Offer], front: &[u8], networks: &Networks) -> (u16, Vec<(ViewId, u16)>) {
    let mut by_view = Vec::new();
    let fits = fits(offers, front, networks);
    let best = |network: Option<&Network>| {
        let ranks = offers.iter().zip(&fits).map(|(offer, fit)| Rank::of(offer, *fit, network, networks));
        ranks.enumerate().min_by(|(_, one), (_, other)| one.cmp(other)).map_or(0, |(index, _)| index as u16)
    };
    let served = best(None);
    // An operator's record is for everyone.
    let offer = &offers[usize::from(served)];
    let is_azure_alias = offer.set.rtype == RecordType::CNAME && matches!(offer.origin, Origin::AzureZone(_));
    if offer.origin.is_operators() || (offers.len() == 1 && !is_azure_alias) {
        return (served, by_view);
    }
    for (view, network) in networks.iter() {
        let index = best(Some(network));
        if index != served || (is_azure_alias && is_own(&offers[usize::from(index)].origin, network)) {
            by_view.push((view, index));
        }
    }
    (served, by_view)
}

/// Whether an endpoint lies in a network, or a zone is linked to it.
fn is_own(origin: &Origin, network: &Network) -> bool {
    match origin {
        Origin::Endpoint(claim) => {
            claim.virtual_network.as_ref().is_some_and(|id| network.virtual_networks.contains(id))
        }
        Origin::AzureZone(zone) => zone.is_linked_to(&network.virtual_networks),
        _ => false,
    }
}

/// How well a name fits the resource behind each offer. A claim that `private_link.prefer` names counts as fitting as well
/// as the best.
fn fits(offers: &[Offer], front: &[u8], networks: &Networks) -> Vec<Fit> {
    let fit = |offer: &Offer| match &offer.origin {
        Origin::Endpoint(claim) => Fit::of(claim, front),
        _ => Fit::None,
    };
    let mut fits: Vec<Fit> = offers.iter().map(fit).collect();
    if let Some(best) = fits.iter().min().copied().filter(|best| *best != Fit::None) {
        for (offer, fit) in offers.iter().zip(&mut fits) {
            if let Origin::Endpoint(claim) = &offer.origin
                && preference(claim, networks) != usize::MAX
            {
                *fit = best;
            }
        }
    }
    fits
}

/// The place of an offer among others; the least is served.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank<'o> {
    /// What operators wrote takes precedence over what came with the zone.
    Operators(u8),
    Claim {
        /// Before all else, so that nobody takes over a name by an endpoint in the clients' own network.
        fit: Fit,
        is_far: bool,
        preference: usize,
        since_secs: u64,
        endpoint: &'o str,
    },
    /// What endpoints say themselves is newer than what was written down of them.
    AzureZone { is_far: bool, zone: &'o str },
}

impl<'o> Rank<'o> {
    pub(super) fn of(offer: &'o Offer, fit: Fit, network: Option<&Network>, networks: &Networks) -> Rank<'o> {
        let is_far = network.is_some_and(|network| !is_own(&offer.origin, network));
        match &offer.origin {
            Origin::Endpoint(claim) => {
                let preference = preference(claim, networks);
                Rank::Claim {
                    fit,
                    is_far,
                    preference,
                    since_secs: claim.since_secs,
                    endpoint: &claim.endpoint,
                }
            }
            Origin::AzureZone(zone) => Rank::AzureZone { is_far, zone: &zone.id },
            Origin::Rest => Rank::Operators(0),
            Origin::Update => Rank::Operators(1),
            Origin::File => Rank::Operators(2),
            Origin::Transfer => Rank::Operators(3),
            Origin::BuiltIn => Rank::Operators(4),
        }
    }

    /// Why this one is not served where the other one is.
    fn why_behind(&self, served: &Rank<'_>) -> &'static str {
        match (served, self) {
            (Rank::Operators(_), Rank::Operators(_)) => "another of the operator's records takes precedence",
            (Rank::Operators(_), _) => "an operator's record takes precedence",
            (_, Rank::AzureZone { .. }) if !matches!(served, Rank::AzureZone { .. }) => {
                "private DNS zones give way to endpoints"
            }
            (Rank::AzureZone { is_far: false, .. }, Rank::AzureZone { is_far: true, .. }) => {
                "the zone is not linked to the client's network"
            }
            (Rank::Claim { fit, .. }, Rank::Claim { fit: own, .. }) if fit < own => {
                "the name does not fit the resource behind it as well"
            }
            (Rank::Claim { is_far: false, .. }, Rank::Claim { is_far: true, .. }) => {
                "it does not lie in a virtual network of the client's network"
            }
            (Rank::Claim { preference, .. }, Rank::Claim { preference: own, .. }) if preference < own => {
                "private_link.prefer names the other"
            }
            (Rank::Claim { since_secs, .. }, Rank::Claim { since_secs: own, .. }) if since_secs < own => {
                "it was first seen later"
            }
            _ => "the other's id comes first",
        }
    }
}

/// An offer that a view is not served, and why.
pub struct Contested<'o> {
    pub offer: &'o Offer,
    pub why: &'static str,
}

impl Slot {
    /// The offers that a view is not served, of a name that is told by its labels in front of the apex.
    pub(super) fn contested(&self, front: &[u8], view: ViewId, networks: &Networks) -> Vec<Contested<'_>> {
        let served = self.served(view);
        let all = self.offers().iter().zip(fits(self.offers(), front, networks));
        let ranked = all.map(|(offer, fit)| (offer, Rank::of(offer, fit, networks.get(view), networks)));
        let (served, others): (Vec<_>, Vec<_>) = ranked.partition(|(offer, _)| std::ptr::eq(*offer, served));
        let why = |rank: &Rank<'_>| served.first().map_or("", |(_, served)| rank.why_behind(served));
        others.iter().map(|(offer, rank)| Contested { offer, why: why(rank) }).collect()
    }

    /// Whether the offer of `origin` keeps the name from claims whose resources fit it worse, which would be served without
    /// it.
    pub(super) fn shields(&self, front: &[u8], origin: &Origin, networks: &Networks) -> bool {
        let fits = fits(self.offers(), front, networks);
        let claims = || {
            self.offers().iter().zip(&fits).filter(|(offer, _)| matches!(offer.origin, Origin::Endpoint(_)))
        };
        let is_own = |offer: &Offer| offer.origin.replaces(origin);
        let Some((_, own)) = claims().find(|(offer, _)| is_own(offer)) else { return false };
        let mut others = claims().filter(|(offer, _)| !is_own(offer)).map(|(_, fit)| fit).peekable();
        others.peek().is_some() && others.all(|other| own < other)
    }
}

/// The place of a claim in the configured preference; a shorter ARM id stands for all below it.
fn preference(claim: &Claim, networks: &Networks) -> usize {
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

    use super::super::header::OnMissing;
    use super::super::network::Network;
    use super::super::origin::{AzureZone, VirtualNetworkLink};
    use super::*;
    use crate::dns::Ttl;

    const FRONT: &[u8] = b"\x06data01";

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
        let mut slot = Slot::new(offer(2, claim("b", "vnet2", 50)), FRONT, &networks);
        slot.put(offer(1, claim("a", "vnet1", 100)), FRONT, &networks);
        assert_eq!((served(&slot, 0), served(&slot, 1), served(&slot, 2)), (2, 1, 2));
        assert!(slot.is_conflict());
        let left = slot.without(&claim("b", "vnet2", 0), FRONT, &networks).unwrap();
        assert_eq!((served(&left, 0), served(&left, 2)), (1, 1));
        assert!(left.without(&claim("a", "vnet1", 0), FRONT, &networks).is_none());
    }

    #[test]
    fn a_preference_goes_before_age_and_an_operator_before_all() {
        let networks = networks(&["/subscriptions/s/a"]);
        let mut slot = Slot::new(offer(2, claim("b", "vnet2", 50)), FRONT, &networks);
        slot.put(offer(1, claim("a", "vnet1", 100)), FRONT, &networks);
        assert_eq!((served(&slot, 0), served(&slot, 2)), (1, 2));
        slot.put(offer(9, Origin::Rest), FRONT, &networks);
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
        let mut slot = Slot::new(offer(7, azure("/zone", "vnet1")), FRONT, &networks);
        slot.put(offer(1, claim("a", "vnet2", 100)), FRONT, &networks);
        assert_eq!((served(&slot, 0), served(&slot, 1), served(&slot, 2)), (1, 1, 1));
        assert!(!slot.is_conflict());
        let left = slot.without(&claim("a", "vnet2", 0), FRONT, &networks).unwrap();
        assert_eq!((served(&left, 0), served(&left, 1), served(&left, 2)), (7, 7, 7));
    }

    #[test]
    fn of_two_zones_of_azure_each_network_is_served_the_one_linked_to_it() {
        let networks = networks(&[]);
        let mut slot = Slot::new(offer(2, azure("/b", "vnet2")), FRONT, &networks);
        slot.put(offer(1, azure("/a", "vnet1")), FRONT, &networks);
        assert_eq!((served(&slot, 0), served(&slot, 1), served(&slot, 2)), (1, 1, 2));
        slot.put(offer(3, azure("/b", "vnet2")), FRONT, &networks);
        assert_eq!((slot.offers().len(), served(&slot, 2)), (2, 3));
        slot.put(offer(9, Origin::File), FRONT, &networks);
        assert_eq!((served(&slot, 0), served(&slot, 1), served(&slot, 2)), (9, 9, 9));
    }

    fn of_resource(origin: Origin, resource: &str) -> Origin {
        let Origin::Endpoint(claim) = origin else { return origin };
        let resource = format!("/subscriptions/s/resourcegroups/g/providers/{resource}");
        Origin::Endpoint(Arc::new(Claim { resource: Some(resource.into()), ..Claim::clone(&claim) }))
    }

    #[test]
    fn the_name_of_its_resource_outranks_network_and_age_but_no_preference() {
        let owner = || of_resource(claim("owner", "vnet2", 900), "microsoft.storage/storageaccounts/data01");
        let other = || of_resource(claim("other", "vnet1", 100), "microsoft.storage/storageaccounts/evil");
        let networks_of = |preferred: &[&str]| {
            let networks = networks(preferred);
            let mut slot = Slot::new(offer(6, other()), FRONT, &networks);
            slot.put(offer(1, owner()), FRONT, &networks);
            let served = [0, 1, 2].map(|view| served(&slot, view));
            let contested = slot.contested(FRONT, ViewId(1), &networks);
            (served, contested.iter().map(|it| it.why).collect::<Vec<_>>())
        };
        let (served, why) = networks_of(&[]);
        assert_eq!((served, why), ([1, 1, 1], vec!["the name does not fit the resource behind it as well"]));
        // An operator who names it means it; where it is preferred, networks decide as ever.
        assert_eq!(networks_of(&["/subscriptions/s/other"]).0, [6, 6, 1]);
    }

    #[test]
    fn a_claim_seen_again_keeps_its_age() {
        let networks = networks(&[]);
        let mut slot = Slot::new(offer(1, claim("a", "vnet1", 100)), FRONT, &networks);
        slot.put(offer(3, claim("a", "vnet1", 900)), FRONT, &networks);
        slot.put(offer(2, claim("b", "vnet1", 500)), FRONT, &networks);
        assert_eq!(served(&slot, 0), 3);
    }
}
