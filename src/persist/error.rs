//! Why the store did not do what it was asked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::entry::Subject;

/// When a caller may try again: a PostgreSQL that fails over is back after some seconds, one that restarts within two.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// A variant tells what to do: repeat it later, read anew, correct the settings, call a person.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The address in the settings.
    #[error("`store.url` is no address of a store: {0}")]
    Url(&'static str),
    /// Nothing was stored; the database is gone, full or busy.
    #[error("the store is not available, nothing was stored; try again in {} s", retry_after.as_secs())]
    Unavailable {
        retry_after: Duration,
        #[source]
        source: Option<Arc<sqlx::Error>>,
    },
    /// Nothing was stored: there is no store, or it cannot be opened.
    #[error("{why}; nothing was stored")]
    Away { why: Arc<str>, retry_after: Duration },
    /// Nothing was stored, and nothing can be until somebody makes room.
    #[error("the disk of the store is full, nothing was stored; make room on it and try again")]
    Full {
        retry_after: Duration,
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// The database went away in the very moment of committing.
    #[error("the store went away while it stored this: whether it is stored is not known")]
    Unsettled {
        retry_after: Duration,
        #[source]
        source: Option<Arc<sqlx::Error>>,
    },
    /// Another change came first; nothing was stored.
    #[error("{on} is not as expected: {}", match found { Some(revision) => format!("it is at revision {revision}"), None => "it does not exist".into() })]
    Precondition { on: Subject, found: Option<u64> },
    /// An idempotency key came again with another request; nothing was stored.
    #[error("this idempotency key was used for another request")]
    KeyReused,
    /// More than one commit may hold; nothing was stored.
    #[error("{what} of one commit: {found} is more than {most}")]
    TooLarge { what: &'static str, found: usize, most: usize },
    /// A newer program has been here.
    #[error(
        "the store has version {found} of the schema, and this program knows only {known}: run the newer program, or restore a backup from before it"
    )]
    Newer { found: i64, known: i64 },
    /// SQLite serves one process.
    #[error("{} is in use by another process; several instances need PostgreSQL", path.display())]
    InUse { path: PathBuf },
    /// The folder or file of SQLite.
    #[error("cannot open {}: {cause}", path.display())]
    File { path: PathBuf, cause: std::io::Error },
    /// What is to be made is there.
    #[error("{} is there already", path.display())]
    Exists { path: PathBuf },
    /// A row that this program did not write like this.
    #[error("the store is damaged: {what}: {reason}")]
    Damaged { what: String, reason: String },
    /// The database refuses.
    #[error("the database refuses")]
    Database(#[source] Arc<sqlx::Error>),
}

impl PersistError {
    pub(super) fn unavailable(source: Option<sqlx::Error>) -> PersistError {
        PersistError::Unavailable { retry_after: RETRY_AFTER, source: source.map(Arc::new) }
    }

    pub(super) fn away(why: &Arc<str>) -> PersistError {
        PersistError::Away { why: Arc::clone(why), retry_after: RETRY_AFTER }
    }

    /// The same for everyone who waits for one transaction, as far as it can be told twice.
    pub(super) fn for_another(&self) -> PersistError {
        match self {
            PersistError::Unavailable { retry_after, source } => {
                PersistError::Unavailable { retry_after: *retry_after, source: source.clone() }
            }
            PersistError::Full { retry_after, source } => {
                PersistError::Full { retry_after: *retry_after, source: source.clone() }
            }
            PersistError::Database(source) => PersistError::Database(source.clone()),
            PersistError::Damaged { what, reason } => {
                PersistError::Damaged { what: what.clone(), reason: reason.clone() }
            }
            _ => PersistError::unavailable(None),
        }
    }

    /// What failed while the commit itself was under way: nobody can say what it did.
    pub(super) fn unsettled(self) -> PersistError {
        let source = match self {
            PersistError::Unavailable { source, .. } => source,
            PersistError::Database(source) => Some(source),
            _ => None,
        };
        PersistError::Unsettled { retry_after: RETRY_AFTER, source }
    }

    /// Whether trying again later may help.
    pub fn is_passing(&self) -> bool {
        use PersistError::{Away, Unavailable, Unsettled};
        self.is_full() || matches!(self, Unavailable { .. } | Unsettled { .. } | Away { .. })
    }

    /// Whether the file itself is damaged: no second try helps.
    pub fn is_damage(&self) -> bool {
        match self {
            PersistError::Damaged { .. } => true,
            PersistError::Database(source) => {
                let code = source.as_database_error().and_then(|error| error.code());
                // The low byte is the kind: CORRUPT, NOTADB.
                let kind = code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
                matches!(kind, Some(11 | 26))
            }
            _ => false,
        }
    }

    /// Whether it is for want of room: then a commit has surely failed.
    pub fn is_full(&self) -> bool {
        matches!(self, PersistError::Full { .. })
    }
}

impl From<sqlx::Error> for PersistError {
    fn from(error: sqlx::Error) -> PersistError {
        if is_full(&error) {
            PersistError::Full { retry_after: RETRY_AFTER, source: Arc::new(error) }
        } else if is_passing(&error) {
            PersistError::unavailable(Some(error))
        } else {
            PersistError::Database(Arc::new(error))
        }
    }
}

/// SQLite's FULL, PostgreSQL's disk_full.
fn is_full(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| matches!(&*code, "13" | "53100"))
}

fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_passing_code(&code)),
        _ => false,
    }
}

/// PostgreSQL's five letters, or SQLite's extended number.
fn is_passing_code(code: &str) -> bool {
    // SQLite's are at most four digits.
    if code.len() == 5 {
        // Connection, resources, operator intervention, system; a conflict; a lock; a standby that is read-only.
        return ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))
            || matches!(code, "40001" | "40P01" | "55P03" | "25006" | "25P03");
    }
    // The low byte is the kind: BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL.
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14 | 15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_stays() {
        for code in ["57P01", "57P03", "08006", "53300", "55P03", "5", "13", "778", "25006"] {
            assert!(is_passing_code(code), "{code}");
        }
        for code in ["23505", "22021", "42P01", "1", "11", "19", "1555", "2067"] {
            assert!(!is_passing_code(code), "{code}");
        }
    }
}
