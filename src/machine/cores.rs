//! Work on many items, shared by all cores.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{iter, thread};

use parking_lot::Mutex;

/// What becomes of each item, in their order, made on as many cores as there are.
pub fn at_once<I: Sync, O: Send>(items: &[I], make: impl Fn(&I) -> O + Sync) -> Vec<O> {
    let mut all = Vec::with_capacity(items.len());
    in_turn(items, make, |made| all.push(made));
    all
}

/// The same, where each is handed to `take` as soon as those before it were: what was made of a million items is then
/// never there twice.
pub fn in_turn<I: Sync, O: Send>(items: &[I], make: impl Fn(&I) -> O + Sync, take: impl FnMut(O) + Send) {
    let (next, taking) = (AtomicUsize::new(0), Mutex::new((Turns::default(), take)));
    let work = || {
        let numbers = iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        for (number, item) in numbers.map_while(|number| Some((number, items.get(number)?))) {
            let made = make(item);
            let (turns, take) = &mut *taking.lock();
            turns.add(number, made);
            while let Some(made) = turns.take() {
                take(made);
            }
        }
    };
    on_all_cores(items.len(), work);
}

/// Does the same on as many threads as there are cores and at most so many, this one among them; answers what each came
/// to.
pub fn on_all_cores<T: Send>(threads_max: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(threads_max);
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(&work)).collect();
        let own = work();
        let others =
            others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        iter::once(own).chain(others).collect()
    })
}

/// Puts what comes in any order, each with its number, into that of the numbers from nought.
pub struct Turns<T> {
    next: usize,
    waiting: BTreeMap<usize, T>,
}

impl<T> Default for Turns<T> {
    fn default() -> Turns<T> {
        Turns { next: 0, waiting: BTreeMap::new() }
    }
}

impl<T> Turns<T> {
    /// Adds one, whose turn may have come.
    pub fn add(&mut self, number: usize, item: T) {
        self.waiting.insert(number, item);
    }

    /// The one whose turn it is, if it has come.
    pub fn take(&mut self) -> Option<T> {
        let item = self.waiting.remove(&self.next)?;
        self.next += 1;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_on_many_cores_comes_in_the_order_of_its_items() {
        let items: Vec<u32> = (0..1000).collect();
        assert_eq!(at_once(&items, |item| item * 2), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert!(at_once(&[], |item: &u32| *item).is_empty());
    }

    #[test]
    fn each_waits_for_its_turn() {
        let mut turns = Turns::default();
        turns.add(1, 'b');
        assert_eq!(turns.take(), None);
        turns.add(0, 'a');
        turns.add(2, 'c');
        assert_eq!(
            [turns.take(), turns.take(), turns.take(), turns.take()],
            [Some('a'), Some('b'), Some('c'), None]
        );
    }
}
