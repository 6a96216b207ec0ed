//! Decides what a group of commits does, one after the other, from what is stored: pure, no database, no clock.

use std::collections::HashMap;
use std::sync::Arc;

use super::coding::{self, Coded, Key, Kind};
use super::entry::{Change, Commit, Committed, Precondition, StoredChange, Subject};
use super::error::PersistError;
use super::time::unix_ms;
use crate::dns::Name;
use crate::zone::is_newer;

/// Beyond these, a thread costs less than it saves.
const CHANGES_SHARED_OUT: usize = 10_000;

/// A commit as rows: made by whoever commits, so that the writer only has to compare.
pub(super) struct Prepared {
    pub commit: Commit,
    /// One for each of the commit's changes.
    pub changes: Vec<(Key, Option<Coded>)>,
    pub preconditions: Vec<Expected>,
    /// One for each of the commit's serials.
    pub serials: Vec<(Key, u32)>,
}

/// A precondition as keys.
pub(super) enum Expected {
    Entry { key: Key, on: Subject, holds: fn(Option<u64>, u64) -> bool, at: u64 },
    Owner { zone: Name, name: Name, key: OwnerKey, at: u64 },
}

/// Zone and name of record sets, as text.
pub(super) type OwnerKey = (Arc<str>, Arc<str>);
/// Token and key of a request.
pub(super) type RequestKey = (Arc<str>, Arc<str>);

/// What is stored, as far as a group asks, and what the group makes of it.
#[derive(Default)]
pub(super) struct Known {
    pub revision: u64,
    /// What time the database has.
    pub now_ms: i64,
    pub entries: HashMap<Key, Held, foldhash::fast::RandomState>,
    /// The newest revision of any record set at an owner.
    pub owners: HashMap<OwnerKey, u64, foldhash::fast::RandomState>,
    pub requests: HashMap<RequestKey, Request>,
    pub cleared: Vec<Arc<str>>,
}

/// One entry.
#[derive(Default, Debug)]
pub(super) struct Held {
    pub revision: u64,
    pub value: Option<Coded>,
    /// Whether the database has a row for it.
    pub was_there: bool,
    pub is_changed: bool,
}

/// A request that was answered.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub hash: Arc<[u8]>,
    pub committed: Committed,
    pub answer: Arc<[u8]>,
    pub expires_ms: i64,
    pub is_new: bool,
}

/// One row of what a revision changed.
pub(super) struct Item {
    pub key: Key,
    pub before: Option<Arc<str>>,
    pub after: Option<Arc<str>>,
    pub body: Option<Arc<[u8]>>,
}

/// What one commit comes to.
pub(super) struct Judgement {
    pub committed: Committed,
    /// What to write and to tell; nothing for a commit that changes nothing.
    pub made: Option<(Change, Vec<Item>)>,
}

/// Changes as rows; many of them by two threads.
fn coded(changes: &[StoredChange]) -> Vec<(Key, Option<Coded>)> {
    let code = |changes: &[StoredChange]| changes.iter().map(coding::code).collect::<Vec<_>>();
    if changes.len() < CHANGES_SHARED_OUT {
        return code(changes);
    }
    let (first, rest) = changes.split_at(changes.len() / 2);
    std::thread::scope(|scope| {
        let rest = scope.spawn(|| code(rest));
        let mut all = code(first);
        all.extend(rest.join().expect("making rows of changes does not panic"));
        all
    })
}

impl Prepared {
    pub fn new(commit: Commit) -> Prepared {
        let changes = coded(&commit.changes);
        let serials = commit.serials.iter().map(|(zone, serial)| (Key::of_serial(zone), *serial)).collect();
        let preconditions = commit.preconditions.iter().map(Expected::new).collect();
        Prepared { commit, changes, preconditions, serials }
    }

    /// The entries that must be known to judge it.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        let changed = self.changes.iter().map(|(key, _)| key).filter(|key| key.kind != Kind::ZoneContents);
        let expected = self.preconditions.iter().filter_map(|expected| match expected {
            Expected::Entry { key, .. } => Some(key),
            Expected::Owner { .. } => None,
        });
        changed.chain(expected).chain(self.serials.iter().map(|(key, _)| key))
    }

    /// The owners that must be known to judge it.
    pub fn owners(&self) -> impl Iterator<Item = &OwnerKey> {
        self.preconditions.iter().filter_map(|expected| match expected {
            Expected::Owner { key, .. } => Some(key),
            Expected::Entry { .. } => None,
        })
    }

    /// The request that must be known to judge it.
    pub fn request(&self) -> Option<RequestKey> {
        let request = self.commit.idempotency.as_ref()?;
        Some((coding::storable(request.token.clone()), coding::storable(request.key.clone())))
    }
}

impl Expected {
    fn new(precondition: &Precondition) -> Expected {
        let entry = |on: &Subject, at, holds| Expected::Entry { key: Key::of(on), on: on.clone(), holds, at };
        match precondition {
            Precondition::Absent(on) => entry(on, 0, |found, _| found.is_none()),
            Precondition::Exists(on) => entry(on, 0, |found, _| found.is_some()),
            Precondition::At(on, at) => entry(on, *at, |found, at| found == Some(at)),
            Precondition::OwnerNotAfter { zone, name, revision } => Expected::Owner {
                zone: zone.clone(),
                name: name.clone(),
                key: (zone.to_string().into(), name.to_string().into()),
                at: *revision,
            },
        }
    }
}

impl Known {
    /// Judges one commit on top of those before it; one that is refused changes nothing.
    ///
    /// `here_ms` is the time that those who make commits go by; what lasts is counted by the database's.
    pub fn judge(&mut self, prepared: &Prepared, here_ms: i64) -> Result<Judgement, PersistError> {
        if let (Some(key), Some(asked)) = (prepared.request(), &prepared.commit.idempotency)
            && let Some(before) = self.requests.get(&key).filter(|request| request.expires_ms > self.now_ms)
        {
            if before.hash != asked.request_hash {
                return Err(PersistError::KeyReused);
            }
            let replayed = Some(before.answer.clone());
            return Ok(Judgement {
                committed: Committed { replayed, ..before.committed.clone() },
                made: None,
            });
        }
        for expected in &prepared.preconditions {
            self.check(expected)?;
        }
        let revision = self.revision + 1;
        let mut changes = Vec::new();
        let mut items = Vec::new();
        for ((key, value), change) in prepared.changes.iter().zip(&prepared.commit.changes) {
            if let Some(item) = self.apply(key, value, revision) {
                items.push(item);
                changes.push(change.clone());
            }
        }
        items.extend(prepared.commit.notes.iter().map(|note| {
            let text = |name: &Option<Name>| name.as_ref().map(Name::to_string).unwrap_or_default();
            let rtype = note.rtype.map(super::coding::type_text).unwrap_or_default();
            let key = Key::new(Kind::Note, text(&note.zone), text(&note.name), rtype);
            Item {
                key,
                before: note.before.as_deref().map(Arc::from),
                after: note.after.as_deref().map(Arc::from),
                body: None,
            }
        }));
        let committed = if items.is_empty() {
            Committed { revision: self.revision, serials: Vec::new(), replayed: None }
        } else {
            self.revision = revision;
            let serials = self.next_serials(prepared, revision);
            Committed { revision, serials, replayed: None }
        };
        self.remember(prepared, &committed, here_ms);
        let serials = committed.serials.clone();
        let made = (!items.is_empty()).then_some((Change { revision, changes, serials }, items));
        Ok(Judgement { committed, made })
    }

    fn check(&self, expected: &Expected) -> Result<(), PersistError> {
        match expected {
            Expected::Entry { key, on, holds, at } => {
                let held = self.entries.get(key).filter(|held| held.value.is_some());
                let found = held.map(|held| held.revision);
                if holds(found, *at) {
                    return Ok(());
                }
                Err(PersistError::Precondition { on: on.clone(), found })
            }
            Expected::Owner { zone, name, key, at } => match self.owners.get(key) {
                Some(found) if found > at => {
                    // Of which type does not matter: any may forbid what was checked.
                    let (zone, name) = (zone.clone(), name.clone());
                    let on = Subject::RecordSet { zone, name, rtype: crate::dns::RecordType::ANY };
                    Err(PersistError::Precondition { on, found: Some(*found) })
                }
                _ => Ok(()),
            },
        }
    }

    /// Applies one change; `None` when it is one that changes nothing.
    fn apply(&mut self, key: &Key, value: &Option<Coded>, revision: u64) -> Option<Item> {
        if key.kind == Kind::ZoneContents {
            for (other, held) in &mut self.entries {
                if other.kind == Kind::RecordSet && other.zone == key.zone {
                    held.value = None;
                    held.is_changed = true;
                }
            }
            self.cleared.push(key.zone.clone());
            return Some(Item { key: key.clone(), before: None, after: None, body: None });
        }
        let held = self.entries.entry(key.clone()).or_default();
        // The bytes of a document that is stored are not read for this.
        let is_same = held.value == *value && (key.kind != Kind::Document || value.is_none());
        if is_same {
            return None;
        }
        let before = held.value.take().map(|coded| coded.json);
        *held = Held { revision, value: value.clone(), is_changed: true, ..std::mem::take(held) };
        if key.kind == Kind::RecordSet {
            self.owners.insert((key.zone.clone(), key.name.clone()), revision);
        }
        let after = value.as_ref().map(|coded| coded.json.clone());
        // Those who follow read the bytes of a document where they are stored.
        let body = value.as_ref().filter(|_| key.kind == Kind::Token).and_then(|coded| coded.body.clone());
        Some(Item { key: key.clone(), before, after, body })
    }

    fn next_serials(&mut self, prepared: &Prepared, revision: u64) -> Vec<(Name, u32)> {
        let mut serials = Vec::with_capacity(prepared.serials.len());
        for ((key, after), (zone, _)) in prepared.serials.iter().zip(&prepared.commit.serials) {
            let held = self.entries.entry(key.clone()).or_default();
            let stored = held.value.as_ref().and_then(|coded| coded.json.parse().ok());
            let newest = stored.filter(|stored| is_newer(*stored, *after)).unwrap_or(*after);
            let serial = newest.wrapping_add(1);
            held.value = Some(Coded { json: serial.to_string().into(), body: None });
            held.revision = revision;
            held.is_changed = true;
            serials.push((zone.clone(), serial));
        }
        serials
    }

    fn remember(&mut self, prepared: &Prepared, committed: &Committed, here_ms: i64) {
        let (Some(key), Some(asked)) = (prepared.request(), &prepared.commit.idempotency) else { return };
        let lasts_ms = unix_ms(asked.expires).saturating_sub(here_ms);
        let request = Request {
            hash: asked.request_hash.clone(),
            committed: committed.clone(),
            answer: asked.answer.clone(),
            expires_ms: self.now_ms.saturating_add(lasts_ms),
            is_new: true,
        };
        self.requests.insert(key, request);
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Audit, Entry, Source, StoredChange, StoredForwarder};
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn put(domain: &str, upstream: &str) -> StoredChange {
        let (domain, upstreams) = (name(domain), vec![upstream.into()]);
        StoredChange::Put(Entry::Forwarder(StoredForwarder {
            domain,
            upstreams,
            queries_per_second_max: None,
        }))
    }

    fn commit(changes: &[StoredChange], preconditions: &[Precondition], serial: Option<u32>) -> Prepared {
        let audit =
            Audit { source: Source::Rest, actor: "a".into(), remote: None, request_id: None, comment: None };
        let (changes, preconditions) = (changes.to_vec(), preconditions.to_vec());
        let serials = serial.map(|serial| (name("z."), serial)).into_iter().collect();
        Prepared::new(Commit { changes, preconditions, serials, ..Commit::by(audit) })
    }

    fn revision(known: &mut Known, commit: &Prepared) -> Result<u64, String> {
        let judged = known.judge(commit, 0);
        judged.map(|judged| judged.committed.revision).map_err(|error| error.to_string())
    }

    #[test]
    fn each_commit_of_a_group_sees_those_before_it() {
        let mut known = Known { revision: 7, ..Known::default() };
        let on = Subject::Forwarder(name("a."));
        let absent = commit(&[put("a.", "10.0.0.1")], &[Precondition::Absent(on.clone())], None);
        assert_eq!(revision(&mut known, &absent), Ok(8));
        let refused = revision(&mut known, &absent).unwrap_err();
        assert_eq!(refused, "the forwarder of a. is not as expected: it is at revision 8");
        let at = |at| commit(&[put("a.", "10.0.0.2")], &[Precondition::At(on.clone(), at)], None);
        assert!(revision(&mut known, &at(7)).is_err());
        assert_eq!(revision(&mut known, &at(8)), Ok(9));
        let remove = commit(&[StoredChange::Remove(on.clone())], &[Precondition::Exists(on.clone())], None);
        assert_eq!(revision(&mut known, &remove), Ok(10));
        assert!(revision(&mut known, &remove).is_err());
    }

    #[test]
    fn what_changes_nothing_makes_no_revision_and_no_serial() {
        let mut known = Known::default();
        let same = commit(&[put("a.", "10.0.0.1")], &[], Some(4));
        let first = known.judge(&same, 0).unwrap();
        assert_eq!(first.committed.serials, [(name("z."), 5)]);
        let second = known.judge(&same, 0).unwrap();
        assert_eq!((second.committed.revision, second.made.is_some()), (1, false));
        assert!(second.committed.serials.is_empty());
    }

    #[test]
    fn a_request_is_remembered_by_the_clock_of_the_database() {
        let hour = std::time::Duration::from_secs(3_600);
        let here = std::time::SystemTime::UNIX_EPOCH + 1_000 * hour;
        let mut asked = commit(&[put("a.", "10.0.0.1")], &[], None);
        asked.commit.idempotency = Some(super::super::Idempotency {
            token: "t".into(),
            key: "k".into(),
            request_hash: Arc::from([1]),
            answer: Arc::from([2]),
            expires: here + hour,
        });
        // Our clock is a day ahead of the database's, and then another's a day behind.
        let (mut known, hour_ms) = (Known { now_ms: 976 * 3_600_000, ..Known::default() }, 3_600_000);
        assert!(known.judge(&asked, unix_ms(here)).unwrap().committed.replayed.is_none());
        known.now_ms += hour_ms - 1;
        assert!(known.judge(&asked, unix_ms(here) - 48 * hour_ms).unwrap().committed.replayed.is_some());
        known.now_ms += 2;
        assert!(known.judge(&asked, unix_ms(here)).unwrap().committed.replayed.is_none());
    }

    #[test]
    fn serials_only_rise_also_past_their_end() {
        let mut known = Known::default();
        // After 6, a serial near the end of the circle is an older one (RFC 1982).
        for (upstream, after, serial) in
            [("1.1.1.1", 4, 5), ("1.1.1.2", 2, 6), ("1.1.1.3", u32::MAX - 1, 7), ("1.1.1.4", 9, 10)]
        {
            let judged = known.judge(&commit(&[put("a.", upstream)], &[], Some(after)), 0).unwrap();
            assert_eq!(judged.committed.serials, [(name("z."), serial)], "{after}");
        }
        let mut known = Known::default();
        let judged = known.judge(&commit(&[put("a.", "1.1.1.1")], &[], Some(u32::MAX)), 0).unwrap();
        assert_eq!(judged.committed.serials, [(name("z."), 0)]);
    }
}
