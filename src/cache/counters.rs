//! What the cache counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Events since the start.
#[derive(Default, Debug)]
pub struct Counters {
    /// Look-ups answered with a fresh entry.
    pub hits: AtomicU64,
    /// Look-ups that found nothing usable.
    pub misses: AtomicU64,
    /// Look-ups that found an entry past its lifetime which may still be served.
    pub stale: AtomicU64,
    /// Entries pushed out to hold the memory bound.
    pub evictions: AtomicU64,
    /// Hits that asked for their entry to be refreshed before it ends.
    pub prefetches: AtomicU64,
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
