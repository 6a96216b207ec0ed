//! What carries questions to a server, and which replies it awaits.

use crate::questions::{Burst, Right};

/// Of a reply only the header is judged.
pub const HEADER: usize = 12;

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

/// A socket and what is in flight on it.
pub trait Lane {
    fn awaited(&mut self) -> &mut Awaited;

    /// Asks a run of questions, as many as the kernel takes.
    fn send(&mut self, burst: Burst<'_>, tally: &mut Tally) -> anyhow::Result<()>;

    /// Counts what has come and tells the ids that are answered rightly; how many came.
    fn receive(&mut self, tally: &mut Tally, answered: &mut dyn FnMut(u16)) -> anyhow::Result<usize>;
}

/// The replies that a socket awaits.
pub struct Awaited {
    /// What the reply with this id shall say, if one is awaited.
    rights: Vec<Option<Right>>,
    /// The id of the next question.
    pub next: u16,
    pub in_flight: usize,
}

impl Awaited {
    pub fn new() -> Awaited {
        Awaited { rights: vec![None; 1 << 16], next: 0, in_flight: 0 }
    }

    /// Gives a question its id.
    pub fn ask(&mut self, query: &mut [u8], right: Right, tally: &mut Tally) {
        query[..2].copy_from_slice(&self.next.to_be_bytes());
        if self.rights[usize::from(self.next)].replace(right).is_some() {
            // Its id comes round again, a fraction of a second later.
            tally.lost += 1;
            self.in_flight -= 1;
        }
        self.next = self.next.wrapping_add(1);
        self.in_flight += 1;
        tally.sent += 1;
    }

    /// The last questions were not sent.
    pub fn take_back(&mut self, count: usize, tally: &mut Tally) {
        for _ in 0..count {
            self.next = self.next.wrapping_sub(1);
            self.rights[usize::from(self.next)] = None;
        }
        self.in_flight -= count;
        tally.sent -= count as u64;
    }

    /// Judges a reply by its header; its id if it is right.
    pub fn judge(&mut self, reply: &[u8; HEADER], tally: &mut Tally) -> Option<u16> {
        let id = u16::from_be_bytes([reply[0], reply[1]]);
        let Some(right) = self.rights[usize::from(id)].take() else {
            tally.stray += 1;
            return None;
        };
        self.in_flight -= 1;
        // QR is set, TC is clear.
        let is_right = reply[2] & 0x82 == 0x80
            && reply[3] & 15 == right.rcode()
            && [reply[6], reply[7]] == right.answers().to_be_bytes();
        if is_right {
            tally.answered += 1;
            return Some(id);
        }
        tally.wrong += 1;
        tally.example = Some((*reply, right));
        None
    }

    /// Waits for nothing any more.
    pub fn give_up(&mut self, tally: &mut Tally) {
        if self.in_flight > 0 {
            self.rights.fill(None);
            tally.lost += self.in_flight as u64;
            self.in_flight = 0;
        }
    }
}
