//! One certificate chain and its key.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use tracing::warn;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::error::{Part, TlsError};
use super::names::Names;
use super::pem;

/// Where a chain and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate first, then those that lead to an authority (PEM).
    pub certificate: PathBuf,
    /// PEM, without a passphrase.
    pub key: PathBuf,
}

/// What becomes of a certificate that has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is an error.
    Refused,
    /// It is shown, and the log says so.
    Shown,
}

/// A chain and its key, which belong together.
#[derive(Clone, Debug)]
pub struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    names: Names,
    ends_at: SystemTime,
    files: PairFiles,
}

impl Pair {
    /// Reads a chain and its key.
    pub fn read(files: &PairFiles, ended: Ended) -> Result<Pair, TlsError> {
        let pair = Pair::parse(files)?;
        match (pair.check_end(SystemTime::now()), ended) {
            (Err(error), Ended::Shown) => warn!("Clients will refuse this server: {error}"),
            (end, _) => end?,
        }
        Ok(pair)
    }

    fn parse(files: &PairFiles) -> Result<Pair, TlsError> {
        let PairFiles { certificate: path, key: key_path } = files;
        let chain = pem::certificates(Part::Certificate, path)?;
        let key = pem::key(key_path)?;
        let bad = |why: &dyn ToString| TlsError::BadCertificate { path: path.clone(), why: why.to_string() };
        let (_, certificate) = X509Certificate::from_der(&chain[0]).map_err(|error| bad(&error))?;
        let names = Names::of(&certificate);
        let end = certificate.validity().not_after.to_datetime();
        let key = provider().key_provider.load_private_key(key).map_err(|_| {
            // What rustls says of it may tell what is in it.
            let why = "RSA from 2048 bits, ECDSA P-256, P-384 and P-521, and Ed25519 can be";
            TlsError::BadKey { path: key_path.clone(), why }
        })?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(TlsError::Mismatch { certificate: path.clone(), key: key_path.clone() });
            }
            Err(error) => return Err(bad(&error)),
        }
        let (certified, files) = (Arc::new(certified), files.clone());
        Ok(Pair { certified, names, ends_at: end.into(), files })
    }

    /// An error if the certificate has expired.
    fn check_end(&self, now: SystemTime) -> Result<(), TlsError> {
        if now <= self.ends_at {
            return Ok(());
        }
        let date = time::OffsetDateTime::from(self.ends_at).date();
        Err(TlsError::Expired { path: self.files.certificate.clone(), end: date.to_string() })
    }

    /// What the certificate is for.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Where it was read from.
    pub fn files(&self) -> &PairFiles {
        &self.files
    }

    /// When it expires.
    pub fn ends_at(&self) -> SystemTime {
        self.ends_at
    }
}

/// The one provider of ciphers and signatures.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
