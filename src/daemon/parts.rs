//! From config to the parts that answer: zones, catalogue, cache, forwarder, responder.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use rand::Rng;

use super::sources::{Sources, StateAccess};
use crate::answer::{self, Rules};
use crate::cache::Cache;
use crate::config::{Config, ZoneSettings};
use crate::dns::Name;
use crate::forward::Forwarder;
use crate::respond::{Responder, Serving};
use crate::zone::{
    Change, ChangeSet, CommitError, MasterFile, MasterFileError, NetworkError, Networks, Store, Unjournaled,
    ZoneError, ZoneHeader, ZoneKind, changes_of_file,
};

/// All that answers, without sockets.
pub struct Parts {
    pub store: Arc<Store>,
    pub responder: Arc<Responder>,
    pub sources: Sources,
    /// All files that zones were read from, included ones too.
    pub zone_files: Vec<PathBuf>,
}

/// Why config cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    MasterFile(#[from] MasterFileError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error("zone file {file}: {cause}")]
    Zone { file: String, cause: ZoneError },
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl Parts {
    /// Makes the parts as a server would have them; call it inside a runtime. Reads zone files and inventories.
    pub fn load(config: &Config) -> Result<Parts, LoadError> {
        let mut parts = Parts::restore(config, StateAccess::Look)?;
        parts.sources.pass(&parts.store)?;
        Ok(parts)
    }

    /// Makes the parts with what sources had published when that was last kept; no inventory is read.
    pub fn restore(config: &Config, access: StateAccess) -> Result<Parts, LoadError> {
        let store = Arc::new(Store::new(Box::new(Unjournaled)));
        let zone_files = load_zones(config, &store)?;
        let mut sources = Sources::new(config, access);
        sources.restore(&store);
        let cache = Arc::new(Cache::new(config.cache.clone()));
        let forwarder = Forwarder::new(config.forward.clone(), Arc::clone(&cache));
        let serving = serving(config, cache, forwarder);
        let responder = Arc::new(Responder::new(Arc::clone(&store), serving, rand::rng().random()));
        Ok(Parts { store, responder, sources, zone_files })
    }

    /// Goes on with another config. On an error nothing is changed.
    pub fn reload(&mut self, old: &Config, new: &Config) -> Result<(), LoadError> {
        let before = self.responder.serving();
        // What upstreams said may no longer hold when others are asked; else what is known of them stays.
        let (cache, forwarder) = if old.cache == new.cache && old.forward == new.forward {
            (Arc::clone(&before.cache), Arc::clone(&before.forwarder))
        } else {
            let cache = Arc::new(Cache::new(new.cache.clone()));
            let forwarder = Forwarder::new(new.forward.clone(), Arc::clone(&cache));
            (cache, forwarder)
        };
        let serving = serving(new, cache, forwarder);
        self.zone_files = load_zones(new, &self.store)?;
        self.responder.replace(serving);
        self.sources.configure(new);
        self.sources.republish(&self.store)?;
        self.sync()
    }

    /// Reads the inventories and publishes what they say.
    pub fn sync(&mut self) -> Result<(), LoadError> {
        Ok(self.sources.pass(&self.store)?)
    }
}

fn serving(config: &Config, cache: Arc<Cache>, forwarder: Arc<Forwarder>) -> Serving {
    let rules = Rules::new(answer::Settings {
        access: config.access.clone(),
        public_names: config.private_link.public_names,
        forwarded: config.forward.rules.iter().map(|rule| rule.domain.clone()).collect(),
        catalogue: Arc::clone(&config.private_link.catalogue),
    });
    Serving { rules, cache, forwarder }
}

/// Commits networks, private-link zones and zone files as one change; answers all files that were read.
fn load_zones(config: &Config, store: &Store) -> Result<Vec<PathBuf>, LoadError> {
    let networks = Arc::new(Networks::new(config.networks.clone(), config.prefer.clone())?);
    let headers = private_link_headers(config);
    let folder = config.folder();
    let mut files = Vec::new();
    for zone in &config.zones {
        if let Some(file) = &zone.file {
            files.push((zone, MasterFile::read(file, &zone.header.apex, folder)?));
        }
    }
    let configured: BTreeSet<&Name> = headers
        .iter()
        .map(|header| &header.apex)
        .chain(config.zones.iter().map(|zone| &zone.header.apex))
        .collect();
    let mut at_fault = None;
    let committed = store.commit_with(|old| {
        let mut changes = Vec::new();
        if **old.networks() != *networks {
            changes.push(Change::SetNetworks(Arc::clone(&networks)));
        }
        for (apex, zone) in old.zones() {
            // A private-link zone that endpoints filled goes when they are withdrawn.
            let is_filled = zone.header().kind == ZoneKind::PrivateLink && !zone.is_empty();
            if !configured.contains(apex) && !is_filled {
                changes.push(Change::DropZone(apex.clone()));
            }
        }
        for header in &headers {
            if old.zone(header.apex.borrow()).is_none_or(|zone| zone.header() != header) {
                changes.push(Change::SetZone(header.clone()));
            }
        }
        for (zone, file) in &files {
            let of_file = changes_of_file(file, zone.header.clone(), old)
                .and_then(|changes| check_alone(zone, changes, old, &networks))
                .inspect_err(|_| at_fault = zone.file.clone())?;
            changes.extend(of_file);
        }
        Ok(ChangeSet { changes })
    });
    match (committed, at_fault) {
        (Err(CommitError::Zone(cause)), Some(file)) => {
            Err(LoadError::Zone { file: file.display().to_string(), cause })
        }
        (Err(error), _) => Err(error.into()),
        (Ok(_), _) => {
            Ok(files.iter().flat_map(|(_, file)| &file.files).map(|file| file.to_path_buf()).collect())
        }
    }
}

/// Applies a file's changes for themselves, so that an error can name the file.
fn check_alone(
    zone: &ZoneSettings,
    changes: Vec<Change>,
    old: &crate::zone::Snapshot,
    networks: &Arc<Networks>,
) -> Result<Vec<Change>, ZoneError> {
    let mut alone = changes.clone();
    alone.push(Change::SetNetworks(Arc::clone(networks)));
    debug_assert!(zone.file.is_some());
    ChangeSet { changes: alone }.apply(old)?;
    Ok(changes)
}

/// The private-link zones of config, each as its `[[zone]]`, if any, wants it.
fn private_link_headers(config: &Config) -> Vec<ZoneHeader> {
    let of_apex = |apex: &Name| {
        let configured = config.zones.iter().find(|zone| zone.header.apex == *apex);
        let on_missing = config.private_link.on_missing;
        let usual = || ZoneHeader { on_missing, ..ZoneHeader::private_link(apex.clone()) };
        configured.map_or_else(usual, |zone| zone.header.clone())
    };
    let mut headers: Vec<ZoneHeader> = config.private_link.zones.iter().map(of_apex).collect();
    for zone in config.zones.iter().filter(|zone| zone.header.kind == ZoneKind::PrivateLink) {
        if !headers.contains(&zone.header) {
            headers.push(zone.header.clone());
        }
    }
    headers
}
