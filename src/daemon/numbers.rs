//! The numbers of the running server for `/metrics`.

use std::sync::Arc;

use crate::admin::metrics::{CacheMetrics, Metrics, UpstreamMetrics, ZoneMetrics};
use crate::admin::{NotReady, Server};
use crate::forward::Standing;
use crate::listen::Counting;
use crate::respond::Responder;

/// Counts of listeners, cache, upstreams and zones.
pub(super) struct Numbers {
    responder: Arc<Responder>,
    counting: Counting,
}

impl Numbers {
    pub fn new(responder: &Arc<Responder>, counting: Counting) -> Numbers {
        Numbers { responder: Arc::clone(responder), counting }
    }
}

impl Server for Numbers {
    // Zones, the last good state and what operators wrote are served before the API answers.
    fn ready(&self) -> Vec<NotReady> {
        Vec::new()
    }

    fn metrics(&self) -> Metrics {
        let counts = self.counting.counts();
        let serving = self.responder.serving();
        let (cache, counters) = (&serving.cache, serving.cache.counters());
        let upstreams = serving.forwarder.health().into_iter().map(|health| UpstreamMetrics {
            upstream: health.address.to_string(),
            is_up: health.standing == Standing::Up,
            queries: Some(health.queries),
            timeouts: Some(health.timeouts),
            ..UpstreamMetrics::default()
        });
        let snapshot = self.responder.store().snapshot();
        let mut zones: Vec<ZoneMetrics> = snapshot
            .zones()
            .map(|(apex, zone)| ZoneMetrics {
                apex: apex.to_string(),
                record_sets: zone.content() as u64,
                serial: zone.serial(),
            })
            .collect();
        zones.sort_unstable_by(|one, other| {
            other.record_sets.cmp(&one.record_sets).then_with(|| one.apex.cmp(&other.apex))
        });
        Metrics {
            queries: vec![("udp", counts.udp.queries), ("tcp", counts.tcp.queries)],
            cache: CacheMetrics {
                hits: counters.hits.value(),
                misses: counters.misses.value(),
                stale: counters.stale.value(),
                evictions: counters.evictions.value(),
                prefetches: counters.prefetches.value(),
                entries: cache.len() as u64,
                bytes: cache.bytes(),
            },
            upstreams: upstreams.collect(),
            zones,
            revision: snapshot.revision(),
            ..Metrics::default()
        }
    }
}
