//! Forgets changes beyond the audit's bounds and answers that have expired, a little at a time.

use super::database::{Connection, Value};
use super::error::PersistError;
use super::settings::Settings;
use super::tables;

/// Revisions between two steps.
const REVISIONS_A_STEP: u64 = 512;
/// Changes that one step forgets at most: more than come between two steps, few enough to hold up no one.
const FORGOTTEN_A_STEP: usize = 2_048;
const DAY_MS: i64 = 86_400_000;

/// What to forget, and when it was last done.
pub(super) struct Pruning {
    changes_max: u64,
    days_max: u32,
    newest: u64,
    done_at: u64,
}

impl Pruning {
    pub fn new(settings: &Settings, revision: u64) -> Pruning {
        let (changes_max, days_max) = (settings.audit_changes_max, settings.audit_days_max);
        Pruning { changes_max, days_max, newest: revision, done_at: revision }
    }

    /// Notes a revision.
    pub fn note(&mut self, revision: u64) {
        self.newest = revision;
    }

    pub fn is_due(&self) -> bool {
        self.newest.abs_diff(self.done_at) >= REVISIONS_A_STEP
    }

    /// One step, in a transaction of its own.
    pub async fn step(&mut self, connection: &mut Connection) -> Result<(), PersistError> {
        self.done_at = self.newest;
        connection.begin_writing().await?;
        let done = self.forget(connection).await;
        connection.end(done).await
    }

    async fn forget(&self, connection: &mut Connection) -> Result<(), PersistError> {
        // Not ours: an instance whose clock is wrong would forget what the others still need.
        let now_ms = tables::now_ms(connection).await?;
        let sql = "DELETE FROM idempotency WHERE expires_ms <= $1";
        connection.execute(sql, vec![Value::Int(now_ms)]).await?;
        let sql = "SELECT revision, at_ms FROM changes ORDER BY revision LIMIT $1";
        let oldest = connection.rows(sql, vec![Value::Int(FORGOTTEN_A_STEP as i64)]).await?;
        let kept_after = now_ms.saturating_sub(i64::from(self.days_max).saturating_mul(DAY_MS));
        let mut last = None;
        for row in &oldest {
            let revision = row.count(0)?;
            // The newest change always stays: who follows finds by it where the others went.
            let is_old = row.int(1)? < kept_after && revision < self.newest;
            if !is_old && revision.saturating_add(self.changes_max.max(1)) > self.newest {
                break;
            }
            last = Some(revision);
        }
        let Some(last) = last else { return Ok(()) };
        for sql in
            ["DELETE FROM change_items WHERE revision <= $1", "DELETE FROM changes WHERE revision <= $1"]
        {
            connection.execute(sql, vec![Value::Int(last as i64)]).await?;
        }
        Ok(())
    }
}
