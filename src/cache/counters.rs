//! What the cache counts.

use crate::counters;

counters! {
    /// Events since the start.
    pub struct Counters => Counts in "cache" {
        /// Look-ups answered with a fresh entry.
        hits,
        /// Look-ups that found nothing usable.
        misses,
        /// Look-ups that found an entry past its lifetime which may still be served.
        stale,
        /// Entries pushed out to hold the memory bound.
        evictions,
        /// Hits that asked for their entry to be refreshed before it ends.
        prefetches,
    }
}
