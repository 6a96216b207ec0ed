//! From what a source wants published to the changes that make it so. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hashbrown::HashSet;
use ipnet::IpNet;

use super::desired::{Desired, Publication};
use super::inventory::may_be_published;
use super::private_dns::{Remark, plan_zones};
use super::refusal::{NotServed, Refusal};
use super::standing::{Standing, ZoneAtHand, Zones, beyond_the_bound};
use crate::dns::{Name, RecordSet, RecordType, Ttl, rdata};
use crate::privatelink::Catalogue;
use crate::zone::{
    self, Change, ChangeSet, Claim, Offer, OnMissing, Origin, Owner, Snapshot, Zone, ZoneHeader,
};

/// How endpoints' records are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishSettings {
    /// Azure's zone groups give their records ten seconds.
    pub ttl: Ttl,
    /// For the zones that the first endpoint in them makes.
    pub on_missing: OnMissing,
    /// Selectors of the zones that may be published into: words of the catalogue, and names of zones that it lacks.
    pub zones: Vec<String>,
    /// Only these addresses may be published; none = all that an interface can have.
    pub addresses: Vec<IpNet>,
    /// Zones that operators have made.
    pub made: BTreeSet<Name>,
    /// Ids of the subscriptions whose endpoints may publish; none = all.
    pub allow_subscriptions: Vec<Arc<str>>,
    /// The share of a source's record sets that a pass may withdraw without being asked.
    pub withdraw_max_percent: u8,
    /// Zones that config speaks of by name: their settings are not those of Azure's links.
    pub configured: BTreeMap<Name, ZoneHeader>,
}

impl Default for PublishSettings {
    fn default() -> PublishSettings {
        let ttl = Ttl::from_secs(10).expect("ten seconds are a lifetime");
        PublishSettings {
            ttl,
            on_missing: OnMissing::AskPublic,
            zones: vec!["all".to_owned()],
            addresses: Vec::new(),
            made: BTreeSet::new(),
            allow_subscriptions: Vec::new(),
            withdraw_max_percent: 30,
            configured: BTreeMap::new(),
        }
    }
}

/// What a pass does to the zones.
#[derive(Debug, Default)]
pub struct Plan {
    pub changes: ChangeSet,
    pub added: usize,
    pub replaced: usize,
    pub withdrawn: usize,
    /// Record sets that the source had published before.
    pub published: usize,
    /// Names that are not published because of their zone.
    pub not_served: Vec<NotServed>,
    /// Zones that are published into although the catalogue lacks them: zone groups or names tell them.
    pub derived: BTreeSet<Name>,
    /// What an operator should know of private DNS zones.
    pub remarks: BTreeSet<Remark>,
}

/// The changes that make `snapshot` hold what `desired` says of `source`, and nothing else of that source.
///
/// A zone group or a name may tell any zone. Only the catalogue's are published into, and those that begin with the label
/// `privatelink` and that nobody else has, so that no endpoint can take over others.
pub fn plan(
    desired: &Desired,
    source: &Arc<str>,
    settings: &PublishSettings,
    catalogue: &Catalogue,
    snapshot: &Snapshot,
) -> Plan {
    let mut sum = Sum { stays: HashSet::with_capacity(desired.publications.len()), ..Sum::default() };
    let shares: Vec<&[Publication]> = desired.publications.chunks(SHARE).collect();
    zone::in_turn(&shares, |share| Share::of(share, settings, catalogue, snapshot), |share| sum.add(share));
    // Only all of them together tell whether a subscription has too many.
    let derived = std::mem::take(&mut sum.derived);
    let (share, derived) = Share::of_derived(derived, settings, catalogue, snapshot);
    sum.add(share);
    let Sum { mut plan, stays, new_zones, mut puts, .. } = sum;
    plan.derived = derived;
    let taken: BTreeSet<&Name> =
        plan.not_served.iter().filter(|it| matches!(it.why, Refusal::Taken(_))).map(|it| &it.zone).collect();
    let unsettled: HashSet<&Arc<str>> = desired.unsettled.iter().collect();
    let changes = &mut plan.changes.changes;
    changes.extend(new_zones.into_values().map(Change::SetZone));
    let own = claims(snapshot).filter(|(_, _, _, claim)| claim.source == *source);
    for (zone, owner, offer, claim) in own {
        plan.published += 1;
        let rtype = offer.set.rtype;
        // An endpoint whose names are not told for now keeps what it had, and so does a subscription.
        let stays = stays.contains(&place(offer))
            || unsettled.contains(&claim.endpoint)
            || !desired.extent.covers(claim);
        if !stays {
            // What an operator takes a zone over from is meant.
            plan.withdrawn += usize::from(!taken.contains(zone));
            let origin = offer.origin.clone();
            changes.push(Change::Remove { zone: zone.clone(), name: owner.to_name(), rtype, origin });
        }
    }
    match changes.is_empty() {
        true => *changes = puts,
        false => changes.append(&mut puts),
    }
    plan_zones(desired, source, settings, catalogue, snapshot, &mut plan);
    let changes = &mut plan.changes.changes;
    let mut withheld = withheld(desired);
    let held = snapshot.withheld_of(source);
    let of_others =
        held.iter().filter(|it| !desired.extent.covers_id(&it.endpoint) && !withheld.contains(it));
    let of_others: Vec<zone::Withheld> = of_others.cloned().collect();
    if !of_others.is_empty() {
        withheld.extend(of_others);
        withheld.sort_by(|a, b| (&a.name, &a.endpoint).cmp(&(&b.name, &b.endpoint)));
    }
    if held != withheld {
        changes.push(Change::SetWithheld { source: Arc::clone(source), endpoints: withheld });
    }
    plan
}

/// Where an offer lies.
fn place(offer: &Offer) -> usize {
    std::ptr::from_ref(offer).addr()
}

/// Publications that are planned together; others are meanwhile on other cores.
// Tests of a few names have them in several shares too.
const SHARE: usize = if cfg!(test) { 3 } else { 1000 };

/// What all of the publications need.
#[derive(Default)]
struct Sum<'p> {
    plan: Plan,
    // Found by where it lies: nearly all is as it was, and hashing its names and ids would take most of a pass.
    stays: HashSet<usize>,
    new_zones: BTreeMap<Name, ZoneHeader>,
    puts: Vec<Change>,
    derived: Vec<&'p Publication>,
}

impl<'p> Sum<'p> {
    fn add(&mut self, mut share: Share<'p, '_>) {
        self.plan.added += share.added;
        self.plan.replaced += share.replaced;
        self.plan.not_served.append(&mut share.not_served);
        self.derived.append(&mut share.derived);
        self.stays.extend(share.held.into_iter().map(place));
        self.new_zones.append(&mut share.new_zones);
        self.puts.append(&mut share.puts);
    }
}

/// What some of the publications need, whatever the others do.
#[derive(Default)]
struct Share<'p, 's> {
    /// Offers of the source that are wanted, be it with other content.
    held: Vec<&'s Offer>,
    puts: Vec<Change>,
    new_zones: BTreeMap<Name, ZoneHeader>,
    added: usize,
    replaced: usize,
    not_served: Vec<NotServed>,
    /// Publications into zones that the catalogue lacks: of them nothing is planned yet.
    derived: Vec<&'p Publication>,
}

impl<'p, 's> Share<'p, 's> {
    fn of(
        publications: &'p [Publication],
        settings: &PublishSettings,
        catalogue: &Catalogue,
        snapshot: &'s Snapshot,
    ) -> Share<'p, 's> {
        let mut share = Share::default();
        let mut zones = Zones::new(settings, catalogue, snapshot);
        for publication in publications {
            let zone = zones.of(publication);
            match &zone.standing {
                Standing::Known => share.put(publication, zone, settings),
                Standing::Derived => share.derived.push(publication),
                Standing::Refused(why) => share.not_served.push(NotServed::of(publication, why.clone())),
            }
        }
        share
    }

    /// The same of zones that the catalogue lacks, and which of them are published into.
    fn of_derived(
        publications: Vec<&'p Publication>,
        settings: &PublishSettings,
        catalogue: &Catalogue,
        snapshot: &'s Snapshot,
    ) -> (Share<'p, 's>, BTreeSet<Name>) {
        let beyond = beyond_the_bound(&publications);
        let (mut share, mut derived) = (Share::default(), BTreeSet::new());
        let mut zones = Zones::new(settings, catalogue, snapshot);
        for publication in publications {
            if beyond.contains(&(&publication.claim.subscription, &publication.zone)) {
                share.not_served.push(NotServed::of(publication, Refusal::TooMany));
                continue;
            }
            if !derived.contains(&publication.zone) {
                derived.insert(publication.zone.clone());
            }
            share.put(publication, zones.of(publication), settings);
        }
        (share, derived)
    }

    fn put(&mut self, publication: &Publication, zone: &ZoneAtHand<'s>, settings: &PublishSettings) {
        let ZoneAtHand { apex, there, .. } = zone;
        if there.is_none() {
            let header =
                ZoneHeader { on_missing: settings.on_missing, ..ZoneHeader::private_link(apex.clone()) };
            self.new_zones.insert(apex.clone(), header);
        }
        for set in record_sets(publication, settings) {
            let held = there.and_then(|zone| held(zone, publication, set.rtype));
            self.held.extend(held);
            match held {
                Some(held) if same(held, &set, &publication.claim) => continue,
                Some(_) => self.replaced += 1,
                None => self.added += 1,
            }
            let origin = Origin::Endpoint(Arc::clone(&publication.claim));
            let (zone, name) = (apex.clone(), publication.name.clone());
            self.puts.push(Change::Put { zone, name, offer: Offer { set, origin } });
        }
    }
}

/// All claims of endpoints in the zones.
pub(super) fn claims(snapshot: &Snapshot) -> impl Iterator<Item = (&Name, Owner<'_>, &Offer, &Arc<Claim>)> {
    snapshot.zones().flat_map(|(apex, zone)| {
        zone.nodes().flat_map(move |(name, node)| {
            let offers = node.slots().iter().flat_map(|slot| slot.offers());
            offers.filter_map(move |offer| match &offer.origin {
                Origin::Endpoint(claim) => Some((apex, name, offer, claim)),
                _ => None,
            })
        })
    })
}

fn record_sets(publication: &Publication, settings: &PublishSettings) -> impl Iterator<Item = RecordSet> {
    let ipv4 = publication.ipv4.iter().filter(|ip| may_be_published(IpAddr::V4(**ip), &settings.addresses));
    let ipv6 = publication.ipv6.iter().filter(|ip| may_be_published(IpAddr::V6(**ip), &settings.addresses));
    // A set of more addresses than a message holds is no endpoint's: it is left out.
    let ipv4 = RecordSet::new(RecordType::A, settings.ttl, ipv4.map(Ipv4Addr::octets)).ok();
    let ipv6 = RecordSet::new(RecordType::AAAA, settings.ttl, ipv6.map(Ipv6Addr::octets)).ok();
    [ipv4, ipv6].into_iter().flatten().filter(|set| !set.is_empty())
}

fn held<'s>(zone: &'s Zone, publication: &Publication, rtype: RecordType) -> Option<&'s Offer> {
    let slot = zone.node(publication.name.borrow())?.slot(rtype)?;
    let origin = Origin::Endpoint(Arc::clone(&publication.claim));
    slot.offers().iter().find(|offer| offer.origin.replaces(&origin))
}

/// Whether an offer is as wanted; the time when its claim was first seen stays what it was.
fn same(held: &Offer, set: &RecordSet, claim: &Claim) -> bool {
    let Origin::Endpoint(old) = &held.origin else { return false };
    held.set == *set && old.is_but_for_time(claim)
}

fn withheld(desired: &Desired) -> Vec<zone::Withheld> {
    let all = desired.withheld.iter().map(|withheld| zone::Withheld {
        name: withheld.name.clone(),
        endpoint: Arc::clone(&withheld.endpoint),
        endpoint_name: Arc::clone(&withheld.endpoint_name),
        state: withheld.state.as_str().into(),
    });
    all.collect()
}

/// A name that endpoints claim with different addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub name: Name,
    pub rtype: RecordType,
    /// Each claim with its addresses, the one that is served outside all views first.
    pub claims: Vec<(Arc<Claim>, Vec<IpAddr>)>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} private endpoints claim {} {}:", self.claims.len(), self.name, self.rtype)?;
        for (index, (claim, addresses)) in self.claims.iter().enumerate() {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let separator = if index == 0 { "" } else { "," };
            write!(out, "{separator} {} by {}", addresses.join(" "), claim.endpoint)?;
        }
        write!(out, "; clients outside their virtual networks are served the first")
    }
}

/// The sources that have claims or withheld endpoints in a snapshot.
#[cfg(test)]
pub fn sources_of(snapshot: &Snapshot) -> BTreeSet<Arc<str>> {
    let mut sources: BTreeSet<Arc<str>> =
        snapshot.withheld_by_source().map(|(source, _)| source.clone()).collect();
    let zones = snapshot.zones().flat_map(|(_, zone)| zone.azure_zones()).map(|zone| &zone.source);
    for source in claims(snapshot).map(|(_, _, _, claim)| &claim.source).chain(zones) {
        if !sources.contains(source) {
            sources.insert(source.clone());
        }
    }
    sources
}

/// The subscriptions that a source has claims from.
pub fn subscriptions_of(snapshot: &Snapshot, source: &str) -> BTreeSet<Arc<str>> {
    let claims = claims(snapshot).filter(|(_, _, _, claim)| *claim.source == *source);
    let zones = snapshot.zones().flat_map(|(_, zone)| zone.azure_zones()).filter(|it| *it.source == *source);
    let zones = zones.map(|zone| Arc::clone(&zone.subscription));
    claims.map(|(_, _, _, claim)| Arc::clone(&claim.subscription)).chain(zones).collect()
}

/// All conflicts of a snapshot, in the order of names.
pub fn conflicts(snapshot: &Snapshot) -> Vec<Conflict> {
    let mut all = Vec::new();
    for (_, zone) in snapshot.zones() {
        for (owner, node) in zone.nodes() {
            for slot in node.slots().iter().filter(|slot| slot.is_conflict()) {
                let served = slot.served(zone::ViewId::NONE);
                let mut offers: Vec<&Offer> = slot.offers().iter().collect();
                offers.sort_by_key(|offer| !std::ptr::eq(*offer, served));
                let claims = offers.into_iter().filter_map(|offer| match &offer.origin {
                    Origin::Endpoint(claim) => {
                        Some((Arc::clone(claim), offer.set.records().filter_map(rdata::address).collect()))
                    }
                    _ => None,
                });
                all.push(Conflict { name: owner.to_name(), rtype: slot.rtype(), claims: claims.collect() });
            }
        }
    }
    all.sort_by(|one, other| (&one.name, one.rtype).cmp(&(&other.name, other.rtype)));
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::extent::Extent;
    use super::*;

    fn catalogue() -> Catalogue {
        Catalogue::builtin(crate::privatelink::Cloud::Public)
    }

    fn publication(endpoint: &str, name: &str, address: [u8; 4]) -> Publication {
        let claim = Claim {
            endpoint: endpoint.into(),
            virtual_network: None,
            subscription: "s".into(),
            resource: None,
            source: "dir".into(),
            since_secs: 100,
        };
        Publication {
            zone: "privatelink.blob.core.windows.net.".parse().unwrap(),
            name: format!("{name}.privatelink.blob.core.windows.net.").parse().unwrap(),
            ipv4: vec![address.into()],
            ipv6: Vec::new(),
            public_names: Vec::new(),
            claim: Arc::new(claim),
        }
    }

    fn planned(desired: &Desired, snapshot: &Snapshot) -> (Plan, Snapshot) {
        let plan = plan(desired, &"dir".into(), &PublishSettings::default(), &catalogue(), snapshot);
        let (after, _) = plan.changes.apply(snapshot).unwrap();
        (plan, after)
    }

    #[test]
    fn a_second_pass_without_change_does_nothing() {
        let mut desired =
            Desired { publications: vec![publication("/a", "x", [10, 0, 0, 1])], ..Desired::default() };
        let (first, after) = planned(&desired, &Snapshot::default());
        assert_eq!((first.added, first.replaced, first.withdrawn), (1, 0, 0));
        Arc::make_mut(&mut desired.publications[0].claim).since_secs = 999;
        assert!(planned(&desired, &after).0.changes.is_empty());
    }

    #[test]
    fn withdrawing_one_claim_leaves_the_others() {
        let both = Desired {
            publications: vec![publication("/a", "x", [10, 0, 0, 1]), publication("/b", "x", [10, 0, 0, 2])],
            ..Desired::default()
        };
        let (_, two) = planned(&both, &Snapshot::default());
        assert_eq!(conflicts(&two).len(), 1);
        let one = Desired { publications: both.publications[1..].to_vec(), ..Desired::default() };
        let (plan, left) = planned(&one, &two);
        assert_eq!((plan.withdrawn, plan.added), (1, 0));
        assert!(conflicts(&left).is_empty());
        let claims: Vec<_> = claims(&left).map(|(_, _, _, claim)| claim.endpoint.to_string()).collect();
        assert_eq!(claims, ["/b"]);
    }

    #[test]
    fn an_unsettled_endpoint_keeps_what_it_had_and_another_source_is_left_alone() {
        let desired =
            Desired { publications: vec![publication("/a", "x", [10, 0, 0, 1])], ..Desired::default() };
        let (_, after) = planned(&desired, &Snapshot::default());
        let unsettled = Desired { unsettled: vec!["/a".into()], ..Desired::default() };
        assert_eq!(planned(&unsettled, &after).0.withdrawn, 0);
        let other =
            plan(&Desired::default(), &"other".into(), &PublishSettings::default(), &catalogue(), &after);
        assert!(other.changes.is_empty());
        assert_eq!(planned(&Desired::default(), &after).0.withdrawn, 1);
    }

    #[test]
    fn what_a_source_tells_nothing_of_stays() {
        let mut both = Desired {
            publications: vec![publication("/a", "x", [10, 0, 0, 1]), publication("/b", "y", [10, 0, 0, 2])],
            ..Desired::default()
        };
        Arc::make_mut(&mut both.publications[1].claim).subscription = "other".into();
        let (_, after) = planned(&both, &Snapshot::default());
        let nothing_of = |extent| planned(&Desired { extent, ..Desired::default() }, &after).0.withdrawn;
        let other = || [Arc::from("other")].into();
        assert_eq!(nothing_of(Extent::AllBut(other())), 1);
        assert_eq!(nothing_of(Extent::Only(other())), 1);
        assert_eq!(nothing_of(Extent::Only(Default::default())), 0);
        assert_eq!(nothing_of(Extent::All), 2);
    }

    #[test]
    fn only_configured_zones_are_published_into() {
        let desired =
            Desired { publications: vec![publication("/a", "x", [10, 0, 0, 1])], ..Desired::default() };
        let zones = vec!["vault".to_owned()];
        let settings = PublishSettings { zones, ..PublishSettings::default() };
        let refused = plan(&desired, &"dir".into(), &settings, &catalogue(), &Snapshot::default());
        assert_eq!((refused.added, refused.not_served.len()), (0, 1));
    }

    #[test]
    fn addresses_of_the_platform_and_those_that_config_leaves_out_are_not_published() {
        let both = |addresses: &[[u8; 4]]| {
            let mut publication = publication("/a", "x", [10, 0, 0, 1]);
            publication.ipv4 = addresses.iter().map(|ip| Ipv4Addr::from(*ip)).collect();
            Desired { publications: vec![publication], ..Desired::default() }
        };
        let addresses = vec!["10.0.0.0/8".parse().unwrap()];
        let limited = PublishSettings { addresses, ..PublishSettings::default() };
        let served = |desired: &Desired, settings: &PublishSettings| {
            let plan = plan(desired, &"dir".into(), settings, &catalogue(), &Snapshot::default());
            plan.changes.changes.iter().find_map(|change| match change {
                Change::Put { offer, .. } => Some(offer.set.len()),
                _ => None,
            })
        };
        let desired = both(&[[168, 63, 129, 16], [8, 8, 8, 8], [10, 0, 0, 1]]);
        assert_eq!(served(&desired, &PublishSettings::default()), Some(2));
        assert_eq!(served(&desired, &limited), Some(1));
        assert_eq!(served(&both(&[[168, 63, 129, 16], [8, 8, 8, 8]]), &limited), None);
        assert_eq!(served(&both(&[[168, 63, 129, 16]]), &PublishSettings::default()), None);
    }

    #[test]
    fn an_endpoint_cannot_take_over_a_zone_that_is_not_azures() {
        let mut stranger = publication("/a", "x", [10, 0, 0, 1]);
        stranger.zone = "bank.example.".parse().unwrap();
        stranger.name = "www.bank.example.".parse().unwrap();
        let desired = Desired { publications: vec![stranger], ..Desired::default() };
        let (plan, after) = planned(&desired, &Snapshot::default());
        assert_eq!((plan.added, plan.not_served.len(), after.zones().count()), (0, 1, 0));
    }

    #[test]
    fn a_claim_in_another_zone_than_the_wanted_one_is_withdrawn() {
        let mut desired =
            Desired { publications: vec![publication("/a", "x", [10, 0, 0, 1])], ..Desired::default() };
        let (_, before) = planned(&desired, &Snapshot::default());
        desired.publications[0].zone = "privatelink.file.core.windows.net.".parse().unwrap();
        desired.publications[0].name = "x.privatelink.file.core.windows.net.".parse().unwrap();
        let (plan, after) = planned(&desired, &before);
        assert_eq!((plan.added, plan.withdrawn, claims(&after).count()), (1, 1, 1));
    }

    static CATALOGUE: std::sync::OnceLock<Catalogue> = std::sync::OnceLock::new();

    /// All that a source has published.
    fn published(snapshot: &Snapshot, source: &str) -> BTreeSet<String> {
        let own = claims(snapshot).filter(|(_, _, _, claim)| &*claim.source == source);
        own.map(|(zone, name, offer, _)| format!("{zone} {name} {offer:?}")).collect()
    }

    /// A pass of endpoints that each publish a name: its number, its address, and its subscription's number.
    fn pass(items: &[(u8, u8, u8)], now_secs: u64) -> Desired {
        let publications = items.iter().map(|(number, address, subscription)| {
            let endpoint = format!("/subscriptions/s{subscription}/pe{}", number % 5);
            let mut publication = publication(&endpoint, &format!("n{}", number / 2), [10, 0, 0, *address]);
            let claim = Arc::make_mut(&mut publication.claim);
            (claim.since_secs, claim.subscription) = (now_secs, format!("s{subscription}").into());
            publication
        });
        let mut desired = Desired { publications: publications.collect(), ..Desired::default() };
        let mut seen = BTreeSet::new();
        desired.publications.retain(|it| seen.insert((it.name.clone(), Arc::clone(&it.claim.endpoint))));
        desired.join([]);
        desired
    }

    proptest! {
        #[test]
        fn whatever_was_there_a_pass_leaves_what_it_would_make_from_nothing(
            passes in prop::collection::vec(
                (prop::collection::vec((0u8..16, 1u8..4, 0u8..3), 0..12), prop::option::of(0u8..3), 0u8..12), 1..8),
        ) {
            let catalogue = CATALOGUE.get_or_init(catalogue);
            let strange = Desired {
                publications: vec![publication("/other", "n1", [10, 9, 9, 9])], ..Desired::default()
            };
            let own = |desired: &Desired, snapshot: &Snapshot| {
                plan(desired, &"dir".into(), &PublishSettings::default(), catalogue, snapshot).changes
            };
            let mut others = strange.clone();
            Arc::make_mut(&mut others.publications[0].claim).source = "other".into();
            let others = plan(
                &others, &"other".into(), &PublishSettings::default(), catalogue, &Snapshot::default()
            ).changes.apply(&Snapshot::default()).unwrap().0;
            let (mut snapshot, mut known) = (others.clone(), Desired::default());
            for (now_secs, (items, failing, drift)) in (100..).zip(passes) {
                let mut now = pass(&items, now_secs);
                if let Some(failing) = failing.map(|number| Arc::<str>::from(format!("s{number}"))) {
                    now.publications.retain(|it| it.claim.subscription != failing);
                    now.extent = Extent::AllBut([failing].into());
                }
                now.keep(&known);
                // The slow way: when each claim was first seen, and a plan from nothing.
                let mut slow = now.clone();
                for new in &mut slow.publications {
                    let same = |old: &&Publication| {
                        old.name == new.name && old.claim.endpoint == new.claim.endpoint
                    };
                    if let Some(old) = known.publications.iter().find(same) {
                        Arc::make_mut(&mut new.claim).since_secs = old.claim.since_secs;
                    }
                }
                now.carry_over(&known);
                prop_assert_eq!(&now, &slow);
                // Somebody takes one away meanwhile.
                let taken = claims(&snapshot).filter(|(_, _, _, claim)| &*claim.source == "dir")
                    .nth(drift.into())
                    .map(|(zone, owner, offer, _)| Change::Remove {
                        zone: zone.clone(),
                        name: owner.to_name(),
                        rtype: offer.set.rtype,
                        origin: offer.origin.clone(),
                    });
                if let Some(taken) = taken {
                    snapshot = ChangeSet { changes: vec![taken] }.apply(&snapshot).unwrap().0;
                }
                snapshot = own(&now, &snapshot).apply(&snapshot).unwrap().0;
                let anew = own(&slow, &others).apply(&others).unwrap().0;
                prop_assert_eq!(published(&snapshot, "dir"), published(&anew, "dir"));
                prop_assert_eq!(published(&snapshot, "other"), published(&others, "other"));
                prop_assert_eq!(conflicts(&snapshot).len(), conflicts(&anew).len());
                prop_assert!(own(&now, &snapshot).is_empty());
                known = now;
            }
        }
    }
}
