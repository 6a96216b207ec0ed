//! How long ago something was, for people.

use std::fmt;
use std::time::{Duration, SystemTime};

/// A length of time in the largest unit that tells enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(pub Duration);

impl Age {
    /// The age of what was done at a time; what lies ahead of a clock that was set back is new.
    pub fn of(time: SystemTime) -> Age {
        Age(time.elapsed().unwrap_or_default())
    }
}

impl fmt::Display for Age {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        // Up to two of a unit are told in the next smaller one: "90 minutes" says more than "1 hour".
        let units = [(86_400, "day"), (3600, "hour"), (60, "minute")];
        let (number, unit) = units
            .into_iter()
            .find(|(unit_secs, _)| secs >= 2 * unit_secs)
            .map_or((secs, "second"), |(unit_secs, unit)| (secs / unit_secs, unit));
        write!(out, "{number} {unit}{}", if number == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_the_unit_that_tells_enough() {
        let told = |secs| Age(Duration::from_secs(secs)).to_string();
        assert_eq!(
            [0, 1, 119, 120, 7199, 7200, 172_799, 172_800].map(told),
            [
                "0 seconds",
                "1 second",
                "119 seconds",
                "2 minutes",
                "119 minutes",
                "2 hours",
                "47 hours",
                "2 days"
            ]
        );
    }
}
