//! Whom a server that we speak TLS to must prove to be.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64;
use rustls::pki_types::ServerName;

/// How a pin is written: the hash, then its value in base64.
const SHA256_MARK: &str = "sha256:";

/// A server that is known by its name, or by its key. With pins the key alone counts, and the name is what it is asked for.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Peer {
    /// A host name, or the address that the certificate is for.
    pub name: Option<Box<str>>,
    /// Any of them is enough: a key that is to come can stand beside the one that is shown.
    pub pins: Vec<Pin>,
}

/// The SHA-256 of a public key, as its certificate has it (SubjectPublicKeyInfo, RFC 7858 §4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Pin([u8; 32]);

/// Text that is no pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no pin: it is written sha256: and 32 bytes in base64")]
pub struct PinError(String);

impl Peer {
    /// The name that it is asked for (SNI); an address is none.
    pub(super) fn server_name(&self) -> Option<ServerName<'static>> {
        ServerName::try_from(self.name.as_deref()?.to_owned()).ok()
    }

    /// Whether a text can be the name of a certificate.
    pub fn is_name(text: &str) -> bool {
        ServerName::try_from(text).is_ok()
    }
}

impl Pin {
    /// The pin of a public key.
    pub fn of(subject_public_key_info: &[u8]) -> Pin {
        let mut pin = [0; 32];
        pin.copy_from_slice(digest(&SHA256, subject_public_key_info).as_ref());
        Pin(pin)
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Pin, PinError> {
        let bytes = text.strip_prefix(SHA256_MARK).and_then(|text| BASE64.decode(text.as_bytes()).ok());
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Pin).ok_or_else(|| PinError(text.to_owned()))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{SHA256_MARK}{}", BASE64.encode(&self.0))
    }
}
