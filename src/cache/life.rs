//! How long a kept reply is good, and how often it was asked for.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Asks within one lifetime that make an entry worth refreshing ahead of its end: two clients, not one that retries.
const PREFETCH_ASKS_MIN: u32 = 3;

/// The part of its life, one in so many, in which an entry is refreshed ahead of its end (Unbound's tenth).
const PREFETCH_PART: u32 = 10;

/// How long a failure stands before the question is asked again (RFC 9520 §3.2: one second to five minutes).
pub(super) const FAILURE: Duration = Duration::from_secs(5);

/// The times of one entry; it outlives the entry with whoever made an answer of it.
#[derive(Debug)]
pub struct Life {
    pub(super) stored: Instant,
    pub(super) expires: Instant,
    pub(super) stale_until: Instant,
    /// From here on an ask may refresh the entry.
    prefetch_from: Instant,
    /// Milliseconds after `stored` before which a stale entry is served without asking again.
    recheck_after_ms: AtomicU64,
    asks: AtomicU32,
    prefetched: AtomicBool,
    /// Whether upstream has said something newer.
    replaced: AtomicBool,
}

impl Life {
    pub(super) fn new(now: Instant, lifetime: Duration, stale: Duration) -> Life {
        Life {
            stored: now,
            expires: now + lifetime,
            stale_until: now + lifetime + stale,
            prefetch_from: now + (lifetime - lifetime / PREFETCH_PART),
            recheck_after_ms: AtomicU64::new(0),
            asks: AtomicU32::new(0),
            prefetched: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
        }
    }

    /// The same from its begin on, with other ends.
    pub(super) fn with(&self, lifetime: Duration, stale: Duration) -> Life {
        Life {
            recheck_after_ms: AtomicU64::new(self.recheck_after_ms.load(Ordering::Relaxed)),
            asks: AtomicU32::new(self.asks.load(Ordering::Relaxed)),
            ..Life::new(self.stored, lifetime, stale)
        }
    }

    /// How long it is fresh.
    pub(super) fn lifetime(&self) -> Duration {
        self.expires - self.stored
    }

    /// Seconds since upstream said it, for an answer that was made of the entry before; `None` when the cache must be
    /// asked, because the entry has ended, may want a refresh, or is no longer what upstream says.
    pub fn age_if_usual(&self, now: Instant) -> Option<u32> {
        self.is_usual(now).then(|| {
            self.count_ask();
            self.age_secs(now)
        })
    }

    /// Whether the entry is good, and nothing is to be done about it.
    pub fn is_usual(&self, now: Instant) -> bool {
        now < self.prefetch_from && !self.replaced.load(Ordering::Acquire)
    }

    pub(super) fn age_secs(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.stored).as_secs().try_into().unwrap_or(u32::MAX)
    }

    /// RFC 8767 §5: after a failure, upstream is left alone for a while.
    pub(super) fn put_off_recheck(&self, now: Instant) {
        let after = now.saturating_duration_since(self.stored) + FAILURE;
        self.recheck_after_ms.store(after.as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn wants_recheck(&self, now: Instant) -> bool {
        let age_ms = now.saturating_duration_since(self.stored).as_millis() as u64;
        age_ms >= self.recheck_after_ms.load(Ordering::Relaxed)
    }

    /// Counts an ask; true for one ask, near the end of a life in which there were several.
    pub(super) fn wants_prefetch(&self, now: Instant) -> bool {
        self.count_ask() + 1 >= PREFETCH_ASKS_MIN
            && now > self.prefetch_from
            && !self.prefetched.load(Ordering::Relaxed)
            && !self.prefetched.swap(true, Ordering::Relaxed)
    }

    /// How often it was asked for before, as far as that is counted.
    fn count_ask(&self) -> u32 {
        // Not counted further than needed: a store for each hit would make cores wait for each other.
        let asks = self.asks.load(Ordering::Relaxed);
        if asks < PREFETCH_ASKS_MIN {
            self.asks.fetch_add(1, Ordering::Relaxed);
        }
        asks
    }

    /// Something newer has taken the entry's place.
    pub(super) fn end(&self) {
        self.replaced.store(true, Ordering::Release);
    }
}
