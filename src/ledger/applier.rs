//! What is stored becomes what is served: the changes of all instances, in their order, by one hand an instance.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{error, info, warn};

use super::door::subject;
use super::translation::{LeftOut, Translation};
use super::written::{Bases, State, Written};
use crate::dns::{Name, RecordType};
use crate::forward::{RuleSettings, UpstreamHealth};
use crate::persist::{
    Change, Changes, Entry, Followed, Made, Stored, StoredChange, StoredDocument, StoredZone, Subject,
};
use crate::privatelink::Catalogue;
use crate::zone::{self, Author, ChangeSet, Origin, Snapshot, StaleZones, Store, ZoneError};

/// Single changes that become one snapshot: a burst of writers costs one swap, and no query waits for it.
const CHANGES_AT_ONCE: usize = 2_000;
/// Beyond these, applying takes milliseconds, in which other tasks of the thread would stand still.
const CHANGES_APPLIED_HERE: usize = 1_000;
/// Refused changes that are logged one by one.
const REFUSED_LOGGED_MAX: usize = 10;
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
        Arc::new(Applier { store, written, neighbours, applied, turn: Mutex::default() })
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
        if unharmed(|| self.apply_together(batch)) != Some(Ok(())) {
            batch.iter().for_each(|change| self.apply_apart(change));
        }
        self.tell_neighbours(batch);
        if let Some(last) = batch.last() {
            self.applied.send_replace(last.revision);
        }
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

    /// Everything anew: the store was set back, or changes between are forgotten.
    fn reload(&self, stored: &Stored) {
        let mut tried = self.turn.lock();
        // While it is still known who made them: what nobody else makes goes, and others go on without the settings.
        let gone = self.written.read().zones_gone(stored);
        for apex in gone {
            let removed = self.commit_unharmed(|translation| {
                translation.add(&StoredChange::Remove(Subject::Zone(apex.clone())))
            });
            if let Err(why) = removed {
                warn!(zone = %apex, %why, "A zone that is no longer stored could not be taken back: {why}");
            }
        }
        self.written.write().replace(stored);
        let result = self
            .store
            .commit_with(Author::Audited, |snapshot| Ok(without_strays(&self.written.read(), snapshot)));
        if let Err(why) = result {
            warn!(%why, "Records that are no longer stored could not be taken back");
        }
        self.serve_all(&mut tried);
        self.set_stale(None);
        for (entry, _) in &stored.entries {
            if let Entry::Document(document) = entry {
                self.tell_of(document);
            }
        }
        info!(store.revision = stored.revision, "Served as it is stored at revision {}", stored.revision);
    }

    /// Serves all that is written and is not served so yet.
    fn serve_all(&self, tried: &mut Tried) {
        tried.0.clear();
        let zones: Vec<Name> = {
            let mut state = self.written.write();
            state.serve_all();
            let mut zones: Vec<Name> = state.zones().map(|zone| zone.apex.clone()).collect();
            zones.extend(state.zones_with_sets().cloned());
            zones.extend(state.serials().map(|(apex, _)| apex.clone()));
            zones.sort_unstable();
            zones.dedup();
            zones
        };
        zones.iter().for_each(|apex| self.serve_zone(apex));
        self.set_rules();
        let (revision, refused) = {
            let state = self.written.read();
            (state.revision, state.refused().count() + state.refused_zones().count())
        };
        if refused > 0 {
            warn!(refused, "{refused} of the zones and record sets that operators wrote are not served");
        }
        self.applied.send_replace(revision);
    }

    /// Serves what is written of one zone.
    fn serve_zone(&self, apex: &Name) {
        let zone =
            self.written.read().zone(apex).map(|(zone, _)| StoredChange::Put(Entry::Zone(zone.clone())));
        self.learn_bases(zone.iter());
        let whole = self.commit_unharmed(|translation| translation.serve_missing(apex));
        match whole {
            Ok(left_out) => note(&mut self.written.write(), left_out),
            Err(_) => self.serve_zone_apart(apex),
        }
    }

    fn serve_zone_apart(&self, apex: &Name) {
        let (zone, sets) = {
            let state = self.written.read();
            let sets: Vec<_> = state.sets(apex).map(|((name, _), kept)| (name, kept.set.clone())).collect();
            (state.zone(apex).map(|(zone, _)| zone.clone()), sets)
        };
        let zone = zone.map(|zone| StoredChange::Put(Entry::Zone(zone)));
        let sets = sets
            .into_iter()
            .map(|(name, set)| StoredChange::Put(Entry::RecordSet { zone: apex.clone(), name, set }));
        let mut refused = 0;
        for one in zone.into_iter().chain(sets) {
            match self.commit_unharmed(|translation| translation.add_alone(&one)) {
                Ok(left_out) => note(&mut self.written.write(), left_out),
                Err(why) => {
                    refused += 1;
                    let is_told = refused <= REFUSED_LOGGED_MAX;
                    refuse(&mut self.written.write(), &one, &why, is_told);
                }
            }
        }
        let serial = self.written.read().serial(apex);
        if let Some(serial) = serial {
            let _ = self.commit_unharmed(|translation| translation.set_serial(apex, serial));
        }
    }

    /// Lays operators' settings again over zones that sync has set meanwhile.
    fn keep_settings(&self) {
        let _tried = self.turn.lock();
        let zones: Vec<StoredZone> = {
            let state = self.written.read();
            let snapshot = self.store.load();
            let is_other = |zone: &&StoredZone| {
                let served = snapshot.zone(zone.apex.borrow()).map(|served| served.header());
                served.is_some_and(|served| {
                    state.why_zone_refused(&zone.apex).is_none()
                        && state.header_of(zone, &snapshot).as_ref() != Some(served)
                })
            };
            let settings = state.zones().filter(|zone| zone.made == Made::Elsewhere);
            settings.filter(is_other).cloned().collect()
        };
        for zone in zones {
            let served = self.store.load().zone(zone.apex.borrow()).map(|zone| zone.header().clone());
            if let Some(served) = served {
                self.written.write().learn_base(served);
            }
            if let Err(why) = self.commit(|translation| translation.put_zone(&zone)) {
                refuse(
                    &mut self.written.write(),
                    &StoredChange::Put(Entry::Zone(zone)),
                    &why.to_string(),
                    true,
                );
            }
        }
    }

    /// Keeps how zones are before an operator's settings lie over them.
    fn learn_bases<'c>(&self, changes: impl Iterator<Item = &'c StoredChange>) {
        for change in changes {
            let StoredChange::Put(Entry::Zone(zone)) = change else { continue };
            if zone.made == Made::Elsewhere && !self.written.read().knows_base(&zone.apex) {
                let served = self.store.load().zone(zone.apex.borrow()).map(|zone| zone.header().clone());
                if let Some(served) = served {
                    self.written.write().learn_base(served);
                }
            }
        }
    }

    /// Tries what was refused again, in zones that have changed since.
    fn retry_refused(&self) {
        let mut tried = self.turn.lock();
        let zones: Vec<Name> = {
            let state = self.written.read();
            let mut zones: Vec<Name> = state.refused_zones().cloned().collect();
            zones.extend(state.refused().map(|(zone, ..)| zone.clone()));
            zones.dedup();
            zones
        };
        for apex in zones {
            let Some(serial) = self.store.load().zone(apex.borrow()).map(|zone| zone.serial()) else {
                continue;
            };
            if tried.0.get(&apex) == Some(&serial) {
                continue;
            }
            self.retry_zone(&apex);
            let serial = self.store.load().zone(apex.borrow()).map_or(0, |zone| zone.serial());
            tried.0.insert(apex, serial);
        }
    }

    fn retry_zone(&self, apex: &Name) {
        let refused: Vec<(Name, RecordType)> = {
            let state = self.written.read();
            state.refused_of(apex).map(|(name, rtype)| (name.clone(), rtype)).collect()
        };
        let is_zone_refused = self.written.read().why_zone_refused(apex).is_some();
        if is_zone_refused {
            let zone = self.written.read().zone(apex).map(|(zone, _)| zone.clone());
            if let Some(zone) = zone
                && let Ok(left_out) = self.commit(|translation| translation.put_zone(&zone))
                && left_out.is_empty()
            {
                self.written.write().serve_zone(apex);
            }
        }
        for (name, rtype) in refused {
            let set = self.written.read().set(apex, &name, rtype).map(|kept| kept.set.clone());
            let Some(set) = set else { continue };
            if let Ok(left_out) = self.commit(|translation| translation.put_set(apex, &name, &set))
                && left_out.is_empty()
            {
                info!(zone = %apex, %name, %rtype, "{name} {rtype} is served after all");
                self.written.write().serve_set(apex, &name, rtype);
            }
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

/// The record sets that are put are tried now: why they were refused before is no news.
fn serve_what_is_put(state: &mut State, change: &Change) {
    for one in &change.changes {
        match one {
            StoredChange::Put(Entry::RecordSet { zone, name, set }) => state.serve_set(zone, name, set.rtype),
            StoredChange::Put(Entry::Zone(zone)) => {
                state.serve_zone(&zone.apex);
                // A zone that is made takes along what was written for it.
                let waiting: Vec<_> =
                    state.refused_of(&zone.apex).map(|(name, rtype)| (name.clone(), rtype)).collect();
                waiting.iter().for_each(|(name, rtype)| state.serve_set(&zone.apex, name, *rtype));
            }
            _ => {}
        }
    }
}

/// Keeps why something is not served.
fn note(state: &mut State, left_out: Vec<LeftOut>) {
    for left in left_out {
        match left {
            LeftOut::Zone { apex, why } => state.refuse_zone(&apex, why),
            LeftOut::Set { zone, name, rtype, why } => {
                if state.set(&zone, &name, rtype).is_some() {
                    state.refuse_set(&zone, &name, rtype, why);
                }
            }
        }
    }
}

fn refuse(state: &mut State, change: &StoredChange, why: &str, is_told: bool) {
    match change {
        StoredChange::Put(Entry::RecordSet { zone, name, set }) => {
            if is_told {
                warn!(
                    %zone, %name, rtype = %set.rtype, why,
                    "The stored record set {name} {} is not served: {why}; delete it, or what it contradicts", set.rtype
                );
            }
            state.refuse_set(zone, name, set.rtype, why);
        }
        StoredChange::Put(Entry::Zone(zone)) => {
            if is_told {
                warn!(zone = %zone.apex, why, "A stored zone is not served as it should be: {why}");
            }
            state.refuse_zone(&zone.apex, why);
        }
        other => {
            let what = subject(other).map_or_else(|| "a zone's records".to_owned(), |it| it.to_string());
            warn!(why, "A stored change of {what} is not in force: {why}");
        }
    }
}

/// Takes back what the zones hold of operators' records and is not written.
fn without_strays(state: &State, snapshot: &Snapshot) -> ChangeSet {
    let mut changes = Vec::new();
    for (apex, zone) in snapshot.zones() {
        for (owner, node) in zone.nodes() {
            let name = owner.to_name();
            for slot in node.slots() {
                let is_rest = slot.offers().iter().any(|offer| offer.origin == Origin::Rest);
                if is_rest && state.set(apex, &name, slot.rtype()).is_none() {
                    changes.push(zone::Change::Remove {
                        zone: apex.clone(),
                        name: name.clone(),
                        rtype: slot.rtype(),
                        origin: Origin::Rest,
                    });
                }
            }
        }
    }
    ChangeSet { changes }
}
