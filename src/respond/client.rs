//! Who asks, and how the question came.

use std::net::{IpAddr, SocketAddr};

/// The sender of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub address: SocketAddr,
    /// The address of ours that was asked, if the transport tells.
    pub local: Option<IpAddr>,
    pub transport: Transport,
}

/// What carried a message here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    Udp,
    Tcp,
}
