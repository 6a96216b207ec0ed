//! The files that config names: what they look like, and which folders are watched for them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tracing::warn;

use super::parts::Parts;
use super::watch::Depth;
use crate::config::Config;
use crate::sync::{StateFolder, directory};

/// What the files that config names look like.
#[derive(Default)]
pub(super) struct Seen {
    /// The config itself, zone files and what they include, the catalogue's overlay.
    pub config: BTreeSet<Stamp>,
    /// With the confirmations of what is held back of them.
    pub inventories: BTreeSet<Stamp>,
    /// Confirmations of what is held back of live Azure.
    pub azure_confirmations: BTreeSet<Stamp>,
}

/// A file, its length and when it was last written.
pub(super) type Stamp = (PathBuf, u64, Option<SystemTime>);

impl Seen {
    /// What the files look like now.
    pub fn now(path: &Path, config: &Config) -> Seen {
        let files = std::iter::once(path).chain(config.files());
        let sources = config.sync.sources.iter();
        // A folder that cannot be read looks empty; reading it then tells what is wrong.
        let inventories = sources.flat_map(|source| directory::files_below(&source.path).unwrap_or_default());
        let state = StateFolder::new(&config.state_dir);
        let of_azure: BTreeSet<PathBuf> =
            config.sync.azure.iter().map(|source| state.confirmation_file(&source.name)).collect();
        let (of_azure, others): (Vec<PathBuf>, Vec<PathBuf>) =
            state.confirmation_files().into_iter().partition(|file| of_azure.contains(file));
        Seen {
            config: files.map(Path::to_owned).map(stamp).collect(),
            inventories: inventories.chain(others).map(stamp).collect(),
            azure_confirmations: of_azure.into_iter().map(stamp).collect(),
        }
    }

    /// Confirmations that were followed are gone, and that is no news.
    pub fn forget_followed(&mut self, config: &Config) {
        let waiting = StateFolder::new(&config.state_dir).confirmation_files();
        self.inventories
            .retain(|(path, ..)| path.parent() != Some(&config.state_dir) || waiting.contains(path));
    }

    /// Adds the files that zone files include, which are known only when these were read.
    pub fn include(&mut self, parts: &Parts) {
        self.config.extend(parts.zone_files.iter().cloned().map(stamp));
    }
}

/// What one file looks like.
pub(super) fn stamp(file: PathBuf) -> Stamp {
    match std::fs::metadata(&file) {
        Ok(metadata) => (file, metadata.len(), metadata.modified().ok()),
        Err(_) => (file, u64::MAX, None),
    }
}

/// Makes `state_dir` before it is watched.
pub(super) fn make_state_folder(config: &Config) {
    if (has_source(config) || config.admin.has_store())
        && let Err(cause) = StateFolder::new(&config.state_dir).create()
    {
        warn!("A restart will not know what is served now: {cause}; see state_dir");
    }
}

/// Whether there is anything to keep in `state_dir`.
fn has_source(config: &Config) -> bool {
    !config.sync.sources.is_empty() || !config.sync.azure.is_empty()
}

/// The folders of all files that config names.
pub(super) fn folders(path: &Path, config: &Config) -> Vec<(PathBuf, Depth)> {
    let files = std::iter::once(path).chain(config.files());
    let mut folders: Vec<(PathBuf, Depth)> = files
        .map(|file| match file.parent() {
            Some(folder) if folder != Path::new("") => (folder.to_owned(), Depth::Folder),
            _ => (PathBuf::from("."), Depth::Folder),
        })
        .collect();
    folders.extend(config.sync.sources.iter().map(|source| (source.path.clone(), Depth::Tree)));
    // Confirmations of `sync --once --confirm` come there.
    if has_source(config) && config.state_dir.is_dir() {
        folders.push((config.state_dir.clone(), Depth::Folder));
    }
    folders.sort_by(|one, other| one.0.cmp(&other.0));
    folders.dedup_by(|one, other| one.0 == other.0 && one.1 == other.1);
    folders
}
