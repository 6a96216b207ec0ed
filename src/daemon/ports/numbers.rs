//! The numbers of what answers.

use std::sync::Arc;

use super::sync::HELD_SHOWN_MAX;
use crate::admin::metrics::{
    CacheMetrics, Family, FamilyKind, Metrics, SourceMetrics, UpstreamMetrics, ZoneMetrics,
};
use crate::dns::Name;
use crate::forward::Standing;
use crate::respond::Responder;
use crate::sources::{Now, Roles, Source, SourceState};
use crate::zone::{Snapshot, Zone};

/// What responder, cache, forwarder, zones and sources count.
pub(super) fn metrics(responder: &Responder, now: &Now, roles: &Roles) -> Metrics {
    let (serving, snapshot) = (responder.serving(), responder.store().snapshot());
    let (cache, counters) = (&serving.cache, serving.cache.counters());
    let cache = CacheMetrics {
        hits: counters.hits.value(),
        misses: counters.misses.value(),
        stale: counters.stale.value(),
        evictions: counters.evictions.value(),
        prefetches: counters.prefetches.value(),
        entries: cache.len() as u64,
        bytes: cache.bytes(),
    };
    let upstreams = serving.forwarder.health().into_iter().map(|it| UpstreamMetrics {
        upstream: it.address.to_string(),
        is_up: (it.standing != Standing::Unknown).then_some(it.standing == Standing::Up),
        queries: Some(it.queries),
        timeouts: Some(it.timeouts),
        failures: Some(it.failures),
        answer_secs: None,
    });
    Metrics {
        cache,
        upstreams: upstreams.collect(),
        sources: sources(now),
        zones: zones(&snapshot),
        revision: snapshot.revision(),
        others: others(responder, now, roles),
        ..Metrics::default()
    }
}

fn sources(now: &Now) -> Vec<SourceMetrics> {
    let of = |source: &Arc<Source>| {
        let known = source.known();
        let state = match known.state {
            SourceState::Current { .. } => "fresh",
            SourceState::Stale { .. } => "stale",
            SourceState::HeldBack { .. } => "held-back",
        };
        SourceMetrics {
            source: source.name().to_owned(),
            state: state.to_owned(),
            age_secs: known.read_at.map(|read_at| read_at.elapsed().unwrap_or_default().as_secs_f64()),
            names: known.desired.names() as u64,
            held_back: known.held_back().map_or(0, |it| it.would_withdraw as u64),
        }
    };
    now.sources.iter().map(of).collect()
}

/// By source and subscription, as many of a source as `/sync` shows.
fn held_back(now: &Now) -> Vec<(String, String, usize)> {
    let mut all = Vec::new();
    for source in &now.sources {
        let known = source.known();
        let parts = known.held_back().into_iter().flat_map(|it| &it.parts).take(HELD_SHOWN_MAX);
        all.extend(
            parts.map(|it| (source.name().to_owned(), it.subscription.to_string(), it.would_withdraw)),
        );
    }
    all
}

/// The largest first: those beyond the bound of `/metrics` appear in its sums only.
fn zones(snapshot: &Snapshot) -> Vec<ZoneMetrics> {
    let mut zones: Vec<_> = snapshot.zones().filter(|(_, zone)| !zone.is_empty()).collect();
    zones.sort_by(|(one, a), (other, b)| b.len().cmp(&a.len()).then_with(|| one.cmp(other)));
    let of = |(apex, zone): (&Name, &Arc<Zone>)| ZoneMetrics {
        apex: apex.to_string(),
        record_sets: zone.content() as u64,
        serial: zone.serial(),
    };
    zones.into_iter().map(of).collect()
}

fn others(responder: &Responder, now: &Now, roles: &Roles) -> Vec<Family> {
    let counters = responder.counters();
    let counter = |name, help, value: u64| Family {
        name,
        help,
        kind: FamilyKind::Counter,
        series: vec![(Vec::new(), value as f64)],
    };
    let gauge = |name, help, value: usize| Family {
        name,
        help,
        kind: FamilyKind::Gauge,
        series: vec![(Vec::new(), value as f64)],
    };
    let held_back = held_back(now).into_iter().map(|(source, subscription, sets)| {
        (vec![("source", source), ("subscription", subscription)], sets as f64)
    });
    let held_back = Family {
        name: "sync_held_back_record_sets",
        help: "Record sets of a subscription whose withdrawal waits for an operator",
        kind: FamilyKind::Gauge,
        series: held_back.collect(),
    };
    vec![
        held_back,
        counter("messages_dropped", "Messages that were no query and got no reply", counters.dropped.value()),
        counter(
            "messages_unanswerable",
            "Messages answered with an error for what they are",
            counters.unanswerable.value(),
        ),
        counter(
            "queries_not_allowed",
            "Queries of clients that no access.allow names",
            counters.not_allowed.value(),
        ),
        counter("forwarding_loops", "Queries that came back from an upstream", counters.loops.value()),
        gauge("sync_conflicts", "Names that private endpoints contest", now.log.conflicts()),
        gauge(
            "sync_drift",
            "Record sets of private DNS zones that contradict the endpoints",
            now.log.drift(0).0,
        ),
        gauge(
            "sync_listing",
            "1 if this instance lists Azure, 0 if it follows another that does",
            usize::from(roles.is_listing()),
        ),
    ]
}
