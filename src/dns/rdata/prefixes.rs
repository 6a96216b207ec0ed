//! The data of APL: address prefixes (RFC 3123 §4 and §5).

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

/// IANA's numbers of address families.
const IPV4: u16 = 1;
const IPV6: u16 = 2;

/// Reads `[!]family:address/prefix`.
pub(super) fn read(word: &str, data: &mut Vec<u8>) -> Option<()> {
    let (negation, item) = word.strip_prefix('!').map_or((0, word), |item| (0x80, item));
    let (family, rest) = item.split_once(':')?;
    let (address, prefix) = rest.rsplit_once('/')?;
    let prefix: u8 = prefix.parse().ok().filter(|_| !prefix.starts_with('+'))?;
    let family: u16 = family.parse().ok().filter(|_| !family.starts_with('+'))?;
    let (octets, bits) = match family {
        IPV4 => (address.parse::<Ipv4Addr>().ok()?.octets().to_vec(), 32),
        IPV6 => (address.parse::<Ipv6Addr>().ok()?.octets().to_vec(), 128),
        _ => return None,
    };
    if prefix > bits {
        return None;
    }
    // RFC 3123 §4: zeros at the end are left out.
    let length = octets.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
    data.extend(family.to_be_bytes());
    data.extend([prefix, negation | length as u8]);
    data.extend(&octets[..length]);
    Some(())
}

/// Whether bytes are items; those of families without words are whatever they are.
pub(super) fn is_valid(mut data: &[u8]) -> bool {
    while !data.is_empty() {
        let Some((Item { family, prefix, address, .. }, behind)) = split(data) else { return false };
        let (bits, most) = match family {
            IPV4 => (32, 4),
            IPV6 => (128, 16),
            _ => (255, 127),
        };
        if prefix > bits || address.len() > most || address.last() == Some(&0) {
            return false;
        }
        data = behind;
    }
    true
}

/// Writes items; `None` when one has no words.
pub(super) fn write(mut data: &[u8], out: &mut String) -> Option<()> {
    let mut separator = "";
    while !data.is_empty() {
        let (Item { family, prefix, is_negated, address }, behind) = split(data)?;
        let mark = if is_negated { "!" } else { "" };
        let mut octets = [0; 16];
        octets.get_mut(..address.len())?.copy_from_slice(address);
        write!(out, "{separator}{mark}{family}:").ok()?;
        match family {
            IPV4 => write!(out, "{}", Ipv4Addr::from(*octets.first_chunk::<4>()?)).ok()?,
            IPV6 => write!(out, "{}", Ipv6Addr::from(octets)).ok()?,
            _ => return None,
        }
        write!(out, "/{prefix}").ok()?;
        (separator, data) = (" ", behind);
    }
    Some(())
}

/// One item of the data.
struct Item<'d> {
    family: u16,
    prefix: u8,
    is_negated: bool,
    address: &'d [u8],
}

/// The first item, and what is behind it.
fn split(data: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let ([high, low, prefix, length], rest) = data.split_first_chunk::<4>()?;
    let (address, behind) = rest.split_at_checked(usize::from(length & 0x7F))?;
    let family = u16::from_be_bytes([*high, *low]);
    Some((Item { family, prefix: *prefix, is_negated: length & 0x80 != 0, address }, behind))
}
