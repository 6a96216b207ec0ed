//! A reply written into a buffer of the caller's: compressed, bounded, without allocating.

use super::edns::{ExtendedError, ReplyEdns};
use super::header::{Flags, HEADER_BYTES};
use super::rdata;
use super::record::CLASS_IN;
use super::{NameRef, Rcode, RecordType};

/// Names remembered as targets of compression pointers; beyond these a name is written in full.
const NAMES_REMEMBERED: usize = 32;

/// Names of the question among them: the rest is left for names of records.
pub(super) const NAMES_OF_QUESTION: usize = NAMES_REMEMBERED / 2;

/// A section of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    Answer = 0,
    Authority = 1,
    Additional = 2,
}

/// The reply does not fit its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Writes one reply from front to back.
pub struct ReplyWriter<'b> {
    buffer: &'b mut [u8],
    length: usize,
    /// The most bytes of the whole message.
    limit: usize,
    /// Bytes of the limit that are kept for the OPT record.
    reserved: usize,
    question_end: usize,
    counts: [u16; 3],
    /// Offsets of labels that names may point to.
    names: [u16; NAMES_REMEMBERED],
    names_used: usize,
    /// Whether the question's names are among them: not before a name is written.
    knows_question: bool,
}

impl<'b> ReplyWriter<'b> {
    /// Begins a reply: the header's room and the question as it came. `limit` counts the whole message.
    pub fn new(buffer: &'b mut [u8], limit: usize, question: &[u8]) -> Result<ReplyWriter<'b>, Full> {
        let limit = limit.min(buffer.len());
        let question_end = HEADER_BYTES + question.len();
        if question_end > limit {
            return Err(Full);
        }
        buffer[..HEADER_BYTES].fill(0);
        buffer[HEADER_BYTES..question_end].copy_from_slice(question);
        let writer = ReplyWriter {
            buffer,
            length: question_end,
            limit,
            reserved: 0,
            question_end,
            counts: [0; 3],
            names: [0; NAMES_REMEMBERED],
            names_used: 0,
            knows_question: false,
        };
        if !question.is_empty() {
            writer.buffer[5] = 1;
        }
        Ok(writer)
    }

    /// Keeps room for what `finish` will write.
    pub fn reserve(&mut self, edns: Option<&ReplyEdns<'_>>) {
        self.reserved = edns.map_or(0, ReplyEdns::length).min(self.limit - self.question_end);
    }

    /// Appends a record; on `Full` nothing of it is left.
    pub fn record(
        &mut self,
        section: Section,
        owner: NameRef<'_>,
        rtype: RecordType,
        ttl_secs: u32,
        data: &[u8],
    ) -> Result<(), Full> {
        if !self.knows_question {
            self.remember_question();
            self.knows_question = true;
        }
        let (length, names_used) = (self.length, self.names_used);
        let written = self.try_record(owner, rtype, ttl_secs, data);
        match written {
            Ok(()) => self.counts[section as usize] += 1,
            Err(Full) => (self.length, self.names_used) = (length, names_used),
        }
        written
    }

    /// Appends records that are finished but for what the caller changes in them; answers where they lie. `counts` are
    /// those of the sections. Names of records behind them are not compressed against theirs.
    pub fn finished(&mut self, counts: [u16; 3], bytes: &[u8]) -> Result<&mut [u8], Full> {
        let start = self.length;
        self.put(bytes)?;
        for (count, more) in self.counts.iter_mut().zip(counts) {
            *count += more;
        }
        Ok(&mut self.buffer[start..self.length])
    }

    /// Bytes written so far, header and question included.
    pub fn length(&self) -> usize {
        self.length
    }

    fn try_record(
        &mut self,
        owner: NameRef<'_>,
        rtype: RecordType,
        ttl_secs: u32,
        data: &[u8],
    ) -> Result<(), Full> {
        self.name(owner.as_wire())?;
        self.put(&rtype.0.to_be_bytes())?;
        self.put(&CLASS_IN.to_be_bytes())?;
        self.put(&ttl_secs.to_be_bytes())?;
        let length_at = self.length;
        self.put(&[0, 0])?;
        let pieces = rdata::pieces(rtype, data);
        self.put(pieces.head)?;
        for name in pieces.names.into_iter().take_while(|name| !name.is_empty()) {
            self.name(name)?;
        }
        self.put(pieces.tail)?;
        let length = (self.length - length_at - 2) as u16;
        self.buffer[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Takes back all records.
    pub fn clear(&mut self) {
        self.length = self.question_end;
        self.counts = [0; 3];
        self.names_used = 0;
        self.knows_question = false;
    }

    /// How many records a section has.
    pub fn count(&self, section: Section) -> u16 {
        self.counts[section as usize]
    }

    /// Writes OPT and header; answers the reply's length.
    pub fn finish(mut self, id: u16, flags: Flags, rcode: Rcode, edns: Option<&ReplyEdns<'_>>) -> usize {
        if let Some(edns) = edns {
            if self.length + edns.length() > self.limit {
                return self.finish_shorter(id, flags, rcode, edns);
            }
            let unpadded = self.length + edns.length();
            // RFC 7830 §3: the option's own four bytes count. RFC 8467 §4.1: what has no room for a whole block fills what
            // there is.
            let padding = edns.padded_to.map(usize::from).and_then(|block| {
                let least = unpadded + 4;
                let padded = least.next_multiple_of(block).min(self.limit);
                padded.checked_sub(least)
            });
            let (buffer, length) = (&mut self.buffer, &mut self.length);
            edns.write(rcode, padding, |bytes| {
                buffer[*length..*length + bytes.len()].copy_from_slice(bytes);
                *length += bytes.len();
            });
            self.counts[Section::Additional as usize] += 1;
        }
        let header = &mut self.buffer[..HEADER_BYTES];
        header[..2].copy_from_slice(&id.to_be_bytes());
        header[2..4].copy_from_slice(&(flags.0 | rcode.0 & 0x0F).to_be_bytes());
        for (index, count) in self.counts.iter().enumerate() {
            header[6 + 2 * index..8 + 2 * index].copy_from_slice(&count.to_be_bytes());
        }
        self.length
    }

    /// Finishes with as much of EDNS as fits.
    // Reasons are for people and go before the limit does. Programs read the codes: systemd-resolved 257 leaves a server
    // for good that says SERVFAIL without one.
    #[cold]
    fn finish_shorter(self, id: u16, flags: Flags, rcode: Rcode, edns: &ReplyEdns<'_>) -> usize {
        let codes = ExtendedError::codes(edns.extended_errors);
        for extended_errors in [&codes[..], &[]] {
            let shorter = ReplyEdns { extended_errors, ..*edns };
            if self.length + shorter.length() <= self.limit {
                return self.finish(id, flags, rcode, Some(&shorter));
            }
        }
        self.finish(id, flags, rcode, None)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.length + bytes.len();
        if end > self.limit - self.reserved {
            return Err(Full);
        }
        self.buffer[self.length..end].copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    /// Writes a name (any case, uncompressed wire form), its longest known suffix as a pointer.
    fn name(&mut self, wire: &[u8]) -> Result<(), Full> {
        let mut rest = wire;
        // A label of this very name is no target: what stands behind it is not written yet.
        let known = self.names_used;
        loop {
            let length = usize::from(rest[0]);
            if length == 0 {
                return self.put(&[0]);
            }
            if let Some(offset) = self.find(rest, known) {
                return self.put(&(0xC000 | offset).to_be_bytes());
            }
            self.remember(self.length);
            self.put(&rest[..=length])?;
            rest = &rest[length + 1..];
        }
    }

    fn find(&self, wire: &[u8], known: usize) -> Option<u16> {
        self.names[..known].iter().copied().find(|offset| self.is_at(usize::from(*offset), wire))
    }

    /// Whether the name at `offset` of the reply is `wire`, whatever the case.
    fn is_at(&self, mut offset: usize, mut wire: &[u8]) -> bool {
        // The usual case: it stands there in full and in this very case.
        if self.buffer[..self.length].get(offset..offset + wire.len()) == Some(wire) {
            return true;
        }
        loop {
            let length = self.buffer[offset];
            if length >= 0xC0 {
                // We wrote this pointer ourselves: it goes backwards to a label.
                offset = usize::from(u16::from_be_bytes([length & 0x3F, self.buffer[offset + 1]]));
                continue;
            }
            if length != wire[0] {
                return false;
            }
            if length == 0 {
                return true;
            }
            let end = 1 + usize::from(length);
            if !self.buffer[offset + 1..offset + end].eq_ignore_ascii_case(&wire[1..end]) {
                return false;
            }
            offset += end;
            wire = &wire[end..];
        }
    }

    fn remember(&mut self, offset: usize) {
        // A pointer has 14 bits.
        if self.names_used < NAMES_REMEMBERED && offset < 0x4000 {
            self.names[self.names_used] = offset as u16;
            self.names_used += 1;
        }
    }

    fn remember_question(&mut self) {
        let mut at = HEADER_BYTES;
        while at < self.question_end && self.buffer[at] != 0 && self.names_used < NAMES_OF_QUESTION {
            self.remember(at);
            at += 1 + usize::from(self.buffer[at]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Message, Name, edns::ExtendedError};
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    const QUESTION: &[u8] = b"\x03App\x04blob\x00\x00\x01\x00\x01";

    #[test]
    fn names_are_compressed_against_the_question_and_each_other() {
        let mut buffer = [0; 512];
        let mut writer = ReplyWriter::new(&mut buffer, 512, QUESTION).unwrap();
        let target = name("app.link.blob.");
        writer
            .record(Section::Answer, name("app.blob.").borrow(), RecordType::CNAME, 60, target.as_wire())
            .unwrap();
        writer.record(Section::Answer, target.borrow(), RecordType::A, 10, &[10, 0, 0, 4]).unwrap();
        let errors = [ExtendedError::new(0, "why")];
        let edns = ReplyEdns { extended_errors: &errors, padded_to: Some(128), ..ReplyEdns::default() };
        let length = writer.finish(7, Flags::QR, Rcode::NOERROR, Some(&edns));
        assert_eq!(length % 128, 0);
        let reply = Message::read(&buffer[..length]).unwrap();
        assert_eq!(reply.answer[0].to_string(), "app.blob. 60 CNAME app.link.blob.");
        assert_eq!(reply.answer[1].to_string(), "app.link.blob. 10 A 10.0.0.4");
        assert_eq!(reply.extended_error, Some((0, "why".to_owned())));
        // Owner 2, fixed 10, then "app" 4 + "link" 5 + pointer 2.
        assert_eq!(&buffer[26..28], b"\xc0\x0c");
        assert_eq!(u16::from_be_bytes([buffer[36], buffer[37]]), 11);
    }

    #[test]
    fn a_name_that_stands_there_in_full_or_in_another_case_is_pointed_to() {
        for question in [&b"\x03App\x04blob\x00\x00\x01\x00\x01"[..], b"\x03app\x04blob\x00\x00\x01\x00\x01"]
        {
            let mut buffer = [0; 512];
            let mut writer = ReplyWriter::new(&mut buffer, 512, question).unwrap();
            for owner in ["app.blob.", "blob.", "p.blob."] {
                writer
                    .record(Section::Answer, name(owner).borrow(), RecordType::A, 1, &[10, 0, 0, 4])
                    .unwrap();
            }
            writer.finish(7, Flags::QR, Rcode::NOERROR, None);
            let records = HEADER_BYTES + question.len();
            assert_eq!(buffer[records..records + 2], [0xC0, 12]);
            assert_eq!(buffer[records + 16..records + 18], [0xC0, 16]);
            assert_eq!(buffer[records + 32..records + 36], [1, b'p', 0xC0, 16]);
        }
    }

    #[test]
    fn a_name_does_not_point_to_itself() {
        let mut buffer = [0; 512];
        let mut writer = ReplyWriter::new(&mut buffer, 512, QUESTION).unwrap();
        writer.record(Section::Answer, name("a.a.").borrow(), RecordType::A, 1, &[10, 0, 0, 4]).unwrap();
        let length = writer.finish(7, Flags::QR, Rcode::NOERROR, None);
        assert_eq!(Message::read(&buffer[..length]).unwrap().answer[0].to_string(), "a.a. 1 A 10.0.0.4");
    }

    #[test]
    fn texts_of_reasons_go_before_the_limit_does_and_codes_before_edns() {
        let mut buffer = [0; 4096];
        let errors = [ExtendedError::new(0, "x".repeat(200)), ExtendedError::new(22, "y".repeat(200))];
        let edns = ReplyEdns { extended_errors: &errors, padded_to: Some(468), ..ReplyEdns::default() };
        for (limit, length, said) in
            [(512, 468, Some("x".repeat(200))), (446, 446, Some(String::new())), (48, 48, None)]
        {
            let mut writer = ReplyWriter::new(&mut buffer, limit, QUESTION).unwrap();
            writer.reserve(Some(&edns));
            assert_eq!(writer.finish(7, Flags::QR, Rcode::SERVFAIL, Some(&edns)), length);
            let reply = Message::read(&buffer[..length]).unwrap();
            assert!(reply.has_edns);
            assert_eq!(reply.extended_error, said.map(|text| (0, text)));
        }
    }

    #[test]
    fn the_longest_name_with_a_cookie_leaves_room_for_the_codes() {
        let question = [&b"\x3f"[..], &[b'a'; 63]].concat().repeat(3);
        let question = [&question[..], b"\x3d", &[b'a'; 61], b"\0\0\x01\0\x01"].concat();
        let mut buffer = [0; 512];
        let errors: Vec<_> = (20..24).map(|code| ExtendedError::new(code, "z".repeat(200))).collect();
        let edns = ReplyEdns {
            extended_errors: &errors,
            cookie: Some([0; 24]),
            keepalive_100ms: Some(1),
            ..ReplyEdns::default()
        };
        let writer = ReplyWriter::new(&mut buffer, 512, &question).unwrap();
        let length = writer.finish(7, Flags::QR, Rcode::SERVFAIL, Some(&edns));
        let reply = Message::read(&buffer[..length]).unwrap();
        assert_eq!(reply.extended_error, Some((20, String::new())));
    }

    #[test]
    fn a_record_that_does_not_fit_leaves_nothing() {
        let mut buffer = [0; 512];
        let mut writer = ReplyWriter::new(&mut buffer, 60, QUESTION).unwrap();
        let edns = ReplyEdns::default();
        writer.reserve(Some(&edns));
        assert_eq!(
            writer.record(Section::Answer, name("app.blob.").borrow(), RecordType::A, 1, &[1, 2, 3, 4]),
            Ok(())
        );
        assert_eq!(
            writer.record(Section::Answer, name("other.").borrow(), RecordType::A, 1, &[1, 2, 3, 4]),
            Err(Full)
        );
        writer.clear();
        let length = writer.finish(7, Flags::QR.with(Flags::TC, true), Rcode::NOERROR, Some(&edns));
        let reply = Message::read(&buffer[..length]).unwrap();
        assert!(reply.answer.is_empty() && reply.flags.has(Flags::TC) && reply.has_edns);
    }
}
