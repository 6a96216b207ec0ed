//! A pass that would withdraw too much at once waits for an operator.

use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::difference::Difference;
use super::reconcile::Plan;

/// As many record sets may go whatever their share: a handful of deleted endpoints is an ordinary day.
pub const WITHDRAW_FREE: usize = 10;

/// A pass that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBack {
    pub would_withdraw: usize,
    /// Record sets that the source has published.
    pub of: usize,
    /// What a confirmation must name.
    pub plan: Fingerprint,
}

/// Tells one plan from another: all that is added, replaced and withdrawn counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(u128);

impl Plan {
    /// Whether it withdraws more than [`WITHDRAW_FREE`] record sets and more than this share of the source's.
    pub fn withdraws_too_much(&self, withdraw_max_percent: u8) -> bool {
        let share_max = self.published as u128 * u128::from(withdraw_max_percent);
        self.withdrawn > WITHDRAW_FREE && self.withdrawn as u128 * 100 > share_max
    }
}

impl Fingerprint {
    /// That of a plan's differences, which come in a fixed order.
    pub fn of(differences: &[Difference]) -> Fingerprint {
        let mut hasher = SipHasher13::new();
        for difference in differences {
            // Without the reason: why it is so is no part of what is done.
            hasher.write(difference.change().as_bytes());
            hasher.write(b"\n");
        }
        Fingerprint(hasher.finish128().as_u128())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Fingerprint, std::num::ParseIntError> {
        u128::from_str_radix(text, 16).map(Fingerprint)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Fingerprint, std::num::ParseIntError> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn withdraws(withdrawn: usize, published: usize, percent: u8) -> bool {
        Plan { withdrawn, published, ..Plan::default() }.withdraws_too_much(percent)
    }

    #[test]
    fn more_than_the_share_is_too_much_and_the_share_itself_is_not() {
        assert!(!withdraws(29, 100, 30));
        assert!(!withdraws(30, 100, 30));
        assert!(withdraws(31, 100, 30));
        assert!(!withdraws(100, 100, 100));
        assert!(withdraws(usize::MAX, usize::MAX, 99));
    }

    #[test]
    fn ten_record_sets_may_always_go() {
        assert!(!withdraws(10, 10, 30));
        assert!(!withdraws(10, 10, 0));
        assert!(withdraws(11, 11, 30));
        assert!(withdraws(11, 1000, 0));
    }

    #[test]
    fn a_first_pass_is_never_too_much() {
        assert!(!withdraws(0, 0, 0));
    }

    #[test]
    fn a_fingerprint_is_read_as_it_is_written() {
        let fingerprint = Fingerprint(0x00ff << 100);
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        assert!("yes".parse::<Fingerprint>().is_err());
    }
}
