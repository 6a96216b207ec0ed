//! What answering tells `/metrics`, with the parts that it answers from.

use super::Responder;
use crate::telemetry::{Families, Measured, label};

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
