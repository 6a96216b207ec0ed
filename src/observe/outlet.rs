//! The way from the reader of events to one who writes them elsewhere and may be slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::counters::Tally;

/// Bytes that wait for one writer: some seconds of a busy server. What comes beyond them is dropped and counted.
pub(super) const QUEUE_BYTES_MAX: usize = 8 << 20;

/// Items are handed over in pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;

/// What is handed over.
pub(super) enum Order {
    Write(Piece),
    /// Open the file anew: it may have been renamed.
    Reopen,
}

/// Some items, to be written one behind the other.
#[derive(Default)]
pub(super) struct Piece {
    pub bytes: Vec<u8>,
    pub items: u64,
}

/// Takes items for a writer.
pub(super) struct Outlet {
    orders: mpsc::UnboundedSender<Order>,
    piece: Piece,
    tally: Arc<dyn Tally>,
    queued: Arc<AtomicUsize>,
}

/// The writer's end.
pub(super) struct Inlet {
    orders: mpsc::UnboundedReceiver<Order>,
    pub tally: Arc<dyn Tally>,
    queued: Arc<AtomicUsize>,
}

/// A way that counts what becomes of items.
pub(super) fn outlet(tally: Arc<dyn Tally>) -> (Outlet, Inlet) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let queued = Arc::new(AtomicUsize::new(0));
    let outlet =
        Outlet { orders: sender, piece: Piece::default(), tally: tally.clone(), queued: queued.clone() };
    (outlet, Inlet { orders: receiver, tally, queued })
}

impl Outlet {
    /// Has one item written by `write` behind the others.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.piece.bytes);
        self.piece.items += 1;
        if self.piece.bytes.len() >= PIECE_BYTES {
            self.flush();
        }
    }

    /// Hands over what there is.
    pub fn flush(&mut self) {
        if self.piece.items == 0 {
            return;
        }
        let (items, bytes) = (self.piece.items, self.piece.bytes.len());
        if self.queued.load(Ordering::Relaxed) + bytes > QUEUE_BYTES_MAX {
            self.piece.bytes.clear();
            self.piece.items = 0;
            self.tally.add_dropped(items);
            return;
        }
        self.queued.fetch_add(bytes, Ordering::Relaxed);
        if self.orders.send(Order::Write(std::mem::take(&mut self.piece))).is_err() {
            self.tally.add_dropped(items);
        }
    }

    /// Has the writer open its file anew.
    pub fn reopen(&self) {
        // One that is gone has none.
        let _ = self.orders.send(Order::Reopen);
    }
}

impl Inlet {
    /// The next order; `None` once the outlet is gone and all is taken.
    pub async fn next(&mut self) -> Option<Order> {
        self.orders.recv().await.inspect(|order| self.note_taken(order))
    }

    /// The same for a thread of its own.
    pub fn wait_for_next(&mut self) -> Option<Order> {
        self.orders.blocking_recv().inspect(|order| self.note_taken(order))
    }

    /// Drops all that is left.
    pub fn drop_rest(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            self.note_taken(&order);
            if let Order::Write(piece) = order {
                self.tally.add_dropped(piece.items);
            }
        }
    }

    fn note_taken(&self, order: &Order) {
        if let Order::Write(piece) = order {
            self.queued.fetch_sub(piece.bytes.len(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::counters::LineCounters;
    use super::*;

    fn counted() -> (Outlet, Inlet, Arc<LineCounters>) {
        let counters = Arc::<LineCounters>::default();
        let (outlet, inlet) = outlet(Arc::clone(&counters) as _);
        (outlet, inlet, counters)
    }

    #[test]
    fn a_writer_that_takes_nothing_costs_no_more_than_the_bound_and_the_rest_is_counted() {
        let (mut outlet, mut inlet, counters) = counted();
        let item = vec![b'x'; 1000];
        let all = 2 * QUEUE_BYTES_MAX / item.len();
        for _ in 0..all {
            outlet.push(|bytes| bytes.extend_from_slice(&item));
        }
        outlet.flush();
        outlet.reopen();
        drop(outlet);
        let (mut bytes, mut items, mut reopened) = (0, 0, 0);
        while let Some(order) = inlet.wait_for_next() {
            match order {
                Order::Write(piece) => (bytes, items) = (bytes + piece.bytes.len(), items + piece.items),
                Order::Reopen => reopened += 1,
            }
        }
        assert!((QUEUE_BYTES_MAX - 2 * PIECE_BYTES..=QUEUE_BYTES_MAX).contains(&bytes), "{bytes}");
        assert_eq!((bytes, reopened), (items as usize * item.len(), 1));
        assert_eq!(items + counters.dropped.value(), all as u64);
        assert_eq!(inlet.queued.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_a_writer_leaves_is_dropped_and_counted() {
        let (mut outlet, mut inlet, counters) = counted();
        for _ in 0..3 {
            outlet.push(|bytes| bytes.push(0));
            outlet.flush();
        }
        inlet.drop_rest();
        assert_eq!(counters.dropped.value(), 3);
        drop(inlet);
        outlet.push(|bytes| bytes.push(0));
        outlet.flush();
        assert_eq!(counters.dropped.value(), 4);
    }
}
