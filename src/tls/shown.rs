//! What a certificate that was shown to us says.

use std::fmt;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::names::Names;
use super::peer::Pin;

/// Characters of names, and of an issuer, that are told.
const CHARS_MAX: usize = 120;

/// A server's certificate, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The names and addresses that it is for; its subject if it has none.
    pub names: String,
    pub issuer: String,
    pub not_after: SystemTime,
    pub pin: Pin,
}

impl Shown {
    /// None if it cannot be read.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Shown> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let names = Names::of(&certificate).to_string();
        let called = |name: &X509Name<'_>| {
            let common = name.iter_common_name().next().and_then(|name| name.as_str().ok());
            common.map_or_else(|| name.to_string(), str::to_owned)
        };
        Some(Shown {
            names: legible(if names.is_empty() { called(certificate.subject()) } else { names }),
            issuer: legible(called(certificate.issuer())),
            not_after: certificate.validity().not_after.to_datetime().into(),
            pin: Pin::of(certificate.public_key().raw),
        })
    }

    /// The day of its end, as `2027-01-31`.
    pub fn end(&self) -> String {
        OffsetDateTime::from(self.not_after).date().to_string()
    }
}

/// What anybody may have written, fit for a terminal and a reply: some of many names, and no character that controls.
fn legible(text: String) -> String {
    let mut text: String = text.chars().map(|it| if it.is_control() { '\u{FFFD}' } else { it }).collect();
    if let Some((end, _)) = text.char_indices().nth(CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl fmt::Display for Shown {
    /// `for dns.example.com, by Example CA, until 2027-01-31`
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "for {}, by {}, until {}", self.names, self.issuer, self.end())
    }
}
