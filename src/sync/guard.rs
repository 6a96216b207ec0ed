//! Withdrawals that are too many at once wait for an operator; whatever else a pass wants goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::desired::Desired;
use super::difference::Difference;
use super::held::Withdrawal;
use super::reconcile::Plan;
use crate::zone::Snapshot;

/// As many record sets of a source may go whatever their share: a handful of deleted endpoints is an ordinary day.
pub const WITHDRAW_FREE: usize = 10;

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

/// What a pass must not withdraw before an operator confirms it.
pub struct Hold<'p> {
    pub held_back: HeldBack,
    pub(super) withdrawals: Vec<Withdrawal<'p>>,
}

/// Tells withdrawals from others: which record sets go, and not why or beside what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(u128);

impl<'p> Hold<'p> {
    /// What of a plan is too much, if anything is: of a subscription, or of the source's whole. It is too much of a
    /// subscription, too, if a name of it would fall to an endpoint whose resource fits the name worse.
    ///
    /// `before` is what waited behind the last pass. That goes on waiting until there is less of it, or an operator
    /// confirms it.
    pub fn of(
        plan: &'p Plan,
        desired: &Desired,
        before: Option<&HeldBack>,
        source: &Arc<str>,
        snapshot: &'p Snapshot,
        withdraw_max_percent: u8,
    ) -> Option<Hold<'p>> {
        if before.is_none() && plan.withdrawn == 0 {
            return None;
        }
        let withdrawals = Withdrawal::all_doubtful(plan, desired, snapshot);
        let is_ordinary = plan.withdrawn <= WITHDRAW_FREE && !withdrawals.iter().any(|it| it.is_shield);
        if before.is_none() && is_ordinary {
            return None;
        }
        let mut tallies: BTreeMap<&str, Tally<'_>> = BTreeMap::new();
        for withdrawal in &withdrawals {
            tallies.entry(&withdrawal.subscription).or_default().withdrawn.push(withdrawal);
        }
        let before: BTreeMap<&str, &HeldPart> =
            before.iter().flat_map(|it| &it.parts).map(|part| (&*part.subscription, part)).collect();
        let published = super::held::published(source, snapshot);
        for (subscription, tally) in &mut tallies {
            tally.before = before.get(subscription).copied();
            tally.published = published.get(subscription).copied().unwrap_or_default();
        }
        let held = Tally::held(&tallies, published.values().sum(), withdraw_max_percent);
        // Of a subscription that is not listed for now it is not known whether it still would.
        let is_carried = |part: &&&HeldPart| {
            let subscription = &*part.subscription;
            !held.contains(&subscription) && !desired.extent.covers_some_of(subscription)
        };
        let carried = before.values().filter(is_carried);
        let mut parts: Vec<HeldPart> = carried.map(|part| HeldPart::clone(part)).collect();
        parts.extend(held.iter().map(|subscription| tallies[subscription].part(subscription)));
        parts.sort_by(|a, b| a.subscription.cmp(&b.subscription));
        let held_back = HeldBack::of(parts, published.values().sum())?;
        let held: BTreeSet<String> = held.into_iter().map(str::to_owned).collect();
        drop(tallies);
        let withdrawals = withdrawals.into_iter().filter(|it| held.contains(&*it.subscription)).collect();
        Some(Hold { held_back, withdrawals })
    }

    /// Marks those of a plan's differences that wait.
    pub fn mark(&self, differences: &mut [Difference]) {
        let held: BTreeSet<_> = self.withdrawals.iter().map(|it| (it.name, it.rtype, &**it.id)).collect();
        for difference in differences.iter_mut().filter(|it| it.after.is_none()) {
            difference.is_held_back =
                held.contains(&(&difference.name, difference.rtype, &*difference.endpoint));
        }
    }
}

/// What is to go of one subscription.
#[derive(Default)]
struct Tally<'w> {
    withdrawn: Vec<&'w Withdrawal<'w>>,
    published: usize,
    before: Option<&'w HeldPart>,
}

impl Tally<'_> {
    fn began_of(&self) -> usize {
        self.before.map_or(self.published, |before| before.began_of.min(self.published))
    }

    fn is_beyond(&self, withdraw_max_percent: u8) -> bool {
        is_beyond(self.withdrawn.len(), self.began_of(), withdraw_max_percent)
    }

    /// Whether it waited before, and nothing got better since.
    fn still_waits(&self, withdraw_max_percent: u8) -> bool {
        let is_no_less = self.before.is_some_and(|before| self.withdrawn.len() >= before.would_withdraw);
        is_no_less && self.is_beyond(withdraw_max_percent)
    }

    /// The subscriptions whose withdrawals wait.
    fn held<'k>(tallies: &BTreeMap<&'k str, Tally<'_>>, published: usize, percent: u8) -> Vec<&'k str> {
        let is_held_alone = |tally: &Tally<'_>| {
            tally.still_waits(percent)
                || (tally.withdrawn.len() > WITHDRAW_FREE && tally.is_beyond(percent))
                || tally.withdrawn.iter().any(|it| it.is_shield)
        };
        let sum = |is_of: &dyn Fn(&Tally<'_>) -> bool| {
            tallies.values().filter(|it| is_of(it)).map(|it| it.withdrawn.len()).sum::<usize>()
        };
        // They are free once a source. What waits by itself uses none of them up.
        let is_free = sum(&|tally| !is_held_alone(tally)) <= WITHDRAW_FREE;
        let is_held = |tally: &Tally<'_>| is_held_alone(tally) || (!is_free && tally.is_beyond(percent));
        let rest = sum(&|tally| !is_held(tally));
        let is_too_much = rest > WITHDRAW_FREE && is_beyond(rest, published, percent);
        let held = tallies.iter().filter(|(_, tally)| is_too_much || is_held(tally));
        held.map(|(subscription, _)| *subscription).collect()
    }

    fn part(&self, subscription: &str) -> HeldPart {
        HeldPart {
            subscription: subscription.into(),
            would_withdraw: self.withdrawn.len(),
            of: self.published,
            began_of: self.began_of(),
            plan: Fingerprint::of_lines(self.withdrawn.iter().map(|it| it.to_string()).collect()),
        }
    }
}

/// Whether this is more than a share.
fn is_beyond(withdrawn: usize, of: usize, percent: u8) -> bool {
    withdrawn as u128 * 100 > of as u128 * u128::from(percent)
}

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
    fn of_lines(mut lines: Vec<String>) -> Fingerprint {
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

#[cfg(test)]
mod tests;
