//! A write checked against what is written and served: pure, it touches nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::edit::{Edit, Faults, FieldPart, FieldPath, part_at_fault};
use super::etag::{Etag, Need, Tags};
use super::found::FoundZone;
use super::plan::Plan;
use super::refusal::{Refusal, RefusalKind};
use super::translation::{Translation, serial_of};
use super::view::{Shown, ZoneView};
use super::who::Role;
use super::write::{Mode, Write};
use super::written::{WrittenState, role};
use crate::dns::{Name, RecordType};
use crate::persist::{Commit, Entry, Idempotency, Precondition, StoredChange, StoredToken, Subject};
use crate::telemetry::Quoted;
use crate::zone::{Effect, Origin, Snapshot, TriedSet, Zone, ZoneError};

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
    /// What the zones make of it.
    pub tried: TriedSet,
}

impl Draft {
    /// Checks a write against what is served now.
    pub(super) fn of(
        write: &Write,
        state: &WrittenState,
        snapshot: &Arc<Snapshot>,
    ) -> Result<Draft, Refusal> {
        write.who.identity.is_still_known(state, now_secs())?;
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
            write.who.identity.may_write(&edit.change, snapshot)?;
            if let Some(subject) = edit.change.subject()
                && !seen.insert(subject)
            {
                faults.add(edit.place.field(FieldPart::Name), "it stands twice in this request");
                continue;
            }
            match check(edit, state, snapshot, &zones) {
                Ok(own) => {
                    preconditions.extend(own);
                    let made = zone_of(&edit.change).filter(|apex| {
                        !zones.contains_key(apex) && FoundZone::of(apex, state, snapshot).is_made()
                    });
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
        let tried = Draft::try_all(&write.edits, state, snapshot)?;
        let changes: Vec<StoredChange> = write.edits.iter().map(|edit| edit.change.clone()).collect();
        let plan = match write.mode {
            Mode::DryRun => Plan::of(&changes, state, snapshot, tried.zones()),
            Mode::Do => Plan::default(),
        };
        let commit = Commit {
            serials: serials(&changes, tried.effect(), snapshot),
            changes,
            preconditions,
            idempotency: write.once.as_ref().map(|once| Idempotency {
                token: write.who.identity.key_owner().into(),
                key: once.key.as_str().into(),
                request_hash: once.fingerprint.0.into(),
                answer: once.answer.clone(),
                expires: SystemTime::now() + KEY_LIVES,
            }),
            ..Commit::by(write.who.audit(write.comment.clone()))
        };
        Ok(Draft { commit, plan, revision: state.revision, tried })
    }

    /// Tries the edits on the zones; tells what they refuse, each with its field.
    fn try_all(edits: &[Edit], state: &WrittenState, snapshot: &Arc<Snapshot>) -> Result<TriedSet, Refusal> {
        let mut faults = Faults::default();
        let mut wrong: HashSet<usize> = HashSet::new();
        loop {
            let mut translation = Translation::new(state, snapshot);
            let right = edits.iter().enumerate().filter(|(index, _)| !wrong.contains(index));
            right.for_each(|(_, edit)| translation.add(&edit.change));
            let (changes, _) = translation.into_changes();
            let error = match TriedSet::of(changes, snapshot) {
                Ok(tried) if wrong.is_empty() => return Ok(tried),
                Ok(_) => break,
                Err((error, _)) => error,
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

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// That another token can still make tokens, if this one could and is revoked.
fn keep_an_admin(token: &StoredToken, state: &WrittenState) -> Result<Option<Precondition>, Refusal> {
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

/// What one edit needs, apart from the zones' own rules; answers what must still hold when it is stored.
fn check(
    edit: &Edit,
    state: &WrittenState,
    snapshot: &Snapshot,
    zones: &HashMap<&Name, bool>,
) -> Result<Vec<Precondition>, Refusal> {
    let Some(subject) = edit.change.subject() else { return Ok(Vec::new()) };
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
        let field = edit.place.field(FieldPart::IfMatch);
        return Err(if edit.place == FieldPath::Path { refusal } else { refusal.at(field) });
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
        (None, _) if edit.place == FieldPath::Path || is_named => {
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
    state: &WrittenState,
    snapshot: &Snapshot,
    zones: &HashMap<&Name, bool>,
) -> Result<(), Refusal> {
    let found = FoundZone::of(apex, state, snapshot);
    let is_served = zones.get(apex).copied().unwrap_or(found.served.is_some());
    // What waits for a zone that is gone can be taken away all the same.
    let is_left = matches!(edit.change, StoredChange::Remove(_)) && found.sets > 0;
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

fn no_such_zone(apex: &Name, place: FieldPath) -> Refusal {
    let refusal = FoundZone::none(apex, "; GET /api/v1/zones lists them, POST makes one");
    let kind = if place == FieldPath::Path { refusal.kind } else { RefusalKind::Invalid };
    Refusal { kind, ..refusal }.at(place.field(FieldPart::Zone))
}

/// Whether what is to go is there, and is an operator's to take away.
fn check_removal(
    subject: &Subject,
    edit: &Edit,
    is_there: bool,
    state: &WrittenState,
    snapshot: &Snapshot,
) -> Result<(), Refusal> {
    if state.revision_of(subject).is_some() {
        return Ok(());
    }
    let (part, why) = match subject {
        Subject::RecordSet { zone, name, rtype } => {
            let why = others_own(snapshot.zone(zone.borrow()), name, *rtype);
            (FieldPart::Name, why.filter(|_| is_there))
        }
        Subject::Zone(apex) => {
            let why = "config, the catalogue or sync makes this zone: take it out of config; \
                       PATCH with `null` takes back what was set by this API";
            (FieldPart::Zone, snapshot.zone(apex.borrow()).map(|_| why.to_owned()))
        }
        _ => (FieldPart::Name, None),
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
fn etag(subject: &Subject, state: &WrittenState, snapshot: &Snapshot) -> Option<Etag> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{RecordSet, Ttl, rdata};
    use crate::ledger::etag::Preconditions;
    use crate::ledger::{How, Identity, Scope, Who, Written};
    use crate::persist::Stored;
    use crate::zone::{Change, ChangeSet, Offer, ZoneHeader};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn set(rtype: RecordType, data: &str) -> RecordSet {
        let data = rdata::from_text(rtype, data, name("z.").borrow()).unwrap();
        RecordSet::new(rtype, Ttl::from_secs(60).unwrap(), [data]).unwrap()
    }

    fn put(index: usize, owner: &str, rtype: RecordType, data: &str) -> Edit {
        let (zone, name) = (name("z."), name(owner));
        Edit {
            change: StoredChange::Put(Entry::RecordSet { zone, name, set: set(rtype, data) }),
            place: FieldPath::Item(index),
            conditions: Preconditions::default(),
            need: Need::Optional,
        }
    }

    /// A draft over zone `z.`, of which an endpoint's file says `a`, and operators `b` at revision 7.
    fn draft(role: Role, scope: &[&str], mode: Mode, edits: Vec<Edit>) -> Result<Draft, Refusal> {
        let zone = name("z.");
        let offer = Offer { set: set(RecordType::A, "10.0.0.1"), origin: Origin::File };
        let changes = vec![
            Change::SetZone(ZoneHeader::private_link(zone.clone())),
            Change::Put { zone: zone.clone(), name: name("a.z."), offer },
        ];
        let (snapshot, _) = ChangeSet { changes }.apply(&Snapshot::default()).unwrap();
        let own = Entry::RecordSet { zone, name: name("b.z."), set: set(RecordType::A, "10.0.0.2") };
        let written = Written::of(&Stored { revision: 7, entries: vec![(own, 7)], serials: Vec::new() });
        let identity = Identity {
            name: "test".into(),
            role,
            scope: Scope::parse(scope).unwrap(),
            how: How::Token { id: "1".into() },
        };
        let who = Who { identity, remote: [127, 0, 0, 1].into(), request_id: "1".into() };
        let write = Write { who, edits, comment: None, mode, once: None };
        Draft::of(&write, &written.read(), &Arc::new(snapshot))
    }

    #[test]
    fn a_write_that_holds_says_what_must_still_be_so_when_it_is_stored() {
        let edits = vec![put(0, "c.z.", RecordType::A, "10.0.0.3")];
        let Draft { commit, revision, .. } = draft(Role::Operator, &["*"], Mode::Do, edits).unwrap();
        assert_eq!((commit.changes.len(), revision), (1, 7));
        assert_eq!(commit.serials.iter().map(|(zone, _)| zone).collect::<Vec<_>>(), [&name("z.")]);
        let (zone, name) = (name("z."), name("c.z."));
        assert_eq!(commit.preconditions, [Precondition::OwnerNotAfter { zone, name, revision: 7 }]);
    }

    #[test]
    fn a_plan_tells_before_and_after_and_asks_for_nothing_to_be_done() {
        let edits = vec![put(0, "b.z.", RecordType::A, "10.0.0.9")];
        let plan = draft(Role::Operator, &["z"], Mode::DryRun, edits).unwrap().plan;
        assert!(plan.dry_run);
        assert_eq!((plan.lines_total, plan.lines[0].name.as_deref()), (1, Some("b")));
    }

    #[test]
    fn whoever_may_not_write_is_told_so_whatever_the_write_comes_by() {
        let refused = |role, scope: &[&str], edit| draft(role, scope, Mode::Do, vec![edit]).err().unwrap();
        let edit = || put(0, "c.z.", RecordType::A, "10.0.0.3");
        assert_eq!(refused(Role::Reader, &["*"], edit()).kind, RefusalKind::Forbidden);
        assert_eq!(refused(Role::Operator, &["d.z"], edit()).kind, RefusalKind::OutOfScope);
        let enclosing = put(0, "x.y.z.", RecordType::A, "10.0.0.3");
        let refusal = refused(Role::Operator, &["x.y.z"], enclosing);
        assert!(refusal.why.contains("would make y.z. exist"), "{}", refusal.why);
    }

    #[test]
    fn each_fault_names_its_field() {
        let elsewhere = Edit {
            change: StoredChange::Remove(Subject::RecordSet {
                zone: name("y."),
                name: name("a.y."),
                rtype: RecordType::A,
            }),
            ..put(1, "a.z.", RecordType::A, "10.0.0.1")
        };
        let edits = vec![put(0, "b.z.", RecordType::A, "10.0.0.3"), elsewhere];
        let refusal = draft(Role::Operator, &["*"], Mode::Do, edits).err().unwrap();
        assert_eq!((refusal.kind, refusal.at.as_deref()), (RefusalKind::Invalid, Some("/changes/1/zone")));
        let edits = vec![
            put(0, "c.z.", RecordType::A, "10.0.0.3"),
            put(1, "c.z.", RecordType::CNAME, "b.z."),
            put(2, "a.z.", RecordType::CNAME, "b.z."),
        ];
        let refusal = draft(Role::Operator, &["*"], Mode::Do, edits).err().unwrap();
        let all = [&refusal].into_iter().chain(&refusal.others);
        let mut fields: Vec<&str> = all.filter_map(|fault| fault.at.as_deref()).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["/changes/1/type", "/changes/2/type"]);
    }
}
