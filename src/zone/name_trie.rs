//! A persistent map from names of one zone: a change copies a few short arrays, never the whole.
//!
//! A hash trie of 64 branches a level whose leaves are short arrays. Some neighbouring branches share a leaf until it
//! is full, so that leaves are more than half full however many names there are. At a million names a look-up passes
//! three branches, then touches the leaf's tags and one entry; a change copies the branches and the leaf: some
//! microseconds.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::front::Front;
use crate::machine::prefetch;

const FAN_OUT_BITS: u32 = 6;
const FAN_OUT: usize = 1 << FAN_OUT_BITS;
/// A leaf with as many entries is split; copying one stays short, and a word has a bit for each entry.
const LEAF_ENTRIES_MAX: usize = 64;
/// Leaves grow by so many entries at once: at a million names a byte reserved for nothing counts.
const LEAF_GROWTH: usize = 4;
/// Tags use the lowest and the highest bits, branches those between.
const FIRST_BIT: u32 = 12;
const LEVELS_MAX: u32 = 7;

/// A map from names, by their labels in front of the apex, that shares what did not change with its older versions.
#[derive(Clone)]
pub struct NameTrie<V> {
    root: Part<V>,
    length: usize,
}

/// What lies where is told here and not there, so that a look-up that looks ahead need not touch the leaf.
enum Part<V> {
    Leaf(Arc<Leaf<V>>),
    Branch(Arc<Branch<V>>),
}

/// Entries in no order. With more than `LEAF_ENTRIES_MAX`, whose hashes are alike then, the others have no tags.
#[derive(Clone)]
struct Leaf<V> {
    tags: [u16; LEAF_ENTRIES_MAX],
    entries: Vec<(Front, V)>,
}

/// Parts of which each stands for a run of a power of two of slots.
#[derive(Clone)]
struct Branch<V> {
    /// The part of each slot.
    index: [u8; FAN_OUT],
    parts: Vec<Part<V>>,
}

/// The way to a name that will be asked for soon. It is gone in steps, of which each asks for the memory that the next
/// one reads, so that for many names it is waited for at once.
pub struct Way<'t, V> {
    hash: u64,
    level: u32,
    at: Step<'t, V>,
}

/// How far a way is gone.
enum Step<'t, V> {
    Part(&'t Part<V>),
    /// The leaf, and its entries that may be the name.
    Entries(&'t Leaf<V>, u64),
}

fn hash(front: &[u8]) -> u64 {
    FixedState::with_seed(0x7072_6976_6174_656c).hash_one(front)
}

fn slot(hash: u64, level: u32) -> usize {
    (hash >> (FIRST_BIT + level * FAN_OUT_BITS)) as usize & (FAN_OUT - 1)
}

/// What is compared before a name is.
fn tag(hash: u64) -> u16 {
    (hash & 0xFFF | hash >> 60 << 12) as u16
}

/// A bit for each of the tags that is this one.
#[cfg(target_arch = "x86_64")]
fn equal_to(tags: &[u16; LEAF_ENTRIES_MAX], tag: u16) -> u64 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16,
    };
    let (eights, _) = tags.as_chunks::<8>();
    let (sixteens, _) = eights.as_chunks::<2>();
    sixteens.iter().rev().fold(0, |bits, [low, high]| {
        // SAFETY: every x86_64 processor has SSE2; the two loads read 8 tags of 16 bits each, from where they lie.
        let mask = unsafe {
            let wanted = _mm_set1_epi16(tag as i16);
            let [low, high] = [low, high]
                .map(|eight| _mm_cmpeq_epi16(_mm_loadu_si128(eight.as_ptr().cast::<__m128i>()), wanted));
            // Equal is -1, which stays -1 in a byte.
            _mm_movemask_epi8(_mm_packs_epi16(low, high))
        };
        bits << 16 | mask as u64
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn equal_to(tags: &[u16; LEAF_ENTRIES_MAX], tag: u16) -> u64 {
    tags.iter().rev().fold(0, |bits, other| bits << 1 | u64::from(*other == tag))
}

/// Where a name stands among all others: by the branches that lead to it, so that splitting a leaf moves nobody.
fn place(hash: u64) -> u64 {
    (0..LEVELS_MAX).fold(0, |place, level| place << FAN_OUT_BITS | slot(hash, level) as u64)
}

impl<V> Default for NameTrie<V> {
    fn default() -> NameTrie<V> {
        NameTrie { root: Part::default(), length: 0 }
    }
}

impl<V> NameTrie<V> {
    /// How many names there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The value of a name.
    pub fn get(&self, front: &[u8]) -> Option<&V> {
        self.get_entry(front).map(|(_, value)| value)
    }

    /// The value of a name, and the name as it is kept.
    pub fn get_entry(&self, front: &[u8]) -> Option<(&[u8], &V)> {
        self.way(front).get_entry(front)
    }

    /// The way to a name, at its beginning.
    pub fn way(&self, front: &[u8]) -> Way<'_, V> {
        self.root.prefetch();
        Way { hash: hash(front), level: 0, at: Step::Part(&self.root) }
    }

    /// All entries in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        let mut stack = vec![&self.root];
        let mut leaf: std::slice::Iter<'_, (Front, V)> = [].iter();
        std::iter::from_fn(move || {
            loop {
                if let Some((front, value)) = leaf.next() {
                    return Some((&**front, value));
                }
                match stack.pop()? {
                    Part::Leaf(next) => leaf = next.entries.iter(),
                    Part::Branch(branch) => stack.extend(&branch.parts),
                }
            }
        })
    }

    /// The entries behind a name in an order of the map's own, which stays as others come and go; the name need not be
    /// there. Takes as long as it is asked on, however many entries there are.
    pub fn iter_behind(&self, front: Option<&[u8]>) -> impl Iterator<Item = (&[u8], &V)> {
        let behind = front.map(|front| (hash(front), Front::from(front)));
        // Of what lies on the way to the name, the part before it is left out.
        let mut stack = vec![(&self.root, 0, behind.is_some())];
        let mut leaf = Vec::new().into_iter();
        std::iter::from_fn(move || {
            loop {
                if let Some((_, front, value)) = leaf.next() {
                    return Some((front, value));
                }
                let (at, level, is_on_the_way) = stack.pop()?;
                let start = behind.as_ref().filter(|_| is_on_the_way);
                match at {
                    Part::Leaf(next) => {
                        let is_behind = |at: u64, front: &[u8]| {
                            start.is_none_or(|(hash, before)| (at, front) > (place(*hash), before))
                        };
                        let entries = next.entries.iter();
                        let mut entries: Vec<(u64, &[u8], &V)> = entries
                            .map(|(front, value)| (place(hash(front)), &**front, value))
                            .filter(|(place, front, _)| is_behind(*place, front))
                            .collect();
                        entries.sort_unstable_by_key(|(place, front, _)| (*place, *front));
                        leaf = entries.into_iter();
                    }
                    Part::Branch(branch) => {
                        let first = start.map_or(0, |(hash, _)| slot(*hash, level));
                        let on_the_way = start.map(|_| branch.index[first]);
                        let mut parts = branch.index[first..].to_vec();
                        parts.dedup();
                        stack.extend(parts.into_iter().rev().map(|part| {
                            (&branch.parts[usize::from(part)], level + 1, on_the_way == Some(part))
                        }));
                    }
                }
            }
        })
    }
}

impl<V: Clone> NameTrie<V> {
    /// The value of a name, to be changed, and whether it was made for that by `default`.
    pub fn entry(&mut self, front: &[u8], default: impl FnOnce() -> V) -> (&mut V, bool) {
        let hash = hash(front);
        if self.root.is_full_leaf() {
            self.root = Branch::over(self.root.clone());
        }
        let (mut at, mut level) = (&mut self.root, 0);
        loop {
            match at {
                Part::Branch(branch) => at = Arc::make_mut(branch).with_room(slot(hash, level), level),
                Part::Leaf(leaf) => {
                    let leaf = Arc::make_mut(leaf);
                    let (value, is_new) = leaf.entry(hash, front, default);
                    self.length += usize::from(is_new);
                    return (value, is_new);
                }
            }
            level += 1;
        }
    }

    /// Takes a name out.
    pub fn remove(&mut self, front: &[u8]) -> Option<V> {
        self.get(front)?;
        let hash = hash(front);
        let (mut at, mut level) = (&mut self.root, 0);
        loop {
            match at {
                Part::Branch(branch) => {
                    let branch = Arc::make_mut(branch);
                    at = &mut branch.parts[usize::from(branch.index[slot(hash, level)])];
                }
                Part::Leaf(leaf) => {
                    self.length -= 1;
                    return Arc::make_mut(leaf).remove(hash, front);
                }
            }
            level += 1;
        }
    }
}

impl<'t, V> Way<'t, V> {
    /// Goes one step and asks for the memory that the next one reads; answers whether there was a step to go.
    pub fn go(&mut self) -> bool {
        match self.at {
            Step::Part(Part::Branch(branch)) => {
                let part = branch.part(slot(self.hash, self.level));
                part.prefetch();
                (self.at, self.level) = (Step::Part(part), self.level + 1);
                true
            }
            Step::Part(Part::Leaf(leaf)) => {
                let hits = leaf.tagged(tag(self.hash));
                if let Some(entry) = leaf.entries.get(hits.trailing_zeros() as usize) {
                    prefetch(entry);
                }
                self.at = Step::Entries(leaf, hits);
                true
            }
            Step::Entries(..) => false,
        }
    }

    /// The value at the end, and its name as it is kept; `front` is the name that the way was begun for.
    pub fn get_entry(mut self, front: &[u8]) -> Option<(&'t [u8], &'t V)> {
        while self.go() {}
        let Step::Entries(leaf, hits) = self.at else { return None };
        let (front, value) = &leaf.entries[leaf.position(hits, front)?];
        Some((front, value))
    }
}

// Not derived: what is pointed to need not be `Clone`.
impl<V> Clone for Way<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Way<'_, V> {}

impl<V> Clone for Step<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Step<'_, V> {}

impl<V> Part<V> {
    fn prefetch(&self) {
        match self {
            Part::Leaf(leaf) => prefetch(&**leaf),
            Part::Branch(branch) => prefetch(&**branch),
        }
    }

    fn is_full_leaf(&self) -> bool {
        matches!(self, Part::Leaf(leaf) if leaf.is_full())
    }
}

impl<V> Default for Part<V> {
    fn default() -> Part<V> {
        Part::Leaf(Arc::default())
    }
}

// Not derived: what is shared need not be `Clone`.
impl<V> Clone for Part<V> {
    fn clone(&self) -> Part<V> {
        match self {
            Part::Leaf(leaf) => Part::Leaf(Arc::clone(leaf)),
            Part::Branch(branch) => Part::Branch(Arc::clone(branch)),
        }
    }
}

impl<V> Default for Leaf<V> {
    fn default() -> Leaf<V> {
        Leaf { tags: [0; LEAF_ENTRIES_MAX], entries: Vec::new() }
    }
}

impl<V> Leaf<V> {
    fn is_full(&self) -> bool {
        self.entries.len() >= LEAF_ENTRIES_MAX
    }

    /// A bit for each entry that has this tag.
    fn tagged(&self, tag: u16) -> u64 {
        let unused = LEAF_ENTRIES_MAX.saturating_sub(self.entries.len()) as u32;
        equal_to(&self.tags, tag) & u64::MAX.checked_shr(unused).unwrap_or(0)
    }

    /// Where a name is, that may be at the entries of these bits.
    fn position(&self, mut hits: u64, front: &[u8]) -> Option<usize> {
        while hits != 0 {
            let at = hits.trailing_zeros() as usize;
            if *self.entries[at].0 == *front {
                return Some(at);
            }
            hits &= hits - 1;
        }
        let untagged = self.entries.get(LEAF_ENTRIES_MAX..)?;
        untagged.iter().position(|(other, _)| **other == *front).map(|at| LEAF_ENTRIES_MAX + at)
    }

    fn push(&mut self, hash: u64, entry: (Front, V)) {
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(LEAF_GROWTH);
        }
        if let Some(free) = self.tags.get_mut(self.entries.len()) {
            *free = tag(hash);
        }
        self.entries.push(entry);
    }

    fn entry(&mut self, hash: u64, front: &[u8], default: impl FnOnce() -> V) -> (&mut V, bool) {
        let found = self.position(self.tagged(tag(hash)), front);
        let at = found.unwrap_or(self.entries.len());
        if found.is_none() {
            self.push(hash, (front.into(), default()));
        }
        (&mut self.entries[at].1, found.is_none())
    }

    fn remove(&mut self, hash: u64, front: &[u8]) -> Option<V> {
        let at = self.position(self.tagged(tag(hash)), front)?;
        let (_, value) = self.entries.swap_remove(at);
        if let (Some((moved, _)), Some(free)) = (self.entries.get(at), self.tags.get_mut(at)) {
            *free = tag(self::hash(moved));
        }
        Some(value)
    }
}

impl<V> Branch<V> {
    fn over(part: Part<V>) -> Part<V> {
        Part::Branch(Arc::new(Branch { index: [0; FAN_OUT], parts: vec![part] }))
    }

    fn part(&self, slot: usize) -> &Part<V> {
        &self.parts[usize::from(self.index[slot])]
    }
}

impl<V: Clone> Branch<V> {
    /// The part of a slot, to be changed: if it is a leaf, it takes one more entry.
    fn with_room(&mut self, slot: usize, level: u32) -> &mut Part<V> {
        loop {
            let part = usize::from(self.index[slot]);
            if !self.parts[part].is_full_leaf() {
                break;
            }
            let slots = self.index.iter().filter(|other| usize::from(**other) == part).count();
            if slots > 1 {
                self.split(part, slots, level);
                continue;
            }
            if level + 1 < LEVELS_MAX {
                self.parts[part] = Branch::over(self.parts[part].clone());
            }
            break;
        }
        let part = usize::from(self.index[slot]);
        &mut self.parts[part]
    }

    /// Gives the second half of a leaf's slots a leaf of their own.
    fn split(&mut self, part: usize, slots: usize, level: u32) {
        let new = self.parts.len() as u8;
        let moved = self.index.iter_mut().filter(|other| usize::from(**other) == part).skip(slots / 2);
        moved.for_each(|index| *index = new);
        self.parts.push(Part::default());
        let Part::Leaf(full) = std::mem::take(&mut self.parts[part]) else {
            unreachable!("only leaves are split")
        };
        for (front, value) in Arc::unwrap_or_clone(full).entries {
            let hash = hash(&front);
            let to = &mut self.parts[usize::from(self.index[slot(hash, level)])];
            if let Part::Leaf(leaf) = to {
                Arc::make_mut(leaf).push(hash, (front, value));
            }
        }
    }
}

#[cfg(test)]
mod tests;
