//! The floor: a responder that reads 64 queries, appends a finished answer to each and sends them, and looks nothing up.

use std::io::{self, ErrorKind};
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{iovec, mmsghdr, sockaddr_storage, socklen_t};

use crate::zones::{MAILBOX, SERVER, SOA_NUMBERS, SOA_TTL_SECS, TTL_SECS};

pub const A: u16 = 1;
pub const NS: u16 = 2;
pub const SOA: u16 = 6;
pub const AAAA: u16 = 28;

/// What is read and sent at once.
const BATCH: usize = 64;
pub const HEADER: usize = 12;
pub const OPT: [u8; 11] = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];

/// Room for a query and the answer behind it.
pub const MESSAGE_SIZE: usize = 1024;
/// More than any query of ours has; what is longer is dropped, so that the answer fits.
const QUERY_SIZE_MAX: usize = 512;

/// A query that becomes its reply, and who asked.
struct Slot {
    message: [u8; MESSAGE_SIZE],
    peer: sockaddr_storage,
}

/// Records as they are appended, but for an address and for the owner.
struct Finished {
    address: Vec<u8>,
    soa: Vec<u8>,
    no_such: Vec<u8>,
    name_server: Vec<u8>,
}

/// Answers on an address until it is killed, with a fault or none.
pub fn serve(address: SocketAddr, fault: Option<Fault>) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    let finished = Finished::new();
    let mut responder = Responder::new();
    loop {
        responder.turn(&socket, libc::MSG_WAITFORONE, |message, length| {
            let length = finished.reply(message, length);
            fault.map_or(length, |fault| fault.spoil(message, length))
        })?;
    }
}

/// How a reply can be wrong: what `check` must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    Address,
    Rcode,
    NotAuthoritative,
    Truncated,
    Id,
    Question,
    NoAnswer,
    Length,
    Silence,
}

impl Fault {
    /// Whether the generator sees it, which reads headers only.
    pub fn is_in_header(self) -> bool {
        matches!(self, Fault::Rcode | Fault::Truncated | Fault::NoAnswer)
    }

    /// Makes a right reply a wrong one; its length.
    fn spoil(self, message: &mut [u8; MESSAGE_SIZE], length: usize) -> usize {
        match self {
            Fault::Address => message[length - 1] ^= 1,
            Fault::Rcode => message[3] ^= 2,
            Fault::NotAuthoritative => message[2] &= !0x04,
            Fault::Truncated => message[2] |= 0x02,
            Fault::Id => message[1] ^= 1,
            Fault::Question => message[HEADER + 1] ^= 1,
            Fault::NoAnswer => message[7] = 0,
            Fault::Length => return length - 1,
            Fault::Silence => return 0,
        }
        length
    }
}

/// Room for queries that are read with one call and answered with one.
pub struct Responder {
    slots: Vec<Slot>,
    parts: Vec<iovec>,
    headers: Vec<mmsghdr>,
}

impl Responder {
    pub fn new() -> Responder {
        // SAFETY: zeroes are good bytes, and a good address of no family.
        let mut slots: Vec<Slot> = (0..BATCH).map(|_| unsafe { mem::zeroed() }).collect();
        let mut parts: Vec<iovec> = slots
            .iter_mut()
            .map(|slot| iovec { iov_base: slot.message.as_mut_ptr().cast(), iov_len: QUERY_SIZE_MAX })
            .collect();
        // SAFETY: zeroes are a good header without buffers.
        let mut headers: Vec<mmsghdr> = (0..BATCH).map(|_| unsafe { mem::zeroed() }).collect();
        for ((header, slot), part) in headers.iter_mut().zip(&mut slots).zip(&mut parts) {
            header.msg_hdr.msg_name = (&raw mut slot.peer).cast();
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
        }
        Responder { slots, parts, headers }
    }

    /// Answers what is there; `reply` makes a query its reply and tells the length, 0 for none. How many were read.
    pub fn turn(
        &mut self,
        socket: &UdpSocket,
        flags: libc::c_int,
        mut reply: impl FnMut(&mut [u8; MESSAGE_SIZE], usize) -> usize,
    ) -> io::Result<usize> {
        for (header, part) in self.headers.iter_mut().zip(&mut self.parts) {
            header.msg_hdr.msg_namelen = size_of::<sockaddr_storage>() as socklen_t;
            part.iov_len = QUERY_SIZE_MAX;
        }
        // SAFETY: the headers lead to slots and parts, which live on the heap as long as `self`.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                flags as _,
                ptr::null_mut(),
            )
        };
        let Ok(received) = usize::try_from(received) else {
            return match io::Error::last_os_error() {
                error if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => Ok(0),
                error => Err(error),
            };
        };
        for index in 0..received {
            let length = self.headers[index].msg_len as usize;
            self.parts[index].iov_len = reply(&mut self.slots[index].message, length);
        }
        let mut next = 0;
        while next < received {
            if self.parts[next].iov_len == 0 {
                next += 1;
                continue;
            }
            let count = self.parts[next..received].iter().take_while(|part| part.iov_len > 0).count();
            // SAFETY: as above.
            let sent =
                unsafe { libc::sendmmsg(socket.as_raw_fd(), &raw mut self.headers[next], count as u32, 0) };
            // One that cannot be sent is lost.
            next += usize::try_from(sent).unwrap_or(1).max(1);
        }
        Ok(received)
    }
}

impl Finished {
    fn new() -> Finished {
        let mut soa = [name(SERVER), name(MAILBOX)].concat();
        soa.extend(SOA_NUMBERS.iter().flat_map(|number| number.to_be_bytes()));
        Finished {
            address: record(A, TTL_SECS, &[0; 4]),
            soa: record(SOA, SOA_TTL_SECS, &soa),
            // RFC 2308 §3: the lesser of the SOA's TTL and its minimum.
            no_such: record(SOA, SOA_NUMBERS[4], &soa),
            name_server: record(NS, SOA_TTL_SECS, &name(SERVER)),
        }
    }

    /// Makes the reply of a query in its place; its length, or 0 for what is no query of ours.
    fn reply(&self, message: &mut [u8; MESSAGE_SIZE], length: usize) -> usize {
        let Some(end) = name_end(&message[..length]) else { return 0 };
        let rtype = u16::from_be_bytes([message[end + 1], message[end + 2]]);
        let is_missing = message[HEADER + 1..].starts_with(b"nope-");
        let is_answer = !is_missing && rtype != AAAA;
        // QR and AA beside RD.
        message[2] |= 0x84;
        message[3] = if is_missing { 3 } else { 0 };
        message[if is_answer { 7 } else { 9 }] = 1;
        let record = match rtype {
            _ if !is_answer => &self.no_such,
            A => &self.address,
            SOA => &self.soa,
            _ => &self.name_server,
        };
        // The apex is one label above a name that is not there.
        let owner = if is_answer { HEADER } else { HEADER + 1 + usize::from(message[HEADER]) };
        let start = end + 5;
        let mut end = start + record.len();
        message[start..end].copy_from_slice(record);
        message[start + 1] = owner as u8;
        if is_answer && rtype == A {
            // The owner tells the address: acct-00001.
            let label = &message[HEADER + 1..][..usize::from(message[HEADER])];
            let number = number(label);
            message[end - 4..end].copy_from_slice(&(0x0a00_0000 | number).to_be_bytes());
        }
        if message[11] == 1 {
            message[end..end + OPT.len()].copy_from_slice(&OPT);
            end += OPT.len();
        }
        end
    }
}

/// Where the name of the question ends in a byte of zero; `None` for what is no query.
pub fn name_end(query: &[u8]) -> Option<usize> {
    let mut end = HEADER;
    while *query.get(end)? != 0 {
        end += 1 + usize::from(query[end]);
    }
    (end + 5 <= query.len()).then_some(end)
}

/// The number that a name's first label ends in.
pub fn number(label: &[u8]) -> u32 {
    let digits = label.iter().skip_while(|byte| !byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u32::from(digit.wrapping_sub(b'0')))
}

/// A record behind a pointer whose end is set later.
pub fn record(rtype: u16, ttl_secs: u32, data: &[u8]) -> Vec<u8> {
    let mut record = vec![0xc0, 0];
    record.extend_from_slice(&rtype.to_be_bytes());
    record.extend_from_slice(&1u16.to_be_bytes());
    record.extend_from_slice(&ttl_secs.to_be_bytes());
    record.extend_from_slice(&u16::try_from(data.len()).expect("it is short").to_be_bytes());
    record.extend_from_slice(data);
    record
}

/// A name in wire form.
pub fn name(text: &str) -> Vec<u8> {
    let parts = text.trim_end_matches('.').split('.');
    let mut wire: Vec<u8> = parts
        .flat_map(|part| [&[u8::try_from(part.len()).expect("a label is short")], part.as_bytes()].concat())
        .collect();
    wire.push(0);
    wire
}
