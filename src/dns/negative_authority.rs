//! The SOA record of a negative answer, finished once for a zone: what differs between questions is where its
//! compression pointers lead.

use smallvec::SmallVec;

use super::header::HEADER_BYTES;
use super::name::MAX_NAME_BYTES;
use super::reply::{NAMES_OF_QUESTION, ReplyWriter, Section};
use super::{NameBuf, NameRef, RecordSet, RecordType};

/// Bytes of a question behind its name: type and class.
const QUESTION_TAIL_BYTES: usize = 4;

/// Room for a SOA record: two names, and 22 bytes before and 20 behind them.
const RECORD_BYTES_MAX: usize = 600;

/// A zone's SOA record as it stands in the authority section.
#[derive(Clone, Debug)]
pub struct NegativeAuthority {
    apex_bytes: usize,
    apex_labels: usize,
    /// The record as it stands behind a question for the apex itself.
    record: Box<[u8]>,
    /// Where in the record pointers are; they lead to the question, or to the record itself.
    pointers: SmallVec<[u16; 3]>,
}

/// Lifetime of a SOA record in a negative answer (RFC 2308 §3).
pub fn negative_ttl_secs(soa: &RecordSet) -> u32 {
    debug_assert_eq!(soa.rtype, RecordType::SOA);
    let minimum = soa.records().next().and_then(<[u8]>::last_chunk).map(|bytes| u32::from_be_bytes(*bytes));
    minimum.unwrap_or(0).min(soa.ttl.secs())
}

impl NegativeAuthority {
    /// `None` when the record depends on more of a question than that it lies in the zone.
    pub fn new(apex: NameRef<'_>, soa: &RecordSet) -> Option<NegativeAuthority> {
        let mut records = soa.records();
        let (data, None) = (records.next()?, records.next()) else { return None };
        let (primary, at) = NameBuf::read_plain(data, 0).ok()?;
        let (mailbox, _) = NameBuf::read_plain(data, at).ok()?;
        // A name within the zone may be, or end like, the question.
        let is_free = |name: &NameBuf| name.borrow() == apex || !name.borrow().is_within(apex);
        if !is_free(&primary) || !is_free(&mailbox) || apex.is_root() {
            return None;
        }
        let question = [apex.as_wire(), &[0; QUESTION_TAIL_BYTES]].concat();
        let mut buffer = [0; HEADER_BYTES + MAX_NAME_BYTES + QUESTION_TAIL_BYTES + RECORD_BYTES_MAX];
        let limit = buffer.len();
        let mut writer = ReplyWriter::new(&mut buffer, limit, &question).ok()?;
        writer.record(Section::Authority, apex, RecordType::SOA, negative_ttl_secs(soa), data).ok()?;
        let end = writer.length();
        let record: Box<[u8]> = buffer[HEADER_BYTES + question.len()..end].into();
        let mut pointers = SmallVec::new();
        // Owner, then type, class, TTL and length, then the two names.
        let mut at = 0;
        for skipped in [10, 0, 0] {
            loop {
                match *record.get(at)? {
                    0 => break at += 1,
                    0xC0.. => {
                        pointers.push(at as u16);
                        break at += 2;
                    }
                    length => at += 1 + usize::from(length),
                }
            }
            at += skipped;
        }
        Some(NegativeAuthority {
            apex_bytes: apex.as_wire().len(),
            apex_labels: apex.label_count(),
            record,
            pointers,
        })
    }

    /// Appends the record behind a question for a name within the zone; answers whether it could.
    pub fn write(&self, writer: &mut ReplyWriter<'_>, name: NameRef<'_>) -> bool {
        let Some(shift) = name.as_wire().len().checked_sub(self.apex_bytes) else { return false };
        // Labels far behind are not remembered as targets. Each label in front takes two bytes at least.
        let front_labels_max = NAMES_OF_QUESTION.saturating_sub(self.apex_labels);
        if shift > 2 * front_labels_max && name.label_count() > NAMES_OF_QUESTION {
            return false;
        }
        let Ok(record) = writer.finished([0, 1, 0], &self.record) else { return false };
        for at in &self.pointers {
            let pointer = &mut record[usize::from(*at)..][..2];
            let target = u16::from_be_bytes([pointer[0], pointer[1]]) + shift as u16;
            pointer.copy_from_slice(&target.to_be_bytes());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Flags, Name, Rcode, Ttl, rdata};
    use super::*;

    fn soa(text: &str) -> RecordSet {
        let data = rdata::from_text(RecordType::SOA, text, NameRef::ROOT).unwrap();
        RecordSet::new(RecordType::SOA, Ttl::from_secs(60).unwrap(), [data]).unwrap()
    }

    fn reply(name: &Name, write: impl FnOnce(&mut ReplyWriter<'_>)) -> Vec<u8> {
        let question = [name.as_wire(), &[0, 1, 0, 1]].concat();
        let mut buffer = [0; 1232];
        let mut writer = ReplyWriter::new(&mut buffer, 1232, &question).unwrap();
        write(&mut writer);
        let length = writer.finish(1, Flags::QR, Rcode::NXDOMAIN, None);
        buffer[..length].to_vec()
    }

    #[test]
    fn the_finished_record_is_what_would_be_written() {
        for (apex, data) in [
            ("blob.windows.net.", "azureprivatedns.net. azureprivatedns-host.microsoft.com. 1 2 3 4 10"),
            ("blob.windows.net.", "ns.other. host.ns.other. 1 2 3 4 10"),
            ("blob.windows.net.", "blob.windows.net. nobody.invalid. 1 2 3 4 10"),
            ("net.", "a.b. c.a.b. 1 2 3 4 100"),
            ("a.b.", ". . 1 2 3 4 100"),
        ] {
            let (apex, soa): (Name, _) = (apex.parse().unwrap(), soa(data));
            let finished = NegativeAuthority::new(apex.borrow(), &soa).unwrap();
            let far = "x.".repeat(20);
            for front in ["", "a.", "Some.Account.", "net.", "azureprivatedns.net.", "ns.other.", "b.", &far]
            {
                let name: Name = format!("{front}{apex}").parse().unwrap();
                let is_far = name.borrow().label_count() > NAMES_OF_QUESTION;
                let mut written = false;
                let quick = reply(&name, |writer| written = finished.write(writer, name.borrow()));
                assert_eq!(written, !is_far, "{name}");
                if written {
                    let record = soa.records().next().unwrap();
                    let usual = reply(&name, |writer| {
                        let ttl_secs = negative_ttl_secs(&soa);
                        writer
                            .record(Section::Authority, apex.borrow(), RecordType::SOA, ttl_secs, record)
                            .unwrap();
                    });
                    assert_eq!(quick, usual, "{name} in {apex} with {data}");
                }
            }
        }
    }

    #[test]
    fn a_record_that_names_something_in_the_zone_is_not_finished() {
        let apex: Name = "corp.test.".parse().unwrap();
        for data in ["ns.corp.test. host.corp.test. 1 2 3 4 5", "ns.other. host.corp.test. 1 2 3 4 5"] {
            assert!(NegativeAuthority::new(apex.borrow(), &soa(data)).is_none());
        }
    }
}
