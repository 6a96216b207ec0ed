//! Many datagrams with one system call: `Incoming` reads them, `Outgoing` sends them.

use std::io::{self, IoSlice};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{iovec, mmsghdr};
use socket2::Socket;

use super::address::Address;
use super::control::{self, RECEIVED_SIZE};
use super::path::Source;

/// Room for a datagram: no query is longer, an upstream is asked for a third, and a reply is cut at 1232 bytes.
pub const DATAGRAM_SIZE_MAX: usize = 4096;

/// From one message's room to the next: at a multiple of 4096 all would begin in one set of a processor's cache.
pub const STRIDE: usize = DATAGRAM_SIZE_MAX + 192;

/// Whether a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Until one datagram is there, or has room; or for the socket's timeout.
    ForOne,
    No,
}

/// Whether a datagram fitted into its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Whole,
    Cut,
}

/// Whether the kernel tells who sent a datagram, and to which address: of a connected socket that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Senders {
    Told,
    Known,
}

/// Room for what one call reads.
pub struct Incoming {
    headers: Vec<mmsghdr>,
    // The headers lead to these, whose memory stays where it is as long as none of them grows.
    _parts: Vec<iovec>,
    bytes: Vec<u8>,
    senders: Vec<Address>,
    controls: Vec<[u8; RECEIVED_SIZE]>,
    received: usize,
}

impl Incoming {
    /// Room for so many datagrams.
    pub fn new(count: usize, senders: Senders) -> Incoming {
        let told = if senders == Senders::Told { count } else { 0 };
        let mut bytes = vec![0; count * STRIDE];
        let mut senders = vec![Address::default(); told];
        let mut controls = vec![[0; RECEIVED_SIZE]; told];
        let part = |index| iovec {
            iov_base: bytes.as_mut_ptr().wrapping_add(index * STRIDE).cast(),
            iov_len: DATAGRAM_SIZE_MAX,
        };
        let mut parts: Vec<iovec> = (0..count).map(part).collect();
        let mut headers: Vec<mmsghdr> = (0..count).map(|_| empty_header()).collect();
        for (index, header) in headers.iter_mut().enumerate() {
            header.msg_hdr.msg_iov = parts.as_mut_ptr().wrapping_add(index);
            header.msg_hdr.msg_iovlen = 1;
            if index < told {
                header.msg_hdr.msg_name = senders.as_mut_ptr().wrapping_add(index).cast();
                header.msg_hdr.msg_control = controls.as_mut_ptr().wrapping_add(index).cast();
            }
        }
        // So that the first call makes them all ready.
        Incoming { headers, _parts: parts, bytes, senders, controls, received: count }
    }

    /// Reads as many datagrams as there is room for; returns their number.
    pub fn receive(&mut self, socket: &Socket, wait: Wait) -> io::Result<usize> {
        // Those of a connected socket have no room for a sender, and need no more.
        let told = self.received.max(1).min(self.senders.len());
        for header in &mut self.headers[..told] {
            header.msg_hdr.msg_namelen = Address::SIZE as _;
            header.msg_hdr.msg_controllen = RECEIVED_SIZE as _;
        }
        self.received = 0;
        let flags = match wait {
            Wait::ForOne => libc::MSG_WAITFORONE,
            Wait::No => libc::MSG_DONTWAIT,
        };
        // SAFETY: the headers lead to memory of `self` that `new` gave them, with its lengths. It has not moved, since
        // nothing was added to any of it, and nothing else refers to it, since `self` is borrowed exclusively.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as _,
                flags as _,
                ptr::null_mut(),
            )
        };
        self.received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok(self.received)
    }

    /// How many were received.
    pub fn count(&self) -> usize {
        self.received
    }

    /// The datagram at `index` of those received; of a longer one its beginning.
    pub fn get(&self, index: usize) -> &[u8] {
        let length = (self.header(index).msg_len as usize).min(DATAGRAM_SIZE_MAX);
        &self.bytes[index * STRIDE..][..length]
    }

    /// Whether there was more of it.
    pub fn size(&self, index: usize) -> Size {
        match self.header(index).msg_hdr.msg_flags & libc::MSG_TRUNC {
            0 => Size::Whole,
            _ => Size::Cut,
        }
    }

    /// Its sender, if the kernel tells it.
    pub fn sender(&self, index: usize) -> Option<SocketAddr> {
        self.senders.get(index)?.read(self.header(index).msg_hdr.msg_namelen as usize)
    }

    /// The address it was sent to, and how many the socket had dropped by then, as far as that was told.
    pub fn source_and_drops(&self, index: usize) -> (Option<Source>, Option<u32>) {
        let length = RECEIVED_SIZE.min(self.header(index).msg_hdr.msg_controllen as _);
        self.controls.get(index).map_or((None, None), |control| control::read(&control[..length]))
    }

    fn header(&self, index: usize) -> &mmsghdr {
        &self.headers[..self.received][index]
    }
}

/// One message to send.
pub struct Letter<'m> {
    /// What it is put together of.
    pub parts: &'m [IoSlice<'m>],
    /// An `Address`; nothing if the socket is connected.
    pub to: &'m [u8],
    /// A `Control` message, or nothing.
    pub control: &'m [u8],
}

/// The headers of what one call sends.
pub struct Outgoing(Box<[mmsghdr]>);

impl Outgoing {
    /// Headers for so many messages.
    pub fn new(count: usize) -> Outgoing {
        Outgoing((0..count).map(|_| empty_header()).collect())
    }

    /// Sends so many messages at most; how many the kernel took of them, and what became of the next.
    pub fn send<'m>(
        &mut self,
        socket: &Socket,
        letters: impl Iterator<Item = Letter<'m>>,
        wait: Wait,
    ) -> (usize, io::Result<()>) {
        let mut count = 0;
        for (header, letter) in self.0.iter_mut().zip(letters) {
            let header = &mut header.msg_hdr;
            // An `IoSlice` is an `iovec`, as its documentation promises.
            header.msg_iov = letter.parts.as_ptr().cast_mut().cast();
            header.msg_iovlen = letter.parts.len() as _;
            header.msg_name = letter.to.as_ptr().cast_mut().cast();
            header.msg_namelen = letter.to.len() as _;
            header.msg_control = letter.control.as_ptr().cast_mut().cast();
            header.msg_controllen = letter.control.len() as _;
            count += 1;
        }
        let flags = if wait == Wait::No { libc::MSG_DONTWAIT } else { 0 };
        let (mut next, mut repeated) = (0, false);
        while next < count {
            let headers = &mut self.0[next..count];
            // SAFETY: the headers were written above and lead to what the letters borrow for `'m`, which outlives this
            // call, with its lengths; the kernel reads it only.
            let sent = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), headers.len() as _, flags as _)
            };
            if let Ok(sent @ 1..) = usize::try_from(sent) {
                (next, repeated) = (next + sent, false);
                continue;
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                // An ICMP error about an earlier message, which the kernel reports on the next call.
                Some(libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::ENETUNREACH) if !repeated => {
                    repeated = true;
                }
                _ => return (next, Err(error)),
            }
        }
        (count, Ok(()))
    }
}

fn empty_header() -> mmsghdr {
    // SAFETY: zeroes are a good header, which leads nowhere. It is not put together field by field, since some C libraries
    // have fields of their own between.
    unsafe { mem::zeroed() }
}
