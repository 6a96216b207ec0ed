//! What changed lately, by revision: bounded, newest last.

use std::collections::VecDeque;
use std::sync::Arc;

use super::change::ChangeSet;

/// Change sets remembered: enough for a secondary that asks every hour while one record changes a minute.
const CHANGE_SETS_MAX: usize = 100;
/// Single changes remembered over all sets: bounds the memory that an import of a large zone would hold.
const CHANGES_MAX: usize = 100_000;

/// The last change sets.
#[derive(Default)]
pub struct History {
    entries: VecDeque<(u64, Arc<ChangeSet>)>,
    changes: usize,
}

impl History {
    /// Remembers what led to a revision; answers the oldest beyond the bounds, which it forgets.
    pub(super) fn push(&mut self, revision: u64, changes: Arc<ChangeSet>) -> Vec<Arc<ChangeSet>> {
        let mut forgotten = Vec::new();
        self.changes += changes.changes.len();
        self.entries.push_back((revision, changes));
        while self.entries.len() > CHANGE_SETS_MAX || self.changes > CHANGES_MAX {
            let Some((_, oldest)) = self.entries.pop_front() else { break };
            self.changes -= oldest.changes.len();
            forgotten.push(oldest);
        }
        forgotten
    }

    /// The change sets after `revision`, oldest first; `None` when some are forgotten.
    pub fn since(&self, revision: u64) -> Option<Vec<Arc<ChangeSet>>> {
        let newest = self.entries.back().map_or(revision, |(newest, _)| *newest);
        let oldest = self.entries.front().map_or(newest + 1, |(oldest, _)| *oldest);
        if revision + 1 < oldest && revision != newest {
            return None;
        }
        let later = self.entries.iter().filter(|(at, _)| *at > revision);
        Some(later.map(|(_, changes)| changes.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_changes_are_forgotten_and_that_is_told() {
        let mut history = History::default();
        for revision in 1..=150 {
            history.push(revision, Arc::default());
        }
        assert_eq!(history.since(150).unwrap().len(), 0);
        assert_eq!(history.since(100).unwrap().len(), 50);
        assert_eq!(history.since(50).unwrap().len(), 100);
        assert!(history.since(49).is_none());
    }
}
