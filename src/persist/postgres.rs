//! PostgreSQL: one database for several instances.

use std::str::FromStr;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

use super::database::Connection;
use super::error::PersistError;

/// What the server does for sessions of ours. It finds out within 6 s that our machine is gone, and lets go of the lease
/// and of half a commit; the lock of a commit is held by no session that says nothing.
const SESSION: [(&str, &str); 5] = [
    ("tcp_keepalives_idle", "2"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "2"),
    ("tcp_user_timeout", "6000"),
    ("idle_in_transaction_session_timeout", "10000"),
];

/// Where the database is and how we speak to it.
#[derive(Debug, Clone)]
pub(super) struct PostgresServer {
    options: Box<PgConnectOptions>,
}

impl PostgresServer {
    /// The server of a whole address; what it leaves out comes from the `PG…` variables and `.pgpass`.
    pub fn of(url: &str) -> Result<PostgresServer, PersistError> {
        // The error of it might repeat a password.
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            PersistError::Url("`postgres://` is followed by user@host:port/database and known options")
        })?;
        let options =
            options.application_name("privatelink-dns").options(SESSION).disable_statement_logging();
        Ok(PostgresServer { options: Box::new(options) })
    }

    pub async fn connect(&self) -> Result<Connection, PersistError> {
        let mut connection = Connection::Postgres(Box::new(self.options.connect().await?));
        // A commit is on the disk when it is answered, even where that is switched off for the rest of the database.
        connection
            .rows(
                "SELECT set_config('synchronous_commit', 'on', false) \
                 WHERE current_setting('synchronous_commit') = 'off'",
                Vec::new(),
            )
            .await?;
        Ok(connection)
    }

    /// A session that hears what is notified on these channels, and what texts of ours begin with.
    pub async fn listen(&self, channels: [&str; 2]) -> Result<(PgListener, String), PersistError> {
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with((*self.options).clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        // Whoever listens looks for what it missed before it listens again.
        listener.eager_reconnect(false);
        let schema = sqlx::query_scalar(SCHEMA).fetch_one(&mut listener).await?;
        listener.listen_all(channels).await?;
        Ok((listener, schema))
    }
}

/// The call that makes a listener hear a text.
// Channels are the whole database's: the schema in front tells several deployments in it apart.
pub(super) const NOTIFY: &str = "SELECT pg_notify($1, current_schema() || ' ' || $2)";

/// What those who listen must find in front of a text.
pub(super) const SCHEMA: &str = "SELECT current_schema() || ' '";

/// A statement that only asks whether a session's lock is free, and takes it then.
pub(super) const TRY_LEASE: &str = "SELECT CASE WHEN pg_try_advisory_lock(1347179604, hashtext(current_schema() || '/' || $1)) THEN 1::bigint ELSE 0::bigint END";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_address_is_refused_without_its_password() {
        let error = PostgresServer::of("postgres://user:secret@host:port/db").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("secret"));
    }
}
