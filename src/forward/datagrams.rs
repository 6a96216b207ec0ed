//! Many datagrams of a connected socket with one system call, and which sockets have some.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};

use libc::{epoll_event, iovec, mmsghdr};
use socket2::{Domain, Socket, Type};

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
    /// Owned as well.
    segments: NonNull<Segment>,
    segmenting: Segmenting,
    incoming: Vec<mmsghdr>,
    outgoing: Vec<mmsghdr>,
    received: usize,
}

impl Datagrams {
    pub fn new() -> Datagrams {
        // SAFETY: zeroes are good bytes, good parts of no length and good segments of none.
        let (bytes, parts, segments) = unsafe {
            (
                Box::<[[u8; DATAGRAM_BYTES_MAX]]>::new_zeroed_slice(BATCH).assume_init(),
                Box::<[iovec]>::new_zeroed_slice(2 * BATCH).assume_init(),
                Box::<[Segment]>::new_zeroed_slice(BATCH).assume_init(),
            )
        };
        let bytes = NonNull::from(Box::leak(bytes)).cast::<[u8; DATAGRAM_BYTES_MAX]>();
        let parts = NonNull::from(Box::leak(parts)).cast::<iovec>();
        let segments = NonNull::from(Box::leak(segments)).cast::<Segment>();
        let header = |part: *mut iovec| {
            // SAFETY: zeroes are a good header without buffers.
            let mut header: mmsghdr = unsafe { mem::zeroed() };
            (header.msg_hdr.msg_iov, header.msg_hdr.msg_iovlen) = (part, 1);
            header
        };
        let mut datagrams = Datagrams {
            bytes,
            parts,
            segments,
            segmenting: Segmenting::of_kernel(),
            incoming: Vec::new(),
            outgoing: Vec::new(),
            received: 0,
        };
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
    ///
    /// Neighbours of one length go the kernel's way together.
    pub fn send<'m>(
        &mut self,
        socket: &Socket,
        messages: impl Iterator<Item = &'m [u8]>,
    ) -> (usize, io::Result<()>) {
        let mut lengths = [0; BATCH];
        let mut count = 0;
        for (index, message) in messages.take(BATCH).enumerate() {
            // SAFETY: there are 2 * BATCH parts, and nothing else reaches them while `self` is borrowed exclusively.
            unsafe {
                *self.parts.as_ptr().add(BATCH + index) =
                    iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() };
            }
            lengths[index] = message.len();
            count = index + 1;
        }
        let (mut next, mut repeated) = (0, false);
        let segmenting = self.segmenting;
        while next < count {
            let used = self.group(next, &lengths[..count]);
            // SAFETY: the headers lead to the parts written above, which point to messages that outlive this call, and
            // to numbers of `segments`; they are only read.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.outgoing.as_mut_ptr(),
                    used as _,
                    libc::MSG_DONTWAIT as _,
                )
            };
            if let Ok(sent @ 1..) = usize::try_from(sent) {
                let parts: usize = self.outgoing[..sent].iter().map(parts).sum();
                (next, repeated) = (next + parts, false);
                continue;
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                // What an earlier datagram met with, not this one.
                Some(libc::ECONNREFUSED | libc::EHOSTUNREACH) if !repeated => repeated = true,
                // A kernel or a device that cannot do it says so when it is asked to.
                Some(libc::EIO | libc::EINVAL) if self.segmenting == Segmenting::Does => {
                    self.segmenting = Segmenting::DoesNot;
                }
                _ => {
                    // It was not for that.
                    self.segmenting = segmenting;
                    return (next, Err(error));
                }
            }
        }
        (count, Ok(()))
    }

    /// Makes headers of the messages from `next` on, whose parts are written; how many they are.
    fn group(&mut self, mut next: usize, lengths: &[usize]) -> usize {
        let mut used = 0;
        while next < lengths.len() {
            let same = lengths[next..].iter().take_while(|length| **length == lengths[next]).count();
            let parts = if self.segmenting == Segmenting::Does { same } else { 1 };
            let header = &mut self.outgoing[used].msg_hdr;
            // SAFETY: `next` and the parts behind it are among the BATCH parts of what is sent.
            header.msg_iov = unsafe { self.parts.as_ptr().add(BATCH + next) };
            header.msg_iovlen = parts as _;
            (header.msg_control, header.msg_controllen) = match parts {
                1 => (ptr::null_mut(), 0),
                _ => {
                    // SAFETY: there are BATCH of them, and nothing borrows them.
                    let segment = unsafe { self.segments.as_ptr().add(used) };
                    // SAFETY: as above; it is written before the kernel reads it.
                    unsafe { segment.write(Segment::of(lengths[next])) };
                    (segment.cast(), size_of::<Segment>() as _)
                }
            };
            (used, next) = (used + 1, next + parts);
        }
        used
    }
}

/// Of how many parts a message is.
fn parts(header: &mmsghdr) -> usize {
    header.msg_hdr.msg_iovlen as _
}

/// Whether one message can be sent as several datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Segmenting {
    Does,
    DoesNot,
}

impl Segmenting {
    /// Whether the kernel knows of it (Linux 4.18): an older one would send one long datagram.
    fn of_kernel() -> Segmenting {
        let Ok(socket) = Socket::new(Domain::IPV4, Type::DGRAM, None) else { return Segmenting::DoesNot };
        let (mut value, mut length): (libc::c_int, libc::socklen_t) = (0, size_of::<libc::c_int>() as _);
        // SAFETY: the kernel writes an int and its length, which live through the call.
        let known = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_UDP,
                libc::UDP_SEGMENT,
                (&raw mut value).cast(),
                &raw mut length,
            )
        };
        if known == 0 { Segmenting::Does } else { Segmenting::DoesNot }
    }
}

/// The control message that has one message sent as datagrams of a length.
#[repr(C)]
struct Segment {
    header: libc::cmsghdr,
    bytes: u16,
    _padding: [u8; 6],
}

// The number stands where the kernel looks for it, and nothing beyond what is counted.
const _: () = {
    // SAFETY: these compute sizes only.
    let (length, space) = unsafe { (libc::CMSG_LEN(2), libc::CMSG_SPACE(2)) };
    assert!(mem::offset_of!(Segment, bytes) + 2 == length as usize);
    assert!(size_of::<Segment>() == space as usize);
};

impl Segment {
    fn of(bytes: usize) -> Segment {
        // SAFETY: zeroes are a good header.
        let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
        (header.cmsg_level, header.cmsg_type) = (libc::SOL_UDP, libc::UDP_SEGMENT);
        // SAFETY: this computes a size only.
        header.cmsg_len = unsafe { libc::CMSG_LEN(size_of::<u16>() as _) } as _;
        Segment { header, bytes: bytes as u16, _padding: [0; 6] }
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        // SAFETY: all came from leaked boxes of these lengths, and nothing uses them after this.
        unsafe {
            drop(Box::from_raw(ptr::slice_from_raw_parts_mut(self.bytes.as_ptr(), BATCH)));
            drop(Box::from_raw(ptr::slice_from_raw_parts_mut(self.parts.as_ptr(), 2 * BATCH)));
            drop(Box::from_raw(ptr::slice_from_raw_parts_mut(self.segments.as_ptr(), BATCH)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    #[test]
    fn datagrams_arrive_one_by_one_and_in_order_however_they_are_sent() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let sender = Socket::from(sender);
        let lengths = [5, 5, 5, 7, 5, 9, 9, 300, 300, 1];
        let messages: Vec<Vec<u8>> =
            lengths.iter().enumerate().map(|(index, length)| vec![index as u8; *length]).collect();
        let mut datagrams = Datagrams::new();
        for segmenting in [datagrams.segmenting, Segmenting::DoesNot] {
            datagrams.segmenting = segmenting;
            let (sent, result) = datagrams.send(&sender, messages.iter().map(Vec::as_slice));
            assert!(sent == messages.len() && result.is_ok());
            for message in &messages {
                let mut buffer = [0; 4096];
                let length = receiver.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], message);
            }
        }
    }

    #[test]
    fn messages_of_one_length_share_a_header_where_that_is_known() {
        let mut datagrams = Datagrams::new();
        let lengths = [5, 5, 5, 7, 5, 9, 9];
        datagrams.segmenting = Segmenting::Does;
        let used = datagrams.group(0, &lengths);
        let parts: Vec<usize> = datagrams.outgoing[..used].iter().map(parts).collect();
        assert_eq!(parts, [3, 1, 1, 2]);
        assert_eq!(datagrams.group(4, &lengths), 2);
        datagrams.segmenting = Segmenting::DoesNot;
        assert_eq!(datagrams.group(1, &lengths), 6);
        assert!(datagrams.outgoing[..6].iter().all(|header| header.msg_hdr.msg_controllen == 0));
    }
}
