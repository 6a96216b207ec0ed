//! How many queries one upstream gets in any second.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// At most so many queries in any second, wherever it begins.
// A token bucket would let through twice its rate in the second after a pause, and Azure counts seconds.
pub struct Budget {
    per_second_max: u32,
    /// When the queries of the last second were sent.
    sent: Mutex<VecDeque<Instant>>,
}

impl Budget {
    pub fn new(per_second_max: u32) -> Budget {
        Budget { per_second_max, sent: Mutex::default() }
    }

    pub fn per_second_max(&self) -> u32 {
        self.per_second_max
    }

    /// Whether one more query may be sent now; counts it if so.
    pub fn take(&self, now: Instant) -> bool {
        let mut sent = self.sent.lock();
        while sent.front().is_some_and(|at| now.saturating_duration_since(*at) >= Duration::from_secs(1)) {
            sent.pop_front();
        }
        let granted = sent.len() < self.per_second_max as usize;
        if granted {
            sent.push_back(now);
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_than_the_bound() {
        let budget = Budget::new(10);
        let start = Instant::now();
        let granted: Vec<u64> =
            (0..3000).filter(|ms| budget.take(start + Duration::from_millis(*ms))).collect();
        assert_eq!(granted.len(), 30);
        assert!(granted.windows(11).all(|window| window[10] - window[0] >= 1000));
        assert!(!Budget::new(0).take(start));
    }
}
