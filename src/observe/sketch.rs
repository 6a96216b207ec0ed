//! What comes most often among very many things, in room for few.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Counts of what comes most often (Misra and Gries 1982). Nothing that comes more often than one in `counted_max` is
/// missed, and no count is too low by more than that share.
pub(super) struct Sketch<T> {
    counts: HashMap<T, u64>,
    /// As many are counted; twice as many are held before the rarest are left out, so that this is seldom done.
    counted_max: usize,
}

impl<T: Hash + Ord + Clone> Sketch<T> {
    pub fn new(counted_max: usize) -> Sketch<T> {
        Sketch { counts: HashMap::new(), counted_max }
    }

    /// Counts one, which is made when it is new.
    pub fn count<Q>(&mut self, it: &Q, make: impl FnOnce() -> T)
    where
        T: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        match self.counts.get_mut(it) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(make(), 1);
                if self.counts.len() > 2 * self.counted_max {
                    self.leave_out_rarest();
                }
            }
        }
    }

    /// The most frequent, with how often they came at least.
    pub fn top(&self, number: usize) -> Vec<(T, u64)> {
        let mut top: Vec<(&T, u64)> = self.counts.iter().map(|(it, count)| (it, *count)).collect();
        top.sort_unstable_by(|(one, count), (other, others)| others.cmp(count).then_with(|| one.cmp(other)));
        top.into_iter().take(number).map(|(it, count)| (it.clone(), count)).collect()
    }

    fn leave_out_rarest(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let (_, least, _) = counts.select_nth_unstable_by(self.counted_max, |one, other| other.cmp(one));
        let least = *least;
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(least);
            *count > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_counted_exactly() {
        let mut sketch = Sketch::<String>::new(4);
        for name in ["b", "a", "c", "a", "b", "a"] {
            sketch.count(name, || name.to_owned());
        }
        let top = sketch.top(2);
        assert_eq!(top, [("a".to_owned(), 3), ("b".to_owned(), 2)]);
    }

    #[test]
    fn what_comes_often_is_found_among_any_number_of_others() {
        let mut sketch = Sketch::<String>::new(100);
        let mut count = |name: &str| sketch.count(name, || name.to_owned());
        for number in 0..100_000 {
            count(&format!("random {number}"));
            match number % 20 {
                0 => count("often"),
                1..=5 => count("most often"),
                _ => {}
            }
        }
        assert!(sketch.counts.len() <= 200);
        let top = sketch.top(2);
        let names: Vec<&str> = top.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["most often", "often"]);
        // 130,000 came: a count lacks 1,300 at most.
        assert!((23_700..=25_000).contains(&top[0].1) && (3_700..=5_000).contains(&top[1].1), "{top:?}");
    }
}
