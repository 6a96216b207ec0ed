//! The one task that writes: all commits that wait go into one transaction, and each is answered after it is durable.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{info, warn};

use super::database::Connection;
use super::decide::{Judgement, Prepared};
use super::entry::{Change, Committed};
use super::error::PersistError;
use super::prune::Pruning;
use super::shared::{Shared, Trouble};
use super::sqlite::{Log, empty_log};
use super::tables::{self, Written};
use super::time::{by, unix_ms};
use crate::telemetry::in_full;

/// Commits that wait; more than a second of them would only be answered later.
pub(super) const COMMITS_WAITING_MAX: usize = 4_096;
/// Commits of one transaction: one fsync serves them all, and the last of them waits for a few milliseconds.
const GROUP_COMMITS_MAX: usize = 512;
/// Changes of one transaction beyond the first commit's: a large commit does not take all others along.
const GROUP_CHANGES_MAX: usize = 5_000;
/// A database that does not let us begin by then is gone, and callers are told; together with the wait for the
/// transaction before it this is below their two seconds.
const BEGIN_WITHIN: Duration = Duration::from_millis(1_600);
/// What a transaction may take beyond that, and for each of its changes: a slow disk, not a dead one.
const WRITE_WITHIN: Duration = Duration::from_millis(1_900);
const WRITE_WITHIN_A_CHANGE: Duration = Duration::from_micros(500);
/// And for each MiB of documents, over a slow network.
const WRITE_WITHIN_A_MEBIBYTE: Duration = Duration::from_millis(100);
/// After a commit whose end is not known the database is asked this often what became of it.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// A database that is away is looked for this often while nobody writes.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A commit and who waits for it.
pub(super) struct Waiting {
    pub prepared: Prepared,
    pub answer: oneshot::Sender<Result<Committed, PersistError>>,
}

/// The writer's own.
pub(super) struct Writer {
    shared: Arc<Shared>,
    connection: Option<Connection>,
    pruning: Pruning,
    log: Log,
    is_in_doubt: bool,
    is_down: bool,
}

/// Where it failed.
enum Failure {
    /// Nothing is stored.
    Before(PersistError),
    /// The database was told to commit, and what it did is not known.
    Within(PersistError),
}

/// What a transaction does.
struct Group {
    results: Vec<Answer>,
    made: Vec<Change>,
    /// A store that can only be read takes all that changes nothing.
    is_written: bool,
}

/// One commit's answer.
type Answer = Result<Committed, PersistError>;

impl Writer {
    pub fn new(shared: Arc<Shared>, connection: Connection, pruning: Pruning) -> Writer {
        let log = Log::default();
        Writer { shared, connection: Some(connection), pruning, log, is_in_doubt: false, is_down: false }
    }

    /// Writes until nobody can ask any more.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) {
        loop {
            let doubt = self.is_in_doubt.then(|| Instant::now() + ASK_AGAIN_AFTER);
            let log_due = self.log.due();
            // Whether a full disk has room again only a write can tell.
            let is_away = *self.shared.refuses.lock() == Some(Trouble::Away);
            let look = is_away.then(|| Instant::now() + LOOK_AGAIN_AFTER);
            let first = tokio::select! {
                first = queue.recv() => first,
                () = at(doubt) => {
                    self.settle_doubt().await;
                    continue;
                }
                () = at(look) => {
                    self.look().await;
                    continue;
                }
                () = at(log_due) => {
                    self.move_log().await;
                    continue;
                }
            };
            let Some(first) = first else { break };
            let group = gather(first, &mut queue).await;
            self.serve(group, &mut queue).await;
        }
        self.close().await;
    }

    /// Ends the sessions, the readers' first: then all that is stored is in the file alone.
    async fn close(&mut self) {
        self.shared.readers.close().await;
        let Some(mut connection) = self.connection.take() else { return };
        if self.shared.target.is_file()
            && let Err(error) = empty_log(&mut connection).await
        {
            warn!("The store's log stays beside it, and both are needed: {}", in_full(&error));
        }
        connection.close().await;
    }

    async fn serve(&mut self, group: Vec<Waiting>, queue: &mut mpsc::Receiver<Waiting>) {
        let (prepared, answers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|waiting| (waiting.prepared, waiting.answer)).unzip();
        let changes = prepared.iter().map(|prepared| prepared.changes.len()).sum();
        match self.commit(&prepared).await {
            Ok(results) => {
                answers.into_iter().zip(results).for_each(|(answer, result)| self.answer(answer, result))
            }
            Err(Failure::Before(error)) if error.is_passing() => {
                self.note_down(&error);
                for answer in answers {
                    self.answer(answer, Err(error.for_another()));
                }
                // Those who wait behind have waited as long.
                for _ in 0..queue.len() {
                    let Ok(waiting) = queue.try_recv() else { break };
                    self.answer(waiting.answer, Err(error.for_another()));
                }
            }
            // What the database refuses must not take the others with it.
            Err(Failure::Before(_)) if answers.len() > 1 => {
                for (prepared, answer) in prepared.into_iter().zip(answers) {
                    let result = match self.commit(&[prepared]).await {
                        Ok(mut results) => results.pop().expect("one commit has one result"),
                        Err(Failure::Before(error)) => Err(error),
                        Err(Failure::Within(error)) => Err(self.doubt(error)),
                    };
                    self.answer(answer, result);
                }
            }
            Err(Failure::Before(error)) => {
                for answer in answers {
                    self.answer(answer, Err(error.for_another()));
                }
            }
            Err(Failure::Within(error)) => {
                for answer in answers {
                    let error = self.doubt(error.for_another());
                    self.answer(answer, Err(error));
                }
            }
        }
        self.prune().await;
        if self.shared.target.is_file() && self.log.note(changes) {
            self.move_log().await;
        }
    }

    /// Answers one commit, and counts what became of it.
    fn answer(&self, answer: oneshot::Sender<Answer>, result: Answer) {
        let counters = &self.shared.counters;
        match &result {
            Ok(_) => counters.commits.add(1),
            Err(_) if self.is_in_doubt => counters.doubtful_commits.add(1),
            Err(_) => counters.refused_commits.add(1),
        }
        // Who no longer waits needs no answer.
        let _ = answer.send(result);
    }

    /// Commits a group; the answers are in its order.
    async fn commit(&mut self, group: &[Prepared]) -> Result<Vec<Answer>, Failure> {
        let begun = Instant::now();
        let begin_by = begun + BEGIN_WITHIN;
        let mut connection = self.begin(begin_by).await.map_err(Failure::Before)?;
        // Dropping the connection takes back what is not committed.
        let changes: usize = group.iter().map(|prepared| prepared.changes.len()).sum();
        let write_by = begun
            + WRITE_WITHIN
            + WRITE_WITHIN_A_CHANGE * u32::try_from(changes).unwrap_or(u32::MAX)
            + WRITE_WITHIN_A_MEBIBYTE * mebibytes(group);
        let written = by(write_by, self.write(&mut connection, group)).await;
        let Group { results, made, is_written } = match written {
            Ok(written) => written,
            Err(error) => {
                if !error.is_passing() || error.is_full() {
                    self.keep_rolled_back(connection, write_by).await;
                }
                return Err(Failure::Before(error));
            }
        };
        let commit_by = write_by.max(Instant::now() + Duration::from_millis(500));
        match by(commit_by, connection.script("COMMIT".into())).await {
            Ok(()) => {}
            Err(error) if error.is_full() => {
                self.keep_rolled_back(connection, commit_by).await;
                return Err(Failure::Before(error));
            }
            Err(error) => return Err(Failure::Within(error)),
        }
        self.connection = Some(connection);
        self.shared.counters.transactions.add(1);
        if is_written {
            self.note_up();
        }
        if let Some(last) = made.last() {
            let newest = last.revision;
            self.shared.publish(made.into_iter().map(Arc::new), newest);
            self.pruning.note(newest);
        }
        Ok(results)
    }

    /// Begins on the connection there is, else on a new one.
    async fn begin(&mut self, deadline: Instant) -> Result<Connection, PersistError> {
        if let Some(mut connection) = self.connection.take() {
            match by(deadline, connection.begin_writing()).await {
                Ok(()) => return Ok(connection),
                // It may have died while nobody wrote.
                Err(error) if error.is_passing() && Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        }
        by(deadline, async {
            let mut connection = self.shared.target.connect_to_write().await?;
            connection.begin_writing().await?;
            Ok(connection)
        })
        .await
    }

    async fn write(&self, connection: &mut Connection, group: &[Prepared]) -> Result<Group, PersistError> {
        let here_ms = unix_ms(SystemTime::now());
        let mut known = tables::known(connection, &group.iter().collect::<Vec<_>>()).await?;
        let before = known.revision;
        let mut results = Vec::with_capacity(group.len());
        let mut made = Vec::new();
        for prepared in group {
            match known.judge(prepared, here_ms) {
                Ok(Judgement { committed, made: own }) => {
                    made.extend(own.map(|(change, items)| (change, &prepared.commit.audit, items)));
                    results.push(Ok(committed));
                }
                Err(error) => results.push(Err(error)),
            }
        }
        let newest = known.revision;
        let is_requested = known.requests.values().any(|request| request.is_new);
        let (mut changes, mut parts) = (Vec::with_capacity(made.len()), Vec::with_capacity(made.len()));
        for (change, audit, items) in made {
            changes.push(change);
            parts.push((audit, items));
        }
        let is_written = newest > before || is_requested;
        if is_written {
            let written = changes.iter().zip(parts);
            let written = written.map(|(change, (audit, items))| Written { change, audit, items }).collect();
            tables::write(connection, known, written).await?;
        }
        if newest > before {
            self.shared.target.notify_of(connection, newest).await?;
        }
        Ok(Group { results, made: changes, is_written })
    }

    async fn keep_rolled_back(&mut self, mut connection: Connection, deadline: Instant) {
        let rolled_back = by(deadline, connection.script("ROLLBACK".into())).await;
        if rolled_back.is_ok() {
            self.connection = Some(connection);
        }
    }

    fn doubt(&mut self, error: PersistError) -> PersistError {
        self.is_in_doubt = true;
        self.note_down(&error);
        error.unsettled()
    }

    /// Finds out whether a commit whose end was not seen is there, so that those who follow hear of it.
    async fn settle_doubt(&mut self) {
        let deadline = Instant::now() + BEGIN_WITHIN;
        // Beginning waits for that commit's end.
        let Ok(mut connection) = self.begin(deadline).await else { return };
        let newest = by(deadline, async {
            let newest = tables::revision(&mut connection).await;
            connection.end(newest).await
        })
        .await;
        if let Ok(newest) = newest {
            self.connection = Some(connection);
            self.is_in_doubt = false;
            self.shared.announce(newest);
        }
    }

    /// Looks whether a database that was away can be written to again.
    async fn look(&mut self) {
        let deadline = Instant::now() + BEGIN_WITHIN;
        let Ok(mut connection) = self.begin(deadline).await else { return };
        if by(deadline, connection.script("ROLLBACK".into())).await.is_ok() {
            self.connection = Some(connection);
            *self.shared.refuses.lock() = None;
        }
    }

    async fn prune(&mut self) {
        if !self.pruning.is_due() {
            return;
        }
        let Some(mut connection) = self.connection.take() else { return };
        let deadline = Instant::now() + WRITE_WITHIN;
        match by(deadline, self.pruning.step(&mut connection)).await {
            Ok(()) => self.connection = Some(connection),
            Err(error) => {
                warn!("The store did not forget old changes, and tries again later: {}", in_full(&error))
            }
        }
    }

    /// SQLite's log is moved to its place behind the answers.
    async fn move_log(&mut self) {
        match &mut self.connection {
            Some(connection) => self.log.move_to_place(connection).await,
            // The next commit brings another one.
            None => self.log.put_off(),
        }
    }

    fn note_down(&mut self, error: &PersistError) {
        let trouble = if error.is_full() { Trouble::Full } else { Trouble::Away };
        *self.shared.refuses.lock() = Some(trouble);
        if !std::mem::replace(&mut self.is_down, true) {
            warn!("Changes are refused until the store takes them again: {}", in_full(error));
        }
    }

    fn note_up(&mut self) {
        if std::mem::replace(&mut self.is_down, false) {
            *self.shared.refuses.lock() = None;
            info!("The store is available again");
        }
    }
}

/// Waits until then; without a time for ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Takes all commits that wait, up to the bounds.
async fn gather(first: Waiting, queue: &mut mpsc::Receiver<Waiting>) -> Vec<Waiting> {
    let mut changes = first.prepared.changes.len();
    let mut group = vec![first];
    // Those who were answered a moment ago may be about to ask again; they get a chance to run.
    tokio::task::yield_now().await;
    while group.len() < GROUP_COMMITS_MAX && changes < GROUP_CHANGES_MAX {
        let Ok(next) = queue.try_recv() else { break };
        changes += next.prepared.changes.len();
        group.push(next);
    }
    group
}

/// The size of a group's documents.
fn mebibytes(group: &[Prepared]) -> u32 {
    let values = group.iter().flat_map(|prepared| &prepared.changes).filter_map(|(_, value)| value.as_ref());
    let bytes: usize = values.filter_map(|value| value.body.as_ref()).map(|body| body.len()).sum();
    u32::try_from(bytes >> 20).unwrap_or(u32::MAX)
}
