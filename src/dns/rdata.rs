//! Record data between text, the wire, and messages that compress names.
//!
//! Each known type is a row of fields; all others are opaque bytes (RFC 3597).

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};

use super::name;
use super::svcb;
use super::token::{self, Quoting, Token, TokenError};
use super::{NameBuf, NameError, NameRef, RecordType};

/// One part of record data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    U8,
    U16,
    U32,
    Ipv4,
    Ipv6,
    /// A name that old messages may compress (RFC 3597 §4).
    Name,
    /// A name that is never compressed.
    PlainName,
    /// A character string with its length.
    Text,
    /// Character strings to the end, at least one.
    Texts,
    /// A character string that is written without quotes (CAA's tag).
    Word,
    /// Text to the end without a length.
    RestText,
    RestHex,
    RestBase64,
    SvcParams,
}

/// The fields of a type; `None` for what is opaque to us.
fn fields(rtype: RecordType) -> Option<&'static [Field]> {
    use Field::*;
    Some(match rtype {
        RecordType::A => &[Ipv4],
        RecordType::AAAA => &[Ipv6],
        RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::DNAME => &[Name],
        RecordType::MD | RecordType::MF | RecordType::MB | RecordType::MG | RecordType::MR => &[Name],
        RecordType::SOA => &[Name, Name, U32, U32, U32, U32, U32],
        RecordType::MX | RecordType::AFSDB | RecordType::RT | RecordType::KX => &[U16, Name],
        RecordType::PX => &[U16, Name, Name],
        RecordType::MINFO | RecordType::RP => &[Name, Name],
        RecordType::TXT | RecordType::SPF => &[Texts],
        RecordType::HINFO => &[Text, Text],
        RecordType::SRV => &[U16, U16, U16, Name],
        RecordType::NAPTR => &[U16, U16, Text, Text, Text, Name],
        RecordType::DS | RecordType::CDS => &[U16, U8, U8, RestHex],
        RecordType::DNSKEY | RecordType::CDNSKEY => &[U16, U8, U8, RestBase64],
        RecordType::SSHFP => &[U8, U8, RestHex],
        RecordType::TLSA | RecordType::SMIMEA => &[U8, U8, U8, RestHex],
        RecordType::OPENPGPKEY => &[RestBase64],
        RecordType::SVCB | RecordType::HTTPS => &[U16, PlainName, SvcParams],
        RecordType::URI => &[U16, U16, RestText],
        RecordType::CAA => &[U8, Word, RestText],
        _ => return None,
    })
}

/// The fields up to the last name of types that old messages may compress (RFC 3597 §4), where the data is opaque to
/// us otherwise.
fn opaque_fields(rtype: RecordType) -> &'static [Field] {
    use Field::*;
    match rtype {
        RecordType::SIG => &[U16, U8, U8, U32, U32, U32, U16, Name],
        RecordType::NXT => &[Name],
        _ => &[],
    }
}

/// Why text or bytes are not data of a record type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RdataError {
    #[error("data of {0} ends early: {1} is missing")]
    Missing(RecordType, &'static str),
    #[error("data of {0} has `{1}` behind its end")]
    Extra(RecordType, String),
    #[error("`{1}` is not {2} of {0}")]
    Bad(RecordType, String, &'static str),
    #[error("`{1}` in data of {0}: {2}")]
    Name(RecordType, String, NameError),
    #[error("data of {0} cannot be written as words, use RFC 3597's \\# form")]
    Opaque(RecordType),
    #[error("data of {0} is longer than 65535 bytes")]
    TooLong(RecordType),
    #[error("bytes are not data of {0}")]
    Wire(RecordType),
    #[error("{1} in data of {0}")]
    Parameter(RecordType, svcb::ParameterError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("type {0} only asks, it has no data")]
    QuestionOnly(RecordType),
}

/// Reads one line of text; relative names end in `origin`.
pub fn from_text(rtype: RecordType, text: &str, origin: NameRef<'_>) -> Result<Vec<u8>, RdataError> {
    from_tokens(rtype, &token::tokens(text)?, origin)
}

/// Reads tokens; relative names end in `origin`.
pub fn from_tokens(
    rtype: RecordType,
    tokens: &[Token<'_>],
    origin: NameRef<'_>,
) -> Result<Vec<u8>, RdataError> {
    if rtype.is_question_only() {
        return Err(RdataError::QuestionOnly(rtype));
    }
    if let Some(marker) = tokens.first()
        && marker.text == "\\#"
        && marker.quoting == Quoting::Plain
    {
        return from_generic(rtype, &tokens[1..]);
    }
    let mut data = Vec::new();
    let mut tokens = Tokens { rtype, rest: tokens.iter() };
    for field in fields(rtype).ok_or(RdataError::Opaque(rtype))? {
        tokens.field(*field, origin, &mut data)?;
    }
    if let Some(extra) = tokens.rest.next() {
        return Err(RdataError::Extra(rtype, extra.text.to_string()));
    }
    check_length(rtype, data)
}

fn check_length(rtype: RecordType, data: Vec<u8>) -> Result<Vec<u8>, RdataError> {
    if data.len() > usize::from(u16::MAX) { Err(RdataError::TooLong(rtype)) } else { Ok(data) }
}

/// RFC 3597 §5: `\# length hex…`.
fn from_generic(rtype: RecordType, tokens: &[Token<'_>]) -> Result<Vec<u8>, RdataError> {
    let (length, hex) = tokens.split_first().ok_or(RdataError::Missing(rtype, "a length"))?;
    let hex: String = hex.iter().map(|token| &*token.text).collect();
    let bytes = HEXLOWER_PERMISSIVE.decode(hex.as_bytes());
    let bytes = bytes.map_err(|_| RdataError::Bad(rtype, hex.clone(), "hexadecimal"))?;
    if length.text.parse() != Ok(bytes.len()) {
        return Err(RdataError::Bad(rtype, length.text.to_string(), "the length of the bytes behind it"));
    }
    // Bytes of a known type must be that type's all the same (RFC 3597 §5).
    if !is_valid(rtype, &bytes) {
        return Err(RdataError::Wire(rtype));
    }
    check_length(rtype, bytes)
}

struct Tokens<'t> {
    rtype: RecordType,
    rest: std::slice::Iter<'t, Token<'t>>,
}

impl Tokens<'_> {
    fn next(&mut self, what: &'static str) -> Result<&Token<'_>, RdataError> {
        self.rest.next().ok_or(RdataError::Missing(self.rtype, what))
    }

    fn number<N: std::str::FromStr>(&mut self, what: &'static str) -> Result<N, RdataError> {
        let rtype = self.rtype;
        let token = self.next(what)?;
        token.text.parse().map_err(|_| RdataError::Bad(rtype, token.text.to_string(), what))
    }

    fn bytes(&mut self, what: &'static str) -> Result<Vec<u8>, RdataError> {
        let rtype = self.rtype;
        let token = self.next(what)?;
        token.unescaped().map_err(|error| RdataError::Name(rtype, token.text.to_string(), error))
    }

    fn short_text(&mut self, data: &mut Vec<u8>) -> Result<(), RdataError> {
        let rtype = self.rtype;
        let bytes = self.bytes("a character string")?;
        let length = u8::try_from(bytes.len()).map_err(|_| {
            RdataError::Bad(
                rtype,
                format!("{}…", String::from_utf8_lossy(&bytes[..20])),
                "a string of at most 255 bytes",
            )
        })?;
        data.push(length);
        data.extend(bytes);
        Ok(())
    }

    fn field(&mut self, field: Field, origin: NameRef<'_>, data: &mut Vec<u8>) -> Result<(), RdataError> {
        let rtype = self.rtype;
        match field {
            Field::U8 => data.push(self.number("a number of 8 bits")?),
            Field::U16 => data.extend(self.number::<u16>("a number of 16 bits")?.to_be_bytes()),
            Field::U32 => {
                let token = self.next("a number of 32 bits")?;
                let value = seconds(&token.text)
                    .ok_or_else(|| RdataError::Bad(rtype, token.text.to_string(), "a number of 32 bits"))?;
                data.extend(value.to_be_bytes());
            }
            Field::Ipv4 => data.extend(self.number::<Ipv4Addr>("an IPv4 address")?.octets()),
            Field::Ipv6 => data.extend(self.number::<Ipv6Addr>("an IPv6 address")?.octets()),
            Field::Name | Field::PlainName => {
                let token = self.next("a name")?;
                let name = NameBuf::parse(&token.text, origin)
                    .map_err(|error| RdataError::Name(rtype, token.text.to_string(), error))?;
                data.extend_from_slice(name.borrow().as_wire());
            }
            Field::Text => self.short_text(data)?,
            Field::Texts => {
                self.short_text(data)?;
                while !self.rest.as_slice().is_empty() {
                    self.short_text(data)?;
                }
            }
            Field::Word => {
                let token = self.next("a tag")?;
                let is_tag =
                    |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
                // RFC 8659 §4.1: letters and digits, at most 255.
                if !is_tag(&token.text) || token.text.len() > 255 {
                    return Err(RdataError::Bad(
                        rtype,
                        token.text.to_string(),
                        "a tag of letters and digits",
                    ));
                }
                data.push(token.text.len() as u8);
                data.extend_from_slice(token.text.as_bytes());
            }
            Field::RestText => data.extend(self.bytes("a value")?),
            Field::RestHex | Field::RestBase64 => {
                let joined: String = self.rest.by_ref().map(|token| &*token.text).collect();
                let (decoded, what) = if field == Field::RestHex {
                    (HEXLOWER_PERMISSIVE.decode(joined.as_bytes()), "hexadecimal")
                } else {
                    (BASE64.decode(joined.as_bytes()), "base64")
                };
                let decoded = decoded.ok().filter(|bytes| !bytes.is_empty());
                data.extend(decoded.ok_or(RdataError::Bad(rtype, joined, what))?);
            }
            Field::SvcParams => {
                let parameters = svcb::from_tokens(self.rest.as_slice());
                data.extend(parameters.map_err(|error| RdataError::Parameter(rtype, error))?);
                self.rest = [].iter();
            }
        }
        Ok(())
    }
}

/// A number, or a time with units as BIND writes it: `1h30m`.
pub fn seconds(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse::<u32>() {
        return text.starts_with(|first: char| first.is_ascii_digit()).then_some(number);
    }
    let mut total = 0_u32;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0)?;
        let number: u32 = rest[..unit_at].parse().ok()?;
        let unit = match rest.as_bytes()[unit_at].to_ascii_lowercase() {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[unit_at + 1..];
    }
    (!text.is_empty()).then_some(total)
}

/// Master-file text of record data; the `\#` form where the type or the bytes are not known.
pub fn to_text(rtype: RecordType, data: &[u8]) -> String {
    fields(rtype).and_then(|fields| write_fields(fields, data)).unwrap_or_else(|| {
        let space = if data.is_empty() { "" } else { " " };
        format!("\\# {}{space}{}", data.len(), HEXLOWER.encode(data))
    })
}

fn write_fields(fields: &[Field], data: &[u8]) -> Option<String> {
    let mut out = String::new();
    let mut rest = data;
    for field in fields {
        let behind = behind(*field, rest)?;
        let own = &rest[..rest.len() - behind.len()];
        if !out.is_empty() {
            out.push(' ');
        }
        write_field(*field, own, &mut out)?;
        rest = behind;
    }
    // Parameters may be none.
    if out.ends_with(' ') {
        out.pop();
    }
    rest.is_empty().then_some(out)
}

/// What stands behind a field in uncompressed data; `None` when the data does not begin with such a field.
fn behind(field: Field, data: &[u8]) -> Option<&[u8]> {
    let text = |data: &[u8]| Some(1 + usize::from(*data.first()?));
    let length = match field {
        Field::U8 => 1,
        Field::U16 => 2,
        Field::U32 | Field::Ipv4 => 4,
        Field::Ipv6 => 16,
        Field::Name | Field::PlainName => name::plain_end(data, 0).ok()?,
        Field::Text => text(data)?,
        Field::Texts => {
            let mut length = text(data)?;
            while length < data.len() {
                length += text(&data[length..])?;
            }
            length
        }
        Field::Word => {
            let length = text(data)?;
            let word = data.get(1..length)?;
            (!word.is_empty() && word.iter().all(u8::is_ascii_alphanumeric)).then_some(length)?
        }
        Field::RestText | Field::SvcParams => data.len(),
        Field::RestHex | Field::RestBase64 => (!data.is_empty()).then_some(data.len())?,
    };
    data.get(length..)
}

/// Writes the bytes of one field, as `behind` found them.
fn write_field(field: Field, data: &[u8], out: &mut String) -> Option<()> {
    match field {
        Field::U8 => write!(out, "{}", data.first()?).ok()?,
        Field::U16 => write!(out, "{}", u16::from_be_bytes(data.try_into().ok()?)).ok()?,
        Field::U32 => write!(out, "{}", u32::from_be_bytes(data.try_into().ok()?)).ok()?,
        Field::Ipv4 => write!(out, "{}", Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?)).ok()?,
        Field::Ipv6 => write!(out, "{}", Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?)).ok()?,
        Field::Name | Field::PlainName => write!(out, "{}", NameBuf::read_plain(data, 0).ok()?.0).ok()?,
        Field::Text | Field::Texts => {
            let mut rest = data;
            while let Some((length, behind)) = rest.split_first() {
                let (text, behind) = behind.split_at_checked(usize::from(*length))?;
                let separator = if rest.len() < data.len() { " " } else { "" };
                out.push_str(separator);
                write_quoted(text, out);
                rest = behind;
            }
        }
        Field::Word => out.push_str(std::str::from_utf8(data.get(1..)?).ok()?),
        Field::RestText => write_quoted(data, out),
        Field::RestHex => out.push_str(&HEXLOWER.encode(data)),
        Field::RestBase64 => out.push_str(&BASE64.encode(data)),
        Field::SvcParams => svcb::write(data, out)?,
    }
    Some(())
}

/// A string in quotes, escaped as master files need it.
pub(super) fn write_quoted(text: &[u8], out: &mut String) {
    out.push('"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            0x20..=0x7E => out.push(char::from(byte)),
            byte => write!(out, "\\{byte:03}").expect("writing to a string does not fail"),
        }
    }
    out.push('"');
}

/// Whether uncompressed bytes are data of this type.
pub fn is_valid(rtype: RecordType, data: &[u8]) -> bool {
    let Some(fields) = fields(rtype) else { return true };
    let rest = fields.iter().try_fold(data, |rest, field| match field {
        // Parameters are checked by writing them.
        Field::SvcParams => svcb::write(rest, &mut String::new()).map(|()| &[][..]),
        field => behind(*field, rest),
    });
    rest.is_some_and(<[u8]>::is_empty)
}

/// Copies record data out of a message and expands its names, whose case stays.
pub fn expand(rtype: RecordType, message: &[u8], start: usize, end: usize) -> Result<Vec<u8>, RdataError> {
    let bad = || RdataError::Wire(rtype);
    let data = message.get(start..end).ok_or_else(bad)?;
    let mut out = Vec::with_capacity(data.len());
    let mut at = start;
    for field in fields(rtype).unwrap_or_else(|| opaque_fields(rtype)) {
        match field {
            Field::Name => {
                at = name::walk(&message[..end], at, |label| {
                    out.push(label.len() as u8);
                    out.extend_from_slice(label);
                    Ok(())
                })
                .map_err(|_| bad())?;
                out.push(0);
            }
            Field::U8 | Field::U16 | Field::U32 | Field::Text => {
                let length = match field {
                    Field::U8 => 1,
                    Field::U16 => 2,
                    Field::U32 => 4,
                    _ => 1 + usize::from(*message[..end].get(at).ok_or_else(bad)?),
                };
                out.extend_from_slice(message[..end].get(at..at + length).ok_or_else(bad)?);
                at += length;
            }
            // No name comes behind any of these.
            _ => break,
        }
    }
    out.extend_from_slice(message[..end].get(at..).ok_or_else(bad)?);
    if is_valid(rtype, &out) { Ok(out) } else { Err(bad()) }
}

/// Uncompressed data cut at the names that a reply may compress: those of RFC 1035's types only (RFC 3597 §4).
pub(super) struct Pieces<'d> {
    pub head: &'d [u8],
    /// In wire form; those that are not there are empty.
    pub names: [&'d [u8]; 2],
    pub tail: &'d [u8],
}

/// Cuts uncompressed data at its compressible names.
pub(super) fn pieces(rtype: RecordType, data: &[u8]) -> Pieces<'_> {
    let (head_bytes, count) = match rtype {
        RecordType::NS | RecordType::CNAME | RecordType::PTR => (0, 1),
        RecordType::SOA => (0, 2),
        RecordType::MX => (2, 1),
        _ => (0, 0),
    };
    let (head, mut tail) = data.split_at(head_bytes.min(data.len()));
    let mut names = [&[][..]; 2];
    for name in &mut names[..count] {
        let behind = behind(Field::Name, tail).unwrap_or(tail);
        (*name, tail) = tail.split_at(tail.len() - behind.len());
    }
    Pieces { head, names, tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(rtype: &str, text: &str) -> String {
        let rtype = rtype.parse().unwrap();
        let origin: crate::dns::Name = "example.".parse().unwrap();
        match from_text(rtype, text, origin.borrow()) {
            Ok(data) => {
                assert!(is_valid(rtype, &data));
                to_text(rtype, &data)
            }
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn text_goes_round() {
        for (rtype, text) in [
            ("A", "10.0.0.4"),
            ("AAAA", "fd00:db8:1::5"),
            ("CNAME", "a.example."),
            ("SOA", "ns.a. host.a. 1 3600 300 2419200 10"),
            ("MX", "10 mail.example."),
            ("TXT", "\"a b\" \"\\\"\\\\\\255\" \"\""),
            ("SRV", "0 5 5061 sip.example."),
            ("CAA", "0 issue \"letsencrypt.org; a=b\""),
            ("NAPTR", "100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:a@b!\" ."),
            ("DS", "60485 5 1 2bb183af5f22588179a53b0a98631fad1a292118"),
            ("DNAME", "b.example."),
            ("SVCB", "0 foo.example."),
            ("HTTPS", "1 . alpn=h2,h3 port=8443 ipv4hint=10.0.0.1,10.0.0.2"),
            ("TYPE65280", "\\# 3 abcdef"),
            ("TYPE65280", "\\# 0"),
            ("HINFO", "\"RFC8482\" \"\""),
            ("RT", "10 relay.example."),
            ("PX", "10 map822.example. mapx400.example."),
            ("CAA", "0 issue \"\""),
        ] {
            assert_eq!(round(rtype, text), text, "{rtype}");
        }
        assert_eq!(round("MX", "10 mail"), "10 mail.example.");
        assert_eq!(round("A", "\\# 4 0a000004"), "10.0.0.4");
        assert_eq!(round("SOA", "@ a 1 1h 5m 4w 10"), "example. a.example. 1 3600 300 2419200 10");
    }

    #[test]
    fn bad_text_is_refused_with_the_word_at_fault() {
        for (rtype, text, error) in [
            ("A", "10.0.0", "`10.0.0` is not an IPv4 address of A"),
            ("A", "10.0.0.1 10.0.0.2", "data of A has `10.0.0.2` behind its end"),
            ("MX", "ten mail", "`ten` is not a number of 16 bits of MX"),
            ("MX", "10", "data of MX ends early: a name is missing"),
            ("CNAME", "a..b", "`a..b` in data of CNAME: a label is empty"),
            ("A", "\\# 4 0a0000", "`4` is not the length of the bytes behind it of A"),
            ("A", "\\# 3 0a0000", "bytes are not data of A"),
            ("LOC", "52 N", "data of LOC cannot be written as words, use RFC 3597's \\# form"),
            ("ANY", "x", "type ANY only asks, it has no data"),
            ("TXT", "\"a", "a quoted string is not closed on its line"),
        ] {
            assert_eq!(round(rtype, text), format!("error: {error}"));
        }
        assert!(round("TXT", &"x".repeat(256)).contains("at most 255 bytes"));
    }

    #[test]
    fn compressed_names_are_expanded_with_their_case() {
        let message = b"\x03Foo\x03COM\x00\x00\x0a\x04Mail\xc0\x00";
        let data = expand(RecordType::MX, message, 9, message.len()).unwrap();
        assert_eq!(data, b"\x00\x0a\x04Mail\x03Foo\x03COM\x00");
        assert!(expand(RecordType::MX, message, 9, message.len() - 1).is_err());
        assert!(expand(RecordType::A, message, 0, 3).is_err());
    }

    #[test]
    fn names_that_old_messages_compress_are_expanded_and_written_in_full() {
        // RFC 3597 §4: these may come compressed, and are never sent so.
        let name = b"\x01a\x03COM\x00";
        let sig = [&[0, 1, 5, 2][..], &[0; 14]].concat();
        for (rtype, front, names) in [
            ("MD", &[][..], 1),
            ("RP", &[], 2),
            ("AFSDB", &[0, 1], 1),
            ("RT", &[0, 10], 1),
            ("PX", &[0, 10], 2),
            ("KX", &[0, 10], 1),
            ("SRV", &[0, 1, 0, 2, 0, 3], 1),
            ("NAPTR", &[0, 1, 0, 2, 1, b'u', 0, 0], 1),
            ("DNAME", &[], 1),
            ("SIG", &sig, 1),
            ("NXT", &[], 1),
        ] {
            let rtype = rtype.parse().unwrap();
            let message = [&name[..], front, &b"\xc0\x00".repeat(names)].concat();
            let data = expand(rtype, &message, name.len(), message.len()).unwrap();
            assert_eq!(data, [front, &name.repeat(names)].concat(), "{rtype}");
            assert!(pieces(rtype, &data).names.concat().is_empty(), "{rtype}");
        }
    }

    #[test]
    fn pieces_put_together_are_the_data() {
        for (rtype, text, names) in [
            ("SOA", "a. b. 1 2 3 4 5", ["a.", "b."]),
            ("MX", "1 a.b.", ["a.b.", ""]),
            ("A", "1.2.3.4", ["", ""]),
            ("NS", ".", [".", ""]),
            ("SRV", "1 2 3 a.", ["", ""]),
        ] {
            let rtype = rtype.parse().unwrap();
            let data = from_text(rtype, text, NameRef::ROOT).unwrap();
            let pieces = pieces(rtype, &data);
            assert_eq!([pieces.head, &pieces.names.concat(), pieces.tail].concat(), data, "{rtype}");
            let told = pieces
                .names
                .map(|name| NameBuf::read_plain(name, 0).map_or("".into(), |name| name.0.to_string()));
            assert_eq!(told, names, "{rtype}");
        }
        // Data that is none of its type stays whole.
        for bad in [&b""[..], b"\0", b"\0\x01\x05a"] {
            let pieces = pieces(RecordType::MX, bad);
            assert_eq!([pieces.head, &pieces.names.concat(), pieces.tail].concat(), bad);
        }
    }

    #[test]
    fn bytes_that_are_no_data_of_their_type_are_told() {
        for (rtype, data) in [
            ("A", &b"\x0a\0\0"[..]),
            ("A", b"\x0a\0\0\x01\0"),
            ("MX", b"\0\x01"),
            ("MX", b"\0\x01\xc0\x0c"),
            ("NS", b"\x01a"),
            ("TXT", b""),
            ("TXT", b"\x02a"),
            ("TXT", b"\x01a\x01"),
            ("CAA", b"\0\x00x"),
            ("CAA", b"\0\x03a b"),
            ("DS", b"\0\x01\x08\x02"),
            ("HTTPS", b"\0\x01\0\0\x03\0\x01x"),
        ] {
            let rtype = rtype.parse().unwrap();
            assert!(!is_valid(rtype, data), "{rtype} {data:?}");
            assert!(to_text(rtype, data).starts_with("\\# "), "{rtype} {data:?}");
        }
        assert!(is_valid(RecordType::TXT, b"\0") && is_valid(RecordType::CAA, b"\0\x05issue"));
        assert!(is_valid(RecordType::HTTPS, b"\0\x01\0"));
    }
}
