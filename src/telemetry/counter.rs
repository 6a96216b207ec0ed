//! A counter that many threads may raise at once.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
// Processors fetch cache lines in pairs: 128 bytes keep two counters from slowing each other.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero, also for statics.
    pub const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    /// Raises it by `count`.
    pub fn add(&self, count: u64) {
        // Nothing else is ordered by a counter.
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_between_threads() {
        let counter = Counter::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| counter.add(2)));
            }
        });
        assert_eq!(counter.value(), 8000);
    }

    #[test]
    fn two_counters_share_no_cache_line() {
        assert_eq!(size_of::<[Counter; 2]>(), 256);
    }
}
