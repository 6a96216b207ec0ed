//! The way of a write: validated against what is served, stored, served, and only then answered.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::RwLock;

use super::applier::{Applier, Expected, Neighbours};
use super::draft::{Draft, EDITS_SEARCHED_MAX};
use super::idempotency::IdempotencyKey;
use super::plan::Plan;
use super::refusal::{Refusal, RefusalKind};
use super::turns::Turns;
use super::who::Who;
use super::write::{Mode, Once, Write};
use super::written::Written;
use crate::dns::{Name, RecordType};
use crate::persist::{Committed, Entry, Persist, PersistError, Replay, StoredChange, Subject};
use crate::zone::Store;

/// How long a stored change may take to be served; it takes microseconds unless the machine stands still.
const APPLIED_WITHIN: Duration = Duration::from_secs(10);
/// How long the change of another is waited for that a write was validated without.
const OTHERS_WITHIN: Duration = Duration::from_millis(500);
/// How often a write is validated anew because another came first; after the first time only one of another instance
/// can.
const ATTEMPTS_MAX: usize = 8;
/// Beyond these, validating takes milliseconds, in which other tasks of the thread would stand still.
const EDITS_VALIDATED_HERE: usize = 500;
/// Large writes that are read and validated at once. They have places of their own: who may only read must not hold up
/// those who write.
const PREPARATIONS_MAX: usize = 2;

/// The one door for what operators change.
pub struct Ledger {
    persist: Persist,
    applier: Arc<Applier>,
    /// Most writes only meet others at the same name, which the store checks. Those whose reach is wider (zones, DNAME)
    /// are alone.
    reach: RwLock<()>,
    preparations: Turns,
}

/// What became of a write.
#[derive(Clone, Debug)]
pub enum WriteOutcome {
    /// It would be done so.
    Planned(Plan),
    /// It is stored and served.
    Done(Receipt),
    /// It was done before.
    Replayed(Receipt, Arc<[u8]>),
}

/// What a write came to.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub revision: u64,
    pub serials: Vec<(Name, u32)>,
    /// What is stored but not served, with the reason; another instance's change came between.
    pub not_served: Vec<(Subject, Arc<str>)>,
}

impl Ledger {
    pub fn new(persist: Persist, applier: Arc<Applier>) -> Arc<Ledger> {
        let preparations = Turns::new(PREPARATIONS_MAX);
        Arc::new(Ledger { persist, applier, reach: RwLock::new(()), preparations })
    }

    pub fn store(&self) -> &Arc<Store> {
        self.applier.store()
    }

    pub fn written(&self) -> &Arc<Written> {
        self.applier.written()
    }

    pub fn neighbours(&self) -> &Arc<dyn Neighbours> {
        self.applier.neighbours()
    }

    /// Reads or validates a large write where it holds nobody up; it waits for its turn.
    pub async fn prepare<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        self.preparations.take(work).await
    }

    pub fn persist(&self) -> &Persist {
        &self.persist
    }

    /// Does what a request asks for, all or nothing; when this answers, the next DNS query sees it.
    pub async fn write(self: &Arc<Ledger>, write: Write) -> Result<WriteOutcome, Refusal> {
        if let Some(once) = &write.once
            && write.mode == Mode::Do
            && let Some(replay) = self.replayed(&write.who, once).await?
        {
            return Ok(replay);
        }
        let write = Arc::new(write);
        let is_wide = write.edits.iter().any(|edit| is_wide(&edit.change));
        let mut alone = None;
        let mut beside_others = None;
        if !is_wide {
            beside_others = Some(self.reach.read().await);
        }
        for _ in 0..ATTEMPTS_MAX {
            if beside_others.is_none() && alone.is_none() {
                alone = Some(self.reach.write().await);
            }
            let Draft { commit, plan, revision, tried } = self.validate(write.clone()).await?;
            if write.mode == Mode::DryRun {
                return Ok(WriteOutcome::Planned(plan));
            }
            let subjects: Vec<Subject> = if write.edits.len() <= EDITS_SEARCHED_MAX {
                write.edits.iter().filter_map(|edit| edit.change.subject()).collect()
            } else {
                Vec::new()
            };
            let _expected = self.applier.expect(Expected { write: write.clone(), revision, tried });
            match self.persist.commit(commit).await {
                Ok(committed) => return self.served(committed, &subjects).await,
                Err(PersistError::Precondition { found, .. }) => {
                    // Another came first: validated with its change, this one may be right or wrong. Now it is tried
                    // alone, or of many writers at one name most would lose again and again.
                    beside_others = None;
                    self.applier.wait_for(found.unwrap_or(0).max(revision + 1), OTHERS_WITHIN).await;
                }
                Err(error) => return Err(Refusal::from(&error)),
            }
        }
        let detail = "others change the same all the time; send it again";
        Err(Refusal::new(RefusalKind::Unavailable { retry_secs: 1 }, detail))
    }

    /// Whether a request with this key was answered before.
    pub async fn has_answered(&self, who: &Who, key: &IdempotencyKey) -> Result<bool, Refusal> {
        let replay = self.persist.idempotent(&who.identity.key_owner(), key.as_str()).await;
        Ok(replay.map_err(|error| Refusal::from(&error))?.is_some())
    }

    /// The answer to a request that was done before.
    async fn replayed(&self, who: &Who, once: &Once) -> Result<Option<WriteOutcome>, Refusal> {
        let replay = self.persist.idempotent(&who.identity.key_owner(), once.key.as_str()).await;
        let Some(Replay { request_hash, committed }) = replay.map_err(|error| Refusal::from(&error))? else {
            return Ok(None);
        };
        if *request_hash != once.fingerprint.0 {
            return Err(Refusal::from(&PersistError::KeyReused));
        }
        self.served(committed, &[]).await.map(Some)
    }

    /// Waits until what is stored is served.
    async fn served(&self, committed: Committed, subjects: &[Subject]) -> Result<WriteOutcome, Refusal> {
        let Committed { revision, mut serials, replayed } = committed;
        if !self.applier.wait_for(revision, APPLIED_WITHIN).await {
            let detail = format!("it is stored as revision {revision}, but not served yet; read it again");
            return Err(Refusal::new(RefusalKind::NotServedYet { revision }, detail));
        }
        let mut not_served = Vec::new();
        {
            let state = self.written().read();
            for subject in subjects {
                let why = match subject {
                    Subject::RecordSet { zone, name, rtype } => state.why_refused(zone, name, *rtype),
                    Subject::Zone(apex) => state.why_zone_refused(apex),
                    Subject::Forwarder(_) => state.why_rules_refused(),
                    _ => None,
                };
                not_served.extend(why.map(|why| (subject.clone(), why.clone())));
            }
        }
        if replayed.is_none() {
            let snapshot = self.store().load();
            for (apex, serial) in &mut serials {
                // Sync may have counted on.
                *serial = snapshot.zone(apex.borrow()).map_or(*serial, |zone| zone.serial());
            }
        }
        let receipt = Receipt { revision, serials, not_served };
        Ok(match replayed {
            Some(answer) => WriteOutcome::Replayed(receipt, answer),
            None => WriteOutcome::Done(receipt),
        })
    }

    fn draft(&self, write: &Write) -> Result<Draft, Refusal> {
        // First what is written, then what is served: see `Written`.
        let state = self.written().read();
        let snapshot = self.store().snapshot();
        Draft::of(write, &state, &snapshot)
    }

    async fn validate(self: &Arc<Ledger>, write: Arc<Write>) -> Result<Draft, Refusal> {
        if write.edits.len() <= EDITS_VALIDATED_HERE && !write.edits.iter().any(|edit| is_wide(&edit.change))
        {
            return self.draft(&write);
        }
        let ledger = self.clone();
        self.prepare(move || ledger.draft(&write)).await?
    }
}

/// Whether a change can be wrong because of changes at other names.
fn is_wide(change: &StoredChange) -> bool {
    match change {
        StoredChange::Put(Entry::Zone(_)) | StoredChange::ClearZone(_) => true,
        StoredChange::Remove(Subject::Zone(_)) => true,
        StoredChange::Put(Entry::RecordSet { set, .. }) => set.rtype == RecordType::DNAME,
        // Two admins who revoke each other would leave none.
        StoredChange::Put(Entry::Token(token)) => token.revoked_secs.is_some(),
        _ => false,
    }
}
