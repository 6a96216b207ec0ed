//! The certificates that a config names, read before a server starts.
//!
//! Not when a config is read: who explains an answer need not be able to read keys, and a certificate that ends while the
//! server runs must not keep it from reading zones.

use std::time::SystemTime;

use tracing::warn;

use super::Config;
use super::assembly::Assembly;
use super::error::{ConfigError, ConfigErrors};
use crate::admin;
use crate::tls::{Ended, Pair, PairFiles, Part, TlsError};

/// A certificate and its key, and where the config names them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Named {
    pub files: PairFiles,
    /// What is wrong with either, but for the words.
    pub certificate: ConfigError,
    pub key: ConfigError,
    pub ended: Ended,
}

impl Named {
    fn read(&self) -> Result<(), TlsError> {
        let end = Pair::read(&self.files)?.check_end(SystemTime::now());
        match (end, self.ended) {
            (Err(error), Ended::Shown) => warn!("Clients will refuse this server: {error}"),
            (end, _) => end?,
        }
        Ok(())
    }

    fn error(&self, error: &TlsError) -> ConfigError {
        let place = if error.part() == Part::Key { &self.key } else { &self.certificate };
        ConfigError { message: error.to_string(), ..place.clone() }
    }
}

impl Config {
    /// What is wrong with the certificates that it names.
    pub fn check_certificates(&self) -> Result<(), ConfigErrors> {
        let wrong = |named: &Named| named.read().err().map(|error| named.error(&error));
        let errors: Vec<ConfigError> = self.certificates.iter().filter_map(wrong).collect();
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors::new(errors)) }
    }
}

impl Assembly<'_> {
    /// That of the admin API.
    pub(super) fn api_certificates(&self, api: &admin::Settings) -> Option<Named> {
        let (certificate, key) = (api.certificate.clone()?, api.key.clone()?);
        let place = |key| self.document().error_at(key, String::new());
        Some(Named {
            files: PairFiles { certificate, key },
            certificate: place("admin.certificate"),
            key: place("admin.key"),
            ended: Ended::Shown,
        })
    }
}
