//! How many ports to upstreams are open, and whether this machine still has their addresses.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::sockets::open;

/// Ports open at one time to all upstreams: with eight queries at once each, for two queries of each question that may be
/// in flight by default.
pub(super) const PORTS_MAX: usize = 1024;

/// Those of them that lanes may have, so that what they hand over finds one.
const LANE_PORTS_MAX: usize = PORTS_MAX / 2;

/// How many ports are open, and whether they are of addresses that this machine still has.
#[derive(Clone, Default)]
pub struct OpenPorts(Arc<Shared>);

#[derive(Default)]
struct Shared {
    open: AtomicUsize,
    /// How often a port was found to be of an address that is gone.
    moves: AtomicU64,
}

/// One of the open ports.
pub struct Open {
    ports: OpenPorts,
    /// As it was when the port was opened.
    moves: u64,
}

impl OpenPorts {
    pub(super) fn count(&self, max: usize) -> io::Result<Open> {
        let counted = Open { ports: self.clone(), moves: self.0.moves.load(Ordering::Relaxed) };
        match self.0.open.fetch_add(1, Ordering::Relaxed) < max {
            true => Ok(counted),
            false => Err(io::Error::from_raw_os_error(libc::EMFILE)),
        }
    }

    #[cfg(test)]
    pub(super) fn count_of_open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// A port for a lane.
    pub(super) fn open_for_lane(&self, upstream: SocketAddr) -> io::Result<(socket2::Socket, Open)> {
        let counted = self.count(LANE_PORTS_MAX)?;
        Ok((open(upstream)?, counted))
    }
}

impl Open {
    /// Whether no address was found gone since the port was opened.
    pub(super) fn is_current(&self) -> bool {
        self.ports.0.moves.load(Ordering::Relaxed) == self.moves
    }

    /// Looks whether the address of a port that hears nothing is still one of this machine's. If it is not, no port
    /// that is open now takes another query.
    // Linux goes on to send from an IPv6 address that is gone, and no reply comes.
    pub(super) fn check_address(&self, local: Option<SocketAddr>) {
        let Some(mut local) = local else { return };
        local.set_port(0);
        let probe = socket2::Socket::new(socket2::Domain::for_address(local), socket2::Type::DGRAM, None);
        let bound = probe.and_then(|probe| probe.bind(&local.into()));
        if bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable) {
            self.ports.0.moves.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.ports.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
