//! What passes find odd, in the log: each is told once, and not more of it at a time than somebody reads.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::warn;

use crate::dns::{Name, RecordType};
use crate::sync::{self, Conflict, Drift};
use crate::zone::Snapshot;

/// Lines of one kind after one pass: a screen full. Two sources with the same endpoints have tens of thousands of
/// conflicts, and whoever owns one endpoint can give cause to thousands of remarks.
const LINES_MAX: usize = 30;

/// The conflicts and the drift that are in the log already.
#[derive(Clone, Default)]
pub(crate) struct Told {
    conflicts: Arc<Mutex<HashMap<(Name, RecordType), Conflict>>>,
    drift: Arc<Mutex<BTreeSet<Drift>>>,
}

impl Told {
    /// Tells the conflicts that are new.
    pub(super) fn tell(&self, snapshot: &Snapshot) {
        let new = self.renew(sync::conflicts(snapshot));
        let tell = |conflict: &Conflict| {
            warn!(dns.name = %conflict.name, claims = conflict.claims.len(), "{conflict}");
        };
        if let Some(untold) = tell_first(&new, tell) {
            warn!(
                conflicts = untold,
                "{untold} more names are claimed by more than one private endpoint: `privatelink-dns doctor` lists all"
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
        let mut told = self.drift.lock();
        let now: BTreeSet<Drift> = now.into_iter().collect();
        let new: Vec<&Drift> = now.difference(&told).collect();
        let tell = |drift: &&Drift| warn!(dns.name = %drift.name, drifts = now.len(), "Drift: {drift}");
        if let Some(untold) = tell_first(&new, tell) {
            warn!(
                drifts = untold,
                "{untold} more record sets of private DNS zones contradict the private endpoints: \
                 `privatelink-dns doctor` lists all"
            );
        }
        *told = now;
    }

    /// Remembers the conflicts of now; answers those that were not there before.
    fn renew(&self, now: Vec<Conflict>) -> Vec<Conflict> {
        let mut told = self.conflicts.lock();
        let key = |conflict: &Conflict| (conflict.name.clone(), conflict.rtype);
        let is_new = |conflict: &&Conflict| told.get(&key(conflict)) != Some(*conflict);
        let new = now.iter().filter(is_new).cloned().collect();
        *told = now.into_iter().map(|conflict| (key(&conflict), conflict)).collect();
        new
    }
}

/// Tells the first of these; answers how many stay untold, if any do.
pub(super) fn tell_first<T>(all: &[T], tell: impl FnMut(&T)) -> Option<usize> {
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
        let told = Told::default();
        let new = |numbers: &[usize]| told.renew(numbers.iter().map(|number| conflict(*number)).collect());
        assert_eq!(new(&[1, 2]).len(), 2);
        assert_eq!(new(&[1, 2, 3]), [conflict(3)]);
        assert_eq!(new(&[1, 3]).len(), 0);
        assert_eq!(new(&[1, 2, 3]), [conflict(2)]);
    }
}
