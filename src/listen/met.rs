//! Client networks that met a bound of waiting: for the log, and for whoever asks.

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use crate::dns::ClientNetwork;

/// Networks that are remembered; of more the one that met a bound longest ago is forgotten.
const NETWORKS_MAX: usize = 64;

/// How often the log names a network.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// What a network met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// As many of its messages as `limits.wait_limit` says wait already.
    WaitLimit,
    /// It had its share while others waited, too.
    Share,
    /// Its replies came in one pulse, and some would have left too late.
    Pace,
}

/// A network that met a bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimitMet {
    pub network: ClientNetwork,
    /// The last that it met.
    pub limit: Limit,
    /// Messages that did not get what they asked for, since it is remembered.
    pub messages: u64,
    pub last: SystemTime,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct LimitsMet(Mutex<Vec<Remembered>>);

#[derive(Debug)]
struct Remembered {
    met: LimitMet,
    last: Instant,
    logged: Instant,
}

impl LimitsMet {
    /// Remembers that a message of a network met a bound, and logs it once in a while.
    pub fn note(&self, network: ClientNetwork, limit: Limit) {
        if self.remember(network, limit, Instant::now()) {
            let what = match limit {
                Limit::WaitLimit => "has as many questions wait for upstream as limits.wait_limit allows",
                Limit::Share => "has its share of all questions that wait for upstream",
                Limit::Pace => "would get the replies to what waited in one pulse",
            };
            warn!(
                client.network = %network,
                "Client network {network} {what}: more are not asked. If a forwarder or NAT stands for many clients there, \
                 name it in limits.exempt"
            );
        }
    }

    /// True if it is to be logged.
    fn remember(&self, network: ClientNetwork, limit: Limit, now: Instant) -> bool {
        let mut all = self.0.lock();
        if let Some(known) = all.iter_mut().find(|known| known.met.network == network) {
            known.met.limit = limit;
            known.met.messages += 1;
            known.met.last = SystemTime::now();
            known.last = now;
            let is_due = now >= known.logged + LOG_PAUSE;
            if is_due {
                known.logged = now;
            }
            return is_due;
        }
        if all.len() >= NETWORKS_MAX {
            let oldest = all.iter().enumerate().min_by_key(|(_, known)| known.last).map(|(at, _)| at);
            // Under an attack from everywhere the log does not grow with the attackers.
            let Some(oldest) = oldest.filter(|at| now >= all[*at].logged + LOG_PAUSE) else { return false };
            all.swap_remove(oldest);
        }
        let met = LimitMet { network, limit, messages: 1, last: SystemTime::now() };
        all.push(Remembered { met, last: now, logged: now });
        true
    }

    /// Those that met a bound within this time, the heaviest first.
    pub fn of_late(&self, within: Duration) -> Vec<LimitMet> {
        let now = Instant::now();
        let all = self.0.lock();
        let mut met: Vec<LimitMet> =
            all.iter().filter(|known| now < known.last + within).map(|known| known.met).collect();
        met.sort_by_key(|met| (std::cmp::Reverse(met.messages), met.network));
        met
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn network(number: u32) -> ClientNetwork {
        IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 | number << 8)).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_is_logged_once_a_minute_and_counted_each_time() {
        let (met, start) = (LimitsMet::default(), Instant::now());
        let logs = |at: u64, number| {
            met.remember(network(number), Limit::WaitLimit, start + Duration::from_secs(at))
        };
        assert_eq!(
            [logs(0, 1), logs(1, 1), logs(1, 2), logs(59, 1), logs(60, 1)],
            [true, false, true, false, true]
        );
        let all = met.of_late(Duration::from_secs(3600));
        assert_eq!(
            all.iter().map(|met| (met.network, met.messages)).collect::<Vec<_>>(),
            [(network(1), 4), (network(2), 1)]
        );
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(met.of_late(Duration::from_secs(60)).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn those_of_a_minute_are_bounded_and_the_oldest_makes_room() {
        let (met, start) = (LimitsMet::default(), Instant::now());
        let minute = start + LOG_PAUSE;
        let logged = (0..1000).filter(|number| met.remember(network(*number), Limit::Share, start)).count();
        assert_eq!(logged, NETWORKS_MAX);
        assert!(met.remember(network(5000), Limit::Share, minute));
        assert_eq!(met.of_late(LOG_PAUSE).len(), NETWORKS_MAX);
    }
}
