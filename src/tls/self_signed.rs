//! A certificate that signs itself, to try TLS with.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use time::OffsetDateTime;

/// Clocks of clients may be as much behind.
const CLOCKS_DIFFER: Duration = Duration::from_secs(3600);

/// Certificate and key, in PEM.
pub struct SelfSigned {
    pub certificate: String,
    pub key: String,
    pub ends_at: SystemTime,
}

/// Why there is no certificate for a name.
#[derive(Debug, thiserror::Error)]
pub enum SelfSignedError {
    #[error("`{0}` is no address, no name and no wildcard such as *.example.com")]
    Name(String),
    #[error("the certificate cannot be made: {0}")]
    Other(#[from] rcgen::Error),
}

impl SelfSigned {
    /// A certificate of a new key (ECDSA P-256) for names, wildcards and addresses, the first of which it is called by.
    pub fn new(names: &[String], valid: Duration) -> Result<SelfSigned, SelfSignedError> {
        if let Some(wrong) = names.iter().find(|name| !is_name(name)) {
            return Err(SelfSignedError::Name(wrong.clone()));
        }
        let now = SystemTime::now();
        let ends_at = now + valid;
        let plain = |name: &String| name.trim_end_matches('.').to_owned();
        let mut params = CertificateParams::new(names.iter().map(plain).collect::<Vec<_>>())?;
        if let Some(first) = names.first() {
            params.distinguished_name.push(DnType::CommonName, plain(first));
        }
        params.not_before = OffsetDateTime::from(now - CLOCKS_DIFFER);
        params.not_after = OffsetDateTime::from(ends_at);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(SelfSigned { certificate, key: key.serialize_pem(), ends_at })
    }
}

fn is_name(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text).trim_end_matches('.');
    let is_label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(fits)
    };
    text.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(is_label))
}
