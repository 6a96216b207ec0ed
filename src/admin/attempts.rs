//! What was refused to whom, kept in the audit; nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tokio::sync::mpsc;
use tracing::warn;

use super::auth::{Refusal, Refusals};
use super::edit;
use crate::persist::{Audit, Commit, Note, Persist, Source};

/// Refusals that wait to be stored; beyond them they are only logged and counted: a client that is refused in a loop
/// must not hold up those who write.
const WAITING_MAX: usize = 256;

/// Keeps refusals in the store.
pub struct Attempts {
    queue: mpsc::Sender<Refusal>,
    lost: AtomicU64,
}

impl Attempts {
    /// Needs a tokio runtime; ends when it is dropped.
    pub fn new(persist: Persist) -> Arc<Attempts> {
        let (queue, mut waiting) = mpsc::channel::<Refusal>(WAITING_MAX);
        tokio::spawn(async move {
            while let Some(refusal) = waiting.recv().await {
                let who = refusal.who.name.clone();
                if let Err(error) = persist.commit(commit_of(refusal)).await {
                    warn!(who, error = ?error, "What was refused to `{who}` is not in the audit");
                }
            }
        });
        Arc::new(Attempts { queue, lost: AtomicU64::new(0) })
    }

    /// Refusals that are in the log only.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Refusals for Attempts {
    fn refused(&self, refusal: Refusal) {
        if self.queue.try_send(refusal).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn commit_of(refusal: Refusal) -> Commit {
    let Refusal { who, client, request_id, method, path, why } = refusal;
    // The door may see a path without what its routes lie below.
    let path = path.strip_prefix("/api/v1").unwrap_or(&path);
    let zone = path.strip_prefix("/zones/").and_then(|rest| rest.split('/').next());
    let after = json!({ "attempt": format!("{method} /api/v1{path}"), "refused": why });
    let note = Note {
        zone: zone.and_then(|text| edit::zone_name(text).ok()),
        name: None,
        rtype: None,
        before: None,
        after: Some(after.to_string()),
    };
    let audit = Audit {
        source: Source::Rest,
        actor: who.name.into(),
        remote: Some(client),
        request_id: Some(request_id.into()),
        comment: Some("refused".into()),
    };
    Commit { notes: vec![note], ..Commit::by(audit) }
}
