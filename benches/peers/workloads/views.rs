//! Whether more networks make a query dearer: 10,000 ranges of clients in 1, 10 and 1,000 networks, and clients of many of them.

use std::net::Ipv4Addr;

use super::{Bench, Found, Workload};
use crate::passes::{self, Job};
use crate::questions::{Edns, Question, Questions};
use crate::servers::Scene;
use crate::zones::{RECORDS, ZONES, Zones};

pub const WORKLOAD: Workload = Workload {
    name: "views",
    about: "existing names for clients of 16 networks, 10,000 ranges in 1, 10 and 1,000 networks, and without any",
    peers: &[],
    run,
};

const RANGES: u32 = 10_000;
const NETWORKS: [u32; 4] = [1, 0, 10, 1_000];
/// Each in another network where there are so many.
const CLIENTS: u32 = 16;

fn run(bench: &Bench<'_>) -> anyhow::Result<Found> {
    let zones = Zones::write(bench.folder.join("zones"), ZONES, RECORDS)?;
    let work = |networks: u32| format!("existing, networks: {networks}");
    let mut servers = Vec::new();
    for count in NETWORKS {
        let of = |network: u32| {
            let ranges = (network..RANGES).step_by(count as usize);
            ranges.map(|range| format!("{}/24", client(range, 0))).collect()
        };
        let scene = Scene {
            networks: (0..count).map(of).collect(),
            ..Scene::new(&zones, bench.folder.join(format!("networks-{count}")), bench.cores.server)
        };
        servers.push((count, passes::start(bench.servers, &scene)?));
    }
    let mut jobs = Vec::new();
    for (count, servers) in &servers {
        let questions = (0..RECORDS).map(|number| Question::existing(&zones, number)).collect();
        let questions = Questions::new(questions, Edns::Without);
        jobs.push(Job {
            base: (*count != NETWORKS[0]).then(|| work(NETWORKS[0])),
            sources: (0..CLIENTS).map(|number| client(number * (RANGES / CLIENTS), 1)).collect(),
            ..Job::new(bench.plan, work(*count), questions, servers)
        });
    }
    Ok(passes::measure(bench.plan, bench.cores.server, jobs)?.into())
}

/// An address of a range.
fn client(range: u32, host: u8) -> Ipv4Addr {
    let [_, _, high, low] = range.to_be_bytes();
    Ipv4Addr::new(127, high, low, host)
}
