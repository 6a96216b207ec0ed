//! The UDP generator: so many questions in flight that the server's core has always work, or questions at a pace for latency.
//!
//! It never sleeps in the kernel, so no server pays for waking it.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use libc::{c_int, c_void, iovec, mmsghdr, msghdr};

use crate::cpu::Cpu;
use crate::machine;
use crate::questions::{Burst, Questions, RUN, Right};

/// Sockets, each with a port of its own.
const LANES: usize = 4;

/// Questions in flight on a socket: four sockets keep a queue of a thousand before the server, more than any of them reads at once.
const IN_FLIGHT_MAX: usize = 256;

/// So many small datagrams wait in a socket; the kernel takes 768 bytes and more for each.
pub const SOCKET_BUFFER_BYTES: c_int = 4 << 20;

/// Silence after which all that is in flight is lost.
const LOST_AFTER: Duration = Duration::from_millis(300);

/// Of a reply only the header is read.
const HEADER: usize = 12;

/// How the questions of a run are handed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sending {
    /// UDP_SEGMENT: cheapest; a server that reads with UDP_GRO would get them in one piece, as from no real clients.
    Gso,
    /// sendmmsg: each by itself.
    Each,
}

/// What became of questions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub sent: u64,
    /// Right replies, as far as their headers tell.
    pub answered: u64,
    pub wrong: u64,
    pub lost: u64,
    /// Replies to nothing that is in flight.
    pub stray: u64,
    /// The header of a wrong reply and what it should have said.
    pub example: Option<([u8; HEADER], Right)>,
}

/// What was counted while the server's core was full.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// Over the whole run, with warm-up and end.
    pub whole: Tally,
    /// Answers within the measured window.
    pub answered: u64,
    pub took: Duration,
    /// Of the server.
    pub cpu: Cpu,
    /// Of anything else on the server's core.
    pub foreign: Duration,
}

/// How long answers took, sorted, and what was lost.
#[derive(Debug)]
pub struct Paced {
    pub took: Vec<Duration>,
    pub tally: Tally,
}

/// How to measure one server.
#[derive(Clone, Copy)]
pub struct Target<'t> {
    pub address: SocketAddr,
    pub processes: &'t [u32],
    /// Where the server runs.
    pub core: usize,
    pub sending: Sending,
}

/// Keeps the server's core full for `warm_up` and then for `window`, in which it counts.
pub fn flood(
    target: Target<'_>,
    questions: &mut Questions,
    warm_up: Duration,
    window: Duration,
) -> anyhow::Result<Flood> {
    let mut lanes = (0..LANES).map(|_| Lane::to(target.address)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut replies = Replies::new();
    let mut tally = Tally::default();
    let mut round = |tally: &mut Tally, sending: Option<&mut Questions>| -> anyhow::Result<()> {
        let mut sending = sending;
        let mut is_quiet = true;
        for lane in &mut lanes {
            if let Some(questions) = sending.as_deref_mut()
                && lane.in_flight + RUN <= IN_FLIGHT_MAX
            {
                lane.send(questions.burst(), target.sending, tally)?;
            }
            is_quiet &= lane.receive(&mut replies, tally)? == 0;
        }
        replies.is_quiet(is_quiet, || lanes.iter_mut().for_each(|lane| lane.give_up(tally)));
        Ok(())
    };
    let read = || (Cpu::of(target.processes), Cpu::of_core(target.core), Instant::now());
    let begun = Instant::now();
    while begun.elapsed() < warm_up {
        round(&mut tally, Some(questions))?;
    }
    let (before, (cpu, core, begun)) = (tally, read());
    machine::go_on()?;
    while begun.elapsed() < window {
        round(&mut tally, Some(questions))?;
    }
    let (after, (cpu_after, core_after, ended)) = (tally, read());
    machine::go_on()?;
    while tally.answered + tally.wrong + tally.lost < tally.sent {
        round(&mut tally, None)?;
    }
    let cpu = cpu_after - cpu;
    Ok(Flood {
        whole: tally,
        answered: after.answered - before.answered,
        took: ended - begun,
        cpu,
        foreign: (core_after - core).saturating_sub(cpu.all()),
    })
}

/// Asks one question after the other at a rate, whether or not answers come.
pub fn pace(
    target: Target<'_>,
    questions: &mut Questions,
    a_second: u32,
    window: Duration,
) -> anyhow::Result<Paced> {
    let mut lane = Lane::to(target.address)?;
    let mut replies = Replies::new();
    let mut tally = Tally::default();
    let mut sent_at = vec![Instant::now(); 1 << 16];
    let mut took = Vec::new();
    let begun = Instant::now();
    let mut due = begun;
    let mut last_sent = begun;
    loop {
        let now = Instant::now();
        if now >= due && due < begun + window {
            let mut burst = questions.burst();
            // Of a run the first: at a pace nothing goes in bursts.
            burst.wire = &mut burst.wire[..burst.length];
            burst.rights = &burst.rights[..1];
            sent_at[usize::from(lane.next)] = now;
            lane.send(burst, Sending::Each, &mut tally)?;
            due += Duration::from_secs(1) / a_second;
            last_sent = now;
            machine::go_on()?;
        }
        let answered = tally.answered;
        lane.receive(&mut replies, &mut tally)?;
        if tally.answered > answered {
            let now = Instant::now();
            took.extend(replies.ids().map(|id| now - sent_at[usize::from(id)]));
        }
        if due >= begun + window {
            if tally.answered + tally.wrong + tally.lost == tally.sent {
                break;
            }
            if last_sent.elapsed() > LOST_AFTER {
                lane.give_up(&mut tally);
            }
        }
    }
    took.sort_unstable();
    Ok(Paced { took, tally })
}

/// A socket and what is in flight on it.
struct Lane {
    socket: UdpSocket,
    /// What the reply with this id shall say, if one is awaited.
    awaited: Vec<Option<Right>>,
    next: u16,
    in_flight: usize,
}

impl Lane {
    fn to(server: SocketAddr) -> anyhow::Result<Lane> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let socket = socket2::Socket::from(socket);
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES as usize)?;
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES as usize)?;
        Ok(Lane { socket: socket.into(), awaited: vec![None; 1 << 16], next: 0, in_flight: 0 })
    }

    fn send(&mut self, burst: Burst<'_>, sending: Sending, tally: &mut Tally) -> anyhow::Result<()> {
        let first = self.next;
        for (query, right) in burst.wire.chunks_exact_mut(burst.length).zip(burst.rights) {
            query[..2].copy_from_slice(&self.next.to_be_bytes());
            if self.awaited[usize::from(self.next)].replace(*right).is_some() {
                // Its id comes round again, a fraction of a second later.
                tally.lost += 1;
                self.in_flight -= 1;
            }
            self.next = self.next.wrapping_add(1);
        }
        let sent = match sending {
            Sending::Gso => segmented(&self.socket, burst.wire, burst.length),
            Sending::Each => each(&self.socket, burst.wire, burst.length),
        };
        let count = burst.rights.len();
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error).context("the server takes no questions"),
        };
        // What the kernel did not take was not asked.
        for index in sent..count {
            self.awaited[usize::from(first.wrapping_add(index as u16))] = None;
        }
        self.next = first.wrapping_add(sent as u16);
        self.in_flight += sent;
        tally.sent += sent as u64;
        Ok(())
    }

    /// Counts what has come; how many it was.
    fn receive(&mut self, replies: &mut Replies, tally: &mut Tally) -> anyhow::Result<usize> {
        let mut all = 0;
        loop {
            let received = replies.read(&self.socket)?;
            all += received;
            for reply in &replies.headers[..received] {
                let id = usize::from(u16::from_be_bytes([reply[0], reply[1]]));
                let Some(right) = self.awaited[id].take() else {
                    tally.stray += 1;
                    continue;
                };
                self.in_flight -= 1;
                // QR is set, TC is clear.
                let is_whole = reply[2] & 0x82 == 0x80;
                let is_right = is_whole
                    && reply[3] & 15 == right.rcode()
                    && [reply[6], reply[7]] == right.answers().to_be_bytes();
                if is_right {
                    tally.answered += 1;
                } else {
                    tally.wrong += 1;
                    tally.example = Some((*reply, right));
                }
            }
            if received < RUN {
                return Ok(all);
            }
        }
    }

    /// Waits for nothing any more.
    fn give_up(&mut self, tally: &mut Tally) {
        if self.in_flight > 0 {
            self.awaited.fill(None);
            tally.lost += self.in_flight as u64;
            self.in_flight = 0;
        }
    }
}

/// Room for the headers of replies that are read with one call.
struct Replies {
    headers: Box<[[u8; HEADER]; RUN]>,
    parts: Vec<iovec>,
    messages: Vec<mmsghdr>,
    received: usize,
    quiet_since: Option<Instant>,
}

impl Replies {
    fn new() -> Replies {
        let mut headers = Box::new([[0; HEADER]; RUN]);
        let mut parts: Vec<iovec> = headers
            .iter_mut()
            .map(|header| iovec { iov_base: header.as_mut_ptr().cast(), iov_len: HEADER })
            .collect();
        let messages = parts.iter_mut().map(header).collect();
        Replies { headers, parts, messages, received: 0, quiet_since: None }
    }

    /// Reads what is there, up to a run.
    fn read(&mut self, socket: &UdpSocket) -> anyhow::Result<usize> {
        debug_assert_eq!(self.parts.len(), RUN);
        self.received = 0;
        // SAFETY: the messages lead through `parts` to `headers`, which live on the heap as long as `self`.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.messages.as_mut_ptr(),
                RUN as u32,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        match usize::try_from(received) {
            Ok(received) => self.received = received,
            Err(_) => match io::Error::last_os_error() {
                error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                error => bail!("the server is gone: {error}"),
            },
        }
        Ok(self.received)
    }

    /// The ids of what was read last.
    fn ids(&self) -> impl Iterator<Item = u16> {
        self.headers[..self.received].iter().map(|reply| u16::from_be_bytes([reply[0], reply[1]]))
    }

    /// Has all in flight given up after a long silence.
    fn is_quiet(&mut self, is_quiet: bool, give_up: impl FnOnce()) {
        if !is_quiet {
            self.quiet_since = None;
        } else if self.quiet_since.get_or_insert_with(Instant::now).elapsed() > LOST_AFTER {
            self.quiet_since = None;
            give_up();
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
