//! What a request wants changed: text becomes names, types and record sets, or faults that name their field.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::etag::{Need, Preconditions};
use super::refusal::Refusal;
use crate::dns::record::UnknownRecordType;
use crate::dns::{Name, RecordSet, RecordType, Ttl, rdata};
use crate::persist::StoredChange;
use crate::telemetry::{Quoted, is_hidden};
use crate::zone::ZoneError;

/// Faults told of one request; a client that sends more has one mistake in all of them.
const FAULTS_MAX: usize = 100;
/// Characters of a comment; it is kept with each change.
pub const COMMENT_CHARS_MAX: usize = 1000;

/// One thing that a request wants changed, and the state that it may be changed from.
#[derive(Clone, Debug)]
pub struct Edit {
    pub change: StoredChange,
    pub place: FieldPath,
    pub conditions: Preconditions,
    pub need: Need,
}

/// Where in a request an edit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldPath {
    /// In the path, with its data in the body.
    Path,
    /// In the list of changes of the body.
    Item(usize),
    /// In the line of a master file.
    Line(usize),
}

/// A part of an edit that can be at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldPart {
    Zone,
    Name,
    Type,
    Ttl,
    Records,
    Networks,
    OnMissing,
    IfMatch,
}

/// Faults of one request, collected so that all can be told at once.
#[derive(Debug, Default)]
pub struct Faults {
    refusals: Vec<Refusal>,
    count: usize,
}

/// A record set as it is sent and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"ttl": 300, "records": ["10.0.0.4"]}))]
pub struct RecordSetBody {
    /// Seconds, 0 to 2147483647.
    #[schema(example = 300, minimum = 0, maximum = 2147483647)]
    pub ttl: i64,
    /// Record data in master-file form without comments; relative names end in the zone's. TXT without quotes is one
    /// text, blanks and `;` included, split every 255 bytes.
    pub records: Vec<String>,
}

impl FieldPath {
    /// The field of a part: a JSON pointer into the body, or a parameter of the path.
    pub fn field(self, part: FieldPart) -> String {
        let word = part.word();
        match (self, part) {
            (FieldPath::Path, FieldPart::Zone | FieldPart::Name | FieldPart::Type) => word.to_owned(),
            (FieldPath::Path, FieldPart::IfMatch) => "If-Match".to_owned(),
            (FieldPath::Path, _) => format!("/{word}"),
            (FieldPath::Item(index), _) => format!("/changes/{index}/{word}"),
            (FieldPath::Line(line), _) => format!("line {line}"),
        }
    }
}

impl FieldPart {
    fn word(self) -> &'static str {
        match self {
            FieldPart::Zone => "zone",
            FieldPart::Name => "name",
            FieldPart::Type => "type",
            FieldPart::Ttl => "ttl",
            FieldPart::Records => "records",
            FieldPart::Networks => "networks",
            FieldPart::OnMissing => "on_missing",
            FieldPart::IfMatch => "if_match",
        }
    }
}

impl Faults {
    /// Adds a wrong value.
    pub fn add(&mut self, field: impl Into<String>, why: impl fmt::Display) {
        self.push(Refusal::invalid(field, why.to_string()));
    }

    /// Adds a refusal of any sort.
    pub fn push(&mut self, refusal: Refusal) {
        self.count += 1;
        if self.refusals.len() < FAULTS_MAX {
            self.refusals.push(refusal);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.refusals.is_empty()
    }

    /// Whether more are not even kept.
    pub fn is_full(&self) -> bool {
        self.refusals.len() == FAULTS_MAX
    }

    /// Nothing wrong, or one refusal that tells all.
    pub fn check(self) -> Result<(), Refusal> {
        let mut refusals = self.refusals.into_iter();
        let Some(first) = refusals.next() else { return Ok(()) };
        Err(Refusal { others: refusals.collect(), others_total: self.count - 1, ..first })
    }
}

/// A zone's name as the path or a field has it: absolute, the final dot may be left out.
pub fn zone_name(text: &str) -> Result<Name, String> {
    let name: Name =
        text.parse().map_err(|error| format!("`{}` is not a zone's name: {error}", Quoted(text)))?;
    if name.borrow().is_root() {
        return Err("the root is no zone of this server".to_owned());
    }
    if name.borrow().is_wildcard() {
        return Err(format!("`{}` is a wildcard, which is a name in a zone and no zone", Quoted(text)));
    }
    Ok(name)
}

/// An owner as the path or a field has it: relative, `@` for the apex, or absolute with a final dot.
pub fn owner(text: &str, zone: &Name) -> Result<Name, String> {
    let name = Name::parse(text, zone.borrow())
        .map_err(|error| format!("`{}` is not a name: {error}", Quoted(text)))?;
    if !name.is_within(zone) {
        return Err(format!("{name} lies outside of {zone}"));
    }
    // `www.corp.internal` in zone corp.internal: the final dot was forgotten.
    let as_absolute: Option<Name> = text.parse().ok();
    let is_doubled = !text.ends_with('.')
        && text != "@"
        && as_absolute.is_some_and(|absolute| !zone.borrow().is_root() && absolute.is_within(zone));
    if is_doubled {
        return Err(format!(
            "`{}` is relative and would be {name}; leave the zone's name out, or end it with a dot",
            Quoted(text)
        ));
    }
    Ok(name)
}

/// A record type that data can have: a mnemonic, or `TYPE65`.
pub fn record_type(text: &str) -> Result<RecordType, String> {
    let rtype: RecordType = text.parse().map_err(|error: UnknownRecordType| {
        format!("{}; types are A, AAAA, CNAME, TXT, … or TYPE65280", Quoted(&error.to_string()))
    })?;
    match rtype.is_question_only() {
        true => Err(format!("{rtype} only asks, it has no data")),
        false => Ok(rtype),
    }
}

/// A lifetime.
pub fn ttl(secs: i64) -> Result<Ttl, String> {
    let ttl = u32::try_from(secs).ok().and_then(Ttl::from_secs);
    ttl.ok_or_else(|| format!("{secs} is not a TTL: whole seconds from 0 to {}", Ttl::MAX))
}

/// A record set of a zone; what is wrong with it goes to `faults`.
pub fn record_set(
    zone: &Name,
    rtype: RecordType,
    body: &RecordSetBody,
    place: FieldPath,
    faults: &mut Faults,
) -> Option<RecordSet> {
    let ttl = ttl(body.ttl).map_err(|why| faults.add(place.field(FieldPart::Ttl), why)).ok();
    let field = place.field(FieldPart::Records);
    if body.records.is_empty() {
        faults.add(&field, "a record set has one record at least; DELETE takes it away");
        return None;
    }
    let mut data = Vec::with_capacity(body.records.len());
    for (index, text) in body.records.iter().enumerate() {
        match rdata::from_sole_text(rtype, text, zone.borrow()) {
            Ok(record) => data.push(record),
            Err(error) => faults.add(format!("{field}/{index}"), Quoted(&error.to_string())),
        }
    }
    let ttl = ttl.filter(|_| data.len() == body.records.len())?;
    RecordSet::new(rtype, ttl, data).map_err(|error| faults.add(field, error)).ok()
}

/// A comment that fits the audit.
pub fn comment(text: Option<&str>) -> Result<Option<std::sync::Arc<str>>, Refusal> {
    match text {
        Some(text) if text.chars().count() > COMMENT_CHARS_MAX => {
            Err(Refusal::invalid("/comment", format!("a comment has at most {COMMENT_CHARS_MAX} characters")))
        }
        Some(text) if text.chars().any(|char| is_hidden(char) && !matches!(char, '\n' | '\t')) => {
            let why = "a comment is for people: write it without control characters, and those that turn text around";
            Err(Refusal::invalid("/comment", why))
        }
        text => Ok(text.filter(|text| !text.is_empty()).map(Into::into)),
    }
}

impl RecordSetBody {
    /// A record set as text that reads back the same.
    pub fn of(set: &RecordSet) -> RecordSetBody {
        let records = set.records().map(|data| rdata::to_faithful_text(set.rtype, data)).collect();
        RecordSetBody { ttl: set.ttl.secs().into(), records }
    }
}

/// The part of an edit that the zones refuse, and the name that they name.
pub fn part_at_fault(error: &ZoneError) -> (FieldPart, Option<&Name>) {
    match error {
        ZoneError::OutOfZone { name, .. } | ZoneError::BelowDname { name, .. } => {
            (FieldPart::Name, Some(name))
        }
        ZoneError::CnameBesideData(name)
        | ZoneError::WildcardDelegation(name)
        | ZoneError::DsAtApex(name) => (FieldPart::Type, Some(name)),
        ZoneError::NotAtApex { name, .. } => (FieldPart::Type, Some(name)),
        ZoneError::MoreThanOne { name, .. }
        | ZoneError::BadData { name, .. }
        | ZoneError::SetTooLarge { name, .. }
        | ZoneError::EmptySet(name) => (FieldPart::Records, Some(name)),
        ZoneError::NoSuchZone(_) => (FieldPart::Zone, None),
        ZoneError::NoSoa(apex) => (FieldPart::Type, Some(apex)),
        ZoneError::NoSuchNetwork(..) => (FieldPart::Networks, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Name {
        "corp.internal".parse().unwrap()
    }

    #[test]
    fn owners_are_relative_absolute_or_the_apex() {
        let of = |text: &str| owner(text, &zone()).map(|name| name.to_string());
        assert_eq!(of("@").unwrap(), "corp.internal.");
        assert_eq!(of("WWW").unwrap(), "www.corp.internal.");
        assert_eq!(of("*.a").unwrap(), "*.a.corp.internal.");
        assert_eq!(of("www.corp.internal.").unwrap(), "www.corp.internal.");
        assert!(of("www.other.").unwrap_err().contains("outside"));
        assert!(of("www.corp.internal").unwrap_err().contains("end it with a dot"));
        for wrong in ["", "a..b", "ü", &"a".repeat(64), "a.b.c.d..", "\\"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_that_is_wrong_with_a_set_is_told_at_once() {
        let mut faults = Faults::default();
        let body =
            RecordSetBody { ttl: -1, records: vec!["10.0.0.1".into(), "10.0.0.400".into(), "x".into()] };
        assert_eq!(record_set(&zone(), RecordType::A, &body, FieldPath::Item(3), &mut faults), None);
        let refusal = faults.check().unwrap_err();
        assert_eq!(refusal.at.as_deref(), Some("/changes/3/ttl"));
        let text = format!("{refusal:?}");
        assert!(text.contains("/changes/3/records/1") && text.contains("/changes/3/records/2"), "{text}");
    }

    #[test]
    fn types_that_only_ask_are_no_types_of_records() {
        assert_eq!(record_type("type65"), Ok(RecordType::HTTPS));
        for wrong in ["ANY", "AXFR", "OPT", "BOGUS", "", "TYPE65536"] {
            assert!(record_type(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lifetimes_have_bounds() {
        assert_eq!(ttl(0).unwrap().secs(), 0);
        assert_eq!(ttl(i64::from(i32::MAX)).unwrap(), Ttl::MAX);
        for wrong in [-1, i64::from(i32::MAX) + 1, i64::MAX] {
            assert!(ttl(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn zones_are_neither_the_root_nor_wildcards() {
        assert_eq!(zone_name("Corp.Internal.").unwrap(), zone());
        for wrong in [".", "", "*.corp.internal", "a..b"] {
            assert!(zone_name(wrong).is_err(), "{wrong}");
        }
    }
}
