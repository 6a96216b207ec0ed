//! Times of events as clocks on walls tell them.

use std::time::{Duration, Instant, SystemTime};

/// Now, by both clocks.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    instant: Instant,
    time: SystemTime,
}

impl Moment {
    pub fn now() -> Moment {
        Moment { instant: Instant::now(), time: SystemTime::now() }
    }

    /// The time of an instant that is not long ago.
    pub fn time_of(&self, instant: Instant) -> SystemTime {
        let ago = self.instant.saturating_duration_since(instant);
        let ahead = instant.saturating_duration_since(self.instant);
        self.time.checked_sub(ago).map_or(SystemTime::UNIX_EPOCH, |time| time + ahead)
    }

    /// The same since 1970.
    pub fn since_1970(&self, instant: Instant) -> Duration {
        self.time_of(instant).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_as_far_from_now_by_either_clock() {
        let now = Moment::now();
        let second = Duration::from_secs(1);
        assert_eq!(now.time_of(now.instant - second), now.time - second);
        assert_eq!(now.time_of(now.instant + second), now.time + second);
        assert_eq!(SystemTime::UNIX_EPOCH + now.since_1970(now.instant), now.time);
    }
}
