//! What the zones tell `/metrics`.

use std::sync::Arc;

use super::{Store, Zone};
use crate::dns::Name;
use crate::telemetry::{Families, Measured, label};

/// The most zones with series of their own: a page of a few thousand lines is what a Prometheus server takes without a
/// thought.
const ZONES_SHOWN_MAX: usize = 1000;

impl Measured for Store {
    fn measure(&self, families: &mut Families) {
        let snapshot = self.snapshot();
        let mut zones: Vec<(&Name, &Arc<Zone>)> =
            snapshot.zones().filter(|(_, zone)| !zone.is_empty()).collect();
        let record_sets: usize = zones.iter().map(|(_, zone)| zone.content()).sum();
        families.gauge("zones", "Zones served", zones.len() as f64);
        families.gauge("record_sets", "Record sets served", record_sets as f64);
        families.gauge("revision", "Revision of the zones that is served", snapshot.revision() as f64);
        if !families.names_zones() {
            return;
        }
        // The largest first: the others are in the sums only.
        zones.sort_by(|(one, a), (other, b)| b.len().cmp(&a.len()).then_with(|| one.cmp(other)));
        zones.truncate(ZONES_SHOWN_MAX);
        let zones = || zones.iter().map(|(apex, zone)| (label("zone", apex.to_string()), zone));
        let record_sets = zones().map(|(zone, it)| (zone, it.content() as f64));
        families.gauges("zone_record_sets", "Record sets of a zone", record_sets);
        let serials = zones().map(|(zone, it)| (zone, it.serial().into()));
        families.gauges("zone_serial", "Serial of a zone", serials);
    }
}
