//! Control messages: what the kernel tells beside a datagram, and what it is told beside one (cmsg(3)).

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::{
    IP_PKTINFO, IPPROTO_IP, IPPROTO_IPV6, IPV6_PKTINFO, SO_RXQ_OVFL, SOL_SOCKET, SOL_UDP, UDP_SEGMENT, c_int,
    cmsghdr,
};

use super::path::Source;

/// What each message begins with: its length, level and type.
const HEADER: usize = size_of::<cmsghdr>();

/// The kernel begins messages at multiples of this.
const ALIGNMENT: usize = size_of::<usize>();

/// Room for the packet information (40 bytes) and the drop counter (24 bytes) of a datagram.
pub(super) const RECEIVED_SIZE: usize = 128;

/// Room for the longest that is sent, packet information of IPv6.
const SENT_SIZE: usize = (HEADER + 20).next_multiple_of(ALIGNMENT);

// The kernel's length is a word, whatever a C library calls it.
const _: () = {
    assert!(HEADER == ALIGNMENT + 8 && std::mem::offset_of!(cmsghdr, cmsg_level) == ALIGNMENT);
    assert!(size_of::<libc::in_pktinfo>() == 12 && size_of::<libc::in6_pktinfo>() == 20);
};

/// A message to send beside a datagram, or none.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    bytes: [u8; SENT_SIZE],
    length: usize,
}

impl Control {
    pub const NONE: Control = Control { bytes: [0; SENT_SIZE], length: 0 };

    /// Sends from this address.
    pub fn from_source(source: Source) -> Control {
        match source.address {
            IpAddr::V4(address) => {
                // in_pktinfo: the interface, the address to send from, and one that counts for receiving only.
                let mut info = [0; 12];
                info[..4].copy_from_slice(&source.interface.to_ne_bytes());
                info[4..8].copy_from_slice(&address.octets());
                Control::new(IPPROTO_IP, IP_PKTINFO, info)
            }
            IpAddr::V6(address) => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&address.octets());
                info[16..].copy_from_slice(&source.interface.to_ne_bytes());
                Control::new(IPPROTO_IPV6, IPV6_PKTINFO, info)
            }
        }
    }

    /// Sends one message as datagrams of this length.
    pub fn segments(length: u16) -> Control {
        Control::new(SOL_UDP, UDP_SEGMENT, length.to_ne_bytes())
    }

    fn new<const N: usize>(level: c_int, kind: c_int, data: [u8; N]) -> Control {
        let mut control = Control { length: HEADER + N.next_multiple_of(ALIGNMENT), ..Control::NONE };
        control.bytes[..ALIGNMENT].copy_from_slice(&(HEADER + N).to_ne_bytes());
        control.bytes[ALIGNMENT..ALIGNMENT + 4].copy_from_slice(&level.to_ne_bytes());
        control.bytes[ALIGNMENT + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        control.bytes[HEADER..HEADER + N].copy_from_slice(&data);
        control
    }

    /// The bytes that the kernel takes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The address that a datagram was sent to, and what its socket has dropped so far, as the kernel told.
pub(super) fn read(control: &[u8]) -> (Option<Source>, Option<u32>) {
    let (mut source, mut drops) = (None, None);
    for (level, kind, data) in messages(control) {
        match (level, kind) {
            (IPPROTO_IP, IP_PKTINFO) => {
                source = part(data, 4)
                    .map(|address| Source { address: Ipv4Addr::from(address).into(), interface: 0 });
            }
            (IPPROTO_IPV6, IPV6_PKTINFO) => {
                source =
                    part(data, 0).map(Ipv6Addr::from).zip(part(data, 16)).and_then(|(address, interface)| {
                        let interface =
                            if address.is_unicast_link_local() { u32::from_ne_bytes(interface) } else { 0 };
                        // What was sent to a group cannot be answered from the group.
                        (!address.is_multicast()).then_some(Source { address: address.into(), interface })
                    });
            }
            (SOL_SOCKET, SO_RXQ_OVFL) => drops = part(data, 0).map(u32::from_ne_bytes),
            _ => {}
        }
    }
    (source, drops)
}

/// Level, type and data of each message.
fn messages(mut control: &[u8]) -> impl Iterator<Item = (c_int, c_int, &[u8])> {
    iter::from_fn(move || {
        let length = usize::from_ne_bytes(part(control, 0)?);
        let (level, kind) = (part(control, ALIGNMENT)?, part(control, ALIGNMENT + 4)?);
        let data = control.get(HEADER..length)?;
        control = control.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some((c_int::from_ne_bytes(level), c_int::from_ne_bytes(kind), data))
    })
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        for (address, interface) in [("192.0.2.1", 0), ("2001:db8::1", 0), ("fe80::1", 3)] {
            let source = Source { address: address.parse().unwrap(), interface };
            let control = Control::from_source(source);
            assert_eq!(read(control.as_bytes()), (Some(source), None));
            let drops = Control::new(SOL_SOCKET, SO_RXQ_OVFL, 7_u32.to_ne_bytes());
            let both = [Control::segments(300).as_bytes(), drops.as_bytes(), control.as_bytes()].concat();
            assert_eq!(read(&both), (Some(source), Some(7)));
            for length in 0..control.as_bytes().len() {
                read(&control.as_bytes()[..length]);
            }
        }
        let group = Source { address: "ff02::1".parse().unwrap(), interface: 0 };
        assert_eq!(read(Control::from_source(group).as_bytes()), (None, None));
        // A length that lies ends the reading.
        assert_eq!(read(&[0; RECEIVED_SIZE]), (None, None));
        assert_eq!(read(&[0xff; RECEIVED_SIZE]), (None, None));
    }

    #[test]
    fn lengths_are_those_of_the_c_library() {
        let source = |address: &str| Source { address: address.parse().unwrap(), interface: 0 };
        for (control, size) in [
            (Control::from_source(source("192.0.2.1")), 12),
            (Control::from_source(source("2001:db8::1")), 20),
            (Control::segments(1), 2),
        ] {
            // SAFETY: these compute sizes only.
            let (length, space) = unsafe { (libc::CMSG_LEN(size), libc::CMSG_SPACE(size)) };
            assert_eq!(usize::from_ne_bytes(part(&control.bytes, 0).unwrap()), length as usize);
            assert_eq!(control.as_bytes().len(), space as usize);
        }
    }
}
