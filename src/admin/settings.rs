//! What an operator can say about the admin API.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::auth::{CertificateRole, EntraSettings};
use super::events::EventSettings;

/// Where the admin API listens, by what it knows its clients, and what it bears.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub listen: Vec<SocketAddr>,
    /// Whether an address may be bound that the host does not have yet.
    pub freebind: bool,
    /// The server's certificate chain (PEM); with `key` it makes every address speak TLS.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Authorities (PEM) that sign client certificates; without it none are asked for.
    pub client_ca: Option<PathBuf>,
    /// What a client certificate may do, the first that fits.
    pub client_certificates: Vec<CertificateRole>,
    /// Serves addresses that are not loopback without TLS.
    pub allow_plaintext: bool,
    /// Names that it is called by without TLS, besides addresses, `localhost` and names without a dot.
    pub hosts: Vec<String>,
    pub entra: Option<EntraSettings>,
    pub events: EventSettings,
    pub limits: Limits,
    /// How often the certificate's files are looked at.
    pub certificate_check: Duration,
}

/// Bounds of what clients may ask for, most of them before they are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Open connections; each holds some 100 KiB with TLS.
    pub connections: usize,
    /// Open connections of one client address, so that one cannot take all.
    pub connections_per_client: usize,
    /// Time for a TLS handshake, and for the head of a request on HTTP/1, the wait for its first byte included.
    pub head: Duration,
    /// Bytes of a request's head; tokens of Entra ID have a few KiB.
    pub head_bytes: usize,
    /// Header fields of a request.
    pub header_fields: usize,
    /// Time for the body of a request.
    pub body: Duration,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Bytes of a body that carries many records: `POST /changes` and imports.
    pub large_body_bytes: usize,
    /// Bytes of the bodies of all requests together, and of what is read out of the large ones.
    pub bodies_bytes: usize,
    /// Time for an answer to begin.
    pub request: Duration,
    /// Time that a connection may do nothing.
    pub idle: Duration,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// HTTP/2 streams that a client may reset before they are handled, against a flood of resets.
    pub resets: usize,
    /// Failed attempts to authenticate that a client address has at once.
    pub failed_attempts: u32,
    /// The time after which one of them is forgiven.
    pub failed_attempt: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8053)],
            freebind: false,
            certificate: None,
            key: None,
            client_ca: None,
            client_certificates: Vec::new(),
            allow_plaintext: false,
            hosts: Vec::new(),
            entra: None,
            events: EventSettings::default(),
            limits: Limits::default(),
            certificate_check: Duration::from_secs(5),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 1024,
            connections_per_client: 128,
            head: Duration::from_secs(10),
            head_bytes: 32 << 10,
            header_fields: 64,
            body: Duration::from_secs(30),
            body_bytes: 1 << 20,
            large_body_bytes: 64 << 20,
            bodies_bytes: 256 << 20,
            request: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            streams: 64,
            resets: 20,
            failed_attempts: 10,
            failed_attempt: Duration::from_secs(2),
        }
    }
}
