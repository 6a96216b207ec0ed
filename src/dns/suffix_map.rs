//! What belongs to the longest suffix of a name: zones, forwarding rules, catalogue rows.

use hashbrown::HashMap;

use super::{Name, NameRef};

/// A map from names to values that is asked for the longest name that encloses another.
#[derive(Clone, Debug)]
pub struct SuffixMap<T> {
    entries: HashMap<Name, T, foldhash::fast::RandomState>,
    keys: Keys,
}

/// What all keys have in common: names that do not need not be looked for.
#[derive(Clone, Copy, Debug, Default)]
struct Keys {
    /// A bit for each number of labels.
    label_counts: u128,
    /// Bits for the ends of names, all for that of the root.
    ends: u64,
}

impl<T> Default for SuffixMap<T> {
    fn default() -> SuffixMap<T> {
        SuffixMap { entries: HashMap::default(), keys: Keys::default() }
    }
}

impl<T> SuffixMap<T> {
    /// Adds or replaces.
    pub fn insert(&mut self, name: Name, value: T) -> Option<T> {
        self.keys = self.keys.and(&name);
        self.entries.insert(name, value)
    }

    /// Takes out.
    pub fn remove(&mut self, name: &Name) -> Option<T> {
        let value = self.entries.remove(name)?;
        self.keys = self.entries.keys().fold(Keys::default(), Keys::and);
        Some(value)
    }

    /// The value of exactly this name.
    pub fn exact(&self, name: NameRef<'_>) -> Option<&T> {
        self.entries.get(name.as_wire())
    }

    /// The values of all names that enclose `name`, the longest first.
    pub fn enclosing<'m, 'n>(&'m self, name: NameRef<'n>) -> impl Iterator<Item = (NameRef<'n>, &'m T)> {
        let may_be_enclosed = self.keys.ends & end_bit(name) != 0;
        let label_counts = if may_be_enclosed { self.keys.label_counts } else { 0 };
        let labels = if may_be_enclosed { name.label_count() } else { 0 };
        let labels_and_suffixes = (0..=labels).rev().zip(name.ancestors());
        let suffixes = labels_and_suffixes.filter(move |(labels, _)| label_counts >> labels & 1 == 1);
        suffixes.filter_map(|(_, suffix)| Some((suffix, self.exact(suffix)?)))
    }

    /// All entries in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &T)> {
        self.entries.iter()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Keys {
    /// With one more.
    fn and(self, name: &Name) -> Keys {
        let name = name.borrow();
        let ends = if name.is_root() { u64::MAX } else { end_bit(name) };
        // A name has at most 127 labels.
        Keys { label_counts: self.label_counts | 1 << name.label_count(), ends: self.ends | ends }
    }
}

/// A bit by the last bytes of a name: it tells most that have no key from those that may.
fn end_bit(name: NameRef<'_>) -> u64 {
    match name.as_wire() {
        [.., one, other, 0] => 1 << ((one.wrapping_mul(5) ^ other) % 64),
        _ => u64::MAX,
    }
}

impl<T> FromIterator<(Name, T)> for SuffixMap<T> {
    fn from_iter<I: IntoIterator<Item = (Name, T)>>(entries: I) -> SuffixMap<T> {
        let mut map = SuffixMap::default();
        for (name, value) in entries {
            map.insert(name, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_enclosing_name_comes_first() {
        let map: SuffixMap<u8> = [(".", 0), ("net.", 1), ("b.c.net.", 3)]
            .map(|(name, value)| (name.parse().unwrap(), value))
            .into_iter()
            .collect();
        let ask = |text: &str| {
            let name: Name = text.parse().unwrap();
            map.enclosing(name.borrow()).map(|(_, value)| *value).collect::<Vec<_>>()
        };
        assert_eq!(ask("x.y.b.c.net."), [3, 1, 0]);
        assert_eq!(ask("xb.c.net."), [1, 0]);
        assert_eq!(ask("b.c.net."), [3, 1, 0]);
        assert_eq!(ask("."), [0]);
        assert_eq!(ask("org."), [0]);
    }

    #[test]
    fn a_name_is_found_whatever_its_end() {
        let names: Vec<Name> =
            (0..=u8::MAX).map(|byte| format!("a.\\{byte:03}x.").parse().unwrap()).collect();
        for name in &names {
            let map: SuffixMap<()> = [(name.clone(), ())].into_iter().collect();
            let below = name.borrow().child(b"www").unwrap();
            let found = |name: &Name| map.enclosing(name.borrow()).count();
            assert_eq!((found(name), map.enclosing(below.borrow()).count()), (1, 1), "{name}");
            // Others have another end, or the same bit and no entry.
            let others = names.iter().filter(|other| *other != name);
            assert!(others.map(found).all(|count| count == 0));
        }
        let mut map: SuffixMap<()> = names.into_iter().map(|name| (name, ())).collect();
        let root = Name::root();
        map.insert(root.clone(), ());
        assert_eq!(map.enclosing(NameRef::ROOT).count(), 1);
        assert_eq!(map.enclosing("b.".parse::<Name>().unwrap().borrow()).count(), 1);
        map.remove(&root);
        assert_eq!(map.enclosing(NameRef::ROOT).count(), 0);
    }
}
