//! Live Azure in the background: passes by the clock and by nudges, committed as those of folders are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rand::Rng;
use reqwest::dns::Resolve;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::in_full;
use super::resolver::Resolver;
use super::sources::{SourceState, Told, publish_settings};
use crate::config::Config;
use crate::dns::Name;
use crate::privatelink::Catalogue;
use crate::sync::azure::{Azure, AzureError, Pass, Settings};
use crate::sync::{self, Desired, Extent, PublishSettings};
use crate::zone::Store;

/// All `[[sync.source]]` of kind `arm`.
pub struct AzureSources {
    list: Vec<Arc<AzureSource>>,
    running: Vec<JoinHandle<()>>,
}

/// What one identity sees of Azure.
pub struct AzureSource {
    pub settings: Settings,
    catalogue: Arc<Catalogue>,
    publish: PublishSettings,
    resolver: Option<Arc<dyn Resolve>>,
    interval: Duration,
    told: Told,
    nudged: Notify,
    known: ArcSwap<Known>,
    /// Held while a pass publishes; `true` when other settings are in force and it must not any more.
    retired: Mutex<bool>,
}

/// What passes have found out.
#[derive(Clone, Debug)]
pub struct Known {
    pub state: SourceState,
    /// What the last complete listing of each subscription wants published.
    pub desired: Desired,
    /// Names that are not published because their zone is not served.
    pub not_served: Vec<Name>,
    /// Subscriptions that cannot be listed: since when, and why. Their records stay.
    pub failing: BTreeMap<Arc<str>, (SystemTime, String)>,
}

impl AzureSources {
    /// Sources that ask nothing yet.
    pub(super) fn new(config: &Config, told: &Told) -> AzureSources {
        let new = |settings: &Settings| Arc::new(AzureSource::new(settings.clone(), config, told.clone()));
        AzureSources { list: config.sync.azure.iter().map(new).collect(), running: Vec::new() }
    }

    /// Other settings, and nothing runs any more; a source that stays keeps what it knows.
    pub(super) fn configure(&mut self, config: &Config, told: &Told) {
        let old = std::mem::replace(self, AzureSources::new(config, told));
        for source in &self.list {
            if let Some(known) = old.list.iter().find(|it| it.settings == source.settings) {
                source.known.store(known.known.load_full());
            }
        }
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
}

impl Drop for AzureSources {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
        // What publishes at this moment is not stopped by that, but waited for.
        self.list.iter().for_each(|source| *source.retired.lock() = true);
    }
}

impl AzureSource {
    fn new(settings: Settings, config: &Config, told: Told) -> AzureSource {
        let state = SourceState::Stale { since: SystemTime::now(), why: "it was not read yet".to_owned() };
        let (desired, not_served, failing) = (Desired::default(), Vec::new(), BTreeMap::new());
        AzureSource {
            settings,
            catalogue: Arc::clone(&config.private_link.catalogue),
            publish: publish_settings(config),
            resolver: Resolver::of(&config.forward),
            interval: config.sync.interval,
            told,
            nudged: Notify::new(),
            known: ArcSwap::from_pointee(Known { state, desired, not_served, failing }),
            retired: Mutex::new(false),
        }
    }

    /// What passes have found out so far.
    pub fn known(&self) -> Arc<Known> {
        self.known.load_full()
    }

    async fn run(self: Arc<Self>, store: Arc<Store>) {
        let mut azure = None;
        loop {
            self.pass(&mut azure, &store).await;
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
        self.pass(&mut None, store).await;
    }

    async fn pass(self: &Arc<Self>, azure: &mut Option<Arc<Azure>>, store: &Arc<Store>) {
        let listed = match self.client(azure) {
            Ok(azure) => azure.pass().await,
            Err(error) => Err(error),
        };
        match listed {
            Ok(pass) => {
                let (source, store) = (Arc::clone(self), Arc::clone(store));
                // Placing and planning thousands of names would keep a thread from answering.
                let published = tokio::task::spawn_blocking(move || source.publish(pass, &store)).await;
                if let Err(cause) = published {
                    self.fail(format!("publishing failed: {cause}"));
                }
            }
            Err(error) => self.fail(in_full(&error)),
        }
    }

    fn client(&self, azure: &mut Option<Arc<Azure>>) -> Result<Arc<Azure>, AzureError> {
        if let Some(azure) = azure {
            return Ok(Arc::clone(azure));
        }
        let new = Arc::new(Azure::new(self.settings.clone(), self.resolver.clone())?);
        Ok(Arc::clone(azure.insert(new)))
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

    /// Commits what a pass found out as one change.
    fn publish(&self, pass: Pass, store: &Store) {
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
        let mut counts = (0, 0, 0);
        let mut not_served = Vec::new();
        let committed = store.commit_with(|snapshot| {
            let plan = sync::plan(&desired, &source, &self.publish, &self.catalogue, snapshot);
            counts = (plan.added, plan.replaced, plan.withdrawn);
            not_served = plan.not_served;
            Ok(plan.changes)
        });
        match committed {
            Err(cause) => return self.fail(in_full(&cause)),
            Ok(committed) if !committed.effect.zones.is_empty() => {
                let (added, replaced, withdrawn) = counts;
                info!(source = %name, added, replaced, withdrawn,
                    "Synced source `{name}`: {added} record sets added, {replaced} replaced, {withdrawn} withdrawn");
            }
            Ok(_) => {}
        }
        for warning in desired.warnings.iter().filter(|it| !older.desired.warnings.contains(it)) {
            warn!(source = %name, "Source `{name}`: {warning}");
        }
        for unplaced in desired.unplaced.iter().filter(|it| !older.desired.unplaced.contains(it)) {
            let (fqdn, endpoint) = (&unplaced.fqdn, &unplaced.endpoint);
            warn!(source = %name, "Source `{name}`: no private-link zone is known for {fqdn} of {endpoint}");
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
        self.known.store(Arc::new(Known { state, desired, not_served, failing }));
        self.told.tell(&store.load());
    }

    fn desired(
        &self,
        pass: &Pass,
        failed: &BTreeMap<Arc<str>, String>,
        source: &Arc<str>,
        now: SystemTime,
    ) -> Desired {
        let since_secs = now.duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let extent = match self.settings.subscriptions.is_empty() {
            // Who may no longer look into a subscription does not know that it is empty.
            true => Extent::Only(pass.listed.keys().cloned().collect()),
            // An operator who names others wants those that are not named withdrawn.
            false => Extent::AllBut(failed.keys().cloned().collect::<BTreeSet<_>>()),
        };
        let mut desired = Desired { extent, ..Desired::default() };
        for inventory in pass.listed.values() {
            desired.join(sync::desired(inventory, &self.catalogue, source, |_| since_secs));
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
