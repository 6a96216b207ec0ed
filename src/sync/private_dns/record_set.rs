//! One record set of a private DNS zone, from ARM's words to what a zone of ours holds.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::super::arm::{self, ZoneRecord};
use crate::dns::{Name, NameError, NameRef, RecordSet, RecordType, Ttl, rdata};
use crate::telemetry::Quoted;

/// How the notes begin that zone groups leave at their record sets; the endpoint's name follows.
const CREATOR_PREFIX: &str = "created by private endpoint ";
const CREATOR_INFIX: &str = " with resource guid ";

/// Records of one set; Azure allows twenty.
const RECORDS_MAX: usize = 1000;

/// A record set of a private DNS zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedSet {
    /// The whole name.
    pub name: Name,
    pub set: RecordSet,
    /// The name of the private endpoint whose zone group wrote it; `None` for what people wrote.
    pub creator: Option<Arc<str>>,
}

/// Why a record set is left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeftOut {
    #[error("its name is no domain name: {0}")]
    Name(#[from] NameError),
    #[error("its name holds characters that no name in Azure has")]
    Characters,
    #[error("its name does not lie in the zone")]
    OutOfZone,
    #[error("its TTL is longer than any")]
    Ttl,
    #[error("`{}` is no data of such a record", Quoted(.0))]
    Data(String),
    #[error("it has {0} records, more than Azure allows")]
    ManyRecords(usize),
    #[error("its type is none of a private DNS zone")]
    Type,
    #[error("it stands beside a CNAME record (RFC 1034 §3.6.2)")]
    BesideCname,
    #[error("{0}")]
    Shape(String),
}

impl ImportedSet {
    /// Reads a record set; `None` for one without records and for those of the apex that every zone of ours has itself.
    pub fn read(told: &arm::ZoneRecordSet, apex: &Name) -> Result<Option<ImportedSet>, LeftOut> {
        // Azure's serial stays 1 whatever happens (facts §1), and it serves no NS records of private zones.
        if told.records.is_empty() || matches!(&*told.record_type, "SOA" | "NS") {
            return match &*told.record_type {
                "A" | "AAAA" | "CNAME" | "MX" | "PTR" | "SOA" | "NS" | "SRV" | "TXT" => Ok(None),
                _ => Err(LeftOut::Type),
            };
        }
        let name = name(&told.name, apex.borrow())?;
        if !name.is_within(apex) {
            return Err(LeftOut::OutOfZone);
        }
        if told.records.len() > RECORDS_MAX {
            return Err(LeftOut::ManyRecords(told.records.len()));
        }
        let rtype: RecordType = told.record_type.parse().map_err(|_| LeftOut::Type)?;
        if rtype == RecordType::CNAME && name == *apex {
            return Err(LeftOut::BesideCname);
        }
        let ttl = u32::try_from(told.ttl_secs).ok().and_then(Ttl::from_secs).ok_or(LeftOut::Ttl)?;
        let mut records = Vec::with_capacity(told.records.len());
        for record in &told.records {
            let data = wire(rtype, record).filter(|data| rdata::is_valid(rtype, data));
            records.push(data.ok_or_else(|| LeftOut::Data(text_of(record)))?);
        }
        let count = records.len();
        let set = RecordSet::new(rtype, ttl, records).map_err(|_| LeftOut::ManyRecords(count))?;
        Ok(Some(ImportedSet { name, set, creator: told.creator.as_deref().and_then(endpoint_of) }))
    }
}

/// The private endpoint's name in the note of a zone group.
fn endpoint_of(creator: &str) -> Option<Arc<str>> {
    let rest = creator.strip_prefix(CREATOR_PREFIX)?;
    let (name, _) = rest.rsplit_once(CREATOR_INFIX)?;
    (!name.is_empty()).then(|| name.to_ascii_lowercase().into())
}

/// Azure takes letters, digits and a few signs; what else is there would be read as an escape, or steer a terminal.
fn name(text: &str, origin: NameRef<'_>) -> Result<Name, LeftOut> {
    match text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        true => Ok(Name::parse(text, origin)?),
        false => Err(LeftOut::Characters),
    }
}

/// A name in data, which is whole with or without its final dot.
fn whole_name(text: &str) -> Option<Name> {
    if text == "@" { None } else { name(text, NameRef::ROOT).ok() }
}

fn wire(rtype: RecordType, record: &ZoneRecord) -> Option<Vec<u8>> {
    let number = |value: &u64| u16::try_from(*value).ok().map(u16::to_be_bytes);
    match record {
        ZoneRecord::Address(text) if rtype == RecordType::A => {
            Some(text.parse::<Ipv4Addr>().ok()?.octets().to_vec())
        }
        ZoneRecord::Address(text) => Some(text.parse::<Ipv6Addr>().ok()?.octets().to_vec()),
        ZoneRecord::Name(text) => Some(whole_name(text)?.as_wire().to_vec()),
        ZoneRecord::Mx { preference, exchange } => {
            Some([&number(preference)?[..], whole_name(exchange)?.as_wire()].concat())
        }
        ZoneRecord::Srv { priority, weight, port, target } => {
            let numbers = [number(priority)?, number(weight)?, number(port)?].concat();
            Some([&numbers, whole_name(target)?.as_wire()].concat())
        }
        ZoneRecord::Text(texts) => {
            let mut data = Vec::new();
            for text in texts {
                data.push(u8::try_from(text.len()).ok()?);
                data.extend_from_slice(text.as_bytes());
            }
            Some(data)
        }
    }
}

fn text_of(record: &ZoneRecord) -> String {
    match record {
        ZoneRecord::Address(text) | ZoneRecord::Name(text) => text.clone(),
        ZoneRecord::Mx { preference, exchange } => format!("{preference} {exchange}"),
        ZoneRecord::Srv { priority, weight, port, target } => {
            format!("{priority} {weight} {port} {target}")
        }
        ZoneRecord::Text(texts) => texts.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, record_type: &str, record: ZoneRecord) -> Result<Option<String>, LeftOut> {
        let told = arm::ZoneRecordSet {
            name: name.into(),
            record_type: record_type.into(),
            ttl_secs: 3600,
            creator: None,
            records: vec![record],
        };
        let read = ImportedSet::read(&told, &"corp.internal.".parse().unwrap())?;
        Ok(read.map(|it| {
            let data: Vec<String> = it.set.records().map(|data| rdata::to_text(it.set.rtype, data)).collect();
            format!("{} {} {} {}", it.name, it.set.ttl, it.set.rtype, data.join(" | "))
        }))
    }

    fn text(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn every_type_becomes_what_a_zone_holds() {
        let good = |name, record_type, record| read(name, record_type, record).unwrap().unwrap();
        assert_eq!(good("@", "A", ZoneRecord::Address(text("10.0.0.1"))), "corp.internal. 3600 A 10.0.0.1");
        assert_eq!(
            good("*.x", "AAAA", ZoneRecord::Address(text("fd00::1"))),
            "*.x.corp.internal. 3600 AAAA fd00::1"
        );
        // Azure writes names in data without the final dot.
        assert_eq!(
            good("A", "CNAME", ZoneRecord::Name(text("b.example.com"))),
            "a.corp.internal. 3600 CNAME b.example.com."
        );
        let mx = ZoneRecord::Mx { preference: 10, exchange: text("m.example.") };
        assert_eq!(good("m", "MX", mx), "m.corp.internal. 3600 MX 10 m.example.");
        let srv = ZoneRecord::Srv { priority: 1, weight: 2, port: 3, target: text("t.example") };
        assert_eq!(good("_s._tcp", "SRV", srv), "_s._tcp.corp.internal. 3600 SRV 1 2 3 t.example.");
        let txt = ZoneRecord::Text(vec![text("v=1; \"x\""), text("")]);
        assert_eq!(good("t", "TXT", txt), "t.corp.internal. 3600 TXT \"v=1; \\\"x\\\"\" \"\"");
        let ptr = ZoneRecord::Name(text("h.example"));
        assert_eq!(good("4", "PTR", ptr), "4.corp.internal. 3600 PTR h.example.");
        assert_eq!(read("@", "SOA", ZoneRecord::Name(text("x"))), Ok(None));
    }

    #[test]
    fn what_azure_would_not_have_is_left_out() {
        let address = || ZoneRecord::Address(text("10.0.0.1"));
        for name in ["a b", "a\nb", "a\\.b", "é", "\u{202e}"] {
            assert_eq!(read(name, "A", address()), Err(LeftOut::Characters), "{name}");
        }
        for name in ["a..b", ".", "", &"a".repeat(64), &"a.".repeat(130)] {
            assert!(read(name, "A", address()).is_err(), "{name}");
        }
        assert_eq!(read("a.example.", "A", address()), Err(LeftOut::OutOfZone));
        assert_eq!(read("a", "CAA", address()), Err(LeftOut::Data(text("10.0.0.1"))));
        assert_eq!(read("a", "NOPE", address()), Err(LeftOut::Type));
        assert_eq!(read("@", "CNAME", ZoneRecord::Name(text("a"))), Err(LeftOut::BesideCname));
        for record in [
            ZoneRecord::Address(text("10.0.0.256")),
            ZoneRecord::Address(text("fd00::1")),
            ZoneRecord::Address(text("")),
        ] {
            assert!(matches!(read("a", "A", record), Err(LeftOut::Data(_))));
        }
        for target in ["@", "", "a b", "a\0b", "a..b"] {
            assert!(read("a", "CNAME", ZoneRecord::Name(text(target))).is_err(), "{target}");
        }
        let mx = ZoneRecord::Mx { preference: 65536, exchange: text("m") };
        assert!(read("a", "MX", mx).is_err());
        assert!(read("a", "TXT", ZoneRecord::Text(vec!["x".repeat(256)])).is_err());
        assert!(read("a", "TXT", ZoneRecord::Text(Vec::new())).is_err());
    }

    #[test]
    fn the_note_of_a_zone_group_names_the_endpoint() {
        let note = "created by private endpoint PE-a with resource guid 08ff5f5d-8eb5-52ff-99f2-a55952684311";
        assert_eq!(endpoint_of(note).as_deref(), Some("pe-a"));
        for other in ["", "terraform", "created by private endpoint ", "created by private endpoint x"] {
            assert_eq!(endpoint_of(other), None);
        }
    }
}
