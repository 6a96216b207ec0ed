//! All that is written served anew: at the start, after a reload of config, and when the store was set back.

use tracing::{info, warn};

use super::refused::{REFUSED_LOGGED_MAX, note, refuse};
use super::{Applier, Tried};
use crate::dns::Name;
use crate::ledger::written::WrittenState;
use crate::persist::{Entry, Stored, StoredChange, Subject};
use crate::zone::{self, Author, ChangeSet, Origin, Snapshot};

impl Applier {
    /// Everything anew: the store was set back, or changes between are forgotten.
    pub(super) fn reload(&self, stored: &Stored) {
        let mut tried = self.turn.lock();
        // While it is still known who made them: what nobody else makes goes, and others go on without the settings.
        let gone = self.written.read().zones_gone(stored);
        for apex in gone {
            let removed = self.commit_unharmed(|translation| {
                translation.add(&StoredChange::Remove(Subject::Zone(apex.clone())))
            });
            if let Err(why) = removed {
                warn!(zone = %apex, %why, "A zone that is no longer stored could not be taken back: {why}");
            }
        }
        self.written.write().replace(stored);
        let result = self
            .store
            .commit_with(Author::Audited, |snapshot| Ok(without_strays(&self.written.read(), snapshot)));
        if let Err(why) = result {
            warn!(%why, "Records that are no longer stored could not be taken back");
        }
        self.serve_all(&mut tried);
        self.set_stale(None);
        for (entry, _) in &stored.entries {
            if let Entry::Document(document) = entry {
                self.tell_of(document);
            }
        }
        info!(store.revision = stored.revision, "Served as it is stored at revision {}", stored.revision);
    }

    /// Serves all that is written and is not served so yet.
    pub(super) fn serve_all(&self, tried: &mut Tried) {
        tried.0.clear();
        let zones: Vec<Name> = {
            let mut state = self.written.write();
            state.serve_all();
            let mut zones: Vec<Name> = state.zones().map(|zone| zone.apex.clone()).collect();
            zones.extend(state.zones_with_sets().cloned());
            zones.extend(state.serials().map(|(apex, _)| apex.clone()));
            zones.sort_unstable();
            zones.dedup();
            zones
        };
        zones.iter().for_each(|apex| self.serve_zone(apex));
        self.set_rules();
        let (revision, refused) = {
            let state = self.written.read();
            (state.revision, state.refused().count() + state.refused_zones().count())
        };
        if refused > 0 {
            warn!(refused, "{refused} of the zones and record sets that operators wrote are not served");
        }
        self.applied.send_replace(revision);
    }

    /// Serves what is written of one zone.
    fn serve_zone(&self, apex: &Name) {
        let zone =
            self.written.read().zone(apex).map(|(zone, _)| StoredChange::Put(Entry::Zone(zone.clone())));
        self.learn_bases(zone.iter());
        let whole = self.commit_unharmed(|translation| translation.serve_missing(apex));
        match whole {
            Ok(left_out) => note(&mut self.written.write(), left_out),
            Err(_) => self.serve_zone_apart(apex),
        }
    }

    fn serve_zone_apart(&self, apex: &Name) {
        let (zone, sets) = {
            let state = self.written.read();
            let sets: Vec<_> = state.sets(apex).map(|((name, _), kept)| (name, kept.set.clone())).collect();
            (state.zone(apex).map(|(zone, _)| zone.clone()), sets)
        };
        let zone = zone.map(|zone| StoredChange::Put(Entry::Zone(zone)));
        let sets = sets
            .into_iter()
            .map(|(name, set)| StoredChange::Put(Entry::RecordSet { zone: apex.clone(), name, set }));
        let mut refused = 0;
        for one in zone.into_iter().chain(sets) {
            match self.commit_unharmed(|translation| translation.add_alone(&one)) {
                Ok(left_out) => note(&mut self.written.write(), left_out),
                Err(why) => {
                    refused += 1;
                    let is_told = refused <= REFUSED_LOGGED_MAX;
                    refuse(&mut self.written.write(), &one, &why, is_told);
                }
            }
        }
        let serial = self.written.read().serial(apex);
        if let Some(serial) = serial {
            let _ = self.commit_unharmed(|translation| translation.set_serial(apex, serial));
        }
    }
}

/// Takes back what the zones hold of operators' records and is not written.
fn without_strays(state: &WrittenState, snapshot: &Snapshot) -> ChangeSet {
    let mut changes = Vec::new();
    for (apex, zone) in snapshot.zones() {
        for (owner, node) in zone.nodes() {
            let name = owner.to_name();
            for slot in node.slots() {
                let is_rest = slot.offers().iter().any(|offer| offer.origin == Origin::Rest);
                if is_rest && state.set(apex, &name, slot.rtype()).is_none() {
                    changes.push(zone::Change::Remove {
                        zone: apex.clone(),
                        name: name.clone(),
                        rtype: slot.rtype(),
                        origin: Origin::Rest,
                    });
                }
            }
        }
    }
    ChangeSet { changes }
}
