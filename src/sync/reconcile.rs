//! From what a source wants published to the changes that make it so. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hashbrown::HashSet;

use super::desired::Desired;
use super::inventory::may_be_published;
use super::private_dns::{Remark, plan_zones};
use super::publication::Publication;
use super::publish_settings::PublishSettings;
use super::refusal::{NotServed, Refusal};
use super::standing::{Standing, ZoneAtHand, Zones, beyond_the_bound};
use crate::dns::{Name, RecordSet, RecordType, rdata};
use crate::machine::in_turn;
use crate::privatelink::Catalogue;
use crate::zone::{self, Change, ChangeSet, Claim, Offer, Origin, Owner, Snapshot, Zone, ZoneHeader};

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
    in_turn(&shares, |share| Share::of(share, settings, catalogue, snapshot), |share| sum.add(share));
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
mod tests;
