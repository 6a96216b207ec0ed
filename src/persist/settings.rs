//! Where the store is and how long it remembers.

use std::fmt;
use std::path::{Path, PathBuf};

use super::copying::{self, Idle};
use super::error::PersistError;
use super::target::Target;

/// Changes that the audit keeps: a year of one each half a minute, about 1 GB of single-record changes.
const AUDIT_CHANGES_MAX: u64 = 1_000_000;
/// Days that the audit keeps: a yearly review still sees the last one.
const AUDIT_DAYS_MAX: u32 = 400;

/// What a damaged file of SQLite goes by: `records.db.damaged-1764450000`.
pub const DAMAGED: &str = "damaged";

/// What only a file can do.
const NO_FILE: PersistError = PersistError::Url("PostgreSQL is no file");

/// The store's settings.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `sqlite:FILE` (relative to the state folder) or `postgres://…`.
    pub url: String,
    pub state_dir: PathBuf,
    /// Changes beyond these are forgotten, oldest first; so are those that are too old.
    pub audit_changes_max: u64,
    pub audit_days_max: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            url: "sqlite:records.db".into(),
            state_dir: "/var/lib/privatelink-dns".into(),
            audit_changes_max: AUDIT_CHANGES_MAX,
            audit_days_max: AUDIT_DAYS_MAX,
        }
    }
}

impl Settings {
    /// The database that they name.
    pub(super) fn target(&self) -> Result<Target, PersistError> {
        Target::of(&self.url, &self.state_dir)
    }

    /// Why no store can be opened with these.
    pub fn check(&self) -> Result<(), PersistError> {
        self.target().map(drop)
    }

    /// The file of SQLite.
    pub fn file(&self) -> Option<PathBuf> {
        match self.target() {
            Ok(Target::Sqlite(file)) => Some(file.path().to_owned()),
            _ => None,
        }
    }

    /// Copies a store of SQLite, also while a server writes to it, into a file for our eyes only; the one that was there
    /// is exchanged.
    pub async fn copy(&self, to: &Path) -> Result<(), PersistError> {
        match self.target()? {
            Target::Sqlite(file) => copying::copy(&file, to).await,
            Target::Postgres(_) => Err(NO_FILE),
        }
    }

    /// The damaged store of SQLite that was set aside last, if there is one.
    pub fn damaged(&self) -> Option<PathBuf> {
        let file = self.file()?;
        let start = format!("{}.{DAMAGED}-", file.file_name()?.to_string_lossy());
        let entries = std::fs::read_dir(file.parent()?).ok()?.flatten();
        let is_one = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&start) && !name.ends_with("-wal")
        };
        entries.map(|entry| entry.path()).filter(is_one).max()
    }

    /// The file of SQLite while no server has it.
    pub fn idle(&self) -> Result<Idle, PersistError> {
        match self.target()? {
            Target::Sqlite(file) => Idle::of(file),
            Target::Postgres(_) => Err(NO_FILE),
        }
    }

    /// The address for people: without a password, and without what may hold one.
    pub fn shown(&self) -> String {
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
        let Some((user, host)) = rest.rsplit_once('@') else { return url.to_owned() };
        let user = user.split(':').next().unwrap_or_default();
        format!("{scheme}://{user}@{host}")
    }
}

impl fmt::Debug for Settings {
    /// Without the password.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Settings")
            .field("url", &self.shown())
            .field("state_dir", &self.state_dir)
            .field("audit_changes_max", &self.audit_changes_max)
            .field("audit_days_max", &self.audit_days_max)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (url, shown) in [
            ("sqlite:records.db", "sqlite:records.db"),
            (
                "postgres://dns:se@cr:et@db.internal:5432/dns?password=secret",
                "postgres://dns@db.internal:5432/dns",
            ),
            ("postgresql://db.internal/dns?user=a&password=secret", "postgresql://db.internal/dns"),
        ] {
            let settings = Settings { url: url.into(), ..Settings::default() };
            assert_eq!(settings.shown(), shown);
            assert!(!format!("{settings:?}").contains("secret"));
        }
    }
}
