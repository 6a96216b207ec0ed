//! The memory that the bodies of all requests have together, and what is read out of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::problem::{Kind, Problem};

/// When to come again while the memory is taken: large writes are done within a few seconds.
const RETRY_SECS: u64 = 5;

/// How much is taken of it.
#[derive(Debug, Default)]
pub(super) struct Budget {
    taken: AtomicUsize,
}

/// What one request takes, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    max: usize,
    taken: AtomicUsize,
}

impl Budget {
    /// Begins a share of nothing; all shares have `max` bytes together.
    pub(super) fn share(self: &Arc<Budget>, max: usize) -> Share {
        Share { budget: Arc::clone(self), max, taken: AtomicUsize::new(0) }
    }
}

impl Share {
    /// Takes so many bytes more, or says that they are too many at all, or now.
    pub(super) fn take(&self, bytes: usize) -> Result<(), Problem> {
        let own = self.taken.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let all = self.budget.taken.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if all <= self.max {
            return Ok(());
        }
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.taken.fetch_sub(bytes, Ordering::Relaxed);
        Err(if own > self.max {
            let detail = format!(
                "this body takes {own} bytes of memory, and all together have {} (admin.limits.bodies_size_bytes); send \
                 it in several requests",
                self.max
            );
            Problem::new(Kind::TooLarge, detail)
        } else {
            let detail =
                "the bodies of other requests take the memory that there is for them; send it again soon";
            Problem::new(Kind::Unavailable, detail).retry_after_secs(RETRY_SECS)
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.taken.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_take_no_more_than_there_is_and_give_it_back() {
        let budget = Arc::new(Budget::default());
        let (one, other) = (budget.share(100), budget.share(100));
        one.take(60).unwrap();
        let problem = other.take(41).unwrap_err();
        assert_eq!(problem.kind, Kind::Unavailable);
        other.take(40).unwrap();
        drop(other);
        one.take(40).unwrap();
        assert_eq!(one.take(1).unwrap_err().kind, Kind::TooLarge);
        drop(one);
        budget.share(100).take(100).unwrap();
        assert_eq!(budget.taken.load(Ordering::Relaxed), 0);
    }
}
