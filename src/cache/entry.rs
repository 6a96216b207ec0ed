//! One kept reply, and what it weighs.

use std::mem::size_of;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::key::Key;
use super::life::Life;
use super::{End, UpstreamReply};
use crate::dns::Record;

/// What an allocation costs beside the bytes asked for: the allocator's header and its rounding.
const ALLOCATION_BYTES: usize = 24;

/// What an entry costs in the cache's own tables: up to three slots, one of them a ghost's, with 21 bytes each.
const SLOT_BYTES: usize = 3 * (size_of::<Key>() + size_of::<Entry>() + 32);

/// A reply and its times; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub reply: Arc<UpstreamReply>,
    pub life: Arc<Life>,
    pub weight_bytes: u64,
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
        Entry { reply, life: Arc::new(Life::new(now, lifetime, stale)), weight_bytes }
    }

    /// The same entry as by other bounds: those of what does not exist, and of what is past its end.
    pub fn kept_for(self, negative_max: Duration, stale: Duration) -> Entry {
        let stale = if self.is_failure() { Duration::ZERO } else { stale };
        let lifetime = match self.reply.end {
            End::Negative => self.life.lifetime().min(negative_max),
            _ => self.life.lifetime(),
        };
        Entry { life: Arc::new(self.life.with(lifetime, stale)), ..self }
    }

    pub fn is_failure(&self) -> bool {
        self.reply.end == End::Failed
    }

    pub fn is_fresh(&self, now: Instant) -> bool {
        now < self.life.expires
    }

    /// Whether the entry may be served at all, fresh or stale.
    pub fn is_usable(&self, now: Instant) -> bool {
        now < self.life.stale_until
    }

    /// Whether a denial is to be believed before what is kept of its type, which is not fresh or a failure.
    pub fn is_better(&self, own: &Entry, now: Instant) -> bool {
        self.is_fresh(now) || !own.is_fresh(now) && self.life.stored >= own.life.stored
    }

    /// Whether this ask is the one that shall refresh the entry; a failure is not refreshed.
    pub fn wants_prefetch(&self, now: Instant) -> bool {
        !self.is_failure() && self.life.wants_prefetch(now)
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
        + size_of::<Life>()
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
