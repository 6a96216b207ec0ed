//! Entries as rows and back: a key of four words, JSON that people can read, and bytes that they need not see.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::entry::{
    Entry, Made, Role, StoredChange, StoredDocument, StoredForwarder, StoredToken, StoredZone, Subject,
};
use super::error::PersistError;
use crate::dns::{Name, NameRef, RecordSet, RecordType, Ttl, rdata};
use crate::zone::{OnMissing, ZoneKind};

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Zone,
    RecordSet,
    Forwarder,
    Token,
    Document,
    /// The newest serial of a zone; not an entry of its own.
    Serial,
    /// Of items only: all record sets of a zone are gone.
    ZoneContents,
    /// Of items only: what is not stored here.
    Note,
}

/// The primary key of an entry; what a kind does not need is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub kind: Kind,
    pub zone: Arc<str>,
    pub name: Arc<str>,
    pub rtype: Arc<str>,
}

/// The rest of an entry's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coded {
    pub json: Arc<str>,
    pub body: Option<Arc<[u8]>>,
}

const KINDS: [(Kind, &str); 8] = [
    (Kind::Zone, "zone"),
    (Kind::RecordSet, "record-set"),
    (Kind::Forwarder, "forwarder"),
    (Kind::Token, "token"),
    (Kind::Document, "document"),
    (Kind::Serial, "serial"),
    (Kind::ZoneContents, "zone-contents"),
    (Kind::Note, "note"),
];

impl Kind {
    pub fn as_str(self) -> &'static str {
        let named = KINDS.iter().find(|(kind, _)| *kind == self);
        named.map(|(_, text)| *text).expect("every kind is in the table")
    }

    /// The same to bind, without a copy each time.
    pub fn text(self) -> Arc<str> {
        static TEXTS: LazyLock<Vec<(Kind, Arc<str>)>> =
            LazyLock::new(|| KINDS.iter().map(|(kind, text)| (*kind, Arc::from(*text))).collect());
        let named = TEXTS.iter().find(|(kind, _)| *kind == self);
        named.map(|(_, text)| text.clone()).expect("every kind is in the table")
    }

    pub fn parse(text: &str) -> Result<Kind, PersistError> {
        let found = KINDS.iter().find(|(_, known)| *known == text);
        found.map(|(kind, _)| *kind).ok_or_else(|| damaged(text, "no such kind"))
    }
}

impl Key {
    /// The key of a zone's serial.
    pub fn of_serial(apex: &Name) -> Key {
        Key::new(Kind::Serial, apex.to_string(), "", "")
    }

    /// The key of the item that clears a zone.
    pub fn of_contents(apex: &Name) -> Key {
        Key::new(Kind::ZoneContents, apex.to_string(), "", "")
    }

    pub fn new(
        kind: Kind,
        zone: impl Into<Arc<str>>,
        name: impl Into<Arc<str>>,
        rtype: impl Into<Arc<str>>,
    ) -> Key {
        Key { kind, zone: zone.into(), name: name.into(), rtype: rtype.into() }
    }

    /// Sorts like the database's index.
    pub fn order(&self) -> [&str; 4] {
        [self.kind.as_str(), &self.zone, &self.name, &self.rtype]
    }

    pub fn of(subject: &Subject) -> Key {
        match subject {
            Subject::Zone(apex) => Key::new(Kind::Zone, apex.to_string(), "", ""),
            Subject::RecordSet { zone, name, rtype } => {
                Key::new(Kind::RecordSet, zone.to_string(), name.to_string(), type_text(*rtype))
            }
            Subject::Forwarder(domain) => Key::new(Kind::Forwarder, "", domain.to_string(), ""),
            Subject::Token(id) => Key::new(Kind::Token, "", storable(id.clone()), ""),
            Subject::Document(name) => Key::new(Kind::Document, "", storable(name.clone()), ""),
        }
    }

    /// What an entry's key is about.
    pub fn subject(&self) -> Result<Subject, PersistError> {
        Ok(match self.kind {
            Kind::Zone => Subject::Zone(self.name_of(&self.zone)?),
            Kind::RecordSet => Subject::RecordSet {
                zone: self.name_of(&self.zone)?,
                name: self.name_of(&self.name)?,
                rtype: self.rtype.parse().map_err(|error| self.damaged(error))?,
            },
            Kind::Forwarder => Subject::Forwarder(self.name_of(&self.name)?),
            Kind::Token => Subject::Token(self.name.clone()),
            Kind::Document => Subject::Document(self.name.clone()),
            Kind::Serial | Kind::ZoneContents | Kind::Note => return Err(self.damaged("it is no entry")),
        })
    }

    pub fn name_of(&self, text: &str) -> Result<Name, PersistError> {
        text.parse().map_err(|error| self.damaged(error))
    }

    pub fn damaged(&self, reason: impl ToString) -> PersistError {
        damaged(&format!("{} {} {} {}", self.kind.as_str(), self.zone, self.name, self.rtype), reason)
    }
}

/// Text as both databases take it: PostgreSQL's has no zero byte.
pub(super) fn storable(text: Arc<str>) -> Arc<str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text }
}

fn damaged(what: &str, reason: impl ToString) -> PersistError {
    PersistError::Damaged { what: what.into(), reason: reason.to_string() }
}

#[derive(Serialize, Deserialize)]
struct ZoneJson {
    made: MadeJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_missing: Option<OnMissingJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    networks: Option<Vec<Arc<str>>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum MadeJson {
    PrivateLink,
    Plain,
    Elsewhere,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OnMissingJson {
    AskPublic,
    #[serde(rename = "nxdomain")]
    NxDomain,
}

#[derive(Serialize, Deserialize)]
struct RecordSetJson {
    ttl: u32,
    records: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct ForwarderJson {
    upstreams: Vec<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queries_per_second_max: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct TokenJson {
    name: Arc<str>,
    role: Role,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    zones: Vec<Arc<str>>,
    created_secs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_secs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_secs: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct DocumentJson {
    size_bytes: usize,
}

impl Coded {
    pub fn of(entry: &Entry) -> Coded {
        match entry {
            Entry::Zone(zone) => Coded::json(&ZoneJson {
                made: match zone.made {
                    Made::ByRest(ZoneKind::PrivateLink) => MadeJson::PrivateLink,
                    Made::ByRest(ZoneKind::Plain) => MadeJson::Plain,
                    Made::Elsewhere => MadeJson::Elsewhere,
                },
                on_missing: zone.on_missing.map(|on_missing| match on_missing {
                    OnMissing::AskPublic => OnMissingJson::AskPublic,
                    OnMissing::NxDomain => OnMissingJson::NxDomain,
                }),
                networks: zone.networks.clone(),
            }),
            Entry::RecordSet { set, .. } => Coded::json(&RecordSetJson {
                ttl: set.ttl.secs(),
                records: set.records().map(|data| text_of(set.rtype, data)).collect(),
            }),
            Entry::Forwarder(forwarder) => Coded::json(&ForwarderJson {
                upstreams: forwarder.upstreams.clone(),
                queries_per_second_max: forwarder.queries_per_second_max,
            }),
            Entry::Token(token) => Coded {
                body: Some(token.hash.clone()),
                ..Coded::json(&TokenJson {
                    name: token.name.clone(),
                    role: token.role,
                    zones: token.zones.clone(),
                    created_secs: token.created_secs,
                    expires_secs: token.expires_secs,
                    revoked_secs: token.revoked_secs,
                })
            },
            Entry::Document(document) => Coded {
                body: Some(document.body.clone()),
                ..Coded::json(&DocumentJson { size_bytes: document.body.len() })
            },
        }
    }

    fn json(value: &impl Serialize) -> Coded {
        let json = serde_json::to_string(value).expect("words and numbers are always JSON");
        Coded { json: json.into(), body: None }
    }

    /// The entry of a row.
    pub fn entry(self, key: &Key) -> Result<Entry, PersistError> {
        let body = self.body;
        let json = &*self.json;
        Ok(match key.subject()? {
            Subject::Zone(apex) => {
                let zone: ZoneJson = parse(key, json)?;
                let made = match zone.made {
                    MadeJson::PrivateLink => Made::ByRest(ZoneKind::PrivateLink),
                    MadeJson::Plain => Made::ByRest(ZoneKind::Plain),
                    MadeJson::Elsewhere => Made::Elsewhere,
                };
                let on_missing = zone.on_missing.map(|on_missing| match on_missing {
                    OnMissingJson::AskPublic => OnMissing::AskPublic,
                    OnMissingJson::NxDomain => OnMissing::NxDomain,
                });
                Entry::Zone(StoredZone { apex, made, on_missing, networks: zone.networks })
            }
            Subject::RecordSet { zone, name, rtype } => {
                let set: RecordSetJson = parse(key, json)?;
                let ttl = Ttl::from_secs(set.ttl).ok_or_else(|| key.damaged("the TTL is too large"))?;
                let data = set.records.iter().map(|text| rdata::from_text(rtype, text, NameRef::ROOT));
                let data = data.collect::<Result<Vec<_>, _>>().map_err(|error| key.damaged(error))?;
                let set = RecordSet::new(rtype, ttl, data).map_err(|error| key.damaged(error))?;
                Entry::RecordSet { zone, name, set }
            }
            Subject::Forwarder(domain) => {
                let ForwarderJson { upstreams, queries_per_second_max } = parse(key, json)?;
                Entry::Forwarder(StoredForwarder { domain, upstreams, queries_per_second_max })
            }
            Subject::Token(id) => {
                let token: TokenJson = parse(key, json)?;
                Entry::Token(StoredToken {
                    id,
                    name: token.name,
                    hash: body.ok_or_else(|| key.damaged("its hash is missing"))?,
                    role: token.role,
                    zones: token.zones,
                    created_secs: token.created_secs,
                    expires_secs: token.expires_secs,
                    revoked_secs: token.revoked_secs,
                })
            }
            Subject::Document(name) => {
                let body = body.ok_or_else(|| key.damaged("its bytes are missing"))?;
                Entry::Document(StoredDocument { name, body })
            }
        })
    }
}

fn parse<'j, T: Deserialize<'j>>(key: &Key, json: &'j str) -> Result<T, PersistError> {
    serde_json::from_str(json).map_err(|error| key.damaged(error))
}

/// Types that got a word after the first stores were written. There they stand by number, and their data as bytes: keys
/// stay what they were, and an older instance reads what a newer one writes.
fn is_stored_by_number(rtype: RecordType) -> bool {
    matches!(rtype.0, 19..=22 | 26 | 27 | 42 | 45 | 49 | 56..=58 | 104..=109 | 258 | 261 | 262)
}

/// Types that had a word but no words for their data when the first stores were written.
fn is_stored_as_bytes(rtype: RecordType) -> bool {
    is_stored_by_number(rtype) || matches!(rtype.0, 25 | 29 | 37 | 62 | 63)
}

/// A type as keys have it.
pub(super) fn type_text(rtype: RecordType) -> String {
    if is_stored_by_number(rtype) { format!("TYPE{}", rtype.0) } else { rtype.to_string() }
}

/// Record data as words; as RFC 3597's hex where the words would not say the same.
fn text_of(rtype: RecordType, data: &[u8]) -> String {
    if is_stored_as_bytes(rtype) {
        return rdata::to_generic_text(data);
    }
    let text = rdata::to_text(rtype, data);
    match rdata::from_text(rtype, &text, NameRef::ROOT) {
        Ok(same) if same == data => text,
        _ => rdata::to_generic_text(data),
    }
}

/// A change as the key and the row it leads to; `None` = no row.
pub(super) fn code(change: &StoredChange) -> (Key, Option<Coded>) {
    match change {
        StoredChange::Put(entry) => (Key::of(&entry.subject()), Some(Coded::of(entry))),
        StoredChange::Remove(subject) => (Key::of(subject), None),
        StoredChange::ClearZone(apex) => (Key::of_contents(apex), None),
    }
}

/// An item as the change it was; `None` for a note.
pub(super) fn decode(key: &Key, coded: Option<Coded>) -> Result<Option<StoredChange>, PersistError> {
    Ok(match (key.kind, coded) {
        (Kind::Note, _) => None,
        (Kind::ZoneContents, _) => Some(StoredChange::ClearZone(key.name_of(&key.zone)?)),
        (_, None) => Some(StoredChange::Remove(key.subject()?)),
        (_, Some(coded)) => Some(StoredChange::Put(coded.entry(key)?)),
    })
}

/// Serials as JSON: `{"corp.internal.": 7}`.
pub(super) fn serials_to_json(serials: &[(Name, u32)]) -> String {
    let map: serde_json::Map<_, _> =
        serials.iter().map(|(zone, serial)| (zone.to_string(), (*serial).into())).collect();
    serde_json::Value::Object(map).to_string()
}

/// The serials of [`serials_to_json`].
pub(super) fn serials_from_json(json: &str) -> Result<Vec<(Name, u32)>, PersistError> {
    let map: std::collections::BTreeMap<String, u32> =
        serde_json::from_str(json).map_err(|error| damaged("serials of a change", error))?;
    let read = |(zone, serial): (String, u32)| {
        let zone = zone.parse().map_err(|error| damaged("serials of a change", error))?;
        Ok((zone, serial))
    };
    map.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn goes_round(entry: Entry) {
        let (key, coded) = code(&StoredChange::Put(entry.clone()));
        assert_eq!(key.subject().unwrap(), entry.subject());
        assert_eq!(decode(&key, coded).unwrap(), Some(StoredChange::Put(entry)));
    }

    fn set(rtype: &str, data: Vec<Vec<u8>>) -> Entry {
        let set = RecordSet::new(rtype.parse().unwrap(), Ttl::from_secs(60).unwrap(), data).unwrap();
        Entry::RecordSet { zone: name("z."), name: name("a\\000\\.b.z."), set }
    }

    #[test]
    fn record_data_of_every_type_comes_back_as_it_was() {
        for (rtype, text) in [
            ("A", "10.0.0.4"),
            ("MX", "10 mail.z."),
            ("TXT", "\"a b\" \"\\\"\\\\\\255\\000\" \"\""),
            ("SRV", "0 5 5061 sip.z."),
            ("CAA", "0 issue \"letsencrypt.org; a=b\""),
            ("HTTPS", "1 . alpn=h2,h3 port=8443 ipv4hint=10.0.0.1,10.0.0.2"),
            ("TYPE65280", "\\# 3 abcdef"),
            ("LOC", "\\# 16 00121613810a1b2c800a1b2c00989680"),
            ("EUI48", "\\# 6 00005e00532a"),
        ] {
            goes_round(set(
                rtype,
                vec![rdata::from_text(rtype.parse().unwrap(), text, NameRef::ROOT).unwrap()],
            ));
        }
        goes_round(set("TYPE300", vec![vec![], vec![0], vec![255; 300]]));
    }

    #[test]
    fn the_other_entries_come_back_too_and_a_hash_is_not_in_the_json() {
        let made = [Made::Elsewhere, Made::ByRest(ZoneKind::Plain), Made::ByRest(ZoneKind::PrivateLink)];
        for made in made {
            let networks = Some(vec!["hub".into()]);
            goes_round(Entry::Zone(StoredZone {
                apex: name("z."),
                made,
                on_missing: Some(OnMissing::NxDomain),
                networks,
            }));
        }
        let upstreams = vec!["tls://10.0.0.1#dns.example".into()];
        goes_round(Entry::Forwarder(StoredForwarder {
            domain: Name::root(),
            upstreams,
            queries_per_second_max: Some(7),
        }));
        let token = Entry::Token(StoredToken {
            id: "t1".into(),
            name: "ci".into(),
            hash: Arc::from(&b"secret"[..]),
            role: Role::Operator,
            zones: vec!["*.internal".into()],
            created_secs: 1,
            expires_secs: None,
            revoked_secs: Some(9),
        });
        assert!(!Coded::of(&token).json.contains("secret") && !format!("{token:?}").contains("secret"));
        goes_round(token);
    }

    #[test]
    fn a_row_that_is_not_ours_is_told_by_its_key() {
        let key = Key::of(&set("A", vec![vec![10, 0, 0, 1]]).subject());
        let bad = Coded { json: r#"{"ttl": 1, "records": ["10.0"]}"#.into(), body: None };
        let error = bad.entry(&key).unwrap_err().to_string();
        assert!(error.contains("record-set z. a\\000\\.b.z. A"), "{error}");
    }
}
