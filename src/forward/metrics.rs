//! What forwarding tells `/metrics`.

use super::Forwarder;
use super::health::Standing;
use crate::telemetry::{Families, label};
use tokio::time::Instant;

impl Forwarder {
    /// Adds what was counted, and how each upstream is.
    pub fn measure(&self, families: &mut Families) {
        self.counters.counts().measure(families);
        families.gauge(
            "forward_in_flight",
            "Questions that upstream is asked now",
            self.inflight.len() as f64,
        );
        let max = self.settings().questions_in_flight_max as f64;
        families.gauge("forward_in_flight_limit", "Questions that may be asked at once", max);
        let now = Instant::now();
        let upstreams = || self.rules.upstreams.iter();
        let of = |upstream: &super::Upstream| label("upstream", upstream.address.to_string());
        let standing = upstreams().map(|it| (of(it), it.standing(now)));
        let up = standing.filter(|(_, standing)| *standing != Standing::Unknown);
        let up = up.map(|(labels, standing)| (labels, f64::from(u8::from(standing == Standing::Up))));
        families.gauges("upstream_up", "1 if an upstream answers, 0 if it is silent or leads back here", up);
        let queries = upstreams().map(|it| (of(it), it.queries.value()));
        families.counters("upstream_queries", "Queries sent to an upstream", queries);
        let timeouts = upstreams().map(|it| (of(it), it.timeouts.value()));
        families.counters("upstream_timeouts", "Queries that an upstream left unanswered", timeouts);
        let failures = upstreams().flat_map(|it| {
            it.failures().map(move |(fault, count)| {
                (vec![("upstream", it.address.to_string()), ("reason", fault.word().to_owned())], count)
            })
        });
        families.counters(
            "upstream_failures",
            "Failures that an upstream answered, by what it failed by",
            failures,
        );
        let durations = upstreams().map(|it| (of(it), it.durations()));
        families.histograms("upstream_duration_seconds", "Time that answers of an upstream took", durations);
    }
}
