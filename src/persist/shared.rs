//! What the writer, those who follow and those who ask have in common.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::counters::Counters;
use super::database::Connection;
use super::entry::{Change, Entry, StoredChange};
use super::error::PersistError;
use super::readers::Readers;
use super::tables;
use super::target::Target;
use super::time::by;

/// What is kept for those who follow, so that they need not read what was written here: some seconds of writing at full
/// speed.
const RECENT_BYTES_MAX: usize = 32 << 20;
/// What a change, and each single one in it, takes beside names and data of usual length.
const BYTES_A_CHANGE: usize = 256;
/// Nudges that a slow listener may be behind; it then misses the oldest, which say the same.
const NUDGES_WAITING_MAX: usize = 64;

/// Shared by all tasks of one store.
pub(super) struct Shared {
    pub target: Target,
    pub readers: Readers,
    pub counters: Counters,
    heard: watch::Sender<Heard>,
    recent: Mutex<Recent>,
    nudges: broadcast::Sender<Arc<str>>,
    /// What keeps the writer from storing, as it last saw it.
    pub refuses: Mutex<Option<Trouble>>,
    /// Whether the connection is lost that tells of other instances.
    pub is_deaf: AtomicBool,
}

/// What is amiss with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    Away,
    /// Its disk is full.
    Full,
}

/// What those who follow were told last.
#[derive(Clone, Copy, Default)]
pub(super) struct Heard {
    /// The newest revision that was heard of. It may not be there: others may notify of anything, and a database may be
    /// set back.
    pub newest: u64,
    /// How often something was told. Each time wakes those who follow, so that a revision that is not there keeps them
    /// from none that is.
    words: u64,
}

/// What was written here lately, by revision; others' revisions are missing between.
#[derive(Default)]
struct Recent {
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
}

impl Shared {
    pub fn new(target: Target, revision: u64) -> Shared {
        Shared {
            target,
            readers: Readers::new(),
            counters: Counters::default(),
            heard: watch::Sender::new(Heard { newest: revision, words: 0 }),
            recent: Mutex::default(),
            nudges: broadcast::Sender::new(NUDGES_WAITING_MAX),
            refuses: Mutex::default(),
            is_deaf: AtomicBool::new(false),
        }
    }

    pub fn trouble(&self) -> Option<Trouble> {
        let deaf = || self.is_deaf.load(Ordering::Relaxed).then_some(Trouble::Away);
        self.refuses.lock().or_else(deaf)
    }

    /// Tells those who follow of changes that are durable.
    pub fn publish(&self, changes: impl Iterator<Item = Arc<Change>>, newest: u64) {
        let mut recent = self.recent.lock();
        changes.for_each(|change| recent.push(change));
        drop(recent);
        self.announce(newest);
    }

    /// Tells those who follow of a revision. Word of an older one may come late.
    pub fn announce(&self, revision: u64) {
        self.heard.send_modify(|heard| {
            heard.newest = heard.newest.max(revision);
            heard.words += 1;
        });
    }

    /// Tells those who follow where the store is, which could not be asked before.
    pub fn set_newest(&self, revision: u64) {
        self.heard.send_modify(|heard| *heard = Heard { newest: revision, words: heard.words + 1 });
    }

    /// Looks where the store is; answers the revision that was known before and the one it has.
    pub async fn look(&self) -> Result<(u64, u64), PersistError> {
        let known = *self.heard.borrow();
        let deadline = Readers::deadline();
        let revision = self
            .ask(deadline, async |connection: &mut Connection| tables::revision(connection).await)
            .await?;
        if revision > known.newest {
            self.announce(revision);
        } else if revision < known.newest {
            self.heard.send_if_modified(|heard| {
                // It was set back, or never was there; unless more was told since the question.
                let is_known = heard.words == known.words;
                if is_known {
                    *heard = Heard { newest: revision, words: heard.words + 1 };
                }
                is_known
            });
        }
        Ok((known.newest, revision))
    }

    pub fn heard(&self) -> watch::Receiver<Heard> {
        self.heard.subscribe()
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
        self.bytes += bytes_of(&change);
        self.changes.push_back(change);
        // The newest stays, however large: those who follow are about to take it.
        while self.bytes > RECENT_BYTES_MAX && self.changes.len() > 1 {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= bytes_of(&oldest);
        }
    }
}

/// About what a change takes in memory, one of notes alone too.
fn bytes_of(change: &Change) -> usize {
    let data = change.changes.iter().map(|one| match one {
        StoredChange::Put(Entry::Document(document)) => document.body.len(),
        StoredChange::Put(Entry::RecordSet { set, .. }) => set.records().map(<[u8]>::len).sum(),
        _ => 0,
    });
    BYTES_A_CHANGE * (1 + change.changes.len()) + data.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Name;
    use crate::persist::{Settings, StoredDocument};

    fn change(revision: u64, changes: Vec<StoredChange>) -> Arc<Change> {
        Arc::new(Change { revision, changes, serials: Vec::new() })
    }

    fn document(bytes: usize) -> StoredChange {
        StoredChange::Put(Entry::Document(StoredDocument {
            name: "a".into(),
            body: Arc::from(vec![0; bytes]),
        }))
    }

    #[test]
    fn what_was_written_lately_is_found_by_revision_until_it_is_too_much() {
        let mut recent = Recent::default();
        let clear = || vec![StoredChange::ClearZone(Name::root())];
        for revision in [1, 3, 4] {
            recent.push(change(revision, clear()));
        }
        assert_eq!(recent.changes.iter().map(|change| change.revision).collect::<Vec<_>>(), [1, 3, 4]);
        // A large document, or many changes of notes alone, push the others out.
        recent.push(change(5, vec![document(RECENT_BYTES_MAX)]));
        assert_eq!(recent.changes.len(), 1);
        for revision in 6..200_000 {
            recent.push(change(revision, Vec::new()));
        }
        assert!(recent.bytes <= RECENT_BYTES_MAX && recent.changes.len() < 200_000);
        recent.push(change(2, clear()));
        assert_eq!((recent.changes.len(), recent.bytes), (1, 2 * BYTES_A_CHANGE));
    }

    #[tokio::test]
    async fn a_revision_that_is_not_there_keeps_nobody_from_those_that_are() {
        let target = Settings { state_dir: "/nowhere".into(), ..Settings::default() }.target().unwrap();
        let shared = Arc::new(Shared::new(target, 7));
        let mut heard = shared.heard();
        shared.announce(1_000_000);
        heard.borrow_and_update();
        shared.publish([change(8, Vec::new())].into_iter(), 8);
        assert!(heard.has_changed().unwrap());
        let mut changes = super::super::Changes::new(shared, 7);
        assert!(
            matches!(changes.next().await, super::super::Followed::Change(change) if change.revision == 8)
        );
    }
}
