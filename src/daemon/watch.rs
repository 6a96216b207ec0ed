//! Files that config names, watched: their folders are, because editors and ConfigMaps exchange files whole.

use std::path::PathBuf;
use std::time::Duration;

use notify::{Event, EventKind, RecursiveMode, Watcher};
use tokio::sync::mpsc;
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
}

impl Watch {
    /// Watches folders; with a folder go those below it, if it says so.
    pub(super) fn new(folders: &[(PathBuf, Depth)]) -> Watch {
        // One waiting note is enough: it stands for all that happened before it is taken.
        let (sender, changes) = mpsc::channel(1);
        let noted = move |event: notify::Result<Event>| {
            // Reading is no change, and our own reading must not wake us.
            if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
                // A full channel already holds a note.
                let _ = sender.try_send(());
            }
        };
        let mut watcher = match notify::recommended_watcher(noted) {
            Ok(watcher) => watcher,
            Err(cause) => {
                warn!("Files are not watched, reload with SIGHUP: {cause}");
                return Watch { _watcher: None, changes };
            }
        };
        for (folder, depth) in folders {
            let mode = match depth {
                Depth::Folder => RecursiveMode::NonRecursive,
                Depth::Tree => RecursiveMode::Recursive,
            };
            if let Err(cause) = watcher.watch(folder, mode) {
                warn!("{} is not watched, reload with SIGHUP: {cause}", folder.display());
            }
        }
        Watch { _watcher: Some(watcher), changes }
    }

    /// Waits for a change, and until no more follow.
    pub(super) async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        let settled =
            async { while let Ok(Some(())) = tokio::time::timeout(SETTLED, self.changes.recv()).await {} };
        let _ = tokio::time::timeout(SETTLING_MAX, settled).await;
    }
}

/// How far down a folder is watched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    Folder,
    Tree,
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn changes_that_never_end_are_looked_at_all_the_same() {
        let (sender, changes) = mpsc::channel(1);
        let mut watch = Watch { _watcher: None, changes };
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
