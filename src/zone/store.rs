//! The one door to the zones: the witness sees a change, then it is served, then all are told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;

use arc_swap::{ArcSwap, Guard};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::change::{ChangeSet, Effect};
use super::error::ZoneError;
use super::history::History;
use super::snapshot::Snapshot;

/// Told of each change set before it is served.
pub trait Witness: Send {
    /// Sees what turns `old` into its next revision.
    fn see(&mut self, author: &Author, old: &Arc<Snapshot>, changes: &Arc<ChangeSet>);
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

/// For zones that nobody wants to know the past of.
pub struct Unwitnessed;

impl Witness for Unwitnessed {
    fn see(&mut self, _: &Author, _: &Arc<Snapshot>, _: &Arc<ChangeSet>) {}
}

/// Holds the snapshot that is served.
pub struct Store {
    current: ArcSwap<Snapshot>,
    writer: Mutex<Writer>,
    revision: watch::Sender<u64>,
}

/// Old snapshots kept for their readers: more at once means readers of seconds, who can let go of their own.
const RETIRED_MAX: usize = 64;

struct Writer {
    witness: Box<dyn Witness>,
    history: History,
    /// Snapshots that were read when they were replaced. The last to let go of one frees all that changed, after an
    /// import a whole zone: that is the next writer, not a reader in the middle of a query.
    retired: VecDeque<Arc<Snapshot>>,
}

impl Writer {
    fn retire(&mut self, old: Option<Arc<Snapshot>>) {
        self.retired.extend(old);
        self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        if self.retired.len() > RETIRED_MAX {
            self.retired.pop_front();
        }
    }
}

/// A change set that was tried: what it makes of one state of the zones is known.
pub struct TriedSet {
    old: Arc<Snapshot>,
    changes: ChangeSet,
    new: Snapshot,
    effect: Effect,
}

impl TriedSet {
    /// Tries changes on a state.
    pub fn of(changes: ChangeSet, old: &Arc<Snapshot>) -> Result<TriedSet, (ZoneError, ChangeSet)> {
        match changes.apply(old) {
            Ok((new, effect)) => Ok(TriedSet { old: Arc::clone(old), changes, new, effect }),
            Err(error) => Err((error, changes)),
        }
    }

    /// The zones as they would be.
    pub fn zones(&self) -> &Snapshot {
        &self.new
    }

    pub fn effect(&self) -> &Effect {
        &self.effect
    }
}

/// What a commit did.
#[derive(Debug)]
pub struct Committed {
    pub revision: u64,
    pub effect: Effect,
}

impl Store {
    /// An empty store.
    pub fn new(witness: Box<dyn Witness>) -> Store {
        Store {
            current: ArcSwap::default(),
            writer: Mutex::new(Writer { witness, history: History::default(), retired: VecDeque::new() }),
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
    pub fn commit(&self, changes: ChangeSet) -> Result<Committed, ZoneError> {
        self.commit_with(Author::Config, |_| Ok(changes))
    }

    /// Applies the changes that `make` sees fit for the current state; no other commit comes between.
    pub fn commit_with(
        &self,
        author: Author,
        make: impl FnOnce(&Snapshot) -> Result<ChangeSet, ZoneError>,
    ) -> Result<Committed, ZoneError> {
        let mut writer = self.writer.lock();
        writer.retire(None);
        let old = self.current.load_full();
        let changes = make(&old)?;
        if changes.is_empty() {
            return Ok(Committed { revision: old.revision(), effect: Effect::default() });
        }
        let (new, effect) = changes.apply(&old)?;
        Ok(self.exchange(writer, &author, TriedSet { old, changes, new, effect }))
    }

    /// Serves what was tried, if it was tried on what is served now; `None` when another commit came between.
    pub fn commit_tried(&self, author: Author, tried: TriedSet) -> Option<Committed> {
        let mut writer = self.writer.lock();
        writer.retire(None);
        let is_same = Arc::ptr_eq(&tried.old, &self.current.load());
        (is_same && !tried.changes.is_empty()).then(|| self.exchange(writer, &author, tried))
    }

    fn exchange(&self, mut writer: MutexGuard<'_, Writer>, author: &Author, tried: TriedSet) -> Committed {
        let TriedSet { old, changes, new, effect } = tried;
        let (revision, changes) = (new.revision(), Arc::new(changes));
        writer.witness.see(author, &old, &changes);
        drop(old);
        let old = self.current.swap(Arc::new(new));
        writer.retire(Some(old));
        let forgotten = writer.history.push(revision, changes);
        drop(writer);
        self.revision.send_replace(revision);
        free(forgotten);
        Committed { revision, effect }
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

/// Changes that another thread frees: each takes about as long as a query.
const FREED_AT_ONCE_MAX: usize = 10_000;

fn free(forgotten: Vec<Arc<ChangeSet>>) {
    if forgotten.iter().map(|set| set.changes.len()).sum::<usize>() > FREED_AT_ONCE_MAX {
        // Where there can be no thread they are freed here.
        let _ = thread::Builder::new().spawn(move || drop(forgotten));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Change, ZoneHeader};
    use super::*;

    fn commit(store: &Store, apex: &str) {
        let header = ZoneHeader::private_link(apex.parse().unwrap());
        store.commit(ChangeSet { changes: vec![Change::SetZone(header)] }).unwrap();
    }

    #[test]
    fn what_changed_is_freed_by_the_next_writer_and_not_by_its_last_reader() {
        let store = Store::new(Box::new(Unwitnessed));
        commit(&store, "a.");
        let reader = store.snapshot();
        commit(&store, "b.");
        let old = Arc::downgrade(&reader);
        drop(reader);
        assert!(old.upgrade().is_some());
        commit(&store, "c.");
        assert!(old.upgrade().is_none());
    }

    #[test]
    fn readers_that_stay_do_not_make_old_snapshots_pile_up() {
        let store = Store::new(Box::new(Unwitnessed));
        let readers: Vec<_> = (0..RETIRED_MAX + 10)
            .map(|number| {
                commit(&store, &format!("z{number}."));
                store.snapshot()
            })
            .collect();
        assert_eq!(store.writer.lock().retired.len(), RETIRED_MAX);
        drop(readers);
        commit(&store, "last.");
        assert!(store.writer.lock().retired.is_empty());
    }
}
