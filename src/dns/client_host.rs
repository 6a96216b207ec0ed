//! What counts as one client where clients are counted.

use std::net::{IpAddr, Ipv6Addr};

/// What one client holds: an IPv4 address, or the /64 of an IPv6 one, whose other bits it picks itself (RFC 4291 §2.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientHost(IpAddr);

impl ClientHost {
    /// The host of an address; an IPv4-mapped address is the IPv4 address.
    pub fn of(client: IpAddr) -> ClientHost {
        ClientHost(match client.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            ipv4 => ipv4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> ClientHost {
        ClientHost::of(text.parse().unwrap())
    }

    #[test]
    fn the_addresses_of_one_network_are_one_client() {
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
