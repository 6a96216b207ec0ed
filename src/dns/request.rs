//! A client's message, read by hand as far as it must be, on the stack.

use super::edns::Edns;
use super::header::{Flags, HEADER_BYTES, OPCODE_QUERY};
use super::record::CLASS_IN;
use super::{RawName, RawQuestion, Rcode, RecordType};

/// A query that can be answered.
#[derive(Clone, Copy)]
pub struct Request<'m> {
    pub id: u16,
    pub flags: Flags,
    /// The name asked for.
    pub name: RawName<'m>,
    pub rtype: RecordType,
    pub class: u16,
    /// The question section as it came: its case is echoed.
    pub question: &'m [u8],
    pub edns: Option<Edns<'m>>,
}

/// A message that is answered with an error or not at all.
#[derive(Clone, Copy)]
pub enum Unanswerable<'m> {
    /// Too short for a header, or itself a response: no reply (RFC 5625 §4.1, reflection).
    Drop,
    /// A reply of this code; it echoes id, opcode and a question that could be read, nothing else.
    Refuse { id: u16, flags: Flags, rcode: Rcode, question: &'m [u8], edns: Option<Edns<'m>> },
}

impl<'m> Request<'m> {
    /// Reads a message from a client.
    pub fn read(message: &'m [u8]) -> Result<Request<'m>, Unanswerable<'m>> {
        let Some(header) = message.first_chunk::<HEADER_BYTES>() else {
            return Err(Unanswerable::Drop);
        };
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (id, flags) = (word(0), Flags(word(2)));
        if flags.has(Flags::QR) {
            return Err(Unanswerable::Drop);
        }
        let refuse = |rcode, question, edns| Unanswerable::Refuse { id, flags, rcode, question, edns };
        if flags.opcode() != OPCODE_QUERY {
            return Err(refuse(Rcode::NOTIMP, &[][..], None));
        }
        let (questions, answers, authorities, additionals) = (word(4), word(6), word(8), word(10));
        if questions != 1 {
            return Err(refuse(Rcode::FORMERR, &[], None));
        }
        let Some(asked) = RawQuestion::read(message, HEADER_BYTES) else {
            return Err(refuse(Rcode::FORMERR, &[], None));
        };
        let RawQuestion { name, rtype, class, bytes: question } = asked;
        // RFC 1995 §3: only IXFR carries a record, the client's SOA, in its authority section.
        if answers != 0 || (authorities != 0 && rtype != RecordType::IXFR) {
            return Err(refuse(Rcode::FORMERR, question, None));
        }
        let mut edns = None;
        let mut signed = false;
        let mut at = HEADER_BYTES + question.len();
        for index in 0..u32::from(authorities) + u32::from(additionals) {
            let Some(record) = RawRecord::read(message, at) else {
                return Err(refuse(Rcode::FORMERR, question, None));
            };
            at = record.end;
            match record.rtype {
                RecordType::OPT => {
                    // RFC 6891 §6.1.1: one OPT record, owned by the root.
                    let read = Edns::read(record.class, record.ttl, record.data(message));
                    let (Ok(read), true, None) = (read, record.owner_is_root, edns) else {
                        return Err(refuse(Rcode::FORMERR, question, None));
                    };
                    edns = Some(read);
                }
                RecordType::TSIG => {
                    // RFC 8945 §5.1: the last record of the message.
                    if index + 1 != u32::from(authorities) + u32::from(additionals) {
                        return Err(refuse(Rcode::FORMERR, question, None));
                    }
                    signed = true;
                }
                _ => {}
            }
        }
        if at != message.len() {
            return Err(refuse(Rcode::FORMERR, question, None));
        }
        if edns.is_some_and(|edns| edns.version != 0) {
            // RFC 6891 §6.1.3.
            return Err(refuse(Rcode::BADVERS, question, edns));
        }
        if signed {
            // RFC 8945 §5.2.1: no key is known here yet.
            return Err(refuse(Rcode::NOTAUTH, question, edns));
        }
        if class != CLASS_IN {
            return Err(refuse(Rcode::REFUSED, question, edns));
        }
        Ok(Request { id, flags, name, rtype, class, question, edns })
    }

    /// Whether the client wants RRSIG records (RFC 3225).
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }
}

/// Where one record of a message lies.
pub(crate) struct RawRecord {
    pub owner_is_root: bool,
    pub rtype: RecordType,
    pub class: u16,
    pub ttl: u32,
    pub data_start: usize,
    pub end: usize,
}

impl RawRecord {
    /// Finds the parts of the record at `start`; `None` when it does not fit.
    pub(crate) fn read(message: &[u8], start: usize) -> Option<RawRecord> {
        use super::name::walk;
        let mut labels = 0_u8;
        let owner_end = walk(message, start, |_| {
            labels = labels.saturating_add(1);
            Ok(())
        });
        let owner_end = owner_end.ok()?;
        let fixed = message.get(owner_end..owner_end + 10)?;
        let word = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let end = owner_end + 10 + usize::from(word(8));
        (end <= message.len()).then_some(RawRecord {
            owner_is_root: labels == 0,
            rtype: RecordType(word(0)),
            class: word(2),
            ttl: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            data_start: owner_end + 10,
            end,
        })
    }

    pub(crate) fn data<'m>(&self, message: &'m [u8]) -> &'m [u8] {
        &message[self.data_start..self.end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x01A\x02bC\0\0\x01\0\x01";

    fn rcode(message: &[u8]) -> Option<Rcode> {
        match Request::read(message) {
            Ok(_) => None,
            Err(Unanswerable::Drop) => Some(Rcode(0xFFFF)),
            Err(Unanswerable::Refuse { rcode, .. }) => Some(rcode),
        }
    }

    fn changed(at: usize, byte: u8) -> Vec<u8> {
        let mut message = QUERY.to_vec();
        message[at] = byte;
        message
    }

    #[test]
    fn a_query_is_read_and_its_case_is_kept_beside() {
        let request = Request::read(QUERY).ok().unwrap();
        assert_eq!((request.id, request.name.to_buf().to_string().as_str()), (0x1234, "a.bc."));
        assert_eq!(request.question, b"\x01A\x02bC\0\0\x01\0\x01");
    }

    #[test]
    fn malformed_messages_are_dropped_or_formerr() {
        const DROPPED: Option<Rcode> = Some(Rcode(0xFFFF));
        assert_eq!(rcode(&QUERY[..11]), DROPPED);
        assert_eq!(rcode(&changed(2, 0x81)), DROPPED);
        assert_eq!(rcode(&changed(2, 0x28)), Some(Rcode::NOTIMP));
        assert_eq!(rcode(&changed(5, 2)), Some(Rcode::FORMERR));
        assert_eq!(rcode(&changed(7, 1)), Some(Rcode::FORMERR));
        assert_eq!(rcode(&changed(11, 1)), Some(Rcode::FORMERR));
        assert_eq!(rcode(&changed(20, 3)), Some(Rcode::REFUSED));
        assert_eq!(rcode(&changed(12, 0xC0)), Some(Rcode::FORMERR));
        for end in 12..QUERY.len() {
            assert_eq!(rcode(&QUERY[..end]), Some(Rcode::FORMERR), "cut at {end}");
        }
        assert_eq!(rcode(&[QUERY, b"x"].concat()), Some(Rcode::FORMERR));
    }

    #[test]
    fn one_opt_record_of_the_root_is_taken() {
        let with = |opts: &[&[u8]]| {
            let mut message = changed(11, opts.len() as u8);
            opts.iter().for_each(|opt| message.extend_from_slice(opt));
            rcode(&message)
        };
        let opt: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
        assert_eq!(with(&[opt]), None);
        assert_eq!(with(&[opt, opt]), Some(Rcode::FORMERR));
        assert_eq!(with(&[b"\x01a\0\0\x29\x04\xd0\0\0\0\0\0\0"]), Some(Rcode::FORMERR));
        assert_eq!(with(&[b"\0\0\x29\x04\xd0\0\x01\0\0\0\0"]), Some(Rcode::BADVERS));
        let tsig: &[u8] = b"\0\0\xfa\0\xff\0\0\0\0\0\0";
        assert_eq!(with(&[opt, tsig]), Some(Rcode::NOTAUTH));
        assert_eq!(with(&[tsig, opt]), Some(Rcode::FORMERR));
    }
}
