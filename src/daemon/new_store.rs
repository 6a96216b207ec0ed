//! An empty store where one was lost, and operators have no backup of it.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::persist::{self, Persist, PersistError, examine};
use crate::sync::state::free_name;
use crate::sync::{StateError, StateFolder};

/// What an old store that cannot be used goes by.
const KEPT_AS: &str = "before-new";

/// A store that was made.
#[derive(Debug)]
pub struct MadeStore {
    pub path: PathBuf,
    /// What was there before, under another name.
    pub kept: Option<PathBuf>,
}

/// Why none was made.
#[derive(Debug, thiserror::Error)]
pub enum NewStoreError {
    #[error("the store is {0}: its database makes it, and the first start of a server the tables in it")]
    Postgres(String),
    #[error("a server runs over {}: stop it first", .0.display())]
    Running(PathBuf),
    #[error(
        "{} is in order, {entries} entries at revision {revision}: nothing was changed; move it away to begin without it",
        path.display()
    )]
    InOrder { path: PathBuf, entries: usize, revision: u64 },
    #[error("the store cannot be made")]
    Store(#[from] PersistError),
    #[error("state_dir cannot be made")]
    Folder(#[from] StateError),
}

/// Makes an empty store. One that is there and cannot be used is kept under another name.
pub async fn make_store(config: &Config) -> Result<MadeStore, NewStoreError> {
    let settings = &config.admin.store;
    if settings.file().is_none() {
        return Err(NewStoreError::Postgres(settings.shown()));
    }
    StateFolder::new(&config.state_dir).create()?;
    let idle = match settings.idle() {
        Ok(idle) => idle,
        Err(PersistError::InUse { path }) => return Err(NewStoreError::Running(path)),
        Err(error) => return Err(error.into()),
    };
    let path = idle.path().to_owned();
    if path.exists()
        && let Ok(held) = examine(&path).await
    {
        return Err(NewStoreError::InOrder { path, entries: held.entries, revision: held.revision });
    }
    // Made whole beside its place: a server that waits for it must not find half of it.
    let beside = free_name(&path, "new");
    let new = beside.file_name().unwrap_or_default().to_string_lossy();
    let url = format!("sqlite:{new}");
    let made = persist::Settings { url, state_dir: folder_of(&path), ..settings.clone() };
    let persist = Persist::open(&made).await?;
    persist.close().await;
    let kept = free_name(&path, KEPT_AS);
    let is_kept = idle.exchange(&beside, &kept).await?;
    let mut lock = beside.into_os_string();
    lock.push(".lock");
    // Of the file that was made beside; nobody knows it.
    let _ = std::fs::remove_file(lock);
    Ok(MadeStore { path, kept: is_kept.then_some(kept) })
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().map_or_else(|| PathBuf::from("/"), PathBuf::from)
}
