//! PEM files: certificates and keys, with words on what is wrong with them.

use std::fs;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::{Part, TlsError};

/// The largest certificate or key file; a chain has some 10 KiB, a bundle of authorities some 200.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The certificates of a file, at least one.
pub(super) fn certificates(part: Part, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(part, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let no_pem = |what| TlsError::NoPem { part, path: path.to_owned(), what };
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(no_pem("no PEM certificate")),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(no_pem("a PEM certificate that is cut short or damaged")),
    }
}

/// The authorities of a file, to verify by.
pub(super) fn roots(
    part: Part,
    path: &Path,
    authorities: &[CertificateDer<'static>],
) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|error| TlsError::BadAuthority {
            part,
            path: path.to_owned(),
            why: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// The first private key of a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(Part::Key, path)?;
    let no_pem = |what| TlsError::NoPem { part: Part::Key, path: path.to_owned(), what };
    // What the reader says of it may quote the file.
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        no_pem(match error {
            Error::NoItemsFound if is_encrypted(&bytes) => {
                "a private key with a passphrase; write it without: `openssl pkey -in FILE -out FILE`"
            }
            Error::NoItemsFound => "no PEM private key",
            _ => "a PEM private key that is cut short or damaged",
        })
    })
}

fn is_encrypted(bytes: &[u8]) -> bool {
    const MARK: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";
    bytes.windows(MARK.len()).any(|window| window == MARK)
}

fn read(part: Part, path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |why| TlsError::Unreadable { part, path: path.to_owned(), why };
    let found = fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if found.is_dir() {
        return Err(unreadable("it is a folder".to_owned()));
    }
    if found.len() > FILE_BYTES_MAX {
        return Err(unreadable(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    fs::read(path).map_err(|error| unreadable(error.to_string()))
}
