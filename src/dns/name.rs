//! Domain names: wire form, lower-cased once at the edge, so that equality is a comparison of bytes.
//!
//! The case a client used is kept where it must be echoed: in the raw question (`dns::request`).
//! Lower-casing the whole wire form is safe: label lengths (at most 63) lie below `A` (65).

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest name in wire form (RFC 1035 §2.3.4).
pub const MAX_NAME_BYTES: usize = 255;
/// The longest label (RFC 1035 §2.3.4).
pub const MAX_LABEL_BYTES: usize = 63;

/// The most labels that fit into a name, the root's not counted.
const LABELS_MAX: usize = MAX_NAME_BYTES / 2;

/// Pointers followed in one name: it has no more labels, and a pointer to a pointer is of no use to anyone.
// Without a bound each of some thousand names of a message could walk some thousand pointers.
const POINTERS_MAX: usize = MAX_NAME_BYTES / 2;

/// An absolute domain name, owned and cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Arc<[u8]>);

/// A borrowed domain name: lower-cased, uncompressed wire form, root label included.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NameRef<'a>(&'a [u8]);

/// A domain name on the stack, for paths that must not allocate.
#[derive(Clone, Copy)]
pub struct NameBuf {
    length: u8,
    bytes: [u8; MAX_NAME_BYTES],
}

/// Why bytes or text are not a domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name is longer than {MAX_NAME_BYTES} bytes")]
    TooLong,
    #[error("a label is longer than {MAX_LABEL_BYTES} bytes")]
    LabelTooLong,
    #[error("a label is empty")]
    EmptyLabel,
    #[error("a name ends early")]
    Truncated,
    #[error("a compression pointer does not point backwards, or there are too many")]
    BadPointer,
    #[error("a label has an unknown type")]
    BadLabelType,
    #[error("an escape is not \\DDD or \\X")]
    BadEscape,
    #[error("a name outside ASCII must be written in its xn-- form")]
    NotAscii,
}

impl Name {
    /// The root, `.`.
    pub fn root() -> Name {
        Name(Arc::from(&b"\0"[..]))
    }

    /// Reads text; a name without a final dot is taken relative to `origin`, `@` is `origin` itself.
    pub fn parse(text: &str, origin: NameRef<'_>) -> Result<Name, NameError> {
        NameBuf::parse(text, origin).map(|name| name.to_name())
    }

    /// The name of uncompressed wire form in any case.
    pub(super) fn lowered(wire: &[u8]) -> Name {
        let mut wire: Arc<[u8]> = Arc::from(wire);
        // Nobody else has it yet.
        Arc::make_mut(&mut wire).make_ascii_lowercase();
        Name(wire)
    }

    /// The name as a reference, which has all the questions one can ask a name.
    pub fn borrow(&self) -> NameRef<'_> {
        NameRef(&self.0)
    }

    /// Wire form.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// Whether this name is `other` or lies below it.
    pub fn is_within(&self, other: &Name) -> bool {
        self.borrow().is_within(other.borrow())
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads an absolute name; the final dot may be left out.
    fn from_str(text: &str) -> Result<Name, NameError> {
        Name::parse(text, NameRef::ROOT)
    }
}

impl<'a> NameRef<'a> {
    /// The root, `.`.
    pub const ROOT: NameRef<'static> = NameRef(b"\0");

    /// The name of uncompressed wire form without upper-case letters.
    pub(super) fn of_lower(wire: &'a [u8]) -> NameRef<'a> {
        NameRef(wire)
    }

    /// Wire form.
    pub fn as_wire(self) -> &'a [u8] {
        self.0
    }

    /// Copies to the heap.
    pub fn to_name(self) -> Name {
        Name(Arc::from(self.0))
    }

    /// Copies to the stack.
    pub fn to_buf(self) -> NameBuf {
        let mut bytes = [0; MAX_NAME_BYTES];
        bytes[..self.0.len()].copy_from_slice(self.0);
        NameBuf { length: self.0.len() as u8, bytes }
    }

    /// Whether this is the root.
    pub fn is_root(self) -> bool {
        self.0.len() == 1
    }

    /// The name without its first label; `None` for the root.
    pub fn parent(self) -> Option<NameRef<'a>> {
        match self.0[0] {
            0 => None,
            length => Some(NameRef(&self.0[1 + usize::from(length)..])),
        }
    }

    /// The first label without its length; `None` for the root.
    pub fn first_label(self) -> Option<&'a [u8]> {
        match self.0[0] {
            0 => None,
            length => Some(&self.0[1..1 + usize::from(length)]),
        }
    }

    /// This name and all that enclose it, the root last.
    pub fn ancestors(self) -> impl Iterator<Item = NameRef<'a>> {
        std::iter::successors(Some(self), |name| name.parent())
    }

    /// The labels from the first to the one below the root.
    pub fn labels(self) -> impl Iterator<Item = &'a [u8]> {
        self.ancestors().filter_map(NameRef::first_label)
    }

    /// The number of labels, the root's not counted.
    pub fn label_count(self) -> usize {
        self.labels().count()
    }

    /// Whether this name is `other` or lies below it, on label boundaries.
    pub fn is_within(self, other: NameRef<'_>) -> bool {
        self.strip_suffix(other).is_some()
    }

    /// The labels in front of `suffix` in wire form without a root label; `None` when it does not enclose this name.
    pub fn strip_suffix(self, suffix: NameRef<'_>) -> Option<&'a [u8]> {
        let cut = self.0.len().checked_sub(suffix.0.len())?;
        if &self.0[cut..] != suffix.0 {
            return None;
        }
        // The tail is equal; make sure that it begins at a label.
        let mut at = 0;
        while at < cut {
            at += 1 + usize::from(self.0[at]);
        }
        (at == cut).then(|| &self.0[..cut])
    }

    /// The ancestor that has `labels` labels; `None` when this name has fewer.
    pub fn trim_to(self, labels: usize) -> Option<NameRef<'a>> {
        let skip = self.label_count().checked_sub(labels)?;
        self.ancestors().nth(skip)
    }

    /// Whether the first label is `*`.
    pub fn is_wildcard(self) -> bool {
        self.0.starts_with(b"\x01*")
    }

    /// `label` in front of this name.
    pub fn child(self, label: &[u8]) -> Result<NameBuf, NameError> {
        let mut name = NameBuf::empty();
        name.push_label(label)?;
        name.finish(self)
    }

    /// The name relative to `origin` as master files write it: `@`, `www`, or absolute with a final dot.
    pub fn relative_to(self, origin: NameRef<'_>) -> String {
        match self.strip_suffix(origin) {
            Some([]) => "@".to_owned(),
            Some(_) if origin.is_root() => self.to_string(),
            Some(front) => {
                let mut text = String::new();
                write_labels(front, &mut text).expect("writing to a string does not fail");
                text.pop();
                text
            }
            None => self.to_string(),
        }
    }

    /// Order of RFC 4034 §6.1: by labels from the root downwards.
    pub fn canonical_cmp(self, other: NameRef<'_>) -> std::cmp::Ordering {
        if self == other {
            return std::cmp::Ordering::Equal;
        }
        let (mut mine, mut theirs) = ([0; LABELS_MAX], [0; LABELS_MAX]);
        let (mine, theirs) = (self.label_starts(&mut mine), other.label_starts(&mut theirs));
        let labels = mine.iter().rev().map(|at| self.label_at(*at));
        labels.cmp(theirs.iter().rev().map(|at| other.label_at(*at)))
    }

    /// Where each label but the root's begins, written into `starts`.
    fn label_starts(self, starts: &mut [u8; LABELS_MAX]) -> &[u8] {
        let (mut at, mut count) = (0, 0);
        while self.0[at] != 0 {
            starts[count] = at as u8;
            count += 1;
            at += 1 + usize::from(self.0[at]);
        }
        &starts[..count]
    }

    fn label_at(self, at: u8) -> &'a [u8] {
        let at = usize::from(at);
        &self.0[at + 1..at + 1 + usize::from(self.0[at])]
    }
}

impl NameBuf {
    fn empty() -> NameBuf {
        NameBuf { length: 0, bytes: [0; MAX_NAME_BYTES] }
    }

    /// The name as a reference, which has all the questions one can ask a name.
    pub fn borrow(&self) -> NameRef<'_> {
        NameRef(&self.bytes[..usize::from(self.length)])
    }

    /// Copies to the heap.
    pub fn to_name(&self) -> Name {
        self.borrow().to_name()
    }

    /// Reads text; see [`Name::parse`].
    pub fn parse(text: &str, origin: NameRef<'_>) -> Result<NameBuf, NameError> {
        match NameBuf::parse_plain(text, origin) {
            Some(name) => Ok(name),
            None => NameBuf::parse_any(text, origin),
        }
    }

    fn parse_any(text: &str, origin: NameRef<'_>) -> Result<NameBuf, NameError> {
        let mut name = NameBuf::empty();
        match text {
            "@" => return Ok(origin.to_buf()),
            "." => return Ok(NameRef::ROOT.to_buf()),
            "" => return Err(NameError::EmptyLabel),
            _ => {}
        }
        let (mut label, mut length) = ([0; MAX_LABEL_BYTES], 0);
        let mut bytes = text.bytes();
        let mut absolute = false;
        while let Some(byte) = bytes.next() {
            absolute = byte == b'.';
            let value = match byte {
                b'.' => {
                    name.push_label(&label[..length])?;
                    length = 0;
                    continue;
                }
                b'\\' => unescape(&mut bytes)?,
                0x80.. => return Err(NameError::NotAscii),
                byte => byte,
            };
            *label.get_mut(length).ok_or(NameError::LabelTooLong)? = value;
            length += 1;
        }
        if absolute {
            return name.finish(NameRef::ROOT);
        }
        name.push_label(&label[..length])?;
        name.finish(origin)
    }

    /// Reads a name without escapes, as nearly all are; `None` of any other, and of what is no name.
    fn parse_plain(text: &str, origin: NameRef<'_>) -> Option<NameBuf> {
        if text == "@" {
            return None;
        }
        let (text, suffix) = text.strip_suffix('.').map_or((text, origin), |text| (text, NameRef::ROOT));
        let (text, length) = (text.as_bytes(), text.len());
        if length >= MAX_NAME_BYTES - 1 {
            return None;
        }
        // Each byte goes one place behind its own; in those of the dots and in the first the lengths are told.
        let mut name = NameBuf::empty();
        let (mut is_plain, places) = (true, &mut name.bytes[1..1 + length]);
        for (to, from) in places.iter_mut().zip(text) {
            is_plain &= from.is_ascii() & (*from != b'\\');
            *to = from.to_ascii_lowercase();
        }
        let mut start = 0;
        let dots = text.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        for end in dots.chain([length]) {
            is_plain &= (1..=MAX_LABEL_BYTES).contains(&(end - start));
            name.bytes[start] = (end - start) as u8;
            start = end + 1;
        }
        name.length = (length + 1) as u8;
        if is_plain { name.finish(suffix).ok() } else { None }
    }

    /// Reads a name that may be compressed; answers it and the offset behind it (RFC 1035 §4.1.4).
    pub fn read(message: &[u8], start: usize) -> Result<(NameBuf, usize), NameError> {
        let mut name = NameBuf::empty();
        let end = walk(message, start, |label| name.push_label(label))?;
        Ok((name.finish(NameRef::ROOT)?, end))
    }

    /// The name of uncompressed wire form in any case.
    pub(super) fn lowered(wire: &[u8]) -> NameBuf {
        let mut name = NameRef(wire).to_buf();
        name.bytes[..wire.len()].make_ascii_lowercase();
        name
    }

    /// `front` (labels in wire form without a root label) before `suffix`.
    pub fn join(front: &[u8], suffix: NameRef<'_>) -> Result<NameBuf, NameError> {
        let mut name = NameBuf::empty();
        if front.len() >= MAX_NAME_BYTES {
            return Err(NameError::TooLong);
        }
        name.bytes[..front.len()].copy_from_slice(front);
        name.length = front.len() as u8;
        name.finish(suffix)
    }

    fn push_label(&mut self, label: &[u8]) -> Result<(), NameError> {
        if label.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        if label.len() > MAX_LABEL_BYTES {
            return Err(NameError::LabelTooLong);
        }
        let start = usize::from(self.length);
        let end = start + 1 + label.len();
        if end >= MAX_NAME_BYTES {
            return Err(NameError::TooLong);
        }
        self.bytes[start] = label.len() as u8;
        self.bytes[start + 1..end].copy_from_slice(label);
        self.bytes[start + 1..end].make_ascii_lowercase();
        self.length = end as u8;
        Ok(())
    }

    fn finish(mut self, suffix: NameRef<'_>) -> Result<NameBuf, NameError> {
        let start = usize::from(self.length);
        let end = start + suffix.0.len();
        if end > MAX_NAME_BYTES {
            return Err(NameError::TooLong);
        }
        self.bytes[start..end].copy_from_slice(suffix.0);
        self.length = end as u8;
        Ok(self)
    }
}

/// The offset behind the name at `start`, which must not be compressed.
pub(crate) fn plain_end(data: &[u8], start: usize) -> Result<usize, NameError> {
    let mut at = start;
    loop {
        match *data.get(at).ok_or(NameError::Truncated)? {
            0 => return Ok(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xC0.. => return Err(NameError::BadPointer),
            _ => return Err(NameError::BadLabelType),
        }
        if at - start >= MAX_NAME_BYTES {
            return Err(NameError::TooLong);
        }
    }
}

/// Hands each label of the name at `start`, which may be compressed, to `label`; answers the offset behind the name.
pub(crate) fn walk(
    message: &[u8],
    start: usize,
    mut label: impl FnMut(&[u8]) -> Result<(), NameError>,
) -> Result<usize, NameError> {
    let mut at = start;
    let mut end = None;
    // Each jump must go before all that was read so far, so that a name ends.
    let mut lowest = start;
    let mut pointers_left = POINTERS_MAX;
    let mut length_bytes = 1;
    loop {
        match *message.get(at).ok_or(NameError::Truncated)? {
            0 => return Ok(end.unwrap_or(at + 1)),
            length @ 1..=63 => {
                let next = at + 1 + usize::from(length);
                length_bytes += next - at;
                if length_bytes > MAX_NAME_BYTES {
                    return Err(NameError::TooLong);
                }
                label(message.get(at + 1..next).ok_or(NameError::Truncated)?)?;
                at = next;
            }
            high @ 0xC0.. => {
                let low = *message.get(at + 1).ok_or(NameError::Truncated)?;
                end.get_or_insert(at + 2);
                at = usize::from(u16::from_be_bytes([high & 0x3F, low]));
                if at >= lowest || pointers_left == 0 {
                    return Err(NameError::BadPointer);
                }
                (lowest, pointers_left) = (at, pointers_left - 1);
            }
            _ => return Err(NameError::BadLabelType),
        }
    }
}

/// The byte behind a backslash: `\DDD` or `\X` (RFC 1035 §5.1).
pub(crate) fn unescape(bytes: &mut std::str::Bytes<'_>) -> Result<u8, NameError> {
    let first = bytes.next().ok_or(NameError::BadEscape)?;
    if !first.is_ascii_digit() {
        return if first.is_ascii() { Ok(first) } else { Err(NameError::NotAscii) };
    }
    let mut value = u32::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit).ok_or(NameError::BadEscape)?;
        value = value * 10 + u32::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| NameError::BadEscape)
}

/// Labels, each followed by a dot, escaped as master files need it.
fn write_labels(mut wire: &[u8], out: &mut impl fmt::Write) -> fmt::Result {
    while let [length, rest @ ..] = wire
        && *length > 0
    {
        let (label, rest) = rest.split_at(usize::from(*length));
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
                    out.write_char('\\')?;
                    out.write_char(char::from(byte))?;
                }
                0x21..=0x7E => out.write_char(char::from(byte))?,
                byte => write!(out, "\\{byte:03}")?,
            }
        }
        out.write_char('.')?;
        wire = rest;
    }
    Ok(())
}

impl fmt::Display for NameRef<'_> {
    /// Master-file form with the final dot.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { out.write_str(".") } else { write_labels(self.0, out) }
    }
}

impl fmt::Debug for NameRef<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

macro_rules! as_name_ref {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&<$type>::borrow(self), out)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }
        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $type {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                <$type>::borrow(self).canonical_cmp(<$type>::borrow(other))
            }
        }
    };
}
as_name_ref!(Name);
as_name_ref!(NameBuf);

impl PartialEq for NameBuf {
    fn eq(&self, other: &NameBuf) -> bool {
        self.borrow() == other.borrow()
    }
}
impl Eq for NameBuf {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_plain_text_is_read_as_any_is(
            labels in prop::collection::vec("[a-zA-Z0-9_@*-]{1,70}|[ -~]{0,5}|.", 0..9),
            end in "\\.?",
            origin in "(origin\\.)?",
        ) {
            let text = labels.join(".") + &end;
            let origin = if origin.is_empty() { Name::root() } else { name(&origin) };
            let any = NameBuf::parse_any(&text, origin.borrow());
            match NameBuf::parse_plain(&text, origin.borrow()) {
                Some(plain) => prop_assert!(any.is_ok_and(|any| any.borrow() == plain.borrow()), "{text}"),
                None => prop_assert!(any.is_err() || text.contains('\\') || ["@", "."].contains(&&*text), "{text}"),
            }
        }
    }

    #[test]
    fn what_looks_plain_and_means_something_else_is_not_read_as_plain() {
        for text in ["@", ".", "", "..", "a..", ".a", "a..b", r"a\.", r"a\.b."] {
            for origin in [NameRef::ROOT, name("a.").borrow()] {
                assert!(NameBuf::parse_plain(text, origin).is_none(), "{text}");
            }
        }
        assert_eq!(name("@."), Name::parse(r"\@.", NameRef::ROOT).unwrap());
    }

    #[test]
    fn the_longest_plain_text_is_read_and_no_longer_one() {
        for (length, is_read) in [(59, true), (60, true), (61, true), (62, false), (63, false)] {
            for (end, origin) in [(".", NameRef::ROOT), ("", NameRef::ROOT), ("", name("a.").borrow())] {
                let is_read = is_read && (origin.is_root() || length < 60);
                let text = format!("{0}.{0}.{0}.{1}{end}", "a".repeat(63), "b".repeat(length));
                assert_eq!(NameBuf::parse_plain(&text, origin).is_some(), is_read, "{length} {origin:?}");
                assert_eq!(NameBuf::parse_any(&text, origin).is_ok(), is_read, "{length} {origin:?}");
            }
        }
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn suffixes_match_on_label_boundaries_and_without_case() {
        assert!(name("Acct.BLOB.core.windows.net").is_within(&name("blob.core.windows.net.")));
        assert!(!name("notblob.core.windows.net").is_within(&name("blob.core.windows.net")));
        assert!(name("a.b").is_within(&Name::root()));
        // The tail bytes are equal, but the suffix begins inside a label.
        let tricky = NameBuf::read_plain(b"\x05a\x03net\x00", 0).unwrap().0;
        assert!(!tricky.borrow().is_within(name("net").borrow()));
    }

    #[test]
    fn text_goes_round_with_escapes() {
        for text in ["a\\.b.c.", "\\000\\255x.", "*.a.", "_dns._udp.x.", "."] {
            assert_eq!(name(text).to_string(), text);
        }
        assert_eq!(name("a.b").borrow().relative_to(name("b").borrow()), "a");
        assert_eq!(name("b").borrow().relative_to(name("b").borrow()), "@");
        assert_eq!(name("c").borrow().relative_to(name("b").borrow()), "c.");
    }

    #[test]
    fn bad_text_is_refused() {
        for (text, error) in [
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("", NameError::EmptyLabel),
            ("a\\25", NameError::BadEscape),
            ("a\\256", NameError::BadEscape),
            ("é", NameError::NotAscii),
            (&"a".repeat(64), NameError::LabelTooLong),
            (&"abcdefg.".repeat(32), NameError::TooLong),
        ] {
            assert_eq!(text.parse::<Name>(), Err(error), "{text}");
        }
        assert!("abcdefg.".repeat(31).parse::<Name>().is_ok());
    }

    #[test]
    fn pointers_only_go_backwards() {
        let message = b"\x01a\x00\x01b\xc0\x00";
        let (name, end) = NameBuf::read(message, 3).unwrap();
        assert_eq!((name.to_string().as_str(), end), ("b.a.", 7));
        assert_eq!(NameBuf::read(b"\xc0\x00", 0), Err(NameError::BadPointer));
        assert_eq!(NameBuf::read(b"\x01a\xc0\x00", 0), Err(NameError::BadPointer));
        assert_eq!(NameBuf::read(b"\xc0", 0), Err(NameError::Truncated));
        assert_eq!(NameBuf::read(b"\x40a\x00", 0), Err(NameError::BadLabelType));
    }

    #[test]
    fn a_name_with_more_pointers_than_labels_is_refused() {
        // The root, and pointers each to the one before it.
        let mut message = vec![0, 0];
        for before in 0..=POINTERS_MAX as u16 {
            message.extend((0xC000 | (before * 2)).to_be_bytes());
        }
        let last = message.len() - 2;
        assert_eq!(NameBuf::read(&message, last - 2), Ok((NameRef::ROOT.to_buf(), last)));
        assert_eq!(NameBuf::read(&message, last), Err(NameError::BadPointer));
        // A label before each pointer is the most that anyone writes.
        let mut message = vec![0, 0];
        let mut before = 0_u16;
        for _ in 0..MAX_NAME_BYTES / 2 {
            let at = message.len() as u16;
            message.extend([1, b'a']);
            message.extend((0xC000 | before).to_be_bytes());
            before = at;
        }
        assert_eq!(NameBuf::read(&message, before.into()).unwrap().0.borrow().label_count(), 127);
    }
}
