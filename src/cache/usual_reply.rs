//! The usual reply of an upstream, read straight from its bytes: aliases in the order of the chain, then what was asked for.

use super::{CHAIN_MAX, End, UpstreamReply};
use crate::dns::edns::Edns;
use crate::dns::header::{HEADER_BYTES, QUESTION_POINTER};
use crate::dns::record::CLASS_IN;
use crate::dns::request::RawRecord;
use crate::dns::{Flags, NameBuf, NameRef, Question, Rcode, Record, RecordType, Ttl, rdata};

/// Records that room is made for at first: more than most replies have.
const RECORDS_USUAL: usize = 4;

impl UpstreamReply {
    /// What `from_message` makes of this reply to `question`, if nothing about it is unusual: no other sections, no
    /// stranger's record, no signature, every alias within what `speaks_for` allows, data at the end.
    pub fn read_usual(
        message: &[u8],
        question: &Question,
        speaks_for: impl Fn(NameRef<'_>) -> bool,
    ) -> Option<UpstreamReply> {
        let Question { name, rtype } = question;
        let (flags, answers, opts) = read_header(message)?;
        let start = HEADER_BYTES + name.as_wire().len();
        let is_same = message.get(HEADER_BYTES..start)?.eq_ignore_ascii_case(name.as_wire())
            && *message.get(start..start + 2)? == rtype.0.to_be_bytes();
        if !is_same || rtype.is_question_only() || *rtype == RecordType::RRSIG {
            return None;
        }
        let mut at = start + 4;
        let mut answer: Vec<Record> = Vec::with_capacity(answers.min(RECORDS_USUAL));
        let mut owner = name.clone();
        let mut has_data = false;
        for _ in 0..answers {
            let raw = RawRecord::read(message, at)?;
            let is_owned = match answer.is_empty() && message[at..].starts_with(&QUESTION_POINTER) {
                true => true,
                false => NameBuf::read(message, at).ok()?.0.borrow() == owner.borrow(),
            };
            let is_alias = raw.rtype == RecordType::CNAME && raw.rtype != *rtype;
            if !is_owned || raw.class != CLASS_IN || is_alias && has_data || !is_alias && raw.rtype != *rtype
            {
                return None;
            }
            let data = rdata::expand(raw.rtype, message, raw.data_start, raw.end).ok()?.into_boxed_slice();
            let ttl = Ttl::from_wire(raw.ttl);
            answer.push(Record { owner: owner.clone(), rtype: raw.rtype, ttl, data });
            if is_alias {
                let target = answer.last()?.target()?.to_name();
                let is_seen = answer.iter().any(|record| record.owner == target);
                if is_seen || answer.len() > CHAIN_MAX || !speaks_for(target.borrow()) {
                    return None;
                }
                owner = target;
            }
            has_data = !is_alias;
            at = raw.end;
        }
        if !has_data || opts == 1 && !is_plain_opt(message, at) {
            return None;
        }
        let mut reply = UpstreamReply {
            rcode: Rcode::NOERROR,
            authenticated: flags.has(Flags::AD),
            answer,
            authority: Vec::new(),
            end: End::Data,
            extended_error: None,
        };
        reply.level_ttls();
        Some(reply)
    }
}

/// Flags, the number of answers, and whether another record follows, of a message that may be usual.
fn read_header(message: &[u8]) -> Option<(Flags, usize, u16)> {
    let header = message.first_chunk::<HEADER_BYTES>()?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let flags = Flags(word(2));
    let (questions, answers, authorities, additionals) = (word(4), word(6), word(8), word(10));
    let is_usual = questions == 1 && authorities == 0 && additionals <= 1;
    let is_whole = !flags.has(Flags::TC) && flags.rcode() == Rcode::NOERROR;
    (is_usual && is_whole).then_some((flags, answers.into(), additionals))
}

/// Whether the record at `at` is an OPT record that says nothing of its own.
fn is_plain_opt(message: &[u8], at: usize) -> bool {
    let Some(raw) = RawRecord::read(message, at).filter(|raw| raw.rtype == RecordType::OPT) else {
        return false;
    };
    let edns = Edns::read(raw.class, raw.ttl, raw.data(message));
    edns.is_ok_and(|edns| edns.rcode_high == 0 && edns.extended_error.is_none())
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::dns::edns::{ExtendedError, ReplyEdns};
    use crate::dns::{Message, Name, ReplyWriter, Section};

    fn question() -> Question {
        Question { name: "app.x.".parse().unwrap(), rtype: RecordType::A }
    }

    /// A reply of these records to `question`.
    fn message(records: &[&str], edns: Option<ReplyEdns<'_>>) -> Vec<u8> {
        let mut buffer = vec![0; 1232];
        let mut writer = ReplyWriter::new(&mut buffer, 1232, b"\x03aPp\x01X\0\0\x01\0\x01").unwrap();
        for record in records {
            let mut words = record.splitn(4, ' ');
            let mut next = || words.next().unwrap();
            let (owner, ttl_secs): (Name, u32) = (next().parse().unwrap(), next().parse().unwrap());
            let rtype: RecordType = next().parse().unwrap();
            let data = rdata::from_text(rtype, next(), NameRef::ROOT).unwrap();
            let section = if rtype == RecordType::SOA { Section::Authority } else { Section::Answer };
            writer.record(section, owner.borrow(), rtype, ttl_secs, &data).unwrap();
        }
        let length = writer.finish(7, Flags::QR.with(Flags::AD, true), Rcode::NOERROR, edns.as_ref());
        buffer.truncate(length);
        buffer
    }

    fn speaks_for(name: NameRef<'_>) -> bool {
        !name.as_wire().ends_with(b"\x06secret\0")
    }

    /// What is read is what the general way reads; whether anything is.
    fn is_usual(message: &[u8]) -> bool {
        let usual = UpstreamReply::read_usual(message, &question(), speaks_for);
        if let Some(usual) = &usual {
            let general = Message::read(message).expect("what is usual can be read");
            assert_eq!(Ok(usual), UpstreamReply::from_message(general, &question(), speaks_for).as_ref());
        }
        usual.is_some()
    }

    const CHAIN: [&str; 4] =
        ["app.x. 60 CNAME App.Link.y.", "app.link.y. 30 CNAME z.", "z. 9 A 10.0.0.1", "z. 5 A 10.0.0.2"];

    #[test]
    fn a_chain_in_its_order_is_read_as_the_general_way_reads_it() {
        for records in [&CHAIN[..], &["app.x. 60 A 10.0.0.1"]] {
            for edns in [None, Some(ReplyEdns::default())] {
                assert!(is_usual(&message(records, edns)), "{records:?}");
            }
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_the_general_way() {
        let unusual: [&[&str]; 11] = [
            &[],
            &CHAIN[..2],
            &["z. 9 A 10.0.0.1", "app.x. 60 CNAME z."],
            &["app.x. 60 A 10.0.0.1", "app.x. 60 CNAME z."],
            &["app.x. 60 A 10.0.0.1", "z. 60 A 10.0.0.1"],
            &["app.x. 60 A 10.0.0.1", "app.x. 60 AAAA ::1"],
            &["app.x. 60 CNAME app.x.", "app.x. 60 A 10.0.0.1"],
            &["app.x. 60 CNAME a.secret.", "a.secret. 60 A 10.0.0.1"],
            &["x. 60 DNAME y.", "app.x. 60 CNAME app.y.", "app.y. 60 A 10.0.0.1"],
            &["app.x. 60 A 10.0.0.1", "x. 60 SOA a. b. 1 1 1 1 1"],
            &["app.x. 60 CNAME z.", "z. 60 CNAME app.x.", "app.x. 60 A 10.0.0.1"],
        ];
        for records in unusual {
            assert!(!is_usual(&message(records, None)), "{records:?}");
        }
        let errors = [ExtendedError::new(0, "why")];
        let edns = ReplyEdns { extended_errors: &errors, ..ReplyEdns::default() };
        assert!(!is_usual(&message(&CHAIN, Some(edns))));
        let mut long: Vec<String> = (0..20).map(|n| format!("n{n}.x. 60 CNAME n{}.x.", n + 1)).collect();
        long.insert(0, "app.x. 60 CNAME n0.x.".to_owned());
        long.push("n20.x. 60 A 10.0.0.1".to_owned());
        assert!(!is_usual(&message(&long.iter().map(String::as_str).collect::<Vec<_>>(), None)));
    }

    #[test]
    fn of_spoilt_messages_nothing_is_read_that_the_general_way_reads_otherwise() {
        let mut random = StdRng::seed_from_u64(1);
        let whole = [message(&CHAIN, Some(ReplyEdns::default())), message(&CHAIN[..3], None)];
        let mut usual = 0;
        for round in 0..20_000 {
            let mut message = whole[round % whole.len()].clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..message.len());
                message[at] ^= 1 << random.random_range(0..8);
            }
            if random.random_range(0..8) == 0 {
                message.truncate(random.random_range(0..message.len()));
            }
            usual += usize::from(is_usual(&message));
        }
        assert!((100..19_000).contains(&usual), "{usual}");
    }
}
