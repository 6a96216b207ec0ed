//! The one door to the zones: journal, then swap, then tell.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::change::{ChangeSet, Effect};
use super::error::ZoneError;
use super::history::History;
use super::snapshot::Snapshot;

/// Told of each change set before it is served.
pub trait Journal: Send {
    /// Takes down what turns `old` into its next revision; on an error nothing is changed.
    fn append(
        &mut self,
        author: &Author,
        old: &Arc<Snapshot>,
        changes: &Arc<ChangeSet>,
    ) -> Result<(), JournalError>;
}

/// On whose behalf zones change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// Config, and the files that it names.
    Config,
    /// The sync source of this name.
    Source(Arc<str>),
    /// Somebody whose change the audit of the admin API has already.
    Audited,
}

/// The journal could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the change could not be stored")]
pub struct JournalError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A journal for zones that nobody wants to know the past of.
pub struct Unjournaled;

impl Journal for Unjournaled {
    fn append(&mut self, _: &Author, _: &Arc<Snapshot>, _: &Arc<ChangeSet>) -> Result<(), JournalError> {
        Ok(())
    }
}

/// Holds the snapshot that is served.
pub struct Store {
    current: ArcSwap<Snapshot>,
    writer: Mutex<Writer>,
    revision: watch::Sender<u64>,
}

struct Writer {
    journal: Box<dyn Journal>,
    history: History,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error(transparent)]
    Zone(#[from] ZoneError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What a commit did.
#[derive(Debug)]
pub struct Committed {
    pub revision: u64,
    pub effect: Effect,
}

impl Store {
    /// An empty store.
    pub fn new(journal: Box<dyn Journal>) -> Store {
        Store {
            current: ArcSwap::default(),
            writer: Mutex::new(Writer { journal, history: History::default() }),
            revision: watch::Sender::new(0),
        }
    }

    /// The snapshot, for a short while and without touching its count.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The snapshot, to keep.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Applies changes of config, all or none. An empty set changes nothing, the revision included.
    pub fn commit(&self, changes: ChangeSet) -> Result<Committed, CommitError> {
        self.commit_with(Author::Config, |_| Ok(changes))
    }

    /// Applies the changes that `make` sees fit for the current state; no other commit comes between.
    pub fn commit_with(
        &self,
        author: Author,
        make: impl FnOnce(&Snapshot) -> Result<ChangeSet, ZoneError>,
    ) -> Result<Committed, CommitError> {
        let mut writer = self.writer.lock();
        let old = self.current.load_full();
        let changes = make(&old)?;
        if changes.is_empty() {
            return Ok(Committed { revision: old.revision(), effect: Effect::default() });
        }
        let (new, effect) = changes.apply(&old)?;
        let (revision, changes) = (new.revision(), Arc::new(changes));
        writer.journal.append(&author, &old, &changes)?;
        self.current.store(Arc::new(new));
        writer.history.push(revision, changes);
        drop(writer);
        self.revision.send_replace(revision);
        Ok(Committed { revision, effect })
    }

    /// Tells of each new revision.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// The change sets after a revision; `None` when some are forgotten.
    pub fn changes_since(&self, revision: u64) -> Option<Vec<Arc<ChangeSet>>> {
        self.writer.lock().history.since(revision)
    }
}
