//! A persistent map from names: a change copies a few short arrays, never the whole.
//!
//! A hash trie of 64 branches a level whose leaves are small hash tables. At a million names a look-up passes three
//! branches, and a change copies three of them and one leaf: some microseconds.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::dns::{Name, NameRef};

const FAN_OUT_BITS: u32 = 6;
/// A leaf with more entries is split; copying one stays short.
const LEAF_ENTRIES_MAX: usize = 64;
/// The hash table inside a leaf uses the lowest and the highest bits, branches those between.
const FIRST_BIT: u32 = 12;
const LEVELS_MAX: u32 = 7;

/// A map from names that shares what did not change with its older versions.
#[derive(Clone)]
pub struct NameTrie<V> {
    root: Arc<Branching<V>>,
    length: usize,
}

#[derive(Clone)]
enum Branching<V> {
    Leaf(HashTable<(Name, V)>),
    Branch(Vec<Arc<Branching<V>>>),
}

fn hash(wire: &[u8]) -> u64 {
    FixedState::with_seed(0x7072_6976_6174_656c).hash_one(wire)
}

fn slot(hash: u64, level: u32) -> usize {
    (hash >> (FIRST_BIT + level * FAN_OUT_BITS)) as usize & ((1 << FAN_OUT_BITS) - 1)
}

/// Where a name stands among all others: by the branches that lead to it, so that splitting a leaf moves nobody.
fn place(hash: u64) -> u64 {
    (0..LEVELS_MAX).fold(0, |place, level| place << FAN_OUT_BITS | slot(hash, level) as u64)
}

impl<V> Default for NameTrie<V> {
    fn default() -> NameTrie<V> {
        NameTrie { root: Arc::new(Branching::Leaf(HashTable::new())), length: 0 }
    }
}

impl<V> NameTrie<V> {
    /// How many names there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// The value of a name.
    pub fn get(&self, name: NameRef<'_>) -> Option<&V> {
        self.get_entry(name).map(|(_, value)| value)
    }

    /// The value of a name, and the name as it is kept.
    pub fn get_entry(&self, name: NameRef<'_>) -> Option<(&Name, &V)> {
        let hash = hash(name.as_wire());
        let mut at = &*self.root;
        for level in 0.. {
            match at {
                Branching::Branch(branches) => at = &branches[slot(hash, level)],
                Branching::Leaf(leaf) => {
                    return leaf
                        .find(hash, |(key, _)| key.as_wire() == name.as_wire())
                        .map(|(name, value)| (name, value));
                }
            }
        }
        None
    }

    /// All entries in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &V)> {
        let mut stack = vec![&*self.root];
        let mut leaf: Option<hashbrown::hash_table::Iter<'_, (Name, V)>> = None;
        std::iter::from_fn(move || {
            loop {
                if let Some((name, value)) = leaf.as_mut().and_then(Iterator::next) {
                    return Some((name, value));
                }
                match stack.pop()? {
                    Branching::Leaf(table) => leaf = Some(table.iter()),
                    Branching::Branch(branches) => stack.extend(branches.iter().map(|branch| &**branch)),
                }
            }
        })
    }
}

impl<V> NameTrie<V> {
    /// The entries behind a name in an order of the map's own, which stays as others come and go; the name need not be
    /// there. Takes as long as it is asked on, however many entries there are.
    pub fn iter_behind(&self, name: Option<NameRef<'_>>) -> impl Iterator<Item = (&Name, &V)> {
        let behind = name.map(|name| (place(hash(name.as_wire())), name.to_name()));
        // Of what lies on the way to the name, the part before it is left out.
        let mut stack = vec![(&*self.root, 0, behind.is_some())];
        let mut leaf = Vec::new().into_iter();
        std::iter::from_fn(move || {
            loop {
                if let Some((_, name, value)) = leaf.next() {
                    return Some((name, value));
                }
                let (at, level, is_on_the_way) = stack.pop()?;
                let start = behind.as_ref().filter(|_| is_on_the_way);
                match at {
                    Branching::Leaf(table) => {
                        let entries =
                            table.iter().map(|(name, value)| (place(hash(name.as_wire())), name, value));
                        let is_behind = |place: u64, name: &Name| {
                            start.is_none_or(|(at, before)| (place, name.as_wire()) > (*at, before.as_wire()))
                        };
                        let mut entries: Vec<_> =
                            entries.filter(|(place, name, _)| is_behind(*place, name)).collect();
                        entries.sort_unstable_by_key(|(place, name, _)| (*place, name.as_wire()));
                        leaf = entries.into_iter();
                    }
                    Branching::Branch(branches) => {
                        let first = start.map_or(0, |(_, name)| slot(hash(name.as_wire()), level));
                        let branches = branches.iter().enumerate().skip(first).rev();
                        stack.extend(branches.map(|(index, branch)| {
                            (&**branch, level + 1, start.is_some() && index == first)
                        }));
                    }
                }
            }
        })
    }
}

impl<V: Clone> NameTrie<V> {
    /// The value of a name, to be changed; made by `default` if there was none.
    pub fn entry(&mut self, name: NameRef<'_>, default: impl FnOnce() -> V) -> &mut V {
        let hash = hash(name.as_wire());
        let (mut at, mut level) = (Arc::make_mut(&mut self.root), 0);
        loop {
            if let Branching::Leaf(leaf) = at
                && leaf.len() >= LEAF_ENTRIES_MAX
                && level < LEVELS_MAX
            {
                *at = split(std::mem::take(leaf), level);
            }
            match at {
                Branching::Branch(branches) => at = Arc::make_mut(&mut branches[slot(hash, level)]),
                Branching::Leaf(leaf) => {
                    let same = |(key, _): &(Name, V)| key.as_wire() == name.as_wire();
                    let entry = leaf.entry(hash, same, |(key, _)| self::hash(key.as_wire()));
                    if matches!(entry, hashbrown::hash_table::Entry::Vacant(_)) {
                        self.length += 1;
                    }
                    return &mut entry.or_insert_with(|| (name.to_name(), default())).into_mut().1;
                }
            }
            level += 1;
        }
    }

    /// Takes a name out.
    pub fn remove(&mut self, name: NameRef<'_>) -> Option<V> {
        self.get(name)?;
        let hash = hash(name.as_wire());
        let mut at = Arc::make_mut(&mut self.root);
        for level in 0.. {
            match at {
                Branching::Branch(branches) => at = Arc::make_mut(&mut branches[slot(hash, level)]),
                Branching::Leaf(leaf) => {
                    let entry = leaf.find_entry(hash, |(key, _)| key.as_wire() == name.as_wire()).ok()?;
                    self.length -= 1;
                    return Some(entry.remove().0.1);
                }
            }
        }
        None
    }
}

fn split<V>(leaf: HashTable<(Name, V)>, level: u32) -> Branching<V> {
    let mut tables: Vec<HashTable<(Name, V)>> = (0..1 << FAN_OUT_BITS).map(|_| HashTable::new()).collect();
    for (name, value) in leaf {
        let hash = hash(name.as_wire());
        tables[slot(hash, level)].insert_unique(hash, (name, value), |(key, _)| self::hash(key.as_wire()));
    }
    Branching::Branch(tables.into_iter().map(|table| Arc::new(Branching::Leaf(table))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> Name {
        format!("n{number}.example.").parse().unwrap()
    }

    #[test]
    fn entries_are_found_after_splits_and_removals() {
        let mut trie = NameTrie::default();
        for number in 0..20_000 {
            *trie.entry(name(number).borrow(), || 0) = number;
        }
        assert_eq!(trie.len(), 20_000);
        assert_eq!(trie.iter().count(), 20_000);
        assert!((0..20_000).all(|number| trie.get(name(number).borrow()) == Some(&number)));
        for number in (0..20_000).step_by(2) {
            assert_eq!(trie.remove(name(number).borrow()), Some(number));
        }
        assert_eq!(trie.remove(name(0).borrow()), None);
        assert_eq!((trie.len(), trie.get(name(1).borrow())), (10_000, Some(&1)));
    }

    #[test]
    fn pages_meet_every_entry_once_while_others_come_and_go() {
        let mut trie = NameTrie::default();
        (0..5_000).for_each(|number| *trie.entry(name(number).borrow(), || 0) = number);
        let (mut met, mut last, mut extra) = (Vec::new(), None::<Name>, 5_000);
        loop {
            let page: Vec<(Name, usize)> = trie
                .iter_behind(last.as_ref().map(Name::borrow))
                .take(37)
                .map(|(name, number)| (name.clone(), *number))
                .collect();
            let Some((name_of_last, _)) = page.last() else { break };
            last = Some(name_of_last.clone());
            met.extend(page.into_iter().map(|(_, number)| number).filter(|number| *number < 5_000));
            // Leaves split, and the name that a page ends with goes.
            for _ in 0..if extra < 15_000 { 500 } else { 0 } {
                *trie.entry(name(extra).borrow(), || 0) = extra;
                extra += 1;
            }
            trie.remove(last.as_ref().unwrap().borrow());
        }
        met.sort_unstable();
        assert_eq!(met, (0..5_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_change_leaves_the_older_version_and_shares_the_rest() {
        let mut old = NameTrie::default();
        for number in 0..50_000 {
            old.entry(name(number).borrow(), || Arc::new(number));
        }
        let mut new = old.clone();
        *new.entry(name(7).borrow(), || unreachable!()) = Arc::new(8);
        assert_eq!((**old.get(name(7).borrow()).unwrap(), **new.get(name(7).borrow()).unwrap()), (7, 8));
        let shared_parts =
            |one: &NameTrie<Arc<usize>>, other: &NameTrie<Arc<usize>>| match (&*one.root, &*other.root) {
                (Branching::Branch(one), Branching::Branch(other)) => {
                    one.iter().zip(other).filter(|(one, other)| Arc::ptr_eq(one, other)).count()
                }
                _ => panic!("50,000 names are more than a leaf"),
            };
        assert_eq!(shared_parts(&old, &new), 63);
    }
}
