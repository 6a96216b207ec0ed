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
    /// DNS over TLS (RFC 7858).
    Tls,
}

impl Transport {
    /// The word for it in metrics and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        }
    }

    /// Whether it is a connection: its client is where it says, and takes messages of any length.
    pub const fn is_connected(self) -> bool {
        !matches!(self, Transport::Udp)
    }
}
