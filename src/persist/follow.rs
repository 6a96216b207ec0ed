//! Following the store: every revision in order, none left out, whoever wrote it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::coding::{self, Coded, Key, Kind};
use super::database::{Connection, Value};
use super::entry::{Change, Stored, StoredChange};
use super::error::PersistError;
use super::readers::Readers;
use super::shared::{Heard, Shared};
use super::tables;
use crate::telemetry::in_full;

/// Revisions read at once by those who are behind.
const REVISIONS_AT_ONCE: i64 = 512;
/// Single changes read at once, the first revision's apart: bounds what is in memory beside what is served.
const CHANGES_AT_ONCE: u64 = 20_000;
/// How long reading everything may take: a million record sets over a slow network.
const LOAD_WITHIN: Duration = Duration::from_secs(120);
/// What a read of changes may take: the largest commit over a slow network.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(30);
/// The first and the longest wait before a failed read is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What those who follow are given.
#[derive(Debug, Clone)]
pub enum Followed {
    /// The next revision.
    Change(Arc<Change>),
    /// Everything anew: the changes between are forgotten, or the database was set back to an older state.
    Reload(Box<Stored>),
}

/// Every revision after one, in order.
pub struct Changes {
    shared: Arc<Shared>,
    heard: watch::Receiver<Heard>,
    at: u64,
    ahead: VecDeque<Arc<Change>>,
    retry_after: Duration,
}

/// What is there after a revision.
pub(super) enum Since {
    Changes(Vec<Arc<Change>>),
    /// Some are forgotten, or the revision is one that the database does not have.
    Gap,
}

impl Changes {
    pub(super) fn new(shared: Arc<Shared>, after: u64) -> Changes {
        let heard = shared.heard();
        Changes { shared, heard, at: after, ahead: VecDeque::new(), retry_after: RETRY.0 }
    }

    /// The revision that was given last.
    pub fn revision(&self) -> u64 {
        self.at
    }

    /// The next one, if it is in memory.
    pub fn ready(&mut self) -> Option<Arc<Change>> {
        let change = self.ahead.pop_front().or_else(|| self.shared.recent(self.at + 1))?;
        self.at = change.revision;
        Some(change)
    }

    /// The next; waits for it, also while the database is gone. Dropping the wait loses nothing but the connection that
    /// it reads on.
    pub async fn next(&mut self) -> Followed {
        loop {
            if let Some(change) = self.ready() {
                return Followed::Change(change);
            }
            if self.heard.borrow_and_update().newest == self.at {
                self.changed().await;
                continue;
            }
            match self.catch_up().await {
                Ok(Some(stored)) => {
                    self.at = stored.revision;
                    return Followed::Reload(Box::new(stored));
                }
                // What was heard of is not there (a notification of others): the next one will be.
                Ok(None) if self.ahead.is_empty() => self.changed().await,
                Ok(None) => {}
                Err(error) => {
                    if self.retry_after == RETRY.0 {
                        warn!(
                            "Changes of the store cannot be read; what is served stays as it is: {}",
                            in_full(&error)
                        );
                    }
                    tokio::time::sleep(self.retry_after).await;
                    self.retry_after = (self.retry_after * 2).min(RETRY.1);
                    continue;
                }
            }
            self.retry_after = RETRY.0;
        }
    }

    async fn changed(&mut self) {
        self.heard.changed().await.expect("its sender lives in what we share");
    }

    /// Reads ahead; answers everything where the changes alone do not do.
    async fn catch_up(&mut self) -> Result<Option<Stored>, PersistError> {
        match since(&self.shared, self.at).await {
            Ok(Since::Changes(changes)) => {
                self.ahead.extend(changes);
                return Ok(None);
            }
            Ok(Since::Gap) => {}
            // One that cannot be read would stop all behind it; what it led to may be readable.
            Err(error) if !error.is_passing() => {
                error!("A change after revision {} cannot be read: {}", self.at, in_full(&error));
            }
            Err(error) => return Err(error),
        }
        let stored = load(&self.shared).await?;
        info!(store.revision = stored.revision, "The store is read anew, at revision {}", stored.revision);
        self.shared.forget_recent();
        Ok(Some(stored))
    }
}

/// Everything, at one revision.
pub(super) async fn load(shared: &Shared) -> Result<Stored, PersistError> {
    let deadline = Instant::now() + LOAD_WITHIN;
    shared
        .ask_at_one_revision(deadline, async |connection: &mut Connection| tables::load(connection).await)
        .await
}

/// The next changes after a revision, as many as are read at once.
pub(super) async fn since(shared: &Shared, revision: u64) -> Result<Since, PersistError> {
    let deadline = Readers::deadline().max(Instant::now() + CATCH_UP_WITHIN);
    shared
        .ask_at_one_revision(deadline, async |connection: &mut Connection| {
            read_since(connection, revision).await
        })
        .await
}

async fn read_since(connection: &mut Connection, after: u64) -> Result<Since, PersistError> {
    let newest = tables::revision(connection).await?;
    if newest <= after {
        return Ok(if newest == after { Since::Changes(Vec::new()) } else { Since::Gap });
    }
    let sql = "SELECT revision, serials, items FROM changes WHERE revision > $1 ORDER BY revision LIMIT $2";
    let rows = connection.rows(sql, vec![Value::Int(after as i64), Value::Int(REVISIONS_AT_ONCE)]).await?;
    let mut changes: Vec<Change> = Vec::with_capacity(rows.len());
    let mut items = 0;
    for row in &rows {
        let revision = row.count(0)?;
        // No revision is ever left out, so the oldest are gone.
        if revision != after + changes.len() as u64 + 1 {
            return Ok(Since::Gap);
        }
        items += row.count(2)?;
        if items > CHANGES_AT_ONCE && !changes.is_empty() {
            break;
        }
        let serials = coding::serials_from_json(&row.text(1)?)?;
        changes.push(Change { revision, changes: Vec::new(), serials });
    }
    let Some(last) = changes.last().map(|change| change.revision) else { return Ok(Since::Gap) };
    // The bytes of documents are where they are stored, as they are by now: one that is gone or has changed since is told
    // of further on, and its bytes are read once.
    let sql = "SELECT i.revision, i.kind, i.zone, i.name, i.type, i.after, \
               CASE WHEN i.kind = 'document' THEN e.body ELSE i.body END \
               FROM change_items AS i LEFT JOIN entries AS e \
               ON i.kind = 'document' AND e.kind = i.kind AND e.zone = i.zone AND e.name = i.name AND e.type = i.type \
               AND e.revision = i.revision \
               WHERE i.revision > $1 AND i.revision <= $2 ORDER BY i.revision, i.position";
    let bounds = vec![Value::Int(after as i64), Value::Int(last as i64)];
    connection
        .each_row(sql, bounds, |row| {
            let key = tables::read_key(&row, 1)?;
            let coded = row.maybe_text(5)?;
            let body: Option<Arc<[u8]>> = row.bytes(6)?.map(Arc::from);
            if key.kind == Kind::Document && coded.is_some() && body.is_none() {
                return Ok(());
            }
            if let Some(change) = decode(&key, coded, body)? {
                let index = (row.count(0)? - after - 1) as usize;
                changes[index].changes.push(change);
            }
            Ok(())
        })
        .await?;
    Ok(Since::Changes(changes.into_iter().map(Arc::new).collect()))
}

fn decode(
    key: &Key,
    json: Option<String>,
    body: Option<Arc<[u8]>>,
) -> Result<Option<StoredChange>, PersistError> {
    coding::decode(key, json.map(|json| Coded { json: json.into(), body }))
}
