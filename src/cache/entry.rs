//! One kept reply: how long it is fresh and stale, how often it was asked for, what it weighs.

use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::key::Key;
use super::{End, UpstreamReply};
use crate::dns::Record;

/// Asks within one lifetime that make an entry worth refreshing ahead of its end: two clients, not one that retries.
const PREFETCH_ASKS_MIN: u32 = 3;

/// The part of its life, one in so many, in which an entry is refreshed ahead of its end (Unbound's tenth).
const PREFETCH_PART: u32 = 10;

/// How long a failure stands before the question is asked again (RFC 9520 §3.2: one second to five minutes).
pub(super) const FAILURE: Duration = Duration::from_secs(5);

/// What an allocation costs beside the bytes asked for: the allocator's header and its rounding.
const ALLOCATION_BYTES: usize = 24;

/// What an entry costs in the cache's own tables: up to three slots, one of them a ghost's, with 21 bytes each.
const SLOT_BYTES: usize = 3 * (size_of::<Key>() + size_of::<Arc<Entry>>() + 32);

/// A reply and its times.
#[derive(Debug)]
pub(super) struct Entry {
    pub reply: Arc<UpstreamReply>,
    pub stored: Instant,
    pub expires: Instant,
    pub stale_until: Instant,
    pub weight_bytes: u64,
    /// Milliseconds after `stored` before which a stale entry is served without asking again.
    recheck_after_ms: AtomicU64,
    asks: AtomicU32,
    prefetched: AtomicBool,
}

impl Entry {
    pub fn new(
        key: &Key,
        reply: Arc<UpstreamReply>,
        now: Instant,
        lifetime: Duration,
        stale: Duration,
    ) -> Entry {
        let weight_bytes = (SLOT_BYTES + name_bytes(&key.name) + weigh(&reply)) as u64;
        Entry {
            reply,
            stored: now,
            expires: now + lifetime,
            stale_until: now + lifetime + stale,
            weight_bytes,
            recheck_after_ms: AtomicU64::new(0),
            asks: AtomicU32::new(0),
            prefetched: AtomicBool::new(false),
        }
    }

    pub fn is_failure(&self) -> bool {
        self.reply.end == End::Failed
    }

    /// Whether the entry may be served at all, fresh or stale.
    pub fn is_usable(&self, now: Instant) -> bool {
        now < self.stale_until
    }

    pub fn age_secs(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.stored).as_secs().try_into().unwrap_or(u32::MAX)
    }

    /// RFC 8767 §5: after a failure, upstream is left alone for a while.
    pub fn put_off_recheck(&self, now: Instant) {
        let after = now.saturating_duration_since(self.stored) + FAILURE;
        self.recheck_after_ms.store(after.as_millis() as u64, Ordering::Relaxed);
    }

    pub fn wants_recheck(&self, now: Instant) -> bool {
        let age_ms = now.saturating_duration_since(self.stored).as_millis() as u64;
        age_ms >= self.recheck_after_ms.load(Ordering::Relaxed)
    }

    /// Counts an ask; true for one ask, near the end of a life in which there were several.
    pub fn wants_prefetch(&self, now: Instant) -> bool {
        // Not counted further than needed: a store for each hit would make cores wait for each other.
        let asks = self.asks.load(Ordering::Relaxed);
        if asks < PREFETCH_ASKS_MIN {
            self.asks.fetch_add(1, Ordering::Relaxed);
        }
        asks + 1 >= PREFETCH_ASKS_MIN
            && self.expires.saturating_duration_since(now) < (self.expires - self.stored) / PREFETCH_PART
            && !self.is_failure()
            && !self.prefetched.load(Ordering::Relaxed)
            && !self.prefetched.swap(true, Ordering::Relaxed)
    }
}

/// Bytes that a reply keeps on the heap.
fn weigh(reply: &UpstreamReply) -> usize {
    let records = [&reply.answer, &reply.authority].map(|records| {
        let outside =
            records.iter().map(|record| name_bytes(&record.owner) + ALLOCATION_BYTES + record.data.len());
        ALLOCATION_BYTES + records.capacity() * size_of::<Record>() + outside.sum::<usize>()
    });
    let end = match &reply.end {
        End::Continues(name) => name_bytes(name),
        _ => 0,
    };
    let text = reply.extended_error.as_ref().map_or(0, |error| ALLOCATION_BYTES + error.text.len());
    2 * ALLOCATION_BYTES
        + size_of::<Entry>()
        + size_of::<UpstreamReply>()
        + records[0]
        + records[1]
        + end
        + text
}

fn name_bytes(name: &crate::dns::Name) -> usize {
    // The counts of an `Arc` stand before its bytes.
    ALLOCATION_BYTES + 2 * size_of::<usize>() + name.as_wire().len()
}
