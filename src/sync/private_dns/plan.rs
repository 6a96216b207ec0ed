//! From private DNS zones to the changes that import them. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashSet;

use super::super::desired::Desired;
use super::super::publish_settings::PublishSettings;
use super::super::reconcile::Plan;
use super::PrivateZone;
use super::header::{Remark, imported_header, is_ours};
use crate::dns::{Name, RecordSet, RecordType};
use crate::privatelink::Catalogue;
use crate::zone::{AzureZone, Change, Offer, Origin, Owner, Snapshot, Zone, ZoneHeader, ZoneKind, azure_soa};

/// All record sets of imported zones.
pub(in super::super) fn azure_offers(
    snapshot: &Snapshot,
) -> impl Iterator<Item = (&Name, Owner<'_>, &Offer, &Arc<AzureZone>)> {
    let zones = snapshot.zones().filter(|(_, zone)| zone.azure_zones().next().is_some());
    zones.flat_map(|(apex, zone)| {
        zone.nodes().flat_map(move |(name, node)| {
            let offers = node.slots().iter().flat_map(|slot| slot.offers());
            offers.filter_map(move |offer| match &offer.origin {
                Origin::AzureZone(zone) => Some((apex, name, offer, zone)),
                _ => None,
            })
        })
    })
}

/// Adds to a plan the changes after which the source's zones are imported as `desired` says, and no others of it.
///
/// Each imported zone has a SOA of its own at the apex, so that a zone without records is known too; it is no record
/// set that is counted.
pub(in super::super) fn plan_zones(
    desired: &Desired,
    source: &Arc<str>,
    settings: &PublishSettings,
    catalogue: &Catalogue,
    snapshot: &Snapshot,
    plan: &mut Plan,
) {
    let imported = imported(desired, settings, catalogue, snapshot, plan);
    let known: HashSet<&str> = desired.zones.iter().map(|zone| &*zone.azure.id).collect();
    let unsettled: HashSet<&str> = desired.unsettled.iter().map(|id| &**id).collect();
    // What is not told of a zone stays as it is.
    let stays = |zone: &AzureZone| {
        zone.source != *source
            || (!known.contains(&*zone.id)
                && (unsettled.contains(&*zone.id) || !desired.extent.covers_id(&zone.id)))
    };
    let mut apexes: BTreeMap<&Name, Vec<&Arc<AzureZone>>> = BTreeMap::new();
    for (apex, zone) in snapshot.zones() {
        if zone.azure_zones().any(|it| it.source == *source) {
            apexes.insert(apex, zone.azure_zones().filter(|it| stays(it)).collect());
        }
    }
    for zone in &imported {
        let of_others = || match snapshot.zone(zone.apex.borrow()) {
            Some(there) => there.azure_zones().filter(|it| stays(it)).collect(),
            None => Vec::new(),
        };
        apexes.entry(&zone.apex).or_insert_with(of_others).push(&zone.azure);
    }
    let mut wanted: HashSet<(&str, Name, RecordType)> = HashSet::new();
    let mut puts = Vec::new();
    for zone in &imported {
        for it in &zone.record_sets {
            wanted.insert((&zone.azure.id, it.name.clone(), it.set.rtype));
            match held(snapshot, zone, &it.name, it.set.rtype) {
                Some((set, azure)) if *set == it.set && **azure == *zone.azure => continue,
                Some(_) => plan.replaced += 1,
                None => plan.added += 1,
            }
            puts.push(put(zone, it.name.clone(), it.set.clone()));
        }
    }
    let mut removes = Vec::new();
    for (apex, owner, offer, azure) in azure_offers(snapshot).filter(|(.., azure)| azure.source == *source) {
        let rtype = offer.set.rtype;
        if rtype == RecordType::SOA {
            continue;
        }
        plan.published += 1;
        let name = owner.to_name();
        if !stays(azure) && !wanted.contains(&(&*azure.id, name.clone(), rtype)) {
            plan.withdrawn += 1;
            let (zone, origin) = (apex.clone(), offer.origin.clone());
            removes.push(Change::Remove { zone, name, rtype, origin });
        }
    }
    let changes = &mut plan.changes.changes;
    for (apex, zones) in &apexes {
        let base = base(apex, settings, catalogue);
        let header = match settings.configured.get(*apex) {
            Some(configured) => configured.clone(),
            None => {
                let zones = zones.iter().map(|zone| &***zone);
                let (header, remarks) = imported_header(base, zones, snapshot.networks(), catalogue);
                plan.remarks.extend(remarks);
                header
            }
        };
        let there = snapshot.zone(apex.borrow());
        if (there.is_some() || !zones.is_empty()) && there.is_none_or(|zone| *zone.header() != header) {
            changes.push(Change::SetZone(header));
        }
    }
    for zone in &imported {
        let is_there = held(snapshot, zone, &zone.apex, RecordType::SOA)
            .is_some_and(|(_, azure)| **azure == *zone.azure);
        if !is_there {
            changes.push(put(zone, zone.apex.clone(), azure_soa()));
        }
    }
    changes.append(&mut removes);
    for (apex, zones) in &apexes {
        let Some(there) = snapshot.zone(apex.borrow()) else { continue };
        let gone = there.azure_zones().filter(|it| !zones.iter().any(|zone| is_same(zone, it)));
        let gone: Vec<&Arc<AzureZone>> = gone.collect();
        changes.extend(without(there, &gone, zones.is_empty()));
    }
    changes.append(&mut puts);
}

/// The zones of `desired` that are to be imported; of the others the plan tells why not.
fn imported<'d>(
    desired: &'d Desired,
    settings: &PublishSettings,
    catalogue: &Catalogue,
    snapshot: &Snapshot,
    plan: &mut Plan,
) -> Vec<&'d PrivateZone> {
    let mut imported = Vec::new();
    for zone in &desired.zones {
        let (apex, id) = (zone.apex.clone(), Arc::clone(&zone.azure.id));
        let is_private_link = catalogue.is_private_link_zone(apex.borrow()).is_some();
        if is_private_link && !catalogue.selects(&settings.zones, apex.borrow()) {
            plan.remarks.insert(Remark::NotSelected { apex, zone: id });
        } else if !is_ours(&zone.azure, snapshot.networks()) {
            plan.remarks.insert(Remark::NotLinked { apex, zone: id });
        } else {
            imported.push(&**zone);
        }
    }
    imported
}

/// The settings of a zone that neither `[[zone]]` nor a link speaks of.
fn base(apex: &Name, settings: &PublishSettings, catalogue: &Catalogue) -> ZoneHeader {
    match catalogue.names_private_link(apex.borrow()) {
        true => ZoneHeader { on_missing: settings.on_missing, ..ZoneHeader::private_link(apex.clone()) },
        false => ZoneHeader::plain(apex.clone()),
    }
}

/// Takes the SOAs of zones back, and the zone with them if nothing but them made it.
fn without(zone: &Zone, gone: &[&Arc<AzureZone>], is_last: bool) -> Vec<Change> {
    let apex = zone.apex();
    let mut changes: Vec<Change> = gone
        .iter()
        .map(|azure| {
            let (zone, name, rtype) = (apex.clone(), apex.clone(), RecordType::SOA);
            Change::Remove { zone, name, rtype, origin: Origin::AzureZone(Arc::clone(azure)) }
        })
        .collect();
    let soa = zone.node(apex.borrow()).and_then(|node| node.slot(RecordType::SOA));
    let is_of_azure = |offer: &Offer| matches!(offer.origin, Origin::AzureZone(_));
    if is_last
        && zone.header().kind == ZoneKind::Plain
        && soa.is_some_and(|soa| soa.offers().iter().all(is_of_azure))
    {
        let mut offers = zone.nodes().flat_map(|(_, node)| node.slots()).flat_map(|slot| slot.offers());
        changes.push(match offers.all(is_of_azure) {
            true => Change::DropZone(apex.clone()),
            // Operators have put records into it, which stay.
            false => {
                let offer = Offer { set: azure_soa(), origin: Origin::BuiltIn };
                Change::Put { zone: apex.clone(), name: apex.clone(), offer }
            }
        });
    }
    changes
}

fn is_same(one: &AzureZone, other: &AzureZone) -> bool {
    one.id == other.id && one.source == other.source
}

fn put(zone: &PrivateZone, name: Name, set: RecordSet) -> Change {
    let origin = Origin::AzureZone(Arc::clone(&zone.azure));
    Change::Put { zone: zone.apex.clone(), name, offer: Offer { set, origin } }
}

fn held<'s>(
    snapshot: &'s Snapshot,
    zone: &PrivateZone,
    name: &Name,
    rtype: RecordType,
) -> Option<(&'s RecordSet, &'s Arc<AzureZone>)> {
    let origin = Origin::AzureZone(Arc::clone(&zone.azure));
    match snapshot.offer_of(&zone.apex, name, rtype, &origin)? {
        Offer { set, origin: Origin::AzureZone(azure) } => Some((set, azure)),
        _ => None,
    }
}
