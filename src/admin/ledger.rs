//! The way of a write: validated against what is served, stored, served, and only then answered.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::sync::RwLock;
use tracing::error;

use super::applier::{Applier, Neighbours};
use super::auth::Identity;
use super::edit::{Edit, Faults, Part, Place, part_at_fault};
use super::etag::Etag;
use super::idempotency::{Fingerprint, Key};
use super::listener::Peer;
use super::plan::Plan;
use super::problem::{Kind, Problem};
use super::shell::RequestId;
use super::translation::{Translation, serial_of};
use super::view::{Shown, ZoneView};
use super::written::{State, Written};
use crate::dns::{Name, RecordType};
use crate::persist::{
    Audit, Commit, Committed, Entry, Idempotency, Made, Persist, PersistError, Precondition, Replay, Source,
    StoredChange, Subject,
};
use crate::telemetry::Quoted;
use crate::zone::{ChangeSet, Effect, Origin, Snapshot, Store, Zone, ZoneError};

/// How long a stored change may take to be served; it takes microseconds unless the machine stands still.
const APPLIED_WITHIN: Duration = Duration::from_secs(10);
/// How long the change of another is waited for that a write was validated without.
const OTHERS_WITHIN: Duration = Duration::from_millis(500);
/// How often a write is validated anew because another came first; after the first time only one of another instance
/// can.
const ATTEMPTS_MAX: usize = 8;
/// Beyond these, validating takes milliseconds, in which other tasks of the thread would stand still.
const EDITS_VALIDATED_HERE: usize = 500;
/// Edits of one request of which all faults with zones are told: to find the next, all others are tried again.
const EDITS_SEARCHED_MAX: usize = 1_000;
const ZONE_FAULTS_MAX: usize = 20;
/// How long a repeated request is recognised; clients give up long before.
const KEY_LIVES: Duration = Duration::from_secs(24 * 3600);

/// The one door for what operators change.
pub struct Ledger {
    persist: Persist,
    applier: Arc<Applier>,
    /// Most writes only meet others at the same name, which the store checks. Those whose reach is wider (zones, DNAME)
    /// are alone.
    reach: RwLock<()>,
}

/// Who writes, and from where.
#[derive(Clone, Debug)]
pub struct Who {
    pub identity: Identity,
    pub remote: IpAddr,
    pub request_id: String,
}

/// A write as it is asked for.
#[derive(Clone, Debug)]
pub struct Write {
    pub who: Who,
    pub edits: Vec<Edit>,
    pub comment: Option<Arc<str>>,
    pub mode: Mode,
    pub once: Option<Once>,
}

/// Whether it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Do,
    DryRun,
}

/// A request that is done once, however often it is sent.
#[derive(Clone, Debug)]
pub struct Once {
    pub key: Key,
    pub fingerprint: Fingerprint,
    /// What it is answered with again, beside revision and serials.
    pub answer: Arc<[u8]>,
}

/// What became of a write.
#[derive(Clone, Debug)]
pub enum Outcome {
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

/// A write that holds.
struct Draft {
    commit: Commit,
    plan: Plan,
    /// What it was validated against.
    revision: u64,
}

/// Why a draft was not made.
type Refused = Box<Problem>;

impl Ledger {
    pub fn new(persist: Persist, applier: Arc<Applier>) -> Arc<Ledger> {
        Arc::new(Ledger { persist, applier, reach: RwLock::new(()) })
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

    pub fn persist(&self) -> &Persist {
        &self.persist
    }

    /// Does what a request asks for, all or nothing; when this answers, the next DNS query sees it.
    pub async fn write(self: &Arc<Ledger>, write: Write) -> Result<Outcome, Problem> {
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
            let Draft { commit, plan, revision } = self.validate(write.clone()).await?;
            if write.mode == Mode::DryRun {
                return Ok(Outcome::Planned(plan));
            }
            let subjects: Vec<Subject> = if write.edits.len() <= EDITS_SEARCHED_MAX {
                write.edits.iter().filter_map(|edit| subject(&edit.change)).collect()
            } else {
                Vec::new()
            };
            match self.persist.commit(commit).await {
                Ok(committed) => return self.served(committed, &subjects).await,
                Err(PersistError::Precondition { found, .. }) => {
                    // Another came first: validated with its change, this one may be right or wrong. Now it is tried
                    // alone, or of many writers at one name most would lose again and again.
                    beside_others = None;
                    self.applier.wait_for(found.unwrap_or(0).max(revision + 1), OTHERS_WITHIN).await;
                }
                Err(error) => return Err(problem_of(&error)),
            }
        }
        let detail = "others change the same all the time; send it again";
        Err(Problem::new(Kind::Unavailable, detail).retry_after_secs(1))
    }

    /// Whether a request with this key was answered before.
    pub async fn has_answered(&self, who: &Who, key: &Key) -> Result<bool, Problem> {
        let replay = self.persist.idempotent(&owner_of_key(who), key.as_str()).await;
        Ok(replay.map_err(|error| problem_of(&error))?.is_some())
    }

    /// The answer to a request that was done before.
    async fn replayed(&self, who: &Who, once: &Once) -> Result<Option<Outcome>, Problem> {
        let replay = self.persist.idempotent(&owner_of_key(who), once.key.as_str()).await;
        let Some(Replay { request_hash, committed }) = replay.map_err(|error| problem_of(&error))? else {
            return Ok(None);
        };
        if *request_hash != once.fingerprint.0 {
            return Err(problem_of(&PersistError::KeyReused));
        }
        self.served(committed, &[]).await.map(Some)
    }

    /// Waits until what is stored is served.
    async fn served(&self, committed: Committed, subjects: &[Subject]) -> Result<Outcome, Problem> {
        let Committed { revision, mut serials, replayed } = committed;
        if !self.applier.wait_for(revision, APPLIED_WITHIN).await {
            let detail = format!("it is stored as revision {revision}, but not served yet; read it again");
            return Err(Problem::new(Kind::Timeout, detail).retry_after_secs(1).with("revision", revision));
        }
        let mut not_served = Vec::new();
        {
            let state = self.written().read();
            for subject in subjects {
                let why = match subject {
                    Subject::RecordSet { zone, name, rtype } => state.why_refused(zone, name, *rtype),
                    Subject::Zone(apex) => state.why_zone_refused(apex),
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
            Some(answer) => Outcome::Replayed(receipt, answer),
            None => Outcome::Done(receipt),
        })
    }

    async fn validate(self: &Arc<Ledger>, write: Arc<Write>) -> Result<Draft, Problem> {
        if write.edits.len() <= EDITS_VALIDATED_HERE && !write.edits.iter().any(|edit| is_wide(&edit.change))
        {
            return self.draft(&write).map_err(|refused| *refused);
        }
        let ledger = self.clone();
        let draft = tokio::task::spawn_blocking(move || ledger.draft(&write)).await;
        draft.expect("validating does not panic").map_err(|refused| *refused)
    }

    /// Checks a write against what is served now.
    fn draft(&self, write: &Write) -> Result<Draft, Refused> {
        // First what is written, then what is served: see `Written`.
        let state = self.written().read();
        let snapshot = self.store().snapshot();
        let mut faults = Faults::default();
        let mut preconditions = Vec::with_capacity(write.edits.len() * 2);
        let mut zones: HashMap<&Name, bool> = HashMap::new();
        let mut seen: HashSet<Subject> = HashSet::with_capacity(write.edits.len());
        let mut owners: HashSet<(&Name, &Name)> = HashSet::with_capacity(write.edits.len());
        for edit in &write.edits {
            if faults.is_full() {
                break;
            }
            may_change(&write.who.identity, &edit.change)?;
            if let Some(subject) = subject(&edit.change)
                && !seen.insert(subject)
            {
                faults.add(edit.place.field(Part::Name), "it stands twice in this request");
                continue;
            }
            match check(edit, &state, &snapshot, &zones) {
                Ok(own) => preconditions.extend(own),
                Err(problem) => {
                    faults.push(*problem);
                    continue;
                }
            }
            match &edit.change {
                StoredChange::Put(Entry::Zone(zone)) => {
                    zones.insert(&zone.apex, true);
                }
                StoredChange::Remove(Subject::Zone(apex)) => {
                    zones.insert(apex, false);
                }
                StoredChange::Put(Entry::RecordSet { zone, name, .. }) if owners.insert((zone, name)) => {
                    let (zone, name, revision) = (zone.clone(), name.clone(), state.revision);
                    preconditions.push(Precondition::OwnerNotAfter { zone, name, revision });
                }
                _ => {}
            }
        }
        faults.check()?;
        let (new, effect) = self.try_all(&write.edits, &state, &snapshot)?;
        let changes: Vec<StoredChange> = write.edits.iter().map(|edit| edit.change.clone()).collect();
        let plan = match write.mode {
            Mode::DryRun => Plan::of(&changes, &state, &snapshot, &new),
            Mode::Do => Plan::default(),
        };
        let commit = Commit {
            serials: serials(&changes, &effect, &snapshot),
            changes,
            preconditions,
            idempotency: write.once.as_ref().map(|once| Idempotency {
                token: owner_of_key(&write.who).into(),
                key: once.key.as_str().into(),
                request_hash: once.fingerprint.0.into(),
                answer: once.answer.clone(),
                expires: SystemTime::now() + KEY_LIVES,
            }),
            ..Commit::by(write.who.audit(write.comment.clone()))
        };
        Ok(Draft { commit, plan, revision: state.revision })
    }

    /// Tries the edits on the zones; tells what they refuse, each with its field.
    fn try_all(
        &self,
        edits: &[Edit],
        state: &State,
        snapshot: &Snapshot,
    ) -> Result<(Snapshot, Effect), Refused> {
        let mut faults = Faults::default();
        let mut wrong: HashSet<usize> = HashSet::new();
        loop {
            let mut translation = Translation::new(state, snapshot);
            let right = edits.iter().enumerate().filter(|(index, _)| !wrong.contains(index));
            right.for_each(|(_, edit)| translation.add(&edit.change));
            let (changes, _) = translation.into_changes();
            let error = match apply(&changes, snapshot) {
                Ok(done) if wrong.is_empty() => return Ok(done),
                Ok(_) => break,
                Err(error) => error,
            };
            let found = at_fault(&error, edits, &wrong);
            let Some(index) = found else {
                faults.push(Problem::new(Kind::Invalid, reason(&error, snapshot)));
                break;
            };
            let (part, _) = part_at_fault(&error);
            faults.add(edits[index].place.field(part), reason(&error, snapshot));
            wrong.insert(index);
            if edits.len() > EDITS_SEARCHED_MAX || wrong.len() == ZONE_FAULTS_MAX {
                break;
            }
        }
        faults.check()?;
        // Without a fault the loop has answered.
        Err(Box::new(Problem::new(Kind::Internal, "the zones refuse it without a reason")))
    }
}

impl Who {
    fn audit(&self, comment: Option<Arc<str>>) -> Audit {
        Audit {
            source: Source::Rest,
            actor: self.identity.name.as_str().into(),
            remote: Some(self.remote),
            request_id: Some(self.request_id.as_str().into()),
            comment,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Who, Problem> {
        let identity = Identity::from_request_parts(parts, state).await?;
        let peer = parts.extensions.get::<Peer>();
        let remote = peer.map(|peer| peer.address.ip().to_canonical());
        let remote = remote.ok_or_else(|| Problem::new(Kind::Internal, "the connection is not known"))?;
        let request_id = parts.extensions.get::<RequestId>().map(ToString::to_string).unwrap_or_default();
        Ok(Who { identity, remote, request_id })
    }
}

fn apply(changes: &ChangeSet, snapshot: &Snapshot) -> Result<(Snapshot, Effect), ZoneError> {
    if changes.is_empty() {
        return Ok((snapshot.clone(), Effect::default()));
    }
    changes.apply(snapshot)
}

/// Whose key an idempotency key is: the same key of two clients is two.
fn owner_of_key(who: &Who) -> String {
    use super::auth::How;
    match &who.identity.how {
        How::Token { id } => format!("token {id}"),
        How::Entra { object_id } => format!("entra {object_id}"),
        How::Certificate { sha256 } => format!("certificate {sha256}"),
    }
}

/// Whether a change can be wrong because of changes at other names.
fn is_wide(change: &StoredChange) -> bool {
    match change {
        StoredChange::Put(Entry::Zone(_)) | StoredChange::ClearZone(_) => true,
        StoredChange::Remove(Subject::Zone(_)) => true,
        StoredChange::Put(Entry::RecordSet { set, .. }) => set.rtype == RecordType::DNAME,
        _ => false,
    }
}

fn subject(change: &StoredChange) -> Option<Subject> {
    match change {
        StoredChange::Put(entry) => Some(entry.subject()),
        StoredChange::Remove(subject) => Some(subject.clone()),
        StoredChange::ClearZone(_) => None,
    }
}

fn may_change(identity: &Identity, change: &StoredChange) -> Result<(), Problem> {
    let by_subject = |subject: &Subject| match subject {
        Subject::Zone(apex) => identity.may_change_zone(apex),
        Subject::RecordSet { zone, name, .. } => identity.may_change(zone, name),
        Subject::Forwarder(_) | Subject::Token(_) | Subject::Document(_) => identity.may_change_server(),
    };
    match change {
        StoredChange::Put(entry) => by_subject(&entry.subject()),
        StoredChange::Remove(subject) => by_subject(subject),
        StoredChange::ClearZone(apex) => identity.may_change_zone(apex),
    }
}

/// What one edit needs, apart from the zones' own rules; answers what must still hold when it is stored.
fn check(
    edit: &Edit,
    state: &State,
    snapshot: &Snapshot,
    zones: &HashMap<&Name, bool>,
) -> Result<Vec<Precondition>, Refused> {
    let Some(subject) = subject(&edit.change) else { return Ok(Vec::new()) };
    let mut preconditions = Vec::new();
    if let Subject::RecordSet { zone, .. } = &subject {
        check_zone(zone, edit, state, snapshot, zones, &mut preconditions)?;
    }
    let current = etag(&subject, state, snapshot);
    if let Err(unmet) = edit.conditions.check(current.as_ref(), edit.need) {
        let problem = Problem::from(unmet);
        let field = edit.place.field(Part::IfMatch);
        return Err(Box::new(if edit.place == Place::Path { problem } else { problem.at(field) }));
    }
    if let StoredChange::Remove(removed) = &edit.change {
        check_removal(removed, edit, current.is_some(), state, snapshot)?;
    }
    // Who names a state means that one; who names none must not overwrite what came meanwhile unseen.
    let revision = state.revision_of(&subject);
    let is_named = edit.conditions.if_match.is_some() || edit.conditions.if_none_match.is_some();
    match (revision, &edit.change) {
        (Some(revision), _) if is_named && !is_any(edit) => {
            preconditions.push(Precondition::At(subject, revision));
        }
        (Some(_), StoredChange::Remove(_)) => preconditions.push(Precondition::Exists(subject)),
        (None, _) if edit.place == Place::Path || is_named => {
            preconditions.push(Precondition::Absent(subject));
        }
        _ => {}
    }
    Ok(preconditions)
}

fn is_any(edit: &Edit) -> bool {
    use super::etag::Tags;
    matches!(edit.conditions.if_match, Some(Tags::Any))
}

/// Whether a record set's zone is there.
fn check_zone(
    apex: &Name,
    edit: &Edit,
    state: &State,
    snapshot: &Snapshot,
    zones: &HashMap<&Name, bool>,
    preconditions: &mut Vec<Precondition>,
) -> Result<(), Refused> {
    let is_here = zones.get(apex).copied();
    let is_served = is_here.unwrap_or_else(|| snapshot.zone(apex.borrow()).is_some());
    // What waits for a zone that is gone can be taken away all the same.
    let is_left = matches!(edit.change, StoredChange::Remove(_)) && state.sets(apex).len() > 0;
    if !is_served && !is_left {
        return Err(Box::new(no_such_zone(apex, edit.place)));
    }
    // A zone that only operators make may go while this is on its way.
    let is_made = state.zone(apex).is_some_and(|(zone, _)| matches!(zone.made, Made::ByRest(_)));
    let exists = Precondition::Exists(Subject::Zone(apex.clone()));
    if is_here.is_none() && is_made && preconditions.last() != Some(&exists) {
        preconditions.push(exists);
    }
    Ok(())
}

fn no_such_zone(apex: &Name, place: Place) -> Problem {
    let detail = format!("there is no zone {apex}; GET /api/v1/zones lists them, POST makes one");
    let kind = if place == Place::Path { Kind::NotFound } else { Kind::Invalid };
    Problem::new(kind, detail).at(place.field(Part::Zone))
}

/// Whether what is to go is there, and is an operator's to take away.
fn check_removal(
    subject: &Subject,
    edit: &Edit,
    is_there: bool,
    state: &State,
    snapshot: &Snapshot,
) -> Result<(), Refused> {
    if state.revision_of(subject).is_some() {
        return Ok(());
    }
    let (part, why) = match subject {
        Subject::RecordSet { zone, name, rtype } => {
            let why = others_own(snapshot.zone(zone.borrow()), name, *rtype);
            (Part::Name, why.filter(|_| is_there))
        }
        Subject::Zone(apex) => {
            let why = "config, the catalogue or sync makes this zone: take it out of config; \
                       PATCH with `null` takes back what was set by this API";
            (Part::Zone, snapshot.zone(apex.borrow()).map(|_| why.to_owned()))
        }
        _ => (Part::Name, None),
    };
    Err(Box::new(match why {
        Some(why) => Problem::new(Kind::Conflict, why).at(edit.place.field(part)),
        None => Problem::new(Kind::NotFound, format!("there is no {subject}")).at(edit.place.field(part)),
    }))
}

/// What to do about a record set that operators have not written.
fn others_own(zone: Option<&Arc<Zone>>, name: &Name, rtype: RecordType) -> Option<String> {
    let offers = zone?.node(name.borrow())?.slot(rtype)?.offers();
    let mut origins: Vec<&Origin> = offers.iter().map(|offer| &offer.origin).collect();
    origins.sort_by_key(|origin| origin.is_operators());
    Some(match origins.first()? {
        Origin::Endpoint(claim) => format!(
            "private endpoint {} claims it, and DELETE only takes back what was written by this API: remove or reject \
             the endpoint in Azure, or PUT a record set of your own, which goes before it",
            claim.endpoint
        ),
        Origin::File => {
            "it stands in the zone's master file: take it out there, or PUT a record set of your own, \
                         which goes before it"
                .to_owned()
        }
        Origin::BuiltIn => "it is built in: PUT a record set of your own, which goes before it".to_owned(),
        origin => format!("it is {origin}: PUT a record set of your own, which goes before it"),
    })
}

/// The state of something that a write may name.
fn etag(subject: &Subject, state: &State, snapshot: &Snapshot) -> Option<Etag> {
    if let Some(revision) = state.revision_of(subject) {
        return Some(Etag::of_revision(revision));
    }
    match subject {
        Subject::RecordSet { zone, name, rtype } => {
            Shown { apex: zone, name, rtype: *rtype, state, snapshot }.etag()
        }
        Subject::Zone(apex) => ZoneView::of(apex, state, snapshot)?.etag,
        _ => None,
    }
}

/// The zones that get a new serial, each with the one that it comes after.
fn serials(changes: &[StoredChange], effect: &Effect, snapshot: &Snapshot) -> Vec<(Name, u32)> {
    let mut serials: BTreeMap<Name, u32> = BTreeMap::new();
    for (apex, serial) in &effect.zones {
        if serial.is_some() {
            let after = snapshot.zone(apex.borrow()).map_or(0, |zone| zone.serial());
            serials.insert(apex.clone(), after);
        }
    }
    for change in changes {
        // A SOA that brings a newer serial of its own gets that one.
        if let StoredChange::Put(Entry::RecordSet { zone, set, .. }) = change
            && set.rtype == RecordType::SOA
            && let Some(given) = serial_of(set)
            && let Some(after) = serials.get_mut(zone)
            && crate::zone::is_newer(given, *after)
        {
            *after = given.wrapping_sub(1);
        }
    }
    serials.into_iter().collect()
}

/// The edit that the zones refuse.
fn at_fault(error: &ZoneError, edits: &[Edit], wrong: &HashSet<usize>) -> Option<usize> {
    let (_, at) = part_at_fault(error);
    let puts = || edits.iter().enumerate().filter(|(index, _)| !wrong.contains(index));
    let is_at = |edit: &Edit, found: &Name| match &edit.change {
        StoredChange::Put(Entry::RecordSet { name, .. }) => name == found,
        _ => false,
    };
    let is_of_type = |edit: &Edit, wanted: RecordType| match &edit.change {
        StoredChange::Put(Entry::RecordSet { set, .. }) => set.rtype == wanted,
        _ => false,
    };
    let found = match (error, at) {
        (ZoneError::MoreThanOne { rtype, .. } | ZoneError::NotAtApex { rtype, .. }, Some(name))
        | (ZoneError::BadData { rtype, .. } | ZoneError::SetTooLarge { rtype, .. }, Some(name)) => {
            puts().find(|(_, edit)| is_at(edit, name) && is_of_type(edit, *rtype))
        }
        // The last one: what stood before it was there first.
        (_, Some(name)) => puts().filter(|(_, edit)| is_at(edit, name)).last(),
        (ZoneError::NoSuchNetwork(apex, _), None) => puts().find(|(_, edit)| {
            matches!(&edit.change, StoredChange::Put(Entry::Zone(zone)) if zone.apex == *apex)
        }),
        (ZoneError::NoSuchZone(apex), None) => puts().find(|(_, edit)| {
            matches!(&edit.change, StoredChange::Put(Entry::RecordSet { zone, .. }) if zone == apex)
        }),
        _ => None,
    };
    // A DNAME is refused by the name of what lies below it.
    let by_dname = || match error {
        ZoneError::BelowDname { dname, .. } => puts().find(|(_, edit)| is_at(edit, dname)),
        _ => None,
    };
    found.or_else(by_dname).map(|(index, _)| index)
}

/// What the zones say, with what to do.
fn reason(error: &ZoneError, snapshot: &Snapshot) -> String {
    match error {
        ZoneError::CnameBesideData(_) => {
            format!("{error}: delete the one, or write the other elsewhere")
        }
        ZoneError::NoSuchNetwork(_, network) => {
            let known: Vec<&str> =
                snapshot.networks().iter().map(|(_, network)| &*network.name).take(20).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!("network `{}` is not configured; those that are: {known}", Quoted(network))
        }
        _ => error.to_string(),
    }
}

/// What the store's no means to a client.
pub(super) fn problem_of(found: &PersistError) -> Problem {
    match found {
        PersistError::Unavailable { retry_after, .. } | PersistError::Unsettled { retry_after, .. } => {
            Problem::new(Kind::Unavailable, found.to_string()).retry_after_secs(retry_after.as_secs().max(1))
        }
        PersistError::KeyReused => {
            let detail = "this key was sent with another request; send a new key with a new request";
            Problem::invalid("Idempotency-Key", detail)
        }
        PersistError::TooLarge { .. } => {
            Problem::new(Kind::TooLarge, format!("{found}; send it in several requests"))
        }
        PersistError::Precondition { .. } => Problem::new(Kind::PreconditionFailed, found.to_string()),
        _ => {
            error!(error = ?found, "The store failed");
            Problem::new(Kind::Internal, "the store failed; the log tells more under this request id")
        }
    }
}
