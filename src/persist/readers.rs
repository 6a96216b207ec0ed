//! Connections that only read: a few, lent for one question each.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::database::Connection;
use super::error::PersistError;
use super::target::Target;
use super::time::by;

/// Connections at most: readers are the audit's pages and those who follow, not queries; PostgreSQL's default of 100
/// connections is then enough for a dozen instances.
const READERS_MAX: u32 = 4;
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
        Readers { idle: Mutex::default(), free: Semaphore::new(READERS_MAX as usize) }
    }

    /// When a question that comes now must be answered.
    pub fn deadline() -> Instant {
        Instant::now() + READ_WITHIN
    }

    /// Lends a connection that works.
    pub async fn lend(&self, target: &Target, deadline: Instant) -> Result<Lent<'_>, PersistError> {
        by(deadline, async {
            // It is closed with the store.
            let permit = self.free.acquire().await.map_err(|_| PersistError::unavailable(None))?;
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

    /// Lends no more, and ends the sessions: a database that is still read keeps its log.
    pub async fn close(&self) {
        // Those who read are few and have a deadline; one that reads for longer does not hold up the end.
        let all = tokio::time::timeout(READ_WITHIN, self.free.acquire_many(READERS_MAX)).await;
        self.free.close();
        drop(all);
        let idle = std::mem::take(&mut *self.idle.lock());
        for connection in idle {
            connection.close().await;
        }
    }
}

impl Lent<'_> {
    /// Gives the connection back; what went wrong on it is better dropped.
    pub fn keep(self) {
        if !self.home.free.is_closed() {
            self.home.idle.lock().push(self.connection);
        }
    }
}
