//! What was refused to whom, and what was done besides records, kept in the audit; nobody waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

use super::auth::{Deed, Refusals, RefusedRequest};
use crate::counters;
use crate::ledger::{Identity, edit};
use crate::persist::{Audit, Commit, Note, Persist, Source};
use crate::telemetry::{Families, Measured, in_full};

/// Refusals that wait to be stored; beyond them they are only logged and counted: a client that is refused in a loop
/// must not hold up those who write.
const WAITING_MAX: usize = 256;

/// Refusals of one client that are kept at once, and the time after which there may be another. The audit keeps so many
/// changes and no more: a reader who is refused in a loop must not push out of it what others did.
const KEPT_AT_ONCE: u32 = 100;
const KEPT_EVERY: Duration = Duration::from_secs(10);
/// Clients that are watched; each is someone known, so that these are all there are.
const CLIENTS_MAX: usize = 10_000;

/// What waits to be stored.
enum Noted {
    Refused(RefusedRequest),
    Done(Deed),
}

counters! {
    /// What became of refusals and deeds.
    struct Counters => Counts in "audit" {
        /// Refusals and deeds that are in the log only, as there were too many for the audit.
        lost,
    }
}

/// Keeps refusals in the store.
pub struct Attempts {
    queue: mpsc::Sender<Noted>,
    counters: Counters,
    /// Until when each client's refusals are paid for.
    paid: Mutex<HashMap<String, Instant>>,
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
                    warn!(who, "What `{who}` did or was refused is not in the audit: {}", in_full(&error));
                }
            }
        });
        Arc::new(Attempts { queue, counters: Counters::default(), paid: Mutex::default() })
    }
}

impl Attempts {
    /// Whether one more refusal of this client is kept.
    fn is_kept(&self, who: &Identity, now: Instant) -> bool {
        let mut paid = self.paid.lock();
        if paid.len() >= CLIENTS_MAX {
            paid.retain(|_, until| *until > now);
        }
        let owner = who.key_owner();
        if paid.len() >= CLIENTS_MAX && !paid.contains_key(&owner) {
            return false;
        }
        let until = paid.entry(owner).or_insert(now);
        let is_kept = until.saturating_duration_since(now) <= KEPT_EVERY * (KEPT_AT_ONCE - 1);
        if is_kept {
            *until = (*until).max(now) + KEPT_EVERY;
        }
        is_kept
    }

    fn note(&self, noted: Noted) {
        if self.queue.try_send(noted).is_err() {
            self.counters.lost.add(1);
        }
    }
}

impl Measured for Attempts {
    fn measure(&self, families: &mut Families) {
        self.counters.counts().measure(families);
    }
}

impl Refusals for Attempts {
    fn refused(&self, refusal: RefusedRequest) {
        match self.is_kept(&refusal.who, Instant::now()) {
            true => self.note(Noted::Refused(refusal)),
            false => self.counters.lost.add(1),
        }
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

fn commit_of(refusal: RefusedRequest) -> Commit {
    let RefusedRequest { who, client, request_id, method, path, why } = refusal;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{How, Role, Scope};

    #[tokio::test(start_paused = true)]
    async fn refusals_of_one_client_are_kept_up_to_a_bound() {
        let attempts =
            Attempts { queue: mpsc::channel(1).0, counters: Counters::default(), paid: Mutex::default() };
        let who = |id: &str| Identity {
            name: "same".into(),
            role: Role::Reader,
            scope: Scope::All,
            how: How::Token { id: id.into() },
        };
        let now = Instant::now();
        let kept = (0..1000).filter(|_| attempts.is_kept(&who("1"), now)).count();
        assert_eq!(kept, KEPT_AT_ONCE as usize);
        assert!(attempts.is_kept(&who("2"), now), "others are not held up");
        assert!(
            attempts.is_kept(&who("1"), now + KEPT_EVERY) && !attempts.is_kept(&who("1"), now + KEPT_EVERY)
        );
    }
}
