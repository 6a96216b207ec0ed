//! The database that the settings name.

use std::fs::File;
use std::path::Path;

use super::database::{Connection, Value};
use super::error::PersistError;
use super::postgres::{NOTIFY, PostgresServer};
use super::sqlite::SqliteFile;

/// Tells of each new revision.
pub(super) const CHANGES_CHANNEL: &str = "privatelink_dns_changes";
/// Carries [`super::Persist::nudge`].
pub(super) const NUDGES_CHANNEL: &str = "privatelink_dns_nudges";

/// One of the two databases.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Sqlite(SqliteFile),
    Postgres(PostgresServer),
}

impl Target {
    /// A file's path is relative to the state folder.
    pub fn of(url: &str, state_dir: &Path) -> Result<Target, PersistError> {
        match url.split_once(':') {
            Some(("sqlite", rest)) => SqliteFile::of(rest, state_dir).map(Target::Sqlite),
            Some(("postgres" | "postgresql", _)) => PostgresServer::of(url).map(Target::Postgres),
            _ => Err(PersistError::Url("it begins with `sqlite:` or `postgres://`")),
        }
    }

    /// Whether it is a file of ours alone.
    pub fn is_file(&self) -> bool {
        matches!(self, Target::Sqlite(_))
    }

    /// Keeps other processes out, where the database does not serve several.
    pub fn lock(&self) -> Result<Option<File>, PersistError> {
        match self {
            Target::Sqlite(file) => file.lock().map(Some),
            Target::Postgres(_) => Ok(None),
        }
    }

    pub async fn connect(&self) -> Result<Connection, PersistError> {
        match self {
            Target::Sqlite(file) => file.connect().await,
            Target::Postgres(server) => server.connect().await,
        }
    }

    /// A connection for the one who writes.
    pub async fn connect_to_write(&self) -> Result<Connection, PersistError> {
        match self {
            Target::Sqlite(file) => file.connect_to_write().await,
            Target::Postgres(server) => server.connect().await,
        }
    }

    /// Within a transaction: tells other instances of a revision when it is committed.
    pub async fn notify_of(&self, connection: &mut Connection, revision: u64) -> Result<(), PersistError> {
        match self {
            // There is no other instance.
            Target::Sqlite(_) => Ok(()),
            Target::Postgres(_) => notify(connection, CHANGES_CHANNEL, &revision.to_string()).await,
        }
    }
}

/// Tells everyone who listens to a channel.
pub(super) async fn notify(
    connection: &mut Connection,
    channel: &str,
    text: &str,
) -> Result<(), PersistError> {
    connection.rows(NOTIFY, vec![Value::text(channel), Value::text(text)]).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_one_of_two_databases() {
        let target = |url: &str| Target::of(url, Path::new("/var/lib/privatelink-dns"));
        assert!(format!("{:?}", target("sqlite:records.db")).contains("/var/lib/privatelink-dns/records.db"));
        assert!(format!("{:?}", target("sqlite:///srv/a.db")).contains("\"/srv/a.db\""));
        assert!(matches!(target("postgresql://user@host/db"), Ok(Target::Postgres(_))));
        for url in ["records.db", "mysql://x", "sqlite:", "sqlite::memory:", "sqlite:a.db?mode=ro"] {
            assert!(matches!(target(url), Err(PersistError::Url(_))), "{url}");
        }
    }
}
