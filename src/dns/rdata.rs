//! Record data between text, the wire, and messages that compress names.
//!
//! Each known type is a row of fields; all others are opaque bytes (RFC 3597).

mod location;
mod mnemonics;
mod prefixes;
mod read;
mod sole_text;
#[cfg(test)]
mod tests;
mod type_bitmap;
mod write;

use std::net::IpAddr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

use super::name;
use super::svcb;
use super::token::{self, Quoting, Token, TokenError};
use super::{NameError, NameRef, RecordType};

use read::Tokens;
pub use read::seconds;
pub use sole_text::from_sole_text;
pub(super) use write::write_quoted;
use write::{behind, write_fields};

/// The bytes of one character string (RFC 1035 §3.3).
const STRING_BYTES_MAX: usize = 255;

/// One part of record data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    U8,
    U16,
    U32,
    /// Seconds, also with units: `1h30m`.
    Seconds,
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
    /// A DNSSEC algorithm, in words or by number, in 8 bits; also of keys and certificates.
    Algorithm,
    /// The digest type of DS.
    Digest,
    /// The type of a certificate, in 16 bits.
    Certificate,
    /// The flags of a key, in 16 bits.
    KeyFlags,
    /// The protocol of a key, in 8 bits.
    KeyProtocol,
    /// Base64 to the end, where the flags in front of it do not say that there is no key (RFC 2535 §3.1.2).
    RestKey,
    /// Where something is on the earth, to the end (RFC 1876).
    Location,
    /// Address prefixes to the end, or none (RFC 3123).
    Prefixes,
    /// A hardware address of 6 bytes, as `00-00-5e-00-53-2a` (RFC 7043 §3.2).
    Eui48,
    /// One of 8 bytes (RFC 7043 §4.2).
    Eui64,
    /// Half an IPv6 address, as `14:4fff:ff20:ee64` (RFC 6742 §2).
    Locator,
    /// Kind, algorithm and gateway, whose form the kind tells (RFC 4025 §3.1).
    Gateway,
    /// Base64 to the end, or none where the algorithm in front of the gateway is 0 (RFC 4025 §3.1).
    GatewayKey,
    /// Record types to the end, or none (RFC 4034 §4.1.2).
    Types,
    /// Hexadecimal to the end, as long as the hash algorithm in front of it makes it (RFC 8976 §2.2.4).
    ZoneDigest,
    /// Hexadecimal as `0x47.0005.80` (RFC 1706 §6).
    Nsap,
}

/// The fields of a type; `None` for what is opaque to us.
fn fields(rtype: RecordType) -> Option<&'static [Field]> {
    use Field::*;
    if let Some(fields) = fields_on_the_wire(rtype) {
        return Some(fields);
    }
    Some(match rtype {
        RecordType::X25 => &[Text],
        RecordType::ISDN | RecordType::NINFO | RecordType::AVC => &[Texts],
        RecordType::RESINFO | RecordType::WALLET => &[Texts],
        RecordType::GPOS => &[Text, Text, Text],
        RecordType::NSAP => &[Nsap],
        RecordType::KEY | RecordType::RKEY => &[KeyFlags, KeyProtocol, Algorithm, RestKey],
        RecordType::LOC => &[Location],
        RecordType::CERT => &[Certificate, U16, Algorithm, RestBase64],
        RecordType::APL => &[Prefixes],
        RecordType::IPSECKEY => &[U8, Gateway, GatewayKey],
        RecordType::DHCID => &[RestBase64],
        RecordType::TALINK => &[PlainName, PlainName],
        RecordType::CSYNC => &[U32, U16, Types],
        RecordType::ZONEMD => &[U32, U8, U8, ZoneDigest],
        RecordType::NID | RecordType::L64 => &[U16, Locator],
        RecordType::L32 => &[U16, Ipv4],
        RecordType::LP => &[U16, PlainName],
        RecordType::EUI48 => &[Eui48],
        RecordType::EUI64 => &[Eui64],
        _ => return None,
    })
}

/// The fields of a type whose bytes in a message are looked at; those of others are passed on as they are.
fn fields_on_the_wire(rtype: RecordType) -> Option<&'static [Field]> {
    use Field::*;
    Some(match rtype {
        RecordType::A => &[Ipv4],
        RecordType::AAAA => &[Ipv6],
        RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::DNAME => &[Name],
        RecordType::MD | RecordType::MF | RecordType::MB | RecordType::MG | RecordType::MR => &[Name],
        RecordType::SOA => &[Name, Name, U32, Seconds, Seconds, Seconds, Seconds],
        RecordType::MX | RecordType::AFSDB | RecordType::KX => &[U16, Name],
        // RFC 3597 §4: expanded, and never compressed.
        RecordType::RT => &[U16, Name],
        RecordType::PX => &[U16, Name, Name],
        RecordType::MINFO | RecordType::RP => &[Name, Name],
        RecordType::TXT | RecordType::SPF => &[Texts],
        RecordType::HINFO => &[Text, Text],
        RecordType::SRV => &[U16, U16, U16, Name],
        RecordType::NAPTR => &[U16, U16, Text, Text, Text, Name],
        RecordType::DS | RecordType::CDS => &[U16, Algorithm, Digest, RestHex],
        RecordType::DNSKEY | RecordType::CDNSKEY => &[KeyFlags, KeyProtocol, Algorithm, RestBase64],
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
    #[error("text of {0} {1}")]
    Ambiguous(RecordType, &'static str),
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
    let is_whole = |token: &Token<'_>| token.quoting == Quoting::Quoted || !token.text.contains('"');
    let has_parameters = matches!(rtype, RecordType::SVCB | RecordType::HTTPS);
    let cut: Vec<Token<'_>>;
    let tokens = if has_parameters || tokens.iter().all(is_whole) {
        tokens
    } else {
        cut = tokens.iter().cloned().flat_map(Token::parts).collect();
        &cut
    };
    let mut tokens = Tokens::new(rtype, tokens);
    for field in fields(rtype).ok_or(RdataError::Opaque(rtype))? {
        tokens.field(*field, origin, &mut data)?;
    }
    tokens.end()?;
    check_length(rtype, data)
}

/// Reads tokens of a master file, where strings of TXT that are too long are split; answers how many bytes the first such
/// string has.
pub fn from_file_tokens(
    rtype: RecordType,
    tokens: &[Token<'_>],
    origin: NameRef<'_>,
) -> Result<(Vec<u8>, Option<usize>), RdataError> {
    let may_be_long = matches!(rtype, RecordType::TXT | RecordType::SPF)
        && tokens.iter().any(|token| token.text.len() > STRING_BYTES_MAX)
        && tokens.first().is_some_and(|first| first.text != "\\#");
    if !may_be_long {
        return from_tokens(rtype, tokens, origin).map(|data| (data, None));
    }
    let (mut data, mut long) = (Vec::new(), None);
    for token in tokens {
        let bytes = token.unescaped();
        let bytes = bytes.map_err(|error| RdataError::Name(rtype, token.text.to_string(), error))?;
        if bytes.len() > STRING_BYTES_MAX {
            long = long.or(Some(bytes.len()));
        }
        match bytes.is_empty() {
            true => data.push(0),
            false => data.extend(sole_text::strings_of(rtype, &bytes)?),
        }
    }
    Ok((check_length(rtype, data)?, long))
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

/// Master-file text of record data; the `\#` form where the type or the bytes are not known.
pub fn to_text(rtype: RecordType, data: &[u8]) -> String {
    fields(rtype).and_then(|fields| write_fields(fields, data)).unwrap_or_else(|| to_generic_text(data))
}

/// The `\#` form (RFC 3597 §5), which says every byte.
pub fn to_generic_text(data: &[u8]) -> String {
    let space = if data.is_empty() { "" } else { " " };
    format!("\\# {}{space}{}", data.len(), HEXLOWER.encode(data))
}

/// Text that reads back as the same data: the `\#` form where words would not. Bytes from elsewhere may be valid without
/// being what words make, such as parameters out of order. Names differ at most in case, which means nothing.
pub fn to_faithful_text(rtype: RecordType, data: &[u8]) -> String {
    let text = to_text(rtype, data);
    let reads_back = from_text(rtype, &text, NameRef::ROOT).is_ok_and(|read| read.eq_ignore_ascii_case(data));
    if reads_back { text } else { to_generic_text(data) }
}

/// The address in the data of an A or AAAA record.
pub fn address(data: &[u8]) -> Option<IpAddr> {
    let ipv4 = <[u8; 4]>::try_from(data).map(IpAddr::from);
    ipv4.or_else(|_| <[u8; 16]>::try_from(data).map(IpAddr::from)).ok()
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
    let fields = fields_on_the_wire(rtype).unwrap_or_else(|| opaque_fields(rtype));
    if fields.is_empty() {
        return Ok(data.to_vec());
    }
    for field in fields {
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
