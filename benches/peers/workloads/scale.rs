//! What a second worker on a second core brings.
//!
//! On two cores the generator has none of its own, so throughput tells nothing. Both workers' CPU time a query does: two
//! cores that are full answer 2 ÷ (CPU a query of two workers) where one answers 1 ÷ (CPU a query of one).

use std::net::Ipv4Addr;

use super::{Bench, Found, Workload};
use crate::passes::{self, Job};
use crate::questions::{Edns, Question, Questions};
use crate::servers::Scene;
use crate::table::{Figure, ratios_of};
use crate::zones::{RECORDS, ZONES, Zones};

pub const WORKLOAD: Workload = Workload {
    name: "scale",
    about: "existing names, two workers on two cores against one on one; by CPU time, as the generator shares a core",
    peers: &[],
    run,
};

/// So many that the kernel spreads them over both workers.
const SOURCES: usize = 32;

fn run(bench: &Bench<'_>) -> anyhow::Result<Found> {
    let zones = Zones::write(bench.folder.join("zones"), ZONES, RECORDS)?;
    let work = |workers: usize| format!("existing, workers: {workers}");
    let both = [bench.cores.server, bench.cores.generator];
    let mut servers = Vec::new();
    for workers in [1, 2] {
        let scene = Scene {
            workers,
            cores: both[..workers].to_vec(),
            ..Scene::new(&zones, bench.folder.join(work(workers)), bench.cores.server)
        };
        servers.push((workers, passes::start(bench.servers, &scene)?));
    }
    let mut jobs = Vec::new();
    for (workers, servers) in &servers {
        let questions = (0..RECORDS).map(|number| Question::existing(&zones, number)).collect();
        jobs.push(Job {
            sources: vec![Ipv4Addr::LOCALHOST; SOURCES],
            ..Job::new(bench.plan, work(*workers), Questions::new(questions, Edns::Without), servers)
        });
    }
    let rows = passes::measure(bench.plan, bench.cores.server, jobs)?;
    let [one, two] = &rows[..] else { unreachable!("two jobs make two rows") };
    let times =
        |cell| ratios_of(cell, two.cell(cell.server.name())).iter().map(|ratio| 2.0 * ratio).collect();
    let servers = one.cells.iter().map(|cell| (cell.server.clone(), times(cell))).collect();
    let figure = Figure { what: "two workers on two cores ÷ one".to_owned(), digits: 2, servers };
    Ok(Found { rows, figures: vec![figure] })
}
