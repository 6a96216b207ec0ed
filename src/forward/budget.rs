//! How many queries one upstream gets in any second, and for whom.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::asker::Asker;
use super::holdings::Holdings;
use super::pool::Pool;

/// At most so many queries in any second, wherever it begins. Askers share them, so that one with very many new names does
/// not take those of all others.
// A token bucket would let through twice its rate in the second after a pause, and Azure counts seconds.
pub struct Budget {
    per_second_max: u32,
    last_second: Mutex<Second>,
}

/// The queries of a second.
#[derive(Default)]
struct Second {
    /// When they were sent, and for whom.
    sent: VecDeque<(Instant, Asker)>,
    by_asker: Holdings,
}

impl Budget {
    pub fn new(per_second_max: u32) -> Budget {
        Budget { per_second_max, last_second: Mutex::default() }
    }

    pub fn per_second_max(&self) -> u32 {
        self.per_second_max
    }

    /// Whether one more query may be sent now for this asker; counts it if so.
    pub fn take(&self, asker: Asker, now: Instant) -> bool {
        let mut second = self.last_second.lock();
        second.forget(now);
        let pool = Pool { max: self.per_second_max as usize, taken: second.sent.len() };
        let granted = second.by_asker.take(asker, pool);
        if granted {
            second.sent.push_back((now, asker));
        }
        granted
    }
}

impl Second {
    /// Forgets what is longer ago.
    fn forget(&mut self, now: Instant) {
        let is_over = |at: Instant| now.saturating_duration_since(at) >= Duration::from_secs(1);
        while let Some((_, asker)) = self.sent.pop_front_if(|(at, _)| is_over(*at)) {
            self.by_asker.give_back(asker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn network(number: u8) -> Asker {
        Asker::Network(IpAddr::V4(Ipv4Addr::new(10, 0, number, 1)).into())
    }

    #[test]
    fn no_second_has_more_than_the_bound() {
        let budget = Budget::new(10);
        let start = Instant::now();
        let granted: Vec<u64> =
            (0..3000).filter(|ms| budget.take(Asker::Server, start + Duration::from_millis(*ms))).collect();
        assert_eq!(granted.len(), 30);
        assert!(granted.windows(11).all(|window| window[10] - window[0] >= 1000));
        assert!(!Budget::new(0).take(Asker::Server, start));
    }

    #[test]
    fn one_who_asks_too_much_leaves_the_others_theirs() {
        let budget = Budget::new(900);
        let start = Instant::now();
        let mut granted = [0; 3];
        // 5,000 a second of one network, for three seconds; of two others 20 and 50.
        for tick in 0..15_000_u64 {
            let now = start + Duration::from_micros(tick * 200);
            granted[0] += usize::from(budget.take(network(0), now));
            granted[1] += usize::from(tick % 250 == 0 && budget.take(network(1), now));
            granted[2] += usize::from(tick % 100 == 0 && budget.take(network(2), now));
        }
        assert_eq!(granted[1..], [60, 150]);
        // And alone one has nearly all.
        assert!((2000..=2700).contains(&granted[0]), "{granted:?}");
        assert!(budget.last_second.lock().by_asker.askers() <= 3);
        budget.last_second.lock().forget(start + Duration::from_secs(10));
        assert_eq!(budget.last_second.lock().by_asker.askers(), 0);
    }
}
