//! What operators wrote as a file for a start without the store: zones, record sets, rules and serials, no tokens.
//!
//! Lines of JSON with a checksum in the last one. Of a file that is damaged its zones are still read: that there are such
//! zones is enough to ask nobody else for their names.

use std::hash::Hasher;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::coding::{Coded, Key, Kind};
use super::entry::{Entry, Stored};
use super::error::PersistError;

/// The form that is written and read.
const VERSION: u32 = 1;

/// What a copy says.
#[derive(Debug, Clone, PartialEq)]
pub enum LocalCopy {
    /// All of it.
    Whole(Stored),
    /// It is damaged or of a newer program: the zones and rules that could be read, without records.
    Names { stored: Stored, why: String },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    RecordsCopy { version: u32, revision: u64 },
    Entry(EntryLine),
    End { checksum: String },
}

#[derive(Serialize, Deserialize)]
struct EntryLine {
    kind: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    zone: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, rename = "type", skip_serializing_if = "String::is_empty")]
    rtype: String,
    revision: u64,
    value: serde_json::Value,
}

/// Writes a copy. Tokens and documents are left out: nobody gets in by a copy.
pub fn write_copy(stored: &Stored, out: &mut dyn Write) -> io::Result<()> {
    let mut checksum = SipHasher13::new();
    let mut put = |line: &Line, out: &mut dyn Write| {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        checksum.write(&text);
        out.write_all(&text).map(|()| checksum.finish128().as_u128())
    };
    put(&Line::RecordsCopy { version: VERSION, revision: stored.revision }, &mut *out)?;
    let of = |key: &Key, revision, json: &str| -> io::Result<Line> {
        let [kind, zone, name, rtype] = key.order().map(str::to_owned);
        let value = serde_json::from_str(json)?;
        Ok(Line::Entry(EntryLine { kind, zone, name, rtype, revision, value }))
    };
    // Zones first: of a file that is cut they are what counts.
    let is_zone = |entry: &Entry| matches!(entry, Entry::Zone(_));
    let is_other = |entry: &Entry| matches!(entry, Entry::RecordSet { .. } | Entry::Forwarder(_));
    let mut sum = 0;
    let entries = || stored.entries.iter();
    for (entry, revision) in
        entries().filter(|(entry, _)| is_zone(entry)).chain(entries().filter(|(entry, _)| is_other(entry)))
    {
        sum = put(&of(&Key::of(&entry.subject()), *revision, &Coded::of(entry).json)?, &mut *out)?;
    }
    for (zone, serial) in &stored.serials {
        sum = put(&of(&Key::of_serial(zone), 0, &serial.to_string())?, &mut *out)?;
    }
    let mut end = serde_json::to_vec(&Line::End { checksum: format!("{sum:032x}") })?;
    end.push(b'\n');
    out.write_all(&end)
}

/// Reads a copy as far as that can be done.
pub fn read_copy(bytes: &[u8]) -> LocalCopy {
    let (mut stored, mut checksum, mut sum) = (Stored::default(), SipHasher13::new(), 0);
    let mut why = Some("it ends early".to_owned());
    for (number, text) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let fault = match serde_json::from_slice(text) {
            Ok(Line::RecordsCopy { version: VERSION, revision }) if number == 0 => {
                stored.revision = revision;
                None
            }
            Ok(Line::RecordsCopy { version, .. }) => {
                Some(format!("it is of version {version}, this program reads version {VERSION}"))
            }
            Ok(Line::Entry(line)) => take(line, &mut stored).err().map(|error| error.to_string()),
            Ok(Line::End { checksum }) => {
                let is_right = checksum == format!("{sum:032x}") && text.ends_with(b"\n");
                why = (!is_right).then(|| "its content and its checksum differ".to_owned());
                continue;
            }
            Err(cause) => Some(format!("line {}: {cause}", number + 1)),
        };
        checksum.write(text);
        // The first line is not summed up alone.
        sum = if number == 0 { 0 } else { checksum.finish128().as_u128() };
        if let Some(fault) = fault {
            return names(stored, bytes, fault);
        }
        why = Some("it ends early".to_owned());
    }
    match why {
        None => LocalCopy::Whole(stored),
        Some(why) => names(stored, bytes, why),
    }
}

/// Zones and rules of all lines that can be read.
fn names(before: Stored, bytes: &[u8], why: String) -> LocalCopy {
    let mut stored = Stored { revision: before.revision, ..Stored::default() };
    for text in bytes.split(|byte| *byte == b'\n') {
        if let Ok(Line::Entry(line)) = serde_json::from_slice(text)
            && [Kind::Zone.as_str(), Kind::Forwarder.as_str()].contains(&&*line.kind)
        {
            // One that cannot be read is the damage.
            let _ = take(line, &mut stored);
        }
    }
    LocalCopy::Names { stored, why }
}

fn take(line: EntryLine, stored: &mut Stored) -> Result<(), PersistError> {
    let EntryLine { kind, zone, name, rtype, revision, value } = line;
    let key = Key::new(Kind::parse(&kind)?, zone, name, rtype);
    if key.kind == Kind::Serial {
        let serial = value.as_u64().and_then(|serial| u32::try_from(serial).ok());
        stored.serials.push((key.name_of(&key.zone)?, serial.ok_or_else(|| key.damaged("it is no serial"))?));
        return Ok(());
    }
    let coded = Coded { json: value.to_string().into(), body: None };
    stored.entries.push((coded.entry(&key)?, revision));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dns::{NameRef, RecordSet, RecordType, Ttl, rdata};
    use crate::persist::{Made, Role, StoredForwarder, StoredToken, StoredZone};
    use crate::zone::ZoneKind;

    fn stored() -> Stored {
        let zone = |apex: &str| {
            let apex = apex.parse().unwrap();
            Entry::Zone(StoredZone {
                apex,
                made: Made::ByRest(ZoneKind::Plain),
                on_missing: None,
                networks: None,
            })
        };
        let data = rdata::from_text(RecordType::TXT, "\"a \\\" b\"", NameRef::ROOT).unwrap();
        let set = RecordSet::new(RecordType::TXT, Ttl::from_secs(60).unwrap(), [data]).unwrap();
        let set = Entry::RecordSet { zone: "z.".parse().unwrap(), name: "a.z.".parse().unwrap(), set };
        let rule = Entry::Forwarder(StoredForwarder {
            domain: "f.".parse().unwrap(),
            upstreams: vec!["10.0.0.1".into()],
            queries_per_second_max: None,
        });
        let entries = [zone("z."), zone("y."), set, rule].into_iter().zip(1..).collect();
        Stored { revision: 7, entries, serials: vec![("z.".parse().unwrap(), 9)] }
    }

    fn written(stored: &Stored) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_copy(stored, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_copy_is_read_as_it_was_written_without_tokens() {
        let mut with_token = stored();
        with_token.entries.push((
            Entry::Token(StoredToken {
                id: "t1".into(),
                name: "ci".into(),
                hash: Arc::from(&b"secret"[..]),
                role: Role::Admin,
                zones: Vec::new(),
                created_secs: 1,
                expires_secs: None,
                revoked_secs: None,
            }),
            7,
        ));
        let bytes = written(&with_token);
        assert!(!String::from_utf8(bytes.clone()).unwrap().contains("t1"));
        assert_eq!(read_copy(&bytes), LocalCopy::Whole(stored()));
        assert_eq!(read_copy(&written(&Stored::default())), LocalCopy::Whole(Stored::default()));
    }

    #[test]
    fn of_a_copy_that_is_cut_or_changed_the_zones_are_known_and_no_record_is() {
        let whole = written(&stored());
        let ends: Vec<usize> =
            whole.iter().enumerate().filter(|(_, it)| **it == b'\n').map(|(at, _)| at + 1).collect();
        let is_named = |bytes: &[u8]| match read_copy(bytes) {
            LocalCopy::Names { stored, why } => {
                assert!(!stored.entries.iter().any(|(it, _)| matches!(it, Entry::RecordSet { .. })), "{why}");
                stored.entries.iter().filter(|(it, _)| matches!(it, Entry::Zone(_))).count()
            }
            whole => panic!("{whole:?}"),
        };
        for length in 0..whole.len() - 1 {
            assert_eq!(
                is_named(&whole[..length]),
                ends[1..3].iter().filter(|end| length + 1 >= **end).count(),
                "{length}"
            );
        }
        for at in ends[2]..whole.len() - 1 {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(is_named(&changed), 2, "{at}");
        }
        let newer = String::from_utf8(whole).unwrap().replacen("\"version\":1", "\"version\":2", 1);
        assert_eq!(is_named(newer.as_bytes()), 2);
    }
}
