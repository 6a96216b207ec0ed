//! The records of `authoritative` over TCP: eight connections, many questions a write, none awaited before the next.

use std::net::Ipv4Addr;

use super::authoritative::mixed;
use super::{Bench, Found, Workload};
use crate::blast::Transport;
use crate::passes::{self, Job};
use crate::questions::{Edns, Question, Questions};
use crate::servers::{Kind, Scene};
use crate::zones::{RECORDS, ZONES, Zones};

pub const WORKLOAD: Workload = Workload {
    name: "tcp",
    about: "100,000 records in 60 zones over 8 connections, pipelined: existing and mixed",
    peers: &[Kind::Nsd, Kind::Knot],
    run,
};

const CONNECTIONS: usize = 8;

fn run(bench: &Bench<'_>) -> anyhow::Result<Found> {
    let zones = Zones::write(bench.folder.join("zones"), ZONES, RECORDS)?;
    let scene = Scene::new(&zones, bench.folder.to_owned(), bench.cores.server);
    let servers = passes::start(bench.servers, &scene)?;
    let job = |work: &str, question: fn(&Zones, u32) -> Question| {
        let questions = (0..RECORDS).map(|number| question(&zones, number)).collect();
        let questions = Questions::new(questions, Edns::Without);
        Job {
            transport: Transport::Tcp,
            sources: vec![Ipv4Addr::LOCALHOST; CONNECTIONS],
            ..Job::new(bench.plan, work.to_owned(), questions, &servers)
        }
    };
    let jobs = vec![job("TCP, existing", Question::existing), job("TCP, mixed", mixed)];
    Ok(passes::measure(bench.plan, bench.cores.server, jobs)?.into())
}
