//! What carries a query to an upstream and its reply back: sockets, or a script in a test.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use super::{OpenPorts, Query};

/// How a query travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    Udp,
    Tcp,
}

/// One exchange under way. Dropping it gives the query up.
pub type Exchange<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, ExchangeError>> + Send + 'a>>;

/// Carries queries and replies.
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
