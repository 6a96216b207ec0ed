//! What answering tells `/metrics`, with the parts that it answers from.

use std::sync::Arc;

use super::{Responder, Totals};
use crate::dns::Name;
use crate::telemetry::{Families, Measured, label};
use crate::zone::{Numbering, OTHERS, Snapshot, UNNAMED};

impl Measured for Responder {
    fn measure(&self, families: &mut Families) {
        let totals = self.totals();
        let requests = totals.requests().map(|([transport, family], rtype, count)| {
            let labels =
                [("transport", transport.to_owned()), ("family", family.to_owned()), ("type", rtype)];
            (labels.into(), count)
        });
        families.counters("requests", "Queries by transport, address family and type", requests);
        let responses = totals
            .responses()
            .map(|(rcode, path, count)| (vec![("rcode", rcode), ("path", path.word().to_owned())], count));
        families.counters("responses", "Replies by code and by the way that they came to be", responses);
        let snapshot = self.store().snapshot();
        networks(&totals, &snapshot, families);
        if families.names_zones() {
            zones(&totals, &snapshot, families);
        }
        let durations = totals.durations();
        let durations = durations.map(|(path, durations)| (label("path", path.word()), durations.clone()));
        let about = "Time from reading queries to their replies, by the way that these came to be";
        families.histograms("request_duration_seconds", about, durations);
        self.counters().counts().measure(families);
        let serving = self.serving();
        serving.cache.measure(families);
        serving.forwarder.measure(families);
    }
}

/// The label of what has no number of its own; no name is like these.
const OTHERS_WORD: &str = "(others)";
const NONE_WORD: &str = "(none)";

fn networks(totals: &Totals, snapshot: &Snapshot, families: &mut Families) {
    let is_there = |name: &Arc<str>| snapshot.networks().view_named(name).is_some();
    let mut networks = named(snapshot.network_numbers(), is_there, |number| totals.of_network(number));
    networks.push((NONE_WORD.to_owned(), totals.of_network(UNNAMED)));
    let networks = networks.into_iter().map(|(name, count)| (label("network", name), count));
    families.counters("network_requests", "Queries by the network that their client belongs to", networks);
}

fn zones(totals: &Totals, snapshot: &Snapshot, families: &mut Families) {
    let is_there = |apex: &Name| snapshot.zone(apex.borrow()).is_some_and(|zone| !zone.is_empty());
    let zones = named(snapshot.zone_numbers(), is_there, |number| totals.of_zone(number));
    let zones = zones.into_iter().map(|(name, count)| (label("zone", name), count));
    families.counters("zone_responses", "Replies with records of a zone served here", zones);
}

/// What was counted of each name that is there or was counted, and of those that have no number of their own.
fn named<N: ToString>(
    names: &Numbering<N>,
    is_there: impl Fn(&N) -> bool,
    count: impl Fn(u16) -> u64,
) -> Vec<(String, u64)> {
    let counted = names.iter().map(|(name, number)| (name, count(number)));
    let shown = counted.filter(|(name, count)| *count > 0 || is_there(name));
    let mut named: Vec<_> = shown.map(|(name, count)| (name.to_string(), count)).collect();
    named.sort();
    let others = (OTHERS_WORD.to_owned(), count(OTHERS));
    named.extend(Some(others).filter(|(_, count)| *count > 0));
    named
}
