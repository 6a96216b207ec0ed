//! The address of an upstream as config writes it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::settings::AZURE_DNS;

/// The port of plain DNS.
const PORT: u16 = 53;

/// An upstream's address: `10.1.0.4`, `10.1.0.4:5353`, `2001:db8::4`, `[2001:db8::4]:5353`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamAddress(SocketAddr);

/// Text that is no address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamAddressError {
    #[error(
        "`{0}`: encrypted upstreams (tls://, https://, quic://) are not supported yet; give an IP address"
    )]
    Encrypted(String),
    #[error("`{0}` is not an IP address, IP:port or [IPv6]:port")]
    NotAnAddress(String),
    #[error("`{0}` is not an address that one server answers at")]
    NotUnicast(String),
}

impl UpstreamAddress {
    /// Where its queries go.
    pub fn socket(self) -> SocketAddr {
        self.0
    }

    /// Whether it is Azure's resolver.
    pub fn is_azure(self) -> bool {
        self.0.ip() == AZURE_DNS
    }
}

impl From<SocketAddr> for UpstreamAddress {
    fn from(address: SocketAddr) -> UpstreamAddress {
        UpstreamAddress(address)
    }
}

impl FromStr for UpstreamAddress {
    type Err = UpstreamAddressError;

    fn from_str(text: &str) -> Result<UpstreamAddress, UpstreamAddressError> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if let Some("tls" | "https" | "quic" | "h3") = scheme.as_deref() {
            return Err(UpstreamAddressError::Encrypted(text.to_owned()));
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let ip = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
        let address = ip
            .or_else(|_| text.parse::<SocketAddr>())
            .map_err(|_| UpstreamAddressError::NotAnAddress(text.to_owned()))?;
        let ip = address.ip().to_canonical();
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        if ip.is_unspecified() || ip.is_multicast() || broadcast || address.port() == 0 {
            return Err(UpstreamAddressError::NotUnicast(text.to_owned()));
        }
        Ok(UpstreamAddress(address))
    }
}

impl fmt::Display for UpstreamAddress {
    /// Without the port when it is that of plain DNS.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.port() == PORT { self.0.ip().fmt(out) } else { self.0.fmt(out) }
    }
}

impl fmt::Debug for UpstreamAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_port() {
        for (text, address, shown) in [
            ("10.1.0.4", "10.1.0.4:53", "10.1.0.4"),
            ("10.1.0.4:5353", "10.1.0.4:5353", "10.1.0.4:5353"),
            ("2001:db8::4", "[2001:db8::4]:53", "2001:db8::4"),
            ("[2001:db8::4]", "[2001:db8::4]:53", "2001:db8::4"),
            ("[2001:db8::4]:5353", "[2001:db8::4]:5353", "[2001:db8::4]:5353"),
        ] {
            let read: UpstreamAddress = text.parse().unwrap();
            assert_eq!((read.socket(), read.to_string()), (address.parse().unwrap(), shown.to_owned()));
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_a_reason() {
        let error = |text: &str| text.parse::<UpstreamAddress>().unwrap_err().to_string();
        for text in ["tls://10.1.0.5#dns.example.com", "https://dns.example.com/dns-query"] {
            assert!(error(text).contains("encrypted upstreams"), "{text}");
        }
        for text in ["dns.example.com", "10.1.0.4:x", "", "10.1.0.4:65536", "udp://10.1.0.4", "[10.1.0.4"] {
            assert!(error(text).contains("is not an IP address"), "{text}");
        }
        for text in ["0.0.0.0", "224.0.0.1", "10.1.0.4:0", "::", "255.255.255.255"] {
            assert!(error(text).contains("one server"), "{text}");
        }
    }
}
