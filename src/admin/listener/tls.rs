//! What the settings say of TLS.

use super::error::StartError;
use crate::admin::settings::Settings;
use crate::tls::{self, Ended, PairFiles};

/// Whose certificates they are, for the log.
pub(super) const WHOSE: &str = "the admin API";

/// What TLS is made of, if the settings ask for it.
pub(in crate::admin) fn settings(settings: &Settings) -> Result<Option<tls::Settings>, StartError> {
    if settings.client_ca.is_none() && !settings.client_certificates.is_empty() {
        return Err(StartError::RolesWithoutClientCa);
    }
    match (&settings.certificate, &settings.key) {
        (Some(certificate), Some(key)) => Ok(Some(tls::Settings {
            default: PairFiles { certificate: certificate.clone(), key: key.clone() },
            others: Vec::new(),
            client_ca: settings.client_ca.clone(),
            alpn: vec![b"h2", b"http/1.1"],
            // Else DNS would not start for it.
            ended: Ended::Shown,
        })),
        (None, None) if settings.client_ca.is_some() => Err(StartError::ClientCaWithoutTls),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(StartError::HalfTls { missing: "certificate" }),
        (Some(_), None) => Err(StartError::HalfTls { missing: "key" }),
    }
}
