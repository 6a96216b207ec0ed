//! Failed attempts a client address: a few at once, then one every now and then.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::dns::ClientNetwork;

/// Addresses and tokens that are watched at once, about a MiB; beyond it the longest quiet are forgotten.
const WATCHED_MAX: usize = 16_384;

/// Counts what failed, by address alone and by address and token.
// By the token too, so that a broken client behind a proxy does not lock out the others behind it.
pub(super) struct Throttle {
    burst: u32,
    forgiven_after: Duration,
    hasher: RandomState,
    debts: Mutex<HashMap<Key, Debt>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    client: ClientNetwork,
    /// Hash of the token's id that was guessed at; `None` stands for all that the address tries.
    about: Option<u64>,
}

/// When the last failure will be forgiven: further ahead, the more there were.
#[derive(Clone, Copy)]
struct Debt {
    until: Instant,
}

impl Throttle {
    pub(super) fn new(burst: u32, forgiven_after: Duration) -> Throttle {
        Throttle { burst: burst.max(1), forgiven_after, hasher: RandomState::new(), debts: Mutex::default() }
    }

    /// Seconds to wait if attempts at this token from this address are used up.
    pub(super) fn wait_secs(&self, client: IpAddr, id: Option<&str>, now: Instant) -> Option<u64> {
        let debt = self.debts.lock().get(&self.key(client, id)).copied()?;
        self.excess(debt, now)
    }

    /// Counts a failure; seconds to wait if attempts were used up before it.
    pub(super) fn charge(&self, client: IpAddr, id: Option<&str>, now: Instant) -> Option<u64> {
        let mut debts = self.debts.lock();
        let keys = [Some(self.key(client, None)), id.map(|_| self.key(client, id))];
        let mut wait = None;
        for key in keys.into_iter().flatten() {
            if debts.len() >= WATCHED_MAX && !debts.contains_key(&key) {
                forget(&mut debts, now);
            }
            let debt = debts.entry(key).or_insert(Debt { until: now });
            let excess = self.excess(*debt, now);
            // What comes too early is not charged again, or the wait would never end.
            if excess.is_none() {
                debt.until = debt.until.max(now) + self.forgiven_after;
            }
            wait = wait.max(excess);
        }
        wait
    }

    /// Whole seconds until there is an attempt again.
    fn excess(&self, debt: Debt, now: Instant) -> Option<u64> {
        let allowed = self.forgiven_after * (self.burst - 1);
        let excess =
            debt.until.saturating_duration_since(now).checked_sub(allowed).filter(|it| !it.is_zero())?;
        Some(excess.as_secs() + u64::from(excess.subsec_nanos() > 0))
    }

    fn key(&self, client: IpAddr, id: Option<&str>) -> Key {
        Key { client: ClientNetwork::of(client), about: id.map(|id| self.hasher.hash_one(id)) }
    }
}

/// Forgets what is forgiven, and if that is not enough the quarter that is forgiven first.
fn forget(debts: &mut HashMap<Key, Debt>, now: Instant) {
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
        let fail = |at: Duration| throttle.charge(ip("10.0.0.1"), None, now + at);
        for _ in 0..3 {
            assert_eq!(fail(Duration::ZERO), None);
        }
        assert_eq!(fail(Duration::ZERO), Some(2));
        assert_eq!(fail(Duration::from_millis(1500)), Some(1));
        assert_eq!(fail(Duration::from_secs(2)), None);
        assert_eq!(fail(Duration::from_secs(2)), Some(2));
        assert_eq!(throttle.charge(ip("10.0.0.2"), None, now), None, "others are not slowed");
    }

    #[test]
    fn who_fails_at_one_token_may_still_show_another() {
        let (throttle, now) = (Throttle::new(1, Duration::from_secs(60)), Instant::now());
        let client = ip("10.0.0.1");
        assert_eq!(throttle.charge(client, Some("a"), now), None);
        assert_eq!(throttle.wait_secs(client, Some("a"), now), Some(60));
        assert_eq!(throttle.wait_secs(client, Some("b"), now), None);
        assert_eq!(throttle.charge(client, Some("b"), now), Some(60), "but the address has no failure left");
    }

    #[test]
    fn the_table_has_a_bound() {
        let (throttle, now) = (Throttle::new(1, Duration::from_secs(60)), Instant::now());
        for number in 0..u32::try_from(WATCHED_MAX + 10).unwrap() {
            throttle.charge(
                IpAddr::from(number.to_be_bytes()),
                None,
                now + Duration::from_millis(number.into()),
            );
            assert!(throttle.debts.lock().len() <= WATCHED_MAX);
        }
    }
}
