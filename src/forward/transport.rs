//! What carries a query to an upstream and its reply back: sockets, or a script in a test.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use super::{OpenPorts, Query};

/// How a query travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    Udp,
    Tcp,
    Tls,
}

impl Protocol {
    /// As it is called in messages and lists.
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
            Protocol::Tls => "tls",
        }
    }
}

impl fmt::Display for Protocol {
    /// `TLS`
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.word().to_ascii_uppercase())
    }
}

/// One exchange under way. Dropping it gives the query up.
pub type Exchange<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, ExchangeError>> + Send + 'a>>;

/// Carries queries and replies of upstreams that are asked by datagrams, and over TCP what does not fit.
pub trait Transport: Send + Sync {
    /// Sends `query` and waits for its reply for as long as the caller does.
    ///
    /// What the query judges a stranger is passed over. A query's id may be renewed before it is sent.
    fn exchange<'a>(&'a self, upstream: SocketAddr, query: &'a mut Query, protocol: Protocol)
    -> Exchange<'a>;

    /// The ports it has open, if it has any: then lanes may open some beside it.
    fn ports(&self) -> Option<&OpenPorts> {
        None
    }
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("it cannot be reached ({0})")]
    Network(io::Error),
    #[error("too many replies that fit no query came from it")]
    NearMisses,
    #[error("too many sockets are open")]
    TooManySockets,
    /// What is wrong with its certificate or its TLS, in words about it.
    #[error("{0}")]
    Tls(Arc<str>),
    #[error("too many queries wait for it")]
    TooManyQueries,
}

impl ExchangeError {
    /// Whether the upstream cannot be reached, or is not who it must be.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, ExchangeError::Network(_) | ExchangeError::Tls(_))
    }
}

impl From<io::Error> for ExchangeError {
    /// Want of file descriptors is ours and says nothing of the upstream.
    fn from(error: io::Error) -> ExchangeError {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => ExchangeError::TooManySockets,
            _ => ExchangeError::Network(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_file_descriptors_is_no_fault_of_the_network() {
        for errno in [libc::EMFILE, libc::ENFILE] {
            let error = ExchangeError::from(io::Error::from_raw_os_error(errno));
            assert!(matches!(error, ExchangeError::TooManySockets));
        }
        let refused = ExchangeError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert!(matches!(refused, ExchangeError::Network(_)));
    }
}
