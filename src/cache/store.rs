//! The cache: bounded in bytes, fresh for as long as upstream allows, then stale for a day.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use tokio::time::Instant;

use super::entry::Entry;
use super::key::{Key, KeyRef, Manner};
use super::life::{FAILURE, Life};
use super::{Counters, End, UpstreamReply, denial};
use crate::dns::{NameRef, Question, RecordType, Ttl};

/// The longest that a record is kept, whatever its TTL (RFC 8767 §4).
const LIFETIME_SECS_MAX: u32 = 7 * 24 * 60 * 60;

/// What an entry is reckoned to weigh, to size the tables; one with two records weighs about this much.
const ENTRY_BYTES_USUAL: u64 = 1024;

/// Entries that room is made for at first: of 100 MB that are not touched before they are used.
const ENTRIES_RESERVED_MAX: u64 = 1 << 20;

/// The least that one part of the cache holds: several of the largest replies.
const SHARD_BYTES_MIN: u64 = 1 << 20;

/// The most parts: a lock each, several for each core of a large machine.
const SHARDS_MAX: u64 = 256;

/// How much is kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes that entries may take, the cache's own tables included; zero keeps nothing.
    pub size_bytes: u64,
    /// Seconds past its end for which an entry may answer while upstream fails (RFC 8767); zero for never.
    pub serve_stale_secs: u32,
    /// The longest that "no such name" and "no data" are kept (RFC 2308 §5).
    pub negative_max_secs: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { size_bytes: 256 << 20, serve_stale_secs: 86_400, negative_max_secs: 900 }
    }
}

/// What upstreams said, by question.
pub struct Cache {
    settings: Settings,
    pub(super) entries: Entries,
    /// How often entries were forgotten at somebody's word.
    purges: AtomicU64,
    counters: Arc<Counters>,
}

pub(super) type Entries =
    quick_cache::sync::Cache<Key, Entry, Bytes, foldhash::quality::RandomState, CountEvictions>;

/// What the cache has for a question.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// An entry within its lifetime. A failure that was kept (RFC 9520) is one too.
    Fresh(Hit),
    /// An entry past its lifetime, good for when upstream fails.
    Stale {
        hit: Hit,
        /// Whether to ask upstream first; false for some seconds after it failed.
        recheck: bool,
    },
    Miss,
}

/// A kept reply.
#[derive(Clone, Debug)]
pub struct Hit {
    pub reply: Arc<UpstreamReply>,
    /// Seconds to subtract from its TTLs; a stale reply's TTLs are less than this.
    pub age_secs: u32,
    /// True for one hit of an entry: it is asked for often and about to end, so refresh it now.
    pub wants_prefetch: bool,
    /// For whoever makes a finished answer of it.
    pub life: Arc<Life>,
}

/// An entry as an operator sees it.
#[derive(Clone, Debug)]
pub struct Listed {
    pub question: Question,
    pub manner: Manner,
    pub reply: Arc<UpstreamReply>,
    pub age_secs: u32,
    /// Seconds until the entry ends; zero when it is stale.
    pub fresh_secs: u32,
}

impl Cache {
    pub fn new(settings: Settings) -> Cache {
        Cache::counting(settings, Arc::default())
    }

    /// One by other settings that has what this one has, for as long as these let it, and goes on counting.
    pub fn with_settings(&self, settings: Settings) -> Cache {
        let cache = Cache::counting(settings, Arc::clone(&self.counters));
        cache.purges.store(self.purges(), Ordering::Release);
        for (key, entry) in self.entries.iter() {
            let entry = entry.kept_for(cache.negative_max(), cache.stale());
            cache.entries.insert(key, entry);
        }
        cache
    }

    fn counting(settings: Settings, counters: Arc<Counters>) -> Cache {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let shards = (settings.size_bytes / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX.min(cores * 4));
        // `shards` is rounded up to a power of two by the cache; round down instead, for shards not below their least.
        let shards = 1 << shards.ilog2();
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity((settings.size_bytes / ENTRY_BYTES_USUAL) as usize)
            .weight_capacity(settings.size_bytes)
            .build()
            .expect("capacities are set");
        let entries = Entries::with_options(
            options,
            Bytes,
            foldhash::quality::RandomState::default(),
            CountEvictions(counters.clone()),
        );
        // A table that grows asks all its keys anew, for milliseconds at a time; what is not used of it is not there.
        entries.reserve((settings.size_bytes / ENTRY_BYTES_USUAL).min(ENTRIES_RESERVED_MAX) as usize);
        Cache { settings, entries, purges: AtomicU64::new(0), counters }
    }

    /// Looks a question up and counts how that went.
    pub fn get(
        &self,
        name: NameRef<'_>,
        rtype: RecordType,
        manner: impl Into<Manner>,
        now: Instant,
    ) -> Lookup {
        let found = self.find_again(name, rtype, manner, now);
        match &found {
            Lookup::Fresh(hit) => {
                self.counters.hits.add(1);
                if hit.wants_prefetch {
                    self.counters.prefetches.add(1);
                }
            }
            Lookup::Stale { .. } => self.counters.stale.add(1),
            Lookup::Miss => self.counters.misses.add(1),
        }
        found
    }

    /// Looks a question up whose look-up was counted before.
    pub fn find_again(
        &self,
        name: NameRef<'_>,
        rtype: RecordType,
        manner: impl Into<Manner>,
        now: Instant,
    ) -> Lookup {
        let key = KeyRef { name, rtype, manner: manner.into() };
        let Some((key, entry)) = self.find(key, now, |key| self.entries.get(key)) else {
            return Lookup::Miss;
        };
        if entry.is_fresh(now) {
            let wants_prefetch = entry.wants_prefetch(now);
            return Lookup::Fresh(Hit { wants_prefetch, ..Hit::at(entry, now) });
        }
        if entry.is_usable(now) {
            return Lookup::Stale { recheck: entry.life.wants_recheck(now), hit: Hit::at(entry, now) };
        }
        self.entries.remove_if(&key, |found| Arc::ptr_eq(&found.life, &entry.life));
        Lookup::Miss
    }

    /// What may answer while upstream fails; not counted as a look-up.
    pub fn fallback(
        &self,
        name: NameRef<'_>,
        rtype: RecordType,
        manner: impl Into<Manner>,
        now: Instant,
    ) -> Option<Hit> {
        self.good(KeyRef { name, rtype, manner: manner.into() }, now).map(|entry| Hit::at(entry, now))
    }

    /// An entry, fresh or stale, that is no failure.
    fn good(&self, key: KeyRef<'_>, now: Instant) -> Option<Entry> {
        let is_good = |entry: &Entry| entry.is_usable(now) && !entry.is_failure();
        self.find(key, now, |key| self.entries.peek(key).filter(is_good)).map(|(_, entry)| entry)
    }

    /// What is kept for a question: said of its type, or of its name.
    fn find<'k>(
        &self,
        key: KeyRef<'k>,
        now: Instant,
        look: impl Fn(&KeyRef<'k>) -> Option<Entry>,
    ) -> Option<(KeyRef<'k>, Entry)> {
        let own = match look(&key) {
            Some(entry) if entry.is_fresh(now) && !entry.is_failure() => return Some((key, entry)),
            own => own,
        };
        let of_name = KeyRef { rtype: denial::KEPT_UNDER, ..key };
        let denial = look(&of_name).filter(|entry| denial::holds_for(&entry.reply, key.rtype));
        match (own, denial) {
            (Some(own), Some(denial)) if !denial.is_better(&own, now) => Some((key, own)),
            (own, None) => own.map(|own| (key, own)),
            (_, Some(denial)) => Some((of_name, denial)),
        }
    }

    /// Keeps what upstream said to a question.
    pub fn put(
        &self,
        question: &Question,
        manner: impl Into<Manner>,
        reply: Arc<UpstreamReply>,
        now: Instant,
    ) {
        let manner = manner.into();
        let asked = KeyRef { name: question.name.borrow(), rtype: question.rtype, manner };
        if reply.end == End::Failed {
            // A failure never takes the place of what was known before; it only keeps upstream from being asked again.
            if let Some(entry) = self.good(asked, now) {
                entry.life.put_off_recheck(now);
                return;
            }
        }
        let is_denial = denial::holds_for(&reply, question.rtype);
        if is_denial && let Some((end, denial)) = denial::of_end(&reply) {
            self.put(&Question { name: end, rtype: question.rtype }, manner, Arc::new(denial), now);
        }
        let rtype = if is_denial { denial::KEPT_UNDER } else { question.rtype };
        let key = Key { name: question.name.clone(), rtype, manner };
        let (lifetime, is_failure) = (self.lifetime(&reply), reply.end == End::Failed);
        let known = self.entries.peek(&key.borrow());
        if lifetime.is_zero() {
            // Upstream said something newer than what was kept, and this must not be kept.
            self.entries.remove(&key.borrow());
        } else {
            let stale = if is_failure { Duration::ZERO } else { self.stale() };
            let entry = Entry::new(&key, reply, now, lifetime, stale);
            self.entries.insert(key, entry);
        }
        // After the newer one is there, so that whoever is sent to the cache finds it.
        if let Some(known) = known {
            known.life.end();
        }
        if !is_failure {
            self.forget_contradicted(asked, is_denial);
        }
    }

    fn stale(&self) -> Duration {
        Duration::from_secs(self.settings.serve_stale_secs.into())
    }

    fn negative_max(&self) -> Duration {
        Duration::from_secs(self.settings.negative_max_secs.into())
    }

    /// Forgets what the last word of upstream contradicts: what its type had, or that there is no such name.
    fn forget_contradicted(&self, asked: KeyRef<'_>, is_denial: bool) {
        let key = if is_denial { asked } else { KeyRef { rtype: denial::KEPT_UNDER, ..asked } };
        if let Some(known) = self.entries.peek(&key) {
            self.entries.remove_if(&key, |found| Arc::ptr_eq(&found.life, &known.life));
            known.life.end();
        }
    }

    /// `reply` with TTLs that promise no more than the cache itself keeps.
    pub fn capped(&self, mut reply: UpstreamReply) -> UpstreamReply {
        let cap = |ttl: Ttl, secs: u32| Ttl::from_secs(ttl.secs().min(secs)).unwrap_or(ttl);
        for record in &mut reply.answer {
            record.ttl = cap(record.ttl, LIFETIME_SECS_MAX);
        }
        let authority_secs = match reply.end {
            End::Negative => self.settings.negative_max_secs,
            _ => LIFETIME_SECS_MAX,
        };
        for record in &mut reply.authority {
            record.ttl = cap(record.ttl, authority_secs);
        }
        reply
    }

    fn lifetime(&self, reply: &UpstreamReply) -> Duration {
        let secs = reply.lifetime_secs();
        let secs = match reply.end {
            End::Data | End::Continues(_) | End::TooLong => secs.min(LIFETIME_SECS_MAX),
            End::Negative => secs.min(self.settings.negative_max_secs),
            // Aliases before the failure may live shorter than it (RFC 9520 §3.2: but for a second at least).
            End::Failed if !reply.answer.is_empty() => secs.clamp(1, FAILURE.as_secs() as u32),
            End::Failed => FAILURE.as_secs() as u32,
        };
        Duration::from_secs(u64::from(secs))
    }

    /// Forgets `name` and all below it, or everything; answers how many entries that were.
    pub fn purge(&self, name: Option<NameRef<'_>>) -> usize {
        let before = self.entries.len();
        match name {
            Some(name) => self.entries.retain(|key, _| !key.name.borrow().is_within(name)),
            None => self.entries.clear(),
        }
        self.purged();
        before.saturating_sub(self.entries.len())
    }

    /// Forgets all that upstreams said of `domain` and what lies below it, also at the end of other names' chains: from
    /// now on others are asked of them.
    pub fn purge_domain(&self, domain: NameRef<'_>) {
        let is_of =
            |key: &Key, entry: &Entry| key.name.borrow().is_within(domain) || entry.reply.speaks_of(domain);
        self.entries.retain(|key, entry| !is_of(key, entry));
        self.purged();
    }

    /// Counts a purge when its entries are gone: what is looked up afterwards is not of them.
    fn purged(&self) {
        self.purges.fetch_add(1, Ordering::Release);
    }

    /// How often entries were forgotten at somebody's word: an answer made of an entry before the last time is not
    /// good any more.
    pub fn purges(&self) -> u64 {
        self.purges.load(Ordering::Acquire)
    }

    /// Counts hits of answers that were made of entries before.
    pub fn count_hits(&self, hits: usize) {
        self.counters.hits.add(hits as u64);
    }

    /// How many entries there are, ended ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that the entries take.
    pub fn bytes(&self) -> u64 {
        self.entries.weight()
    }

    /// What holds of it.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Hit {
    fn at(entry: Entry, now: Instant) -> Hit {
        let age_secs = entry.life.age_secs(now);
        Hit { reply: entry.reply, age_secs, wants_prefetch: false, life: entry.life }
    }
}

/// Weighs entries in bytes.
#[derive(Clone)]
pub(super) struct Bytes;

impl Weighter<Key, Entry> for Bytes {
    fn weight(&self, _: &Key, entry: &Entry) -> u64 {
        entry.weight_bytes
    }
}

/// Counts what is pushed out.
#[derive(Clone)]
pub(super) struct CountEvictions(Arc<Counters>);

impl Lifecycle<Key, Entry> for CountEvictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: Key, _: Entry) {
        self.0.evictions.add(1);
    }
}

#[cfg(test)]
mod tests;
