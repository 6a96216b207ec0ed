//! TLS towards a server: who it must be, what it showed, and in words what is wrong with it.

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, IpAddr, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, OtherError, SignatureScheme,
};

use super::error::TlsError;
use super::pair::provider;
use super::peer::{Peer, Pin};
use super::shown::Shown;
use super::trust::Trust;

/// What handshakes with one server are made with; sessions are resumed.
#[derive(Clone, Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    verifier: Arc<Verifier>,
}

/// What a server's key is, which none of its pins is.
#[derive(Debug)]
struct NotPinned(Pin);

/// Looks whether a server is the one that is meant, and keeps what it showed.
#[derive(Debug)]
struct Verifier {
    by: By,
    provider: Arc<CryptoProvider>,
    shown: Mutex<Option<Shown>>,
}

/// What a server is known by.
#[derive(Debug)]
enum By {
    Authorities(Arc<WebPkiServerVerifier>),
    Pins(Vec<Pin>),
}

impl Client {
    /// For a server that speaks one of these protocols (RFC 7301). Authorities are read from the system, which takes a while.
    pub fn new(peer: &Peer, trust: &Trust, alpn: &[&[u8]]) -> Result<Client, TlsError> {
        let provider = provider();
        let unusable = |why: &dyn ToString| TlsError::Unusable { why: why.to_string() };
        let by = if peer.pins.is_empty() {
            let verifier =
                WebPkiServerVerifier::builder_with_provider(trust.roots(), Arc::clone(&provider)).build();
            By::Authorities(verifier.map_err(|error| unusable(&error))?)
        } else {
            By::Pins(peer.pins.clone())
        };
        let verifier = Arc::new(Verifier { by, provider: Arc::clone(&provider), shown: Mutex::default() });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // An address is never sent as a name: one of no meaning stands for a server that is known by its key alone.
        let nobody = || ServerName::IpAddress(IpAddr::from(std::net::Ipv4Addr::UNSPECIFIED));
        let server_name = peer.server_name().unwrap_or_else(nobody);
        Ok(Client { config: Arc::new(config), server_name, verifier })
    }

    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Whom a handshake asks for.
    pub fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }

    /// The certificate that was shown last; sessions that are resumed show none.
    pub fn shown(&self) -> Option<Shown> {
        self.verifier.shown.lock().clone()
    }

    /// In words about the server, why a handshake with it failed; none if that is not for TLS.
    pub fn explain(&self, error: &io::Error) -> Option<String> {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Some(
                "it closes the connection during the handshake; perhaps it speaks no TLS".to_owned(),
            );
        }
        let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        let (name, shown) = (self.server_name.to_str(), self.shown());
        let of = |part: fn(&Shown) -> String| shown.as_ref().map(part).unwrap_or_default();
        Some(match error {
            rustls::Error::InvalidCertificate(error) => match error {
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    format!("its certificate is for {}, not for {name}", of(|shown| shown.names.clone()))
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    format!("its certificate has expired on {}", of(Shown::end))
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "its certificate is not valid yet: see whether the clocks are right".to_owned()
                }
                CertificateError::UnknownIssuer => {
                    let issuer = of(|shown| shown.issuer.clone());
                    format!("its certificate is of an unknown issuer, {issuer}: no authority that is trusted")
                }
                // As of an authority that was made anew.
                CertificateError::BadSignature => {
                    let issuer = of(|shown| shown.issuer.clone());
                    format!(
                        "its certificate is of an unknown issuer, another {issuer} than the one that is trusted"
                    )
                }
                CertificateError::Other(OtherError(why)) if why.is::<NotPinned>() => why.to_string(),
                error => format!("its certificate cannot be used: {error}"),
            },
            rustls::Error::InvalidMessage(_) => "it speaks no TLS".to_owned(),
            rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
                "it does not speak DNS over TLS".to_owned()
            }
            rustls::Error::AlertReceived(alert) => format!("it ends the handshake with {alert:?}"),
            error => format!("TLS fails: {error}"),
        })
    }
}

impl Verifier {
    fn verify_pin(&self, pins: &[Pin], shown: Option<&Shown>) -> Result<ServerCertVerified, rustls::Error> {
        let shown = shown.ok_or(CertificateError::BadEncoding)?;
        match pins.contains(&shown.pin) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::Other(OtherError(Arc::new(NotPinned(shown.pin)))).into()),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Shown::of(certificate);
        self.shown.lock().clone_from(&shown);
        match &self.by {
            By::Authorities(verifier) => verifier.verify_server_cert(certificate, others, name, ocsp, now),
            By::Pins(pins) => self.verify_pin(pins, shown.as_ref()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Display for NotPinned {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "its key is {}, which is no pin of it", self.0)
    }
}

impl std::error::Error for NotPinned {}
