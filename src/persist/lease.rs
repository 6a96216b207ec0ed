//! Leases: what only one instance may do at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::database::{Connection, Value};
use super::error::PersistError;
use super::postgres::TRY_LEASE;
use super::target::Target;

/// How often those who wait ask: a holder that dies is replaced after about this long.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How often the holder asks whether its session lives, and how long it waits for the answer. A holder that is cut off
/// knows after their sum; PostgreSQL lets another have the lease not before 6 s (`postgres.rs`).
const ALIVE_EVERY: Duration = Duration::from_secs(2);
const ALIVE_WITHIN: Duration = Duration::from_secs(2);

/// A lease that is held until it is dropped, or lost with its session.
pub struct Lease {
    lost: watch::Receiver<bool>,
    // Kept for SQLite, where nothing else does: its end would look like a loss.
    held: Option<watch::Sender<bool>>,
    session: Option<AbortHandle>,
}

impl Lease {
    /// Waits until the lease is free, and takes it.
    pub(super) async fn take(target: &Target, name: &Arc<str>) -> Lease {
        if let Target::Sqlite(_) = target {
            let (held, lost) = watch::channel(false);
            return Lease { lost, held: Some(held), session: None };
        }
        let mut connection = None;
        loop {
            match timeout(ALIVE_WITHIN, ask(target, &mut connection, name)).await {
                Ok(Ok(true)) => break,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    debug!(lease.name = %name, error = ?error, "The lease `{name}` could not be asked for");
                    connection = None;
                }
                Err(_) => connection = None,
            }
            sleep(ASK_EVERY).await;
        }
        let session = connection.expect("a session was granted the lease");
        info!(lease.name = %name, "This instance holds the lease `{name}`");
        let (held, lost) = watch::channel(false);
        let task = tokio::spawn(keep(session, held, name.clone()));
        Lease { lost, held: None, session: Some(task.abort_handle()) }
    }

    /// Whether it is still held.
    pub fn is_held(&self) -> bool {
        !*self.lost.borrow() && (self.held.is_some() || self.lost.has_changed().is_ok())
    }

    /// Waits until it is lost.
    pub async fn lost(&mut self) {
        // Its task is gone: that is a loss as well.
        let _ = self.lost.wait_for(|lost| *lost).await;
    }
}

impl Drop for Lease {
    /// Ends the session, and with it the lease.
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.abort();
        }
    }
}

async fn ask(target: &Target, connection: &mut Option<Connection>, name: &str) -> Result<bool, PersistError> {
    let session = match connection {
        Some(session) => session,
        None => connection.insert(target.connect().await?),
    };
    let rows = session.rows(TRY_LEASE, vec![Value::text(name)]).await?;
    Ok(rows.first().map_or(Ok(0), |row| row.int(0))? == 1)
}

/// Holds the lease for as long as its session answers.
async fn keep(mut session: Connection, held: watch::Sender<bool>, name: Arc<str>) {
    let mut asked = Instant::now();
    loop {
        tokio::time::sleep_until(asked + ALIVE_EVERY).await;
        asked = Instant::now();
        let error = match timeout(ALIVE_WITHIN, session.ping()).await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        warn!(lease.name = %name, error = ?error, "This instance lost the lease `{name}`");
        held.send_replace(true);
        return;
    }
}
