//! Leases: what only one instance may do at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::database::{Connection, Value};
use super::error::PersistError;
use super::postgres::TRY_LEASE;
use super::target::Target;
use crate::telemetry::in_full;

/// How often those who wait ask: a holder that dies is replaced after about this long.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How often the holder asks whether its session lives, and how long it waits for the answer. A holder that is cut off
/// knows after their sum; PostgreSQL lets another have the lease not before 6 s (`postgres.rs`).
const ALIVE_EVERY: Duration = Duration::from_secs(2);
const ALIVE_WITHIN: Duration = Duration::from_secs(2);

/// Asks for a lease again and again, on one session.
pub struct Candidate {
    target: Target,
    name: Arc<str>,
    session: Option<Connection>,
}

/// What came of asking for a lease.
pub enum LeaseAnswer {
    Taken(Lease),
    HeldByAnother,
    /// The database cannot be asked: who has the lease is not known.
    Unreachable,
}

/// A lease that is held until it is dropped, or lost with its session.
pub struct Lease {
    lost: watch::Receiver<bool>,
    // Kept for SQLite, where nothing else does: its end would look like a loss.
    held: Option<watch::Sender<bool>>,
    session: Option<Session>,
}

/// The task that keeps a lease, and how it is asked to look now.
struct Session {
    task: AbortHandle,
    looks: mpsc::Sender<oneshot::Sender<()>>,
}

impl Candidate {
    pub(super) fn new(target: &Target, name: &str) -> Candidate {
        Candidate { target: target.clone(), name: name.into(), session: None }
    }

    /// Takes the lease if it is free; it never waits for another holder. With SQLite there is none.
    pub async fn ask(&mut self) -> LeaseAnswer {
        if let Target::Sqlite(_) = self.target {
            let (held, lost) = watch::channel(false);
            return LeaseAnswer::Taken(Lease { lost, held: Some(held), session: None });
        }
        let name = &self.name;
        match timeout(ALIVE_WITHIN, ask(&self.target, &mut self.session, name)).await {
            Ok(Ok(true)) => {
                let session = self.session.take().expect("a session was granted the lease");
                info!(lease.name = %name, "This instance holds the lease `{name}`");
                LeaseAnswer::Taken(Lease::of(session, name))
            }
            Ok(Ok(false)) => LeaseAnswer::HeldByAnother,
            Ok(Err(error)) => {
                debug!(lease.name = %name, "The lease `{name}` could not be asked for: {}", in_full(&error));
                self.session = None;
                LeaseAnswer::Unreachable
            }
            Err(_) => {
                self.session = None;
                LeaseAnswer::Unreachable
            }
        }
    }
}

impl Lease {
    fn of(session: Connection, name: &Arc<str>) -> Lease {
        let (held, lost) = watch::channel(false);
        // One who looks is enough: the others wait for their turn.
        let (looks, asked) = mpsc::channel(1);
        let task = tokio::spawn(keep(session, asked, held, Arc::clone(name))).abort_handle();
        Lease { lost, held: None, session: Some(Session { task, looks }) }
    }

    /// Waits until the lease is free, and takes it.
    pub(super) async fn take(target: &Target, name: &str) -> Lease {
        let mut candidate = Candidate::new(target, name);
        loop {
            if let LeaseAnswer::Taken(lease) = candidate.ask().await {
                return lease;
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// Whether it is still held, as far as is known: a holder that was cut off knows it seconds later.
    pub fn is_held(&self) -> bool {
        !*self.lost.borrow() && (self.held.is_some() || self.lost.has_changed().is_ok())
    }

    /// Whether it is held now: asks the session.
    pub async fn look(&self) -> bool {
        let Some(session) = &self.session else { return self.is_held() };
        let (answer, answered) = oneshot::channel();
        session.looks.send(answer).await.is_ok() && answered.await.is_ok()
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
            session.task.abort();
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

/// Holds the lease for as long as its session answers; tells those who ask whether it does.
async fn keep(
    mut session: Connection,
    mut asked: mpsc::Receiver<oneshot::Sender<()>>,
    held: watch::Sender<bool>,
    name: Arc<str>,
) {
    let mut looked = Instant::now();
    loop {
        let answer = tokio::select! {
            answer = asked.recv() => answer,
            () = tokio::time::sleep_until(looked + ALIVE_EVERY) => None,
        };
        looked = Instant::now();
        let why = match timeout(ALIVE_WITHIN, session.ping()).await {
            Ok(Ok(())) => {
                // Who no longer waits needs no answer.
                answer.map(|answer| answer.send(()));
                continue;
            }
            Ok(Err(error)) => in_full(&error),
            Err(_) => "its session does not answer".to_owned(),
        };
        warn!(lease.name = %name, "This instance lost the lease `{name}`: {why}");
        held.send_replace(true);
        return;
    }
}
