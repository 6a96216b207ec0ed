//! What the writer, those who follow and those who ask have in common.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::database::Connection;
use super::entry::Change;
use super::error::PersistError;
use super::readers::Readers;
use super::tables;
use super::target::Target;
use super::writer::by;

/// Single changes kept for those who follow, so that they need not read what was written here: some seconds of writing
/// at full speed.
const RECENT_CHANGES_MAX: usize = 100_000;
/// Nudges that a slow listener may be behind; it then misses the oldest, which say the same.
const NUDGES_WAITING_MAX: usize = 64;

/// Shared by all tasks of one store.
pub(super) struct Shared {
    pub target: Target,
    pub readers: Readers,
    /// The newest revision that was heard of.
    newest: watch::Sender<u64>,
    recent: Mutex<Recent>,
    nudges: broadcast::Sender<Arc<str>>,
}

/// What was written here lately, by revision; others' revisions are missing between.
#[derive(Default)]
struct Recent {
    changes: VecDeque<Arc<Change>>,
    count: usize,
}

impl Shared {
    pub fn new(target: Target, revision: u64) -> Shared {
        Shared {
            target,
            readers: Readers::new(),
            newest: watch::Sender::new(revision),
            recent: Mutex::default(),
            nudges: broadcast::Sender::new(NUDGES_WAITING_MAX),
        }
    }

    /// Tells those who follow of changes that are durable.
    pub fn publish(&self, changes: impl Iterator<Item = Arc<Change>>, newest: u64) {
        let mut recent = self.recent.lock();
        changes.for_each(|change| recent.push(change));
        drop(recent);
        self.heard_of(newest);
    }

    /// Tells those who follow of a revision. Word of an older one may come late.
    pub fn heard_of(&self, revision: u64) {
        self.newest.send_if_modified(|newest| std::mem::replace(newest, revision.max(*newest)) < revision);
    }

    /// Looks where the store is; answers the revision that was known before and the one it has.
    pub async fn look(&self) -> Result<(u64, u64), PersistError> {
        let known = *self.newest.borrow();
        let deadline = Readers::deadline();
        let revision = self
            .ask(deadline, async |connection: &mut Connection| tables::revision(connection).await)
            .await?;
        if revision < known {
            // It was set back: what was known before the question is not there any more.
            self.newest.send_replace(revision);
        } else {
            self.heard_of(revision);
        }
        Ok((known, revision))
    }

    pub fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// The change of a revision, if it was written here lately.
    pub fn recent(&self, revision: u64) -> Option<Arc<Change>> {
        let recent = self.recent.lock();
        let found = recent.changes.binary_search_by_key(&revision, |change| change.revision);
        found.ok().map(|index| recent.changes[index].clone())
    }

    /// Forgets what was written here: the database no longer knows it.
    pub fn forget_recent(&self) {
        *self.recent.lock() = Recent::default();
    }

    pub fn nudged(&self, topic: &str) {
        // Nobody listens: fine.
        let _ = self.nudges.send(topic.into());
    }

    pub fn nudges(&self) -> broadcast::Receiver<Arc<str>> {
        self.nudges.subscribe()
    }

    /// Asks on a connection of the readers.
    pub async fn ask<T>(
        &self,
        deadline: Instant,
        question: impl AsyncFnOnce(&mut Connection) -> Result<T, PersistError>,
    ) -> Result<T, PersistError> {
        let mut lent = self.readers.lend(&self.target, deadline).await?;
        let answer = by(deadline, question(&mut lent.connection)).await?;
        lent.keep();
        Ok(answer)
    }

    /// Asks several things of one revision.
    pub async fn ask_at_one_revision<T>(
        &self,
        deadline: Instant,
        question: impl AsyncFnOnce(&mut Connection) -> Result<T, PersistError>,
    ) -> Result<T, PersistError> {
        let mut lent = self.readers.lend(&self.target, deadline).await?;
        let answer = by(deadline, async {
            lent.connection.begin_reading().await?;
            let answer = question(&mut lent.connection).await;
            lent.connection.end(answer).await
        })
        .await?;
        lent.keep();
        Ok(answer)
    }
}

impl Recent {
    fn push(&mut self, change: Arc<Change>) {
        if self.changes.back().is_some_and(|last| last.revision >= change.revision) {
            // The database was set back, and counts again what it has counted before.
            *self = Recent::default();
        }
        self.count += change.changes.len();
        self.changes.push_back(change);
        // The newest stays, however large: those who follow are about to take it.
        while self.count > RECENT_CHANGES_MAX && self.changes.len() > 1 {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.count -= oldest.changes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Name;
    use crate::persist::StoredChange;

    #[test]
    fn what_was_written_lately_is_found_by_revision_until_it_is_too_much() {
        let change = |revision, count| {
            let changes = vec![StoredChange::ClearZone(Name::root()); count];
            Arc::new(Change { revision, changes, serials: Vec::new() })
        };
        let mut recent = Recent::default();
        for revision in [1, 3, 4] {
            recent.push(change(revision, 1));
        }
        assert_eq!(recent.changes.iter().map(|change| change.revision).collect::<Vec<_>>(), [1, 3, 4]);
        recent.push(change(5, RECENT_CHANGES_MAX + 1));
        assert_eq!((recent.changes.len(), recent.count), (1, RECENT_CHANGES_MAX + 1));
        recent.push(change(2, 1));
        assert_eq!((recent.changes.len(), recent.count), (1, 1));
    }
}
