//! What is known of an upstream's state: up, down or leading back to us, and what it does not understand.

use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::case::Case;
use super::race::PATIENCE;
use crate::dns::{Name, NameRef};

/// Names left without an answer that speak for an outage by themselves: fewer may be dead names of a server that lives.
const SILENT_NAMES_MAX: usize = 4;

/// For how many of them one counts that another upstream answered meanwhile: that name is not dead.
const ANSWERED_ELSEWHERE: usize = 2;

/// How long a name that was left without an answer speaks for an outage.
const SILENCE_COUNTS: Duration = Duration::from_secs(10);

/// How often an upstream that is silent on a question is asked one of our own: one dead name makes a query a second.
const CHECKUP_PAUSE: Duration = Duration::from_secs(1);

/// The first pause before a down upstream is tried again; doubled for each try without an answer.
pub(super) const BACKOFF_MIN: Duration = Duration::from_secs(1);
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// How long an upstream that leads back to us is not asked.
const LOOPING: Duration = Duration::from_secs(30);

/// How long an upstream is taken not to know EDNS, not to keep case or not to answer our own question: it may be
/// replaced meanwhile.
const LACKING: Duration = Duration::from_secs(600);

/// How often a probe for loops may be sent.
const LOOP_PROBE_PAUSE: Duration = Duration::from_secs(10);

/// How often an upstream that answers and does not help is logged.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// Whether an upstream is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// As one that is up; it has not answered yet, nor proved to be down.
    Unknown,
    /// Before others that are not.
    Up,
    /// When no other is left, or by a probe.
    Down,
    /// Not at all: our questions come back to us.
    Looping,
}

/// The state of one upstream.
///
/// An answer to any question proves that an upstream lives, and that the names it was silent on meanwhile are dead. So
/// only silence since the last answer counts, and what decides is a question of our own (`checkup`), asked when no
/// other is answered.
#[derive(Default)]
pub struct Health {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When it answered last.
    heard: Option<Instant>,
    silent_since: Option<Instant>,
    /// What it left without an answer since it was heard.
    silences: SmallVec<[Silence; SILENT_NAMES_MAX]>,
    /// When it was asked a question of our own last, because it was silent on another.
    checked: Option<Instant>,
    down: Option<Down>,
    looping_until: Option<Instant>,
    no_checkup_until: Option<Instant>,
    no_edns_until: Option<Instant>,
    no_case_until: Option<Instant>,
    no_loop_probe_until: Option<Instant>,
    no_complaint_until: Option<Instant>,
}

struct Silence {
    name: Name,
    asked: Instant,
    elsewhere: Elsewhere,
}

/// What other upstreams said to a question that one is silent on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Elsewhere {
    Answered,
    Nothing,
}

#[derive(Clone, Copy)]
struct Down {
    since: Instant,
    probe_at: Instant,
    backoff: Duration,
}

impl Standing {
    /// Whether it is asked before those that are down.
    pub fn is_asked_first(self) -> bool {
        matches!(self, Standing::Unknown | Standing::Up)
    }
}

impl Health {
    pub fn standing(&self, now: Instant) -> Standing {
        let state = self.state.lock();
        match (state.down, state.heard) {
            _ if is_ahead(state.looping_until, now) => Standing::Looping,
            (Some(_), _) => Standing::Down,
            (None, Some(_)) => Standing::Up,
            (None, None) => Standing::Unknown,
        }
    }

    /// Since when it is not asked before others; none if it is.
    pub fn out_since(&self, now: Instant) -> Option<Instant> {
        let state = self.state.lock();
        let looping = state.looping_until.filter(|until| now < *until).map(|until| until - LOOPING);
        let down = state.down.map(|down| down.since);
        down.into_iter().chain(looping).min()
    }

    /// Notes any answer; true if the upstream was down.
    pub fn answered(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        state.heard = state.heard.max(Some(now));
        state.silent_since = None;
        state.silences.clear();
        let rises = state.down.take().is_some();
        if rises {
            // It may have lived all the time and not answer our own question; until it does, that decides nothing.
            state.no_checkup_until = Some(now + LACKING);
        }
        rises
    }

    /// Notes silence on a question asked at `asked`; true if the upstream is down from now on.
    pub fn missed(&self, name: NameRef<'_>, elsewhere: Elsewhere, asked: Instant, now: Instant) -> bool {
        let mut state = self.state.lock();
        if state.is_heard_since(asked) {
            return false;
        }
        state.silent_since = Some(state.silent_since.map_or(asked, |since| since.min(asked)));
        let silences = &mut state.silences;
        silences.retain(|silence| now < silence.asked + SILENCE_COUNTS);
        match silences.iter().position(|silence| silence.name.borrow() == name) {
            Some(known) if elsewhere == Elsewhere::Answered => silences[known].elsewhere = elsewhere,
            None if silences.len() < SILENT_NAMES_MAX => {
                silences.push(Silence { name: name.to_name(), asked, elsewhere });
            }
            Some(_) | None => {}
        }
        let first = silences.iter().map(|silence| silence.asked).min();
        let names: usize = silences.iter().map(Silence::names).sum();
        // Dead names may come all at once; our own question has its time to be answered.
        let is_checked = state.checked.is_some_and(|at| Some(at) >= first && at + PATIENCE <= now);
        let falls = names >= SILENT_NAMES_MAX && (is_checked || is_ahead(state.no_checkup_until, now));
        falls && state.fall(now)
    }

    /// Whether to ask it a question of our own, because it is silent on one asked at `asked`; counts it if so.
    pub fn take_checkup(&self, asked: Instant, now: Instant) -> bool {
        let mut state = self.state.lock();
        let granted = !state.is_heard_since(asked)
            && state.down.is_none()
            && state.checked.is_none_or(|at| at + CHECKUP_PAUSE <= now)
            && !is_ahead(state.no_checkup_until, now)
            && !is_ahead(state.looping_until, now);
        if granted {
            state.checked = Some(now);
        }
        granted
    }

    /// Notes that our own question, asked from `asked` on, was left without an answer; true if the upstream is down from
    /// now on.
    pub fn missed_checkup(&self, asked: Instant, now: Instant) -> bool {
        let mut state = self.state.lock();
        if state.is_heard_since(asked + 2 * PATIENCE) {
            // It lived long enough to answer ours as well.
            state.no_checkup_until = Some(now + LACKING);
        }
        if state.is_heard_since(asked) {
            return false;
        }
        state.silent_since = state.silent_since.or(Some(asked));
        state.fall(now)
    }

    /// Notes that it answers our own question.
    pub fn knows_checkup(&self) {
        self.state.lock().no_checkup_until = None;
    }

    /// Since when it is down; none if it is not.
    pub fn down_since(&self) -> Option<Instant> {
        self.state.lock().down.map(|down| down.since)
    }

    /// Whether a question is one to try a down upstream with now; counts it if so: the next pause is twice as long.
    pub fn take_probe(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let Some(down) = state.down.as_mut().filter(|down| now >= down.probe_at) else { return false };
        down.backoff = (down.backoff * 2).min(BACKOFF_MAX);
        down.probe_at = now + down.backoff;
        true
    }

    /// Whether `take_probe` would grant one.
    pub fn is_probe_due(&self, now: Instant) -> bool {
        self.state.lock().down.is_some_and(|down| now >= down.probe_at)
    }

    pub fn silent_since(&self) -> Option<Instant> {
        self.state.lock().silent_since
    }

    /// Notes that questions come back to us; true if that was not known.
    pub fn loops(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let known = is_ahead(state.looping_until, now);
        state.looping_until = Some(now + LOOPING);
        !known
    }

    /// Whether a probe for loops may be sent now; counts it if so.
    pub fn take_loop_probe(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let granted = !is_ahead(state.no_loop_probe_until, now) && !is_ahead(state.looping_until, now);
        if granted {
            state.no_loop_probe_until = Some(now + LOOP_PROBE_PAUSE);
        }
        granted
    }

    /// Whether to log that it does not help; true once for each pause.
    pub fn take_complaint(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let granted = !is_ahead(state.no_complaint_until, now);
        if granted {
            state.no_complaint_until = Some(now + COMPLAINT_PAUSE);
        }
        granted
    }

    /// Whether queries carry EDNS.
    pub fn edns(&self, now: Instant) -> bool {
        !is_ahead(self.state.lock().no_edns_until, now)
    }

    /// How an upstream that is up is asked: letters, and whether with EDNS; none if it is not up.
    pub fn manner(&self, now: Instant) -> Option<(Case, bool)> {
        let state = self.state.lock();
        let is_up = state.down.is_none() && !is_ahead(state.looping_until, now);
        let case = if is_ahead(state.no_case_until, now) { Case::Plain } else { Case::Mixed };
        is_up.then_some((case, !is_ahead(state.no_edns_until, now)))
    }

    pub fn lacks_edns(&self, now: Instant) {
        self.state.lock().no_edns_until = Some(now + LACKING);
    }

    /// How letters of queries are written.
    pub fn case(&self, now: Instant) -> Case {
        if is_ahead(self.state.lock().no_case_until, now) { Case::Plain } else { Case::Mixed }
    }

    pub fn loses_case(&self, now: Instant) {
        self.state.lock().no_case_until = Some(now + LACKING);
    }
}

impl Silence {
    /// For how many names it counts.
    fn names(&self) -> usize {
        match self.elsewhere {
            Elsewhere::Answered => ANSWERED_ELSEWHERE,
            Elsewhere::Nothing => 1,
        }
    }
}

impl State {
    fn is_heard_since(&self, asked: Instant) -> bool {
        self.heard.is_some_and(|heard| heard > asked)
    }

    /// True if it was not down before.
    fn fall(&mut self, now: Instant) -> bool {
        let falls = self.down.is_none();
        if falls {
            self.down = Some(Down { since: now, probe_at: now + BACKOFF_MIN, backoff: BACKOFF_MIN });
        }
        falls
    }
}

fn is_ahead(until: Option<Instant>, now: Instant) -> bool {
    until.is_some_and(|until| now < until)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Silence of 1.8 s on a name, from `asked` on.
    fn misses(health: &Health, name: &str, asked: Instant) -> bool {
        let name: Name = name.parse().unwrap();
        health.missed(name.borrow(), Elsewhere::Nothing, asked, asked + 1800 * MS)
    }

    #[test]
    fn nothing_is_known_of_an_upstream_before_it_answers_or_falls() {
        let (health, now) = (Health::default(), Instant::now());
        assert_eq!(health.standing(now), Standing::Unknown);
        assert!(!misses(&health, "a.", now));
        assert_eq!(health.standing(now), Standing::Unknown);
        assert!(!health.answered(now) && health.standing(now) == Standing::Up);
        let other = Health::default();
        assert!(other.missed_checkup(now, now) && other.standing(now) == Standing::Down);
    }

    #[test]
    fn an_upstream_that_leaves_our_own_question_without_an_answer_falls_and_rises_with_any_answer() {
        let (health, start) = (Health::default(), Instant::now());
        health.answered(start);
        let asked = start + MS;
        assert!(health.take_checkup(asked, asked + PATIENCE));
        assert!(!health.take_checkup(asked, asked + PATIENCE), "one a second");
        assert!(health.missed_checkup(asked + PATIENCE, asked + 1750 * MS));
        assert!(!health.missed_checkup(asked + PATIENCE, asked + 1750 * MS) && !misses(&health, "a.", asked));
        assert_eq!((health.standing(asked), health.silent_since()), (Standing::Down, Some(asked)));
        assert_eq!(health.out_since(asked), Some(asked + 1750 * MS));
        assert!(health.answered(asked) && !health.answered(asked));
        assert_eq!((health.standing(asked), health.silent_since()), (Standing::Up, None));
    }

    #[test]
    fn silence_counts_from_the_last_answer_on() {
        let (health, start) = (Health::default(), Instant::now());
        for second in 0..100 {
            let asked = start + second * 1000 * MS;
            health.answered(asked + MS);
            for name in ["a.", "b.", "c.", "d.", "e."] {
                assert!(!misses(&health, &format!("{second}{name}"), asked));
            }
            assert!(!health.missed_checkup(asked, asked + PATIENCE) && health.silent_since().is_none());
            assert!(!health.take_checkup(asked, asked + PATIENCE));
        }
    }

    #[test]
    fn without_our_own_question_four_names_speak_for_an_outage_and_one_never_does() {
        let (health, start) = (Health::default(), Instant::now());
        health.missed_checkup(start, start);
        health.answered(start);
        for round in 1..100 {
            assert!(!misses(&health, "a.", start + round * 100 * MS));
        }
        let asked = start + 10_000 * MS;
        assert!(!misses(&health, "b.", asked) && !misses(&health, "c.", asked));
        assert!(!misses(&health, "d.", asked + 10_000 * MS), "the others are too long ago");
        let last = asked + 11_000 * MS;
        assert!(!misses(&health, "e.", last) && !misses(&health, "f.", last) && misses(&health, "g.", last));
    }

    #[test]
    fn two_names_that_another_answers_are_enough_once_our_own_question_was_asked() {
        let (health, asked) = (Health::default(), Instant::now());
        let misses = |name: &str, now| {
            let name: Name = name.parse().unwrap();
            health.missed(name.borrow(), Elsewhere::Answered, asked, now)
        };
        let now = asked + PATIENCE;
        assert!(!misses("a.", now) && !misses("b.", now));
        assert!(health.take_checkup(asked, now) && !misses("b.", now + MS));
        assert!(misses("c.", now + PATIENCE));
    }

    #[test]
    fn an_upstream_that_answers_others_and_not_our_own_question_is_asked_that_no_more_for_a_while() {
        let (health, start) = (Health::default(), Instant::now());
        assert!(health.take_checkup(start, start));
        health.answered(start + 1000 * MS);
        assert!(!health.missed_checkup(start, start + 1450 * MS));
        let asked = start + 5000 * MS;
        assert!(!health.take_checkup(asked, asked));
        health.knows_checkup();
        assert!(health.take_checkup(asked, asked));
    }

    #[test]
    fn a_down_upstream_is_probed_at_growing_pauses() {
        let (health, start) = (Health::default(), Instant::now());
        assert!(!health.take_probe(start));
        health.missed_checkup(start, start);
        let probes: Vec<u64> =
            (0..150).filter(|second| health.take_probe(start + Duration::from_secs(*second))).collect();
        assert_eq!(probes, [1, 3, 7, 15, 31, 61, 91, 121]);
    }

    #[test]
    fn what_does_not_help_is_logged_once_a_minute() {
        let (health, start) = (Health::default(), Instant::now());
        let logged: Vec<u64> =
            (0..130).filter(|second| health.take_complaint(start + Duration::from_secs(*second))).collect();
        assert_eq!(logged, [0, 60, 120]);
    }

    #[test]
    fn what_an_upstream_lacks_is_forgotten_after_a_while() {
        let (health, now) = (Health::default(), Instant::now());
        health.lacks_edns(now);
        health.loses_case(now);
        assert!(health.loops(now) && !health.loops(now));
        assert_eq!((health.edns(now), health.case(now)), (false, Case::Plain));
        assert_eq!(health.standing(now), Standing::Looping);
        assert_eq!(health.standing(now + LOOPING), Standing::Unknown);
        assert_eq!((health.edns(now + LACKING), health.case(now + LACKING)), (true, Case::Mixed));
    }
}
