//! What is known of an upstream's state: up, down or leading back to us, and what it does not understand.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::case::Case;

/// Questions in a row on which an upstream stays silent before it is down: one may be a lost packet.
const MISSES_MAX: u32 = 2;

/// The first pause before a down upstream is tried again; doubled for each try without an answer.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// How long an upstream that leads back to us is not asked.
const LOOPING: Duration = Duration::from_secs(30);

/// How long an upstream is taken not to know EDNS, or not to keep case: it may be replaced meanwhile.
const LACKING: Duration = Duration::from_secs(600);

/// How often a probe for loops may be sent.
const LOOP_PROBE_PAUSE: Duration = Duration::from_secs(10);

/// How often an upstream that answers and does not help is logged.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// Whether an upstream is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Before others that are not.
    Up,
    /// When no other is left, or by a probe.
    Down,
    /// Not at all: our questions come back to us.
    Looping,
}

/// The state of one upstream.
#[derive(Default)]
pub struct Health {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    misses: u32,
    silent_since: Option<Instant>,
    down: Option<Down>,
    looping_until: Option<Instant>,
    no_edns_until: Option<Instant>,
    no_case_until: Option<Instant>,
    no_loop_probe_until: Option<Instant>,
    no_complaint_until: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Down {
    probe_at: Instant,
    backoff: Duration,
}

impl Health {
    pub fn standing(&self, now: Instant) -> Standing {
        let state = self.state.lock();
        match state.down {
            _ if is_ahead(state.looping_until, now) => Standing::Looping,
            Some(_) => Standing::Down,
            None => Standing::Up,
        }
    }

    /// Notes any answer; true if the upstream was down.
    pub fn answered(&self) -> bool {
        let mut state = self.state.lock();
        state.misses = 0;
        state.silent_since = None;
        state.down.take().is_some()
    }

    /// Notes silence on a question asked at `asked`; true if the upstream is down from now on.
    pub fn missed(&self, asked: Instant, now: Instant) -> bool {
        let mut state = self.state.lock();
        state.misses += 1;
        state.silent_since.get_or_insert(asked);
        let falls = state.down.is_none() && state.misses >= MISSES_MAX;
        if falls {
            state.down = Some(Down { probe_at: now + BACKOFF_MIN, backoff: BACKOFF_MIN });
        }
        falls
    }

    /// Whether to try a down upstream now; true once for each pause, and the next is twice as long.
    pub fn take_probe(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let Some(down) = state.down.as_mut().filter(|down| now >= down.probe_at) else { return false };
        down.backoff = (down.backoff * 2).min(BACKOFF_MAX);
        down.probe_at = now + down.backoff;
        true
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

fn is_ahead(until: Option<Instant>, now: Instant) -> bool {
    until.is_some_and(|until| now < until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_falls_after_silence_in_a_row_and_rises_with_any_answer() {
        let (health, now) = (Health::default(), Instant::now());
        assert!(!health.missed(now, now));
        assert!(!health.answered());
        assert!(!health.missed(now, now));
        assert_eq!(health.standing(now), Standing::Up);
        assert!(health.missed(now, now));
        assert!(!health.missed(now, now));
        assert_eq!((health.standing(now), health.silent_since()), (Standing::Down, Some(now)));
        assert!(health.answered());
        assert_eq!((health.standing(now), health.silent_since()), (Standing::Up, None));
    }

    #[test]
    fn a_down_upstream_is_probed_at_growing_pauses() {
        let (health, start) = (Health::default(), Instant::now());
        assert!(!health.take_probe(start));
        health.missed(start, start);
        health.missed(start, start);
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
        assert_eq!(health.standing(now + LOOPING), Standing::Up);
        assert_eq!((health.edns(now + LACKING), health.case(now + LACKING)), (true, Case::Mixed));
    }
}
