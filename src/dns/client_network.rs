//! The networks that clients are counted by.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bits of an address that make its network, as those who count clients take them (RFC 7871 §11.1): a site's subnet, and
/// what one household or virtual network gets of IPv6.
const IPV4_BITS: u32 = 24;
const IPV6_BITS: u32 = 56;

/// Marks networks of IPv4; those of IPv6 take fewer bits.
const IPV4: u64 = 1 << 63;

/// The /24 of IPv4 or /56 of IPv6 that an address lies in. IPv4 written as IPv6 counts as IPv4.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientNetwork(u64);

impl From<IpAddr> for ClientNetwork {
    fn from(address: IpAddr) -> ClientNetwork {
        ClientNetwork(match address.to_canonical() {
            IpAddr::V4(address) => IPV4 | u64::from(address.to_bits() >> (Ipv4Addr::BITS - IPV4_BITS)),
            IpAddr::V6(address) => (address.to_bits() >> (Ipv6Addr::BITS - IPV6_BITS)) as u64,
        })
    }
}

impl fmt::Display for ClientNetwork {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 & IPV4 {
            0 => {
                let first = Ipv6Addr::from_bits(u128::from(self.0) << (Ipv6Addr::BITS - IPV6_BITS));
                write!(out, "{first}/{IPV6_BITS}")
            }
            _ => {
                let first = Ipv4Addr::from_bits((self.0 as u32) << (Ipv4Addr::BITS - IPV4_BITS));
                write!(out, "{first}/{IPV4_BITS}")
            }
        }
    }
}

impl fmt::Debug for ClientNetwork {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_site_are_one_network_however_they_are_written() {
        let of = |address: &str| ClientNetwork::from(address.parse::<IpAddr>().unwrap());
        for (address, network) in [
            ("10.1.2.3", "10.1.2.0/24"),
            ("::ffff:10.1.2.200", "10.1.2.0/24"),
            ("255.255.255.255", "255.255.255.0/24"),
            ("0.0.0.1", "0.0.0.0/24"),
            ("fd00:1:2:34ff::1", "fd00:1:2:3400::/56"),
            ("::1", "::/56"),
        ] {
            assert_eq!(of(address).to_string(), network, "{address}");
        }
        assert_eq!(of("fd00:1:2:3401::1"), of("fd00:1:2:34fe:1::"));
        assert_ne!(of("fd00:1:2:3401::1"), of("fd00:1:2:3501::1"));
        assert_ne!(of("0.0.0.1"), of("::1"));
    }
}
