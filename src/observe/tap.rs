//! Where the threads that answer leave what they saw. They copy and go on; one reader looks at it later.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use thread_local::ThreadLocal;

use super::event::Event;

/// Bytes of messages that one thread keeps for the reader: what a busy core answers in a few milliseconds, and the reader
/// is woken at half of it.
const BYTES_MAX: usize = 1 << 20;

/// Events that one thread keeps: as many as those bytes hold of small messages.
const EVENTS_MAX: usize = 8192;

/// The events of all threads until they are read.
#[derive(Default)]
pub struct Tap {
    is_on: AtomicBool,
    // A lock for each thread: none but the reader ever waits for it, for as long as two vectors take to be exchanged.
    batches: ThreadLocal<Mutex<Batch>>,
    reader: ArcSwapOption<Thread>,
}

/// Events with their bytes. No room is taken before the first one.
#[derive(Default)]
pub(super) struct Batch {
    events: Vec<(Event, Lengths)>,
    bytes: Vec<u8>,
    /// Events for which there was no room.
    lost: u64,
}

/// How the bytes of an event divide.
#[derive(Clone, Copy)]
struct Lengths {
    query: u32,
    reply: u32,
    zone: u32,
}

/// An event of a batch, with its bytes.
#[derive(Clone, Copy)]
pub struct Seen<'b> {
    pub event: &'b Event,
    pub query: &'b [u8],
    /// Empty where there is none.
    pub reply: &'b [u8],
    /// The wire form of the domain that the one who was asked answers for; empty where it is not known.
    pub zone: &'b [u8],
}

impl Tap {
    /// Whether anybody wants to know.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Leaves an event for the reader.
    pub fn leave(&self, seen: Seen<'_>) {
        let mut batch = self.batches.get_or_default().lock();
        if batch.push(seen) {
            drop(batch);
            self.wake();
        }
    }

    /// Begins or ends to take events, for a reader or without one.
    pub(super) fn turn(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    /// Has this thread woken when there is much to read.
    pub(super) fn read_by(&self, reader: Thread) {
        self.reader.store(Some(reader.into()));
    }

    /// Wakes the reader.
    pub(super) fn wake(&self) {
        if let Some(reader) = &*self.reader.load() {
            reader.unpark();
        }
    }

    /// Takes what one thread after the other has left. `spare` is exchanged with theirs, so that nobody allocates.
    pub(super) fn take(&self, spare: &mut Batch, mut read: impl FnMut(&Batch)) {
        for batch in &self.batches {
            mem::swap(&mut *batch.lock(), spare);
            read(spare);
            spare.clear();
        }
    }

    /// Gives back all room, once it is off.
    pub(super) fn give_back(&self) {
        self.batches.iter().for_each(|batch| *batch.lock() = Batch::default());
    }
}

impl Batch {
    /// Appends an event if there is room; whether the batch became half full by it.
    fn push(&mut self, seen: Seen<'_>) -> bool {
        let Seen { event, query, reply, zone } = seen;
        if self.events.capacity() == 0 {
            self.events.reserve_exact(EVENTS_MAX);
            self.bytes.reserve_exact(BYTES_MAX);
        }
        let before = self.bytes.len();
        let after = before + query.len() + reply.len() + zone.len();
        if self.events.len() >= EVENTS_MAX || after > BYTES_MAX {
            self.lost += 1;
            return false;
        }
        // No message is longer than 64 KiB.
        let length = |bytes: &[u8]| bytes.len() as u32;
        self.events
            .push((*event, Lengths { query: length(query), reply: length(reply), zone: length(zone) }));
        self.bytes.extend_from_slice(query);
        self.bytes.extend_from_slice(reply);
        self.bytes.extend_from_slice(zone);
        self.events.len() == EVENTS_MAX / 2 || (before < BYTES_MAX / 2 && after >= BYTES_MAX / 2)
    }

    /// The events in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Seen<'_>> {
        let mut rest = self.bytes.as_slice();
        self.events.iter().map(move |(event, lengths)| {
            let mut next = |length: u32| {
                let (bytes, behind) = rest.split_at(length as usize);
                rest = behind;
                bytes
            };
            let (query, reply, zone) = (next(lengths.query), next(lengths.reply), next(lengths.zone));
            Seen { event, query, reply, zone }
        })
    }

    /// How many found no room.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    fn clear(&mut self) {
        self.events.clear();
        self.bytes.clear();
        self.lost = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::made::{event, query, reply};
    use super::*;

    /// Query, length of the reply, zone.
    type Taken = (Vec<u8>, usize, Vec<u8>);

    /// What was left, and how many were lost.
    fn taken(tap: &Tap) -> (Vec<Taken>, u64) {
        let (mut seen, mut lost) = (Vec::new(), 0);
        tap.take(&mut Batch::default(), |batch| {
            lost += batch.lost();
            seen.extend(batch.iter().map(|it| (it.query.to_vec(), it.reply.len(), it.zone.to_vec())));
        });
        (seen, lost)
    }

    #[test]
    fn events_of_all_threads_come_with_their_own_bytes() {
        let tap = Tap::default();
        let event = event();
        let messages = ["a.example.", "long.name.example."].map(query);
        std::thread::scope(|scope| {
            for query in &messages {
                scope.spawn(|| {
                    tap.leave(Seen { event: &event, query, reply: &reply(query, 0), zone: b"\x01z\0" });
                    tap.leave(Seen { event: &event, query, reply: &[], zone: &[] });
                });
            }
        });
        let (mut seen, lost) = taken(&tap);
        seen.sort_by_key(|(query, reply, _)| (query.len(), *reply));
        let expected: Vec<_> = messages
            .iter()
            .flat_map(|it| [(it.clone(), 0, Vec::new()), (it.clone(), it.len(), b"\x01z\0".to_vec())])
            .collect();
        assert_eq!((seen, lost), (expected, 0));
        assert_eq!(taken(&tap).0, []);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_the_reader_is_woken_before() {
        let tap = Tap::default();
        tap.read_by(std::thread::current());
        let (event, long) = (event(), vec![0; 60_000]);
        let room = BYTES_MAX / long.len();
        for _ in 0..room + 3 {
            tap.leave(Seen { event: &event, query: &long, reply: &[], zone: &[] });
        }
        // Returns at once, or the test does not end.
        std::thread::park();
        let (seen, lost) = taken(&tap);
        assert_eq!((seen.len(), lost), (room, 3));
        for _ in 0..=EVENTS_MAX {
            tap.leave(Seen { event: &event, query: &[], reply: &[], zone: &[] });
        }
        std::thread::park();
        assert_eq!(taken(&tap), (vec![(Vec::new(), 0, Vec::new()); EVENTS_MAX], 1));
    }

    #[test]
    fn room_is_taken_with_the_first_event_and_given_back() {
        let tap = Tap::default();
        assert!(!tap.is_on() && tap.batches.iter().count() == 0);
        tap.leave(Seen { event: &event(), query: &[], reply: &[], zone: &[] });
        tap.give_back();
        assert!(tap.batches.iter().all(|batch| batch.lock().events.capacity() == 0));
    }
}
