//! The sockets of listeners, and how they are opened.

use std::io;
use std::net::{self, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::counters::UdpCounters;
use super::error::{BindError, Kind};
use super::settings::Settings;
use crate::net::{bind_freely, ignore_path_mtu, tell_drops, tell_source};

/// How long a thread sleeps in the kernel without a datagram before it looks whether it shall stop: short enough
/// for a prompt end, and five wake-ups a second cost an idle thread nothing.
pub const RECEIVE_TIMEOUT: Duration = Duration::from_millis(200);

/// Connections the kernel keeps until they are accepted; a burst of a second, cut to `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// Ports tried until one is free for UDP and TCP; a few of all ports are taken.
const FREE_PORT_ATTEMPTS_MAX: usize = 16;

/// A bound UDP socket; whoever holds it reads it.
#[derive(Debug)]
pub struct UdpSocket {
    pub socket: Arc<Socket>,
    /// The address of the settings, which may have port 0.
    pub asked: SocketAddr,
    pub address: SocketAddr,
    /// The kernel's count of dropped datagrams as far as it is counted.
    drops_counted: AtomicU32,
}

impl UdpSocket {
    pub fn new(socket: Socket, asked: SocketAddr, address: SocketAddr) -> UdpSocket {
        UdpSocket { socket: Arc::new(socket), asked, address, drops_counted: AtomicU32::new(0) }
    }

    /// Has the kernel give new datagrams to the other sockets of this address, or refuse them if there are none.
    pub fn retire(&self) -> io::Result<()> {
        // A connected socket takes part in SO_REUSEPORT no more; from our own port 1 nothing will ever come.
        let address = match self.address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            address => address,
        };
        let mut peer = self.address;
        peer.set_ip(address);
        peer.set_port(1);
        self.socket.connect(&SockAddr::from(peer))
    }

    /// The address that every datagram is sent to, if the socket takes those of one only.
    pub fn own_address(&self) -> Option<IpAddr> {
        Some(self.address.ip()).filter(|address| !address.is_unspecified())
    }

    /// Counts what the kernel has dropped of it, if that is news.
    pub fn count_drops(&self, total: u32, counters: &UdpCounters) {
        let counted = self.drops_counted.load(Ordering::Relaxed);
        let new = total.wrapping_sub(counted);
        // The kernel's count wraps; and another thread, taking over this socket, may have counted further.
        let newer = new != 0 && new < u32::MAX / 2;
        if newer
            && self
                .drops_counted
                .compare_exchange(counted, total, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            counters.kernel_drops.add(new.into());
        }
    }
}

/// A listening TCP socket; whoever holds it accepts from it.
#[derive(Debug)]
pub struct TcpSocket {
    pub listener: net::TcpListener,
    /// The address of the settings, which may have port 0.
    pub asked: SocketAddr,
    pub address: SocketAddr,
}

/// Whether sockets of other processes may share the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// No: SO_REUSEPORT is set after binding, or it would hide that another process of this user has the port.
    Exclusive,
    /// Yes, since it is our own sockets that do.
    Shared,
}

/// A UDP and a TCP socket of one port.
pub(super) fn open_both(
    address: SocketAddr,
    settings: &Settings,
    sharing: Sharing,
) -> Result<(UdpSocket, TcpSocket), BindError> {
    let mut attempts = 1;
    loop {
        let udp = open_udp(address, address, settings, sharing)?;
        match open_tcp(address, udp.address, Kind::Tcp, settings, sharing) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(BindError::InUse { .. }) if address.port() == 0 && attempts < FREE_PORT_ATTEMPTS_MAX => {
                attempts += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn open_udp(
    asked: SocketAddr,
    address: SocketAddr,
    settings: &Settings,
    sharing: Sharing,
) -> Result<UdpSocket, BindError> {
    let open = || -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        ask_for_paths(&socket, address)?;
        ask_for_room(&socket, settings);
        socket.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
        socket.set_write_timeout(Some(RECEIVE_TIMEOUT))?;
        bind_socket(&socket, address, settings, sharing)?;
        let address = local_address(&socket)?;
        Ok(UdpSocket::new(socket, asked, address))
    };
    open().map_err(|source| BindError::new(address, Kind::Udp, source))
}

/// Asks for buffers. The kernel gives what it may; a smaller one drops earlier, and `kernel_drops` tells.
pub(super) fn ask_for_room(socket: &Socket, settings: &Settings) {
    let _ = socket.set_recv_buffer_size(settings.udp_buffer_size_bytes);
    let _ = socket.set_send_buffer_size(settings.udp_buffer_size_bytes);
}

/// Has the kernel tell the address each datagram was sent to, where that is not the socket's own, and what it drops.
pub(super) fn ask_for_paths(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.ip().is_unspecified() {
        tell_source(socket, address)?;
    }
    tell_drops(socket);
    ignore_path_mtu(socket, address);
    Ok(())
}

pub(super) fn open_tcp(
    asked: SocketAddr,
    address: SocketAddr,
    kind: Kind,
    settings: &Settings,
    sharing: Sharing,
) -> Result<TcpSocket, BindError> {
    let open = || -> io::Result<TcpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Connections of an instance that just ended must not keep us from the port.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        bind_socket(&socket, address, settings, sharing)?;
        socket.listen(BACKLOG)?;
        let address = local_address(&socket)?;
        Ok(TcpSocket { listener: socket.into(), asked, address })
    };
    open().map_err(|source| BindError::new(address, kind, source))
}

fn bind_socket(
    socket: &Socket,
    address: SocketAddr,
    settings: &Settings,
    sharing: Sharing,
) -> io::Result<()> {
    if address.is_ipv6() {
        // 0.0.0.0 and [::] stand side by side, and no client has two spellings (RFC 4038 §4.2).
        socket.set_only_v6(true)?;
    }
    if settings.freebind {
        bind_freely(socket, address)?;
    }
    if sharing == Sharing::Shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    // Also of a socket that was bound alone: others of ours shall join it.
    socket.set_reuse_port(true)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
