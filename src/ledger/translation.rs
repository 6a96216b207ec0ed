//! From what is stored to changes of the zones: decides, and touches nothing.

use std::collections::{HashMap, HashSet};

use super::written::WrittenState;
use crate::dns::{Name, RecordSet, RecordType, Ttl, rdata};
use crate::persist::{Entry, StoredChange, StoredZone, Subject};
use crate::privatelink::is_carried_zone;
use crate::zone::{
    Change, ChangeSet, Networks, Offer, Origin, Snapshot, Zone, ZoneBuilder, ZoneHeader, ZoneKind, is_newer,
};

/// The SOA of a zone that operators make and give none: its times are those of RFC 1912 §2.2 for a zone that changes.
const SOA: &str = "@ hostmaster 1 3600 600 86400 300";
const SOA_TTL_SECS: u32 = 3600;

/// Changes of the zones in the making.
pub(super) struct Translation<'s> {
    state: &'s WrittenState,
    snapshot: &'s Snapshot,
    /// Zones that are made, set or dropped on the way.
    zones: HashMap<Name, Option<ZoneHeader>>,
    cleared: HashSet<Name>,
    /// SOA records that are put on the way, and zones whose own is taken back.
    soas: HashMap<Name, Option<RecordSet>>,
    changes: Vec<Change>,
    pub left_out: Vec<LeftOut>,
}

/// What cannot be served as things are.
pub(super) enum LeftOut {
    Zone { apex: Name, why: &'static str },
    Set { zone: Name, name: Name, rtype: RecordType, why: &'static str },
}

impl<'s> Translation<'s> {
    pub(super) fn new(state: &'s WrittenState, snapshot: &'s Snapshot) -> Translation<'s> {
        Translation {
            state,
            snapshot,
            zones: HashMap::new(),
            cleared: HashSet::new(),
            soas: HashMap::new(),
            changes: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// Adds what one stored change does.
    pub(super) fn add(&mut self, change: &StoredChange) {
        match change {
            StoredChange::Put(Entry::Zone(zone)) => self.put_zone(zone),
            StoredChange::Put(Entry::RecordSet { zone, name, set }) => self.put_set(zone, name, set),
            StoredChange::Remove(Subject::Zone(apex)) => self.remove_zone(apex),
            StoredChange::Remove(Subject::RecordSet { zone, name, rtype }) => {
                self.remove_set(zone, name, *rtype);
            }
            StoredChange::ClearZone(apex) => self.clear_zone(apex),
            StoredChange::Put(Entry::Forwarder(_) | Entry::Token(_) | Entry::Document(_))
            | StoredChange::Remove(Subject::Forwarder(_) | Subject::Token(_) | Subject::Document(_)) => {}
        }
    }

    /// The header that a zone has by now.
    fn header(&self, apex: &Name) -> Option<&ZoneHeader> {
        match self.zones.get(apex) {
            Some(header) => header.as_ref(),
            None => self.snapshot.zone(apex.borrow()).map(|zone| zone.header()),
        }
    }

    pub(super) fn has_zone(&self, apex: &Name) -> bool {
        self.header(apex).is_some()
    }

    /// Makes a zone with the record sets that were written for it, or sets it.
    pub(super) fn put_zone(&mut self, zone: &StoredZone) {
        let Some(header) = self.state.header_of(zone, self.snapshot) else {
            let why = "nobody makes this zone any more; the settings wait until it is back";
            self.left_out.push(LeftOut::Zone { apex: zone.apex.clone(), why });
            return;
        };
        let old = self.header(&zone.apex);
        if old == Some(&header) {
            return;
        }
        let is_new = old.is_none();
        self.set_zone(header.clone());
        if is_new {
            if header.kind == ZoneKind::Plain {
                self.put(&zone.apex, &zone.apex, soa_of(&zone.apex), Origin::BuiltIn);
            }
            if !self.cleared.contains(&zone.apex) {
                let state = self.state;
                for ((name, _), kept) in state.sets(&zone.apex) {
                    self.put_set(&zone.apex, &name, &kept.set);
                }
            }
        }
    }

    fn remove_zone(&mut self, apex: &Name) {
        if !self.has_zone(apex) {
            return;
        }
        if let Some(base) = self.state.base_of(apex, self.snapshot) {
            return self.set_zone(base);
        }
        // What sync put there makes the zone as well: it goes on without the operators' settings.
        let is_others = |origin: &Origin| !matches!(origin, Origin::Rest | Origin::BuiltIn);
        let served = self.snapshot.zone(apex.borrow());
        let holds_others = served.is_some_and(|zone| {
            let mut offers = zone.nodes().flat_map(|(_, node)| node.slots()).flat_map(|slot| slot.offers());
            offers.any(|offer| is_others(&offer.origin))
        });
        let kind = self.header(apex).map(|header| header.kind);
        match kind.filter(|_| holds_others) {
            Some(ZoneKind::PrivateLink) => self.set_zone(self.state.usual(apex)),
            Some(ZoneKind::Plain) => self.set_zone(ZoneHeader::plain(apex.clone())),
            None => {
                self.zones.insert(apex.clone(), None);
                self.changes.push(Change::DropZone(apex.clone()));
            }
        }
    }

    fn set_zone(&mut self, header: ZoneHeader) {
        self.zones.insert(header.apex.clone(), Some(header.clone()));
        self.changes.push(Change::SetZone(header));
    }

    fn clear_zone(&mut self, apex: &Name) {
        let put_here: Vec<_> = self
            .changes
            .iter()
            .filter_map(|change| match change {
                Change::Put { zone, name, offer } if zone == apex && offer.origin == Origin::Rest => {
                    Some((name.clone(), offer.set.rtype))
                }
                _ => None,
            })
            .collect();
        let state = self.state;
        let kept = state.sets(apex).map(|(key, _)| key);
        for (name, rtype) in kept.chain(put_here) {
            self.remove_set(apex, &name, rtype);
        }
        self.cleared.insert(apex.clone());
    }

    pub(super) fn put_set(&mut self, zone: &Name, name: &Name, set: &RecordSet) {
        // A zone that endpoints made goes with the last of them at a restart; what operators wrote there stays.
        if !self.has_zone(zone) && is_carried_zone(zone.borrow()) {
            self.set_zone(self.state.usual(zone));
        }
        if self.has_zone(zone) {
            self.put(zone, name, set.clone(), Origin::Rest);
        } else {
            let (zone, name, why) = (zone.clone(), name.clone(), "its zone is not served");
            self.left_out.push(LeftOut::Set { zone, name, rtype: set.rtype, why });
        }
    }

    fn put(&mut self, zone: &Name, name: &Name, set: RecordSet, origin: Origin) {
        if set.rtype == RecordType::SOA {
            self.soas.insert(zone.clone(), Some(set.clone()));
        }
        self.changes.push(Change::Put {
            zone: zone.clone(),
            name: name.clone(),
            offer: Offer { set, origin },
        });
    }

    pub(super) fn remove_set(&mut self, zone: &Name, name: &Name, rtype: RecordType) {
        if !self.has_zone(zone) {
            return;
        }
        if rtype == RecordType::SOA {
            self.soas.insert(zone.clone(), None);
        }
        let (zone, name) = (zone.clone(), name.clone());
        self.changes.push(Change::Remove { zone, name, rtype, origin: Origin::Rest });
    }

    /// Gives a zone a serial, if it is news: by the SOA record that it has by now.
    pub(super) fn set_serial(&mut self, apex: &Name, serial: u32) {
        let Some(header) = self.header(apex) else { return };
        let served = self.snapshot.zone(apex.borrow());
        if served.is_some_and(|zone| zone.serial() != 0 && !is_newer(serial, zone.serial())) {
            return;
        }
        let offers = || {
            let node = served?.node(apex.borrow())?;
            let offers = node.slot(RecordType::SOA)?.offers();
            offers.iter().find(|offer| offer.origin != Origin::Rest)
        };
        let offer = match self.soas.get(apex) {
            Some(Some(set)) => {
                let is_own = |change: &&Change| matches!(change, Change::Put { zone, offer, .. } if zone == apex && offer.set == *set);
                let origin = match self.changes.iter().rev().find(is_own) {
                    Some(Change::Put { offer, .. }) => offer.origin.clone(),
                    _ => Origin::Rest,
                };
                Some(Offer { set: set.clone(), origin })
            }
            Some(None) => offers().cloned(),
            None => match served {
                Some(zone) => Some(zone.soa().clone()),
                // The builder gives it one; the same here.
                None => {
                    let header = ZoneHeader { networks: Vec::new(), ..header.clone() };
                    let zone = ZoneBuilder::new(header, &Networks::default()).finish().ok();
                    zone.map(|zone| zone.soa().clone())
                }
            },
        };
        if let Some(set) = offer.as_ref().and_then(|offer| with_serial(&offer.set, serial)) {
            let origin = offer.map_or(Origin::BuiltIn, |offer| offer.origin);
            self.put(apex, apex, set, origin);
        }
    }

    /// Adds all that is written of a zone and is not served so yet.
    pub(super) fn serve_missing(&mut self, apex: &Name) {
        let (state, snapshot) = (self.state, self.snapshot);
        let was_there = self.has_zone(apex);
        if let Some((zone, _)) = state.zone(apex) {
            self.put_zone(zone);
        }
        let is_made = !was_there && self.has_zone(apex);
        if !is_made {
            let served = snapshot.zone(apex.borrow());
            for ((name, rtype), kept) in state.sets(apex) {
                if !served.is_some_and(|zone| is_served(zone, &name, rtype, &kept.set)) {
                    self.put_set(apex, &name, &kept.set);
                }
            }
        }
        if let Some(serial) = state.serial(apex) {
            self.set_serial(apex, serial);
        }
    }

    /// Adds one change by itself: a zone without what was written for it.
    pub(super) fn add_alone(&mut self, change: &StoredChange) {
        if let StoredChange::Put(Entry::Zone(zone)) = change {
            self.cleared.insert(zone.apex.clone());
        }
        self.add(change);
    }

    pub(super) fn into_changes(self) -> (ChangeSet, Vec<LeftOut>) {
        (ChangeSet { changes: self.changes }, self.left_out)
    }
}

/// Whether the zone holds this operator's record set; a SOA's serial is the zone's.
fn is_served(zone: &Zone, name: &Name, rtype: RecordType, set: &RecordSet) -> bool {
    let slot = zone.node(name.borrow()).and_then(|node| node.slot(rtype));
    let offer = slot.and_then(|slot| slot.offers().iter().find(|offer| offer.origin == Origin::Rest));
    offer.is_some_and(|offer| {
        offer.set == *set
            || (rtype == RecordType::SOA && with_serial(set, zone.serial()).as_ref() == Some(&offer.set))
    })
}

/// The SOA record of a zone that is given none.
fn soa_of(apex: &Name) -> RecordSet {
    let data = rdata::from_text(RecordType::SOA, SOA, apex.borrow())
        // `hostmaster` in front of the longest names is too long.
        .or_else(|_| rdata::from_text(RecordType::SOA, "@ @ 1 3600 600 86400 300", apex.borrow()))
        .expect("the text is a SOA");
    let ttl = Ttl::from_secs(SOA_TTL_SECS).expect("an hour is a lifetime");
    RecordSet::new(RecordType::SOA, ttl, [data]).expect("one SOA is no large set")
}

/// The same SOA record with another serial: behind two names, before four numbers (RFC 1035 §3.3.13).
fn with_serial(set: &RecordSet, serial: u32) -> Option<RecordSet> {
    let mut data = set.records().next()?.to_vec();
    let at = data.len().checked_sub(20)?;
    data[at..at + 4].copy_from_slice(&serial.to_be_bytes());
    RecordSet::new(set.rtype, set.ttl, [data]).ok()
}

/// The serial of a SOA record set.
pub(super) fn serial_of(set: &RecordSet) -> Option<u32> {
    let data = set.records().next()?;
    let bytes = data.get(data.len().checked_sub(20)?..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}
