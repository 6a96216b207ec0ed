//! The authorities that certificates of servers are verified against.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::error::{Part, TlsError};
use super::pem;

/// The system's authorities, and those of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    path: Option<Arc<Path>>,
    authorities: Arc<[CertificateDer<'static>]>,
}

impl Trust {
    /// Those of a file (PEM) besides the system's.
    pub fn read(path: &Path) -> Result<Trust, TlsError> {
        let authorities = pem::certificates(Part::ServerCa, path)?;
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            let bad = |error: rustls::Error| TlsError::BadAuthority {
                part: Part::ServerCa,
                path: path.to_owned(),
                why: error.to_string(),
            };
            roots.add(authority.clone()).map_err(bad)?;
        }
        Ok(Trust { path: Some(path.into()), authorities: authorities.into() })
    }

    /// The file of those that are not the system's.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether there is none, so that no certificate is believed; the system's are read now.
    pub fn is_empty(&self) -> bool {
        self.roots().is_empty()
    }

    /// All of them; the system's are read now.
    pub(super) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        // What the system has and nobody can read is as if it were not there.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(self.authorities.iter().cloned());
        roots
    }
}
