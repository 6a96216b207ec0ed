use std::net::IpAddr;
use std::time::Duration;

use super::super::Standing;
use super::super::scripted::{self, Said, Scripted, ask, question, settings};
use super::*;
use crate::cache::{self, End, Lookup};

const NONE: QueryFlags = QueryFlags { dnssec_ok: false, checking_disabled: false };

fn cached(forwarder: &Forwarder, name: &str) -> Lookup {
    let question = question(name);
    forwarder.cache.get(question.name.borrow(), question.rtype, NONE, Instant::now())
}

#[tokio::test(start_paused = true)]
async fn two_hundred_who_ask_the_same_are_answered_by_one_query() {
    let script = Scripted::new(|seen| {
        Said::After(Duration::from_millis(20), seen.answer(Rcode::NOERROR, &["a.x. 60 A 10.0.0.1"], &[]))
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    let asks: Vec<_> = (0..200)
        .map(|_| {
            let forwarder = forwarder.clone();
            tokio::spawn(async move { forwarder.ask(question("a.x."), NONE, Asker::Server).await })
        })
        .collect();
    let mut replies = Vec::new();
    for ask in asks {
        replies.push(ask.await.unwrap().reply);
    }
    assert_eq!(script.seen().len(), 1);
    assert!(replies.iter().all(|reply| Arc::ptr_eq(reply, &replies[0])));
    assert_eq!(forwarder.counters.coalesced.value(), 199);
    assert!(matches!(cached(&forwarder, "a.x."), Lookup::Fresh(_)));
    assert_eq!(forwarder.questions_in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_has_an_answer_waits_for_no_upstream_that_is_down_and_it_is_tried_again() {
    let script = Scripted::new(|_| Said::Silence);
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    let ask = async |name: &str| {
        let start = Instant::now();
        let outcome = forwarder.ask_unless_down(question(name), NONE, Asker::Server).await;
        (start.elapsed(), outcome.reply.end.clone())
    };
    // Until it is known to be down, each question may be the first that it answers.
    assert_eq!(ask("a.x.").await, (Duration::from_millis(1800), End::Failed));
    for name in ["b.x.", "c.x.", "d.x."] {
        assert_eq!(ask(name).await, (Duration::ZERO, End::Failed));
    }
    script.replace(|seen| {
        let record = format!("{} 60 A 10.0.0.1", seen.name());
        Said::Reply(seen.answer(Rcode::NOERROR, &[&record], &[]))
    });
    // It is found well again though nobody asks it.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(ask("e.x.").await, (Duration::ZERO, End::Data));
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_when_others_take_over_is_answered_and_not_kept() {
    let script = Scripted::new(|seen| {
        Said::After(Duration::from_millis(20), seen.answer(Rcode::NOERROR, &["a.x. 60 A 10.0.0.1"], &[]))
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    let asking = tokio::spawn({
        let forwarder = forwarder.clone();
        async move { forwarder.ask(question("a.x."), NONE, Asker::Server).await }
    });
    while forwarder.questions_in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    let successor = forwarder.with_settings(settings(&[(".", &["10.0.0.2"])]), forwarder.cache.clone());
    forwarder.retire();
    assert_eq!(asking.await.unwrap().reply.answer.len(), 1);
    assert!(matches!(cached(&forwarder, "a.x."), Lookup::Miss));
    successor.ask(question("a.x."), NONE, Asker::Server).await;
    assert!(matches!(cached(&successor, "a.x."), Lookup::Fresh(_)));
}

#[tokio::test(start_paused = true)]
async fn other_flags_are_another_question_and_travel_upstream() {
    let script = Scripted::new(|seen| Said::Reply(seen.answer(Rcode::NOERROR, &["a.x. 60 A 10.0.0.1"], &[])));
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    let both = QueryFlags { dnssec_ok: true, checking_disabled: true };
    tokio::join!(
        forwarder.ask(question("a.x."), NONE, Asker::Server),
        forwarder.ask(question("a.x."), both, Asker::Server)
    );
    let seen = script.seen();
    assert_eq!(seen.len(), 2);
    let of = |at: usize| {
        let bytes = &seen[at].bytes;
        // CD in the header; DO in the OPT record's flags.
        (bytes[3] & 0x10 != 0, bytes[bytes.len() - 4] & 0x80 != 0)
    };
    assert_eq!([of(0), of(1)], [(false, false), (true, true)]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_away_takes_nothing_from_others() {
    let script = Scripted::new(|seen| {
        Said::After(Duration::from_millis(50), seen.answer(Rcode::NOERROR, &["a.x. 60 A 10.0.0.1"], &[]))
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    let first = forwarder.clone();
    let first = tokio::spawn(async move { first.ask(question("a.x."), NONE, Asker::Server).await });
    tokio::task::yield_now().await;
    first.abort();
    let outcome = ask(&forwarder, "a.x.").await;
    assert_eq!((outcome.reply.answer.len(), script.seen().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn questions_in_flight_end_though_their_forwarder_was_replaced() {
    let script = Scripted::new(|seen| {
        Said::After(Duration::from_millis(50), seen.answer(Rcode::NOERROR, &["a.x. 60 A 10.0.0.1"], &[]))
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    let (cache, inner) = (forwarder.cache.clone(), forwarder.clone());
    inner.prefetch(question("a.x."), NONE);
    drop((inner, forwarder));
    tokio::time::sleep(Duration::from_millis(60)).await;
    let found = cache.get(question("a.x.").name.borrow(), RecordType::A, NONE, Instant::now());
    assert!(matches!(found, Lookup::Fresh(_)));
}

#[tokio::test(start_paused = true)]
async fn too_many_questions_or_waiters_are_turned_away_with_a_reason() {
    let script = Scripted::new(|_| Said::Silence);
    let mut settings = settings(&[(".", &["10.0.0.1"])]);
    (settings.questions_in_flight_max, settings.waiters_max) = (2, 3);
    let forwarder = script.forwarder(settings);
    for name in ["a.", "b.", "b.", "b."] {
        let forwarder = forwarder.clone();
        tokio::spawn(async move { forwarder.ask(question(name), NONE, Asker::Server).await });
    }
    tokio::task::yield_now().await;
    let start = Instant::now();
    let text = |outcome: Outcome| outcome.reply.extended_error.clone().unwrap().text.into_owned();
    assert_eq!(text(ask(&forwarder, "c.").await), "2 questions wait for upstream");
    assert_eq!(text(ask(&forwarder, "b.").await), "3 clients wait for this question");
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(forwarder.counters.shed_in_flight.value(), 1);
    assert_eq!(forwarder.counters.shed_waiters.value(), 1);
    assert!(matches!(cached(&forwarder, "c."), Lookup::Miss));
}

#[tokio::test(start_paused = true)]
async fn when_all_are_dead_the_stale_entry_answers_and_else_servfail_within_two_seconds() {
    let script = Scripted::new(|_| Said::Silence);
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1", "10.0.0.2"])]));
    let start = Instant::now();
    let failed = ask(&forwarder, "new.x.").await;
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!((failed.reply.rcode, &failed.reply.end), (Rcode::SERVFAIL, &End::Failed));
    let why = failed.reply.extended_error.clone().unwrap();
    assert_eq!(why.code, 22);
    assert!(why.text.starts_with("all upstreams time out since "), "{}", why.text);
    // RFC 9520: the failure is kept for a while.
    assert!(matches!(cached(&forwarder, "new.x."), Lookup::Fresh(_)));

    let old = scripted::data("old.x. 60 A 10.0.0.9");
    forwarder.cache.put(&question("old.x."), NONE, Arc::new(old), Instant::now());
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(matches!(cached(&forwarder, "old.x."), Lookup::Stale { recheck: true, .. }));
    let stale = ask(&forwarder, "old.x.").await;
    assert_eq!((stale.reply.answer.len(), stale.age_secs >= 61), (1, true));
    let Some(why) = stale.stale else { panic!("not stale") };
    assert_eq!(why.code, 3);
    assert!(why.text.starts_with("answered stale: all upstreams time out since "), "{}", why.text);
    // The rest of the flight goes on to its end; then upstream is left alone with this question for five seconds.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(matches!(cached(&forwarder, "old.x."), Lookup::Stale { recheck: false, .. }));
}

/// A forwarder whose one upstream is known to be down, and has said `old.x.` before.
async fn in_an_outage(script: &Scripted) -> Arc<Forwarder> {
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    let old = Arc::new(scripted::data("old.x. 60 A 10.0.0.9"));
    forwarder.cache.put(&question("old.x."), NONE, old, Instant::now());
    tokio::time::advance(Duration::from_secs(61)).await;
    ask(&forwarder, "a.").await;
    assert_eq!(forwarder.health()[0].standing, Standing::Down);
    forwarder
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_a_question_is_asked_for_a_moment_before_the_stale_entry_answers() {
    let script = Scripted::new(|_| Said::Silence);
    let forwarder = in_an_outage(&script).await;
    let (queries, start) = (script.seen().len(), Instant::now());
    let stale = ask(&forwarder, "old.x.").await;
    assert_eq!((start.elapsed(), script.seen().len()), (Duration::from_millis(200), queries + 1));
    assert!(stale.stale.is_some());
    // So it is for the question that upstream is tried with, which goes on.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let start = Instant::now();
    let stale = ask(&forwarder, "old.x.").await;
    assert!(stale.stale.is_some());
    assert_eq!((start.elapsed(), forwarder.questions_in_flight()), (Duration::from_millis(200), 1));
    // A caller with an answer of its own waits where there is a better one.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let start = Instant::now();
    let stale = forwarder.ask_unless_down(question("old.x."), NONE, Asker::Server).await;
    assert!(stale.stale.is_some() && start.elapsed() > Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn one_that_answers_again_is_never_passed_over_for_what_is_stale() {
    let script = Scripted::new(|_| Said::Silence);
    let forwarder = in_an_outage(&script).await;
    script.replace(|seen| {
        let record = format!("{} 60 A 10.0.0.1", seen.name());
        Said::After(Duration::from_millis(150), seen.answer(Rcode::NOERROR, &[&record], &[]))
    });
    let outcome = ask(&forwarder, "old.x.").await;
    assert_eq!((outcome.stale, outcome.age_secs), (None, 0));
    assert_eq!(forwarder.health()[0].standing, Standing::Up);
}

#[tokio::test(start_paused = true)]
async fn negative_answers_are_kept_for_as_long_as_the_soa_allows_but_not_longer_than_the_cap() {
    let soa = ["x. 86400 SOA a. b. 1 1 1 1 86400"];
    let script = Scripted::new(move |seen| Said::Reply(seen.answer(Rcode::NXDOMAIN, &[], &soa)));
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    let outcome = ask(&forwarder, "gone.x.").await;
    assert_eq!((outcome.reply.rcode, outcome.reply.soa().unwrap().ttl.secs()), (Rcode::NXDOMAIN, 900));
    tokio::time::advance(Duration::from_secs(899)).await;
    assert!(matches!(cached(&forwarder, "gone.x."), Lookup::Fresh(_)));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(matches!(cached(&forwarder, "gone.x."), Lookup::Stale { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_no_rule_takes_fails_at_once() {
    let script = Scripted::new(|_| Said::Silence);
    let forwarder = script.forwarder(settings(&[("x.", &["10.0.0.1"]), ("local.x.", &[])]));
    for name in ["a.y.", "a.local.x."] {
        let why = ask(&forwarder, name).await.reply.extended_error.clone().unwrap();
        assert_eq!(why.text, format!("no forwarding rule takes {name}"));
    }
    assert_eq!(script.seen().len(), 0);
    assert!(forwarder.rule_for(&question("a.y.")).is_none());
}

#[test]
fn the_default_settings_ask_azure_within_its_bound() {
    let cache = Arc::new(Cache::new(cache::Settings::default()));
    let health = Forwarder::new(Settings::default(), cache).health();
    assert_eq!(health[0].address.to_string(), "168.63.129.16");
    assert_eq!(health[0].queries_per_second_max, Some(900));
}

#[tokio::test(start_paused = true)]
async fn a_dead_rule_and_a_heavy_network_leave_places_to_others_and_say_why_they_are_refused() {
    let script = Scripted::new(|seen| match (seen.last_byte(), seen.name().ends_with(".silent.")) {
        (1, _) | (_, true) => Said::Silence,
        _ => Said::Reply(seen.answer(Rcode::NOERROR, &[&format!("{} 60 A 10.0.0.9", seen.name())], &[])),
    });
    let network = |number: u8| Asker::Network(IpAddr::from([10, 0, number, 1]).into());
    for (domain, networks, refused) in [
        ("dead.", 100, "too many questions below dead. wait for upstream"),
        ("silent.", 5, "too many questions of 10.0.1.0/24 wait for upstream"),
    ] {
        let mut settings = settings(&[(".", &["10.0.0.2"]), ("dead.", &["10.0.0.1"])]);
        settings.questions_in_flight_max = 512;
        let forwarder = script.forwarder(settings);
        let attack = async |number: usize, network| {
            forwarder.ask(question(&format!("n{number}.{domain}")), NONE, network).await
        };
        for number in 0..2000 {
            let forwarder = forwarder.clone();
            let network = network(1 + (number % networks) as u8);
            let question = question(&format!("n{number}.{domain}"));
            tokio::spawn(async move { forwarder.ask(question, NONE, network).await });
        }
        while forwarder.counters.questions.value() < 2000 {
            tokio::task::yield_now().await;
        }
        let start = Instant::now();
        for number in 0..200 {
            let outcome = forwarder.ask(question(&format!("n{number}.good.")), NONE, network(200)).await;
            assert_eq!(outcome.reply.end, End::Data, "{domain}: {:?}", outcome.reply.extended_error);
        }
        let why = attack(2000, network(1)).await.reply.extended_error.clone().unwrap();
        assert_eq!((why.code, &*why.text), (ExtendedError::OTHER, refused));
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(forwarder.counters.shed_share.value() > 1000);
    }
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_for_a_question_a_thousand_times_leaves_places_to_others() {
    let script = Scripted::new(|_| Said::Silence);
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    let network = |number: u8| Asker::Network(IpAddr::from([10, 0, number, 1]).into());
    let wait = |network| {
        let forwarder = forwarder.clone();
        tokio::spawn(async move { forwarder.ask(question("a.x."), NONE, network).await });
    };
    (0..2000).for_each(|_| wait(network(1)));
    let shed = || forwarder.counters.shed_waiters.value();
    while forwarder.counters.questions.value() < 2000 {
        tokio::task::yield_now().await;
    }
    let before = shed();
    assert!(before > 1000, "{before}");
    (0..50).for_each(|_| wait(network(2)));
    while forwarder.counters.questions.value() < 2050 {
        tokio::task::yield_now().await;
    }
    assert_eq!(shed(), before);
}
