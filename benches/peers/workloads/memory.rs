//! What a record costs in memory.

use std::fs;
use std::thread;
use std::time::Duration;

use super::{Bench, Found, Workload};
use crate::machine;
use crate::servers::{Kind, Scene};
use crate::table::Figure;
use crate::zones::{ZONES, Zones};

pub const WORKLOAD: Workload = Workload {
    name: "memory",
    about: "bytes a record: 1,000,000 A records in 60 zones less the same zones with one each",
    peers: &[Kind::Nsd, Kind::Knot],
    run,
};

const RECORDS: u32 = 1_000_000;
const FEW: u32 = ZONES as u32;

/// For what was needed only to start to be given back.
const REST: Duration = Duration::from_secs(2);

fn run(bench: &Bench<'_>) -> anyhow::Result<Found> {
    let full = Zones::write(bench.folder.join("full"), ZONES, RECORDS)?;
    // A zone without a record is not served by ours.
    let few = Zones::write(bench.folder.join("few"), ZONES, FEW)?;
    let figure = |what: &str, digits| Figure { what: what.to_owned(), digits, servers: Vec::new() };
    let mut a_record = figure("memory a record, bytes", 0);
    let mut whole = figure("memory with all records, MiB", 0);
    for kind in bench.servers {
        let (mut records, mut all) = (Vec::new(), Vec::new());
        for pass in 0..bench.plan.passes {
            machine::go_on()?;
            let of = |zones: &Zones| -> anyhow::Result<f64> {
                let scene = Scene::new(zones, bench.folder.join("servers"), bench.cores.server);
                let server = kind.start(&scene)?;
                thread::sleep(REST);
                Ok(server.processes.iter().map(|process| held_bytes(*process)).sum())
            };
            let (full, few) = (of(&full)?, of(&few)?);
            records.push((full - few) / f64::from(RECORDS - FEW));
            all.push(full / f64::from(1 << 20));
            eprintln!(
                "pass {}/{} memory {:<10} {:.0} bytes a record, {full} bytes in all, {few} with {FEW} records",
                pass + 1,
                bench.plan.passes,
                kind.name(),
                records[pass]
            );
        }
        a_record.servers.push((kind.clone(), records));
        whole.servers.push((kind.clone(), all));
    }
    Ok(Found { rows: Vec::new(), figures: vec![a_record, whole] })
}

/// What a process holds; what it shares with others counts by its part, as NSD's processes are one another's copies.
fn held_bytes(process: u32) -> f64 {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
    kib * 1024.0
}
