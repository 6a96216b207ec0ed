//! What is stored becomes what is served: the changes of all instances, in their order, by one hand an instance.

mod anew;
mod expected;
mod refused;
mod retry;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{error, warn};

pub(super) use expected::{Awaited, Expected};

use expected::Coming;
use refused::{REFUSED_LOGGED_MAX, note, refuse, serve_what_is_put};

use super::translation::{LeftOut, Translation};
use super::written::{Bases, Written};
use crate::dns::Name;
use crate::forward::{RuleSettings, UpstreamHealth};
use crate::persist::{Change, Changes, Entry, Followed, StoredChange, StoredDocument, Subject};
use crate::privatelink::Catalogue;
use crate::zone::{self, Author, ChangeSet, Snapshot, StaleZones, Store, ZoneError};

/// Single changes that become one snapshot: a burst of writers costs one swap, and no query waits for it.
const CHANGES_AT_ONCE: usize = 2_000;
/// Beyond these, applying takes milliseconds, in which other tasks of the thread would stand still.
const CHANGES_APPLIED_HERE: usize = 1_000;
/// Why something is not served that the server panicked at.
const MISTAKE: &str = "the server made a mistake with it; the log tells more";

/// What the routes of what operators own, and the applier, ask of the running server.
pub trait Neighbours: Send + Sync + 'static {
    /// Azure's zones and names.
    fn catalogue(&self) -> Arc<Catalogue>;
    /// The rules of forwarding in config.
    fn configured_rules(&self) -> Vec<RuleSettings>;
    /// All upstreams and how they are.
    fn upstreams(&self) -> Vec<UpstreamHealth>;
    /// Operators' rules changed: of two for one domain theirs goes before that of config. They hold when this
    /// returns.
    fn set_rules(&self, rules: Vec<RuleSettings>);
    /// What the holder of the sync lease shares has changed.
    fn document_changed(&self, _document: &StoredDocument) {}
}

/// Applies what is stored to the zones.
pub struct Applier {
    store: Arc<Store>,
    written: Arc<Written>,
    neighbours: Arc<dyn Neighbours>,
    applied: watch::Sender<u64>,
    coming: Arc<Coming>,
    /// Changes, config and refused ones that are tried again come one after the other.
    turn: Mutex<Tried>,
}

/// At which serial a zone was when what it refuses was last tried.
#[derive(Default)]
struct Tried(HashMap<Name, u32>);

/// The zones do not take all changes together.
#[derive(Debug, PartialEq, Eq)]
struct Refused;

/// The applier's task; dropping it stops it.
pub struct Following(AbortHandle);

impl Applier {
    /// An applier that has applied nothing yet.
    pub fn new(store: Arc<Store>, written: Arc<Written>, neighbours: Arc<dyn Neighbours>) -> Arc<Applier> {
        let applied = watch::Sender::new(0);
        Arc::new(Applier {
            store,
            written,
            neighbours,
            applied,
            coming: Arc::default(),
            turn: Mutex::default(),
        })
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub fn written(&self) -> &Arc<Written> {
        &self.written
    }

    pub fn neighbours(&self) -> &Arc<dyn Neighbours> {
        &self.neighbours
    }

    /// Serves all that is written over zones that config has just made: at start, and after each reload.
    /// What does not fit is refused and shown, and is no reason not to go on.
    pub fn rebase(&self, bases: Bases) {
        let Ok(()) = self.rebase_after(|| Ok::<_, std::convert::Infallible>(bases));
    }

    /// The same after `exchange` has made those zones: nothing of what is written is applied between, so that zones and
    /// [`Written`] say the same to it, and nothing that was answered is taken back, not for a moment.
    pub fn rebase_after<E>(&self, exchange: impl FnOnce() -> Result<Bases, E>) -> Result<(), E> {
        let mut tried = self.turn.lock();
        let bases = exchange()?;
        self.written.write().set_bases(bases);
        self.serve_all(&mut tried);
        Ok(())
    }

    /// Has these zones served as stale, until the store is read.
    pub fn serve_as_stale(&self, zones: Arc<StaleZones>) {
        self.set_stale(Some(zones));
    }

    fn set_stale(&self, zones: Option<Arc<StaleZones>>) {
        let changes = |snapshot: &Snapshot| {
            let is_other = snapshot.stale() != zones.as_ref();
            let changes = is_other.then(|| zone::Change::SetStale(zones.clone()));
            Ok(ChangeSet { changes: changes.into_iter().collect() })
        };
        if let Err(why) = self.store.commit_with(Author::Audited, changes) {
            error!("What is stale cannot be said: {why}");
        }
    }

    /// Serves what is stored from now on. Call it once, after `rebase`.
    pub fn start(self: &Arc<Applier>, changes: Changes) -> Following {
        Following(tokio::spawn(self.clone().follow(changes)).abort_handle())
    }

    /// Keeps what was tried of a write until it is stored, or what is returned is dropped.
    pub(super) fn expect(&self, expected: Expected) -> Awaited {
        self.coming.expect(expected)
    }

    /// The revision that is served.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Waits until a revision is served; `false` when it takes longer.
    pub(super) async fn wait_for(&self, revision: u64, patience: Duration) -> bool {
        let mut applied = self.applied.subscribe();
        let served = applied.wait_for(|applied| *applied >= revision);
        matches!(tokio::time::timeout(patience, served).await, Ok(Ok(_)))
    }

    async fn follow(self: Arc<Applier>, mut changes: Changes) {
        let mut zones = self.store.watch();
        loop {
            // What was applied here has changed them too; behind `next` it would break off what that reads.
            if zones.has_changed().unwrap_or(false) {
                zones.borrow_and_update();
                self.make_room();
            }
            let next = tokio::select! {
                next = changes.next() => next,
                // Sync or a file may have made room for what was refused.
                Ok(()) = zones.changed() => {
                    self.make_room();
                    continue;
                }
            };
            match next {
                Followed::Change(first) => {
                    let batch = gather(first, &mut changes);
                    let count: usize = batch.iter().map(|change| change.changes.len()).sum();
                    self.beside(count, move |applier| applier.apply(&batch)).await;
                }
                Followed::Reload(stored) => {
                    self.beside(usize::MAX, move |applier| applier.reload(&stored)).await;
                }
            }
        }
    }

    /// Works here, or where it holds nobody up.
    async fn beside(self: &Arc<Applier>, changes: usize, work: impl FnOnce(&Applier) + Send + 'static) {
        if changes <= CHANGES_APPLIED_HERE {
            return work(self);
        }
        let applier = self.clone();
        if let Err(cause) = tokio::task::spawn_blocking(move || work(&applier)).await {
            error!(%cause, "What is stored could not be applied");
        }
    }

    fn make_room(&self) {
        let made = unharmed(|| {
            self.keep_settings();
            self.retry_refused();
        });
        if made.is_none() {
            error!("What was refused could not be tried again");
        }
    }

    /// Applies revisions as one change of the zones, or, if the zones refuse something, one by one.
    ///
    /// Whatever goes wrong, it comes to its end: those who wait are told, and the next revisions come.
    fn apply(&self, batch: &[Arc<Change>]) {
        let _tried = self.turn.lock();
        let is_done = unharmed(|| self.apply_tried(batch)) == Some(true);
        if !is_done && unharmed(|| self.apply_together(batch)) != Some(Ok(())) {
            batch.iter().for_each(|change| self.apply_apart(change));
        }
        self.tell_neighbours(batch);
        if let Some(last) = batch.last() {
            self.applied.send_replace(last.revision);
        }
    }

    /// Serves a revision as it was tried here, if nothing came between.
    fn apply_tried(&self, batch: &[Arc<Change>]) -> bool {
        let [change] = batch else { return false };
        let revision = self.written.read().revision;
        let Some(tried) = self.coming.take(change, revision) else { return false };
        if self.store.commit_tried(Author::Audited, tried).is_none() {
            return false;
        }
        let mut state = self.written.write();
        serve_what_is_put(&mut state, change);
        state.take(change);
        true
    }

    fn apply_together(&self, batch: &[Arc<Change>]) -> Result<(), Refused> {
        self.learn_bases(batch.iter().flat_map(|change| &change.changes));
        let mut left_out = Vec::new();
        self.store
            .commit_with(Author::Audited, |snapshot| {
                let state = self.written.read();
                let mut translation = Translation::new(&state, snapshot);
                batch.iter().flat_map(|change| &change.changes).for_each(|one| translation.add(one));
                let serials: HashMap<&Name, u32> = batch
                    .iter()
                    .flat_map(|change| &change.serials)
                    .map(|(apex, serial)| (apex, *serial))
                    .collect();
                for (apex, serial) in serials {
                    translation.set_serial(apex, serial);
                }
                let (changes, left) = translation.into_changes();
                left_out = left;
                Ok(changes)
            })
            .map_err(|_| Refused)?;
        let mut state = self.written.write();
        for change in batch {
            serve_what_is_put(&mut state, change);
            state.take(change);
        }
        note(&mut state, left_out);
        Ok(())
    }

    /// Applies what the zones take of a revision.
    fn apply_apart(&self, change: &Change) {
        let mut refused = 0;
        for one in &change.changes {
            let result = self.commit_unharmed(|translation| translation.add(one));
            let part = Change { revision: change.revision, changes: vec![one.clone()], serials: Vec::new() };
            let mut state = self.written.write();
            serve_what_is_put(&mut state, &part);
            state.take(&part);
            match result {
                Ok(left_out) => note(&mut state, left_out),
                Err(why) => {
                    refused += 1;
                    refuse(&mut state, one, &why, refused <= REFUSED_LOGGED_MAX);
                }
            }
        }
        for (apex, serial) in &change.serials {
            // Without its new serial a zone goes on counting from its own.
            let _ = self.commit_unharmed(|translation| translation.set_serial(apex, *serial));
        }
        let serials = change.serials.clone();
        self.written.write().take(&Change { revision: change.revision, changes: Vec::new(), serials });
        if refused > 0 {
            warn!(
                store.revision = change.revision,
                refused,
                "Revision {} is stored, but the zones refuse {refused} of its changes",
                change.revision
            );
        }
    }

    /// The same, and a mistake of ours is told like any other reason.
    fn commit_unharmed(&self, make: impl FnOnce(&mut Translation<'_>)) -> Result<Vec<LeftOut>, String> {
        let committed = unharmed(|| self.commit(make));
        committed.ok_or(MISTAKE)?.map_err(|why| why.to_string())
    }

    fn commit(&self, make: impl FnOnce(&mut Translation<'_>)) -> Result<Vec<LeftOut>, ZoneError> {
        let mut left_out = Vec::new();
        self.store.commit_with(Author::Audited, |snapshot| {
            let state = self.written.read();
            let mut translation = Translation::new(&state, snapshot);
            make(&mut translation);
            let (changes, left) = translation.into_changes();
            left_out = left;
            Ok(changes)
        })?;
        Ok(left_out)
    }

    fn tell_neighbours(&self, batch: &[Arc<Change>]) {
        let mut rules_changed = false;
        for one in batch.iter().flat_map(|change| &change.changes) {
            match one {
                StoredChange::Put(Entry::Forwarder(_)) | StoredChange::Remove(Subject::Forwarder(_)) => {
                    rules_changed = true;
                }
                StoredChange::Put(Entry::Document(document)) => self.tell_of(document),
                _ => {}
            }
        }
        if rules_changed {
            self.set_rules();
        }
    }

    fn set_rules(&self) {
        let set = unharmed(|| self.neighbours.set_rules(self.written.rules()));
        self.written.write().refuse_rules(set.is_none().then_some(MISTAKE));
    }

    fn tell_of(&self, document: &StoredDocument) {
        if unharmed(|| self.neighbours.document_changed(document)).is_none() {
            error!(document = %document.name, "A document that another instance shares is not in force");
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Takes the changes that are there, up to the bound.
fn gather(first: Arc<Change>, changes: &mut Changes) -> Vec<Arc<Change>> {
    let mut count = first.changes.len();
    let mut batch = vec![first];
    while count < CHANGES_AT_ONCE && batch.len() < CHANGES_AT_ONCE {
        let Some(change) = changes.ready() else { break };
        count += change.changes.len();
        batch.push(change);
    }
    batch
}

/// Does what must not end the stream of changes; `None` when it panicked.
// The zones are exchanged as a whole or not at all, and what is written is put a whole entry at a time.
fn unharmed<T>(work: impl FnOnce() -> T) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(work));
    if done.is_err() {
        error!("{MISTAKE}");
    }
    done.ok()
}
