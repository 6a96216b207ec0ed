//! Sets of record types in record data (RFC 4034 §4.1.2): CSYNC, NSEC, NSEC3.

use std::fmt::Write;

use crate::dns::RecordType;

/// The bitmap of types, windows without any left out.
pub(super) fn of(mut types: Vec<RecordType>) -> Vec<u8> {
    types.sort_unstable();
    let mut data = Vec::new();
    for window in types.chunk_by(|one, other| one.0 >> 8 == other.0 >> 8) {
        let mut bits = [0_u8; 32];
        for rtype in window {
            let low = rtype.0 as u8;
            bits[usize::from(low / 8)] |= 0x80 >> (low % 8);
        }
        let (first, last) = (window[0].0, window[window.len() - 1].0);
        let length = usize::from(last as u8 / 8) + 1;
        data.extend([(first >> 8) as u8, length as u8]);
        data.extend(&bits[..length]);
    }
    data
}

/// Whether bytes are windows in order, none of them empty.
pub(super) fn is_valid(mut data: &[u8]) -> bool {
    let mut least = 0_u16;
    while let [window, length, rest @ ..] = data {
        let Some((bits, behind)) = rest.split_at_checked(usize::from(*length)) else { return false };
        let is_right = u16::from(*window) >= least && (1..=32).contains(length) && bits.last() != Some(&0);
        if !is_right {
            return false;
        }
        least = u16::from(*window) + 1;
        data = behind;
    }
    data.is_empty()
}

/// Writes the types' names.
pub(super) fn write(mut data: &[u8], out: &mut String) -> Option<()> {
    let mut separator = "";
    while let [window, length, rest @ ..] = data {
        let (bits, behind) = rest.split_at_checked(usize::from(*length))?;
        for (at, byte) in bits.iter().enumerate() {
            for bit in (0..8).filter(|bit| byte & (0x80 >> bit) != 0) {
                let rtype = RecordType(u16::from(*window) << 8 | (at * 8 + bit) as u16);
                write!(out, "{separator}{rtype}").ok()?;
                separator = " ";
            }
        }
        data = behind;
    }
    Some(())
}
