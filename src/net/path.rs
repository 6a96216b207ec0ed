//! Where a datagram came from and was sent to, which is the way its reply goes back.

use std::net::{IpAddr, SocketAddr};

/// Where a reply goes, and the address it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnPath {
    pub peer: SocketAddr,
    pub source: Option<Source>,
}

/// The address of ours that a datagram was sent to, of a socket that has no address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    pub address: IpAddr,
    /// Set for link-local addresses only: elsewhere it would overrule the routing table.
    pub(super) interface: u32,
}
