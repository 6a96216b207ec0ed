//! TLS from files, read again when they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tracing::{error, info};

use super::error::StartError;
use crate::admin::settings::Settings;

/// The largest certificate or key file; a chain has some 10 KiB, a bundle of authorities some 200.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The files that TLS is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::admin) struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// TLS as it is now.
#[derive(Debug)]
pub(in crate::admin) struct Tls {
    config: ArcSwap<ServerConfig>,
    source: Mutex<Source>,
}

/// Where it came from.
#[derive(Debug)]
struct Source {
    files: Files,
    /// What the files were like when they were last read.
    signs: Signs,
}

/// What tells that a file was changed.
type Signs = Vec<Option<(SystemTime, u64)>>;

impl Files {
    fn signs(&self) -> Signs {
        let paths = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        let sign = |path: &PathBuf| fs::metadata(path).and_then(|it| Ok((it.modified()?, it.len()))).ok();
        paths.into_iter().flatten().map(sign).collect()
    }

    fn read(&self) -> Result<ServerConfig, StartError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = certificates(&self.certificate)?;
        let key = read(&self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|why| StartError::File {
            path: self.key.clone(),
            why: format!("no PEM private key: {why}"),
        })?;
        let verifier = match &self.client_ca {
            None => Arc::new(NoClientAuth) as _,
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path)? {
                    roots.add(authority).map_err(|why| StartError::ClientCa { why: why.to_string() })?;
                }
                // Whoever shows none may show a token, and probes need neither.
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .allow_unauthenticated()
                    .build()
                    .map_err(|why| StartError::ClientCa { why: why.to_string() })?
            }
        };
        let pair = |why: rustls::Error| StartError::Pair { why: why.to_string() };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(pair)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(pair)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl Tls {
    /// The files that the settings name, if they ask for TLS.
    pub(in crate::admin) fn of(settings: &Settings) -> Result<Option<Files>, StartError> {
        if settings.client_ca.is_none() && !settings.client_certificates.is_empty() {
            return Err(StartError::RolesWithoutClientCa);
        }
        match (&settings.certificate, &settings.key) {
            (Some(certificate), Some(key)) => {
                let (certificate, key) = (certificate.clone(), key.clone());
                Ok(Some(Files { certificate, key, client_ca: settings.client_ca.clone() }))
            }
            (None, None) if settings.client_ca.is_some() => Err(StartError::ClientCaWithoutTls),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(StartError::HalfTls { missing: "certificate" }),
            (Some(_), None) => Err(StartError::HalfTls { missing: "key" }),
        }
    }

    pub(super) fn load(files: Files) -> Result<Tls, StartError> {
        // The signs are taken first: what changes while it is read is read again.
        let signs = files.signs();
        let config = ArcSwap::from_pointee(files.read()?);
        Ok(Tls { config, source: Mutex::new(Source { files, signs }) })
    }

    /// What the next connection speaks.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Takes other files, or the same ones anew.
    pub(in crate::admin) fn reload(&self, files: Files) -> Result<(), StartError> {
        let signs = files.signs();
        self.config.store(Arc::new(files.read()?));
        *self.source.lock() = Source { files, signs };
        Ok(())
    }

    /// Reads the files again whenever they change; what is wrong is said once and changes nothing.
    pub(super) async fn watch(&self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            self.look();
        }
    }

    fn look(&self) {
        let (files, old) = {
            let source = self.source.lock();
            (source.files.clone(), source.signs.clone())
        };
        let signs = files.signs();
        if signs == old {
            return;
        }
        match files.read() {
            Ok(config) => {
                self.config.store(Arc::new(config));
                info!(certificate = %files.certificate.display(), "The admin API has a new certificate");
            }
            Err(why) => error!(%why, "The admin API keeps its old certificate"),
        }
        let mut source = self.source.lock();
        if source.files == files {
            source.signs = signs;
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let bytes = read(path)?;
    let wrong = |why: String| StartError::File { path: path.to_owned(), why };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|why| wrong(format!("no PEM certificates: {why}")))?;
    if certificates.is_empty() {
        Err(wrong("it holds no PEM certificate".to_owned()))
    } else {
        Ok(certificates)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    let wrong = |why: String| StartError::File { path: path.to_owned(), why };
    match fs::metadata(path) {
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            Err(wrong(format!("it is larger than {FILE_BYTES_MAX} bytes")))
        }
        Ok(_) => fs::read(path).map_err(|error| wrong(error.to_string())),
        Err(error) => Err(wrong(error.to_string())),
    }
}
