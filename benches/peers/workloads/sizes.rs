//! Whether more records, or more of them in one zone, make a query dearer.

use super::{Bench, Found, Workload};
use crate::passes::{self, Job};
use crate::questions::{Edns, Question, Questions};
use crate::servers::Scene;
use crate::zones::{ZONES, Zones};

pub const WORKLOAD: Workload = Workload {
    name: "sizes",
    about: "existing names among 1,000, 100,000 and 1,000,000 records, in 60 zones and in one",
    peers: &[],
    run,
};

const SIZES: [(u32, usize); 6] =
    [(100_000, ZONES), (1_000, ZONES), (1_000_000, ZONES), (1_000, 1), (100_000, 1), (1_000_000, 1)];

fn run(bench: &Bench<'_>) -> anyhow::Result<Found> {
    let work = |(records, zones): (u32, usize)| format!("{records} records, zones: {zones}");
    let mut servers = Vec::new();
    for size in SIZES {
        let folder = bench.folder.join(work(size));
        let zones = Zones::write(folder.join("zones"), size.1, size.0)?;
        let started = passes::start(bench.servers, &Scene::new(&zones, folder, bench.cores.server))?;
        servers.push((zones, started));
    }
    let mut jobs = Vec::new();
    for (size, (zones, servers)) in SIZES.into_iter().zip(&servers) {
        let questions = (0..zones.records).map(|number| Question::existing(zones, number)).collect();
        let questions = Questions::new(questions, Edns::Without);
        let base = (size != SIZES[0]).then(|| work(SIZES[0]));
        jobs.push(Job { base, ..Job::new(bench.plan, work(size), questions, servers) });
    }
    Ok(passes::measure(bench.plan, bench.cores.server, jobs)?.into())
}
