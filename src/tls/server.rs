//! What handshakes are made with, while its files change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoClientAuth, ProducesTickets, WebPkiClientVerifier};
use tracing::{error, info};

use super::error::{Part, TlsError};
use super::identities::Identities;
use super::pair::{Ended, Pair, PairFiles, provider};
use super::pem;

/// What TLS is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What clients are shown that ask for no name, or for one that no other has.
    pub default: PairFiles,
    /// Those of names of their own.
    pub others: Vec<PairFiles>,
    /// Authorities (PEM) that sign certificates of clients; without it none are asked for.
    pub client_ca: Option<PathBuf>,
    /// The protocols that are spoken, the preferred one first (RFC 7301). A client that names others alone is turned
    /// away, one that names none is not.
    pub alpn: Vec<&'static [u8]>,
    pub ended: Ended,
}

/// What sessions are resumed by. It outlives what a handshake is made with: a new certificate ends no session.
#[derive(Clone, Debug)]
pub struct Tickets(Arc<dyn ProducesTickets>);

/// TLS as it is now.
#[derive(Debug)]
pub struct Server {
    now: ArcSwap<Made>,
    tickets: Option<Tickets>,
    source: Mutex<Source>,
}

/// What was made of the files.
#[derive(Debug)]
struct Made {
    config: Arc<ServerConfig>,
    identities: Arc<Identities>,
}

/// Where it came from.
#[derive(Debug)]
struct Source {
    settings: Settings,
    /// What the files were like when they were last read.
    signs: Signs,
}

/// What tells that a file was changed.
type Signs = Vec<Option<(SystemTime, u64, u64)>>;

impl Settings {
    /// Reads all files, and tells what is wrong.
    pub fn identities(&self) -> Result<Identities, TlsError> {
        let read = |files: &PairFiles| Pair::read(files, self.ended);
        let default = read(&self.default)?;
        Ok(Identities::new(default, self.others.iter().map(read).collect::<Result<Vec<_>, _>>()?))
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let pairs = std::iter::once(&self.default).chain(&self.others);
        pairs.flat_map(|pair| [&pair.certificate, &pair.key]).chain(&self.client_ca).map(PathBuf::as_path)
    }

    fn signs(&self) -> Signs {
        let sign = |path| fs::metadata(path).and_then(|it| Ok((it.modified()?, it.len(), it.ino()))).ok();
        self.paths().map(sign).collect()
    }

    fn make(&self, tickets: Option<&Tickets>) -> Result<Made, TlsError> {
        let provider = provider();
        let identities = Arc::new(self.identities()?);
        let verifier = match &self.client_ca {
            None => Arc::new(NoClientAuth) as _,
            Some(path) => {
                let authorities = pem::certificates(Part::ClientCa, path)?;
                let roots = pem::roots(Part::ClientCa, path, &authorities)?;
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| TlsError::BadAuthority {
                        part: Part::ClientCa,
                        path: path.clone(),
                        why: error.to_string(),
                    })?
            }
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Unusable { why: error.to_string() })?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&identities) as _);
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        if let Some(Tickets(tickets)) = tickets {
            config.ticketer = Arc::clone(tickets);
        }
        Ok(Made { config: Arc::new(config), identities })
    }
}

impl Tickets {
    /// Keys of this process alone, another every few hours.
    pub fn new() -> Result<Tickets, TlsError> {
        Ticketer::new().map(Tickets).map_err(|error| TlsError::Unusable { why: error.to_string() })
    }
}

impl Server {
    /// Reads all files. Without tickets a session is remembered here, and ends with what it was begun with: so it must
    /// be where clients are known by certificates, which are not looked at again.
    pub fn load(settings: Settings, tickets: Option<Tickets>) -> Result<Server, TlsError> {
        // The signs are taken first: what changes while it is read is read again.
        let signs = settings.signs();
        let now = ArcSwap::from_pointee(settings.make(tickets.as_ref())?);
        Ok(Server { now, tickets, source: Mutex::new(Source { settings, signs }) })
    }

    /// What the next handshake is made with.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.now.load().config)
    }

    /// The certificates that are shown.
    pub fn identities(&self) -> Arc<Identities> {
        Arc::clone(&self.now.load().identities)
    }

    /// What sessions are resumed by, for a server that takes over.
    pub fn tickets(&self) -> Option<&Tickets> {
        self.tickets.as_ref()
    }

    /// Takes other settings, or the same ones anew; on an error all stays as it is.
    pub fn reload(&self, settings: Settings) -> Result<(), TlsError> {
        let signs = settings.signs();
        self.now.store(Arc::new(settings.make(self.tickets.as_ref())?));
        *self.source.lock() = Source { settings, signs };
        Ok(())
    }

    /// Reads the files again whenever they change. What is wrong with them is logged once and changes nothing; the log names
    /// `whose` certificates they are.
    pub async fn watch(&self, every: Duration, whose: &str) {
        loop {
            tokio::time::sleep(every).await;
            self.look(whose);
        }
    }

    /// The same at once.
    pub fn look(&self, whose: &str) {
        let (settings, old) = {
            let source = self.source.lock();
            (source.settings.clone(), source.signs.clone())
        };
        let signs = settings.signs();
        if signs == old {
            return;
        }
        match settings.make(self.tickets.as_ref()) {
            Ok(made) => {
                self.now.store(Arc::new(made));
                info!(certificate = %settings.default.certificate.display(), "{whose}: certificates are read anew");
            }
            Err(why) => error!(%why, "{whose}: the old certificates stay: {why}"),
        }
        let mut source = self.source.lock();
        if source.settings == settings {
            source.signs = signs;
        }
    }
}
