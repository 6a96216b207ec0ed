//! A question of our own, by which a silent upstream shows whether it lives: names that nobody answers say little.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use super::asker::Asker;
use super::case::Case;
use super::health::{BACKOFF_MAX, BACKOFF_MIN};
use super::race::{DEADLINE, PATIENCE};
use super::{Counters, Judgement, Protocol, Query, Standing, Transport, Upstream};
use crate::dns::QueryFlags;

/// How long our own question waits: asked when another has been silent for the usual patience, it ends a little before it.
const CHECKUP: Duration = DEADLINE.saturating_sub(PATIENCE).saturating_sub(Duration::from_millis(50));

/// Queries of one checkup: two may be lost.
const QUERIES_MAX: usize = 3;

/// Finds out which upstreams live; a forwarder hands it on to its successor.
#[derive(Clone)]
pub struct Examiner {
    transport: Arc<dyn Transport>,
    counters: Arc<Counters>,
    /// Told when an upstream falls.
    falls: Arc<Notify>,
}

/// What became of a checkup or of one query of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Finding {
    Answers,
    Silent,
    /// It could not be asked, or what came may be forged.
    Undecided,
}

impl Examiner {
    pub fn new(transport: Arc<dyn Transport>, counters: Arc<Counters>) -> Examiner {
        Examiner { transport, counters, falls: Arc::default() }
    }

    /// Waits until some upstream falls.
    pub fn falls(&self) -> Notified<'_> {
        self.falls.notified()
    }

    /// An upstream is silent on a question asked at `asked`: it is asked one of our own, unless it answered since.
    pub fn suspect(&self, upstream: &Arc<Upstream>, asked: Instant) {
        let now = Instant::now();
        if upstream.health.take_checkup(asked, now) {
            tokio::spawn(self.clone().check_up(upstream.clone(), now));
        }
    }

    async fn check_up(self, upstream: Arc<Upstream>, now: Instant) {
        let finding = self.ask(&upstream).await;
        if finding == Finding::Silent && upstream.health.missed_checkup(now, Instant::now()) {
            self.note_fall(&upstream);
        }
    }

    /// Tells that an upstream is down from now on, and asks it until it answers.
    pub fn note_fall(&self, upstream: &Arc<Upstream>) {
        self.counters.upstreams_down.add(1);
        warn!(forward.upstream = %upstream.address, "Upstream {} does not answer", upstream.address);
        let Some(since) = upstream.health.down_since() else { return };
        let watch = tokio::spawn(self.clone().watch(Arc::downgrade(upstream), since));
        upstream.set_watch(watch.abort_handle());
        self.falls.notify_waiters();
    }

    /// Asks an upstream that is down since then, whether clients ask or not.
    async fn watch(self, upstream: Weak<Upstream>, since: Instant) {
        let mut pause = BACKOFF_MIN;
        loop {
            sleep(pause).await;
            let Some(upstream) = upstream.upgrade() else { return };
            let was_down = upstream.health.down_since() == Some(since);
            match self.ask(&upstream).await {
                Finding::Answers => return,
                // A client's question brought it up again, and this one was asked to know whether it can.
                Finding::Silent | Finding::Undecided if !was_down => return,
                Finding::Silent | Finding::Undecided => pause = (pause * 2).min(BACKOFF_MAX),
            }
        }
    }

    /// Asks our own question, and notes an answer.
    async fn ask(&self, upstream: &Arc<Upstream>) -> Finding {
        let start = Instant::now();
        if upstream.standing(start) == Standing::Looping {
            return Finding::Undecided;
        }
        let (deadline, mut next_at) = (start + CHECKUP, start);
        let (mut queries, mut found) = (JoinSet::new(), Finding::Silent);
        let mut left = QUERIES_MAX;
        loop {
            let now = Instant::now();
            if left > 0 && now >= next_at {
                queries.spawn(self.clone().query(upstream.clone()));
                (left, next_at) = (left - 1, now + PATIENCE);
            }
            let wake = if left > 0 { next_at.min(deadline) } else { deadline };
            tokio::select! {
                biased;
                Some(finding) = queries.join_next() => match finding {
                    Ok(Finding::Answers) => {
                        upstream.note_answer(Instant::now(), None);
                        upstream.health.knows_checkup();
                        return Finding::Answers;
                    }
                    Ok(Finding::Silent) => return found,
                    Ok(Finding::Undecided) | Err(_) => found = Finding::Undecided,
                },
                () = sleep_until(wake) => if Instant::now() >= deadline { return found },
            }
        }
    }

    /// One query; silence lasts until it is dropped.
    async fn query(self, upstream: Arc<Upstream>) -> Finding {
        if upstream.budget.as_ref().is_some_and(|budget| !budget.take(Asker::Server, Instant::now())) {
            return Finding::Undecided;
        }
        self.counters.queries.add(1);
        self.counters.checkups.add(1);
        upstream.queries.add(1);
        // The plainest there is, so that whoever knows DNS answers.
        let protocol = upstream.address.protocol();
        // Over TLS it is padded, which takes EDNS.
        let edns = protocol == Protocol::Tls && upstream.health.edns(Instant::now());
        let mut query = Query::new(&upstream.checkup(), QueryFlags::default(), edns, Case::Plain);
        match upstream.exchange(&*self.transport, &mut query, protocol).await {
            Ok(reply) if query.judge(&reply) == Judgement::Reply => Finding::Answers,
            Err(error) if error.is_unreachable() => Finding::Silent,
            Ok(_) | Err(_) => Finding::Undecided,
        }
    }
}

#[cfg(test)]
mod tests {

    use super::super::scripted::{Said, Scripted, Seen, ask, question, settings};
    use super::super::{Forwarder, Outcome};
    use super::*;
    use crate::cache::{End, Lookup};
    use crate::dns::{QueryFlags, Rcode};

    const MS: Duration = Duration::from_millis(1);

    fn alone(script: &Scripted) -> Arc<Forwarder> {
        script.forwarder(settings(&[(".", &["10.0.0.1"])]))
    }

    fn answer(seen: &Seen, ttl: u32) -> Said {
        let record = format!("{} {ttl} A 10.0.0.9", seen.name());
        Said::After(5 * MS, seen.answer(Rcode::NOERROR, &[&record], &[]))
    }

    /// Names that begin with `dead` are never answered.
    fn some_names_are_dead() -> Scripted {
        Scripted::new(|seen| if seen.name().starts_with("dead") { Said::Silence } else { answer(seen, 1) })
    }

    fn falls(forwarder: &Forwarder) -> u64 {
        forwarder.counters.upstreams_down.value()
    }

    fn standing(forwarder: &Forwarder) -> Standing {
        forwarder.health()[0].standing
    }

    async fn until(forwarder: &Forwarder, is: Standing) {
        while standing(forwarder) != is {
            sleep(10 * MS).await;
        }
    }

    /// Three dead names a second, one after the other, for a time.
    fn ask_dead_names(forwarder: &Arc<Forwarder>, secs: u32) {
        for index in 0..3 * secs {
            let forwarder = forwarder.clone();
            tokio::spawn(async move {
                sleep(index * 333 * MS).await;
                ask(&forwarder, &format!("dead{index}.x.")).await;
            });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn dead_names_make_nothing_stale_for_others() {
        let script = some_names_are_dead();
        let forwarder = alone(&script);
        ask_dead_names(&forwarder, 100);
        for round in 0..90 {
            sleep(1100 * MS).await;
            let now = Instant::now();
            let found =
                forwarder.cache.get(question("a.y.").name.borrow(), question("a.y.").rtype, NONE, now);
            assert!(round == 0 || matches!(found, Lookup::Stale { recheck: true, .. }));
            let outcome = ask(&forwarder, "a.y.").await;
            assert_eq!((outcome.stale, outcome.reply.end.clone()), (None, End::Data), "{round}");
            assert!(now.elapsed() < 10 * MS);
        }
        assert_eq!((falls(&forwarder), standing(&forwarder)), (0, Standing::Up));
    }

    const NONE: QueryFlags = QueryFlags { dnssec_ok: false, checking_disabled: false };

    #[tokio::test(start_paused = true)]
    async fn a_server_that_only_dead_names_are_asked_of_stays_up_by_our_own_question_once_a_second() {
        let script = some_names_are_dead();
        let forwarder = alone(&script);
        ask_dead_names(&forwarder, 60);
        // Some at once, too.
        for index in 0..20 {
            let forwarder = forwarder.clone();
            tokio::spawn(async move { ask(&forwarder, &format!("dead-too{index}.x.")).await });
        }
        sleep(Duration::from_secs(62)).await;
        assert_eq!((falls(&forwarder), standing(&forwarder)), (0, Standing::Up));
        let checkups = script.checkups();
        assert!((30..=62).contains(&checkups.len()), "{}", checkups.len());
        let asked = &checkups[0].message;
        assert_eq!((checkups[0].name(), asked.has_edns), (".".to_owned(), false));
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_repeats_one_question_finds_a_dead_upstream() {
        let script = Scripted::new(|seen| answer(seen, 60));
        let forwarder = alone(&script);
        ask(&forwarder, "a.").await;
        script.replace(|_| Said::Silence);
        sleep(Duration::from_secs(100)).await;
        assert_eq!((script.checkups().len(), standing(&forwarder)), (0, Standing::Up), "nobody asks");
        assert!(ask(&forwarder, "a.").await.stale.is_some());
        assert_eq!((falls(&forwarder), standing(&forwarder)), (1, Standing::Down));
    }

    #[tokio::test(start_paused = true)]
    async fn a_down_upstream_is_up_again_though_nobody_asks_and_one_that_was_never_asked_is_left_alone() {
        let script = Scripted::new(|_| Said::Silence);
        let rules = [(".", &["10.0.0.1"][..]), ("corp.x.", &["10.0.0.2"]), ("eu.corp.x.", &["10.0.0.2"])];
        let forwarder = script.forwarder(settings(&rules));
        assert_eq!(standing(&forwarder), Standing::Unknown);
        ask(&forwarder, "a.eu.corp.x.").await;
        assert_eq!(forwarder.health()[1].standing, Standing::Down);
        let before = script.checkups().len();
        sleep(Duration::from_secs(3600)).await;
        let checkups = script.checkups();
        let pauses = 3600 / 30;
        assert!((checkups.len() - before).abs_diff(3 * pauses) < 15, "{}", checkups.len());
        assert!(checkups.iter().all(|seen| seen.last_byte() == 2 && seen.name() == "corp.x."));
        script.replace(|seen| answer(seen, 60));
        sleep(Duration::from_secs(33)).await;
        assert_eq!(forwarder.health()[1].standing, Standing::Up);
        assert_eq!(forwarder.health()[0].standing, Standing::Unknown);
        let before = script.checkups().len();
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(script.checkups().len(), before, "it is up, and nobody asks");
    }

    #[tokio::test(start_paused = true)]
    async fn questions_have_a_moment_once_all_is_down_and_one_of_them_the_full_time() {
        let script = Scripted::new(|_| Said::Silence);
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1", "10.0.0.2"])]));
        let ask_all = |names: std::ops::Range<usize>| {
            names.map(|index| {
                let forwarder = forwarder.clone();
                tokio::spawn(async move {
                    let start = Instant::now();
                    let outcome: Outcome = ask(&forwarder, &format!("n{index}.")).await;
                    (start.elapsed(), outcome.reply.end.clone())
                })
            })
        };
        let first: Vec<_> = ask_all(0..10).collect();
        sleep(1500 * MS).await;
        let late: Vec<_> = ask_all(10..20).collect();
        until(&forwarder, Standing::Down).await;
        while forwarder.health()[1].standing != Standing::Down {
            sleep(MS).await;
        }
        let fell = Instant::now();
        for asked in first.into_iter().chain(late) {
            assert_eq!(asked.await.unwrap().1, End::Failed);
        }
        assert!(fell.elapsed() <= 200 * MS, "{:?}", fell.elapsed());
        assert_eq!(forwarder.questions_in_flight(), 0);

        sleep(Duration::from_secs(2)).await;
        let before = script.seen().len();
        let known: Vec<_> = ask_all(20..30).collect();
        let mut times = Vec::new();
        for asked in known {
            times.push(asked.await.unwrap().0.as_millis());
        }
        times.sort_unstable();
        assert_eq!(times, [200, 200, 200, 200, 200, 200, 200, 200, 200, 1800]);
        // In that moment each of the two was asked.
        assert_eq!(script.seen()[before..].iter().filter(|seen| seen.last_byte() == 2).count(), 9 + 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_our_own_question_is_down_once_at_most() {
        let script = Scripted::new(|seen| match seen.is_checkup() || seen.name().starts_with("dead") {
            true => Said::Silence,
            false => answer(seen, 1),
        });
        let forwarder = alone(&script);
        ask_dead_names(&forwarder, 100);
        for _ in 0..50 {
            sleep(Duration::from_secs(2)).await;
            assert_eq!(ask(&forwarder, "a.y.").await.stale, None);
        }
        assert!(falls(&forwarder) <= 1, "{}", falls(&forwarder));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_no_more_is_watched_no_more() {
        let script = Scripted::new(|_| Said::Silence);
        let forwarder = alone(&script);
        ask(&forwarder, "a.").await;
        let same = forwarder.with_settings(settings(&[(".", &["10.0.0.1"])]), forwarder.cache.clone());
        forwarder.retire();
        drop(forwarder);
        let before = script.checkups().len();
        sleep(Duration::from_secs(60)).await;
        assert!(script.checkups().len() > before, "the successor asks it as well");
        let upstream = Arc::downgrade(&same.rules.upstreams[0]);
        let other = same.with_settings(settings(&[(".", &["10.0.0.2"])]), same.cache.clone());
        same.retire();
        drop(same);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(upstream.strong_count(), 0);
        let before = script.checkups().len();
        sleep(Duration::from_secs(60)).await;
        assert_eq!((script.checkups().len(), standing(&other)), (before, Standing::Unknown));
    }
}
