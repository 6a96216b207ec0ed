//! Copies of SQLite's file: taken while others write, and looked at before they take its place.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::database::{Connection, Value};
use super::error::PersistError;
use super::migrate::{self, KNOWN_VERSION};
use super::sqlite::{SqliteFile, empty_log, with_suffix};
use super::tables;

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyContent {
    /// Of the schema.
    pub version: i64,
    pub revision: u64,
    /// Zones, record sets, forwarders and tokens.
    pub entries: usize,
}

/// SQLite's file when no server has it: while this lives none can open it.
pub struct Idle {
    file: SqliteFile,
    _lock: File,
}

/// Copies the store into a file that is made, or exchanged, for our eyes only: as it is at one revision, also while a
/// server writes to it. The copy is one file without a log.
pub(super) async fn copy(file: &SqliteFile, to: &Path) -> Result<(), PersistError> {
    let failed = |cause| PersistError::File { path: to.to_owned(), cause };
    // SQLite takes an empty file for one that is not there, and leaves it its mode.
    File::options().write(true).create(true).truncate(true).mode(0o600).open(to).map_err(failed)?;
    let mut connection = file.connect().await?;
    // One transaction that reads: those who write go on.
    let sql = "VACUUM INTO $1";
    let copied = connection.execute(sql, vec![Value::text(to.to_string_lossy())]).await;
    connection.close().await;
    copied?;
    File::open(to).and_then(|file| file.sync_all()).map_err(failed)
}

/// Reads a copy from end to end: whether it is whole, ours, and not of a newer program. What lies in a log beside it is
/// moved into it, and an older schema is brought up to date.
pub async fn examine(copy: &Path) -> Result<CopyContent, PersistError> {
    let options = SqliteConnectOptions::new().filename(copy).disable_statement_logging();
    let mut connection = Connection::Sqlite(Box::new(options.connect().await?));
    let held = async {
        let damaged = |reason: String| PersistError::Damaged { what: copy.display().to_string(), reason };
        let rows = connection.rows("PRAGMA quick_check(1)", Vec::new()).await?;
        let word = rows.first().map_or(Ok(String::new()), |row| row.text(0))?;
        if word != "ok" {
            return Err(damaged(word));
        }
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name IN ('schema_version', 'entries', 'counter')";
        if connection.rows(sql, Vec::new()).await?.first().map_or(Ok(0), |row| row.int(0))? != 3 {
            return Err(damaged("it is no store of privatelink-dns".to_owned()));
        }
        migrate::migrate(&mut connection).await?;
        let stored = tables::load(&mut connection).await?;
        empty_log(&mut connection).await?;
        Ok(CopyContent { version: KNOWN_VERSION, revision: stored.revision, entries: stored.entries.len() })
    }
    .await;
    connection.close().await;
    held
}

impl Idle {
    /// Keeps servers out; refused while one has it.
    pub(super) fn of(file: SqliteFile) -> Result<Idle, PersistError> {
        let lock = file.lock_others_out()?;
        Ok(Idle { file, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Puts a copy, which was examined, in its place. What was there is kept under this name; answers whether there was
    /// anything. A process that dies within it leaves the one or the other.
    pub async fn exchange(&self, copy: &Path, kept: &Path) -> Result<bool, PersistError> {
        let failed = |cause| PersistError::File { path: self.path().to_owned(), cause };
        let is_kept = self.keep(kept).await.map_err(failed)?;
        // A log that belongs to another file would be taken for its own.
        self.without_log().map_err(failed)?;
        File::open(copy).and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(copy, self.path()).and_then(|()| self.file.sync_folder()).map_err(failed)?;
        Ok(is_kept)
    }

    /// Moves what is there, and the log beside it, to another name.
    pub fn set_aside(&self, kept: &Path) -> Result<(), PersistError> {
        let failed = |cause| PersistError::File { path: self.path().to_owned(), cause };
        // The log first: without it the file is what it was at its last checkpoint, the log alone is nothing.
        let log = with_suffix(self.path(), "-wal");
        if log.exists() {
            fs::rename(&log, with_suffix(kept, "-wal")).map_err(failed)?;
        }
        fs::rename(self.path(), kept).map_err(failed)?;
        self.without_log().and_then(|()| self.file.sync_folder()).map_err(failed)
    }

    /// Gives what is there, and the log beside it, a second name.
    async fn keep(&self, kept: &Path) -> io::Result<bool> {
        if !self.path().try_exists()? {
            return Ok(false);
        }
        // What can be opened has its log moved into it.
        if let Ok(mut connection) = self.file.connect().await {
            let _ = empty_log(&mut connection).await;
            connection.close().await;
        }
        // Some network file systems know no second names.
        fs::hard_link(self.path(), kept).or_else(|_| fs::copy(self.path(), kept).map(drop))?;
        let log = with_suffix(self.path(), "-wal");
        if log.try_exists()? {
            fs::rename(log, with_suffix(kept, "-wal"))?;
        }
        Ok(true)
    }

    fn without_log(&self) -> io::Result<()> {
        for suffix in ["-wal", "-shm"] {
            match fs::remove_file(with_suffix(self.path(), suffix)) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                _ => {}
            }
        }
        Ok(())
    }
}
