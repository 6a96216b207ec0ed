//! From config to the parts that answer: zones, catalogue, cache, forwarder, responder.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::Rng;

use super::serving::{forward_over, serving};
use super::surroundings::Surroundings;
use crate::cache::Cache;
use crate::config::Config;
use crate::dns::Name;
use crate::forward::Forwarder;
use crate::ledger::{Bases, Written};
use crate::machine::at_once;
use crate::observe::Tap;
use crate::respond::Responder;
use crate::sources::{self, Settings, Sources, StateAccess};
use crate::sync::azure::Resolver;
use crate::sync::{self, PublishSettings};
use crate::zone::{
    Author, Change, ChangeSet, MasterFile, MasterFileErrors, MasterFileWarning, NetworkError, Networks,
    Overlay, Snapshot, Store, Unwitnessed, Witness, Zone, ZoneError, ZoneHeader, ZoneKind, changes_of_file,
    changes_that_make_room, faults_of_file,
};

/// All that answers, without sockets.
pub struct Parts {
    pub store: Arc<Store>,
    pub responder: Arc<Responder>,
    pub sources: Sources,
    /// What operators wrote, which lies over what config says.
    pub written: Arc<Written>,
    pub(super) surroundings: Arc<Surroundings>,
    /// All files that zones were read from, included ones too.
    pub zone_files: Vec<PathBuf>,
    /// What was read of them in another way than it is written.
    pub zone_warnings: Vec<MasterFileWarning>,
}

/// Why config cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    MasterFile(#[from] MasterFileErrors),
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// What single files say is wrong together, each of them listed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    ZoneFiles(Vec<MasterFileErrors>),
    #[error(transparent)]
    Commit(#[from] ZoneError),
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
        Parts::restore_under(config, access, Arc::default(), Box::new(Unwitnessed))
    }

    /// The same below what operators wrote; their records themselves are the applier's to serve.
    pub fn restore_under(
        config: &Config,
        access: StateAccess,
        written: Arc<Written>,
        witness: Box<dyn Witness>,
    ) -> Result<Parts, LoadError> {
        let store = Arc::new(Store::new(witness));
        let files = read_zone_files(config)?;
        commit_zones(config, &files, &store, &written)?;
        let (zone_files, zone_warnings) = (paths(&files), warnings(&files));
        drop(files);
        give_back(&store);
        let mut sources =
            Sources::new(&source_settings(config), access, &(Arc::clone(&written) as Arc<dyn Overlay>));
        sources.restore(&store);
        let cache = Arc::new(Cache::new(config.cache.clone()));
        let tap = Arc::<Tap>::default();
        let forward = forward_over(written.rules(), config);
        let forwarder = Forwarder::observed(forward, Arc::clone(&cache), Arc::clone(&tap));
        let serving = serving(config, cache, forwarder, None);
        let responder = Responder::new(Arc::clone(&store), serving, rand::rng().random());
        let responder = Arc::new(responder.observed_by(tap));
        let surroundings = Surroundings::new(config, &responder, &written, sources.shared());
        Ok(Parts { store, responder, sources, written, surroundings, zone_files, zone_warnings })
    }

    /// Goes on with another config. On an error nothing is changed.
    pub fn reload(&mut self, new: &Config) -> Result<(), LoadError> {
        self.reload_under(new, |parts, files| parts.exchange(new, files))
    }

    /// The same, where `exchange` has [`Parts::exchange`] done with nothing of what operators write between.
    pub(super) fn reload_under(
        &mut self,
        new: &Config,
        exchange: impl FnOnce(&Parts, &[ZoneFile<'_>]) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        let files = read_zone_files(new)?;
        exchange(self, &files)?;
        self.zone_files = paths(&files);
        self.zone_warnings = warnings(&files);
        drop(files);
        give_back(&self.store);
        self.sources.configure(&source_settings(new));
        self.sources.republish(&self.store)?;
        self.sync()
    }

    /// Serves the zones of another config, and all else it says of answering.
    pub(super) fn exchange(&self, new: &Config, files: &[ZoneFile<'_>]) -> Result<(), LoadError> {
        commit_zones(new, files, &self.store, &self.written)?;
        self.surroundings.configure(new);
        Ok(())
    }

    /// Gives back what the sources' last good state took on its way into the zones.
    pub(super) fn give_back(&self) {
        give_back(&self.store);
    }

    /// Reads the inventories and publishes what they say.
    pub fn sync(&mut self) -> Result<(), LoadError> {
        Ok(self.sources.pass(&self.store)?)
    }
}

/// What config says of sources, and of what they publish.
fn source_settings(config: &Config) -> Settings {
    let settings = &config.private_link;
    let explicit = config.zones.iter().filter(|zone| zone.header.kind == ZoneKind::PrivateLink);
    let explicit = explicit.map(|zone| zone.header.apex.to_string());
    let publish = PublishSettings {
        ttl: settings.ttl,
        on_missing: settings.on_missing,
        zones: settings.selectors.iter().cloned().chain(explicit).collect(),
        addresses: settings.addresses.clone(),
        made: BTreeSet::new(),
        allow_subscriptions: config.sync.allow_subscriptions.clone(),
        withdraw_max_percent: config.sync.withdraw_max_percent,
        configured: config.zones.iter().map(|zone| (zone.header.apex.clone(), zone.header.clone())).collect(),
    };
    Settings {
        directories: config.sync.sources.clone(),
        azure: config.sync.azure.clone(),
        interval: config.sync.interval,
        publish,
        catalogue: Arc::clone(&settings.catalogue),
        state_dir: config.state_dir.clone(),
        resolver: Resolver::of(&config.azure_hosts()),
    }
}

/// A zone, its file's path, and what the file says.
pub(super) type ZoneFile<'c> = (&'c ZoneHeader, &'c Path, MasterFile);

fn read_zone_files(config: &Config) -> Result<Vec<ZoneFile<'_>>, LoadError> {
    let zones: Vec<_> =
        config.zones.iter().filter_map(|zone| Some((&zone.header, zone.file.as_deref()?))).collect();
    let read = |(header, file): &(&ZoneHeader, &Path)| MasterFile::read(file, &header.apex, config.folder());
    let files = at_once(&zones, read);
    // Of several faults the first file's is told.
    zones.into_iter().zip(files).map(|((header, file), read)| Ok((header, file, read?))).collect()
}

/// All files that were read, included ones too.
fn paths(files: &[ZoneFile<'_>]) -> Vec<PathBuf> {
    files.iter().flat_map(|(.., file)| &file.files).map(|file| file.to_path_buf()).collect()
}

/// What was read in another way than it is written; each is logged.
fn warnings(files: &[ZoneFile<'_>]) -> Vec<MasterFileWarning> {
    let warnings: Vec<_> = files.iter().flat_map(|(.., file)| file.warnings.iter().cloned()).collect();
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    warnings
}

/// Gives back what zone files took on their way into the zones: several times what the zones take.
fn give_back(store: &Store) {
    sources::give_back(store.snapshot().zones().map(|(_, zone)| zone.len()).sum());
}

/// Commits networks, private-link zones and zone files as one change.
fn commit_zones(
    config: &Config,
    files: &[ZoneFile<'_>],
    store: &Store,
    written: &Written,
) -> Result<(), LoadError> {
    let networks = Arc::new(Networks::new(config.networks.clone(), config.prefer.clone())?);
    let headers = private_link_headers(config);
    let configured: BTreeSet<&Name> = headers
        .iter()
        .map(|header| &header.apex)
        .chain(config.zones.iter().map(|zone| &zone.header.apex))
        .collect();
    // Operators' settings lie over those of config: else each reload would show the zones without them for a moment.
    let over = |header: &ZoneHeader| written.header_over(header);
    let committed = store.commit_with(Author::Config, |old| {
        let mut changes = Vec::new();
        if **old.networks() != *networks {
            changes.push(Change::SetNetworks(Arc::clone(&networks)));
        }
        if old.keeps_reverse() != config.private_link.reverse {
            changes.push(Change::SetReverse { kept: config.private_link.reverse });
        }
        for (apex, zone) in old.zones().filter(|(apex, _)| !configured.contains(apex)) {
            let is_private_link = zone.header().kind == ZoneKind::PrivateLink;
            // A private-link zone that endpoints filled goes when they are withdrawn.
            let is_filled = is_private_link && !zone.is_empty();
            if is_filled || is_imported(zone, &networks) || written.makes(apex) {
                let header = match is_private_link {
                    true => usual_header(config, apex),
                    false => ZoneHeader::plain(apex.clone()),
                };
                let header = header_with_links(header, config, old, &networks);
                changes.extend(without_file(&over(&header), old)?);
            } else {
                changes.push(Change::DropZone(apex.clone()));
            }
        }
        for header in
            headers.iter().filter(|header| !files.iter().any(|(other, ..)| other.apex == header.apex))
        {
            match config.zones.iter().any(|zone| zone.header.apex == header.apex) {
                true => changes.extend(without_file(&over(header), old)?),
                false => {
                    let header = header_with_links(header.clone(), config, old, &networks);
                    changes.extend(without_file(&over(&header), old)?);
                }
            }
        }
        // A plain zone without a file is there as long as it is imported.
        for zone in config.zones.iter().filter(|it| it.file.is_none() && it.header.kind == ZoneKind::Plain) {
            let apex = &zone.header.apex;
            match old.zone(apex.borrow()) {
                Some(there) if is_imported(there, &networks) || written.makes(apex) => {
                    changes.extend(without_file(&over(&zone.header), old)?);
                }
                Some(_) => changes.push(Change::DropZone(apex.clone())),
                None => {}
            }
        }
        for (header, _, file) in files {
            // An operator's record does not keep a file from being read: the applier shows that it is not served.
            changes.extend(changes_that_make_room(file, old));
            changes.extend(changes_of_file(file, over(header), old)?);
        }
        Ok(ChangeSet { changes })
    });
    match committed {
        Ok(_) => Ok(()),
        Err(cause) => {
            let faults = files.iter().filter_map(|(header, _, file)| faults_of_file(file, header));
            let faults: Vec<MasterFileErrors> = faults.collect();
            match faults.is_empty() {
                true => Err(cause.into()),
                false => Err(LoadError::ZoneFiles(faults)),
            }
        }
    }
}

/// The zones of config without what operators set of them, and with the links of what is imported into them.
pub(super) fn bases(config: &Config, snapshot: &Snapshot) -> Bases {
    let mut zones: HashMap<Name, ZoneHeader> = HashMap::new();
    for header in private_link_headers(config) {
        let header = header_with_links(header, config, snapshot, snapshot.networks());
        zones.insert(header.apex.clone(), header);
    }
    // What `[[zone]]` says goes before links. One without a file is there only while it is imported.
    let named =
        config.zones.iter().filter(|zone| zone.file.is_some() || zone.header.kind == ZoneKind::PrivateLink);
    zones.extend(named.map(|zone| (zone.header.apex.clone(), zone.header.clone())));
    Bases { zones, private_link_on_missing: Some(config.private_link.on_missing) }
}

/// Whether one of Azure's zones stays imported into a zone.
fn is_imported(zone: &Zone, networks: &Networks) -> bool {
    zone.azure_zones().any(|azure| sync::private_dns::is_ours(azure, networks))
}

/// A header as the links of what is imported into its zone want it: a reload leaves that as it is.
fn header_with_links(header: ZoneHeader, config: &Config, old: &Snapshot, networks: &Networks) -> ZoneHeader {
    let Some(zone) = old.zone(header.apex.borrow()) else { return header };
    let imported = zone.azure_zones().map(|azure| &**azure);
    sync::imported_header(header, imported, networks, &config.private_link.catalogue).0
}

/// What makes a zone without a file: what one said of it before, it says no more.
fn without_file(header: &ZoneHeader, old: &Snapshot) -> Result<Vec<Change>, ZoneError> {
    changes_of_file(&MasterFile::empty(&header.apex), header.clone(), old)
}

/// A private-link zone that no `[[zone]]` speaks of.
fn usual_header(config: &Config, apex: &Name) -> ZoneHeader {
    ZoneHeader { on_missing: config.private_link.on_missing, ..ZoneHeader::private_link(apex.clone()) }
}

/// The private-link zones of config, each as its `[[zone]]`, if any, wants it.
fn private_link_headers(config: &Config) -> Vec<ZoneHeader> {
    let of_apex = |apex: &Name| {
        let configured = config.zones.iter().find(|zone| zone.header.apex == *apex);
        configured.map_or_else(|| usual_header(config, apex), |zone| zone.header.clone())
    };
    let mut headers: Vec<ZoneHeader> = config.private_link.zones.iter().map(of_apex).collect();
    for zone in config.zones.iter().filter(|zone| zone.header.kind == ZoneKind::PrivateLink) {
        if !headers.contains(&zone.header) {
            headers.push(zone.header.clone());
        }
    }
    headers
}
