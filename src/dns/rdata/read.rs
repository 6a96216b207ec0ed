//! Record data out of tokens, field by field.

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE64, Encoding, HEXLOWER, HEXLOWER_PERMISSIVE};

use super::{Field, RdataError, location, mnemonics, prefixes, type_bitmap, write};
use crate::dns::token::Token;
use crate::dns::{NameBuf, NameRef, RecordType, svcb};

/// The tokens of one record's data that are not read yet.
pub(super) struct Tokens<'t> {
    rtype: RecordType,
    rest: std::slice::Iter<'t, Token<'t>>,
}

impl<'t> Tokens<'t> {
    pub(super) fn new(rtype: RecordType, tokens: &'t [Token<'t>]) -> Tokens<'t> {
        Tokens { rtype, rest: tokens.iter() }
    }

    /// Whether all is read.
    pub(super) fn end(mut self) -> Result<(), RdataError> {
        match self.rest.next() {
            Some(extra) => Err(RdataError::Extra(self.rtype, extra.text.to_string())),
            None => Ok(()),
        }
    }

    fn next(&mut self, what: &'static str) -> Result<&'t Token<'t>, RdataError> {
        self.rest.next().ok_or(RdataError::Missing(self.rtype, what))
    }

    fn read<V>(&mut self, what: &'static str, read: impl FnOnce(&str) -> Option<V>) -> Result<V, RdataError> {
        let token = self.next(what)?;
        read(&token.text).ok_or_else(|| self.bad(&token.text, what))
    }

    fn bad(&self, text: &str, what: &'static str) -> RdataError {
        RdataError::Bad(self.rtype, text.to_owned(), what)
    }

    /// A number or an address; a sign is part of neither.
    fn number<N: std::str::FromStr>(&mut self, what: &'static str) -> Result<N, RdataError> {
        self.read(what, |text| text.parse().ok().filter(|_| !text.starts_with('+')))
    }

    /// A number in 8 bits, or a word for it.
    fn word8(&mut self, words: &[(&str, u16)], what: &'static str) -> Result<u8, RdataError> {
        self.read(what, |text| match text.parse() {
            Ok(number) => Some(number),
            Err(_) => mnemonics::number_of(words, text).and_then(|number| u8::try_from(number).ok()),
        })
    }

    fn name(&mut self, origin: NameRef<'_>) -> Result<NameBuf, RdataError> {
        let token = self.next("a name")?;
        NameBuf::parse(&token.text, origin)
            .map_err(|error| RdataError::Name(self.rtype, token.text.to_string(), error))
    }

    /// All that is left as one word, decoded and not empty.
    fn rest_decoded(&mut self, encoding: &Encoding, what: &'static str) -> Result<Vec<u8>, RdataError> {
        let joined: String = self.rest.by_ref().map(|token| &*token.text).collect();
        let decoded = encoding.decode(joined.as_bytes()).ok().filter(|bytes| !bytes.is_empty());
        decoded.ok_or_else(|| self.bad(&joined, what))
    }

    /// Kind, algorithm and gateway (RFC 4025 §3.1).
    fn gateway(&mut self, origin: NameRef<'_>, data: &mut Vec<u8>) -> Result<(), RdataError> {
        let kind = self.read("a kind of gateway: 0 none, 1 IPv4, 2 IPv6, 3 a name", |text| {
            text.parse::<u8>().ok().filter(|kind| *kind <= 3)
        })?;
        data.extend([kind, self.number("a number of 8 bits")?]);
        match kind {
            0 => self.read("`.`, as there is no gateway", |text| (text == ".").then_some(()))?,
            1 => data.extend(self.number::<Ipv4Addr>("an IPv4 address")?.octets()),
            2 => data.extend(self.number::<Ipv6Addr>("an IPv6 address")?.octets()),
            _ => data.extend_from_slice(self.name(origin)?.borrow().as_wire()),
        }
        Ok(())
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

    /// Reads one field behind those that are in `data`.
    pub(super) fn field(
        &mut self,
        field: Field,
        origin: NameRef<'_>,
        data: &mut Vec<u8>,
    ) -> Result<(), RdataError> {
        let rtype = self.rtype;
        match field {
            Field::U8 => data.push(self.number("a number of 8 bits")?),
            Field::U16 => data.extend(self.number::<u16>("a number of 16 bits")?.to_be_bytes()),
            Field::U32 => data.extend(self.number::<u32>("a number of 32 bits")?.to_be_bytes()),
            Field::Seconds => data.extend(self.read("a number of seconds", seconds)?.to_be_bytes()),
            Field::Ipv4 => data.extend(self.number::<Ipv4Addr>("an IPv4 address")?.octets()),
            Field::Ipv6 => data.extend(self.number::<Ipv6Addr>("an IPv6 address")?.octets()),
            Field::Name | Field::PlainName => {
                data.extend_from_slice(self.name(origin)?.borrow().as_wire());
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
            Field::RestHex => data.extend(self.rest_decoded(&HEXLOWER_PERMISSIVE, "hexadecimal")?),
            Field::RestBase64 => data.extend(self.rest_decoded(&BASE64, "base64")?),
            Field::SvcParams => {
                let parameters = svcb::from_tokens(self.rest.as_slice());
                data.extend(parameters.map_err(|error| RdataError::Parameter(rtype, error))?);
                self.rest = [].iter();
            }
            Field::Algorithm => data.push(self.word8(mnemonics::ALGORITHMS, ALGORITHM)?),
            Field::Digest => {
                data.push(self.word8(mnemonics::DIGESTS, "a digest type, such as 2 or SHA-256")?)
            }
            Field::KeyProtocol => {
                data.push(self.word8(mnemonics::PROTOCOLS, "a protocol, such as 3 or DNSSEC")?)
            }
            Field::Certificate => {
                let number = self.read("a certificate type, such as 1 or PKIX", |text| {
                    text.parse().ok().or_else(|| mnemonics::number_of(mnemonics::CERTIFICATES, text))
                })?;
                data.extend(number.to_be_bytes());
            }
            Field::KeyFlags => {
                data.extend(
                    self.read("the flags of a key, such as 257", mnemonics::key_flags)?.to_be_bytes(),
                );
            }
            Field::RestKey if data.first().is_some_and(|flags| flags & 0xC0 == 0xC0) => {}
            Field::RestKey => data.extend(self.rest_decoded(&BASE64, "base64")?),
            Field::Location => {
                let mut words = self.rest.by_ref().map(|token| &*token.text);
                let read = location::read(&mut words);
                data.extend(read.map_err(|word| match word {
                    Some(word) => self.bad(word, LOCATION),
                    None => RdataError::Missing(rtype, LOCATION),
                })?);
            }
            Field::Prefixes => {
                for token in self.rest.by_ref() {
                    let read = prefixes::read(&token.text, data);
                    read.ok_or_else(|| {
                        let what = "a prefix, such as 1:10.0.0.0/8, !1:10.1.0.0/16 or 2:fd00::/8";
                        RdataError::Bad(rtype, token.text.to_string(), what)
                    })?;
                }
            }
            Field::Eui48 => {
                let what = "a hardware address of 6 bytes, such as 00-00-5e-00-53-2a";
                data.extend(self.read(what, |text| hex_parts::<6, u8>(text, '-'))?);
            }
            Field::Eui64 => {
                let what = "a hardware address of 8 bytes, such as 00-00-5e-ef-10-00-00-2a";
                data.extend(self.read(what, |text| hex_parts::<8, u8>(text, '-'))?);
            }
            Field::Locator => {
                let what = "half an IPv6 address, such as 2001:db8:1140:1000";
                let parts = self.read(what, |text| hex_parts::<4, u16>(text, ':'))?;
                data.extend(parts.iter().flat_map(|part| part.to_be_bytes()));
            }
            Field::Gateway => self.gateway(origin, data)?,
            // The algorithm stands behind the kind.
            Field::GatewayKey if data.get(2) == Some(&0) && self.rest.as_slice().is_empty() => {}
            Field::GatewayKey => data.extend(self.rest_decoded(&BASE64, "base64")?),
            Field::Types => {
                let mut types = Vec::new();
                for token in self.rest.by_ref() {
                    let read = token.text.parse();
                    types.push(
                        read.map_err(|_| RdataError::Bad(rtype, token.text.to_string(), "a record type"))?,
                    );
                }
                data.extend(type_bitmap::of(types));
            }
            Field::ZoneDigest => {
                let digest = self.rest_decoded(&HEXLOWER_PERMISSIVE, "hexadecimal")?;
                if !write::is_zone_digest(data, &digest) {
                    let text = HEXLOWER.encode(&digest);
                    return Err(self.bad(&text, "a digest as long as its hash algorithm makes it"));
                }
                data.extend(digest);
            }
            Field::Nsap => {
                let what = "an NSAP address, such as 0x47.0005.80";
                data.extend(self.read(what, |text| {
                    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?.replace('.', "");
                    HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok().filter(|bytes| !bytes.is_empty())
                })?);
            }
        }
        Ok(())
    }
}

const ALGORITHM: &str = "an algorithm, such as 13 or ECDSAP256SHA256";
const LOCATION: &str = "a part of a location, such as `52 22 23.000 N 4 53 32.000 E -2.00m`";

/// Hexadecimal parts between separators, each a number of its own.
fn hex_parts<const COUNT: usize, N: TryFrom<u32> + Copy + Default>(
    text: &str,
    separator: char,
) -> Option<[N; COUNT]> {
    let mut parts = [N::default(); COUNT];
    let mut words = text.split(separator);
    for part in &mut parts {
        let word = words.next().filter(|word| word.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        // Leading zeros are no more than what the number has.
        let digits_max = size_of::<N>() * 2;
        let number = u32::from_str_radix(word, 16).ok().filter(|_| word.len() <= digits_max)?;
        *part = N::try_from(number).ok()?;
    }
    words.next().is_none().then_some(parts)
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
