//! One source of any kind: its settings, what is known of it, and how it is published.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use tracing::{error, info};

use super::ground::Ground;
use super::known::{Known, PassTimes, SourceState};
use super::listing::{Listing, Live};
use super::log;
use super::reading::{Listed, Reading};
use super::rules::{Proposal, PublishOutcome};
use super::share::Share;
use crate::sync::state::Confirmation;
use crate::sync::{Desired, Extent, Fingerprint, LastGood, StateError};
use crate::telemetry::Age;
use crate::zone::{Author, Snapshot, Store, ZoneError};

/// One `[[sync.source]]`.
pub struct Source {
    pub listing: Listing,
    /// What its records are said to come from.
    pub(super) name: Arc<str>,
    pub(super) ground: Ground,
    /// Held while it publishes.
    turn: Mutex<()>,
    state: Mutex<State>,
}

/// All of a source that changes.
// Locks are taken in this order: `turn`, that of the zones, `state`. The last is held for a moment only: for copying and
// setting, never while something is listed, planned or written.
#[derive(Clone, Default)]
struct State {
    known: Arc<Known>,
    /// Of when what a restart would begin with is.
    kept: Option<SystemTime>,
    /// Something was published since that was last kept.
    is_unsaved: bool,
    /// The last pass, if it listed all and was published, and the revision of the zones behind it.
    last: Option<(Listed, u64)>,
    times: PassTimes,
    /// Other settings are in force, and it must not publish any more.
    is_retired: bool,
    share: Share,
}

impl Source {
    pub(super) fn new(listing: Listing, ground: Ground) -> Source {
        let name = listing.name().into();
        Source { listing, name, ground, turn: Mutex::default(), state: Mutex::default() }
    }

    /// Takes over what the source knew under other settings, by which it is retired.
    pub(super) fn inherit(&self, before: &Source) {
        let before = before.state.lock().clone();
        *self.state.lock() = State { is_retired: false, last: None, ..before };
    }

    /// Publishes no more; what it publishes at this moment is waited for.
    pub(super) fn retire(&self) {
        let _turn = self.turn.lock();
        self.state.lock().is_retired = true;
    }

    /// The turn to publish, unless other settings are in force.
    pub(super) fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        let turn = self.turn.lock();
        (!self.state.lock().is_retired).then_some(turn)
    }

    /// What its records are said to come from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Azure, if that is what it lists.
    pub fn live(&self) -> Option<&Live> {
        match &self.listing {
            Listing::Azure(live) => Some(live),
            Listing::Directory(_) => None,
        }
    }

    /// What passes have found out so far.
    pub fn known(&self) -> Arc<Known> {
        Arc::clone(&self.state.lock().known)
    }

    /// Changes what is known, without a moment between.
    pub(super) fn change_known(&self, change: impl FnOnce(&mut Known)) {
        change(Arc::make_mut(&mut self.state.lock().known));
    }

    pub(super) fn set_known(&self, known: impl Into<Arc<Known>>) {
        self.state.lock().known = known.into();
    }

    /// When passes are.
    pub fn times(&self) -> PassTimes {
        self.state.lock().times
    }

    pub(super) fn change_times(&self, change: impl FnOnce(&mut PassTimes)) {
        change(&mut self.state.lock().times);
    }

    /// When that was listed which a restart would begin with.
    pub fn kept(&self) -> Option<SystemTime> {
        self.state.lock().kept
    }

    pub(super) fn set_kept(&self, read_at: Option<SystemTime>) {
        self.state.lock().kept = read_at;
    }

    /// Whether something was published since this was last asked.
    pub(super) fn take_unsaved(&self) -> bool {
        std::mem::take(&mut self.state.lock().is_unsaved)
    }

    /// Notes that what is published is not what is kept.
    pub(super) fn mark_unsaved(&self) {
        self.state.lock().is_unsaved = true;
    }

    /// What instances told each other of it. Nothing else of the source can be asked while this is held.
    pub(super) fn share(&self) -> MappedMutexGuard<'_, Share> {
        MutexGuard::map(self.state.lock(), |state| &mut state.share)
    }

    /// Whether a pass found all as the one before did, and nobody changed a zone since.
    pub(super) fn was_last(&self, listed: &Listed, revision: u64) -> bool {
        self.state.lock().last.as_ref().is_some_and(|(last, at)| *at == revision && last == listed)
    }

    /// Has the next pass planned anew, whatever it lists.
    pub(super) fn forget_last(&self) {
        self.state.lock().last = None;
    }

    /// Publishes what it had published before the restart.
    pub(super) fn restore(&self, last: LastGood, store: &Store) -> Result<(), ZoneError> {
        let (name, read_at) = (&self.name, last.read_at);
        self.set_known(self.known().with(last.desired, read_at));
        self.republish(store)?;
        self.set_kept(Some(read_at));
        let (names, age) = (self.known().names(), Age::of(read_at));
        info!(source = %name, names,
            "Restored the last good state of `{name}`: {names} names from {} of {age} ago", self.listing.origin());
        Ok(())
    }

    /// Publishes anew what is published, as these settings want it: what they withdraw, an operator withdrew.
    pub(super) fn republish(&self, store: &Store) -> Result<(), ZoneError> {
        let _turn = self.turn.lock();
        self.republish_by(Author::Source(Arc::clone(&self.name)), store)
    }

    /// The same on behalf of somebody; call it while nothing else publishes.
    pub(super) fn republish_by(&self, author: Author, store: &Store) -> Result<(), ZoneError> {
        let (rules, mut known) = (&self.ground.rules, Known::clone(&self.known()));
        let is_limited = !rules.publish.allow_subscriptions.is_empty() || !self.listing.names_all();
        let is_less = is_limited
            && Desired::retain(&mut known.desired, |subscription, id| {
                rules.allows(subscription) && self.listing.names(id)
            });
        // What passes kept of subscriptions that they told nothing of is in there.
        if known.desired.extent != Extent::All {
            Arc::make_mut(&mut known.desired).extent = Extent::All;
        }
        store.commit_with(author, |snapshot| {
            let plan = rules.plan(&known.desired, &self.name, snapshot);
            (known.not_served, known.derived, known.remarks) = (plan.not_served, plan.derived, plan.remarks);
            Ok(plan.changes)
        })?;
        let mut state = self.state.lock();
        state.known = Arc::new(known);
        state.is_unsaved |= is_less;
        Ok(())
    }

    /// What publishing a reading would do.
    pub fn propose(&self, reading: &Reading, snapshot: &Snapshot) -> Proposal {
        self.ground.rules.propose(&reading.desired, &self.known().desired, &self.name, snapshot)
    }

    /// Leaves a message for a running server that exactly this plan may pass.
    pub fn confirm(&self, plan: Fingerprint) -> Result<(), StateError> {
        self.ground.folder.confirm(&Confirmation { source: self.name.to_string(), plan })
    }

    /// Publishes a reading; what would be held back of it only if it is that plan which was confirmed.
    pub fn publish(
        &self,
        reading: Reading,
        store: &Store,
        confirmed: Option<Fingerprint>,
    ) -> Result<(), ZoneError> {
        let _turn = self.turn.lock();
        self.commit(reading, store, |plan| confirmed == Some(plan)).map(drop)
    }

    /// Commits a reading as one change, without the withdrawals that are too many unless somebody `consents` to them.
    /// Answers whether some are held back. Call it while nothing else publishes.
    pub(super) fn commit(
        &self,
        reading: Reading,
        store: &Store,
        consents: impl FnOnce(Fingerprint) -> bool,
    ) -> Result<bool, ZoneError> {
        let Reading { desired, read_at: now, failed, listed, whole } = reading;
        self.forget_last();
        let (name, older, (kind, noun)) = (&self.name, self.known(), self.listing.kind());
        let outcome = self.ground.rules.commit(desired, &older.desired, name, store, consents)?;
        let PublishOutcome { desired, counts, changed, revision, not_served, derived, remarks } = outcome;
        let failing = self.failing(failed, &older, now);
        if changed {
            let (added, replaced, withdrawn) = counts;
            info!(source = %name, added, replaced, withdrawn,
                "Synced {noun} `{name}`: {added} record sets added, {replaced} replaced, {withdrawn} withdrawn");
        }
        let held_back = desired.held_back.clone();
        let state = match failing.iter().min_by_key(|(_, (since, _))| *since) {
            _ if let Some(held_back) = &held_back => older.state.held_back(held_back),
            None => SourceState::Current { since: now },
            Some((id, (since, why))) => {
                let (all, what) = (failing.len() + listed, self.live().map_or("parts", Live::parts));
                let why = format!("{} of {all} {what} cannot be listed; {id}: {why}", failing.len());
                SourceState::Stale { since: *since, why }
            }
        };
        // It is as old as the oldest of its parts.
        let read_at = match failing.is_empty() && held_back.is_none() {
            true => Some(now),
            false => older.read_at.or((listed > 0).then_some(now)),
        };
        let (is_held_back, desired) = (held_back.is_some(), Arc::new(desired));
        let known =
            Known { state, asked: true, desired, read_at, not_served, derived, failing, remarks, held_back };
        if known.is_mended_since(&older) {
            let names = known.names();
            info!(source = %name, names, "{kind} `{name}` is read again: {names} names");
        }
        log::tell(kind, name, &known, &older);
        let is_same = older.read_at.is_some() && known.desired.publishes_as(&older.desired);
        {
            let mut state = self.state.lock();
            state.known = Arc::new(known);
            state.last = whole.map(|listed| (listed, revision));
            state.is_unsaved |= !is_same;
            state.share.is_unshared |= !is_same;
        }
        self.tell_published(store);
        Ok(is_held_back)
    }

    /// Tells what a pass in the background has changed; of folders the run loop tells by itself.
    pub(super) fn tell_published(&self, store: &Store) {
        if self.live().is_some() {
            self.ground.log.tell_conflicts(&store.load());
            self.ground.passed.notify_one();
        }
    }

    /// What cannot be listed, since when: each is told once.
    fn failing(
        &self,
        failed: BTreeMap<Arc<str>, String>,
        older: &Known,
        now: SystemTime,
    ) -> BTreeMap<Arc<str>, (SystemTime, String)> {
        let name = &self.name;
        for id in older.failing.keys().filter(|id| !failed.contains_key(*id)) {
            info!(source = %name, "{} {id} of source `{name}` is listed again", kind_of(id));
        }
        let failing = failed.into_iter().map(|(id, why)| {
            let known = older.failing.get(&id);
            if known.is_none_or(|(_, before)| *before != why) {
                error!(source = %name, "{} {id} of source `{name}` stays as it was: {why}", kind_of(&id));
            }
            let since = known.map_or(now, |(since, _)| *since);
            (id, (since, why))
        });
        failing.collect()
    }

    /// Nothing could be learnt: all stays as it was.
    pub(super) fn fail(&self, why: String) {
        let (known, name) = (self.known(), &self.name);
        if !matches!(&known.state, SourceState::Stale { why: before, .. } if *before == why) {
            let ((kind, _), stays) = (self.listing.kind(), self.listing.stays(&known));
            error!(source = %name, "{kind} `{name}` {stays}: {why}");
        }
        drop(known);
        self.change_known(|known| (known.state, known.asked) = (known.state.failed(why), true));
    }
}

/// Subscriptions are known by a bare id, zones by that of ARM.
fn kind_of(id: &str) -> &'static str {
    if id.starts_with('/') { "Private DNS zone" } else { "Subscription" }
}
