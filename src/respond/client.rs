//! Who asks, and over what.

use std::net::{IpAddr, SocketAddr};

use crate::answer::Access;
use crate::zone::{Networks, ViewId};

/// The sender of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub address: SocketAddr,
    /// The address of ours that was asked, where the listener knows it.
    pub local: Option<IpAddr>,
    pub transport: Transport,
    /// How long its connection may be idle, in units of 100 ms, which it is told if it asks (RFC 7828); none over UDP.
    pub keepalive_100ms: Option<u16>,
    pub standing: Standing,
}

/// What the address of a client counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It decides the network, and whether it may ask.
    Client,
    /// It is that of a proxy, which looks whether we are there: it may ask whatever `access` says, and is of no network.
    Proxy,
}

impl Client {
    /// A client of which only this is known.
    pub const fn new(address: SocketAddr, transport: Transport) -> Client {
        Client { address, local: None, transport, keepalive_100ms: None, standing: Standing::Client }
    }

    /// The network that it belongs to.
    pub(super) fn view(&self, networks: &Networks) -> ViewId {
        match self.standing {
            Standing::Client => networks.view_of(self.address.ip()),
            Standing::Proxy => ViewId::NONE,
        }
    }

    /// Whether it may ask.
    pub(super) fn is_allowed(&self, access: &Access) -> bool {
        self.standing == Standing::Proxy || access.allows(self.address.ip())
    }
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

    /// Whether what it carries is hidden, all but its length.
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Transport::Tls)
    }
}
