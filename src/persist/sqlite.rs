//! SQLite: a file that one process uses.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use super::database::Connection;
use super::error::PersistError;

/// How long a commit waits for someone who opened the file with a tool of their own.
const BUSY_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Rows that SQLite's thread may be ahead of us: fewer hand-overs when all is loaded.
const ROWS_AHEAD: usize = 1_000;

/// The writer's own: a commit of 100,000 records stays in memory until it is written once, and what it wrote is moved
/// from the log to its place when it is answered, not while its caller waits.
const WRITER: &str = "PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 0";
/// Pages that may have been written to the log before they are moved: 16 MB.
const LOG_PAGES: usize = 4_000;
/// Pages of the log that a transaction, and that a change, fills: their place in three tables and an index.
const PAGES_OF_A_TRANSACTION: usize = 10;
const PAGES_OF_A_CHANGE: usize = 3;

/// How much the log has grown since it was last moved, at a guess.
#[derive(Default)]
pub(super) struct Log {
    pages: usize,
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
        let failed = |cause| PersistError::File { path: self.path.clone(), cause };
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).map_err(failed)?;
        let open = |path: &Path| {
            File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
        };
        // SQLite gives its other files the mode of this one.
        open(&self.path).map_err(failed)?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        // A file of its own: closing the database file would drop SQLite's own locks (POSIX).
        let mut beside = self.path.clone().into_os_string();
        beside.push(".lock");
        let lock = open(Path::new(&beside)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(PersistError::InUse { path: self.path.clone() }),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
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

impl Log {
    /// Notes a transaction; answers whether the log should be moved.
    pub fn note(&mut self, changes: usize) -> bool {
        self.pages += PAGES_OF_A_TRANSACTION + PAGES_OF_A_CHANGE * changes;
        self.pages >= LOG_PAGES
    }

    /// Moves the log to its place; readers of an older state leave a rest for the next time.
    pub async fn move_to_place(&mut self, connection: &mut Connection) -> Result<(), PersistError> {
        self.pages = 0;
        connection.rows("PRAGMA wal_checkpoint(PASSIVE)", Vec::new()).await.map(|_| ())
    }
}
