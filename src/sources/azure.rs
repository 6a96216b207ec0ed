//! What one identity sees of Azure: passes by the clock and by nudges, committed as those of folders are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rand::Rng;
use reqwest::dns::Resolve;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use super::all::StateAccess;
use super::known::Known;
use super::role::{Role, Roles};
use super::settings::Settings;
use super::share::Share;
use super::source::{self, Outcome, Published, Reading, Restored, Rules, SourceState, forget_confirmation};
use super::spare;
use super::told::Told;
use crate::sync::azure::{self, Azure, AzureError, Pass, Progress, Subject};
use crate::sync::state::unix_secs;
use crate::sync::{self, Desired, Extent, Fingerprint, Inventory, LastGood, StateFolder};
use crate::telemetry::{Age, in_full};
use crate::zone::{Author, Store, ZoneError};

/// Private DNS zones are listed at most this often, unless config says otherwise.
const PRIVATE_ZONES_INTERVAL: Duration = Duration::from_secs(300);
/// A pass that clients wanted is followed by another one of these after this pause: events come as long as somebody
/// deploys, and each pass lists everything.
pub(crate) const WANTED_PAUSE: Duration = Duration::from_secs(10);
/// Passes begin this far apart at least when an operator of this machine nudges or confirms: they must not use up the reads
/// that ARM allows, 250 and 25 more a second, of which a pass takes four.
const NUDGED_APART: Duration = Duration::from_millis(500);

/// What one identity sees of Azure.
pub struct AzureSource {
    pub settings: azure::Settings,
    rules: Rules,
    state_folder: StateFolder,
    access: StateAccess,
    resolver: Option<Arc<dyn Resolve>>,
    interval: Duration,
    pub(super) told: Told,
    nudged: Notify,
    wanted: Notify,
    /// Of the pass under way.
    progress: Arc<Progress>,
    pub(super) known: ArcSwap<Known>,
    /// Of when what a restart would begin with is.
    kept: Mutex<Option<SystemTime>>,
    /// Whether something was published since that was last kept.
    unsaved: AtomicBool,
    /// The last pass, if it listed all and was published.
    last: Mutex<Option<Last>>,
    /// Told of each pass that published.
    pub(super) passed: Arc<Notify>,
    /// Of the last pass and the next.
    pub(super) times: Mutex<PassTimes>,
    /// Held while a pass publishes; `true` when other settings are in force and it must not any more.
    pub(super) retired: Mutex<bool>,
    /// Whether this instance lists.
    pub(super) roles: Roles,
    /// What instances told each other of it.
    pub(super) share: Mutex<Share>,
}

/// When passes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassTimes {
    pub began: Option<SystemTime>,
    /// Of the last one that is over.
    pub ended: Option<SystemTime>,
    /// Unless it is nudged.
    pub next: Option<SystemTime>,
}

/// A pass, and the revision of the zones behind it.
#[derive(PartialEq, Eq)]
struct Last {
    listed: BTreeMap<Arc<str>, Arc<Inventory>>,
    revision: u64,
}

impl AzureSource {
    pub(super) fn new(
        settings: azure::Settings,
        all: &Settings,
        access: StateAccess,
        rules: Rules,
        told: Told,
        passed: Arc<Notify>,
        roles: Roles,
    ) -> AzureSource {
        let known = Known {
            state: SourceState::unread(),
            asked: false,
            desired: Arc::default(),
            read_at: None,
            not_served: Vec::new(),
            derived: BTreeSet::new(),
            failing: BTreeMap::new(),
            remarks: BTreeSet::new(),
            held_back: None,
        };
        // Two and more requests a zone: too much for once a minute.
        let usual = match settings.subject {
            Subject::Endpoints => all.interval,
            Subject::PrivateZones => all.interval.max(PRIVATE_ZONES_INTERVAL),
        };
        let interval = settings.interval.unwrap_or(usual);
        AzureSource {
            settings,
            rules,
            state_folder: StateFolder::new(&all.state_dir),
            access,
            resolver: all.resolver.clone(),
            interval,
            told,
            nudged: Notify::new(),
            wanted: Notify::new(),
            progress: Arc::default(),
            known: ArcSwap::from_pointee(known),
            kept: Mutex::new(None),
            unsaved: AtomicBool::new(false),
            last: Mutex::new(None),
            passed,
            times: Mutex::default(),
            retired: Mutex::new(false),
            roles,
            share: Mutex::default(),
        }
    }

    /// Takes over what the source knew under other settings.
    pub(super) fn inherit(&self, before: &AzureSource) {
        self.known.store(before.known());
        self.is_kept(*before.kept.lock());
        *self.times.lock() = before.times();
        self.unsaved.store(before.unsaved.load(Ordering::Relaxed), Ordering::Relaxed);
        *self.share.lock() = before.share.lock().clone();
    }

    /// Publishes no more; what it publishes at this moment is waited for.
    pub(super) fn retire(&self) {
        *self.retired.lock() = true;
    }

    /// Begins a pass now; one that is under way is followed by another.
    pub fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// Begins a pass now, unless the last that was wanted is over for less than a pause: then behind that.
    pub fn want(&self) {
        self.wanted.notify_one();
    }

    /// Whether something was published since this was last asked.
    pub(super) fn take_unsaved(&self) -> bool {
        self.unsaved.swap(false, Ordering::Relaxed)
    }

    /// What is published is not what is kept and shared.
    pub(super) fn has_changed(&self) {
        self.unsaved.store(true, Ordering::Relaxed);
        self.share.lock().is_unshared = true;
    }

    /// When passes are.
    pub fn times(&self) -> PassTimes {
        *self.times.lock()
    }

    /// When that was listed which a restart would begin with.
    pub fn kept(&self) -> Option<SystemTime> {
        *self.kept.lock()
    }

    pub(super) fn is_kept(&self, read_at: Option<SystemTime>) {
        *self.kept.lock() = read_at;
    }

    /// Publishes what it had published before the restart.
    pub(super) fn restore(&self, last: LastGood, store: &Store) -> Result<Restored, ZoneError> {
        let (desired, read_at) = (Arc::new(last.desired), Some(last.read_at));
        let held_back = desired.held_back.clone();
        let mut known = Known { desired, read_at, held_back, ..Known::clone(&self.known()) };
        let restored = self.publish_known(&mut known, Author::Source(self.shared_name()), store);
        self.known.store(Arc::new(known));
        let restored = restored?;
        self.is_kept(Some(last.read_at));
        let (name, names, age) = (&self.settings.name, self.known().desired.names(), Age::of(last.read_at));
        info!(source = %name, names,
            "Restored the last good state of `{name}`: {names} names from listings of {age} ago");
        Ok(restored)
    }

    /// Publishes anew what is published, as these settings want it: what they withdraw, an operator withdrew.
    pub(super) fn republish(&self, store: &Store) -> Result<(), ZoneError> {
        self.republish_by(Author::Source(self.shared_name()), store)
    }

    /// The same on behalf of somebody.
    pub(super) fn republish_by(&self, author: Author, store: &Store) -> Result<(), ZoneError> {
        let mut known = Known::clone(&self.known());
        self.publish_known(&mut known, author, store)?;
        self.known.store(Arc::new(known));
        Ok(())
    }

    fn publish_known(&self, known: &mut Known, author: Author, store: &Store) -> Result<Restored, ZoneError> {
        let allow = &self.rules.publish.allow_subscriptions;
        let is_limited = !allow.is_empty() || !self.settings.names_all();
        let is_less = is_limited
            && Desired::retain(&mut known.desired, |subscription, id| {
                sync::desired::is_allowed(allow, subscription) && self.settings.names(id)
            });
        // What passes kept of subscriptions that they told nothing of is in there.
        if known.desired.extent != Extent::All {
            Arc::make_mut(&mut known.desired).extent = Extent::All;
        }
        let source = self.shared_name();
        store.commit_with(author, |snapshot| {
            let plan = self.rules.plan(&known.desired, &source, snapshot);
            (known.not_served, known.remarks) = (plan.not_served, plan.remarks);
            known.derived = plan.derived;
            Ok(plan.changes)
        })?;
        Ok(if is_less { Restored::Less } else { Restored::All })
    }

    fn shared_name(&self) -> Arc<str> {
        self.settings.name.as_str().into()
    }

    /// Has the next pass planned anew, whatever it lists.
    pub(super) fn forget_last(&self) {
        *self.last.lock() = None;
    }

    /// What passes have found out so far.
    pub fn known(&self) -> Arc<Known> {
        self.known.load_full()
    }

    /// Passes for as long as this instance lists.
    pub(super) async fn run(self: Arc<Self>, store: Arc<Store>) {
        let mut role = self.roles.watch();
        let lists = |role: &Role| *role != Role::Following;
        // Its sender lives in the source.
        while role.wait_for(lists).await.is_ok() {
            tokio::select! {
                () = self.list(&store) => {}
                // What publishes at this moment sees by itself that it must not any more.
                _ = role.wait_for(|role| !lists(role)) => {}
            }
        }
    }

    async fn list(self: &Arc<Self>, store: &Arc<Store>) {
        let mut azure = None;
        let (mut is_wanted, mut rests_until) = (false, Instant::now());
        loop {
            let not_before = Instant::now() + NUDGED_APART;
            let again_in = self.pass(&mut azure, store).await;
            if std::mem::take(&mut is_wanted) {
                rests_until = Instant::now() + WANTED_PAUSE;
            }
            // Servers that were started together must not ask together.
            let wait = self.interval.mul_f64(rand::rng().random_range(0.9..1.1));
            let rest = again_in.map(|rest| rest.mul_f64(rand::rng().random_range(1.0..1.1)));
            let wait = rest.map_or(wait, |rest| rest.min(wait));
            self.times.lock().next = SystemTime::now().checked_add(wait);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = async { self.nudged.notified().await; sleep_until(not_before).await } => {}
                // Another pass that comes meanwhile is as good.
                () = async { self.wanted.notified().await; sleep_until(not_before.max(rests_until)).await } => {
                    is_wanted = true;
                }
            }
        }
    }

    /// One pass.
    pub async fn pass_once(self: &Arc<Self>, store: &Arc<Store>) {
        self.pass(&mut None, store).await;
    }

    /// One pass as a client of whom more is asked.
    pub async fn pass_with(self: &Arc<Self>, azure: &Arc<Azure>, store: &Arc<Store>) {
        self.pass(&mut Some(Arc::clone(azure)), store).await;
    }

    /// A client that knows nothing yet.
    pub fn azure(&self) -> Result<Arc<Azure>, AzureError> {
        let azure = Azure::new(self.settings.clone(), self.resolver.clone())?;
        let azure = azure.with_catalogue(Arc::clone(&self.rules.catalogue));
        Ok(Arc::new(azure.telling(Arc::clone(&self.progress))))
    }

    /// How far the pass under way has come.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Lists Azure, and publishes nothing of it yet.
    pub(super) async fn read(&self, store: &Store) -> Result<Reading, String> {
        let listed = match self.azure() {
            Ok(azure) => azure.pass().await,
            Err(error) => Err(error),
        };
        listed.map(|pass| self.reading(pass, store)).map_err(|error| in_full(&error))
    }

    /// Answers when a subscription that was throttled may be asked again.
    async fn pass(self: &Arc<Self>, azure: &mut Option<Arc<Azure>>, store: &Arc<Store>) -> Option<Duration> {
        // What is confirmed comes first: what is listed afterwards is not older than that the operator saw.
        let confirmed = self.access.confirmed(&self.state_folder, &self.settings.name);
        let times = PassTimes { began: Some(SystemTime::now()), next: None, ..self.times() };
        *self.times.lock() = times;
        let listed = match self.client(azure) {
            // A fault of ours in it must not end the passes after it.
            Ok(azure) => AbortOnDropHandle::new(tokio::spawn(async move { azure.pass().await }))
                .await
                .unwrap_or(Err(AzureError::Fault)),
            Err(error) => Err(error),
        };
        let again_in = match listed {
            Ok(pass) => {
                let again_in = pass.again_in;
                let (source, store) = (Arc::clone(self), Arc::clone(store));
                // Placing and planning thousands of names would keep a thread from answering.
                let published =
                    tokio::task::spawn_blocking(move || source.publish_pass(pass, &store, confirmed)).await;
                if let Err(cause) = published {
                    self.fail(format!("publishing failed: {cause}"));
                }
                again_in
            }
            Err(error) => {
                self.fail(in_full(&error));
                None
            }
        };
        self.times.lock().ended = Some(SystemTime::now());
        self.pass_ended();
        again_in
    }

    fn client(&self, azure: &mut Option<Arc<Azure>>) -> Result<Arc<Azure>, AzureError> {
        if let Some(azure) = azure {
            return Ok(Arc::clone(azure));
        }
        Ok(Arc::clone(azure.insert(self.azure()?)))
    }

    /// Nothing could be learnt: all stays as it was.
    fn fail(&self, why: String) {
        let (mut known, name) = (Known::clone(&self.known()), &self.settings.name);
        if !matches!(&known.state, SourceState::Stale { why: told, .. } if *told == why) {
            error!(source = %name, "Source `{name}` stays as it was: {why}");
        }
        (known.state, known.asked) = (known.state.failed(why), true);
        self.known.store(Arc::new(known));
    }

    /// Publishes a pass as an operator confirmed it beforehand, or as it may be published without.
    fn publish_pass(&self, pass: Pass, store: &Store, confirmed: Option<Fingerprint>) {
        let consents =
            |source: &str, plan| confirmed == Some(plan) && forget_confirmation(&self.state_folder, source);
        if confirmed.is_none() && self.is_as_before(&pass, store) {
            return;
        }
        let retired = self.retired.lock();
        if *retired || !self.roles.is_listing() {
            return;
        }
        let reading = self.reading(pass, store);
        let published = self.publish(reading, store, consents);
        self.pass_published(&published);
        match published {
            Ok(published) if confirmed.is_some() => {
                source::tell_unused_confirmation(&self.settings.name, &self.state_folder, published);
            }
            Ok(_) => {}
            Err(cause) => self.fail(in_full(&cause)),
        }
        drop(retired);
        spare::give_back(self.known().desired.publications.len());
    }

    /// Whether a pass found all as the one before did, and nobody changed a zone since: then only the time is noted.
    // A pass without a change is by far the most frequent; planning it costs more than all the rest of it.
    fn is_as_before(&self, pass: &Pass, store: &Store) -> bool {
        let retired = self.retired.lock();
        let older = self.known();
        let is_current =
            !*retired && self.roles.is_listing() && matches!(older.state, SourceState::Current { .. });
        let listed = whole(pass).filter(|_| is_current);
        let now = listed.map(|listed| Last { listed, revision: store.load().revision() });
        if now.is_none() || *self.last.lock() != now {
            return false;
        }
        let since = SystemTime::now();
        let state = SourceState::Current { since };
        self.known.store(Arc::new(Known { state, read_at: Some(since), ..Known::clone(&older) }));
        self.passed.notify_one();
        true
    }

    /// What a pass wants published, with what is known of the subscriptions that it tells nothing of.
    fn reading(&self, pass: Pass, store: &Store) -> Reading {
        let (read_at, older) = (SystemTime::now(), self.known());
        let source: Arc<str> = self.settings.name.as_str().into();
        let mut failed: BTreeMap<Arc<str>, String> =
            pass.failed.iter().map(|(id, error)| (Arc::clone(id), in_full(error))).collect();
        if self.settings.subscriptions.is_empty() {
            for id in sync::subscriptions_of(&store.snapshot(), &source) {
                if !pass.listed.contains_key(&id) {
                    failed.entry(id).or_insert_with(|| AzureError::Vanished.to_string());
                }
            }
        }
        let mut desired = self.desired(&pass, &failed, &source, read_at);
        desired.unsettled.extend(pass.unread.keys().cloned());
        desired.keep(&older.desired);
        desired.carry_over(&older.desired);
        failed.extend(pass.unread.iter().map(|(id, error)| (Arc::clone(id), in_full(error))));
        let listed = pass.listed.len() + pass.zones.len();
        Reading { desired, read_at, failed, listed, whole: whole(&pass) }
    }

    /// Commits a reading as one change, without the withdrawals that are too many unless somebody `consents` to them.
    pub(super) fn publish(
        &self,
        reading: Reading,
        store: &Store,
        consents: impl FnOnce(&str, Fingerprint) -> bool,
    ) -> Result<Published, ZoneError> {
        let Reading { desired, read_at: now, failed, listed, whole } = reading;
        *self.last.lock() = None;
        let (name, older) = (&self.settings.name, self.known());
        let outcome = self.rules.commit(desired, &older.desired, &name.as_str().into(), store, consents)?;
        let Outcome { desired, counts, changed, revision, not_served, derived, remarks } = outcome;
        let (added, replaced, withdrawn) = counts;
        let failing = self.failing(failed, &older, now);
        if changed {
            info!(source = %name, added, replaced, withdrawn,
                "Synced source `{name}`: {added} record sets added, {replaced} replaced, {withdrawn} withdrawn");
        }
        source::tell("Source", name, &desired, &older.desired);
        let zones = (&derived, &older.derived);
        source::tell_of_zones("Source", name, (&not_served, &older.not_served), zones);
        source::tell_held_back("Source", name, &desired, &older.desired);
        let held_back = desired.held_back.clone();
        let state = match failing.iter().min_by_key(|(_, (since, _))| *since) {
            _ if let Some(held_back) = &held_back => older.state.held_back(held_back),
            None => SourceState::Current { since: now },
            Some((id, (since, why))) => {
                let all = failing.len() + listed;
                let what = match self.settings.subject {
                    Subject::Endpoints => "subscriptions",
                    Subject::PrivateZones => "subscriptions and private DNS zones",
                };
                let why = format!("{} of {all} {what} cannot be listed; {id}: {why}", failing.len());
                SourceState::Stale { since: *since, why }
            }
        };
        // It is as old as the oldest of its parts.
        let read_at = match failing.is_empty() && held_back.is_none() {
            true => Some(now),
            false => older.read_at.or((listed > 0).then_some(now)),
        };
        for remark in remarks.difference(&older.remarks) {
            warn!(source = %name, "Source `{name}`: {remark}");
        }
        let is_same = older.read_at.is_some() && desired.publishes_as(&older.desired);
        if !is_same {
            self.has_changed();
        }
        let is_held_back = held_back.is_some();
        let known = Known {
            state,
            asked: true,
            desired: Arc::new(desired),
            read_at,
            not_served,
            derived,
            failing,
            remarks,
            held_back,
        };
        self.known.store(Arc::new(known));
        *self.last.lock() = whole.map(|listed| Last { listed, revision });
        self.told.tell(&store.load());
        self.passed.notify_one();
        Ok(Published { is_changed: changed, is_held_back })
    }

    fn desired(
        &self,
        pass: &Pass,
        failed: &BTreeMap<Arc<str>, String>,
        source: &Arc<str>,
        now: SystemTime,
    ) -> Desired {
        let since_secs = unix_secs(now);
        let allow = &self.rules.publish.allow_subscriptions;
        let extent = match self.settings.subscriptions.is_empty() {
            // Who may no longer look into a subscription does not know that it is empty.
            true => Extent::Only(pass.listed.keys().cloned().collect()),
            // An operator who names others wants those that are not named withdrawn.
            false => Extent::AllBut(failed.keys().cloned().collect::<BTreeSet<_>>()),
        };
        let mut desired = Desired { extent, ..Desired::default() };
        let parts = pass.listed.values();
        desired.join(parts.map(|it| sync::desired(it, &self.rules.catalogue, source, allow, |_| since_secs)));
        desired.import(pass.zones.iter().cloned(), allow);
        desired
    }

    fn failing(
        &self,
        failed: BTreeMap<Arc<str>, String>,
        older: &Known,
        now: SystemTime,
    ) -> BTreeMap<Arc<str>, (SystemTime, String)> {
        let name = &self.settings.name;
        for id in older.failing.keys().filter(|id| !failed.contains_key(*id)) {
            info!(source = %name, "{} {id} of source `{name}` is listed again", kind_of(id));
        }
        let failing = failed.into_iter().map(|(id, why)| {
            let known = older.failing.get(&id);
            if known.is_none_or(|(_, told)| *told != why) {
                error!(source = %name, "{} {id} of source `{name}` stays as it was: {why}", kind_of(&id));
            }
            let since = known.map_or(now, |(since, _)| *since);
            (id, (since, why))
        });
        failing.collect()
    }
}

/// Subscriptions are known by a bare id, zones by that of ARM.
fn kind_of(id: &str) -> &'static str {
    if id.starts_with('/') { "Private DNS zone" } else { "Subscription" }
}

/// What a pass listed, if that is all there is to know of it: private DNS zones are planned anew each time.
fn whole(pass: &Pass) -> Option<BTreeMap<Arc<str>, Arc<Inventory>>> {
    let is_whole = pass.failed.is_empty() && pass.unread.is_empty() && pass.zones.is_empty();
    is_whole.then(|| pass.listed.clone())
}
