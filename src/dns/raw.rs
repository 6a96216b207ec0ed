//! Names and questions where they lie in a message: nothing is copied before it must be.

use super::name::plain_end;
use super::{Name, NameBuf, NameError, NameRef, Question, RecordType};

/// A name as a message or a record has it: uncompressed wire form, in any case.
#[derive(Clone, Copy)]
pub struct RawName<'m> {
    wire: &'m [u8],
    is_lower: bool,
}

/// A question as a message has it.
#[derive(Clone, Copy)]
pub struct RawQuestion<'m> {
    pub name: RawName<'m>,
    pub rtype: RecordType,
    pub class: u16,
    /// All of its bytes.
    pub bytes: &'m [u8],
}

impl<'m> RawName<'m> {
    /// Reads a name that must not be compressed; answers it and the offset behind it.
    pub fn read(data: &'m [u8], start: usize) -> Result<(RawName<'m>, usize), NameError> {
        let end = plain_end(data, start)?;
        let wire = &data[start..end];
        // Without a branch for each byte: each question is read so.
        let has_upper = wire.iter().fold(false, |any, byte| any | byte.is_ascii_uppercase());
        Ok((RawName { wire, is_lower: !has_upper }, end))
    }

    /// The bytes as they are.
    pub fn as_wire(self) -> &'m [u8] {
        self.wire
    }

    /// The name where it lies, or, if it has upper-case letters, lower-cased in `room`.
    pub fn lower_in<'b>(self, room: &'b mut Option<NameBuf>) -> NameRef<'b>
    where
        'm: 'b,
    {
        match self.is_lower {
            true => NameRef::of_lower(self.wire),
            false => room.insert(self.to_buf()).borrow(),
        }
    }

    /// Copies to the stack, lower-cased.
    pub fn to_buf(self) -> NameBuf {
        NameBuf::lowered(self.wire)
    }

    /// Copies to the heap, lower-cased.
    pub fn to_name(self) -> Name {
        Name::lowered(self.wire)
    }
}

impl NameBuf {
    /// Reads a name that must not be compressed; answers it and the offset behind it.
    pub fn read_plain(data: &[u8], start: usize) -> Result<(NameBuf, usize), NameError> {
        RawName::read(data, start).map(|(name, end)| (name.to_buf(), end))
    }
}

impl<'m> RawQuestion<'m> {
    /// Reads the question at `start`; `None` if it is cut, or its name is none.
    pub fn read(message: &'m [u8], start: usize) -> Option<RawQuestion<'m>> {
        let (name, end) = RawName::read(message, start).ok()?;
        let [type_high, type_low, class_high, class_low] = *message.get(end..)?.first_chunk()?;
        Some(RawQuestion {
            name,
            rtype: RecordType(u16::from_be_bytes([type_high, type_low])),
            class: u16::from_be_bytes([class_high, class_low]),
            bytes: &message[start..end + 4],
        })
    }

    /// Copies to the heap what is asked.
    pub fn to_question(self) -> Question {
        Question { name: self.name.to_name(), rtype: self.rtype }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_raw_name_is_used_where_it_lies_unless_it_has_capitals() {
        // Lengths of labels are no letters, whatever they look like.
        let lower = [&[63][..], &[b'a'; 63], b"\x03net\x00 behind it"].concat();
        let (raw, end) = RawName::read(&lower, 0).unwrap();
        let mut room = None;
        assert_eq!((end, raw.lower_in(&mut room)), (69, raw.to_buf().borrow()));
        assert!(room.is_none());
        let (raw, _) = RawName::read(b"\x02aB\x03nEt\x00", 0).unwrap();
        assert_eq!(raw.lower_in(&mut room), name("ab.net").borrow());
        assert!(room.is_some() && raw.to_buf() == name("ab.net").borrow().to_buf());
        assert_eq!(raw.to_name(), name("ab.net"));
        assert!(RawName::read(b"\x02a", 0).is_err() && RawName::read(b"\xc0\x00", 0).is_err());
    }

    #[test]
    fn a_question_is_read_whole_or_not() {
        let section = b"\x01A\x00\x00\x1c\x00\x03";
        let question = RawQuestion::read(&[b"xx", &section[..], b"more"].concat(), 2).map(|it| {
            assert_eq!((it.class, it.bytes), (3, &section[..]));
            it.to_question()
        });
        assert_eq!(question, Some(Question { name: name("a."), rtype: RecordType::AAAA }));
        assert!((0..section.len()).all(|end| RawQuestion::read(&section[..end], 0).is_none()));
    }
}
