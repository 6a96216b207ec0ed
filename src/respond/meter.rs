//! How often something happens for each of many keys, in memory of one size and without a lock.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::quality::RandomState;
use tokio::time::Instant;

/// Places that a key may take; a cache line holds two such sets.
const WAYS: usize = 4;

/// Half a mebibyte in all: more keys at once than that are the oldest's loss.
const SETS: usize = 1 << 14;

/// Bits of a place that hold a time in microseconds, enough for eight years; above them is a part of the key's hash.
const TIME_BITS: u32 = 48;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// What a key that was silent may do at once: as much as in this time.
const BURST: Duration = Duration::from_secs(1);

/// Grants each key so many turns a second, and after a silence as many at once.
///
/// It is the generic cell rate algorithm: of each key only the time is kept at which all that was granted is worn off.
pub(super) struct Meter {
    interval_micros: u64,
    began: Instant,
    places: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Meter {
    /// A meter of at most a million turns a second.
    pub fn new(per_second: u32) -> Meter {
        Meter {
            interval_micros: (1_000_000 / u64::from(per_second.max(1))).max(1),
            began: Instant::now(),
            places: std::iter::repeat_with(AtomicU64::default).take(WAYS * SETS).collect(),
            hasher: RandomState::default(),
        }
    }

    /// Whether a key has a turn left; takes it if so.
    pub fn take(&self, key: impl Hash, now: Instant) -> bool {
        let hash = self.hasher.hash_one(key);
        let set = (hash as usize % SETS) * WAYS;
        let places = &self.places[set..set + WAYS];
        let tag = hash & !TIME_MASK;
        // After the beginning by a burst, so that zero is a time long past.
        let now = now.saturating_duration_since(self.began) + BURST;
        let now = (now.as_micros() as u64).min(TIME_MASK);
        loop {
            let (place, seen) = Meter::place_of(places, tag);
            let worn_off = if seen & !TIME_MASK == tag { (seen & TIME_MASK).max(now) } else { now };
            let next = worn_off + self.interval_micros;
            if next > now + BURST.as_micros() as u64 {
                return false;
            }
            let new = tag | next.min(TIME_MASK);
            if place.compare_exchange_weak(seen, new, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return true;
            }
        }
    }

    /// The place of a key, or the one that wears off first.
    fn place_of(places: &[AtomicU64], tag: u64) -> (&AtomicU64, u64) {
        let mut best = (&places[0], places[0].load(Ordering::Relaxed));
        for place in &places[1..] {
            if best.1 & !TIME_MASK == tag {
                break;
            }
            let seen = place.load(Ordering::Relaxed);
            if seen & !TIME_MASK == tag || seen & TIME_MASK < best.1 & TIME_MASK {
                best = (place, seen);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_turns_of_a_second_at_once_and_then_as_they_wear_off() {
        let meter = Meter::new(10);
        let start = Instant::now();
        let granted = |from: u64, to: u64, key: u32| {
            (from..to).filter(|ms| meter.take(key, start + Duration::from_millis(*ms))).count()
        };
        assert_eq!((0..50).filter(|_| meter.take(1_u32, start)).count(), 10);
        // One that is refused costs nothing: the next comes when a tenth of a second is over.
        assert_eq!(granted(1, 1001, 1), 10);
        assert_eq!(granted(1001, 2001, 1), 10);
        // Another key has its own.
        assert_eq!((0..50).filter(|_| meter.take(2_u32, start)).count(), 10);
        // After a silence it is as in the beginning, and no more.
        let later = start + Duration::from_secs(60);
        assert_eq!((0..50).filter(|_| meter.take(1_u32, later)).count(), 10);
    }

    #[test]
    fn more_keys_than_places_leave_the_busiest_bounded() {
        let meter = Meter::new(100);
        let start = Instant::now();
        let mut granted = 0;
        for round in 0..2000_u64 {
            let now = start + Duration::from_micros(round * 500);
            granted += usize::from(meter.take(0_u64, now));
            for other in 1..=200 {
                meter.take(round * 200 + other, now);
            }
        }
        // Those of a second at once, and those of the second that it took: what is busy keeps its place.
        assert!((199..=200).contains(&granted), "{granted}");
    }

    #[test]
    fn threads_together_get_no_more_than_one() {
        let meter = Meter::new(1000);
        let now = Instant::now();
        let granted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..2000).filter(|_| meter.take("key", now)).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(granted, 1000);
    }
}
