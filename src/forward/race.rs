//! Which upstreams are asked when: the best at once, the next when it stays silent, the first usable answer wins.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::attempt::{Answer, Begun};
use super::failure::{Failure, Trouble};
use super::health::Elsewhere;
use super::inflight::Flight;
use super::{ExchangeError, Forwarder, Rule, Standing, Upstream, UpstreamAddress};
use crate::cache::UpstreamReply;

/// How long a question may take, so that the client hears within two seconds (RFC 8767 §5: 1.8 s).
pub const DEADLINE: Duration = Duration::from_millis(1800);

/// How long an upstream may be silent before the next one is asked too, or the same one again.
pub(super) const PATIENCE: Duration = Duration::from_millis(350);

/// How long a question may take while no upstream is known to answer.
///
/// Long enough for one that answers again, and short enough that those who wait for nothing leave room to others.
pub(super) const DOWN_PATIENCE: Duration = Duration::from_millis(200);

/// Attempts for one question; with the patience between them they fill its time.
const ATTEMPTS_MAX: usize = 5;

/// Attempts at one upstream: two may be lost.
const ATTEMPTS_PER_UPSTREAM_MAX: usize = 3;

type Attempt = Pin<Box<dyn Future<Output = Result<Answer, Trouble>> + Send>>;

/// One question's way from upstream to upstream.
struct Race {
    runners: Vec<Runner>,
    running: Vec<(usize, Attempt)>,
    attempts: usize,
    /// The runner whose turn is next.
    next: usize,
}

/// How long one question may take.
struct Time {
    start: Instant,
    /// When these upstreams were asked first: others may have been asked before.
    began: Instant,
    /// How many may be asked.
    upstreams: u32,
    /// Whether it is the one to try those that are down with; it has the full time.
    is_probe: bool,
}

/// A usable answer.
pub(super) struct Won {
    pub reply: UpstreamReply,
    pub upstream: UpstreamAddress,
    /// What was in its way, in words; none mostly.
    pub way: Option<Arc<str>>,
}

impl Won {
    /// The same, with what came before.
    pub(super) fn by_way_of(mut self, mut path: Vec<String>) -> Won {
        if !path.is_empty() {
            path.extend(self.way.as_deref().map(str::to_owned));
            self.way = Some(path.join("; ").into());
        }
        self
    }
}

struct Runner {
    upstream: Arc<Upstream>,
    attempts: usize,
    first_asked: Option<Instant>,
    trouble: Option<Trouble>,
}

impl Forwarder {
    /// Asks a rule's upstreams until one gives a usable answer or time is up. A referral further down is a failure of
    /// nobody's, and the only trouble of its failure.
    pub(super) async fn race(
        self: &Arc<Self>,
        flight: &Arc<Flight>,
        rule: &Arc<Rule>,
        begun: Option<Begun>,
    ) -> Result<Won, Failure> {
        let start = flight.started;
        let now = Instant::now();
        let mut candidates = rule.candidates(now);
        if let Some(begun) = &begun {
            // It runs already, whatever became known of it since.
            candidates.retain(|upstream| !Arc::ptr_eq(upstream, &begun.upstream));
            candidates.insert(0, begun.upstream.clone());
        }
        let mut race = Race::new(candidates);
        if race.runners.is_empty() {
            return Err(Failure::known(rule, start));
        }
        self.probe_the_down(flight, rule, &race);
        let began = if begun.is_some() { start } else { now };
        let time = Time::of(&race, rule, start, began);
        let mut next_at = start;
        if begun.is_some() {
            let attempt = self.clone().run(race.runners[0].upstream.clone(), flight, rule, begun);
            race.start(0, attempt, start);
            next_at = start + time.patience(rule, now);
        }
        loop {
            // Enlisted before the look at what is known, so that nothing is missed between the two.
            let mut falls = pin!(self.examiner.falls());
            falls.as_mut().enable();
            let now = Instant::now();
            let deadline = time.deadline(rule, now);
            let turn = race.turn();
            if let Some(index) = turn.filter(|_| next_at <= now) {
                self.suspect_the_silent(&race, now);
                let attempt = self.clone().run(race.runners[index].upstream.clone(), flight, rule, None);
                race.start(index, attempt, now);
                next_at = now + time.patience(rule, now);
                continue;
            }
            if turn.is_none() && race.running.is_empty() {
                break;
            }
            let wake = if turn.is_some() { next_at.min(deadline) } else { deadline };
            tokio::select! {
                biased;
                (index, result) = race.finished() => match result {
                    Ok(Answer { reply, detours }) => {
                        let upstream = race.runners[index].upstream.address.clone();
                        let way = race.way(&upstream, &detours);
                        self.settle(race, index, flight, deadline);
                        return Ok(Won { reply, upstream, way });
                    }
                    Err(trouble @ Trouble::RefersBelow(_)) => {
                        let upstream = race.runners[index].upstream.address.clone();
                        self.settle(race, index, flight, deadline);
                        return Err(Failure { troubles: vec![(upstream, trouble)] });
                    }
                    // An attempt before it may still be answered.
                    Err(Trouble::Unreachable(ExchangeError::TooManySockets)) if race.runs(index) => {}
                    Err(trouble) => {
                        race.runners[index].trouble = Some(trouble);
                        // What it would say to a second query is known.
                        race.running.retain(|(runner, _)| *runner != index);
                        next_at = Instant::now();
                    }
                },
                () = sleep_until(wake) => if Instant::now() >= deadline { break },
                // Perhaps the last that was up: then there is less time.
                () = falls => {}
            }
        }
        Err(self.lost(race, flight, rule))
    }

    fn run(
        self: Arc<Self>,
        upstream: Arc<Upstream>,
        flight: &Arc<Flight>,
        rule: &Arc<Rule>,
        begun: Option<Begun>,
    ) -> Attempt {
        let (flight, rule) = (flight.clone(), rule.clone());
        Box::pin(async move { self.attempt(&upstream, &flight, &rule, begun).await })
    }

    /// Notes who stayed silent while `winner` answered, and goes on to listen to them.
    fn settle(self: &Arc<Self>, mut race: Race, winner: usize, flight: &Flight, deadline: Instant) {
        let now = Instant::now();
        let mut silent = Vec::new();
        for (index, runner) in race.runners.iter().enumerate().filter(|(index, _)| *index != winner) {
            let Some(asked) = runner.first_asked else { continue };
            match &runner.trouble {
                None if asked + PATIENCE <= now => {
                    self.note_silence(runner, flight, Elsewhere::Answered, asked);
                    silent.push(index);
                }
                Some(Trouble::Unreachable(error)) if error.is_unreachable() => {
                    self.note_silence(runner, flight, Elsewhere::Answered, asked);
                }
                None | Some(_) => {}
            }
        }
        race.running.retain(|(index, _)| silent.contains(index));
        if !race.running.is_empty() {
            // An answer that comes late still shows that its upstream lives.
            tokio::spawn(timeout_at(deadline, async move {
                while !race.running.is_empty() {
                    let _ = race.finished().await;
                }
            }));
        }
    }

    fn lost(&self, race: Race, flight: &Flight, rule: &Rule) -> Failure {
        let now = Instant::now();
        let mut troubles = Vec::new();
        for runner in race.runners {
            let Some(asked) = runner.first_asked else { continue };
            let is_silent = match &runner.trouble {
                None => true,
                Some(Trouble::Unreachable(error)) => error.is_unreachable(),
                Some(_) => false,
            };
            if is_silent {
                self.note_silence(&runner, flight, Elsewhere::Nothing, asked);
            }
            let Runner { upstream, trouble, .. } = runner;
            let silent = || Trouble::Silent(upstream.health.silent_since().unwrap_or(asked));
            let trouble = trouble.unwrap_or_else(silent);
            // While it was asked it may have been found out.
            let loops = upstream.standing(now) == Standing::Looping;
            troubles.push((upstream.address.clone(), if loops { Trouble::Looping } else { trouble }));
        }
        let asked = |address: &UpstreamAddress| troubles.iter().any(|(upstream, _)| upstream == address);
        let known = Failure::known(rule, now).troubles;
        let known: Vec<_> = known.into_iter().filter(|(address, _)| !asked(address)).collect();
        troubles.extend(known);
        Failure { troubles }
    }

    fn note_silence(&self, runner: &Runner, flight: &Flight, elsewhere: Elsewhere, asked: Instant) {
        let Runner { upstream, attempts, .. } = runner;
        self.counters.timeouts.add(*attempts as u64);
        upstream.timeouts.add(*attempts as u64);
        let name = flight.asked.question.name.borrow();
        match upstream.health.missed(name, elsewhere, asked, Instant::now()) {
            true => self.examiner.note_fall(upstream),
            false => self.examiner.suspect(upstream, asked),
        }
    }

    /// Has those who are silent for too long show whether they live.
    fn suspect_the_silent(&self, race: &Race, now: Instant) {
        for runner in race.runners.iter().filter(|runner| runner.trouble.is_none()) {
            if let Some(asked) = runner.first_asked.filter(|asked| *asked + PATIENCE <= now) {
                self.examiner.suspect(&runner.upstream, asked);
            }
        }
    }

    /// Copies the question to upstreams that are down and whose time to be tried again has come.
    fn probe_the_down(self: &Arc<Self>, flight: &Arc<Flight>, rule: &Arc<Rule>, race: &Race) {
        let now = Instant::now();
        let asked = |upstream: &Arc<Upstream>| {
            race.runners.iter().any(|runner| Arc::ptr_eq(&runner.upstream, upstream))
        };
        for upstream in rule.upstreams.iter().filter(|upstream| !asked(upstream)) {
            if upstream.standing(now) == Standing::Down && upstream.health.take_probe(now) {
                let attempt = self.clone().run(upstream.clone(), flight, rule, None);
                // Its answer is noted on its way; silence leaves the upstream down.
                tokio::spawn(timeout_at(now + DEADLINE, attempt));
            }
        }
    }
}

impl Time {
    fn of(race: &Race, rule: &Rule, start: Instant, began: Instant) -> Time {
        let now = Instant::now();
        let upstreams = race.runners.len() as u32;
        let taken = race.runners.iter().map(|runner| runner.upstream.health.take_probe(now));
        // One question tries all whose time has come.
        let is_probe = rule.down_since(now).is_some() && taken.fold(false, |any, taken| any | taken);
        Time { start, began, upstreams, is_probe }
    }

    /// Since when nothing is to be hoped of the rule, if that is so.
    fn down_since(&self, rule: &Rule, now: Instant) -> Option<Instant> {
        rule.down_since(now).filter(|_| !self.is_probe)
    }

    fn deadline(&self, rule: &Rule, now: Instant) -> Instant {
        let full = self.start + DEADLINE;
        self.down_since(rule, now).map_or(full, |since| full.min(since.max(self.began) + DOWN_PATIENCE))
    }

    fn patience(&self, rule: &Rule, now: Instant) -> Duration {
        match self.down_since(rule, now) {
            // Each of them may be the one that answers again.
            Some(_) => DOWN_PATIENCE / self.upstreams,
            None => PATIENCE,
        }
    }
}

impl Race {
    fn new(upstreams: Vec<Arc<Upstream>>) -> Race {
        let runner = |upstream| Runner { upstream, attempts: 0, first_asked: None, trouble: None };
        Race {
            runners: upstreams.into_iter().map(runner).collect(),
            running: Vec::new(),
            attempts: 0,
            next: 0,
        }
    }

    /// Who is to be asked next, if anyone is left.
    fn turn(&self) -> Option<usize> {
        let count = self.runners.len();
        let may_run = |index: &usize| {
            let runner = &self.runners[*index];
            runner.trouble.is_none() && runner.attempts < ATTEMPTS_PER_UPSTREAM_MAX
        };
        let mut order = (self.next..self.next + count).map(|index| index % count);
        order.find(may_run).filter(|_| self.attempts < ATTEMPTS_MAX.max(count))
    }

    fn start(&mut self, index: usize, attempt: Attempt, asked: Instant) {
        let runner = &mut self.runners[index];
        runner.attempts += 1;
        runner.first_asked.get_or_insert(asked);
        self.attempts += 1;
        self.next = index + 1;
        self.running.push((index, attempt));
    }

    /// Whether an attempt at an upstream is under way.
    fn runs(&self, index: usize) -> bool {
        self.running.iter().any(|(runner, _)| *runner == index)
    }

    /// What others failed by, and why the winner was asked more than once.
    fn way(&self, winner: &UpstreamAddress, detours: &[&'static str]) -> Option<Arc<str>> {
        let now = Instant::now();
        let troubles = self.runners.iter().filter_map(|runner| {
            runner.trouble.as_ref().map(|trouble| trouble.explain(&runner.upstream.address, now))
        });
        let detours = detours.iter().map(|detour| format!("upstream {winner} was {detour}"));
        let parts: Vec<String> = troubles.chain(detours).collect();
        (!parts.is_empty()).then(|| parts.join("; ").into())
    }

    /// Waits for any attempt; for ever if none runs.
    async fn finished(&mut self) -> (usize, Result<Answer, Trouble>) {
        poll_fn(|context| {
            for at in 0..self.running.len() {
                let (index, attempt) = &mut self.running[at];
                let index = *index;
                if let Poll::Ready(result) = attempt.as_mut().poll(context) {
                    drop(self.running.swap_remove(at));
                    return Poll::Ready((index, result));
                }
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {

    use super::super::scripted::{Said, Scripted, ask, settings};
    use super::*;
    use crate::cache::End;
    use crate::dns::Rcode;

    const MS: Duration = Duration::from_millis(1);

    /// Upstreams whose last byte is 1 are dead; the others answer at once.
    fn one_is_dead() -> Scripted {
        Scripted::new(|seen| match seen.last_byte() {
            1 => Said::Silence,
            _ => Said::Reply(seen.answer(Rcode::NOERROR, &[&format!("{} 60 A 10.0.0.9", seen.name())], &[])),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn one_dead_upstream_of_two_costs_its_patience_until_it_is_known_and_nothing_then() {
        let script = one_is_dead();
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1", "10.0.0.2"])]));
        let mut costs = Vec::new();
        for name in ["a.", "b.", "c.", "d."] {
            let start = Instant::now();
            let outcome = ask(&forwarder, name).await;
            assert_eq!((&outcome.reply.end, outcome.stale), (&End::Data, None));
            costs.push(start.elapsed());
        }
        assert!(costs[..2].iter().all(|cost| *cost <= 400 * MS), "{costs:?}");
        assert!(costs[2..].iter().all(|cost| *cost <= MS), "{costs:?}");
        assert_eq!(forwarder.counters.upstreams_down.value(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_down_upstream_is_probed_behind_the_answer_and_returns_when_it_answers() {
        let script = one_is_dead();
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1", "10.0.0.2"])]));
        ask(&forwarder, "a.").await;
        ask(&forwarder, "b.").await;
        assert_eq!(forwarder.health()[0].standing, Standing::Down);
        tokio::time::sleep(DEADLINE).await;
        let before = script.seen().len();
        let start = Instant::now();
        ask(&forwarder, "c.").await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        tokio::task::yield_now().await;
        // The answer's query and the probe; the next question finds the pause not over.
        assert_eq!(script.seen().len(), before + 2);
        ask(&forwarder, "d.").await;
        assert_eq!(script.seen().len(), before + 3);
        script.replace(|seen| {
            Said::Reply(seen.answer(Rcode::NOERROR, &[&format!("{} 60 A 10.0.0.9", seen.name())], &[]))
        });
        tokio::time::sleep(Duration::from_secs(3)).await;
        ask(&forwarder, "e.").await;
        tokio::task::yield_now().await;
        assert_eq!(forwarder.health()[0].standing, Standing::Up);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_upstream_is_heard_though_the_next_was_asked() {
        let script = Scripted::new(|seen| match seen.last_byte() {
            1 => Said::After(500 * MS, seen.answer(Rcode::NOERROR, &["a. 60 A 10.0.0.1"], &[])),
            _ => Said::Silence,
        });
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1", "10.0.0.2"])]));
        let start = Instant::now();
        let outcome = ask(&forwarder, "a.").await;
        assert_eq!(outcome.upstream.unwrap().to_string(), "10.0.0.1");
        assert_eq!(start.elapsed(), 500 * MS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_keeps_its_upstream_up() {
        let script = Scripted::new(|seen| {
            let answer = seen.answer(Rcode::NOERROR, &[&format!("{} 60 A 10.0.0.1", seen.name())], &[]);
            if seen.last_byte() == 1 { Said::After(600 * MS, answer) } else { Said::Reply(answer) }
        });
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1", "10.0.0.2"])]));
        for name in ["a.", "b.", "c.", "d."] {
            ask(&forwarder, name).await;
            tokio::time::sleep(DEADLINE).await;
        }
        assert_eq!(forwarder.health()[0].standing, Standing::Up);
        assert_eq!(forwarder.counters.upstreams_down.value(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_packet_is_sent_again() {
        let script = Scripted::new(|_| Said::Silence);
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
        let start = Instant::now();
        let (outcome, ()) = tokio::join!(ask(&forwarder, "account.blob.core.windows.net."), async {
            tokio::time::sleep(600 * MS).await;
            script.replace(|seen| {
                let record = format!("{} 60 A 10.0.0.1", seen.name());
                Said::Reply(seen.answer(Rcode::NOERROR, &[&record], &[]))
            });
        });
        assert_eq!((&outcome.reply.end, start.elapsed()), (&End::Data, 700 * MS));
        let seen = script.seen();
        assert_eq!(seen.len(), 3);
        assert!(seen[0].bytes != seen[1].bytes && seen[1].bytes != seen[2].bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_code_sends_the_question_to_the_next_at_once() {
        for rcode in [Rcode::SERVFAIL, Rcode::REFUSED, Rcode::NOTIMP, Rcode::FORMERR] {
            let script = Scripted::new(move |seen| match seen.last_byte() {
                1 => Said::Reply(seen.answer(rcode, &[], &[])),
                _ => Said::Reply(seen.answer(Rcode::NOERROR, &["a. 60 A 10.0.0.9"], &[])),
            });
            let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1", "10.0.0.2"])]));
            let start = Instant::now();
            let outcome = ask(&forwarder, "a.").await;
            assert_eq!((&outcome.reply.end, start.elapsed()), (&End::Data, Duration::ZERO), "{rcode}");
            assert_eq!(forwarder.health()[0].standing, Standing::Up);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_failure_that_says_most_is_handed_on() {
        let script = Scripted::new(|seen| match seen.last_byte() {
            1 => Said::Reply(seen.answer(Rcode::REFUSED, &[], &[])),
            2 => Said::Reply(seen.answer(Rcode::SERVFAIL, &["a.x. 60 CNAME a.private.x."], &[])),
            _ => Said::Reply(seen.answer(Rcode::SERVFAIL, &[], &[])),
        });
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1", "10.0.0.2", "10.0.0.3"])]));
        let reply = ask(&forwarder, "a.x.").await.reply;
        assert_eq!((reply.rcode, &reply.end, reply.answer.len()), (Rcode::SERVFAIL, &End::Failed, 1));
        let text = &reply.extended_error.as_ref().unwrap().text;
        assert!(
            text.starts_with("upstream 10.0.0.1 answered REFUSED; upstream 10.0.0.2 answered SERVFAIL"),
            "{text}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn unreachable_upstreams_fail_over_and_fail_at_once() {
        let script = Scripted::new(|seen| match seen.last_byte() {
            1 => Said::Unreachable,
            _ => Said::Reply(seen.answer(Rcode::NOERROR, &["a. 60 A 10.0.0.9"], &[])),
        });
        let rules = settings(&[(".", &["10.0.0.1", "10.0.0.2"]), ("x.", &["10.0.0.1"])]);
        let forwarder = script.forwarder(rules);
        let start = Instant::now();
        assert_eq!(ask(&forwarder, "a.").await.reply.end, End::Data);
        let failed = ask(&forwarder, "a.x.").await.reply;
        assert_eq!(failed.extended_error.as_ref().unwrap().code, 23);
        assert_eq!(start.elapsed(), Duration::ZERO);
        while forwarder.health()[0].standing != Standing::Down {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn over_its_bound_an_upstream_is_passed_over_and_the_last_sheds() {
        let script = Scripted::new(|seen| {
            Said::Reply(seen.answer(Rcode::NOERROR, &[&format!("{} 60 A 10.0.0.9", seen.name())], &[]))
        });
        let mut settings = settings(&[(".", &["10.0.0.1", "10.0.0.2"])]);
        settings.rules[0].queries_per_second_max = Some(3);
        let forwarder = script.forwarder(settings);
        let mut ends = Vec::new();
        for index in 0..8 {
            ends.push(ask(&forwarder, &format!("n{index}.")).await.reply.end.clone());
        }
        assert_eq!(ends.iter().filter(|end| **end == End::Data).count(), 6);
        let shed = ask(&forwarder, "last.").await.reply;
        let text = &shed.extended_error.as_ref().unwrap().text;
        assert!(text.starts_with("more than 3 queries a second for upstream 10.0.0.1"), "{text}");
        assert_eq!(script.seen().len(), 6);
        assert_eq!(forwarder.counters.shed_rate.value(), 3 + 3 * 2);
        // Shedding is over in a moment: it is not kept, and the upstreams are well.
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(ask(&forwarder, "last.").await.reply.end, End::Data);
    }
}
