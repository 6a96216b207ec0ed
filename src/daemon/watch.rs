//! Files that config names, watched: their folders are, because editors and ConfigMaps exchange files whole.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, EventKind, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

/// Changes come in bursts; this long after the last one they are looked at.
const SETTLED: Duration = Duration::from_millis(200);

/// A burst that does not end, such as a log that is written beside the config, is looked at after this long.
const SETTLING_MAX: Duration = Duration::from_secs(2);

/// Tells when one of the watched folders changed.
pub(super) struct Watch {
    /// Watching ends when this is dropped; `None` when the system does not let us.
    _watcher: Option<notify::RecommendedWatcher>,
    changes: mpsc::Receiver<()>,
    /// The first and the last change of a burst that has not settled yet.
    burst: Option<(Instant, Instant)>,
}

impl Watch {
    /// Watches folders; with a folder go those below it, if it says so. `log` is written by this process itself.
    pub(super) fn new(folders: &BTreeMap<PathBuf, Watched>, log: Option<&Path>) -> Watch {
        // One waiting note is enough: it stands for all that happened before it is taken.
        let (sender, changes) = mpsc::channel(1);
        let own = OwnLog::here(log);
        let noted = move |event: notify::Result<Event>| {
            // Reading is no change, and neither our own reading must wake us nor what we say about it.
            let is_change =
                |event: Event| !matches!(event.kind, EventKind::Access(_)) && !own.is_all_of(&event.paths);
            if event.is_ok_and(is_change) {
                // A full channel already holds a note.
                let _ = sender.try_send(());
            }
        };
        let mut watcher = match notify::recommended_watcher(noted) {
            Ok(watcher) => watcher,
            Err(cause) => {
                warn!("Files are not watched, reload with SIGHUP: {cause}");
                return Watch { _watcher: None, changes, burst: None };
            }
        };
        for (folder, watched) in folders {
            let mode = match watched.depth {
                Depth::Folder => RecursiveMode::NonRecursive,
                Depth::Tree => RecursiveMode::Recursive,
            };
            if let Err(cause) = watcher.watch(folder, mode) {
                warn!("{} is not watched, reload with SIGHUP: {cause}", folder.display());
            }
        }
        Watch { _watcher: Some(watcher), changes, burst: None }
    }

    /// Waits for a change, and until no more follow. Who stops waiting loses nothing: the next wait goes on.
    pub(super) async fn changed(&mut self) {
        let (first, mut last) = match self.burst {
            Some(burst) => burst,
            None => {
                if self.changes.recv().await.is_none() {
                    std::future::pending::<()>().await;
                }
                (Instant::now(), Instant::now())
            }
        };
        loop {
            self.burst = Some((first, last));
            let settled = (last + SETTLED).min(first + SETTLING_MAX);
            match tokio::time::timeout_at(settled, self.changes.recv()).await {
                Ok(Some(())) if Instant::now() < settled => last = Instant::now(),
                _ => break,
            }
        }
        self.burst = None;
    }
}

/// The files that this process writes its logs to; they may stand among those that are watched.
#[derive(Default)]
struct OwnLog {
    /// Where standard output and error go, by device and inode: a log that is renamed is still the log.
    streams: Vec<(u64, u64)>,
    /// One that is opened by its name, and made anew at times.
    file: Option<PathBuf>,
}

impl OwnLog {
    fn here(file: Option<&Path>) -> OwnLog {
        let streams = [io::stdout().as_fd().try_clone_to_owned(), io::stderr().as_fd().try_clone_to_owned()];
        let files = streams.into_iter().filter_map(|stream| File::from(stream.ok()?).metadata().ok());
        OwnLog {
            streams: files.filter(Metadata::is_file).map(|file| (file.dev(), file.ino())).collect(),
            file: file.and_then(|file| std::path::absolute(file).ok()),
        }
    }

    /// Whether a change is one of the logs alone.
    fn is_all_of(&self, paths: &[PathBuf]) -> bool {
        let is_stream =
            |path: &Path| path.metadata().is_ok_and(|file| self.streams.contains(&(file.dev(), file.ino())));
        let is_log = |path: &PathBuf| {
            self.file.as_ref() == Some(path) || (!self.streams.is_empty() && is_stream(path))
        };
        !paths.is_empty() && paths.iter().all(is_log)
    }
}

/// A folder that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    pub depth: Depth,
    /// Tells it from another that takes its place: what is watched is the folder, and not its name.
    pub inode: Option<u64>,
}

/// How far down a folder is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    Folder,
    Tree,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_is_not_lost_when_something_else_comes_before_it_has_settled() {
        let (sender, changes) = mpsc::channel(1);
        let mut watch = Watch { _watcher: None, changes, burst: None };
        let start = Instant::now();
        sender.send(()).await.unwrap();
        for _ in 0..3 {
            tokio::time::timeout(SETTLED / 4, watch.changed()).await.unwrap_err();
        }
        watch.changed().await;
        assert_eq!(start.elapsed(), SETTLED);
        tokio::time::timeout(SETTLING_MAX, watch.changed()).await.unwrap_err();
    }

    #[test]
    fn a_change_of_the_log_alone_is_none_whatever_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let (log, other) = (folder.path().join("log"), folder.path().join("config.toml"));
        let file = File::create(&log).unwrap().metadata().unwrap();
        File::create(&other).unwrap();
        let own = OwnLog { streams: vec![(file.dev(), file.ino())], file: None };
        assert!(own.is_all_of(std::slice::from_ref(&log)));
        assert!(!own.is_all_of(&[]) && !own.is_all_of(&[log.clone(), other.clone()]));
        let renamed = folder.path().join("log.1");
        std::fs::rename(&log, &renamed).unwrap();
        assert!(
            own.is_all_of(&[renamed])
                && !own.is_all_of(std::slice::from_ref(&log))
                && !own.is_all_of(&[other])
        );
        let own = OwnLog { file: Some(log.clone()), ..OwnLog::default() };
        assert!(own.is_all_of(&[log]) && !own.is_all_of(&[folder.path().join("log.1")]));
    }

    #[tokio::test(start_paused = true)]
    async fn changes_that_never_end_are_looked_at_all_the_same() {
        let (sender, changes) = mpsc::channel(1);
        let mut watch = Watch { _watcher: None, changes, burst: None };
        let writes = tokio::spawn(async move {
            while sender.send(()).await.is_ok() {
                tokio::time::sleep(SETTLED / 2).await;
            }
        });
        let start = Instant::now();
        watch.changed().await;
        assert_eq!(start.elapsed(), SETTLING_MAX);
        writes.abort();
    }
}
