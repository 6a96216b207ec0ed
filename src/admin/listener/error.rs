//! Why the admin API cannot start or reload, and what to do.

use std::io;
use std::net::SocketAddr;

use crate::admin::auth::EntraError;
use crate::tls::TlsError;

/// Why the admin API cannot start, or take other settings.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "{address} is not loopback, and without TLS tokens would pass in the clear: set `certificate` and `key`, \
         or `allow_plaintext = true` if something in front speaks TLS"
    )]
    Plaintext { address: SocketAddr },
    #[error("`{missing}` is missing: TLS takes `certificate` and `key`")]
    HalfTls { missing: &'static str },
    #[error("`client_ca` takes TLS: set `certificate` and `key`")]
    ClientCaWithoutTls,
    #[error("`client_certificates` takes `client_ca`, the authority that signs them")]
    RolesWithoutClientCa,
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{address} is no address of this host; `listen.freebind = true` waits for one that comes later")]
    NoSuchAddress { address: SocketAddr },
    #[error("{address} cannot be bound")]
    Bind { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Entra(#[from] EntraError),
    #[error("`{key}` changes with a restart only")]
    Restart { key: &'static str },
}

impl StartError {
    pub(super) fn bind(address: SocketAddr, source: io::Error) -> StartError {
        match source.kind() {
            io::ErrorKind::AddrNotAvailable => StartError::NoSuchAddress { address },
            _ => StartError::Bind { address, source },
        }
    }
}
