//! Withdrawals that are too many at once wait for an operator; whatever else a pass wants goes on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::desired::Desired;
use super::difference::Difference;
use super::held::Withdrawal;
use super::held_back::{Fingerprint, HeldBack, HeldPart};
use super::reconcile::Plan;
use crate::dns::{Name, RecordType};
use crate::zone::{Networks, Snapshot};

/// As many record sets of a source may go whatever their share: a handful of deleted endpoints is an ordinary day.
pub const WITHDRAW_FREE: usize = 10;

/// What a pass must not withdraw before an operator confirms it.
pub struct Hold<'p> {
    pub held_back: HeldBack,
    pub(super) withdrawals: Vec<Withdrawal<'p>>,
}

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

impl Hold<'_> {
    /// Has `desired` publish on what must wait, as `older` did.
    pub fn keep(self, desired: &mut Desired, older: &Desired, networks: &Networks) {
        let mut held: HashMap<&str, HashSet<(&Name, RecordType)>> = HashMap::new();
        for it in &self.withdrawals {
            held.entry(it.id).or_default().insert((it.name, it.rtype));
        }
        desired.keep_publications(older, &held);
        desired.keep_zones(older, &held, networks);
        desired.held_back = Some(self.held_back);
    }
}

#[cfg(test)]
mod tests;
