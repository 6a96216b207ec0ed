//! Questions over UDP: one socket, many questions a call.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use anyhow::{Context, bail};
use libc::{c_void, iovec, mmsghdr, msghdr};

use crate::lane::{Awaited, HEADER, Lane, Tally};
use crate::machine::SOCKET_BUFFER_BYTES;
use crate::questions::{Burst, RUN};

/// How the questions of a run are handed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sending {
    /// UDP_SEGMENT: cheapest; a server that reads with UDP_GRO would get them in one piece, as from no real clients.
    Gso,
    /// sendmmsg: each by itself.
    Each,
}

/// A socket with a port of its own.
pub struct Datagrams {
    socket: UdpSocket,
    sending: Sending,
    awaited: Awaited,
    headers: Box<[[u8; HEADER]; RUN]>,
    _parts: Vec<iovec>,
    messages: Vec<mmsghdr>,
}

impl Datagrams {
    pub fn to(server: SocketAddr, source: Ipv4Addr, sending: Sending) -> anyhow::Result<Datagrams> {
        let socket = UdpSocket::bind((source, 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let socket = socket2::Socket::from(socket);
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES as usize)?;
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES as usize)?;
        let mut headers = Box::new([[0; HEADER]; RUN]);
        let mut parts: Vec<iovec> = headers
            .iter_mut()
            .map(|header| iovec { iov_base: header.as_mut_ptr().cast(), iov_len: HEADER })
            .collect();
        let messages = parts.iter_mut().map(header).collect();
        let socket = socket.into();
        Ok(Datagrams { socket, sending, awaited: Awaited::new(), headers, _parts: parts, messages })
    }

    /// Reads what is there, up to a run.
    fn read(&mut self) -> anyhow::Result<usize> {
        // SAFETY: the messages lead through the parts to `headers`, which live on the heap as long as `self`.
        let received = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                self.messages.as_mut_ptr(),
                RUN as u32,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        match usize::try_from(received) {
            Ok(received) => Ok(received),
            Err(_) => match io::Error::last_os_error() {
                error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    Ok(0)
                }
                error => bail!("the server is gone: {error}"),
            },
        }
    }
}

impl Lane for Datagrams {
    fn awaited(&mut self) -> &mut Awaited {
        &mut self.awaited
    }

    fn send(&mut self, burst: Burst<'_>, tally: &mut Tally) -> anyhow::Result<()> {
        for (query, right) in burst.wire.chunks_exact_mut(burst.length).zip(burst.rights) {
            self.awaited.ask(query, *right, tally);
        }
        let sent = match self.sending {
            Sending::Gso => segmented(&self.socket, burst.wire, burst.length),
            Sending::Each => each(&self.socket, burst.wire, burst.length),
        };
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error).context("the server takes no questions"),
        };
        // What the kernel did not take was not asked.
        self.awaited.take_back(burst.rights.len() - sent, tally);
        Ok(())
    }

    fn receive(&mut self, tally: &mut Tally, answered: &mut dyn FnMut(u16)) -> anyhow::Result<usize> {
        let mut all = 0;
        loop {
            let received = self.read()?;
            all += received;
            for reply in &self.headers[..received] {
                if let Some(id) = self.awaited.judge(reply, tally) {
                    answered(id);
                }
            }
            if received < RUN {
                return Ok(all);
            }
        }
    }
}

/// Sends questions of one length as one datagram that the kernel cuts; how many it took.
fn segmented(socket: &UdpSocket, wire: &[u8], length: usize) -> io::Result<usize> {
    #[repr(C, align(8))]
    struct Control([u8; 64]);
    let mut control = Control([0; 64]);
    let mut part = iovec { iov_base: wire.as_ptr().cast_mut().cast(), iov_len: wire.len() };
    let mut message = header(&mut part).msg_hdr;
    message.msg_control = (&raw mut control).cast::<c_void>();
    // SAFETY: `control` has room for one number and is aligned for its header.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as _;
        let segment = libc::CMSG_FIRSTHDR(&message);
        (*segment).cmsg_level = libc::SOL_UDP;
        (*segment).cmsg_type = libc::UDP_SEGMENT;
        (*segment).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
        libc::CMSG_DATA(segment).cast::<u16>().write_unaligned(length as u16);
    }
    // SAFETY: the message leads to `part`, `wire` and `control`, which live until the call returns.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(wire.len() / length) }
}

/// Sends questions one by one; how many the kernel took.
fn each(socket: &UdpSocket, wire: &[u8], length: usize) -> io::Result<usize> {
    let part = |query: &[u8]| iovec { iov_base: query.as_ptr().cast_mut().cast(), iov_len: query.len() };
    let mut parts: Vec<iovec> = wire.chunks_exact(length).map(part).collect();
    let mut messages: Vec<mmsghdr> = parts.iter_mut().map(header).collect();
    // SAFETY: the messages lead to `parts` and `wire`, which live until the call returns.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), messages.len() as u32, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// A header of one part.
fn header(part: &mut iovec) -> mmsghdr {
    // SAFETY: zeroes are a good header without buffers.
    let mut message: msghdr = unsafe { mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    mmsghdr { msg_hdr: message, msg_len: 0 }
}
