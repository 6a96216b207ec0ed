//! The numbers of one moment, as the daemon hands them over for `/metrics`.

/// Everything that is counted, since the start where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Questions by transport: `udp`, `tcp`, `tls`, `https`, `quic`.
    pub queries: Vec<(&'static str, u64)>,
    /// Answers by rcode: `NOERROR`, `NXDOMAIN`, …
    pub answers: Vec<(String, u64)>,
    pub cache: CacheMetrics,
    pub upstreams: Vec<UpstreamMetrics>,
    pub sources: Vec<SourceMetrics>,
    /// Ordered as they should be shown; beyond `ZONES_SHOWN_MAX` they appear in the sums only.
    pub zones: Vec<ZoneMetrics>,
    /// The revision of the zones that is served.
    pub revision: u64,
    /// Counters of the parts that have no place above.
    pub others: Vec<Family>,
}

/// The most zones with series of their own.
// A scrape of a few thousand lines is what a Prometheus server takes without a thought.
pub const ZONES_SHOWN_MAX: usize = 1000;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheMetrics {
    pub hits: u64,
    pub misses: u64,
    pub stale: u64,
    pub evictions: u64,
    pub prefetches: u64,
    pub entries: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpstreamMetrics {
    /// As configured.
    pub upstream: String,
    /// `None` while it has neither answered nor failed to.
    pub is_up: Option<bool>,
    /// `None` where it is not counted by upstream.
    pub queries: Option<u64>,
    pub timeouts: Option<u64>,
    pub failures: Option<u64>,
    /// The time an answer takes of late.
    pub answer_secs: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceMetrics {
    pub source: String,
    /// `fresh`, `stale`, `held-back`, …
    pub state: String,
    /// Since the records were last read completely; `None` before the first time.
    pub age_secs: Option<f64>,
    pub names: u64,
    /// Names whose withdrawal waits for an operator.
    pub held_back: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ZoneMetrics {
    pub apex: String,
    pub record_sets: u64,
    pub serial: u32,
}

/// A metric with a name of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Without the program's prefix; a counter's without `_total`.
    pub name: &'static str,
    pub help: &'static str,
    pub kind: FamilyKind,
    /// Labels and value of each series.
    pub series: Vec<(Vec<(&'static str, String)>, f64)>,
}

/// Whether a number only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    Counter,
    Gauge,
}
