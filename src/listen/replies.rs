//! Replies on their way out: a batch with one system call, or one that waited longer than others.

use std::io::{self, IoSlice};
use std::slice;

use smallvec::SmallVec;
use socket2::Socket;

use crate::net::{Address, Control, DATAGRAM_SIZE_MAX, Letter, Outgoing, ReturnPath, STRIDE, Wait};

/// Datagrams a system call; past 64 the call itself no longer counts beside the kernel's work on each.
pub const BATCH: usize = 64;

/// Room for a batch of replies.
pub struct Replies {
    bytes: Vec<u8>,
    queued: Vec<Queued>,
    outgoing: Outgoing,
}

/// A reply that is to be sent.
struct Queued {
    at: usize,
    length: usize,
    to: Address,
    control: Control,
}

/// What became of the replies of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub replies: usize,
    pub failures: usize,
}

impl Replies {
    pub fn new() -> Replies {
        Replies {
            bytes: vec![0; BATCH * STRIDE],
            queued: Vec::with_capacity(BATCH),
            outgoing: Outgoing::new(BATCH),
        }
    }

    /// Room for the next reply, which `add` queues; the batch is sent before it is full.
    pub fn room(&mut self) -> &mut [u8] {
        self.room_at(self.queued.len())
    }

    /// Queues the first `length` bytes of that room.
    pub fn add(&mut self, length: usize, path: &ReturnPath) {
        self.queue(self.queued.len(), length, path);
    }

    /// The room at one of the places of a batch.
    pub fn room_at(&mut self, index: usize) -> &mut [u8] {
        &mut self.bytes[index * STRIDE..][..DATAGRAM_SIZE_MAX]
    }

    /// Queues the first `length` bytes of the room at a place.
    pub fn queue(&mut self, at: usize, length: usize, path: &ReturnPath) {
        assert!(at < BATCH && length <= DATAGRAM_SIZE_MAX && self.queued.len() < BATCH);
        let control = path.source.map_or(Control::NONE, Control::from_source);
        self.queued.push(Queued { at, length, to: path.peer.into(), control });
    }

    /// Whether what is queued must be sent before there is room again.
    pub fn is_full(&self) -> bool {
        self.queued.len() == BATCH
    }

    /// Forgets what is queued.
    pub fn clear(&mut self) {
        self.queued.clear();
    }

    /// Sends what was queued; a reply that cannot be sent does not stop the others.
    pub fn send(&mut self, socket: &Socket) -> Sent {
        let part = |reply: &Queued| IoSlice::new(&self.bytes[reply.at * STRIDE..][..reply.length]);
        let parts: SmallVec<[IoSlice<'_>; BATCH]> = self.queued.iter().map(part).collect();
        let mut sent = Sent::default();
        while sent.replies + sent.failures < self.queued.len() {
            let rest = self.queued.iter().zip(&parts).skip(sent.replies + sent.failures);
            let letters = rest.map(|(reply, part)| letter(slice::from_ref(part), &reply.to, &reply.control));
            let (replies, result) = self.outgoing.send(socket, letters, Wait::ForOne);
            sent.replies += replies;
            sent.failures += usize::from(result.is_err());
        }
        self.queued.clear();
        sent
    }
}

/// Sends one reply if the kernel has room for it.
pub fn send_one(socket: &Socket, reply: &[u8], path: &ReturnPath) -> io::Result<()> {
    let (to, control) = (path.peer.into(), path.source.map_or(Control::NONE, Control::from_source));
    let parts = [IoSlice::new(reply)];
    Outgoing::new(1).send(socket, [letter(&parts, &to, &control)].into_iter(), Wait::No).1
}

fn letter<'m>(parts: &'m [IoSlice<'m>], to: &'m Address, control: &'m Control) -> Letter<'m> {
    Letter { parts, to: to.as_bytes(), control: control.as_bytes() }
}
