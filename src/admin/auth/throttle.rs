//! Failed attempts a client address: a few at once, then one every now and then.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::dns::ClientHost;

/// Addresses that are watched at once, about a MiB; beyond it the longest quiet are forgotten.
const WATCHED_MAX: usize = 16_384;

/// Counts what failed, by client address.
// A client that shows what is right is never counted, so that a broken one behind a proxy does not lock out the others there.
pub(super) struct Throttle {
    bounds: Mutex<Bounds>,
    debts: Mutex<HashMap<ClientHost, Debt>>,
}

/// How many may fail at once, and after how long one of them is forgiven.
#[derive(Clone, Copy)]
struct Bounds {
    burst: u32,
    forgiven_after: Duration,
}

/// When the last failure will be forgiven: further ahead, the more there were.
#[derive(Clone, Copy)]
struct Debt {
    until: Instant,
}

impl Throttle {
    pub(super) fn new(burst: u32, forgiven_after: Duration) -> Throttle {
        Throttle { bounds: Mutex::new(Bounds::new(burst, forgiven_after)), debts: Mutex::default() }
    }

    /// Goes on with other bounds; what failed before stays counted.
    pub(super) fn rebind(&self, burst: u32, forgiven_after: Duration) {
        *self.bounds.lock() = Bounds::new(burst, forgiven_after);
    }

    /// Counts a failure; seconds to wait if attempts were used up before it.
    pub(super) fn charge(&self, client: IpAddr, now: Instant) -> Option<u64> {
        let (client, bounds) = (ClientHost::of(client), *self.bounds.lock());
        let mut debts = self.debts.lock();
        if debts.len() >= WATCHED_MAX && !debts.contains_key(&client) {
            forget(&mut debts, now);
        }
        let debt = debts.entry(client).or_insert(Debt { until: now });
        let excess = bounds.excess(*debt, now);
        // What comes too early is not charged again, or the wait would never end.
        if excess.is_none() {
            debt.until = debt.until.max(now) + bounds.forgiven_after;
        }
        excess
    }
}

impl Bounds {
    fn new(burst: u32, forgiven_after: Duration) -> Bounds {
        Bounds { burst: burst.max(1), forgiven_after }
    }

    /// Whole seconds until there is an attempt again.
    fn excess(&self, debt: Debt, now: Instant) -> Option<u64> {
        let allowed = self.forgiven_after * (self.burst - 1);
        let excess =
            debt.until.saturating_duration_since(now).checked_sub(allowed).filter(|it| !it.is_zero())?;
        Some(excess.as_secs() + u64::from(excess.subsec_nanos() > 0))
    }
}

/// Forgets what is forgiven, and if that is not enough the quarter that is forgiven first.
fn forget(debts: &mut HashMap<ClientHost, Debt>, now: Instant) {
    debts.retain(|_, debt| debt.until > now);
    if debts.len() >= WATCHED_MAX {
        let mut untils: Vec<Instant> = debts.values().map(|debt| debt.until).collect();
        let (_, quarter, _) = untils.select_nth_unstable(WATCHED_MAX / 4);
        let quarter = *quarter;
        debts.retain(|_, debt| debt.until > quarter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_few_attempts_fail_at_once_and_then_one_every_now_and_then() {
        let (throttle, now) = (Throttle::new(3, Duration::from_secs(2)), Instant::now());
        let fail = |at: Duration| throttle.charge(ip("10.0.0.1"), now + at);
        for _ in 0..3 {
            assert_eq!(fail(Duration::ZERO), None);
        }
        assert_eq!(fail(Duration::ZERO), Some(2));
        assert_eq!(fail(Duration::from_millis(1500)), Some(1));
        assert_eq!(fail(Duration::from_secs(2)), None);
        assert_eq!(fail(Duration::from_secs(2)), Some(2));
        assert_eq!(throttle.charge(ip("10.0.0.2"), now), None, "others are not slowed");
    }

    #[test]
    fn other_bounds_hold_for_what_failed_before() {
        let (throttle, now) = (Throttle::new(1, Duration::from_secs(2)), Instant::now());
        let fail = || throttle.charge(ip("10.0.0.1"), now);
        assert_eq!((fail(), fail()), (None, Some(2)));
        throttle.rebind(2, Duration::from_secs(3));
        assert_eq!((fail(), fail()), (None, Some(2)));
    }

    #[test]
    fn the_table_has_a_bound() {
        let (throttle, now) = (Throttle::new(1, Duration::from_secs(60)), Instant::now());
        for number in 0..u32::try_from(WATCHED_MAX + 10).unwrap() {
            let at = now + Duration::from_millis(number.into());
            throttle.charge(IpAddr::from(number.to_be_bytes()), at);
            assert!(throttle.debts.lock().len() <= WATCHED_MAX);
        }
    }
}
