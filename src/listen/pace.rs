//! When replies that waited may leave: what piled up behind one slow name must not come back in one pulse (DNSBomb).
//!
//! So many leave at once as came together, and the others as evenly as 1.4 times as many in 100 ms: a burst of questions is
//! answered as a burst, and in no 100 ms there are more than three times the replies that there were questions. A fourth
//! is left for those that need not wait.

use std::time::Duration;

use tokio::time::Instant;

/// Replies that leave at once, however few came together: a page of names, a few clients of one site.
const AT_ONCE_MIN: usize = 64;

/// What is counted together: five of them are no less than 100 ms.
const SLOT: Duration = Duration::from_millis(25);
const SLOTS: usize = 5;

/// The time in which as many as may leave at once are earned again: 100 ms, divided by 1.4.
const EARNED_IN: Duration = Duration::from_micros(71_429);

/// How long the busiest time counts: longer than any message waits.
const PERIOD: Duration = Duration::from_secs(2);

/// How fast messages of one client network came, and when the next reply to one may leave.
#[derive(Debug)]
pub struct Pace {
    /// Messages that came, a slot each; the newest at `newest`, which began at `began`.
    slots: [u16; SLOTS],
    newest: usize,
    began: Instant,
    /// Most that came together, in this period and in the one before.
    most: [usize; 2],
    period_ends: Instant,
    /// When all that left is earned.
    earned_at: Instant,
}

impl Pace {
    pub fn new(now: Instant) -> Pace {
        Pace {
            slots: [0; SLOTS],
            newest: 0,
            began: now,
            most: [0; 2],
            period_ends: now + PERIOD,
            earned_at: now,
        }
    }

    /// Notes a message that came.
    pub fn note(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.began).as_micros() / SLOT.as_micros();
        for _ in 0..passed.min(SLOTS as u128) {
            self.newest = (self.newest + 1) % SLOTS;
            self.slots[self.newest] = 0;
        }
        self.began += SLOT * passed as u32;
        self.slots[self.newest] = self.slots[self.newest].saturating_add(1);
        if now >= self.period_ends {
            let is_next = now < self.period_ends + PERIOD;
            self.most = [0, if is_next { self.most[0] } else { 0 }];
            self.period_ends = now + PERIOD;
        }
        let together = self.slots.iter().map(|came| usize::from(*came)).sum();
        let before = self.at_once();
        self.most[0] = self.most[0].max(together);
        self.reckon_anew(before, now);
    }

    /// Scales down what counts of the replies that left, now that more may leave at once.
    // Else a client that begins to ask much would be held back for what it asked when it had asked little.
    fn reckon_anew(&mut self, before: u32, now: Instant) {
        let (at_once, owed) = (self.at_once(), self.earned_at.saturating_duration_since(now));
        // Beyond that some are held back, and have been told when they leave.
        if at_once > before && owed <= EARNED_IN {
            self.earned_at = now.max(self.earned_at - (owed - owed * before / at_once));
        }
    }

    /// How many may leave at once.
    fn at_once(&self) -> u32 {
        self.most[0].max(self.most[1]).max(AT_ONCE_MIN) as u32
    }

    /// When a reply that is ready may leave; none if that is after `latest`, and then it does not count.
    pub fn leave(&mut self, now: Instant, latest: Instant) -> Option<Instant> {
        let at_once = self.at_once();
        let each = EARNED_IN / at_once;
        let earned_at = self.earned_at.max(now);
        let at = earned_at.checked_sub(each * (at_once - 1)).map_or(now, |at| at.max(now));
        // What leaves at once is never late: the client is waiting.
        if at > now && at > latest {
            return None;
        }
        self.earned_at = earned_at + each;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const WINDOW: Duration = Duration::from_millis(100);

    /// Most of these within 100 ms; they are in order.
    fn most_in_a_window(times: &[Instant]) -> usize {
        let count = |(at, from): (usize, &Instant)| {
            times[at..].iter().take_while(|time| **time < *from + WINDOW).count()
        };
        times.iter().enumerate().map(count).max().unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_answered_as_a_burst() {
        let start = Instant::now();
        // Wherever the borders of slots fall.
        for offset in 0..30 {
            let mut pace = Pace::new(start);
            for number in 0..100 {
                pace.note(start + MS * offset + MS / 10 * number);
            }
            let now = start + MS * (offset + 30);
            for _ in 0..100 {
                assert_eq!(pace.leave(now, now + MS), Some(now), "{offset}");
            }
            assert!(pace.leave(now, now + WINDOW).unwrap() > now);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_whose_questions_are_answered_as_they_come_is_held_back_for_none() {
        let start = Instant::now();
        for batch in [1, 10, 64, 300] {
            let mut pace = Pace::new(start);
            // Few at first, then as many as a full core takes, for half a second.
            for round in 0..1000 {
                let now = start + MS / 2 * round;
                let came = if round < 20 { batch } else { 4 * batch };
                (0..came).for_each(|_| pace.note(now));
                for _ in 0..came {
                    assert_eq!(pace.leave(now, now + MS), Some(now), "{batch}, round {round}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_piled_up_leaves_no_faster_than_three_times_as_it_came() {
        for per_100_ms in [100, 250, 1000] {
            let start = Instant::now();
            let mut pace = Pace::new(start);
            let came: Vec<Instant> =
                (0..per_100_ms * 10).map(|at| start + WINDOW * at / per_100_ms).collect();
            came.iter().for_each(|came| pace.note(*came));
            let now = start + WINDOW * 10;
            let left: Vec<Instant> =
                came.iter().filter_map(|came| pace.leave(now, *came + WINDOW * 19)).collect();
            let most = most_in_a_window(&left) as u32;
            assert!(most > per_100_ms && most <= 3 * per_100_ms + 1, "{per_100_ms}: {most}");
            assert_eq!(left.len(), came.len(), "{per_100_ms}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_leave_too_late_does_not_leave_and_takes_no_time_of_others() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.note(start);
        let latest = start + WINDOW;
        let left: Vec<Instant> = (0..1000).map_while(|_| pace.leave(start, latest)).collect();
        assert!(left.len() > AT_ONCE_MIN && left.iter().all(|at| *at <= latest));
        assert_eq!(pace.leave(start, latest), None);
        assert!(pace.leave(start, latest + MS * 2).is_some());
        // The reply that has waited longest leaves all the same when nothing is in its way.
        let later = start + WINDOW * 40;
        assert_eq!(pace.leave(later, start), Some(later));
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_time_counts_for_as_long_as_its_messages_may_wait_and_not_for_ever() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let at_once = |pace: &mut Pace, now: Instant| {
            (0..2000).take_while(|_| pace.leave(now, now) == Some(now)).count()
        };
        (0..500).for_each(|_| pace.note(start));
        assert_eq!(at_once(&mut pace, start + PERIOD - MS), 500);
        pace.note(start + PERIOD);
        assert_eq!(at_once(&mut pace, start + PERIOD * 2 - MS), 500);
        pace.note(start + PERIOD * 2);
        assert_eq!(at_once(&mut pace, start + PERIOD * 2 + WINDOW * 2), AT_ONCE_MIN);
        // Nobody came for a long time.
        pace.note(start + PERIOD * 100);
        assert_eq!(at_once(&mut pace, start + PERIOD * 101), AT_ONCE_MIN);
    }
}
