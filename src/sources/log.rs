//! What passes find odd, in the log: each is told once, and not more of it at a time than somebody reads.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{error, info, warn};

use super::known::Known;
use crate::dns::{Name, RecordType};
use crate::sync::{self, Conflict, Contest, Desired, Drift, HeldBack, NotServed, Refusal};
use crate::telemetry::command;
use crate::zone::Snapshot;

/// Lines of one kind after one pass: a screen full. Two sources with the same endpoints have tens of thousands of
/// conflicts, and whoever owns one endpoint can give cause to thousands of remarks.
const LINES_MAX: usize = 30;

/// The conflicts and the drift that are in the log already.
#[derive(Clone, Default)]
pub(crate) struct Log {
    conflicts: Arc<Mutex<HashMap<(Name, RecordType), Conflict>>>,
    drift: Arc<Mutex<BTreeSet<Drift>>>,
}

impl Log {
    /// Tells the conflicts that are new.
    pub(super) fn tell_conflicts(&self, snapshot: &Snapshot) {
        let new = Contest::of(self.renew(sync::conflicts(snapshot)));
        let tell = |contest: &Contest| {
            warn!(
                names = contest.names.len(),
                endpoints = contest.endpoints.len(),
                "More than one private endpoint claims {contest}; {} says which is served",
                command("doctor")
            );
        };
        if let Some(untold) = tell_first(&new, tell) {
            warn!(
                conflicts = untold,
                "{untold} more groups of private endpoints claim names of each other: {} lists all",
                command("doctor")
            );
        }
    }

    /// How many names are contested.
    pub(crate) fn conflicts(&self) -> usize {
        self.conflicts.lock().len()
    }

    /// How much drift there is, and the first of it.
    pub(crate) fn drift(&self, first: usize) -> (usize, Vec<Drift>) {
        let drift = self.drift.lock();
        (drift.len(), drift.iter().take(first).cloned().collect())
    }

    /// Tells the drift that is new.
    pub(super) fn tell_drift(&self, now: Vec<Drift>) {
        let mut logged = self.drift.lock();
        let now: BTreeSet<Drift> = now.into_iter().collect();
        let new: Vec<&Drift> = now.difference(&logged).collect();
        let tell = |drift: &&Drift| warn!(dns.name = %drift.name, drifts = now.len(), "Drift: {drift}");
        if let Some(untold) = tell_first(&new, tell) {
            warn!(
                drifts = untold,
                "{untold} more record sets of private DNS zones contradict the private endpoints: {} lists all",
                command("doctor")
            );
        }
        *logged = now;
    }

    /// Remembers the conflicts of now; answers those that were not there before.
    fn renew(&self, now: Vec<Conflict>) -> Vec<Conflict> {
        let mut logged = self.conflicts.lock();
        let key = |conflict: &Conflict| (conflict.name.clone(), conflict.rtype);
        let is_new = |conflict: &&Conflict| logged.get(&key(conflict)) != Some(*conflict);
        let new = now.iter().filter(is_new).cloned().collect();
        *logged = now.into_iter().map(|conflict| (key(&conflict), conflict)).collect();
        new
    }
}

/// Tells what is odd about a source of such a kind, as far as it was not so before.
pub(super) fn tell(kind: &str, name: &str, now: &Known, before: &Known) {
    let (desired, older) = (&now.desired, &before.desired);
    tell_remarks(kind, name, (remarks(desired), remarks(older)));
    if let Some(first) = desired.foreign.first().filter(|_| desired.foreign != older.foreign) {
        let endpoints = desired.foreign.len();
        warn!(source = %name, endpoints,
            "{kind} `{name}`: {endpoints} private endpoints or zones publish nothing, as sync.allow_subscriptions \
             leaves out their subscriptions; {first} is the first");
    }
    for zone in now.derived.difference(&before.derived) {
        info!(source = %name, zone.apex = %zone,
            "{kind} `{name}` publishes into {zone}, which the catalogue lacks: a zone group or a name tells it");
    }
    tell_remarks(kind, name, (refused(&now.not_served), refused(&before.not_served)));
    tell_held_back(kind, name, desired, older);
    for remark in now.remarks.difference(&before.remarks) {
        warn!(source = %name, "{kind} `{name}`: {remark}");
    }
}

fn tell_remarks(kind: &str, name: &str, (now, before): (BTreeSet<String>, BTreeSet<String>)) {
    let new: Vec<&String> = now.difference(&before).collect();
    if let Some(untold) = tell_first(&new, |remark| warn!(source = %name, "{kind} `{name}`: {remark}")) {
        warn!(source = %name, "{kind} `{name}`: {untold} more remarks like these");
    }
}

/// What is odd about what was listed, each in words. A set: a large inventory without its interfaces has a remark an
/// endpoint.
fn remarks(desired: &Desired) -> BTreeSet<String> {
    let unplaced = desired.unplaced.iter();
    let unplaced =
        unplaced.map(|name| format!("no private-link zone is known for {} of {}", name.fqdn, name.endpoint));
    desired.warnings.iter().map(ToString::to_string).chain(unplaced).collect()
}

/// The zones that are refused, each in words.
fn refused(all: &[NotServed]) -> BTreeSet<String> {
    let others = all.iter().filter(|it| it.why != Refusal::NotSelected);
    others.map(|it| format!("{} is not published: {it}", it.name)).collect()
}

/// Tells that an operator must look at withdrawals, unless the last pass had the same.
fn tell_held_back(kind: &str, name: &str, desired: &Desired, older: &Desired) {
    let Some(held_back) = &desired.held_back else { return };
    if older.held_back.as_ref().is_some_and(|older| older.plan == held_back.plan) {
        return;
    }
    let HeldBack { would_withdraw, of, .. } = held_back;
    let (show, confirm) =
        (command("sync --once --dry-run"), command(format_args!("sync --once --confirm {name}")));
    error!(source = %name, would_withdraw, of,
        "{kind} `{name}` would withdraw {held_back}: these are held back, and all else is done. Look at {show}, and if \
         that is meant, {confirm}");
}

/// Tells the first of these; answers how many stay untold, if any do.
fn tell_first<T>(all: &[T], tell: impl FnMut(&T)) -> Option<usize> {
    all.iter().take(LINES_MAX).for_each(tell);
    all.len().checked_sub(LINES_MAX).filter(|untold| *untold > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflict(number: usize) -> Conflict {
        let name = format!("n{number}.privatelink.blob.core.windows.net.").parse().unwrap();
        Conflict { name, rtype: RecordType::A, claims: Vec::new() }
    }

    #[test]
    fn a_conflict_is_new_once_and_again_when_it_comes_back() {
        let log = Log::default();
        let new = |numbers: &[usize]| log.renew(numbers.iter().map(|number| conflict(*number)).collect());
        assert_eq!(new(&[1, 2]).len(), 2);
        assert_eq!(new(&[1, 2, 3]), [conflict(3)]);
        assert_eq!(new(&[1, 3]).len(), 0);
        assert_eq!(new(&[1, 2, 3]), [conflict(2)]);
    }
}
