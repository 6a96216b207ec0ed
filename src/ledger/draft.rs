//! A write checked against what is written and served: pure, it touches nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::door::{Mode, Write, owner_of_key, subject};
use super::edit::{Edit, Faults, Part, Place, part_at_fault};
use super::etag::{Etag, Need, Tags};
use super::plan::Plan;
use super::refusal::{Refusal, RefusalKind};
use super::scope::Scope;
use super::translation::{Translation, serial_of};
use super::view::{Shown, ZoneView};
use super::who::{How, Identity, Role};
use super::written::{State, role};
use crate::dns::{Name, NameRef, RecordType};
use crate::persist::{Commit, Entry, Idempotency, Made, Precondition, StoredChange, StoredToken, Subject};
use crate::telemetry::Quoted;
use crate::zone::{ChangeSet, Effect, OnMissing, Origin, Snapshot, Zone, ZoneError};

/// Edits of one request of which all faults with zones are told: to find the next, all others are tried again.
pub(super) const EDITS_SEARCHED_MAX: usize = 1_000;
const ZONE_FAULTS_MAX: usize = 20;
/// How long a repeated request is recognised; clients give up long before.
const KEY_LIVES: Duration = Duration::from_secs(24 * 3600);

/// A write that holds.
pub(super) struct Draft {
    pub commit: Commit,
    pub plan: Plan,
    /// What it was validated against.
    pub revision: u64,
}

impl Draft {
    /// Checks a write against what is served now.
    pub(super) fn of(write: &Write, state: &State, snapshot: &Snapshot) -> Result<Draft, Refusal> {
        check_token(&write.who.identity, state)?;
        let mut faults = Faults::default();
        let mut preconditions = Vec::with_capacity(write.edits.len() * 2);
        let mut zones: HashMap<&Name, bool> = HashMap::new();
        let mut expected: HashSet<&Name> = HashSet::new();
        let mut seen: HashSet<Subject> = HashSet::with_capacity(write.edits.len());
        let mut owners: HashSet<(&Name, &Name)> = HashSet::with_capacity(write.edits.len());
        for edit in &write.edits {
            if faults.is_full() {
                break;
            }
            may_change(&write.who.identity, &edit.change)?;
            may_enclose(&write.who.identity, &edit.change, snapshot)?;
            if let Some(subject) = subject(&edit.change)
                && !seen.insert(subject)
            {
                faults.add(edit.place.field(Part::Name), "it stands twice in this request");
                continue;
            }
            match check(edit, state, snapshot, &zones) {
                Ok(own) => {
                    preconditions.extend(own);
                    let made = zone_of(&edit.change)
                        .filter(|apex| is_made(apex, state) && !zones.contains_key(apex));
                    // A zone that only operators make may go while this is on its way.
                    if let Some(apex) = made.filter(|apex| expected.insert(*apex)) {
                        preconditions.push(Precondition::Exists(Subject::Zone(apex.clone())));
                    }
                }
                Err(refusal) => {
                    faults.push(refusal);
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
                StoredChange::Put(Entry::Token(token)) => preconditions.extend(keep_an_admin(token, state)?),
                StoredChange::Put(Entry::RecordSet { zone, name, .. }) if owners.insert((zone, name)) => {
                    let (zone, name, revision) = (zone.clone(), name.clone(), state.revision);
                    preconditions.push(Precondition::OwnerNotAfter { zone, name, revision });
                }
                _ => {}
            }
        }
        faults.check()?;
        let (new, effect) = Draft::try_all(&write.edits, state, snapshot)?;
        let changes: Vec<StoredChange> = write.edits.iter().map(|edit| edit.change.clone()).collect();
        let plan = match write.mode {
            Mode::DryRun => Plan::of(&changes, state, snapshot, &new),
            Mode::Do => Plan::default(),
        };
        let commit = Commit {
            serials: serials(&changes, &effect, snapshot),
            changes,
            preconditions,
            idempotency: write.once.as_ref().map(|once| Idempotency {
                token: owner_of_key(&write.who.identity).into(),
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
    fn try_all(edits: &[Edit], state: &State, snapshot: &Snapshot) -> Result<(Snapshot, Effect), Refusal> {
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
                faults.push(Refusal::new(RefusalKind::Invalid, reason(&error, snapshot)));
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
        Err(Refusal::new(RefusalKind::Internal, "the zones refuse it without a reason"))
    }
}

fn apply(changes: &ChangeSet, snapshot: &Snapshot) -> Result<(Snapshot, Effect), ZoneError> {
    if changes.is_empty() {
        return Ok((snapshot.clone(), Effect::default()));
    }
    changes.apply(snapshot)
}

/// Whether the token that let the request in still does: its body may have taken a while.
fn check_token(identity: &Identity, state: &State) -> Result<(), Refusal> {
    let How::Token { id } = &identity.how else { return Ok(()) };
    let Some((token, _)) = state.token(id) else { return Ok(()) };
    if token.revoked_secs.is_some() || token.expires_secs.is_some_and(|expires| expires <= now_secs()) {
        return Err(Refusal::new(RefusalKind::Unauthenticated, "this token ended while the request came"));
    }
    Ok(())
}

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// That another token can still make tokens, if this one could and is revoked.
fn keep_an_admin(token: &StoredToken, state: &State) -> Result<Option<Precondition>, Refusal> {
    let now = now_secs();
    let is_admin = |token: &StoredToken| {
        role(token.role) == Role::Admin
            && token.zones.is_empty()
            && token.revoked_secs.is_none()
            && token.expires_secs.is_none_or(|expires| expires > now)
    };
    let was_admin = state.token(&token.id).is_some_and(|(old, _)| is_admin(old));
    if !was_admin || is_admin(token) {
        return Ok(None);
    }
    let mut others = state.tokens().filter(|other| other.id != token.id && is_admin(other));
    let Some(other) = others.next() else {
        let detail = "this is the last token of an admin; make another one first";
        return Err(Refusal::new(RefusalKind::Conflict, detail).at("id"));
    };
    let other = Subject::Token(other.id.clone());
    Ok(state.revision_of(&other).map(|revision| Precondition::At(other, revision)))
}

fn may_change(identity: &Identity, change: &StoredChange) -> Result<(), Refusal> {
    let by_subject = |subject: &Subject| match subject {
        Subject::Zone(apex) => identity.may_change_zone(apex),
        Subject::RecordSet { zone, name, .. } => identity.may_change(zone, name),
        Subject::Forwarder(_) | Subject::Token(_) | Subject::Document(_) => identity.may_change_server(),
    };
    match change {
        // RFC 1034 §4.2.1, RFC 6672 §2.3: these decide of all that lies below them.
        StoredChange::Put(Entry::RecordSet { zone, name, set })
            if set.rtype == RecordType::DNAME || (set.rtype == RecordType::NS && name != zone) =>
        {
            identity.may_change(zone, name)?;
            identity.may_change_zone(name)
        }
        StoredChange::Put(entry) => by_subject(&entry.subject()),
        StoredChange::Remove(subject) => by_subject(subject),
        StoredChange::ClearZone(apex) => identity.may_change_zone(apex),
    }
}

/// Whether the names that a record set makes exist above it, empty, hide nothing from those outside of the client's scope.
// RFC 4592 §2.2.2, §3.3.1: for a name that exists, and below it, neither a wildcard above answers nor upstream.
fn may_enclose(identity: &Identity, change: &StoredChange, snapshot: &Snapshot) -> Result<(), Refusal> {
    let StoredChange::Put(Entry::RecordSet { zone: apex, name, .. }) = change else { return Ok(()) };
    if identity.scope == Scope::All {
        return Ok(());
    }
    let Some(zone) = snapshot.zone(apex.borrow()) else { return Ok(()) };
    let mut above = name.borrow().ancestors().skip(1).take_while(|above| above.is_within(apex.borrow()));
    let made = above.by_ref().take_while(|above| zone.node(*above).is_none()).map(NameRef::to_name);
    let Some(made) = made.filter(|made| !identity.scope.covers(apex, made)).last() else { return Ok(()) };
    // The highest of them hides most, and lies right below what exists.
    let wildcard = made.borrow().parent().and_then(|encloser| encloser.child(b"*").ok());
    let hidden = match wildcard.filter(|wildcard| zone.node(wildcard.borrow()).is_some()) {
        Some(wildcard) => format!("{wildcard} answers for it"),
        None if zone.header().on_missing == OnMissing::AskPublic => "upstream answers for it".to_owned(),
        None => return Ok(()),
    };
    let detail = format!(
        "{name} would make {made} exist, which `{}` may not change, and {hidden} and all below it now: ask an admin for a \
         record there",
        identity.name
    );
    Err(Refusal::new(RefusalKind::OutOfScope, detail))
}

/// What one edit needs, apart from the zones' own rules; answers what must still hold when it is stored.
fn check(
    edit: &Edit,
    state: &State,
    snapshot: &Snapshot,
    zones: &HashMap<&Name, bool>,
) -> Result<Vec<Precondition>, Refusal> {
    let Some(subject) = subject(&edit.change) else { return Ok(Vec::new()) };
    let mut preconditions = Vec::new();
    if let Subject::RecordSet { zone, .. } = &subject {
        check_zone(zone, edit, state, snapshot, zones)?;
    }
    let is_named = edit.conditions.if_match.is_some() || edit.conditions.if_none_match.is_some();
    // Of tens of thousands that are put whatever is there, nobody asks what is.
    let is_asked = is_named || edit.need == Need::Required || matches!(edit.change, StoredChange::Remove(_));
    let current = if is_asked { etag(&subject, state, snapshot) } else { None };
    if let Err(unmet) = edit.conditions.check(current.as_ref(), edit.need) {
        let refusal = Refusal::from(unmet);
        let field = edit.place.field(Part::IfMatch);
        return Err(if edit.place == Place::Path { refusal } else { refusal.at(field) });
    }
    if let StoredChange::Remove(removed) = &edit.change {
        check_removal(removed, edit, current.is_some(), state, snapshot)?;
    }
    // Who names a state means that one; who names none must not overwrite what came meanwhile unseen.
    let revision = state.revision_of(&subject);
    match (revision, &edit.change) {
        (Some(revision), _) if is_named && !is_any(edit) => {
            preconditions.push(Precondition::At(subject, revision));
        }
        (Some(_), change) if is_named || matches!(change, StoredChange::Remove(_)) => {
            preconditions.push(Precondition::Exists(subject));
        }
        (None, _) if edit.place == Place::Path || is_named => {
            preconditions.push(Precondition::Absent(subject));
        }
        _ => {}
    }
    Ok(preconditions)
}

fn is_any(edit: &Edit) -> bool {
    matches!(edit.conditions.if_match, Some(Tags::Any))
}

/// Whether a record set's zone is there.
fn check_zone(
    apex: &Name,
    edit: &Edit,
    state: &State,
    snapshot: &Snapshot,
    zones: &HashMap<&Name, bool>,
) -> Result<(), Refusal> {
    let is_here = zones.get(apex).copied();
    let is_served = is_here.unwrap_or_else(|| snapshot.zone(apex.borrow()).is_some());
    // What waits for a zone that is gone can be taken away all the same.
    let is_left = matches!(edit.change, StoredChange::Remove(_)) && state.sets_count(apex) > 0;
    if !is_served && !is_left {
        return Err(no_such_zone(apex, edit.place));
    }
    Ok(())
}

/// The zone of a record set that is changed.
fn zone_of(change: &StoredChange) -> Option<&Name> {
    match change {
        StoredChange::Put(Entry::RecordSet { zone, .. })
        | StoredChange::Remove(Subject::RecordSet { zone, .. }) => Some(zone),
        _ => None,
    }
}

fn is_made(apex: &Name, state: &State) -> bool {
    state.zone(apex).is_some_and(|(zone, _)| matches!(zone.made, Made::ByRest(_)))
}

fn no_such_zone(apex: &Name, place: Place) -> Refusal {
    let detail = format!("there is no zone {apex}; GET /api/v1/zones lists them, POST makes one");
    let kind = if place == Place::Path { RefusalKind::NotFound } else { RefusalKind::Invalid };
    Refusal::new(kind, detail).at(place.field(Part::Zone))
}

/// Whether what is to go is there, and is an operator's to take away.
fn check_removal(
    subject: &Subject,
    edit: &Edit,
    is_there: bool,
    state: &State,
    snapshot: &Snapshot,
) -> Result<(), Refusal> {
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
    let refusal = match why {
        Some(why) => Refusal::new(RefusalKind::Conflict, why),
        None => Refusal::new(RefusalKind::NotFound, format!("there is no {subject}")),
    };
    Err(refusal.at(edit.place.field(part)))
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
        (_, Some(name)) => puts().rfind(|(_, edit)| is_at(edit, name)),
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
