//! What is stored: entries, the subjects they are about, and changes of them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::dns::{Name, RecordSet, RecordType};
use crate::zone::{OnMissing, ZoneKind};

/// One thing that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Zone(StoredZone),
    RecordSet { zone: Name, name: Name, set: RecordSet },
    Forwarder(StoredForwarder),
    Token(StoredToken),
    Document(StoredDocument),
}

/// What an entry is about; there is one entry about each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    Zone(Name),
    RecordSet { zone: Name, name: Name, rtype: RecordType },
    Forwarder(Name),
    Token(Arc<str>),
    Document(Arc<str>),
}

/// One change of what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredChange {
    /// Adds an entry, or replaces the one about the same subject.
    Put(Entry),
    /// Takes an entry away. The record sets of a zone stay.
    Remove(Subject),
    /// Takes all record sets of a zone away.
    ClearZone(Name),
}

/// A zone made by REST, or settings by REST of a zone that the file or the catalogue makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredZone {
    pub apex: Name,
    pub made: Made,
    /// Without it the zone's own setting holds.
    pub on_missing: Option<OnMissing>,
    /// Without them the zone's own networks hold.
    pub networks: Option<Vec<Arc<str>>>,
}

/// Who makes a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// An operator, by REST.
    ByRest(ZoneKind),
    /// Something else; what is stored only sets it.
    Elsewhere,
}

/// A rule of forwarding, its upstreams as the operator wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredForwarder {
    pub domain: Name,
    pub upstreams: Vec<Arc<str>>,
    pub queries_per_second_max: Option<u32>,
}

/// A bearer token, without the token.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredToken {
    pub id: Arc<str>,
    pub name: Arc<str>,
    /// Whatever the token is checked against; shown nowhere.
    pub hash: Arc<[u8]>,
    pub role: Role,
    /// Zones it may change, as patterns; none = all.
    pub zones: Vec<Arc<str>>,
    /// In seconds since 1970, like the next two.
    pub created_secs: u64,
    pub expires_secs: Option<u64>,
    pub revoked_secs: Option<u64>,
}

/// What a token's bearer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Reader,
    Operator,
    Admin,
}

/// Bytes under a name: what the holder of the sync lease shares with the other instances.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredDocument {
    pub name: Arc<str>,
    pub body: Arc<[u8]>,
}

/// All that is stored, at one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    pub revision: u64,
    /// Each with the revision of its last change, in no order.
    pub entries: Vec<(Entry, u64)>,
    /// The newest serial that was given to each zone.
    pub serials: Vec<(Name, u32)>,
}

/// What one revision changed, for those who follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub revision: u64,
    pub changes: Vec<StoredChange>,
    /// The zones it touched, with their new serials.
    pub serials: Vec<(Name, u32)>,
}

/// Where a change came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Rest,
    Sync,
    File,
}

/// Who changes something, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    pub source: Source,
    pub actor: Arc<str>,
    pub remote: Option<IpAddr>,
    pub request_id: Option<Arc<str>>,
    pub comment: Option<Arc<str>>,
}

/// A change of something that is not stored here (by sync, by a file), or an attempt: only told in the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub zone: Option<Name>,
    pub name: Option<Name>,
    pub rtype: Option<RecordType>,
    /// JSON, like `after`.
    pub before: Option<String>,
    pub after: Option<String>,
}

/// Changes that belong together: stored all or none, under one revision.
#[derive(Debug, Clone)]
pub struct Commit {
    pub changes: Vec<StoredChange>,
    pub notes: Vec<Note>,
    /// Checked in the same transaction.
    pub preconditions: Vec<Precondition>,
    /// Zones that get a new serial: one after this one, or after the newest that was given, whichever is newer.
    pub serials: Vec<(Name, u32)>,
    pub audit: Audit,
    pub idempotency: Option<Idempotency>,
}

/// What must hold before a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// `If-None-Match: *`.
    Absent(Subject),
    Exists(Subject),
    /// `If-Match`: the entry's last change was at this revision.
    At(Subject, u64),
    /// No record set at this name was put after this revision: what was checked against it (a CNAME stands alone) holds.
    OwnerNotAfter {
        zone: Name,
        name: Name,
        revision: u64,
    },
}

/// What a repeated request is recognised by, and answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Whose key it is.
    pub token: Arc<str>,
    pub key: Arc<str>,
    /// Of method, path and body.
    pub request_hash: Arc<[u8]>,
    /// Whatever the caller needs to answer again, beside revision and serials.
    pub answer: Arc<[u8]>,
    pub expires: SystemTime,
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The revision it made; the newest one when there was nothing to change; the former one for a repeated request.
    pub revision: u64,
    pub serials: Vec<(Name, u32)>,
    /// The former answer, when the idempotency key was seen before: nothing was stored now.
    pub replayed: Option<Arc<[u8]>>,
}

impl Commit {
    /// No changes yet.
    pub fn by(audit: Audit) -> Commit {
        Commit {
            changes: Vec::new(),
            notes: Vec::new(),
            preconditions: Vec::new(),
            serials: Vec::new(),
            audit,
            idempotency: None,
        }
    }
}

impl Entry {
    /// What it is about.
    pub fn subject(&self) -> Subject {
        match self {
            Entry::Zone(zone) => Subject::Zone(zone.apex.clone()),
            Entry::RecordSet { zone, name, set } => {
                Subject::RecordSet { zone: zone.clone(), name: name.clone(), rtype: set.rtype }
            }
            Entry::Forwarder(forwarder) => Subject::Forwarder(forwarder.domain.clone()),
            Entry::Token(token) => Subject::Token(token.id.clone()),
            Entry::Document(document) => Subject::Document(document.name.clone()),
        }
    }
}

impl StoredChange {
    /// What it is about; of all record sets of a zone together nothing else is said.
    pub fn subject(&self) -> Option<Subject> {
        match self {
            StoredChange::Put(entry) => Some(entry.subject()),
            StoredChange::Remove(subject) => Some(subject.clone()),
            StoredChange::ClearZone(_) => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Zone(apex) => write!(out, "zone {apex}"),
            Subject::RecordSet { zone, name, rtype } => {
                write!(out, "record set {name} {rtype} of zone {zone}")
            }
            Subject::Forwarder(domain) => write!(out, "the forwarder of {domain}"),
            Subject::Token(id) => write!(out, "token {id}"),
            Subject::Document(name) => write!(out, "document {name}"),
        }
    }
}

impl fmt::Debug for StoredToken {
    /// Without the hash.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "token {} `{}` ({:?})", self.id, self.name, self.role)
    }
}

impl fmt::Debug for StoredDocument {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "document {} of {} bytes", self.name, self.body.len())
    }
}
