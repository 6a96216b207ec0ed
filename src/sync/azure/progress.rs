//! How far a pass has come, for whoever waits for it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts of the pass under way; each is of its own, so a look between two of them may be a page apart.
#[derive(Debug, Default)]
pub struct Progress {
    subscriptions: AtomicUsize,
    subscriptions_done: AtomicUsize,
    pages: AtomicUsize,
    endpoints: AtomicUsize,
}

impl Progress {
    /// A pass begins.
    pub(super) fn begin(&self) {
        for count in [&self.subscriptions, &self.subscriptions_done, &self.pages, &self.endpoints] {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// So many subscriptions are to be listed.
    pub(super) fn set_subscriptions(&self, subscriptions: usize) {
        self.subscriptions.store(subscriptions, Ordering::Relaxed);
    }

    pub(super) fn page(&self, endpoints: usize) {
        self.pages.fetch_add(1, Ordering::Relaxed);
        self.endpoints.fetch_add(endpoints, Ordering::Relaxed);
    }

    /// One is listed, or is not to be had.
    pub(super) fn finish_subscription(&self) {
        self.subscriptions_done.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        match now(&self.subscriptions) {
            0 => write!(out, "asking which subscriptions there are"),
            all => write!(
                out,
                "{} of {all} subscriptions, {} pages, {} private endpoints",
                now(&self.subscriptions_done),
                now(&self.pages),
                now(&self.endpoints)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pass_counts_from_the_start() {
        let progress = Progress::default();
        for _ in 0..2 {
            progress.begin();
            assert_eq!(progress.to_string(), "asking which subscriptions there are");
            progress.set_subscriptions(3);
            progress.page(1000);
            progress.page(0);
            progress.finish_subscription();
            assert_eq!(progress.to_string(), "1 of 3 subscriptions, 2 pages, 1000 private endpoints");
        }
    }
}
