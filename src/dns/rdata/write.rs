//! Record data as text, field by field.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE64, HEXLOWER};

use super::{Field, location, prefixes, type_bitmap};
use crate::dns::{NameBuf, name, svcb};

/// Writes data as the fields of its type; `None` when it is not made of them.
pub(super) fn write_fields(fields: &[Field], data: &[u8]) -> Option<String> {
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
pub(super) fn behind(field: Field, data: &[u8]) -> Option<&[u8]> {
    let text = |data: &[u8]| Some(1 + usize::from(*data.first()?));
    let length = match field {
        Field::U8 | Field::Algorithm | Field::Digest | Field::KeyProtocol => 1,
        Field::U16 | Field::Certificate | Field::KeyFlags => 2,
        Field::U32 | Field::Seconds | Field::Ipv4 => 4,
        Field::Eui48 => 6,
        Field::Eui64 | Field::Locator => 8,
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
        Field::RestText | Field::SvcParams | Field::RestKey | Field::GatewayKey => data.len(),
        Field::RestHex | Field::RestBase64 | Field::Nsap => (!data.is_empty()).then_some(data.len())?,
        // RFC 8976 §2.2.4.
        Field::ZoneDigest => (data.len() >= ZONE_DIGEST_BYTES_MIN).then_some(data.len())?,
        // RFC 1876 §2: of another version nothing is known.
        Field::Location if data.first().is_some_and(|version| *version != 0) => data.len(),
        Field::Location => location::write(data, &mut String::new()).map(|()| data.len())?,
        Field::Prefixes => prefixes::is_valid(data).then_some(data.len())?,
        Field::Types => type_bitmap::is_valid(data).then_some(data.len())?,
        Field::Gateway => {
            2 + match data.first()? {
                0 => 0,
                1 => 4,
                2 => 16,
                3 => name::plain_end(data.get(2..)?, 0).ok()?,
                _ => return None,
            }
        }
    };
    data.get(length..)
}

/// Writes the bytes of one field, as `behind` found them.
fn write_field(field: Field, data: &[u8], out: &mut String) -> Option<()> {
    match field {
        Field::U8 | Field::Algorithm | Field::Digest | Field::KeyProtocol => {
            write!(out, "{}", data.first()?).ok()?;
        }
        Field::U16 | Field::Certificate | Field::KeyFlags => {
            write!(out, "{}", u16::from_be_bytes(data.try_into().ok()?)).ok()?
        }
        Field::U32 | Field::Seconds => write!(out, "{}", u32::from_be_bytes(data.try_into().ok()?)).ok()?,
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
        Field::RestHex | Field::ZoneDigest => out.push_str(&HEXLOWER.encode(data)),
        Field::RestBase64 | Field::RestKey | Field::GatewayKey => out.push_str(&BASE64.encode(data)),
        Field::SvcParams => svcb::write(data, out)?,
        Field::Location => location::write(data, out)?,
        Field::Prefixes => prefixes::write(data, out)?,
        Field::Types => type_bitmap::write(data, out)?,
        Field::Eui48 | Field::Eui64 => {
            let parts: Vec<String> = data.iter().map(|byte| format!("{byte:02x}")).collect();
            out.push_str(&parts.join("-"));
        }
        Field::Locator => {
            let part = |bytes: &[u8]| format!("{:x}", u16::from_be_bytes([bytes[0], bytes[1]]));
            let parts: Vec<String> = data.chunks_exact(2).map(part).collect();
            out.push_str(&parts.join(":"));
        }
        Field::Gateway => {
            let ([kind, algorithm], gateway) = data.split_first_chunk::<2>()?;
            write!(out, "{kind} {algorithm} ").ok()?;
            match kind {
                0 => out.push('.'),
                1 => write_field(Field::Ipv4, gateway, out)?,
                2 => write_field(Field::Ipv6, gateway, out)?,
                _ => write_field(Field::PlainName, gateway, out)?,
            }
        }
        Field::Nsap => write!(out, "0x{}", HEXLOWER.encode(data)).ok()?,
    }
    Some(())
}

/// A string in quotes, escaped as master files need it.
pub(in crate::dns) fn write_quoted(text: &[u8], out: &mut String) {
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

/// No digest is shorter (RFC 8976 §2.2.4).
const ZONE_DIGEST_BYTES_MIN: usize = 12;

/// Whether a digest is as long as the hash algorithm says that stands last in front of it.
pub(super) fn is_zone_digest(front: &[u8], digest: &[u8]) -> bool {
    match front.last() {
        Some(1) => digest.len() == 48,
        Some(2) => digest.len() == 64,
        _ => digest.len() >= ZONE_DIGEST_BYTES_MIN,
    }
}
