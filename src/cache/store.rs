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
        let counters = Arc::new(Counters::default());
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
            let stale = match reply.end {
                End::Failed => 0,
                _ => self.settings.serve_stale_secs,
            };
            let entry = Entry::new(&key, reply, now, lifetime, Duration::from_secs(u64::from(stale)));
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
mod tests {
    use super::*;
    use crate::dns::{ExtendedError, Name, QueryFlags, Rcode, Record, rdata};

    const NONE: QueryFlags = QueryFlags { dnssec_ok: false, checking_disabled: false };

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn question(text: &str) -> Question {
        Question { name: name(text), rtype: RecordType::A }
    }

    fn record(owner: &str, ttl: u32, rtype: RecordType, data: &str) -> Record {
        let data = rdata::from_text(rtype, data, NameRef::ROOT).unwrap().into();
        Record { owner: name(owner), rtype, ttl: Ttl::from_secs(ttl).unwrap(), data }
    }

    fn data(owner: &str, ttl: u32) -> Arc<UpstreamReply> {
        reply(End::Data, vec![record(owner, ttl, RecordType::A, "10.0.0.1")], vec![])
    }

    fn reply(end: End, answer: Vec<Record>, authority: Vec<Record>) -> Arc<UpstreamReply> {
        let rcode = if end == End::Failed { Rcode::SERVFAIL } else { Rcode::NOERROR };
        Arc::new(UpstreamReply { rcode, authenticated: false, answer, authority, end, extended_error: None })
    }

    #[test]
    fn a_domain_that_others_are_asked_of_is_forgotten_at_the_end_of_chains_too() {
        let cache = Cache::new(Settings::default());
        let now = Instant::now();
        let alias = |owner: &str, target: &str| record(owner, 60, RecordType::CNAME, target);
        let nothing = record("x.", 60, RecordType::SOA, "a. b. 1 2 3 4 5");
        for (owner, reply) in [
            ("a.corp.x.", data("a.corp.x.", 60)),
            ("there.y.", reply(End::Negative, vec![alias("there.y.", "b.corp.x.")], vec![nothing])),
            (
                "continues.y.",
                reply(End::Continues(name("b.corp.x.")), vec![alias("continues.y.", "b.corp.x.")], vec![]),
            ),
            ("other.y.", data("other.y.", 60)),
        ] {
            cache.put(&question(owner), NONE, reply, now);
        }
        cache.purge_domain(name("corp.x.").borrow());
        let left: Vec<String> = cache
            .page(NameRef::ROOT, None, 9, now)
            .iter()
            .map(|entry| entry.question.name.to_string())
            .collect();
        assert_eq!(left, ["other.y."]);
    }

    fn failure() -> Arc<UpstreamReply> {
        Arc::new(UpstreamReply::failure(Rcode::SERVFAIL, ExtendedError::new(22, "down")))
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    struct At {
        cache: Cache,
        start: Instant,
    }

    impl At {
        fn new() -> At {
            At { cache: Cache::new(Settings::default()), start: Instant::now() }
        }

        fn put(&self, after: u64, owner: &str, reply: Arc<UpstreamReply>) {
            self.cache.put(&question(owner), NONE, reply, self.start + secs(after));
        }

        /// `fresh 3`, `stale 70 recheck`, `miss`.
        fn get(&self, after: u64, owner: &str) -> String {
            match self.cache.get(name(owner).borrow(), RecordType::A, NONE, self.start + secs(after)) {
                Lookup::Fresh(hit) if hit.reply.end == End::Failed => "failed".to_owned(),
                Lookup::Fresh(hit) => format!("fresh {}", hit.age_secs),
                Lookup::Stale { hit, recheck: true } => format!("stale {} recheck", hit.age_secs),
                Lookup::Stale { hit, recheck: false } => format!("stale {}", hit.age_secs),
                Lookup::Miss => "miss".to_owned(),
            }
        }
    }

    #[test]
    fn an_entry_is_fresh_then_stale_then_gone() {
        let at = At::new();
        assert_eq!(at.get(0, "a."), "miss");
        at.put(0, "a.", data("a.", 60));
        assert_eq!(at.get(59, "a."), "fresh 59");
        assert_eq!(at.get(60, "a."), "stale 60 recheck");
        assert_eq!(at.get(60 + 86_399, "a."), "stale 86459 recheck");
        assert_eq!(at.get(60 + 86_400, "a."), "miss");
        assert_eq!(at.cache.len(), 0);
        let counters = at.cache.counters();
        let counted = [&counters.hits, &counters.stale, &counters.misses];
        assert_eq!(counted.map(|counter| counter.value()), [1, 2, 2]);
    }

    #[test]
    fn what_a_query_asks_of_the_answerer_is_part_of_the_key() {
        let at = At::new();
        at.put(0, "a.", data("a.", 60));
        for (dnssec_ok, checking_disabled) in [(true, false), (false, true), (true, true)] {
            let flags = QueryFlags { dnssec_ok, checking_disabled };
            let found = at.cache.get(name("a.").borrow(), RecordType::A, flags, at.start);
            assert!(matches!(found, Lookup::Miss));
        }
        assert!(matches!(at.cache.get(name("a.").borrow(), RecordType::AAAA, NONE, at.start), Lookup::Miss));
    }

    #[test]
    fn lifetimes_are_capped_at_a_week_and_for_negatives_at_their_setting() {
        let at = At::new();
        at.put(0, "a.", data("a.", 30 * 86_400));
        assert_eq!(at.get(7 * 86_400 - 1, "a."), "fresh 604799");
        assert_eq!(at.get(7 * 86_400, "a."), "stale 604800 recheck");
        let soa = record(".", 86_400, RecordType::SOA, "a. b. 1 1 1 1 86400");
        let negative = reply(End::Negative, vec![], vec![soa]);
        at.put(0, "b.", negative.clone());
        assert_eq!(at.get(899, "b."), "fresh 899");
        assert_eq!(at.get(900, "b."), "stale 900 recheck");
        let capped = at.cache.capped(UpstreamReply::clone(&negative));
        assert_eq!(capped.authority[0].ttl.secs(), 900);
        let without_soa = reply(End::Negative, vec![], vec![]);
        at.put(0, "c.", without_soa);
        assert_eq!(at.get(0, "c."), "miss");
    }

    #[test]
    fn a_lifetime_of_zero_is_not_kept_and_ends_what_was() {
        let at = At::new();
        at.put(0, "a.", data("a.", 60));
        at.put(1, "a.", data("a.", 0));
        assert_eq!(at.get(1, "a."), "miss");
    }

    #[test]
    fn a_failure_stands_for_five_seconds_and_is_never_stale() {
        let at = At::new();
        at.put(0, "a.", failure());
        assert_eq!(at.get(4, "a."), "failed");
        assert_eq!(at.get(5, "a."), "miss");
        let alias = record("b.", 2, RecordType::CNAME, "c.");
        at.put(0, "b.", reply(End::Failed, vec![alias], vec![]));
        assert_eq!(at.get(1, "b."), "failed");
        assert_eq!(at.get(2, "b."), "miss");
    }

    #[test]
    fn a_failure_leaves_a_stale_entry_and_puts_off_the_next_ask() {
        let at = At::new();
        at.put(0, "a.", data("a.", 60));
        assert_eq!(at.get(70, "a."), "stale 70 recheck");
        at.put(71, "a.", failure());
        assert_eq!(at.get(72, "a."), "stale 72");
        assert_eq!(at.get(76, "a."), "stale 76 recheck");
        // Failing again and again does not make the entry live longer.
        at.put(86_450, "a.", failure());
        assert_eq!(at.get(86_459, "a."), "stale 86459 recheck");
        assert_eq!(at.get(86_460, "a."), "miss");
        at.put(86_461, "a.", failure());
        assert_eq!(at.get(86_462, "a."), "failed");
        at.put(86_463, "a.", data("a.", 60));
        assert_eq!(at.get(86_464, "a."), "fresh 1");
    }

    #[test]
    fn hits_do_not_make_an_entry_live_longer() {
        let at = At::new();
        at.put(0, "a.", data("a.", 60));
        (0..60).for_each(|second| assert_eq!(at.get(second, "a."), format!("fresh {second}")));
        assert_eq!(at.get(60, "a."), "stale 60 recheck");
    }

    #[test]
    fn an_entry_asked_for_often_wants_a_refresh_once_in_its_last_tenth() {
        let at = At::new();
        at.put(0, "a.", data("a.", 100));
        at.put(0, "rare.", data("rare.", 100));
        let wants = |owner: &str, after: u64| {
            let found = at.cache.get(name(owner).borrow(), RecordType::A, NONE, at.start + secs(after));
            matches!(found, Lookup::Fresh(Hit { wants_prefetch: true, .. }))
        };
        assert!(!wants("a.", 1) && !wants("a.", 2) && !wants("a.", 3) && !wants("a.", 90));
        assert!(wants("a.", 91));
        assert!(!wants("a.", 92));
        assert!(!wants("rare.", 95) && !wants("rare.", 96));
        assert_eq!(at.cache.counters().prefetches.value(), 1);
    }

    #[test]
    fn the_memory_bound_is_held() {
        let cache = Cache::new(Settings { size_bytes: 4 << 20, ..Settings::default() });
        let now = Instant::now();
        for index in 0..20_000 {
            let owner = format!("name-{index}.blob.core.windows.net.");
            let records = index % 20 + 1;
            let answer = (0..records).map(|_| record(&owner, 300, RecordType::A, "10.0.0.1")).collect();
            cache.put(&question(&owner), NONE, reply(End::Data, answer, vec![]), now);
            assert!(cache.bytes() <= 4 << 20);
        }
        // Full, and every entry weighs more than its mere bytes.
        assert!(cache.bytes() > 3 << 20);
        assert!(cache.bytes() / cache.len() as u64 > 500);
        assert!(cache.counters().evictions.value() > 10_000);
        let nothing = Cache::new(Settings { size_bytes: 0, ..Settings::default() });
        nothing.put(&question("a."), NONE, data("a.", 60), now);
        assert_eq!((nothing.len(), nothing.bytes()), (0, 0));
    }

    #[test]
    fn the_largest_reply_fits_a_small_cache() {
        let cache = Cache::new(Settings { size_bytes: 1 << 20, ..Settings::default() });
        let text = format!("\"{}\"", "x".repeat(250));
        let answer: Vec<Record> = (0..230).map(|_| record("a.", 60, RecordType::TXT, &text)).collect();
        cache.put(&question("a."), NONE, reply(End::Data, answer, vec![]), Instant::now());
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn purging_a_name_takes_what_lies_below_it() {
        let at = At::new();
        for owner in ["x.", "a.x.", "b.a.x.", "ax."] {
            at.put(0, owner, data(owner, 60));
        }
        assert_eq!(at.cache.page(name("x.").borrow(), None, 10, at.start).len(), 3);
        assert_eq!(at.cache.page(NameRef::ROOT, None, 2, at.start).len(), 2);
        assert_eq!(at.cache.purge(Some(name("a.x.").borrow())), 2);
        assert_eq!(at.get(0, "x."), "fresh 0");
        assert_eq!(at.cache.purge(None), 2);
        assert!(at.cache.is_empty());
    }
}
