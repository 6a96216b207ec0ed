//! What an operator may set about listening, and what holds if they do not.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

use ipnet::IpNet;

use crate::tls;

/// Most UDP threads an address; a host with more cores is bound by its network card before.
pub const WORKERS_MAX: usize = 256;

/// The part of all connections that may be leaving, half a second each: hundreds a second, and few descriptors.
pub const LEAVING_PART: usize = 16;

/// Where to listen, and how much to take on at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Addresses of UDP and TCP; port 0 takes a free one, the same for both.
    pub dns: Vec<SocketAddr>,
    /// Addresses of DNS over TLS; port 0 takes a free one.
    pub tls: Vec<SocketAddr>,
    /// What TLS is made of; needed where there are addresses of it.
    pub certificates: Option<tls::Settings>,
    pub handshakes: HandshakeSettings,
    /// Proxies, which must tell whom they speak for.
    pub proxy_from: Vec<IpNet>,
    pub ipv6: Ipv6,
    /// Whether an address may be bound that the host does not have yet.
    pub freebind: bool,
    /// UDP threads an address; 0 is one a core.
    pub workers: usize,
    /// UDP requests that may wait for upstream at once; more are answered SERVFAIL.
    pub udp_waiting_max: usize,
    /// Asked of the kernel for each UDP socket and direction; it gives at most `net.core.rmem_max`.
    pub udp_buffer_size_bytes: usize,
    pub tcp: TcpSettings,
    pub limits: Limits,
}

/// What one client network may take of what all share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests of one /24 or /56 that may wait for upstream at once, over UDP and TCP together.
    pub wait_limit: usize,
    /// Clients that stand for many, and that this does not bind.
    pub exempt: Vec<IpNet>,
}

/// What becomes of IPv6 addresses where the kernel has no IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6 {
    /// They are an error: somebody asked for them.
    Needed,
    /// They are left out, as nobody named them.
    IfThere,
}

/// Limits of TLS handshakes.
#[derive(Clone, Debug, PartialEq)]
pub struct HandshakeSettings {
    /// Handshakes at once. For one more that client's longest makes room that has most of them.
    pub max: usize,
    /// Handshakes at once from one IPv4 address or IPv6 /64. For one more its own longest makes room.
    pub per_client_max: usize,
    /// From the connection to the end of its handshake.
    pub timeout: Duration,
    /// How often the files of certificates are looked at.
    pub certificate_check: Duration,
}

/// Limits of TCP (RFC 7766 §6.2, §10).
#[derive(Clone, Debug, PartialEq)]
pub struct TcpSettings {
    /// Connections at once. For one more that client makes room that has most which nothing is owed to: idle ones, and
    /// those that hold half a message or do not take their replies.
    pub connections_max: usize,
    /// Connections at once from one IPv4 address or IPv6 /64. For one more another of its own makes room.
    pub connections_per_client_max: usize,
    /// Requests that may wait for upstream at once, on all connections together.
    pub waiting_max: usize,
    /// Requests of one connection that may wait at once; then it is not read until one is answered.
    pub in_flight_max: usize,
    /// Messages on one connection; then it is closed, and clients spread over all instances again.
    pub messages_max: u64,
    /// Silence after which a connection is closed.
    pub idle_timeout: Duration,
    /// From the first byte of a message to its last.
    pub message_timeout: Duration,
    /// For the client to take the replies that are written to it.
    pub write_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            dns: vec![(Ipv4Addr::UNSPECIFIED, 53).into(), (Ipv6Addr::UNSPECIFIED, 53).into()],
            tls: Vec::new(),
            certificates: None,
            handshakes: HandshakeSettings::default(),
            proxy_from: Vec::new(),
            ipv6: Ipv6::IfThere,
            freebind: false,
            workers: 0,
            // About 8 KiB each: 64 MiB when upstream hangs, some seconds of misses at 2000 a second.
            udp_waiting_max: 8192,
            // 64 ms of a million queries a second, at the 64 bytes and 768 of overhead of each.
            udp_buffer_size_bytes: 4 << 20,
            tcp: TcpSettings::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        // A forwarder that asks 2000 a second has a hundred wait; the pulse that more could come back in is DNSBomb's.
        Limits { wait_limit: 1000, exempt: Vec::new() }
    }
}

impl Default for TcpSettings {
    fn default() -> TcpSettings {
        TcpSettings {
            // A node of AKS keeps tens open (node-local-dns asks over TCP): a hub of a hundred nodes.
            connections_max: 4096,
            // One site's forwarder, and not enough to fill the table from a few addresses.
            connections_per_client_max: 256,
            waiting_max: 4096,
            // What resolvers pipeline; above it lies only what tries to exhaust us.
            in_flight_max: 128,
            messages_max: 100_000,
            // RFC 7766 §6.2.3: "on the order of a few seconds"; Unbound and Knot wait as long.
            idle_timeout: Duration::from_secs(10),
            // 64 KiB at dial-up speed; half-sent frames cost memory for no longer.
            message_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(5),
        }
    }
}

impl Default for HandshakeSettings {
    fn default() -> HandshakeSettings {
        HandshakeSettings {
            // Some 20 KiB each, and more than all cores finish in the time that one may take.
            max: 2048,
            // systemd-resolved 252 makes 24 within half a second; and a site's forwarders may stand behind one address.
            per_client_max: 64,
            // Three round trips over a slow line, lost packets included.
            timeout: Duration::from_secs(5),
            certificate_check: Duration::from_secs(5),
        }
    }
}

impl TcpSettings {
    /// The idle timeout as clients are told it (RFC 7828 §3.1).
    pub fn keepalive_100ms(&self) -> u16 {
        u16::try_from(self.idle_timeout.as_millis() / 100).unwrap_or(u16::MAX)
    }

    /// Connections that have made room and may stay until their clients have the last reply, beside `connections_max`.
    pub fn leaving_max(&self) -> usize {
        (self.connections_max / LEAVING_PART).max(1)
    }
}

impl Settings {
    /// How many UDP threads each address gets.
    pub fn worker_count(&self) -> usize {
        let workers = match self.workers {
            0 => available_parallelism().map_or(1, NonZero::get),
            workers => workers,
        };
        workers.min(WORKERS_MAX)
    }
}
