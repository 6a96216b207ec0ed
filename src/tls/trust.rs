//! The authorities that certificates of servers are verified against.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::error::{Part, TlsError};
use super::pem;

/// The system's authorities, and those of a file.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    path: Option<Arc<Path>>,
    authorities: Arc<[CertificateDer<'static>]>,
    /// With the system's, which are many files: read once for all copies.
    all: Arc<OnceLock<Arc<RootCertStore>>>,
}

impl PartialEq for Trust {
    fn eq(&self, other: &Trust) -> bool {
        self.path == other.path && self.authorities == other.authorities
    }
}

impl Eq for Trust {}

impl Trust {
    /// Those of a file (PEM) besides the system's.
    pub fn read(path: &Path) -> Result<Trust, TlsError> {
        let authorities = pem::certificates(Part::ServerCa, path)?;
        pem::roots(Part::ServerCa, path, &authorities)?;
        Ok(Trust { path: Some(path.into()), authorities: authorities.into(), all: Arc::default() })
    }

    /// The file of those that are not the system's.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether there is none, so that no certificate is believed.
    pub fn is_empty(&self) -> bool {
        self.roots().is_empty()
    }

    /// All of them; the first call reads the system's.
    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        let all = self.all.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            // What the system has and nobody can read is as if it were not there.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots.add_parsable_certificates(self.authorities.iter().cloned());
            roots.into()
        });
        Arc::clone(all)
    }
}
