//! Who asks, and over what.

use std::net::{IpAddr, SocketAddr};

/// The sender of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub address: SocketAddr,
    /// The address of ours that was asked, where the listener knows it.
    pub local: Option<IpAddr>,
    pub transport: Transport,
}

/// What carries a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    Udp,
    Tcp,
}
