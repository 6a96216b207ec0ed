//! The certificates that a config names, read before a server starts.
//!
//! Not when a config is read: who explains an answer need not be able to read keys, and a certificate that ends while the
//! server runs must not keep it from reading zones.

use super::Config;
use super::assembly::Assembly;
use super::error::{ConfigError, ConfigErrors};
use crate::admin;
use crate::dns::Name;
use crate::tls::{Ended, Pair, PairFiles, Part, TlsError};

/// A certificate and its key, and where the config names them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Named {
    pub files: PairFiles,
    /// What is wrong with either, but for the words.
    pub certificate: ConfigError,
    pub key: ConfigError,
    pub ended: Ended,
    /// Whether it is one of DNS, and not that of the admin API.
    pub is_for_dns: bool,
}

impl Named {
    fn error(&self, error: &TlsError) -> ConfigError {
        let place = if error.part() == Part::Key { &self.key } else { &self.certificate };
        ConfigError { message: error.to_string(), ..place.clone() }
    }
}

/// The name that encrypted transports are told by, and where the config has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DdrName {
    pub name: Name,
    /// What is wrong with it, but for the words.
    pub at: ConfigError,
}

impl Config {
    /// What is wrong with the certificates that it names.
    pub fn check_certificates(&self) -> Result<(), ConfigErrors> {
        let (mut errors, mut pairs) = (Vec::new(), Vec::new());
        for named in &self.certificates {
            match Pair::read(&named.files, named.ended) {
                Ok(pair) if named.is_for_dns => pairs.push(pair),
                Ok(_) => {}
                Err(error) => errors.push(named.error(&error)),
            }
        }
        if let Some(DdrName { name, at }) = &self.ddr
            && errors.is_empty()
            && !pairs.iter().any(|pair| pair.names().cover(&name.to_string()))
        {
            let message = format!("no certificate is for {name}, and clients would not believe it");
            errors.push(ConfigError { message, ..at.clone() });
        }
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors::new(errors)) }
    }

    /// What clients are told to call encrypted transports by (RFC 9462); none = they are not told of them.
    pub fn ddr_name(&self) -> Option<&Name> {
        self.ddr.as_ref().map(|ddr| &ddr.name)
    }
}

impl Assembly<'_> {
    /// The certificate of the admin API.
    pub(super) fn api_certificates(&self, api: &admin::Settings) -> Option<Named> {
        let (certificate, key) = (api.certificate.clone()?, api.key.clone()?);
        let place = |key| self.document().error_at(key, String::new());
        Some(Named {
            files: PairFiles { certificate, key },
            certificate: place("admin.certificate"),
            key: place("admin.key"),
            ended: Ended::Shown,
            is_for_dns: false,
        })
    }
}
