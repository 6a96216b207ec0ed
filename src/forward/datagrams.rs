//! Many datagrams of a connected socket with one system call, and which sockets have some.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};

use libc::{epoll_event, iovec, mmsghdr};
use socket2::Socket;

use super::sockets::DATAGRAM_BYTES_MAX;

/// Datagrams a system call: past so many the call itself no longer counts.
pub const BATCH: usize = 32;

/// Sockets that one look finds; those beyond are found by the next.
pub const READY_MAX: usize = 16;

/// Sockets and the keys they are known by.
pub struct Poll(OwnedFd);

impl Poll {
    pub fn new() -> io::Result<Poll> {
        // SAFETY: the call takes no pointer.
        let descriptor = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else has it.
        Ok(Poll(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Watches a socket until it is closed.
    pub fn add(&self, socket: &Socket, key: usize) -> io::Result<()> {
        let mut event = epoll_event { events: libc::EPOLLIN as u32, u64: key as u64 };
        // SAFETY: the event lives through the call, which only reads it.
        let result = unsafe {
            libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event)
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Watches a socket no more.
    pub fn remove(&self, socket: &Socket) {
        // SAFETY: removing takes no event. It fails only for what is not watched.
        unsafe {
            libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, socket.as_raw_fd(), ptr::null_mut())
        };
    }

    /// The keys of sockets that have something now.
    pub fn ready(&self) -> impl Iterator<Item = usize> + use<> {
        let mut events = [epoll_event { events: 0, u64: 0 }; READY_MAX];
        // SAFETY: the kernel writes at most READY_MAX events, for which there is room.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), READY_MAX as i32, 0) };
        events.into_iter().take(usize::try_from(count).unwrap_or(0)).map(|event| event.u64 as usize)
    }
}

impl AsFd for Poll {
    /// Readable when one of the sockets is.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Room for what one call reads, and the headers of what one call sends.
pub struct Datagrams {
    /// Owned; reached through this pointer only, because the headers point there too.
    bytes: NonNull<[u8; DATAGRAM_BYTES_MAX]>,
    /// Owned as well: the headers point to these.
    parts: NonNull<iovec>,
    incoming: Vec<mmsghdr>,
    outgoing: Vec<mmsghdr>,
    received: usize,
}

impl Datagrams {
    pub fn new() -> Datagrams {
        // SAFETY: zeroes are good bytes, and good parts of no length.
        let (bytes, parts) = unsafe {
            (
                Box::<[[u8; DATAGRAM_BYTES_MAX]]>::new_zeroed_slice(BATCH).assume_init(),
                Box::<[iovec]>::new_zeroed_slice(2 * BATCH).assume_init(),
            )
        };
        let bytes = NonNull::from(Box::leak(bytes)).cast::<[u8; DATAGRAM_BYTES_MAX]>();
        let parts = NonNull::from(Box::leak(parts)).cast::<iovec>();
        let header = |part: *mut iovec| {
            // SAFETY: zeroes are a good header without buffers.
            let mut header: mmsghdr = unsafe { mem::zeroed() };
            (header.msg_hdr.msg_iov, header.msg_hdr.msg_iovlen) = (part, 1);
            header
        };
        let mut datagrams =
            Datagrams { bytes, parts, incoming: Vec::new(), outgoing: Vec::new(), received: 0 };
        for index in 0..BATCH {
            // SAFETY: there are BATCH buffers and twice as many parts, and nothing borrows them.
            let (incoming, outgoing) = unsafe {
                let part = parts.as_ptr().add(index);
                *part = iovec { iov_base: bytes.as_ptr().add(index).cast(), iov_len: DATAGRAM_BYTES_MAX };
                (part, parts.as_ptr().add(BATCH + index))
            };
            datagrams.incoming.push(header(incoming));
            datagrams.outgoing.push(header(outgoing));
        }
        datagrams
    }

    /// Reads what is there, up to a batch, and does not wait; how many it were.
    pub fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
        self.received = 0;
        // SAFETY: the BATCH headers lead to parts and buffers that live as long as `self`, which is borrowed
        // exclusively; the kernel writes within the lengths they give.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.incoming.as_mut_ptr(),
                BATCH as _,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        self.received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok(self.received)
    }

    /// The datagram at `index` of those received; of a longer one its beginning.
    pub fn get(&self, index: usize) -> &[u8] {
        assert!(index < self.received);
        let length = (self.incoming[index].msg_len as usize).min(DATAGRAM_BYTES_MAX);
        // SAFETY: there are BATCH buffers; nothing writes to them while `self` is borrowed.
        let bytes = unsafe { &*self.bytes.as_ptr().add(index) };
        &bytes[..length]
    }

    /// Sends up to a batch of datagrams without waiting; how many the kernel took of them, and what became of the next.
    pub fn send<'m>(
        &mut self,
        socket: &Socket,
        messages: impl Iterator<Item = &'m [u8]>,
    ) -> (usize, io::Result<()>) {
        let mut count = 0;
        for (index, message) in messages.take(BATCH).enumerate() {
            // SAFETY: there are 2 * BATCH parts, and nothing else reaches them while `self` is borrowed exclusively.
            unsafe {
                *self.parts.as_ptr().add(BATCH + index) =
                    iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() };
            }
            count = index + 1;
        }
        let (mut next, mut repeated) = (0, false);
        while next < count {
            let headers = &mut self.outgoing[next..count];
            // SAFETY: the headers lead to the parts written above, which point to messages that outlive this call;
            // they are only read.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    headers.as_mut_ptr(),
                    headers.len() as _,
                    libc::MSG_DONTWAIT as _,
                )
            };
            if let Ok(sent @ 1..) = usize::try_from(sent) {
                (next, repeated) = (next + sent, false);
                continue;
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                // What an earlier datagram met with, not this one.
                Some(libc::ECONNREFUSED) if !repeated => repeated = true,
                _ => return (next, Err(error)),
            }
        }
        (count, Ok(()))
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        // SAFETY: both came from leaked boxes of these lengths, and nothing uses them after this.
        unsafe {
            drop(Box::from_raw(ptr::slice_from_raw_parts_mut(self.bytes.as_ptr(), BATCH)));
            drop(Box::from_raw(ptr::slice_from_raw_parts_mut(self.parts.as_ptr(), 2 * BATCH)));
        }
    }
}
