//! `[limits]`: what one client network may take of what all share.

use ipnet::IpNet;

use super::assembly::{Assembly, COUNT_MAX};
use super::file;
use super::words::ClientRange;
use crate::listen;
use crate::respond::RateSettings;
use crate::zone::Network;

/// Beyond a million a second a bound is none.
const RATE_MAX: u64 = 1_000_000;

impl Assembly<'_> {
    pub(super) fn client_limits(&mut self, limits: &file::Limits, networks: &[Network]) -> listen::Limits {
        self.within("limits.wait_limit", limits.wait_limit as u64, 1, COUNT_MAX);
        let mut exempt = Vec::new();
        for (at, text) in limits.exempt.iter().enumerate() {
            if let Some(network) = networks.iter().find(|network| *network.name == **text) {
                exempt.extend(ranges_of(network, networks));
            } else if let Ok(ClientRange(range)) = text.parse() {
                exempt.push(range);
            } else {
                let message = format!(
                    "`{text}` is no address, no range such as 10.0.0.0/8 or fd00::/8, and no [[network]] has this name"
                );
                self.error(format!("limits.exempt[{at}]"), message);
            }
        }
        listen::Limits { wait_limit: limits.wait_limit, exempt }
    }

    pub(super) fn rate(&mut self, limits: &file::Limits, exempt: &[IpNet]) -> RateSettings {
        let mut rate = |key, per_second| self.bounded(key, per_second, 0, RATE_MAX);
        RateSettings {
            responses_per_second: rate("limits.responses_per_second", limits.responses_per_second),
            slip: limits.responses_slip,
            queries_per_second: rate("limits.queries_per_second", limits.queries_per_second),
            exempt: exempt.to_vec(),
        }
    }
}

/// The ranges whose clients belong to a network: its own, without those within them that belong to others.
fn ranges_of(network: &Network, networks: &[Network]) -> Vec<IpNet> {
    let others = networks.iter().filter(|other| other.name != network.name);
    let others: Vec<IpNet> = others.flat_map(|other| other.clients.iter().copied()).collect();
    let mut ranges = Vec::new();
    for range in &network.clients {
        // What lies within another's range again is a range of its own here.
        let within = others.iter().copied().filter(|other| range.contains(other) && other != range);
        leave_out(*range, &within.collect::<Vec<_>>(), &mut ranges);
    }
    ranges
}

/// Puts into `ranges` what is left of a range without others that lie within it.
fn leave_out(range: IpNet, others: &[IpNet], ranges: &mut Vec<IpNet>) {
    if others.contains(&range) {
        return;
    }
    if !others.iter().any(|other| range.contains(other)) {
        return ranges.push(range);
    }
    // Others are smaller and lie within it: there are two halves.
    for half in range.subnets(range.prefix_len() + 1).into_iter().flatten() {
        leave_out(half, others, ranges);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, clients: &[&str]) -> Network {
        let clients = clients.iter().map(|range| range.parse().unwrap()).collect();
        Network { name: name.into(), clients, virtual_networks: Vec::new() }
    }

    #[test]
    fn a_network_is_what_no_longer_range_takes_from_it() {
        let networks = [
            network("hub", &["10.0.0.0/30", "10.0.0.2/32", "fd00::/8"]),
            network("spoke", &["10.0.0.2/31", "192.0.2.0/24"]),
        ];
        let of = |at: usize| -> Vec<String> {
            ranges_of(&networks[at], &networks).iter().map(ToString::to_string).collect()
        };
        assert_eq!(of(0), ["10.0.0.0/31", "10.0.0.2/32", "fd00::/8"]);
        assert_eq!(of(1), ["10.0.0.3/32", "192.0.2.0/24"]);
    }
}
