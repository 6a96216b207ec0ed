//! Brings a database to the schema of this program: forward only, one step after the other, all in one transaction.

use super::database::{Connection, Dialect, Value};
use super::error::PersistError;

/// The steps, in order; one that was released is never changed.
const STEPS: [&str; 2] =
    [include_str!("migrations/0001_store.sql"), include_str!("migrations/0002_change_items_by_name.sql")];

/// The version that this program makes.
pub(super) const KNOWN_VERSION: i64 = STEPS.len() as i64;

/// Makes what is missing; refuses what is newer than this program.
pub(super) async fn migrate(connection: &mut Connection) -> Result<(), PersistError> {
    connection.begin_writing().await?;
    let done = steps(connection).await;
    connection.end(done).await
}

async fn steps(connection: &mut Connection) -> Result<(), PersistError> {
    connection
        .script("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY)".into())
        .await?;
    let rows = connection.rows("SELECT coalesce(max(version), 0) FROM schema_version", Vec::new()).await?;
    let found = rows.first().map_or(Ok(0), |row| row.int(0))?;
    let known = KNOWN_VERSION;
    if found > known {
        return Err(PersistError::Newer { found, known });
    }
    for version in found + 1..=known {
        let step = in_dialect(STEPS[version as usize - 1], connection.dialect());
        connection.script(step.into()).await?;
        let sql = "INSERT INTO schema_version (version) VALUES ($1)";
        connection.execute(sql, vec![Value::Int(version)]).await?;
        tracing::info!(store.version = version, "The store's schema is now at version {version}");
    }
    Ok(())
}

fn in_dialect(step: &str, dialect: Dialect) -> String {
    let (key, bytes, without_rowid) = match dialect {
        Dialect::Sqlite => ("TEXT", "BLOB", " WITHOUT ROWID"),
        // Order by bytes: quicker, and an index that an update of the system's locales does not break.
        Dialect::Postgres => ("TEXT COLLATE \"C\"", "BYTEA", ""),
    };
    step.replace("{key}", key).replace("{bytes}", bytes).replace("{without_rowid}", without_rowid)
}
