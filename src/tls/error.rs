//! What is wrong with the files that TLS is made of.

use std::path::PathBuf;

/// Why files make no TLS. Nothing of a key is ever in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    #[error("{} cannot be read: {why}", path.display())]
    Unreadable { part: Part, path: PathBuf, why: String },
    #[error("{} holds {what}", path.display())]
    NoPem { part: Part, path: PathBuf, what: &'static str },
    #[error("{} holds a certificate that cannot be used: {why}", path.display())]
    BadCertificate { path: PathBuf, why: String },
    #[error("{} holds a private key that cannot be used: {why}", path.display())]
    BadKey { path: PathBuf, why: &'static str },
    #[error("{} is not the key of the certificate in {}", key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("the certificate in {} has expired on {end}", path.display())]
    Expired { path: PathBuf, end: String },
    #[error("{} holds no authority that can be used: {why}", path.display())]
    BadAuthority { part: Part, path: PathBuf, why: String },
    #[error("TLS cannot be spoken: {why}")]
    Unusable { why: String },
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Certificate,
    Key,
    /// Authorities that sign certificates of clients.
    ClientCa,
    /// Authorities that sign certificates of servers.
    ServerCa,
}

impl TlsError {
    /// The file at fault; of two that do not belong together it is the key.
    pub fn part(&self) -> Part {
        match self {
            TlsError::Unreadable { part, .. }
            | TlsError::NoPem { part, .. }
            | TlsError::BadAuthority { part, .. } => *part,
            TlsError::BadCertificate { .. } | TlsError::Expired { .. } | TlsError::Unusable { .. } => {
                Part::Certificate
            }
            TlsError::BadKey { .. } | TlsError::Mismatch { .. } => Part::Key,
        }
    }
}
