//! How much of a bounded number of places one may have, when others want some too.
//!
//! Each may have a multiple of what is free just then (dynamic thresholds; Choudhury and Hahne, 1998). One who is alone
//! has nearly all. The more want much, the less is free and the less each may have; the heaviest are refused first, and
//! something is always free for who comes next. It takes two numbers and no search, however many attack.

/// How many times what is free one may have: alone sixteen parts of seventeen.
const GREED: usize = 16;

/// The same of a part that is shared itself: alone four parts of five. What is left must do for all others.
const PART_GREED: usize = 4;

/// The part of all places, as one of so many, that is kept for those who have less than `FLOOR`.
const KEPT_PART: usize = 16;

/// A bounded number of places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pool {
    pub max: usize,
    pub taken: usize,
}

impl Pool {
    /// Places that each may have before any is kept from it.
    pub const FLOOR: usize = 64;

    /// Whether there is a place at all.
    pub fn has_room(self) -> bool {
        self.taken < self.max
    }

    /// Whether one who has `own` of the places may have one more.
    pub fn grants(self, own: usize) -> bool {
        let kept = if own < Pool::FLOOR { 0 } else { self.max / KEPT_PART };
        own < GREED * self.free().saturating_sub(kept)
    }

    /// The same for one who stands for many: nothing but the kept part bounds it.
    pub fn grants_exempt(self, own: usize) -> bool {
        self.grants(own) || self.free() > self.max / KEPT_PART
    }

    /// A part of the pool that is shared itself, and has `own` of the places.
    pub fn part(self, own: usize) -> Pool {
        // So many that it has as many times what it leaves free: a number that its own growth does not change.
        let others = self.taken - own;
        let max =
            if own < Pool::FLOOR { self.max } else { (self.max - others) * PART_GREED / (PART_GREED + 1) };
        Pool { max, taken: own }
    }

    fn free(self) -> usize {
        self.max.saturating_sub(self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has each of `count` take what it gets, in turn, until none gets more.
    fn settled(max: usize, count: usize) -> (Vec<usize>, Pool) {
        let (mut owned, mut pool) = (vec![0; count], Pool { max, taken: 0 });
        loop {
            let before = pool;
            for own in &mut owned {
                if pool.has_room() && pool.grants(*own) {
                    *own += 1;
                    pool.taken += 1;
                }
            }
            if pool == before {
                return (owned, pool);
            }
        }
    }

    #[test]
    fn one_alone_has_nearly_all_and_many_have_the_same() {
        let (owned, _) = settled(4096, 1);
        assert!(owned[0] > 4096 * 3 / 4, "{owned:?}");
        for count in [2, 5, 20, 60] {
            let (owned, pool) = settled(4096, count);
            let (least, most) = (owned.iter().min().unwrap(), owned.iter().max().unwrap());
            assert!(most - least <= 1 && *least >= Pool::FLOOR.min(4096 / 2 / count), "{count}: {owned:?}");
            assert!(pool.taken > 4096 * 3 / 4, "{count}: {pool:?}");
        }
    }

    #[test]
    fn whoever_comes_next_gets_the_floor_however_many_are_heavy() {
        for count in [1, 3, 10, 30, 50] {
            let (_, mut pool) = settled(4096, count);
            for own in 0..Pool::FLOOR {
                assert!(pool.has_room() && pool.grants(own), "{count} heavy, {own} own: {pool:?}");
                pool.taken += 1;
            }
        }
    }

    #[test]
    fn one_who_stands_for_many_leaves_the_kept_part_alone() {
        let mut pool = Pool { max: 4096, taken: 0 };
        while pool.grants_exempt(pool.taken) {
            pool.taken += 1;
        }
        assert_eq!(pool.taken, 4096 - 4096 / KEPT_PART);
        assert!(pool.grants(Pool::FLOOR - 1));
    }

    #[test]
    fn a_small_pool_is_taken_to_its_end() {
        for max in 1..=8 {
            let mut pool = Pool { max, taken: 0 };
            while pool.has_room() {
                assert!(pool.grants(pool.taken));
                pool.taken += 1;
            }
            assert!(!pool.grants(0) && !pool.grants_exempt(0));
        }
    }
}
