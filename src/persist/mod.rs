//! What operators change by REST, durable: SQLite for one instance, PostgreSQL for several. Floor 3.
//!
//! Every commit is one transaction under one revision, and no revision is left out. What is served is made from
//! [`Persist::load`] and then from [`Persist::changes`], in their order, by whoever wrote them.

mod audit;
mod coding;
mod copying;
mod counters;
mod database;
mod decide;
mod entry;
mod error;
mod follow;
mod lease;
mod listener;
mod local_copy;
mod metrics;
mod migrate;
mod postgres;
mod prune;
mod readers;
mod settings;
mod shared;
mod sqlite;
mod tables;
mod target;
mod time;
mod writer;

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep};

pub use audit::{AUDIT_ITEMS_SHOWN, AUDIT_PAGE_MAX, AuditEntry, AuditFilter, AuditItem};
pub use copying::{CopyContent, Idle, examine};
use database::Connection;
use decide::Prepared;
pub use entry::{
    Audit, Change, Commit, Committed, Entry, Idempotency, Made, Note, Precondition, Role, Source, Stored,
    StoredChange, StoredDocument, StoredForwarder, StoredToken, StoredZone, Subject,
};
pub use error::PersistError;
pub use follow::{Changes, Followed};
pub use lease::{Candidate, Lease, LeaseAnswer};
pub use local_copy::{LocalCopy, read_copy, write_copy};
use prune::Pruning;
use readers::Readers;
pub use settings::{DAMAGED, Settings};
use shared::Shared;
pub use shared::Trouble;
use target::{NUDGES_CHANNEL, Target};
use time::by;
use writer::{COMMITS_WAITING_MAX, Waiting, Writer};

use crate::telemetry::in_full;

/// Changes and notes of one commit at most: the largest that is promised, and as much again.
pub const CHANGES_IN_COMMIT_MAX: usize = 200_000;
/// Bytes of one document at most: the claims of a million endpoints, well below what PostgreSQL takes in one value.
pub const DOCUMENT_BYTES_MAX: usize = 256 << 20;
/// Bytes of a nudge at most; PostgreSQL notifies of no more than 8000.
pub const NUDGE_BYTES_MAX: usize = 4_000;
/// Beyond these, making rows of changes takes milliseconds, in which other tasks of the thread would stand still.
const CHANGES_PREPARED_HERE: usize = 1_000;
/// How long opening may take: the schema's changes included.
const OPEN_WITHIN: Duration = Duration::from_secs(60);
/// How long reaching the database may take of that.
const CONNECT_WITHIN: Duration = Duration::from_millis(1_900);
/// The revision of those who know of none that the store has: all is read anew.
const NOWHERE: u64 = i64::MAX as u64;
/// How often a database that was not there at the start is tried.
const REACH_EVERY: Duration = Duration::from_secs(1);

/// How long another process may still have the store. One that just ends has it for a moment, and so has a child that a
/// process is just making: until it becomes another program it holds all that is open.
const LOCK_WITHIN: Duration = Duration::from_secs(1);
const LOCK_AGAIN: Duration = Duration::from_millis(20);

/// The store, open. A clone is the same store.
#[derive(Clone)]
pub struct Persist(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    commits: Mutex<Option<mpsc::Sender<Waiting>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    listener: Option<AbortHandle>,
}

/// A request that was answered before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    pub request_hash: Arc<[u8]>,
    /// With the former answer in `replayed`.
    pub committed: Committed,
}

impl Persist {
    /// Opens the store, makes it if it is not there, and brings its schema up to date.
    pub async fn open(settings: &Settings) -> Result<Persist, PersistError> {
        let target = settings.target()?;
        let lock = lock(&target).await?;
        let (connection, revision) = connect(&target).await?;
        let shared = Arc::new(Shared::new(target, revision));
        let writer = Writer::new(shared.clone(), connection, Pruning::new(settings, revision));
        Ok(Persist::run(shared, move |queue| async move {
            writer.run(queue).await;
            // No other process comes in before the last commit is written.
            drop(lock);
        }))
    }

    /// Opens a store that cannot be reached now, and why not, in words for those who write. When it can, those who follow
    /// [`Persist::changes_anew`] hear of all that is stored; until then nothing is known and nothing is stored. A file that
    /// is not there is not made.
    pub fn open_later(settings: &Settings, why: &str) -> Result<Persist, PersistError> {
        let shared = Arc::new(Shared::new(settings.target()?, NOWHERE));
        let (settings, later, why) = (settings.clone(), shared.clone(), Arc::from(why));
        Ok(Persist::run(shared, move |mut queue| async move {
            let Some(reached) = reach(&later.target, &mut queue, why).await else { return };
            let Reached { lock, connection, revision } = reached;
            later.set_newest(revision);
            Writer::new(later, connection, Pruning::new(&settings, revision)).run(queue).await;
            drop(lock);
        }))
    }

    fn run<W: Future<Output = ()> + Send + 'static>(
        shared: Arc<Shared>,
        write: impl FnOnce(mpsc::Receiver<Waiting>) -> W,
    ) -> Persist {
        let (commits, queue) = mpsc::channel(COMMITS_WAITING_MAX);
        let writer = tokio::spawn(write(queue));
        let listener = match &shared.target {
            Target::Sqlite(_) => None,
            Target::Postgres(server) => {
                let listening = tokio::spawn(listener::listen(shared.clone(), server.clone()));
                Some(listening.abort_handle())
            }
        };
        let (commits, writer) = (Mutex::new(Some(commits)), Mutex::new(Some(writer)));
        Persist(Arc::new(Inner { shared, commits, writer, listener }))
    }

    /// All that is stored, at one revision.
    pub async fn load(&self) -> Result<Stored, PersistError> {
        follow::load(&self.0.shared).await
    }

    /// Stores changes, all or none; when this answers they are durable. Whoever drops the answer may have stored them.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, PersistError> {
        check_size(&commit)?;
        let prepared = if commit.changes.len() > CHANGES_PREPARED_HERE {
            let prepared = tokio::task::spawn_blocking(move || Prepared::new(commit)).await;
            prepared.expect("making rows of changes does not panic")
        } else {
            Prepared::new(commit)
        };
        let commits = self.0.commits.lock().clone().ok_or_else(|| PersistError::unavailable(None))?;
        let (answer, answered) = oneshot::channel();
        commits.try_send(Waiting { prepared, answer }).map_err(|_| PersistError::unavailable(None))?;
        drop(commits);
        // A writer that went without an answer was in the middle of it.
        answered.await.unwrap_or_else(|_| Err(PersistError::unavailable(None).unsettled()))
    }

    /// Every change after a revision, in order and without a gap; first those that are there, then those that come.
    pub fn changes(&self, after: u64) -> Changes {
        Changes::new(self.0.shared.clone(), after)
    }

    /// All that is stored as soon as it can be read, then every change of it.
    pub fn changes_anew(&self) -> Changes {
        Changes::new(self.0.shared.clone(), NOWHERE)
    }

    /// The revision of an entry's last change: its ETag.
    pub async fn revision_of(&self, subject: &Subject) -> Result<Option<u64>, PersistError> {
        let key = coding::Key::of(subject);
        let question = async |connection: &mut Connection| tables::revision_of(connection, &key).await;
        self.0.shared.ask(Readers::deadline(), question).await
    }

    /// How a request was answered that carried this idempotency key; `None` for a new one.
    pub async fn idempotent(&self, token: &str, key: &str) -> Result<Option<Replay>, PersistError> {
        let question = async |connection: &mut Connection| {
            let now_ms = tables::now_ms(connection).await?;
            Ok((tables::request(connection, token, key).await?, now_ms))
        };
        let (request, now_ms) = self.0.shared.ask(Readers::deadline(), question).await?;
        Ok(request.filter(|request| request.expires_ms > now_ms).map(|request| Replay {
            request_hash: request.hash,
            committed: Committed { replayed: Some(request.answer), ..request.committed },
        }))
    }

    /// A page of the audit, newest first.
    pub async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, PersistError> {
        let question = async |connection: &mut Connection| audit::page(connection, filter).await;
        self.0.shared.ask_at_one_revision(Readers::deadline(), question).await
    }

    /// What one revision changed, from a position on.
    pub async fn audit_items(
        &self,
        revision: u64,
        from: u64,
        limit: usize,
    ) -> Result<Vec<AuditItem>, PersistError> {
        let question =
            async |connection: &mut Connection| audit::items(connection, revision, from, limit).await;
        self.0.shared.ask(Readers::deadline(), question).await
    }

    /// Waits until no other instance holds the lease of this name, and takes it. With SQLite there is no other.
    pub async fn lease(&self, name: &str) -> Lease {
        Lease::take(&self.0.shared.target, name).await
    }

    /// Asks for the lease of this name without waiting for it.
    pub fn candidate(&self, name: &str) -> Candidate {
        Candidate::new(&self.0.shared.target, name)
    }

    /// Whether other instances may share the store.
    pub fn has_others(&self) -> bool {
        matches!(self.0.shared.target, Target::Postgres(_))
    }

    /// Tells all instances something that is not stored (`sync now`); who is not reachable now misses it.
    pub async fn nudge(&self, topic: &str) -> Result<(), PersistError> {
        if topic.len() > NUDGE_BYTES_MAX {
            let (found, most) = (topic.len(), NUDGE_BYTES_MAX);
            return Err(PersistError::TooLarge { what: "bytes of a nudge", found, most });
        }
        match &self.0.shared.target {
            Target::Sqlite(_) => {
                self.0.shared.nudged(topic);
                Ok(())
            }
            Target::Postgres(_) => {
                let question = async |connection: &mut Connection| {
                    target::notify(connection, NUDGES_CHANNEL, topic).await
                };
                self.0.shared.ask(Readers::deadline(), question).await
            }
        }
    }

    /// Hears the nudges of all instances, its own included.
    pub fn nudges(&self) -> broadcast::Receiver<Arc<str>> {
        self.0.shared.nudges()
    }

    /// What keeps changes from being stored, as far as it was noticed.
    pub fn trouble(&self) -> Option<Trouble> {
        self.0.shared.trouble()
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), PersistError> {
        let question = async |connection: &mut Connection| connection.ping().await;
        self.0.shared.ask(Readers::deadline(), question).await
    }

    /// Takes no more commits, and waits until those that wait are answered.
    pub async fn close(&self) {
        self.0.commits.lock().take();
        let writer = self.0.writer.lock().take();
        if let Some(writer) = writer {
            // It ends by itself; were it to panic, that is logged and nothing is left to wait for.
            let _ = writer.await;
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

/// All that is stored, beside whoever has the store open: nothing is made, locked or brought up to date.
pub async fn look(settings: &Settings) -> Result<Stored, PersistError> {
    follow::load(&Shared::new(settings.target()?, 0)).await
}

/// Keeps other processes out; one that has the store is given the time to end.
async fn lock(target: &Target) -> Result<Option<File>, PersistError> {
    let until = Instant::now() + LOCK_WITHIN;
    loop {
        match target.lock() {
            Err(PersistError::InUse { .. }) if Instant::now() < until => sleep(LOCK_AGAIN).await,
            locked => return locked,
        }
    }
}

/// Connects, and brings the schema up to date; answers the revision as well.
async fn connect(target: &Target) -> Result<(Connection, u64), PersistError> {
    let mut connection = by(Instant::now() + CONNECT_WITHIN, target.connect_to_write()).await?;
    let revision = by(Instant::now() + OPEN_WITHIN, async {
        migrate::migrate(&mut connection).await?;
        tables::revision(&mut connection).await
    })
    .await?;
    Ok((connection, revision))
}

/// A store that could not be opened before.
struct Reached {
    lock: Option<File>,
    connection: Connection,
    revision: u64,
}

async fn try_to_reach(target: &Target) -> Result<Reached, PersistError> {
    // Looked for first: the lock makes a file that is missing.
    if let Target::Sqlite(file) = target
        && !file.path().exists()
    {
        return Err(PersistError::unavailable(None));
    }
    let lock = target.lock()?;
    let (connection, revision) = connect(target).await?;
    Ok(Reached { lock, connection, revision })
}

/// Connects as soon as that can be done, and tells those who want to commit why it cannot yet; `None` when nobody wants
/// any more.
async fn reach(target: &Target, queue: &mut mpsc::Receiver<Waiting>, why: Arc<str>) -> Option<Reached> {
    let mut told = String::new();
    loop {
        match try_to_reach(target).await {
            Ok(reached) => {
                tracing::info!("The store is available");
                return Some(reached);
            }
            Err(error) if error.is_passing() => {
                tracing::debug!("The store is not available yet: {}", in_full(&error))
            }
            Err(error) => {
                let error = in_full(&error);
                if told != error {
                    tracing::error!("The store cannot be used: {error}");
                }
                told = error;
            }
        }
        let until = Instant::now() + REACH_EVERY;
        while let Ok(waiting) = tokio::time::timeout_at(until, queue.recv()).await {
            // Who no longer waits needs no answer.
            let _ = waiting?.answer.send(Err(PersistError::away(&why)));
        }
    }
}

fn check_size(commit: &Commit) -> Result<(), PersistError> {
    let bounded = |what, found, most| match found > most {
        true => Err(PersistError::TooLarge { what, found, most }),
        false => Ok(()),
    };
    bounded("changes", commit.changes.len() + commit.notes.len(), CHANGES_IN_COMMIT_MAX)?;
    bounded("preconditions", commit.preconditions.len(), CHANGES_IN_COMMIT_MAX)?;
    let documents = commit.changes.iter().filter_map(|change| match change {
        StoredChange::Put(Entry::Document(document)) => Some(document.body.len()),
        _ => None,
    });
    bounded("bytes of documents", documents.sum(), DOCUMENT_BYTES_MAX)
}
