//! The files that config names: what they look like, and which folders are watched for them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tracing::warn;

use super::parts::Parts;
use super::watch::{Depth, Watched};
use crate::config::Config;
use crate::sync::{StateFolder, directory};

/// Links on the way to one file that are followed, as many as Linux follows.
const LINKS_MAX: usize = 40;

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

/// What one file looks like; of one that is not there the path alone is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    pub path: PathBuf,
    /// Where links lead: a folder that is exchanged has files with the same names and perhaps the same times.
    pub real: Option<PathBuf>,
    pub length: Option<u64>,
    pub written: Option<SystemTime>,
}

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
            .retain(|it| it.path.parent() != Some(&config.state_dir) || waiting.contains(&it.path));
    }

    /// Adds the files that zone files include, which are known only when these were read.
    pub fn include(&mut self, parts: &Parts) {
        self.config.extend(parts.zone_files.iter().cloned().map(stamp));
    }

    /// The same with what those looked like before that were known by then: one that changed while it was read is seen to
    /// have two looks, and so is read again.
    pub fn include_since(&mut self, before: &Seen, parts: &Parts) {
        let files: HashSet<&PathBuf> = parts.zone_files.iter().collect();
        let known = before.config.iter().filter(|file| files.contains(&file.path));
        self.config.extend(known.cloned());
        self.include(parts);
    }
}

/// What one file looks like now.
pub(super) fn stamp(path: PathBuf) -> Stamp {
    match std::fs::metadata(&path) {
        Ok(metadata) => Stamp {
            real: path.canonicalize().ok(),
            length: Some(metadata.len()),
            written: metadata.modified().ok(),
            path,
        },
        Err(_) => Stamp { path, ..Stamp::default() },
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

/// The folders of all files that config names, and of those that zone files include, with all that leads there.
pub(super) fn folders(path: &Path, config: &Config, included: &[PathBuf]) -> BTreeMap<PathBuf, Watched> {
    let files = std::iter::once(path).chain(config.files()).chain(included.iter().map(PathBuf::as_path));
    let mut folders = BTreeMap::new();
    for file in files {
        add_way(file, &mut folders);
    }
    for source in &config.sync.sources {
        add_way(&source.path, &mut folders);
        if source.path.is_dir() {
            folders.insert(source.path.clone(), watched(&source.path, Depth::Tree));
        }
    }
    // Confirmations of `sync --once --confirm` come there.
    if has_source(config) && config.state_dir.is_dir() {
        add(config.state_dir.clone(), &mut folders);
    }
    folders
}

/// Adds the folder that holds `path`, that of each link on the way to it, and where something is not there the last that
/// is. A link that is exchanged, as git-sync does, is a change of its own folder alone.
fn add_way(path: &Path, folders: &mut BTreeMap<PathBuf, Watched>) {
    let mut way = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for _ in 0..LINKS_MAX {
        match first_link(&way) {
            Way::Whole(holder) | Way::Broken(holder) => {
                add(holder, folders);
                return;
            }
            Way::Link { holder, target } => {
                add(holder, folders);
                way = target;
            }
        }
    }
}

fn add(folder: PathBuf, folders: &mut BTreeMap<PathBuf, Watched>) {
    let own = watched(&folder, Depth::Folder);
    folders.entry(folder).or_insert(own);
}

fn watched(folder: &Path, depth: Depth) -> Watched {
    Watched { depth, inode: folder.metadata().ok().map(|folder| folder.ino()) }
}

/// What stands first on a way.
enum Way {
    /// No link: it ends in this folder.
    Whole(PathBuf),
    /// Something is not there, and this folder would have it or what leads to it.
    Broken(PathBuf),
    /// A link in this folder, and where the whole way goes with what the link says.
    Link { holder: PathBuf, target: PathBuf },
}

fn first_link(way: &Path) -> Way {
    let mut walked = PathBuf::new();
    let mut steps = way.components();
    while let Some(step) = steps.next() {
        let holder = walked.clone();
        walked.push(step);
        match walked.symlink_metadata() {
            Err(_) => return Way::Broken(holder),
            Ok(found) if found.is_symlink() => {
                let Ok(said) = walked.read_link() else { return Way::Broken(holder) };
                // `..` behind a link is that of where it leads, so it is not to be reckoned by the letter.
                let base = holder.canonicalize().unwrap_or_else(|_| holder.clone());
                return Way::Link { holder, target: base.join(said).join(steps.as_path()) };
            }
            Ok(_) => {}
        }
    }
    walked.pop();
    Way::Whole(walked)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn all_that_leads_to_a_file_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("worktrees/one/zones")).unwrap();
        fs::create_dir_all(root.join("links")).unwrap();
        fs::write(root.join("worktrees/one/zones/a.zone"), "").unwrap();
        symlink("../worktrees/one", root.join("links/current")).unwrap();
        symlink("links/current", root.join("config")).unwrap();
        let way = |path: &str| {
            let mut folders = BTreeMap::new();
            add_way(&root.join(path), &mut folders);
            let inside = folders.keys().filter_map(|it| it.strip_prefix(&root).ok());
            inside.map(|it| it.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(way("config/zones/a.zone"), ["", "links", "links/../worktrees/one/zones"]);
        assert_eq!(way("worktrees/one/zones/a.zone"), ["worktrees/one/zones"]);
        assert_eq!(way("config/zones/missing/a.zone"), ["", "links", "links/../worktrees/one/zones"]);
        symlink("round", root.join("round")).unwrap();
        assert_eq!(way("round/a.zone"), [""]);
    }

    #[test]
    fn a_file_behind_another_link_looks_different_whatever_its_times() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("one")).unwrap();
        fs::write(root.join("one/a"), "x").unwrap();
        fs::create_dir(root.join("two")).unwrap();
        fs::hard_link(root.join("one/a"), root.join("two/a")).unwrap();
        symlink("one", root.join("current")).unwrap();
        let before = stamp(root.join("current/a"));
        assert_eq!(before, stamp(root.join("current/a")));
        symlink("two", root.join("new")).unwrap();
        fs::rename(root.join("new"), root.join("current")).unwrap();
        let after = stamp(root.join("current/a"));
        assert!(before != after && before.length == after.length && before.written == after.written);
        assert_eq!(stamp(root.join("none")), Stamp { path: root.join("none"), ..Stamp::default() });
    }
}
