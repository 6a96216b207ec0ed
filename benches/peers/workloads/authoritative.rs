//! 100,000 records in 60 private-link zones: names that exist, that have no such data, that do not exist, and all mixed.

use super::{Bench, Found, Workload};
use crate::passes::{self, Job};
use crate::questions::{Edns, Question, Questions};
use crate::servers::{Kind, Scene};
use crate::zones::{RECORDS, ZONES, Zones};

pub const WORKLOAD: Workload = Workload {
    name: "authoritative",
    about: "100,000 records in 60 zones: existing, no data, no such name and mixed, each without and with EDNS",
    peers: &[Kind::Nsd, Kind::Knot, Kind::Bare],
    run,
};

fn run(bench: &Bench<'_>) -> anyhow::Result<Found> {
    let zones = Zones::write(bench.folder.join("zones"), ZONES, RECORDS)?;
    let mut lists = Vec::new();
    for edns in [Edns::Without, Edns::With] {
        let with = if edns == Edns::With { ", EDNS" } else { "" };
        let mut list = |name: &str, question: fn(&Zones, u32) -> Question| {
            let questions = (0..RECORDS).map(|number| question(&zones, number)).collect();
            lists.push((format!("{name}{with}"), Questions::new(questions, edns)));
        };
        list("existing", Question::existing);
        list("no data", Question::no_data);
        list("no such name", Question::no_such_name);
        list("mixed", mixed);
    }
    let scene = Scene::new(&zones, bench.folder.to_owned(), bench.cores.server);
    let servers = passes::start(bench.servers, &scene)?;
    let jobs = lists.into_iter().map(|(work, questions)| Job::new(bench.plan, work, questions, &servers));
    Ok(passes::measure(bench.plan, bench.cores.server, jobs.collect())?.into())
}

/// Of twenty 16 for an address, 2 without data, 1 that is not there, 1 for an apex.
pub fn mixed(zones: &Zones, number: u32) -> Question {
    // In the order of zones, so that no zone has one kind only.
    match (number / zones.apexes.len() as u32) % 20 {
        0..16 => Question::existing(zones, number),
        16 | 17 => Question::no_data(zones, number),
        18 => Question::no_such_name(zones, number),
        _ => Question::apex(zones, number),
    }
}
