//! What belongs to the longest suffix of a name: zones, forwarding rules, catalogue rows.

use hashbrown::HashMap;

use super::{Name, NameRef};

/// A map from names to values that is asked for the longest name that encloses another.
#[derive(Clone, Debug)]
pub struct SuffixMap<T> {
    entries: HashMap<Name, T, foldhash::fast::RandomState>,
    /// A bit for each number of labels that a key has: other suffixes need not be looked for.
    label_counts: u128,
}

impl<T> Default for SuffixMap<T> {
    fn default() -> SuffixMap<T> {
        SuffixMap { entries: HashMap::default(), label_counts: 0 }
    }
}

impl<T> SuffixMap<T> {
    /// Adds or replaces.
    pub fn insert(&mut self, name: Name, value: T) -> Option<T> {
        self.label_counts |= label_count_bit(&name);
        self.entries.insert(name, value)
    }

    /// Takes out.
    pub fn remove(&mut self, name: &Name) -> Option<T> {
        let value = self.entries.remove(name)?;
        self.label_counts = self.entries.keys().fold(0, |bits, name| bits | label_count_bit(name));
        Some(value)
    }

    /// The value of exactly this name.
    pub fn exact(&self, name: NameRef<'_>) -> Option<&T> {
        self.entries.get(name.as_wire())
    }

    /// The values of all names that enclose `name`, the longest first.
    pub fn enclosing<'m, 'n>(&'m self, name: NameRef<'n>) -> impl Iterator<Item = (NameRef<'n>, &'m T)> {
        let labels_and_suffixes = (0..=name.label_count()).rev().zip(name.ancestors());
        let suffixes = labels_and_suffixes.filter(|(labels, _)| self.label_counts >> labels & 1 == 1);
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

/// A name has at most 127 labels.
fn label_count_bit(name: &Name) -> u128 {
    1 << name.borrow().label_count()
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
    }
}
