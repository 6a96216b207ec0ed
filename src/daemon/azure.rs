//! Live Azure in the background: passes by the clock and by nudges, committed as those of folders are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rand::Rng;
use reqwest::dns::Resolve;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::in_full;
use super::resolver::Resolver;
use super::source::{self, Outcome, Published, Rules, SourceState, forget_confirmation};
use super::sources::{StateAccess, Told};
use crate::config::Config;
use crate::dns::Name;
use crate::sync::azure::{Azure, AzureError, Pass, Settings};
use crate::sync::state::unix_secs;
use crate::sync::{self, Desired, Extent, Fingerprint, HeldBack, LastGood, Saved, StateFolder};
use crate::telemetry::Age;
use crate::zone::{CommitError, Store};

/// All `[[sync.source]]` of kind `arm`.
pub struct AzureSources {
    list: Vec<Arc<AzureSource>>,
    running: Vec<JoinHandle<()>>,
    passed: Arc<Notify>,
}

/// What one identity sees of Azure.
pub struct AzureSource {
    pub settings: Settings,
    rules: Rules,
    state_folder: StateFolder,
    access: StateAccess,
    resolver: Option<Arc<dyn Resolve>>,
    interval: Duration,
    told: Told,
    nudged: Notify,
    known: ArcSwap<Known>,
    /// It remembers from one pass to the next.
    client: Mutex<Option<Arc<Azure>>>,
    /// Of when what a restart would begin with is.
    kept: Mutex<Option<SystemTime>>,
    /// Whether something was published since that was last kept.
    unsaved: AtomicBool,
    /// Told of each pass that published.
    passed: Arc<Notify>,
    /// Held while a pass publishes; `true` when other settings are in force and it must not any more.
    retired: Mutex<bool>,
}

/// What passes have found out.
#[derive(Clone, Debug)]
pub struct Known {
    pub state: SourceState,
    /// What the last complete listing of each subscription wants published.
    pub desired: Desired,
    /// When all of `desired` was last listed, maybe before the last restart.
    pub read_at: Option<SystemTime>,
    /// Names that are not published because their zone is not served.
    pub not_served: Vec<Name>,
    /// Subscriptions that cannot be listed: since when, and why. Their records stay.
    pub failing: BTreeMap<Arc<str>, (SystemTime, String)>,
    /// The pass that waits for an operator.
    held_back: Option<HeldBack>,
}

impl AzureSources {
    /// Sources that ask nothing yet.
    pub(super) fn new(config: &Config, access: StateAccess, told: &Told) -> AzureSources {
        let passed = Arc::new(Notify::new());
        let new = |settings: &Settings| {
            Arc::new(AzureSource::new(settings.clone(), config, access, told.clone(), Arc::clone(&passed)))
        };
        AzureSources { list: config.sync.azure.iter().map(new).collect(), running: Vec::new(), passed }
    }

    /// Other settings, and nothing runs any more; a source that stays, by its name, keeps what it knows.
    pub(super) fn configure(&mut self, config: &Config, access: StateAccess, told: &Told) {
        self.retire();
        let old = std::mem::replace(self, AzureSources::new(config, access, told));
        for source in &self.list {
            if let Some(known) = old.named(&source.settings.name) {
                source.known.store(known.known());
                source.is_kept(*known.kept.lock());
                source.unsaved.store(known.unsaved.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }

    pub(super) fn retire(&self) {
        self.running.iter().for_each(JoinHandle::abort);
        // What publishes at this moment is not stopped by that, but waited for.
        self.list.iter().for_each(|source| *source.retired.lock() = true);
    }

    /// Begins passes in the background.
    pub(super) fn start(&mut self, store: &Arc<Store>) {
        let sources = self.list.iter();
        self.running = sources.map(|it| tokio::spawn(Arc::clone(it).run(Arc::clone(store)))).collect();
    }

    /// Begins a pass of each source now; one that is under way is followed by another.
    pub fn nudge(&self) {
        self.list.iter().for_each(|source| source.nudged.notify_one());
    }

    /// The sources in the order of config.
    pub fn list(&self) -> &[Arc<AzureSource>] {
        &self.list
    }

    pub(super) fn named(&self, name: &str) -> Option<&Arc<AzureSource>> {
        self.list.iter().find(|source| source.settings.name == name)
    }

    /// Told when there may be something to keep.
    pub(super) fn passed(&self) -> &Arc<Notify> {
        &self.passed
    }

    /// Whether something was published since this was last asked.
    pub(super) fn take_unsaved(&self) -> bool {
        self.list.iter().fold(false, |any, source| any | source.unsaved.swap(false, Ordering::Relaxed))
    }
}

impl Known {
    pub(super) fn saved<'a>(&'a self, source: &'a str) -> Option<Saved<'a>> {
        self.read_at.map(|read_at| Saved { source, read_at, desired: &self.desired })
    }

    /// The pass that waits for an operator.
    pub fn held_back(&self) -> Option<&HeldBack> {
        self.held_back.as_ref()
    }
}

impl Drop for AzureSources {
    fn drop(&mut self) {
        self.retire();
    }
}

impl AzureSource {
    fn new(
        settings: Settings,
        config: &Config,
        access: StateAccess,
        told: Told,
        passed: Arc<Notify>,
    ) -> AzureSource {
        let state = SourceState::Stale { since: SystemTime::now(), why: "it was not read yet".to_owned() };
        let known = Known {
            state,
            desired: Desired::default(),
            read_at: None,
            not_served: Vec::new(),
            failing: BTreeMap::new(),
            held_back: None,
        };
        AzureSource {
            settings,
            rules: Rules::new(config),
            state_folder: StateFolder::new(&config.state_dir),
            access,
            resolver: Resolver::of(&config.forward),
            interval: config.sync.interval,
            told,
            nudged: Notify::new(),
            known: ArcSwap::from_pointee(known),
            client: Mutex::new(None),
            kept: Mutex::new(None),
            unsaved: AtomicBool::new(false),
            passed,
            retired: Mutex::new(false),
        }
    }

    /// When that was listed which a restart would begin with.
    pub fn kept(&self) -> Option<SystemTime> {
        *self.kept.lock()
    }

    pub(super) fn is_kept(&self, read_at: Option<SystemTime>) {
        *self.kept.lock() = read_at;
    }

    /// Publishes what it had published before the restart.
    pub(super) fn restore(&self, last: LastGood, store: &Store) -> Result<(), CommitError> {
        let known =
            Known { desired: last.desired, read_at: Some(last.read_at), ..Known::clone(&self.known()) };
        self.known.store(Arc::new(known));
        self.republish(store)?;
        self.is_kept(Some(last.read_at));
        let (name, names, age) =
            (&self.settings.name, self.known().desired.publications.len(), Age::of(last.read_at));
        info!(source = %name, names,
            "Restored the last good state of `{name}`: {names} names from listings of {age} ago");
        Ok(())
    }

    /// Publishes anew what is published, as these settings want it: what they withdraw, an operator withdrew.
    pub(super) fn republish(&self, store: &Store) -> Result<(), CommitError> {
        let mut known = Known::clone(&self.known());
        let (allow, named) = (&self.rules.publish.allow_subscriptions, &self.settings.subscriptions);
        let is_wanted =
            |id: &str| sync::desired::is_allowed(allow, id) && sync::desired::is_allowed(named, id);
        known.desired.publications.retain(|it| is_wanted(&it.claim.subscription));
        // What passes kept of subscriptions that they told nothing of is in there.
        known.desired.extent = Extent::All;
        let source: Arc<str> = self.settings.name.as_str().into();
        store.commit_with(|snapshot| {
            let plan = self.rules.plan(&known.desired, &source, snapshot);
            known.not_served = plan.not_served;
            Ok(plan.changes)
        })?;
        self.known.store(Arc::new(known));
        Ok(())
    }

    /// What passes have found out so far.
    pub fn known(&self) -> Arc<Known> {
        self.known.load_full()
    }

    async fn run(self: Arc<Self>, store: Arc<Store>) {
        loop {
            self.pass(&store).await;
            // Servers that were started together must not ask together.
            let wait = self.interval.mul_f64(rand::rng().random_range(0.9..1.1));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.nudged.notified() => {}
            }
        }
    }

    /// One pass, as an operator asks for it.
    pub async fn pass_once(self: &Arc<Self>, store: &Arc<Store>) {
        self.pass(store).await;
    }

    async fn pass(self: &Arc<Self>, store: &Arc<Store>) {
        // What is confirmed comes first: what is listed afterwards is not older than that the operator saw.
        let confirmed = self.confirmed();
        let listed = match self.client() {
            Ok(azure) => azure.pass().await,
            Err(error) => Err(error),
        };
        match listed {
            Ok(pass) => {
                let (source, store) = (Arc::clone(self), Arc::clone(store));
                // Placing and planning thousands of names would keep a thread from answering.
                let published =
                    tokio::task::spawn_blocking(move || source.publish(pass, &store, confirmed)).await;
                if let Err(cause) = published {
                    self.fail(format!("publishing failed: {cause}"));
                }
            }
            Err(error) => self.fail(in_full(&error)),
        }
    }

    fn client(&self) -> Result<Arc<Azure>, AzureError> {
        let mut client = self.client.lock();
        if let Some(azure) = &*client {
            return Ok(Arc::clone(azure));
        }
        let new = Arc::new(Azure::new(self.settings.clone(), self.resolver.clone())?);
        Ok(Arc::clone(client.insert(new)))
    }

    fn confirmed(&self) -> Option<Fingerprint> {
        match self.access {
            StateAccess::Look => None,
            StateAccess::Keep => source::confirmed(&self.state_folder, &self.settings.name),
        }
    }

    /// Nothing could be learnt: all stays as it was.
    fn fail(&self, why: String) {
        let (mut known, name) = (Known::clone(&self.known()), &self.settings.name);
        if !matches!(&known.state, SourceState::Stale { why: told, .. } if *told == why) {
            error!(source = %name, "Source `{name}` stays as it was: {why}");
        }
        known.state = known.state.failed(why);
        self.known.store(Arc::new(known));
    }

    /// Commits what a pass found out as one change, or nothing of it when that would withdraw too much.
    fn publish(&self, pass: Pass, store: &Store, confirmed: Option<Fingerprint>) {
        let retired = self.retired.lock();
        if *retired {
            return;
        }
        let (now, name, older) = (SystemTime::now(), &self.settings.name, self.known());
        let source: Arc<str> = name.as_str().into();
        let mut failed: BTreeMap<Arc<str>, String> =
            pass.failed.iter().map(|(id, error)| (Arc::clone(id), in_full(error))).collect();
        if self.settings.subscriptions.is_empty() {
            for id in sync::subscriptions_of(&store.snapshot(), &source) {
                if !pass.listed.contains_key(&id) {
                    failed.entry(id).or_insert_with(|| AzureError::Vanished.to_string());
                }
            }
        }
        let mut desired = self.desired(&pass, &failed, &source, now);
        desired.keep(&older.desired);
        desired.carry_over(&older.desired);
        let consents =
            |source: &str, plan| confirmed == Some(plan) && forget_confirmation(&self.state_folder, source);
        let outcome = match self.rules.commit(&desired, &source, store, consents) {
            Ok(outcome) => outcome,
            Err(cause) => return self.fail(in_full(&cause)),
        };
        let Outcome { held_back, counts: (added, replaced, withdrawn), changed, not_served } = outcome;
        if confirmed.is_some() {
            let published = match (&held_back, changed) {
                (Some(_), _) => Published::HeldBack,
                (None, true) => Published::Changed,
                (None, false) => Published::Unchanged,
            };
            source::tell_unused_confirmation(name, &self.state_folder, published);
        }
        if let Some(held_back) = held_back {
            let failing = self.failing(failed, &older, now);
            return self.is_held_back(held_back, failing);
        }
        if changed {
            info!(source = %name, added, replaced, withdrawn,
                "Synced source `{name}`: {added} record sets added, {replaced} replaced, {withdrawn} withdrawn");
        }
        for warning in desired.warnings.iter().filter(|it| !older.desired.warnings.contains(it)) {
            warn!(source = %name, "Source `{name}`: {warning}");
        }
        for unplaced in desired.unplaced.iter().filter(|it| !older.desired.unplaced.contains(it)) {
            let (fqdn, endpoint) = (&unplaced.fqdn, &unplaced.endpoint);
            warn!(source = %name, "Source `{name}`: no private-link zone is known for {fqdn} of {endpoint}");
        }
        if let Some(first) = desired.foreign.first().filter(|_| desired.foreign != older.desired.foreign) {
            let endpoints = desired.foreign.len();
            warn!(source = %name, endpoints,
                "Source `{name}`: {endpoints} private endpoints publish nothing, as sync.allow_subscriptions leaves \
                 out their subscriptions; {first} is the first");
        }
        let failing = self.failing(failed, &older, now);
        let state = match failing.iter().min_by_key(|(_, (since, _))| *since) {
            None => SourceState::Current { since: now },
            Some((id, (since, why))) => {
                let all = failing.len() + pass.listed.len();
                let why = format!("{} of {all} subscriptions cannot be listed; {id}: {why}", failing.len());
                SourceState::Stale { since: *since, why }
            }
        };
        // It is as old as the oldest of its parts.
        let read_at = match failing.is_empty() {
            true => Some(now),
            false => older.read_at.or((!pass.listed.is_empty()).then_some(now)),
        };
        let is_same = older.read_at.is_some()
            && desired.publications == older.desired.publications
            && desired.withheld == older.desired.withheld;
        if !is_same {
            self.unsaved.store(true, Ordering::Relaxed);
        }
        self.known.store(Arc::new(Known { state, desired, read_at, not_served, failing, held_back: None }));
        self.told.tell(&store.load());
        self.passed.notify_one();
    }

    fn is_held_back(&self, held_back: HeldBack, failing: BTreeMap<Arc<str>, (SystemTime, String)>) {
        let (mut known, name) = (Known::clone(&self.known()), &self.settings.name);
        if known.held_back.as_ref() != Some(&held_back) {
            let HeldBack { would_withdraw, of, .. } = held_back;
            error!(source = %name, would_withdraw, of,
                "Source `{name}` would withdraw {would_withdraw} of {of} record sets and is held back: if that is \
                 meant, raise sync.withdraw_max_percent until it is done");
        }
        known.state = known.state.held_back(&held_back);
        (known.failing, known.held_back) = (failing, Some(held_back));
        self.known.store(Arc::new(known));
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
        for inventory in pass.listed.values() {
            desired.join(sync::desired(inventory, &self.rules.catalogue, source, allow, |_| since_secs));
        }
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
            info!(source = %name, "Subscription {id} of source `{name}` is listed again");
        }
        let failing = failed.into_iter().map(|(id, why)| {
            let known = older.failing.get(&id);
            if known.is_none_or(|(_, told)| *told != why) {
                error!(source = %name, "Subscription {id} of source `{name}` stays as it was: {why}");
            }
            let since = known.map_or(now, |(since, _)| *since);
            (id, (since, why))
        });
        failing.collect()
    }
}
