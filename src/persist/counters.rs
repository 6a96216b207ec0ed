//! What the store counts.

use crate::counters;

counters! {
    /// What became of commits.
    pub struct Counters => Counts in "store" {
        /// Transactions that were committed; each holds the commits that waited together.
        transactions,
        /// Commits that are stored.
        commits,
        /// Commits that were refused: the store is away or full, or a condition of theirs does not hold.
        refused_commits,
        /// Commits of which it is not known whether they are stored.
        doubtful_commits,
    }
}
