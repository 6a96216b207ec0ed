//! SQLite: a file that one process uses.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use tokio::time::Instant;
use tracing::warn;

use super::database::Connection;
use super::error::PersistError;
use crate::telemetry::in_full;

/// How long a commit waits for someone who opened the file with a tool of their own.
const BUSY_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Rows that SQLite's thread may be ahead of us: fewer hand-overs when all is loaded.
const ROWS_AHEAD: usize = 1_000;

/// The writer's own: a commit of 100,000 records stays in memory until it is written once, and what it wrote is moved
/// from the log to its place when it is answered, not while its caller waits.
const WRITER: &str = "PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 0";
/// Pages that may have been written to the log before they are moved: 16 MB.
const LOG_PAGES: usize = 4_000;
/// How long a change may be in the log alone: a copy of the file without its log lacks no more than that.
const LOG_LASTS: Duration = Duration::from_secs(5);
/// Pages of the log that a transaction, and that a change, fills: their place in three tables and an index.
const PAGES_OF_A_TRANSACTION: usize = 10;
const PAGES_OF_A_CHANGE: usize = 3;

/// How much the log has grown since it was last moved, at a guess, and since when.
#[derive(Default)]
pub(super) struct Log {
    pages: usize,
    since: Option<Instant>,
    /// It could not be moved when that was last tried.
    is_stuck: bool,
}

/// The database file.
#[derive(Debug, Clone)]
pub(super) struct SqliteFile {
    path: PathBuf,
}

impl SqliteFile {
    /// The file of an address without its `sqlite:`.
    pub fn of(rest: &str, state_dir: &Path) -> Result<SqliteFile, PersistError> {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.is_empty() || path.contains([':', '?']) {
            return Err(PersistError::Url("`sqlite:` is followed by the path of a file and nothing else"));
        }
        Ok(SqliteFile { path: state_dir.join(path) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file if it is missing, for our eyes only, and keeps other processes out while the answer lives.
    pub fn lock(&self) -> Result<File, PersistError> {
        let lock = self.lock_others_out()?;
        let failed = |cause| PersistError::File { path: self.path.clone(), cause };
        // SQLite gives its other files the mode of this one.
        open_or_make(&self.path).map_err(failed)?;
        self.sync_folder().map_err(failed)?;
        Ok(lock)
    }

    /// Keeps other processes out while the answer lives, whether there is a file or not.
    pub fn lock_others_out(&self) -> Result<File, PersistError> {
        let failed = |cause| PersistError::File { path: self.path.clone(), cause };
        fs::create_dir_all(self.folder()).map_err(failed)?;
        // A file of its own: closing the database file would drop SQLite's own locks (POSIX).
        let lock = open_or_make(&with_suffix(&self.path, ".lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(PersistError::InUse { path: self.path.clone() }),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Makes what was made or renamed beside it durable.
    pub fn sync_folder(&self) -> io::Result<()> {
        File::open(self.folder()).and_then(|folder| folder.sync_all())
    }

    pub async fn connect_to_write(&self) -> Result<Connection, PersistError> {
        let mut connection = self.connect().await?;
        connection.script(WRITER.into()).await?;
        Ok(connection)
    }

    pub async fn connect(&self) -> Result<Connection, PersistError> {
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .journal_mode(SqliteJournalMode::Wal)
            // Each commit is on the disk when it is answered.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .row_buffer_size(ROWS_AHEAD)
            .disable_statement_logging();
        Ok(Connection::Sqlite(Box::new(options.connect().await?)))
    }
}

fn open_or_make(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

impl Log {
    /// Notes a transaction; answers whether the log should be moved.
    pub fn note(&mut self, changes: usize) -> bool {
        self.pages += PAGES_OF_A_TRANSACTION + PAGES_OF_A_CHANGE * changes;
        self.since.get_or_insert_with(Instant::now);
        self.pages >= LOG_PAGES
    }

    /// When the log should be moved at the latest, if there is anything in it.
    pub fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + LOG_LASTS)
    }

    /// Leaves it for later.
    pub fn put_off(&mut self) {
        self.since = Some(Instant::now());
    }

    /// Moves the log to its place and empties it; readers of an older state leave a rest for the next time, and nobody
    /// waits for them.
    pub async fn move_to_place(&mut self, connection: &mut Connection) {
        (self.pages, self.since) = (0, None);
        let moved = async {
            connection.script("PRAGMA busy_timeout = 0".into()).await?;
            let moved = empty_log(connection).await;
            let timeout = format!("PRAGMA busy_timeout = {}", BUSY_TIMEOUT.as_millis());
            connection.script(timeout.into()).await?;
            moved
        };
        match moved.await {
            Ok(is_empty) => {
                self.is_stuck = false;
                if !is_empty {
                    self.put_off();
                }
            }
            Err(error) => {
                self.put_off();
                if !std::mem::replace(&mut self.is_stuck, true) {
                    warn!(
                        "The store's log cannot be moved to its place, and grows until it can: {}",
                        in_full(&error)
                    );
                }
            }
        }
    }
}

/// Moves all of the log that nobody reads any more, and empties it; answers whether nothing is left in it.
pub(super) async fn empty_log(connection: &mut Connection) -> Result<bool, PersistError> {
    let rows = connection.rows("PRAGMA wal_checkpoint(TRUNCATE)", Vec::new()).await?;
    rows.first().map_or(Ok(true), |row| Ok(row.int(0)? == 0))
}

/// A path with more at its end.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut whole = path.to_owned().into_os_string();
    whole.push(suffix);
    whole.into()
}
