//! Many datagrams with one system call, each answered from the address it was sent to.
//!
//! All unsafe code of the listeners is in this file.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::time::Duration;

use libc::{
    c_int, cmsghdr, in_pktinfo, in6_pktinfo, iovec, mmsghdr, msghdr, sockaddr_in, sockaddr_in6,
    sockaddr_storage, socklen_t,
};
use socket2::{SockAddr, Socket};

/// Datagrams a system call; past 64 the call itself no longer counts beside the kernel's work on each.
pub const BATCH: usize = 64;

/// Most of a datagram that is read: no query is longer, and what is cut is FORMERR to the parser.
pub const REQUEST_SIZE_MAX: usize = 4096;

/// Room for a reply; replies over UDP are cut at 1232 bytes unless set otherwise.
pub const REPLY_SIZE_MAX: usize = 4096;

/// Room for the packet information (40 bytes) and the drop counter (24 bytes) of a datagram.
const CONTROL_SIZE: usize = 128;

/// Buffers for one system call's worth of datagrams and their replies.
pub struct Batch {
    /// Owned; reached through this pointer only, because the headers point there too.
    slots: NonNull<Slot>,
    incoming: Vec<mmsghdr>,
    outgoing: Vec<mmsghdr>,
    received: usize,
    queued: usize,
    kernel_drops: Option<u32>,
}

/// Whether reading waits for a first datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Until one is there, or the socket's timeout.
    ForOne,
    No,
}

/// One datagram that was read, and the room for its reply.
pub struct Datagram<'a> {
    pub message: &'a [u8],
    pub reply: &'a mut [u8],
    pub path: ReturnPath,
    pub size: Size,
}

/// Whether a datagram fitted into its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Whole,
    Cut,
}

/// Where a reply goes, and the address it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnPath {
    pub peer: SocketAddr,
    pub source: Option<Source>,
}

/// The address of ours that a datagram was sent to, of a socket that has no address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    pub address: IpAddr,
    /// Set for link-local addresses only: elsewhere it would overrule the routing table.
    interface: u32,
}

/// What became of the replies of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub replies: usize,
    pub failures: usize,
}

// The small parts come first; with them the size is no multiple of 4096, so the 64 messages spread over the cache's sets.
#[repr(C, align(64))]
struct Slot {
    incoming_control: Control,
    outgoing_control: Control,
    peer: sockaddr_storage,
    incoming_part: iovec,
    outgoing_part: iovec,
    source: Option<Source>,
    request: [u8; REQUEST_SIZE_MAX],
    reply: [u8; REPLY_SIZE_MAX],
}

#[repr(C, align(8))]
struct Control([u8; CONTROL_SIZE]);

impl Batch {
    pub fn new() -> Batch {
        // SAFETY: all-zero bytes are a valid Slot: byte arrays, C structures of numbers and null pointers;
        // `source` is the exception and is written below, before anything can read it.
        let slots: Box<[MaybeUninit<Slot>]> = Box::new_zeroed_slice(BATCH);
        let slots = NonNull::from(Box::leak(slots)).cast::<Slot>();
        let mut batch = Batch {
            slots,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            received: 0,
            queued: 0,
            kernel_drops: None,
        };
        for index in 0..BATCH {
            let slot = batch.slot(index);
            // SAFETY: `slot` is valid for writes, being one of the BATCH slots that were just allocated; the
            // pointers stored stay valid as long as the slots, which live until `batch` is dropped.
            unsafe {
                (*slot).source = None;
                (*slot).incoming_part =
                    iovec { iov_base: (&raw mut (*slot).request).cast(), iov_len: REQUEST_SIZE_MAX };
                (*slot).outgoing_part = iovec { iov_base: (&raw mut (*slot).reply).cast(), iov_len: 0 };
            }
            // SAFETY: as above; only addresses are taken.
            let (incoming, outgoing) = unsafe {
                (
                    header(slot, &raw mut (*slot).incoming_part, &raw mut (*slot).incoming_control),
                    header(slot, &raw mut (*slot).outgoing_part, &raw mut (*slot).outgoing_control),
                )
            };
            batch.incoming.push(incoming);
            batch.outgoing.push(outgoing);
        }
        batch
    }

    /// Reads what is there, up to a batch; how many it were.
    pub fn receive(&mut self, socket: &Socket, wait: Wait) -> io::Result<usize> {
        for header in &mut self.incoming[..self.received.max(1)] {
            header.msg_hdr.msg_namelen = size_of::<sockaddr_storage>() as socklen_t;
            header.msg_hdr.msg_controllen = CONTROL_SIZE as _;
            header.msg_hdr.msg_flags = 0;
        }
        (self.received, self.queued, self.kernel_drops) = (0, 0, None);
        let flags = match wait {
            Wait::ForOne => libc::MSG_WAITFORONE,
            Wait::No => libc::MSG_DONTWAIT,
        };
        // SAFETY: `incoming` holds BATCH headers, whose pointers lead to the parts of slots that nothing borrows,
        // as `self` is borrowed exclusively; the kernel writes within the lengths they give.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.incoming.as_mut_ptr(),
                BATCH as _,
                flags as _,
                ptr::null_mut(),
            )
        };
        self.received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok(self.received)
    }

    /// The datagram at `index` of those received; `None` if it has no sender to reply to.
    pub fn datagram(&mut self, index: usize) -> Option<Datagram<'_>> {
        assert!(index < self.received);
        let header = &self.incoming[index];
        let length = (header.msg_len as usize).min(REQUEST_SIZE_MAX);
        let size = if header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0 { Size::Whole } else { Size::Cut };
        // SAFETY: the kernel filled in this header and what it points to; nothing changed it since.
        let (source, drops) = unsafe { control(&header.msg_hdr) };
        self.kernel_drops = drops.or(self.kernel_drops);
        let slot = self.slot(index);
        // SAFETY: `slot` is valid, and no reference into it exists while `self` is borrowed exclusively.
        let (slot_source, peer, request, reply) =
            unsafe { (&mut (*slot).source, &(*slot).peer, &(*slot).request, &mut (*slot).reply) };
        *slot_source = source;
        let peer = socket_address(peer, self.incoming[index].msg_hdr.msg_namelen)?;
        Some(Datagram { message: &request[..length], reply, path: ReturnPath { peer, source }, size })
    }

    /// What was received, one by one, and from whom.
    pub fn messages(&self) -> impl Iterator<Item = (&[u8], IpAddr)> {
        self.incoming[..self.received].iter().enumerate().map(|(index, header)| {
            let length = (header.msg_len as usize).min(REQUEST_SIZE_MAX);
            // SAFETY: `slot` is valid, and nothing writes to it while `self` is borrowed.
            let (request, peer) = unsafe { (&(*self.slot(index)).request, &(*self.slot(index)).peer) };
            let peer = socket_address(peer, header.msg_hdr.msg_namelen);
            (&request[..length], peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip()))
        })
    }

    /// Queues the first `length` bytes of the reply to the datagram at `index`.
    pub fn queue(&mut self, index: usize, length: usize) {
        assert!(index < self.received && length <= REPLY_SIZE_MAX && self.queued < BATCH);
        // SAFETY: the slot is valid, and no reference into it exists while `self` is borrowed exclusively.
        let source = unsafe { (*self.slot(index)).source };
        self.enlist(index, length, source, self.incoming[index].msg_hdr.msg_namelen);
    }

    /// Room for a reply to what was read some time ago; `add` queues it.
    ///
    /// A batch of such replies reads nothing, and is sent before it is full.
    pub fn room(&mut self) -> &mut [u8] {
        let slot = self.slot(self.queued);
        // SAFETY: `slot` is valid, and no reference into it exists while `self` is borrowed exclusively.
        unsafe { &mut (*slot).reply }
    }

    /// Queues the first `length` bytes of that room.
    pub fn add(&mut self, length: usize, path: &ReturnPath) {
        assert!(length <= REPLY_SIZE_MAX && self.received == 0 && self.queued < BATCH);
        let (slot, peer) = (self.slot(self.queued), SockAddr::from(path.peer));
        // SAFETY: `slot` is valid, and no reference into it exists while `self` is borrowed exclusively; an address is
        // no longer than the storage for addresses.
        unsafe {
            ptr::copy_nonoverlapping(
                peer.as_ptr().cast::<u8>(),
                (&raw mut (*slot).peer).cast::<u8>(),
                peer.len() as usize,
            );
        }
        self.enlist(self.queued, length, path.source, peer.len());
    }

    /// Queues the reply of a slot, of which the first `length` bytes and the peer's address are there.
    fn enlist(&mut self, index: usize, length: usize, source: Option<Source>, peer_length: socklen_t) {
        let slot = self.slot(index);
        let outgoing = &mut self.outgoing[self.queued].msg_hdr;
        // SAFETY: `slot` is valid, and no reference into it exists while `self` is borrowed exclusively.
        unsafe {
            (*slot).outgoing_part.iov_len = length;
            outgoing.msg_controllen =
                source.map_or(0, |source| source.write(&mut (*slot).outgoing_control)) as _;
            outgoing.msg_control = (&raw mut (*slot).outgoing_control).cast();
            outgoing.msg_iov = &raw mut (*slot).outgoing_part;
            outgoing.msg_name = (&raw mut (*slot).peer).cast();
        }
        outgoing.msg_namelen = peer_length;
        self.queued += 1;
    }

    /// Whether what is queued must be sent before there is room again.
    pub fn is_full(&self) -> bool {
        self.queued == BATCH
    }

    /// Sends what was queued; a reply that cannot be sent does not stop the others.
    pub fn send(&mut self, socket: &Socket) -> Sent {
        let mut sent = Sent::default();
        let mut next = 0;
        let mut repeated = false;
        while next < self.queued {
            let outgoing = &mut self.outgoing[next..self.queued];
            // SAFETY: the headers were completed by `queue`; they point to parts of slots that are not changed
            // before `receive`, within the lengths they give.
            let count =
                unsafe { libc::sendmmsg(socket.as_raw_fd(), outgoing.as_mut_ptr(), outgoing.len() as _, 0) };
            if let Ok(count @ 1..) = usize::try_from(count) {
                next += count;
                sent.replies += count;
                repeated = false;
                continue;
            }
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                // An ICMP error about an earlier reply, which the kernel reports on the next call.
                Some(libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::ENETUNREACH) if !repeated => {
                    repeated = true
                }
                _ => {
                    next += 1;
                    sent.failures += 1;
                    repeated = false;
                }
            }
        }
        self.queued = 0;
        sent
    }

    /// What the socket has dropped in its life for want of room, if the last datagrams tell.
    pub fn kernel_drops(&self) -> Option<u32> {
        self.kernel_drops
    }

    fn slot(&self, index: usize) -> *mut Slot {
        assert!(index < BATCH);
        // SAFETY: the allocation has BATCH slots.
        unsafe { self.slots.as_ptr().add(index) }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // SAFETY: `slots` came from a leaked box of BATCH slots, and nothing uses it after this.
        drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(self.slots.as_ptr(), BATCH)) });
    }
}

/// Sends one datagram if the kernel has room for it.
pub fn send_one(socket: &Socket, message: &[u8], path: &ReturnPath) -> io::Result<()> {
    let peer = SockAddr::from(path.peer);
    let mut control = Control([0; CONTROL_SIZE]);
    let mut part = iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() };
    // SAFETY: all-zero bytes are a valid msghdr.
    let mut header: msghdr = unsafe { mem::zeroed() };
    header.msg_name = peer.as_ptr().cast_mut().cast();
    header.msg_namelen = peer.len();
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_controllen = path.source.map_or(0, |source| source.write(&mut control)) as _;
    header.msg_control = (&raw mut control).cast();
    // SAFETY: what the header points to lives until the end of this function; sendmsg only reads it.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What can be read without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    pub socket: bool,
    pub other: bool,
}

/// Waits until a socket or something else can be read, or for `timeout`.
pub fn wait_for_either(socket: Option<&Socket>, other: BorrowedFd<'_>, timeout: Duration) -> Ready {
    // A negative descriptor is passed over.
    let descriptor = socket.map_or(-1, |socket| socket.as_raw_fd());
    let mut polled = [descriptor, other.as_raw_fd()].map(|descriptor| libc::pollfd {
        fd: descriptor,
        events: libc::POLLIN,
        revents: 0,
    });
    // Rounded up, so that what is waited for is over.
    let timeout_ms = timeout.as_micros().div_ceil(1000) as c_int;
    // SAFETY: the kernel writes to the two entries that live through the call.
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as _, timeout_ms) };
    let is_ready = |at: usize| ready > 0 && polled[at].revents != 0;
    Ready { socket: is_ready(0), other: is_ready(1) }
}

/// Has the kernel tell the address each datagram was sent to, where that is not the socket's own, and how many it
/// dropped.
pub fn prepare(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        _ if !address.ip().is_unspecified() => {}
        SocketAddr::V4(_) => set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?,
        SocketAddr::V6(_) => set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?,
    }
    // Old kernels lack these; nothing but a counter and a defence in depth depends on them.
    let _ = set_option(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
    // Forged "fragmentation needed" must not make us fragment, and so open replies to splicing.
    let _ = match address {
        SocketAddr::V4(_) => {
            set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT)
        }
        SocketAddr::V6(_) => {
            set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT)
        }
    };
    Ok(())
}

fn set_option(socket: &Socket, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the option's value is an int, read within its size.
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

impl Source {
    /// Writes the control message that sends from this address; its length.
    fn write(self, control: &mut Control) -> usize {
        match self.address {
            IpAddr::V4(address) => {
                let info = in_pktinfo {
                    ipi_ifindex: self.interface as c_int,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                write_control(control, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
            }
            IpAddr::V6(address) => {
                let info = in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: address.octets() },
                    ipi6_ifindex: self.interface as _,
                };
                write_control(control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
            }
        }
    }
}

fn write_control<T>(control: &mut Control, level: c_int, kind: c_int, info: T) -> usize {
    let size = size_of::<T>() as libc::c_uint;
    // SAFETY: these compute sizes only.
    let (space, length) = unsafe { (libc::CMSG_SPACE(size) as usize, libc::CMSG_LEN(size)) };
    assert!(space <= CONTROL_SIZE);
    // SAFETY: all-zero bytes are a valid cmsghdr.
    let mut header: cmsghdr = unsafe { mem::zeroed() };
    header.cmsg_len = length as _;
    header.cmsg_level = level;
    header.cmsg_type = kind;
    let start = control.0.as_mut_ptr().cast::<cmsghdr>();
    // SAFETY: `start` is aligned for cmsghdr (Control is to 8) and `space` bytes, checked above, lie behind it.
    unsafe {
        start.write(header);
        libc::CMSG_DATA(start).cast::<T>().write_unaligned(info);
    }
    space
}

/// The local address and the drop counter that came with a datagram.
///
/// # Safety
/// The kernel must have filled in `header`, and the buffers it points to must be unchanged since.
unsafe fn control(header: &msghdr) -> (Option<Source>, Option<u32>) {
    let (mut source, mut drops) = (None, None);
    // SAFETY: the caller vouches for the header.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a header within the control buffer; the kernel
        // puts data of the type that level and type name behind it, cut only when the buffer is full, which
        // CONTROL_SIZE rules out.
        unsafe {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: in_pktinfo = data.cast::<in_pktinfo>().read_unaligned();
                    let address = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                    source = Some(Source { address: address.into(), interface: 0 });
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: in6_pktinfo = data.cast::<in6_pktinfo>().read_unaligned();
                    let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    let interface =
                        if address.is_unicast_link_local() { info.ipi6_ifindex as u32 } else { 0 };
                    // What was sent to a group cannot be answered from the group.
                    source =
                        (!address.is_multicast()).then_some(Source { address: address.into(), interface });
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => drops = Some(data.cast::<u32>().read_unaligned()),
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    (source, drops)
}

fn socket_address(peer: &sockaddr_storage, length: socklen_t) -> Option<SocketAddr> {
    let length = length as usize;
    match c_int::from(peer.ss_family) {
        libc::AF_INET if length >= size_of::<sockaddr_in>() => {
            // SAFETY: sockaddr_storage is aligned and large enough for it, and the kernel wrote all of it.
            let peer = unsafe { &*ptr::from_ref(peer).cast::<sockaddr_in>() };
            let address = Ipv4Addr::from(peer.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(address, u16::from_be(peer.sin_port)).into())
        }
        libc::AF_INET6 if length >= size_of::<sockaddr_in6>() => {
            // SAFETY: as above.
            let peer = unsafe { &*ptr::from_ref(peer).cast::<sockaddr_in6>() };
            let address = Ipv6Addr::from(peer.sin6_addr.s6_addr);
            let port = u16::from_be(peer.sin6_port);
            Some(SocketAddrV6::new(address, port, peer.sin6_flowinfo, peer.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// # Safety
/// `slot` must point to a slot.
unsafe fn header(slot: *mut Slot, part: *mut iovec, control: *mut Control) -> mmsghdr {
    // SAFETY: all-zero bytes are a valid mmsghdr.
    let mut header: mmsghdr = unsafe { mem::zeroed() };
    // SAFETY: the caller vouches for `slot`; only the address is taken.
    header.msg_hdr.msg_name = unsafe { &raw mut (*slot).peer }.cast();
    header.msg_hdr.msg_namelen = size_of::<sockaddr_storage>() as socklen_t;
    header.msg_hdr.msg_iov = part;
    header.msg_hdr.msg_iovlen = 1;
    header.msg_hdr.msg_control = control.cast();
    header.msg_hdr.msg_controllen = CONTROL_SIZE as _;
    header
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};

    use super::*;

    fn socket(address: &str) -> (Socket, SocketAddr) {
        let address: SocketAddr = address.parse().unwrap();
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).unwrap();
        prepare(&socket, address).unwrap();
        socket.bind(&address.into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    /// A socket that is told where each datagram was sent to, and where to send them.
    fn any_address() -> (Socket, SocketAddr) {
        let (server, address) = socket("0.0.0.0:0");
        (server, ([127, 0, 0, 1], address.port()).into())
    }

    #[test]
    fn a_reply_that_cannot_be_sent_does_not_stop_the_others() {
        let (server, address) = any_address();
        let clients: Vec<_> = (0..3).map(|_| socket("127.0.0.1:0").0).collect();
        for client in &clients {
            client.send_to(b"question", &address.into()).unwrap();
        }
        let mut batch = Batch::new();
        assert_eq!(batch.receive(&server, Wait::ForOne).unwrap(), 3);
        for index in 0..3 {
            let datagram = batch.datagram(index).unwrap();
            assert_eq!((datagram.message, datagram.size), (&b"question"[..], Size::Whole));
            datagram.reply[0] = index as u8;
            if index == 1 {
                // SAFETY: the slot is one of the batch. No host sends from TEST-NET-1.
                unsafe { (*batch.slot(index)).source.as_mut().unwrap().address = [192, 0, 2, 1].into() };
            }
            batch.queue(index, 1);
        }
        assert_eq!(batch.send(&server), Sent { replies: 2, failures: 1 });
        let mut buffer = [MaybeUninit::uninit(); 16];
        assert_eq!(clients[0].recv(&mut buffer).unwrap(), 1);
        assert_eq!(clients[2].recv(&mut buffer).unwrap(), 1);
        // SAFETY: one byte was received.
        assert_eq!(unsafe { buffer[0].assume_init() }, 2);
        assert_eq!(batch.receive(&server, Wait::No).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn buffers_are_as_new_for_each_batch() {
        let (server, address) = any_address();
        let (client, client_address) = socket("127.0.0.1:0");
        let mut batch = Batch::new();
        for round in 1..=3 {
            for length in 1..=round * 40 {
                client.send_to(&vec![7; length], &address.into()).unwrap();
            }
            let mut expected = 1;
            while let Ok(received) = batch.receive(&server, Wait::No) {
                assert!(received <= BATCH);
                for index in 0..received {
                    let datagram = batch.datagram(index).unwrap();
                    assert_eq!(datagram.message, vec![7; expected]);
                    assert_eq!(datagram.path.peer, client_address);
                    assert_eq!(datagram.path.source.unwrap().address, address.ip());
                    expected += 1;
                }
            }
            assert_eq!(expected, round * 40 + 1);
        }
    }

    #[test]
    fn one_message_goes_back_the_way_it_came() {
        let (server, address) = socket("0.0.0.0:0");
        let (client, _) = socket("127.0.0.1:0");
        let asked: SocketAddr = ([127, 0, 0, 9], address.port()).into();
        client.send_to(b"question", &asked.into()).unwrap();
        let mut batch = Batch::new();
        batch.receive(&server, Wait::ForOne).unwrap();
        let path = batch.datagram(0).unwrap().path;
        send_one(&server, b"reply", &path).unwrap();
        let mut buffer = [MaybeUninit::uninit(); 16];
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((length, from.as_socket()), (5, Some(asked)));
    }
}
