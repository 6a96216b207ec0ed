//! Addresses as the kernel reads and writes them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use libc::{AF_INET, AF_INET6, sa_family_t, sockaddr_in, sockaddr_in6};

/// The bytes of a `sockaddr_in` or a `sockaddr_in6`, of which all but the family and the scope come in network order.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(4))]
pub struct Address([u8; Address::SIZE]);

// Where the kernel puts them.
const _: () = {
    assert!(
        std::mem::offset_of!(sockaddr_in, sin_port) == 2 && std::mem::offset_of!(sockaddr_in, sin_addr) == 4
    );
    assert!(std::mem::offset_of!(sockaddr_in6, sin6_port) == 2);
    assert!(std::mem::offset_of!(sockaddr_in6, sin6_flowinfo) == 4);
    assert!(std::mem::offset_of!(sockaddr_in6, sin6_addr) == 8);
    assert!(std::mem::offset_of!(sockaddr_in6, sin6_scope_id) == 24);
};

impl Address {
    /// Room for any of them.
    pub(super) const SIZE: usize = size_of::<sockaddr_in6>();

    /// The address, if the kernel wrote so much of it.
    pub(super) fn read(&self, length: usize) -> Option<SocketAddr> {
        let port = u16::from_be_bytes(self.part(2));
        match i32::from(sa_family_t::from_ne_bytes(self.part(0))) {
            AF_INET if length >= size_of::<sockaddr_in>() => {
                Some((Ipv4Addr::from(self.part::<4>(4)), port).into())
            }
            AF_INET6 if length >= size_of::<sockaddr_in6>() => {
                let address = Ipv6Addr::from(self.part::<16>(8));
                let (flow, scope) = (u32::from_ne_bytes(self.part(4)), u32::from_ne_bytes(self.part(24)));
                Some(SocketAddrV6::new(address, port, flow, scope).into())
            }
            _ => None,
        }
    }

    /// The bytes that the kernel takes.
    pub fn as_bytes(&self) -> &[u8] {
        match i32::from(sa_family_t::from_ne_bytes(self.part(0))) {
            AF_INET => &self.0[..size_of::<sockaddr_in>()],
            _ => &self.0,
        }
    }

    fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|index| self.0[at + index])
    }

    fn put<const N: usize>(&mut self, at: usize, part: [u8; N]) {
        self.0[at..at + N].copy_from_slice(&part);
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        let mut bytes = Address::default();
        bytes.put(2, address.port().to_be_bytes());
        let family = match address {
            SocketAddr::V4(address) => {
                bytes.put(4, address.ip().octets());
                AF_INET
            }
            SocketAddr::V6(address) => {
                bytes.put(4, address.flowinfo().to_ne_bytes());
                bytes.put(8, address.ip().octets());
                bytes.put(24, address.scope_id().to_ne_bytes());
                AF_INET6
            }
        };
        bytes.put(0, (family as sa_family_t).to_ne_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use socket2::SockAddr;

    use super::*;

    #[test]
    fn an_address_is_written_as_others_write_it_and_read_again() {
        let scoped = SocketAddrV6::new("fe80::1".parse().unwrap(), 53, 7, 3).into();
        for address in ["192.0.2.1:5353".parse().unwrap(), "[2001:db8::1]:853".parse().unwrap(), scoped] {
            let ours = Address::from(address);
            let length = ours.as_bytes().len();
            assert_eq!(SockAddr::from(address).len() as usize, length);
            assert_eq!(ours.read(length), Some(address));
            assert_eq!(ours.read(length - 1), None);
        }
    }
}
