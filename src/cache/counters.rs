//! What the cache counts.

use crate::telemetry::Counter;

/// Events since the start. Every worker raises them: each has its own cache line.
#[derive(Default, Debug)]
pub struct Counters {
    /// Look-ups answered with a fresh entry.
    pub hits: Counter,
    /// Look-ups that found nothing usable.
    pub misses: Counter,
    /// Look-ups that found an entry past its lifetime which may still be served.
    pub stale: Counter,
    /// Entries pushed out to hold the memory bound.
    pub evictions: Counter,
    /// Hits that asked for their entry to be refreshed before it ends.
    pub prefetches: Counter,
}
