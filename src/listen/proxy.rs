//! Proxies in front of us, which tell whom they speak for (the PROXY protocol, version 2, of HAProxy).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::respond::{Client, Standing};
use crate::zone::AddressRanges;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Commands.
const LOCAL: u8 = 0;
const PROXY: u8 = 1;

/// The header of a proxy that speaks for itself.
pub const PROXY_ITSELF: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Signature, version and command, family, and the length of the rest.
const FIXED_BYTES: usize = 16;

/// The longest rest: addresses of sockets in files take 216 bytes, and what else proxies add is short.
const REST_BYTES_MAX: usize = 2048;

/// The ranges that proxies send from.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    ranges: AddressRanges<()>,
    is_any: bool,
}

impl Proxies {
    pub fn new(ranges: &[IpNet]) -> Proxies {
        let is_any = !ranges.is_empty();
        Proxies { ranges: AddressRanges::new(ranges.iter().map(|range| (*range, ()))), is_any }
    }

    pub fn is_any(&self) -> bool {
        self.is_any
    }

    /// Whether an address is that of a proxy.
    pub fn cover(&self, address: IpAddr) -> bool {
        self.is_any && self.ranges.get(address).is_some()
    }
}

/// Whom a proxy speaks for, and the message behind its header; `None` if there is no header.
pub(super) fn introduced(proxy: Client, datagram: &[u8]) -> Option<(Client, &[u8])> {
    let (fixed, rest) = datagram.split_first_chunk::<FIXED_BYTES>()?;
    let (head, length) = Head::read(fixed)?;
    let (rest, message) = rest.split_at_checked(length)?;
    Some((head.client(proxy, rest)?, message))
}

/// The same of a connection, of which the header alone is read.
pub(super) async fn introduce(proxy: Client, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Client> {
    let no_header = || io::Error::from(io::ErrorKind::InvalidData);
    let mut fixed = [0; FIXED_BYTES];
    // What is no header is not waited for to its end.
    stream.read_exact(&mut fixed[..SIGNATURE.len()]).await?;
    if fixed[..SIGNATURE.len()] != *SIGNATURE {
        return Err(no_header());
    }
    stream.read_exact(&mut fixed[SIGNATURE.len()..]).await?;
    let (head, length) = Head::read(&fixed).ok_or_else(no_header)?;
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    head.client(proxy, &rest).ok_or_else(no_header)
}

/// What the fixed part of a header says.
struct Head {
    command: u8,
    /// Of addresses, in the upper half.
    family: u8,
}

impl Head {
    /// The fixed part, and how many bytes follow.
    fn read(fixed: &[u8; FIXED_BYTES]) -> Option<(Head, usize)> {
        let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        let is_known = fixed.starts_with(SIGNATURE) && fixed[12] >> 4 == 2 && length <= REST_BYTES_MAX;
        is_known.then_some((Head { command: fixed[12] & 15, family: fixed[13] >> 4 }, length))
    }

    /// Whom the proxy speaks for: a client, or itself as it looks whether we are there.
    fn client(&self, proxy: Client, rest: &[u8]) -> Option<Client> {
        let (ips, ports): ([IpAddr; 2], &[u8]) = match (self.command, self.family) {
            (LOCAL, _) => return Some(Client { standing: Standing::Proxy, ..proxy }),
            (PROXY, 1) => {
                let (ips, ports) = rest.split_first_chunk::<8>()?;
                let ip = |at: usize| Ipv4Addr::new(ips[at], ips[at + 1], ips[at + 2], ips[at + 3]).into();
                ([ip(0), ip(4)], ports)
            }
            (PROXY, 2) => {
                let (ips, ports) = rest.split_first_chunk::<32>()?;
                let (from, to) = ips.split_at(16);
                let ip = |octets: &[u8]| <[u8; 16]>::try_from(octets).map(Ipv6Addr::from).ok();
                ([ip(from)?.to_canonical(), ip(to)?.to_canonical()], ports)
            }
            _ => return None,
        };
        let [high, low, _, _, ..] = *ports else { return None };
        let address = SocketAddr::new(ips[0], u16::from_be_bytes([high, low]));
        // It asked the proxy, at an address that is not ours; what is told of it is for the client.
        Some(Client { address, local: Some(ips[1]), ..proxy })
    }
}

#[cfg(test)]
mod tests;
