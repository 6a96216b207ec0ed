//! Connections that only read: a few, lent for one question each.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::database::Connection;
use super::error::PersistError;
use super::target::Target;
use super::writer::by;

/// Connections at most: readers are the audit's pages and those who follow, not queries; PostgreSQL's default of 100
/// connections is then enough for a dozen instances.
const READERS_MAX: usize = 4;
/// Whoever asks is answered by then: callers are told within two seconds that the database is gone.
const READ_WITHIN: Duration = Duration::from_millis(1_900);

/// The connections that nobody uses now.
pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    free: Semaphore,
}

/// A connection, until it is kept for the next or dropped.
pub(super) struct Lent<'r> {
    pub connection: Connection,
    home: &'r Readers,
    _permit: SemaphorePermit<'r>,
}

impl Readers {
    pub fn new() -> Readers {
        Readers { idle: Mutex::default(), free: Semaphore::new(READERS_MAX) }
    }

    /// When a question that comes now must be answered.
    pub fn deadline() -> Instant {
        Instant::now() + READ_WITHIN
    }

    /// Lends a connection that works.
    pub async fn lend(&self, target: &Target, deadline: Instant) -> Result<Lent<'_>, PersistError> {
        by(deadline, async {
            let permit = self.free.acquire().await.expect("the semaphore is never closed");
            let mut idle = self.idle.lock().pop();
            if let Some(connection) = &mut idle
                && connection.ping().await.is_err()
            {
                idle = None;
            }
            let connection = match idle {
                Some(connection) => connection,
                None => target.connect().await?,
            };
            Ok(Lent { connection, home: self, _permit: permit })
        })
        .await
    }
}

impl Lent<'_> {
    /// Gives the connection back; what went wrong on it is better dropped.
    pub fn keep(self) {
        self.home.idle.lock().push(self.connection);
    }
}
