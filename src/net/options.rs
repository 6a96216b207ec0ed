//! What a socket is asked to do with its datagrams.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use libc::{c_int, socklen_t};
use socket2::Socket;

/// Has the kernel tell the address of ours that each datagram was sent to.
pub fn tell_source(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
        SocketAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
    }
}

/// Has the kernel tell with each datagram how many it dropped.
pub fn tell_drops(socket: &Socket) {
    // Old kernels lack it; nothing but a counter depends on it.
    let _ = set(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
}

/// Lets a socket be bound to an address that the host does not have yet (ip(7)).
pub fn bind_freely(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true),
        SocketAddr::V6(_) => socket.set_freebind_v6(true),
    }
}

/// Keeps forged "fragmentation needed" from having what we send travel in fragments, and so open to splicing.
pub fn ignore_path_mtu(socket: &Socket, address: SocketAddr) {
    // Old kernels lack it; nothing but a defence in depth depends on it.
    let _ = match address {
        SocketAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT),
        SocketAddr::V6(_) => {
            set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT)
        }
    };
}

/// Whether the kernel sends one message as several datagrams (Linux 4.18): an older one would send one long datagram.
pub fn can_segment(socket: &Socket) -> bool {
    // No length is none, as before.
    set(socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok()
}

fn set(socket: &Socket, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the option's value is an int that lives through the call, which reads it within its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<c_int>() as socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
