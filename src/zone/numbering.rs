//! Small numbers for names, under which something is counted of each.

use std::hash::Hash;

use hashbrown::HashMap;

/// The most names with numbers of their own: a page of so many lines is what a Prometheus server takes without a thought.
pub const NUMBERED_MAX: usize = 1000;

/// The number of what has no name.
pub const UNNAMED: u16 = 0;

/// The number of all names for which none was left.
pub const OTHERS: u16 = NUMBERED_MAX as u16 + 1;

/// How many numbers there are, [`UNNAMED`] and [`OTHERS`] included.
pub const NUMBERS: usize = NUMBERED_MAX + 2;

/// The numbers of names. A name keeps its own while it is away, so that what was counted of it never goes back.
#[derive(Clone, Debug)]
pub struct Numbering<N>(HashMap<N, u16>);

impl<N> Default for Numbering<N> {
    fn default() -> Numbering<N> {
        Numbering(HashMap::new())
    }
}

impl<N> Numbering<N> {
    /// Names that have numbers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&N, u16)> {
        self.0.iter().map(|(name, number)| (name, *number))
    }
}

impl<N: Hash + Eq + Clone> Numbering<N> {
    /// The number that a name has, if it has one of its own.
    pub(super) fn get(&self, name: &N) -> Option<u16> {
        self.0.get(name).copied()
    }

    /// The number of a name, which is given one if there is one left.
    pub(super) fn give(&mut self, name: &N) -> u16 {
        let given = self.0.len();
        match self.get(name) {
            Some(number) => number,
            None if given < NUMBERED_MAX => {
                let number = given as u16 + 1;
                self.0.insert(name.clone(), number);
                number
            }
            None => OTHERS,
        }
    }

    /// Whether no more names are given numbers.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= NUMBERED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_those_too_many_share_one() {
        let mut numbering = Numbering::default();
        assert_eq!((numbering.give(&7), numbering.give(&9), numbering.give(&7)), (1, 2, 1));
        let given: Vec<u16> = (100..2000).map(|name| numbering.give(&name)).collect();
        assert_eq!(given[NUMBERED_MAX - 3..][..2], [NUMBERED_MAX as u16, OTHERS]);
        assert!(given.iter().all(|number| *number != UNNAMED && usize::from(*number) < NUMBERS));
        assert!(numbering.is_full() && numbering.get(&1999).is_none() && numbering.get(&9) == Some(2));
        assert_eq!(numbering.iter().count(), NUMBERED_MAX);
    }
}
