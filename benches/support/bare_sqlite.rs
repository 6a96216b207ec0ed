//! What SQLite alone gives on this disk.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

/// One row, one transaction, one sync, over and over.
pub async fn commits_a_second(folder: &Path, time: Duration) -> f64 {
    let options = SqliteConnectOptions::new()
        .filename(folder.join("bare.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let mut connection = options.connect().await.expect("a database");
    let table = "DROP TABLE IF EXISTS entries; CREATE TABLE entries (name TEXT PRIMARY KEY, value TEXT, revision BIGINT) WITHOUT ROWID";
    sqlx::raw_sql(table).execute(&mut connection).await.expect("a table");
    let (begun, mut count) = (Instant::now(), 0u32);
    while begun.elapsed() < time {
        let insert = sqlx::query("INSERT INTO entries VALUES ($1, $2, $3)");
        let insert = insert.bind(format!("host{count}")).bind(r#"{"ttl":300,"records":["10.0.0.1"]}"#);
        insert.bind(i64::from(count)).execute(&mut connection).await.expect("a row");
        count += 1;
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}
