//! `/metrics` in OpenMetrics text.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::admin::counters::{Counters, SECONDS};
use crate::admin::metrics::{FamilyKind, ZONES_SHOWN_MAX};
use crate::admin::problem::{Kind, Problem};
use crate::admin::{App, DegradedReason, Readiness, Server};

/// The media type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What every name begins with.
const PREFIX: &str = "privatelink_dns";

/// How long numbers serve all who ask: nobody needs a token for them, so they must not cost work, nor memory, by request.
const FRESH: Duration = Duration::from_millis(200);

/// The numbers as they were last written.
struct Page {
    registry: Registry,
    last: Mutex<Option<(Instant, Bytes)>>,
}

impl Page {
    async fn text(&self) -> Result<Bytes, fmt::Error> {
        let mut last = self.last.lock().await;
        if let Some((at, text)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        let text = Bytes::from(text);
        *last = Some((Instant::now(), text.clone()));
        Ok(text)
    }
}

#[derive(OpenApi)]
#[openapi(paths(metrics))]
struct Spec;

pub(super) fn routes(app: &App) -> OpenApiRouter<App> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Numbers {
        server: Arc::clone(&app.server),
        counters: Arc::clone(&app.counters),
    }));
    let page = Arc::new(Page { registry, last: Mutex::default() });
    OpenApiRouter::with_openapi(Spec::openapi()).route("/metrics", get(move || metrics(page)))
}

/// All numbers, as OpenMetrics text.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "probes",
    security(()),
    responses((
        status = 200, description = "Counters and gauges", body = String,
        content_type = "application/openmetrics-text"
    )),
)]
async fn metrics(page: Arc<Page>) -> Response {
    match page.text().await {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS), (CACHE_CONTROL, "no-store")], text).into_response(),
        Err(_) => Problem::new(Kind::Internal, "the numbers cannot be written").into_response(),
    }
}

/// Reads all numbers when they are asked for.
struct Numbers {
    server: Arc<dyn Server>,
    counters: Arc<Counters>,
}

impl fmt::Debug for Numbers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Numbers")
    }
}

type Labels<'l> = Vec<(&'static str, &'l str)>;

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Families { encoder: &mut encoder };
        self.encode_served(&mut out)?;
        self.encode_admin(&mut out)
    }
}

impl Numbers {
    fn encode_served(&self, out: &mut Families<'_, '_>) -> fmt::Result {
        let Readiness { not_ready, degraded } = self.server.readiness();
        let is_ready = f64::from(u8::from(not_ready.is_empty()));
        out.gauge("ready", "1 if clients are to be sent here, as /readyz says", is_ready)?;
        let reasons = DegradedReason::ALL.map(|reason| {
            let is_degraded = degraded.iter().any(|it| it.reason == reason);
            (vec![("reason", reason.word())], f64::from(u8::from(is_degraded)))
        });
        out.gauges("degraded", "1 for each reason why the server is not as it should be", None, reasons)?;

        let numbers = self.server.metrics();
        let queries =
            numbers.queries.iter().map(|(transport, count)| (vec![("transport", *transport)], *count));
        out.counters("queries", "Questions by transport", queries)?;
        let answers = numbers.answers.iter().map(|(rcode, count)| (vec![("rcode", rcode.as_str())], *count));
        out.counters("answers", "Answers by rcode", answers)?;

        let cache = &numbers.cache;
        let lookups = [("hit", cache.hits), ("miss", cache.misses), ("stale", cache.stale)];
        let lookups = lookups.map(|(result, count)| (vec![("result", result)], count));
        out.counters("cache_lookups", "Look-ups in the cache", lookups)?;
        out.counter("cache_evictions", "Entries pushed out to hold the memory bound", cache.evictions)?;
        out.counter("cache_prefetches", "Entries asked for again before their end", cache.prefetches)?;
        out.gauge("cache_entries", "Entries in the cache", cache.entries as f64)?;
        out.gauges("cache_size", "Memory of the cache", Some(Unit::Bytes), [(vec![], cache.bytes as f64)])?;

        let by = |count: fn(&crate::admin::metrics::UpstreamMetrics) -> Option<u64>| {
            let upstreams = numbers.upstreams.iter();
            upstreams.filter_map(move |it| Some((vec![("upstream", it.upstream.as_str())], count(it)?)))
        };
        let up = numbers
            .upstreams
            .iter()
            .filter_map(|it| Some((one("upstream", &it.upstream), f64::from(u8::from(it.is_up?)))));
        out.gauges("upstream_up", "Whether an upstream answers", None, up)?;
        out.counters("upstream_queries", "Queries sent to an upstream", by(|it| it.queries))?;
        out.counters("upstream_timeouts", "Queries that an upstream left unanswered", by(|it| it.timeouts))?;
        out.counters("upstream_failures", "Failures that an upstream answered", by(|it| it.failures))?;
        let answer =
            numbers.upstreams.iter().filter_map(|it| Some((one("upstream", &it.upstream), it.answer_secs?)));
        out.gauges("upstream_answer", "Time an upstream takes of late", Some(Unit::Seconds), answer)?;

        let sources = || numbers.sources.iter();
        let states =
            sources().map(|it| (vec![("source", it.source.as_str()), ("state", it.state.as_str())], 1.0));
        out.gauges("source_state", "1 at the state of a source", None, states)?;
        let ages = sources().filter_map(|it| Some((one("source", &it.source), it.age_secs?)));
        let about = "Time since a source was last read completely";
        out.gauges("source_age", about, Some(Unit::Seconds), ages)?;
        let names = sources().map(|it| (one("source", &it.source), it.names as f64));
        out.gauges("source_names", "Names that a source publishes", None, names)?;
        let held_back = sources().map(|it| (one("source", &it.source), it.held_back as f64));
        let about = "Names whose withdrawal waits for an operator";
        out.gauges("source_held_back_names", about, None, held_back)?;

        let zones = &numbers.zones;
        let record_sets: u64 = zones.iter().map(|it| it.record_sets).sum();
        out.gauge("zones", "Zones served", zones.len() as f64)?;
        out.gauge("record_sets", "Record sets served", record_sets as f64)?;
        out.gauge("revision", "Revision of the zones that is served", numbers.revision as f64)?;
        let shown = || zones.iter().take(ZONES_SHOWN_MAX);
        let record_sets = shown().map(|it| (one("zone", &it.apex), it.record_sets as f64));
        out.gauges("zone_record_sets", "Record sets of a zone", None, record_sets)?;
        let serials = shown().map(|it| (one("zone", &it.apex), it.serial.into()));
        out.gauges("zone_serial", "Serial of a zone", None, serials)?;

        for family in &numbers.others {
            let series = family.series.iter().map(|(labels, value)| {
                (labels.iter().map(|(key, value)| (*key, value.as_str())).collect::<Labels<'_>>(), *value)
            });
            match family.kind {
                FamilyKind::Counter => {
                    out.counters(family.name, family.help, series.map(|(l, value)| (l, value as u64)))?
                }
                FamilyKind::Gauge => out.gauges(family.name, family.help, None, series)?,
            }
        }
        Ok(())
    }

    fn encode_admin(&self, out: &mut Families<'_, '_>) -> fmt::Result {
        let counters = &self.counters;
        let requests = counters.requests();
        let statuses: Vec<_> = requests
            .by_status
            .iter()
            .map(|((method, status), count)| (*method, status.to_string(), *count))
            .collect();
        let by_status = statuses
            .iter()
            .map(|(method, status, count)| (vec![("method", *method), ("status", status.as_str())], *count));
        out.counters("admin_requests", "Requests to the admin API", by_status)?;
        let bounds = SECONDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(requests.buckets).collect();
        let about = "Time until an answer of the admin API begins";
        let count = requests.buckets.iter().sum();
        let mut times = out.encoder.encode_descriptor(
            "admin_answer",
            about,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        times.encode_histogram::<Vec<(&str, &str)>>(requests.seconds, count, &buckets, None)?;
        let open = counters.open_connections.load(Ordering::Relaxed);
        out.gauge("admin_open_connections", "Open connections of the admin API", open as f64)?;
        out.counter("admin_connections", "Connections taken", counters.connections.value())?;
        let about = "Connections closed at once, since there were too many";
        out.counter("admin_crowded_connections", about, counters.crowded.value())?;
        let about = "TLS handshakes that failed or took too long";
        out.counter("admin_failed_handshakes", about, counters.handshakes_failed.value())?;
        let about = "Requests without a right token or certificate";
        out.counter("admin_unauthenticated", about, counters.unauthenticated.value())?;
        out.counter(
            "admin_throttled",
            "Requests refused after too many failed attempts",
            counters.throttled.value(),
        )
    }
}

/// Writes one family after the other.
struct Families<'e, 'd> {
    encoder: &'e mut DescriptorEncoder<'d>,
}

impl Families<'_, '_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counters(name, help, [(vec![], value)])
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.gauges(name, help, None, [(vec![], value)])
    }

    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let put = |encoder: &mut MetricEncoder<'_>, value: &u64| {
            encoder.encode_counter::<Vec<(&str, &str)>, _, u64>(value, None)
        };
        self.family(name, help, None, MetricType::Counter, series, put)
    }

    fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        series: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        let put = |encoder: &mut MetricEncoder<'_>, value: &f64| encoder.encode_gauge(value);
        self.family(name, help, unit.as_ref(), MetricType::Gauge, series, put)
    }

    fn family<'l, V>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        kind: MetricType,
        series: impl IntoIterator<Item = (Labels<'l>, V)>,
        put: impl Fn(&mut MetricEncoder<'_>, &V) -> fmt::Result,
    ) -> fmt::Result {
        let mut series = series.into_iter().peekable();
        // A family without series is left out.
        if series.peek().is_none() {
            return Ok(());
        }
        let mut encoder = self.encoder.encode_descriptor(name, help, unit, kind)?;
        for (labels, value) in series {
            if labels.is_empty() {
                put(&mut encoder, &value)?;
            } else {
                put(&mut encoder.encode_family(&labels)?, &value)?;
            }
        }
        Ok(())
    }
}

/// The labels of a series with one.
fn one<'l>(key: &'static str, value: &'l str) -> Labels<'l> {
    vec![(key, value)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_at_once_shares_one_page() {
        let asked = prometheus_client::metrics::counter::Counter::<u64>::default();
        let mut registry = Registry::default();
        registry.register("asked", "How often", asked.clone());
        let page = Page { registry, last: Mutex::default() };
        let first = page.text().await.unwrap();
        asked.inc();
        assert_eq!(page.text().await.unwrap(), first);
        tokio::time::advance(FRESH).await;
        assert_ne!(page.text().await.unwrap(), first);
    }
}
