//! What a reply comes to: its code, and why it is what it is.

use smallvec::SmallVec;

use super::edns::{Edns, extended_errors};
use super::header::{Flags, HEADER_BYTES};
use super::request::RawRecord;
use super::{RawQuestion, Rcode, RecordType};

/// The parts of a reply that a log tells.
pub struct Gist<'m> {
    /// The response code, EDNS's bits included.
    pub rcode: Rcode,
    /// Codes and texts of all extended errors (RFC 8914).
    pub extended_errors: SmallVec<[(u16, &'m [u8]); 2]>,
}

impl<'m> Gist<'m> {
    /// Reads a reply; `None` if it is malformed.
    pub fn read(reply: &'m [u8]) -> Option<Gist<'m>> {
        let header = reply.first_chunk::<HEADER_BYTES>()?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let mut at = HEADER_BYTES;
        for _ in 0..word(4) {
            at += RawQuestion::read(reply, at)?.bytes.len();
        }
        let mut gist = Gist { rcode: Flags(word(2)).rcode(), extended_errors: SmallVec::new() };
        let records = u32::from(word(6)) + u32::from(word(8)) + u32::from(word(10));
        for _ in 0..records {
            let record = RawRecord::read(reply, at)?;
            at = record.end;
            if record.rtype == RecordType::OPT {
                let data = record.data(reply);
                let edns = Edns::read(record.class, record.ttl, data).ok()?;
                gist.rcode = Rcode(u16::from(edns.rcode_high) << 4 | gist.rcode.0);
                gist.extended_errors.extend(extended_errors(data));
            }
        }
        Some(gist)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_and_all_reasons_of_a_reply_are_read() {
        let header = b"\0\x07\x81\x80\0\x01\0\x01\0\0\0\x01";
        let sections = b"\x01a\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01";
        let opt = b"\0\0\x29\x04\xd0\x01\0\0\0\0\x15\0\x0f\0\x06\0\x16dead\0\x0f\0\x02\0\x03\0\x0c\0\x01\0";
        let reply = [&header[..], sections, opt].concat();
        let gist = Gist::read(&reply).unwrap();
        assert_eq!(gist.rcode, Rcode(16));
        assert_eq!(gist.extended_errors[..], [(22, &b"dead"[..]), (3, b"")]);
        assert!((0..reply.len()).all(|end| Gist::read(&reply[..end]).is_none()));
    }

    #[test]
    fn a_reply_without_question_and_edns_has_a_code_alone() {
        let gist = Gist::read(b"\0\x07\x80\x01\0\0\0\0\0\0\0\0").unwrap();
        assert_eq!((gist.rcode, gist.extended_errors.len()), (Rcode::FORMERR, 0));
    }
}
