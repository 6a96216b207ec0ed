//! Public names: kept answers, kept answers that are cut where they enter a zone of ours, and names that each are asked upstream.

use super::{Bench, Found, UPSTREAM_PACE_MAX, Workload};
use crate::passes::{self, Job};
use crate::questions::{Edns, Question, Questions};
use crate::servers::{Cache, Kind, Scene};
use crate::upstream::Upstream;
use crate::zones::{RECORDS, ZONES, Zones};

pub const WORKLOAD: Workload = Workload {
    name: "forward",
    about: "10,000 cached public names, aliases and splices beside the own authoritative hit; names never asked before, and what they add to upstream's latency",
    peers: &[Kind::Unbound, Kind::Recursor, Kind::Dnsdist],
    run,
};

/// Public names that are asked again and again.
const NAMES: u32 = 10_000;
const HIT: &str = "own zone beside forwarding";

fn run(bench: &Bench<'_>) -> anyhow::Result<Found> {
    let zones = Zones::write(bench.folder.join("zones"), ZONES, RECORDS)?;
    let upstream = Upstream::start()?;
    let mut found = Found::default();
    for cache in [Cache::With, Cache::Without] {
        let folder = bench.folder.join(format!("{cache:?}"));
        let scene = Scene {
            upstream: Some(upstream.address),
            cache,
            ..Scene::new(&zones, folder, bench.cores.server)
        };
        let servers = passes::start(bench.servers, &scene)?;
        let job = |work: &str, questions, base: Option<&str>| Job {
            base: base.map(str::to_owned),
            upstream: Some(&upstream),
            fills: cache == Cache::With,
            ..Job::new(bench.plan, work.to_owned(), questions, &servers)
        };
        let names = |question: &dyn Fn(u32) -> Question| {
            Questions::new((0..NAMES).map(question).collect(), Edns::Without)
        };
        let jobs = match cache {
            Cache::With => vec![
                job(HIT, names(&|number| Question::existing(&zones, number)), None),
                job("cached forward", names(&Question::forwarded), Some(HIT)),
                job("cached alias", names(&Question::forwarded_alias), Some(HIT)),
                job("cached splice", names(&|number| Question::spliced(&zones, number)), Some(HIT)),
            ],
            Cache::Without => vec![Job {
                pace: bench.plan.pace.min(UPSTREAM_PACE_MAX),
                is_beside_upstream: true,
                ..job("uncached forward", Questions::fresh(), None)
            }],
        };
        let rows = passes::measure(bench.plan, bench.cores.server, jobs)?;
        if cache == Cache::Without {
            let what = "uncached forward: p50 above that of upstream itself, µs";
            found.figures.extend(rows.iter().map(|row| row.figure(what, 0, |measured| measured.added_us())));
        }
        found.rows.extend(rows);
    }
    Ok(found)
}
