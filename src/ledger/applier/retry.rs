//! What was refused is tried again where zones have changed, and operators' settings are laid over what sync sets.

use tracing::info;

use super::Applier;
use super::refused::refuse;
use crate::dns::{Name, RecordType};
use crate::persist::{Entry, Made, StoredChange, StoredZone};

impl Applier {
    /// Lays operators' settings again over zones that sync has set meanwhile.
    pub(super) fn keep_settings(&self) {
        let _tried = self.turn.lock();
        let zones: Vec<StoredZone> = {
            let state = self.written.read();
            let snapshot = self.store.load();
            let is_other = |zone: &&StoredZone| {
                let served = snapshot.zone(zone.apex.borrow()).map(|served| served.header());
                served.is_some_and(|served| {
                    state.why_zone_refused(&zone.apex).is_none()
                        && state.header_of(zone, &snapshot).as_ref() != Some(served)
                })
            };
            let settings = state.zones().filter(|zone| zone.made == Made::Elsewhere);
            settings.filter(is_other).cloned().collect()
        };
        for zone in zones {
            let served = self.store.load().zone(zone.apex.borrow()).map(|zone| zone.header().clone());
            if let Some(served) = served {
                self.written.write().learn_base(served);
            }
            if let Err(why) = self.commit(|translation| translation.put_zone(&zone)) {
                refuse(
                    &mut self.written.write(),
                    &StoredChange::Put(Entry::Zone(zone)),
                    &why.to_string(),
                    true,
                );
            }
        }
    }

    /// Keeps how zones are before an operator's settings lie over them.
    pub(super) fn learn_bases<'c>(&self, changes: impl Iterator<Item = &'c StoredChange>) {
        for change in changes {
            let StoredChange::Put(Entry::Zone(zone)) = change else { continue };
            if zone.made == Made::Elsewhere && !self.written.read().knows_base(&zone.apex) {
                let served = self.store.load().zone(zone.apex.borrow()).map(|zone| zone.header().clone());
                if let Some(served) = served {
                    self.written.write().learn_base(served);
                }
            }
        }
    }

    /// Tries what was refused again, in zones that have changed since.
    pub(super) fn retry_refused(&self) {
        let mut tried = self.turn.lock();
        let zones: Vec<Name> = {
            let state = self.written.read();
            let mut zones: Vec<Name> = state.refused_zones().cloned().collect();
            zones.extend(state.refused().map(|(zone, ..)| zone.clone()));
            zones.dedup();
            zones
        };
        for apex in zones {
            let Some(serial) = self.store.load().zone(apex.borrow()).map(|zone| zone.serial()) else {
                continue;
            };
            if tried.0.get(&apex) == Some(&serial) {
                continue;
            }
            self.retry_zone(&apex);
            let serial = self.store.load().zone(apex.borrow()).map_or(0, |zone| zone.serial());
            tried.0.insert(apex, serial);
        }
    }

    fn retry_zone(&self, apex: &Name) {
        let refused: Vec<(Name, RecordType)> = {
            let state = self.written.read();
            state.refused_of(apex).map(|(name, rtype)| (name.clone(), rtype)).collect()
        };
        let is_zone_refused = self.written.read().why_zone_refused(apex).is_some();
        if is_zone_refused {
            let zone = self.written.read().zone(apex).map(|(zone, _)| zone.clone());
            if let Some(zone) = zone
                && let Ok(left_out) = self.commit(|translation| translation.put_zone(&zone))
                && left_out.is_empty()
            {
                self.written.write().serve_zone(apex);
            }
        }
        for (name, rtype) in refused {
            let set = self.written.read().set(apex, &name, rtype).map(|kept| kept.set.clone());
            let Some(set) = set else { continue };
            if let Ok(left_out) = self.commit(|translation| translation.put_set(apex, &name, &set))
                && left_out.is_empty()
            {
                info!(zone = %apex, %name, %rtype, "{name} {rtype} is served after all");
                self.written.write().serve_set(apex, &name, rtype);
            }
        }
    }
}
