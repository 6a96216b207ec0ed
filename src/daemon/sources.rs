//! The folders that inventories are read from: what each said last, and since when it says nothing new.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tracing::{error, info, warn};

use super::azure::AzureSources;
use super::in_full;
use crate::config::Config;
use crate::privatelink::Catalogue;
use crate::sync::{self, Conflict, Desired, PublishSettings, directory};
use crate::zone::{CommitError, Snapshot, Store, ZoneKind};

/// All `[[sync.source]]`: the folders, and live Azure beside them.
pub struct Sources {
    catalogue: Arc<Catalogue>,
    publish: PublishSettings,
    list: Vec<Source>,
    azure: AzureSources,
    told: Told,
}

/// Conflicts that are in the log already: each is told once.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<Vec<Conflict>>>);

/// One folder.
pub struct Source {
    pub settings: directory::Settings,
    pub state: SourceState,
    /// What its last good inventory wants published.
    pub desired: Desired,
    /// Names that are not published because their zone is not served.
    pub not_served: Vec<crate::dns::Name>,
}

/// Whether a source's records are as new as they can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// Its inventory was read whole.
    Current { since: SystemTime },
    /// Its inventory could not be read; the last good one, if there was any, stays in force.
    Stale { since: SystemTime, why: String },
}

impl Sources {
    /// Sources that have not been read yet.
    pub fn new(config: &Config) -> Sources {
        let list = config.sync.sources.iter().map(|settings| Source::new(settings.clone())).collect();
        let (catalogue, publish) = (Arc::clone(&config.private_link.catalogue), publish_settings(config));
        let told = Told::default();
        let azure = AzureSources::new(config, &told);
        Sources { catalogue, publish, list, azure, told }
    }

    /// Other settings; a source that stays keeps what it knows.
    pub fn configure(&mut self, config: &Config) {
        let mut old = std::mem::take(&mut self.list);
        for settings in &config.sync.sources {
            let known = old.iter().position(|source| source.settings == *settings);
            self.list.push(match known {
                Some(index) => old.swap_remove(index),
                None => Source::new(settings.clone()),
            });
        }
        self.catalogue = Arc::clone(&config.private_link.catalogue);
        self.publish = publish_settings(config);
        self.azure.configure(config, &self.told);
    }

    /// Begins passes of live Azure in the background.
    pub fn start(&mut self, store: &Arc<Store>) {
        self.azure.start(store);
    }

    /// Live Azure, in the order of config.
    pub fn azure(&self) -> &AzureSources {
        &self.azure
    }

    /// The folders in the order of config.
    pub fn list(&self) -> &[Source] {
        &self.list
    }

    /// Reads every source and publishes what it says. A source that cannot be read leaves its records as they are.
    pub fn pass(&mut self, store: &Store) -> Result<(), CommitError> {
        for source in &mut self.list {
            source.pass(store, &self.catalogue, &self.publish)?;
        }
        self.withdraw_orphans(store)?;
        self.told.tell(&store.load());
        Ok(())
    }

    /// Takes back what sources that are no longer configured had published.
    fn withdraw_orphans(&self, store: &Store) -> Result<(), CommitError> {
        for name in sync::sources_of(&store.snapshot()) {
            let is_azure = self.azure.list().iter().any(|source| source.settings.name == *name);
            if !is_azure && !self.list.iter().any(|source| source.settings.name == *name) {
                let nothing = Desired::default();
                store.commit_with(|snapshot| {
                    Ok(sync::plan(&nothing, &name, &self.publish, &self.catalogue, snapshot).changes)
                })?;
                info!(source = %name, "Withdrew what source `{name}` had published: it is no longer configured");
            }
        }
        Ok(())
    }
}

impl Told {
    /// Tells the conflicts that are new.
    pub(super) fn tell(&self, snapshot: &Snapshot) {
        let (now, mut told) = (sync::conflicts(snapshot), self.0.lock());
        for conflict in now.iter().filter(|conflict| !told.contains(conflict)) {
            warn!(dns.name = %conflict.name, claims = conflict.claims.len(), "{conflict}");
        }
        *told = now;
    }
}

impl SourceState {
    /// The state after a failure, stale since the first of a row.
    pub(super) fn failed(&self, why: String) -> SourceState {
        let since = match self {
            SourceState::Stale { since, .. } => *since,
            SourceState::Current { .. } => SystemTime::now(),
        };
        SourceState::Stale { since, why }
    }
}

pub(super) fn publish_settings(config: &Config) -> PublishSettings {
    let settings = &config.private_link;
    let explicit = config.zones.iter().filter(|zone| zone.header.kind == ZoneKind::PrivateLink);
    let explicit = explicit.map(|zone| zone.header.apex.to_string());
    let zones = settings.selectors.iter().cloned().chain(explicit).collect();
    PublishSettings { ttl: settings.ttl, on_missing: settings.on_missing, zones }
}

/// What is odd about an inventory, each in words. A set: a large one without its interfaces has a remark an endpoint.
fn remarks(desired: &Desired) -> BTreeSet<String> {
    let unplaced = desired.unplaced.iter();
    let unplaced =
        unplaced.map(|name| format!("no private-link zone is known for {} of {}", name.fqdn, name.endpoint));
    desired.warnings.iter().map(ToString::to_string).chain(unplaced).collect()
}

impl Source {
    fn new(settings: directory::Settings) -> Source {
        let why = "it was not read yet".to_owned();
        let state = SourceState::Stale { since: SystemTime::now(), why };
        Source { settings, state, desired: Desired::default(), not_served: Vec::new() }
    }

    fn pass(
        &mut self,
        store: &Store,
        catalogue: &Catalogue,
        publish: &PublishSettings,
    ) -> Result<(), CommitError> {
        let name = &self.settings.name;
        let inventory = match directory::read(&self.settings) {
            Ok(inventory) => inventory,
            Err(cause) => {
                let why = in_full(&cause);
                if !matches!(&self.state, SourceState::Stale { why: told, .. } if *told == why) {
                    error!(source = %name, "Inventory `{name}` stays as it was: {why}");
                }
                self.state = self.state.failed(why);
                return Ok(());
            }
        };
        let now = SystemTime::now();
        let since_secs = now.duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let source: Arc<str> = name.as_str().into();
        let desired = sync::desired(&inventory, catalogue, &source, |_| since_secs);
        let mut counts = (0, 0, 0);
        let committed = store.commit_with(|snapshot| {
            let plan = sync::plan(&desired, &source, publish, catalogue, snapshot);
            counts = (plan.added, plan.replaced, plan.withdrawn);
            self.not_served = plan.not_served;
            Ok(plan.changes)
        })?;
        if !committed.effect.zones.is_empty() {
            let (added, replaced, withdrawn) = counts;
            info!(source = %name, added, replaced, withdrawn,
                "Synced inventory `{name}`: {added} record sets added, {replaced} replaced, {withdrawn} withdrawn");
        }
        let told = remarks(&self.desired);
        for remark in remarks(&desired).difference(&told) {
            warn!(source = %name, "Inventory `{name}`: {remark}");
        }
        self.desired = desired;
        self.state = SourceState::Current { since: now };
        Ok(())
    }
}
