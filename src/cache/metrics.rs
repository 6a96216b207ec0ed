//! What the cache tells `/metrics`.

use super::{Cache, Counts};
use crate::telemetry::{Families, label};

impl Cache {
    /// Adds what was counted, and how much is kept.
    pub fn measure(&self, families: &mut Families) {
        let Counts { hits, misses, stale, evictions, prefetches } = self.counters().counts();
        let lookups = [("hit", hits), ("miss", misses), ("stale", stale)];
        let lookups = lookups.map(|(result, count)| (label("result", result), count));
        families.counters("cache_lookups", "Look-ups where upstream would be asked otherwise", lookups);
        families.counter("cache_evictions", "Entries pushed out to hold the memory bound", evictions);
        families.counter("cache_prefetches", "Entries asked for again before their end", prefetches);
        families.counter(
            "cache_purges",
            "Times that entries were forgotten at somebody's word",
            self.purges(),
        );
        families.gauge("cache_entries", "Entries in the cache", self.len() as f64);
        families.gauge("cache_size_bytes", "Memory of the cache's entries", self.bytes() as f64);
        let limit = self.settings().size_bytes as f64;
        families.gauge("cache_size_limit_bytes", "Memory that the cache's entries may take", limit);
    }
}
