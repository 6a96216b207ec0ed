//! Withdrawals that wait for an operator, as they are told and kept.

use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

/// Withdrawals that wait for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    pub would_withdraw: usize,
    /// Record sets that the source has published.
    pub of: usize,
    /// What a confirmation must name.
    pub plan: Fingerprint,
    /// In the order of subscriptions.
    #[serde(default)]
    pub parts: Vec<HeldPart>,
}

/// Those of them that are of one subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPart {
    pub subscription: Arc<str>,
    pub would_withdraw: usize,
    /// Record sets that are published of it.
    pub of: usize,
    /// The same when this began to wait: what is added meanwhile makes no listing less doubtful.
    pub began_of: usize,
    pub plan: Fingerprint,
}

/// Subscriptions that a message names; `GET /sync` has all.
const PARTS_TOLD_MAX: usize = 5;

/// Tells withdrawals from others: which record sets go, and not why or beside what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(u128);

impl HeldBack {
    /// What is left of it with these parts alone.
    pub(super) fn retain(mut self, is_wanted: impl FnMut(&HeldPart) -> bool) -> Option<HeldBack> {
        self.parts.retain(is_wanted);
        HeldBack::of(self.parts, self.of)
    }

    /// What these parts are together; `None` of none.
    pub(super) fn of(parts: Vec<HeldPart>, published: usize) -> Option<HeldBack> {
        if parts.is_empty() {
            return None;
        }
        let lines = parts.iter().map(|part| format!("{} {}", part.subscription, part.plan)).collect();
        let would_withdraw = parts.iter().map(|part| part.would_withdraw).sum();
        Some(HeldBack { would_withdraw, of: published, plan: Fingerprint::of_lines(lines), parts })
    }
}

impl fmt::Display for HeldBack {
    /// `13 of 43 record sets: 13 of 40 of subscription …`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {} record sets:", self.would_withdraw, self.of)?;
        for (index, part) in self.parts.iter().take(PARTS_TOLD_MAX).enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(out, "{separator} {part}")?;
        }
        match self.parts.len().checked_sub(PARTS_TOLD_MAX) {
            Some(more @ 1..) => write!(out, " and {more} more"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for HeldPart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {} of subscription {}", self.would_withdraw, self.of, self.subscription)
    }
}

impl Fingerprint {
    /// The fingerprint of lines, whatever their order.
    pub(super) fn of_lines(mut lines: Vec<String>) -> Fingerprint {
        lines.sort_unstable();
        let mut hasher = SipHasher13::new();
        // Those of plans with all that they add and replace were made without it: none of them is one of these.
        hasher.write(b"withdrawals\n");
        for line in lines {
            hasher.write(line.as_bytes());
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
