//! EDNS: the OPT record and its options (RFC 6891).

use std::borrow::Cow;

use smallvec::SmallVec;

use super::Rcode;

/// The largest UDP answer we send or ask for, whatever a client offers (DNS flag day 2020).
pub const UDP_PAYLOAD_BYTES: u16 = 1232;
/// The largest UDP answer without EDNS (RFC 1035 §4.2.1).
pub const UDP_PAYLOAD_BYTES_PLAIN: u16 = 512;

const OPTION_COOKIE: u16 = 10;
const OPTION_KEEPALIVE: u16 = 11;
pub(crate) const OPTION_PADDING: u16 = 12;
const OPTION_EXTENDED_ERROR: u16 = 15;

/// Most cookie bytes: 8 of the client, 32 of the server (RFC 7873 §4).
const COOKIE_BYTES_MAX: usize = 40;

/// What a message's OPT record says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edns<'m> {
    /// The largest UDP answer its sender takes.
    pub payload_bytes: u16,
    pub version: u8,
    /// The upper eight bits of the response code.
    pub rcode_high: u8,
    pub dnssec_ok: bool,
    /// The COOKIE option's bytes; the client's part is there, the server's may be empty.
    pub cookie: Option<&'m [u8]>,
    pub padding: bool,
    pub keepalive: bool,
    /// The first extended error: code and text (RFC 8914).
    pub extended_error: Option<(u16, &'m [u8])>,
}

/// An OPT record that is not well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the OPT record is malformed")]
pub struct BadEdns;

impl<'m> Edns<'m> {
    /// Reads class, TTL and data of an OPT record.
    pub fn read(class: u16, ttl: u32, mut data: &'m [u8]) -> Result<Edns<'m>, BadEdns> {
        let [rcode_high, version, flags, _] = ttl.to_be_bytes();
        let mut edns = Edns {
            // RFC 6891 §6.2.3: less than 512 counts as 512.
            payload_bytes: class.max(UDP_PAYLOAD_BYTES_PLAIN),
            version,
            rcode_high,
            dnssec_ok: flags & 0x80 != 0,
            ..Edns::default()
        };
        while !data.is_empty() {
            let (code, rest) = data.split_first_chunk().ok_or(BadEdns)?;
            let (length, rest) = rest.split_first_chunk().ok_or(BadEdns)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (value, rest) = rest.split_at_checked(length).ok_or(BadEdns)?;
            match u16::from_be_bytes(*code) {
                OPTION_COOKIE => {
                    // RFC 7873 §5.2.2: 8, or 16 to 40 bytes; the first cookie counts.
                    if !matches!(length, 8 | 16..=COOKIE_BYTES_MAX) {
                        return Err(BadEdns);
                    }
                    edns.cookie.get_or_insert(value);
                }
                OPTION_KEEPALIVE => edns.keepalive = true,
                OPTION_PADDING => edns.padding = true,
                OPTION_EXTENDED_ERROR if edns.extended_error.is_none() => {
                    let (code, text) = value.split_first_chunk().ok_or(BadEdns)?;
                    edns.extended_error = Some((u16::from_be_bytes(*code), text));
                }
                _ => {}
            }
            data = rest;
        }
        Ok(edns)
    }
}

/// The extended errors of an OPT record that is well formed: codes and texts.
pub fn extended_errors(mut data: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let options = std::iter::from_fn(move || {
        let ([code_high, code_low, length_high, length_low], rest) = data.split_first_chunk()?;
        let length = u16::from_be_bytes([*length_high, *length_low]);
        let (value, rest) = rest.split_at_checked(length.into())?;
        data = rest;
        Some((u16::from_be_bytes([*code_high, *code_low]), value))
    });
    options.filter(|(option, _)| *option == OPTION_EXTENDED_ERROR).filter_map(|(_, value)| {
        let (code, text) = value.split_first_chunk()?;
        Some((u16::from_be_bytes(*code), text))
    })
}

/// Why an answer is what it is (RFC 8914), with text that a person understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedError {
    pub code: u16,
    pub text: Cow<'static, str>,
}

impl ExtendedError {
    pub const OTHER: u16 = 0;
    pub const STALE_ANSWER: u16 = 3;
    pub const NOT_READY: u16 = 14;
    pub const PROHIBITED: u16 = 18;
    pub const STALE_NXDOMAIN: u16 = 19;
    pub const NOT_AUTHORITATIVE: u16 = 20;
    pub const NOT_SUPPORTED: u16 = 21;
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    pub const NETWORK_ERROR: u16 = 23;
    /// RFC 9824 §8.
    pub const INVALID_QUERY_TYPE: u16 = 30;

    /// Why an answer past its end is given: RFC 8914 §4.4, or §4.20 if it says that a name does not exist.
    pub fn stale(denies_name: bool, text: impl Into<Cow<'static, str>>) -> ExtendedError {
        let code = match denies_name {
            true => ExtendedError::STALE_NXDOMAIN,
            false => ExtendedError::STALE_ANSWER,
        };
        ExtendedError::new(code, text)
    }

    /// A code and its text.
    pub fn new(code: u16, text: impl Into<Cow<'static, str>>) -> ExtendedError {
        ExtendedError { code, text: text.into() }
    }

    /// The codes of errors without their texts, which programs read where there is no room for people's.
    pub fn codes(errors: &[ExtendedError]) -> SmallVec<[ExtendedError; 4]> {
        errors.iter().map(|error| ExtendedError::new(error.code, "")).collect()
    }
}

/// Longest text of an extended error in a reply: it must leave room for the answer.
const EXTENDED_ERROR_TEXT_BYTES: usize = 200;

/// The OPT record of a reply.
#[derive(Clone, Debug, Default)]
pub struct ReplyEdns<'e> {
    pub dnssec_ok: bool,
    /// Client and server cookie.
    pub cookie: Option<[u8; 24]>,
    pub extended_errors: &'e [ExtendedError],
    /// The idle timeout of a TCP connection in units of 100 ms (RFC 7828).
    pub keepalive_100ms: Option<u16>,
    /// The block size that the reply is padded to (RFC 8467 §4.1).
    pub padded_to: Option<u16>,
}

impl ReplyEdns<'_> {
    /// Bytes without padding.
    pub fn length(&self) -> usize {
        let errors = self.extended_errors.iter().map(|error| 6 + shortened(&error.text).len());
        11 + self.cookie.map_or(0, |_| 28) + self.keepalive_100ms.map_or(0, |_| 6) + errors.sum::<usize>()
    }

    /// Writes the record; `padding` bytes of zeros are its last option, if any.
    pub(super) fn write(&self, rcode: Rcode, padding: Option<usize>, mut put: impl FnMut(&[u8])) {
        let length = self.length() - 11 + padding.map_or(0, |bytes| bytes + 4);
        put(&[0, 0, 41]);
        put(&UDP_PAYLOAD_BYTES.to_be_bytes());
        put(&[(rcode.0 >> 4) as u8, 0, if self.dnssec_ok { 0x80 } else { 0 }, 0]);
        put(&(length as u16).to_be_bytes());
        if let Some(cookie) = self.cookie {
            put(&[0, OPTION_COOKIE as u8, 0, 24]);
            put(&cookie);
        }
        if let Some(timeout) = self.keepalive_100ms {
            put(&[0, OPTION_KEEPALIVE as u8, 0, 2]);
            put(&timeout.to_be_bytes());
        }
        for error in self.extended_errors {
            let text = shortened(&error.text).as_bytes();
            put(&[0, OPTION_EXTENDED_ERROR as u8]);
            put(&(2 + text.len() as u16).to_be_bytes());
            put(&error.code.to_be_bytes());
            put(text);
        }
        if let Some(padding) = padding {
            const ZEROS: [u8; 512] = [0; 512];
            put(&[0, OPTION_PADDING as u8]);
            put(&(padding as u16).to_be_bytes());
            put(&ZEROS[..padding.min(ZEROS.len())]);
        }
    }
}

fn shortened(text: &str) -> &str {
    let end = (0..=EXTENDED_ERROR_TEXT_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_bad_lengths_refused() {
        let edns = Edns::read(100, 0x0100_8000, b"\x00\x0a\x00\x0812345678\x00\x0c\x00\x00").unwrap();
        assert_eq!((edns.payload_bytes, edns.version, edns.rcode_high), (512, 0, 1));
        assert!(edns.dnssec_ok && edns.padding);
        assert_eq!(edns.cookie, Some(&b"12345678"[..]));
        for bad in
            [&b"\x00\x0a\x00\x0712345678"[..], b"\x00\x0a\x00\x09123456789", b"\x00", b"\x00\x0c\x00\x01"]
        {
            assert!(Edns::read(512, 0, bad).is_err());
        }
    }
}
