//! What was refused to whom, and what was done besides records, kept in the audit; nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tokio::sync::mpsc;
use tracing::warn;

use super::auth::{Deed, Refusal, Refusals};
use super::edit;
use crate::persist::{Audit, Commit, Note, Persist, Source};

/// Refusals that wait to be stored; beyond them they are only logged and counted: a client that is refused in a loop
/// must not hold up those who write.
const WAITING_MAX: usize = 256;

/// What waits to be stored.
enum Noted {
    Refused(Refusal),
    Done(Deed),
}

/// Keeps refusals in the store.
pub struct Attempts {
    queue: mpsc::Sender<Noted>,
    lost: AtomicU64,
}

impl Attempts {
    /// Needs a tokio runtime; ends when it is dropped.
    pub fn new(persist: Persist) -> Arc<Attempts> {
        let (queue, mut waiting) = mpsc::channel::<Noted>(WAITING_MAX);
        tokio::spawn(async move {
            while let Some(noted) = waiting.recv().await {
                let (who, commit) = match noted {
                    Noted::Refused(refusal) => (refusal.who.name.clone(), commit_of(refusal)),
                    Noted::Done(deed) => (deed.who.name.clone(), commit_of_deed(deed)),
                };
                if let Err(error) = persist.commit(commit).await {
                    warn!(who, error = ?error, "What `{who}` did or was refused is not in the audit");
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

impl Attempts {
    fn note(&self, noted: Noted) {
        if self.queue.try_send(noted).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Refusals for Attempts {
    fn refused(&self, refusal: Refusal) {
        self.note(Noted::Refused(refusal));
    }

    fn done(&self, deed: Deed) {
        self.note(Noted::Done(deed));
    }
}

fn commit_of_deed(deed: Deed) -> Commit {
    let Deed { who, client, request_id, what } = deed;
    let after = json!({ "done": what });
    let note = Note { zone: None, name: None, rtype: None, before: None, after: Some(after.to_string()) };
    let audit = Audit {
        source: Source::Rest,
        actor: who.name.into(),
        remote: Some(client),
        request_id: Some(request_id.into()),
        comment: Some(what.into()),
    };
    Commit { notes: vec![note], ..Commit::by(audit) }
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
