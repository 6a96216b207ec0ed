//! Why listeners cannot start.

use std::net::SocketAddr;
use std::{fmt, io};

use crate::tls::TlsError;

/// Why the listeners cannot start, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "{address} ({transport}) is in use by another process: `ss {} 'sport = :{}'` shows by which{}",
        .transport.options(), .address.port(), resolved_hint(.address)
    )]
    InUse { address: SocketAddr, transport: Kind },
    #[error(
        "{address} ({transport}) may not be bound: port {} needs the capability CAP_NET_BIND_SERVICE; in a systemd \
         unit set `AmbientCapabilities=CAP_NET_BIND_SERVICE`, in a container the sysctl \
         `net.ipv4.ip_unprivileged_port_start=0`, elsewhere run `setcap cap_net_bind_service=+ep` on the program, or \
         listen on a port above 1023",
        .address.port()
    )]
    NotPermitted { address: SocketAddr, transport: Kind },
    #[error(
        "{address} ({transport}) is no address of this host: `ip address` shows those it has; \
         0.0.0.0 and [::] listen on all of them, and `listen.freebind = true` waits for one that comes later"
    )]
    NoSuchAddress { address: SocketAddr, transport: Kind },
    #[error(
        "{address} ({transport}) needs IPv6, which this host has switched off: remove it from `{}`", .transport.key()
    )]
    NoIpv6 { address: SocketAddr, transport: Kind },
    #[error("{address} ({transport}) cannot be bound")]
    Other { address: SocketAddr, transport: Kind, source: io::Error },
    #[error("the threads and tasks of {address} cannot be started")]
    Start { address: SocketAddr, source: io::Error },
    #[error("DNS over TLS cannot be served")]
    Tls(#[from] TlsError),
}

/// The transport a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Udp,
    Tcp,
    /// TCP that carries TLS.
    Tls,
}

impl BindError {
    pub(super) fn new(address: SocketAddr, transport: Kind, source: io::Error) -> BindError {
        match source.raw_os_error() {
            Some(libc::EADDRINUSE) => BindError::InUse { address, transport },
            Some(libc::EACCES | libc::EPERM) => BindError::NotPermitted { address, transport },
            Some(libc::EADDRNOTAVAIL) => BindError::NoSuchAddress { address, transport },
            Some(libc::EAFNOSUPPORT) if address.is_ipv6() => BindError::NoIpv6 { address, transport },
            _ => BindError::Other { address, transport, source },
        }
    }

    /// Whether the kernel has no IPv6: then it has no such sockets, or none of its addresses.
    pub(super) fn is_for_want_of_ipv6(&self) -> bool {
        match self {
            BindError::NoIpv6 { .. } => true,
            BindError::NoSuchAddress { address, .. } => address.is_ipv6() && address.ip().is_unspecified(),
            _ => false,
        }
    }
}

impl Kind {
    /// The options of `ss` that list its sockets.
    fn options(self) -> &'static str {
        match self {
            Kind::Udp => "-lunp",
            Kind::Tcp | Kind::Tls => "-ltnp",
        }
    }

    /// The key of the config that asks for its sockets.
    fn key(self) -> &'static str {
        match self {
            Kind::Udp | Kind::Tcp => "listen.dns",
            Kind::Tls => "listen.tls",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Kind::Udp => "UDP",
            Kind::Tcp => "TCP",
            Kind::Tls => "TCP for TLS",
        })
    }
}

fn resolved_hint(address: &SocketAddr) -> &'static str {
    if address.port() != 53 {
        return "";
    }
    "; if it is systemd-resolved, set `DNSStubListener=no` in /etc/systemd/resolved.conf and restart it, \
     or list in `listen.dns` only addresses it does not use"
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let error = |address: &str, code| {
            let source = io::Error::from_raw_os_error(code);
            BindError::new(address.parse().unwrap(), Kind::Udp, source)
        };
        let text = error("127.0.0.1:53", libc::EADDRINUSE).to_string();
        assert!(text.contains("systemd-resolved") && text.contains("DNSStubListener=no"), "{text}");
        let text = error("0.0.0.0:53", libc::EACCES).to_string();
        assert!(text.contains("port 53 needs the capability CAP_NET_BIND_SERVICE"), "{text}");
        assert!(text.contains("net.ipv4.ip_unprivileged_port_start=0"), "{text}");
        let text = error("192.0.2.1:53", libc::EADDRNOTAVAIL).to_string();
        assert!(text.starts_with("192.0.2.1:53 (UDP) is no address of this host"), "{text}");
        assert!(text.contains("listen.freebind"), "{text}");
        let text = error("[::]:53", libc::EAFNOSUPPORT).to_string();
        assert!(text.starts_with("[::]:53 (UDP) needs IPv6"), "{text}");
        let other = error("127.0.0.1:53", libc::ENOMEM);
        assert_eq!(other.to_string(), "127.0.0.1:53 (UDP) cannot be bound");
        assert!(other.source().is_some());
    }
}
