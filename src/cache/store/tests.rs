//! What is kept, for how long, and what is pushed out.

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
    let left: Vec<String> =
        cache.page(NameRef::ROOT, None, 9, now).iter().map(|entry| entry.question.name.to_string()).collect();
    assert_eq!(left, ["other.y."]);
}

#[test]
fn other_settings_keep_what_is_there_as_they_would_have_kept_it_and_go_on_counting() {
    let begun = Instant::now();
    let settings = Settings { negative_max_secs: 600, ..Settings::default() };
    let cache = Cache::new(settings.clone());
    let nothing = record("x.", 600, RecordType::SOA, "a. b. 1 2 3 4 600");
    cache.put(&question("a.x."), NONE, data("a.x.", 60), begun);
    cache.put(&question("no.x."), NONE, reply(End::Negative, vec![], vec![nothing]), begun);
    cache.put(&question("down.x."), NONE, failure(), begun);
    let find = |cache: &Cache, name: &str, secs: u64| {
        let now = begun + Duration::from_secs(secs);
        match cache.get(question(name).name.borrow(), RecordType::A, NONE, now) {
            Lookup::Fresh(hit) => format!("fresh, {} old", hit.age_secs),
            Lookup::Stale { .. } => "stale".to_owned(),
            Lookup::Miss => "none".to_owned(),
        }
    };
    assert_eq!(find(&cache, "a.x.", 10), "fresh, 10 old");
    assert_eq!(cache.purge(Some(question("nowhere.").name.borrow())), 0);
    let smaller = cache.with_settings(Settings { size_bytes: 1 << 20, ..settings.clone() });
    assert_eq!(find(&smaller, "a.x.", 20), "fresh, 20 old");
    assert_eq!(find(&smaller, "a.x.", 80_000), "stale", "the reserve is kept too");
    assert_eq!((smaller.counters().hits.value(), smaller.purges()), (2, 1));
    let shorter =
        smaller.with_settings(Settings { serve_stale_secs: 30, negative_max_secs: 100, ..settings.clone() });
    assert_eq!(find(&shorter, "a.x.", 80), "stale");
    assert_eq!(find(&shorter, "a.x.", 91), "none");
    assert_eq!(find(&shorter, "no.x.", 99), "fresh, 99 old");
    assert_eq!(find(&shorter, "no.x.", 101), "stale");
    assert_eq!(find(&shorter, "down.x.", 4), "fresh, 4 old");
    assert_eq!(find(&shorter, "down.x.", 6), "none", "a failure is no reserve");
    let none = smaller.with_settings(Settings { size_bytes: 0, ..settings });
    assert_eq!(find(&none, "a.x.", 20), "none");
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
