//! The address of an upstream as config writes it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use super::Protocol;
use super::settings::AZURE_DNS;
use crate::tls::{Peer, Pin, PinError};

/// The port of plain DNS.
const PORT: u16 = 53;

/// The port of DNS over TLS (RFC 7858 §3.1).
const TLS_PORT: u16 = 853;

/// What pins stand behind.
const PIN_KEY: &str = "pin=";

/// An upstream's address: `10.1.0.4`, `10.1.0.4:5353`, `2001:db8::4`, `[2001:db8::4]:5353`, `tcp://10.1.0.4`,
/// `tls://10.1.0.5#dns.example.com`, `tls://10.1.0.5?pin=sha256:…`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamAddress {
    socket: SocketAddr,
    over: Over,
}

/// What its queries go over.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Over {
    /// And over TCP what does not fit.
    Udp,
    Tcp,
    Tls(Arc<Peer>),
}

/// Text that is no address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamAddressError {
    #[error(
        "`{0}`: upstreams over HTTPS and QUIC are not in this version; give an IP address or tls://IP#name"
    )]
    NotYet(String),
    #[error("`{0}` is not an IP address, IP:port or [IPv6]:port, nor one of these behind tcp:// or tls://")]
    NotAnAddress(String),
    #[error("`{0}` is not an address that one server answers at")]
    NotUnicast(String),
    #[error(
        "`{0}` does not say who the server must prove to be: give its name, as in tls://10.1.0.5#dns.example.com, or a pin \
         of its key, as in tls://10.1.0.5?pin=sha256:…"
    )]
    Nobody(String),
    #[error("`{text}`: `{name}` is not a name that a certificate can be for")]
    Name { text: String, name: String },
    #[error("`{text}`: {pin}")]
    Pin { text: String, pin: PinError },
    #[error("`{text}`: `{what}` means nothing there; behind ? pins may stand, as pin=sha256:…")]
    Odd { text: String, what: String },
    #[error("`{0}`: a name or a pin is for tls:// alone")]
    NotForTls(String),
}

impl UpstreamAddress {
    /// Where its queries go.
    pub fn socket(&self) -> SocketAddr {
        self.socket
    }

    /// What a query goes over at first.
    pub fn protocol(&self) -> Protocol {
        match self.over {
            Over::Udp => Protocol::Udp,
            Over::Tcp => Protocol::Tcp,
            Over::Tls(_) => Protocol::Tls,
        }
    }

    /// The identity that it must prove; `None` if it is asked in plain text.
    pub fn peer(&self) -> Option<&Arc<Peer>> {
        match &self.over {
            Over::Tls(peer) => Some(peer),
            Over::Udp | Over::Tcp => None,
        }
    }

    /// Whether it is Azure's resolver.
    pub fn is_azure(&self) -> bool {
        self.socket.ip() == AZURE_DNS
    }
}

impl From<SocketAddr> for UpstreamAddress {
    fn from(socket: SocketAddr) -> UpstreamAddress {
        UpstreamAddress { socket, over: Over::Udp }
    }
}

impl FromStr for UpstreamAddress {
    type Err = UpstreamAddressError;

    fn from_str(text: &str) -> Result<UpstreamAddress, UpstreamAddressError> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => (String::new(), text),
        };
        let (place, port, over) = match scheme.as_str() {
            "" => (rest, PORT, Over::Udp),
            "tcp" => (rest, PORT, Over::Tcp),
            "tls" => {
                let end = rest.find(['#', '?']).unwrap_or(rest.len());
                (&rest[..end], TLS_PORT, Over::Tls(Arc::new(peer(&rest[end..], text)?)))
            }
            "https" | "quic" | "h3" => return Err(UpstreamAddressError::NotYet(text.to_owned())),
            _ => return Err(UpstreamAddressError::NotAnAddress(text.to_owned())),
        };
        if place.contains(['#', '?']) {
            return Err(UpstreamAddressError::NotForTls(text.to_owned()));
        }
        let bare = place.strip_prefix('[').and_then(|place| place.strip_suffix(']')).unwrap_or(place);
        let ip = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port));
        let socket = ip
            .or_else(|_| place.parse::<SocketAddr>())
            .map_err(|_| UpstreamAddressError::NotAnAddress(text.to_owned()))?;
        let ip = socket.ip().to_canonical();
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        if ip.is_unspecified() || ip.is_multicast() || broadcast || socket.port() == 0 {
            return Err(UpstreamAddressError::NotUnicast(text.to_owned()));
        }
        Ok(UpstreamAddress { socket, over })
    }
}

/// What stands behind the address: `#name`, `?pin=…&pin=…`, or one behind the other.
fn peer(rest: &str, text: &str) -> Result<Peer, UpstreamAddressError> {
    let text = || text.to_owned();
    let (named, query) = rest.split_once('?').unwrap_or((rest, ""));
    // A query in front of the name, as in a URL, is one as well.
    let (query, named) = match query.split_once('#') {
        Some((query, name)) if named.is_empty() => (query, name),
        Some(_) => return Err(UpstreamAddressError::Odd { text: text(), what: query.to_owned() }),
        None => (query, named.strip_prefix('#').unwrap_or(named)),
    };
    let name = named.trim_end_matches('.');
    if !name.is_empty() && !Peer::is_name(name) {
        return Err(UpstreamAddressError::Name { text: text(), name: name.to_owned() });
    }
    let name = (!name.is_empty()).then(|| name.to_ascii_lowercase().into());
    let mut pins: Vec<Pin> = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let odd = || UpstreamAddressError::Odd { text: text(), what: part.to_owned() };
        let pin = part.strip_prefix(PIN_KEY).ok_or_else(odd)?;
        pins.push(pin.parse().map_err(|pin| UpstreamAddressError::Pin { text: text(), pin })?);
    }
    if name.is_none() && pins.is_empty() {
        return Err(UpstreamAddressError::Nobody(text()));
    }
    Ok(Peer { name, pins })
}

impl fmt::Display for UpstreamAddress {
    /// Plain ones without the port when it is that of plain DNS.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.over {
            Over::Udp if self.socket.port() == PORT => self.socket.ip().fmt(out),
            Over::Udp => self.socket.fmt(out),
            Over::Tcp => write!(out, "tcp://{}", self.socket),
            Over::Tls(peer) => {
                write!(out, "tls://{}", self.socket)?;
                if let Some(name) = &peer.name {
                    write!(out, "#{name}")?;
                }
                for (at, pin) in peer.pins.iter().enumerate() {
                    let mark = if at == 0 { '?' } else { '&' };
                    write!(out, "{mark}{PIN_KEY}{pin}")?;
                }
                Ok(())
            }
        }
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
    fn those_over_tls_have_a_name_or_pins() {
        let (one, other) = (Pin::of(b"1"), Pin::of(b"2"));
        for (text, shown) in [
            ("tls://10.1.0.5#dns.example.com", "tls://10.1.0.5:853#dns.example.com".to_owned()),
            ("TLS://[2001:db8::4]#DNS.example.com.", "tls://[2001:db8::4]:853#dns.example.com".to_owned()),
            ("tls://10.1.0.5:8853#10.1.0.5", "tls://10.1.0.5:8853#10.1.0.5".to_owned()),
            (&format!("tls://10.1.0.5?pin={one}"), format!("tls://10.1.0.5:853?pin={one}")),
            (
                &format!("tls://10.1.0.5?pin={one}&pin={other}#a.example"),
                format!("tls://10.1.0.5:853#a.example?pin={one}&pin={other}"),
            ),
            ("tcp://10.1.0.5", "tcp://10.1.0.5:53".to_owned()),
        ] {
            let read: UpstreamAddress = text.parse().unwrap();
            assert_eq!(read.to_string(), shown);
            assert_eq!(shown.parse::<UpstreamAddress>().unwrap(), read);
            assert_eq!(read.peer().is_some(), read.protocol() == Protocol::Tls);
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_a_reason() {
        let error = |text: &str| text.parse::<UpstreamAddress>().unwrap_err().to_string();
        for text in ["quic://10.1.0.5#dns.example.com", "https://dns.example.com/dns-query"] {
            assert!(error(text).contains("not in this version"), "{text}");
        }
        for text in ["tls://10.1.0.5", "TLS://10.1.0.5:853", "tls://[2001:db8::4]:853#"] {
            assert!(error(text).contains("who the server must prove to be"), "{text}");
        }
        for (text, why) in [
            ("tls://10.1.0.5#a b", "`a b` is not a name"),
            ("tls://10.1.0.5?pin=sha256:AAAA", "`sha256:AAAA` is no pin"),
            ("tls://10.1.0.5?pin=md5:AAAA", "is no pin"),
            ("tls://10.1.0.5#a.example?key=1", "`key=1` means nothing there"),
            ("tls://dns.example.com#dns.example.com", "is not an IP address"),
            ("tls://224.0.0.1#dns.example.com", "one server"),
            ("tcp://10.1.0.5#dns.example.com", "for tls:// alone"),
            ("10.1.0.5#dns.example.com", "for tls:// alone"),
        ] {
            assert!(error(text).contains(why), "{text}: {}", error(text));
        }
        for text in ["dns.example.com", "10.1.0.4:x", "", "10.1.0.4:65536", "udp://10.1.0.4", "[10.1.0.4"] {
            assert!(error(text).contains("is not an IP address"), "{text}");
        }
        for text in ["0.0.0.0", "224.0.0.1", "10.1.0.4:0", "::", "255.255.255.255"] {
            assert!(error(text).contains("one server"), "{text}");
        }
    }
}
