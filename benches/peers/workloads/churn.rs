//! Whether queries suffer while records change: a zone of a million, one record written by the API each millisecond.

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::{Bench, Found, Workload};
use crate::blast::{self, Paced, Target, Transport};
use crate::questions::{Edns, Question, Questions, Right};
use crate::servers::{Kind, Scene, Server, free_address};
use crate::table::Figure;
use crate::writer::{Change, Writer};
use crate::zones::{Zones, label};
use crate::{check, machine, measured};

pub const WORKLOAD: Workload = Workload {
    name: "churn",
    about: "one zone of 1,000,000 records: p99 and lost queries at a pace, idle and beside a record changed by the API each ms",
    peers: &[],
    run,
};

const RECORDS: u32 = 1_000_000;

/// For the last writes to be answered.
const SETTLE: Duration = Duration::from_secs(20);

const FIGURES: [(&str, usize); 7] = [
    ("p99 of queries, idle, µs", 0),
    ("p99 beside changes, µs", 0),
    ("p99 beside changes ÷ idle", 2),
    ("p50 beside changes ÷ idle", 2),
    ("queries lost beside changes", 0),
    ("changes a second", 0),
    ("changes that were late", 0),
];

fn run(bench: &Bench<'_>) -> anyhow::Result<Found> {
    let zones = Zones::write(bench.folder.join("zones"), 1, RECORDS)?;
    let questions = (0..RECORDS).map(|number| Question::existing(&zones, number)).collect();
    let mut questions = Questions::new(questions, Edns::Without);
    let mut figures = FIGURES.map(|(what, digits)| Figure {
        what: what.to_owned(),
        digits,
        servers: bench.servers.iter().map(|kind| (kind.clone(), Vec::new())).collect(),
    });
    let mut servers = Vec::new();
    for kind in bench.servers {
        servers.push(Written::start(kind, bench, &zones)?);
    }
    let mut written = 0;
    for pass in 0..bench.plan.passes {
        for (index, server) in servers.iter_mut().enumerate() {
            let kind = &server.server.kind;
            check::samples(server.server.address, Transport::Udp(bench.plan.sending), &questions)
                .with_context(|| format!("{} answers wrongly", kind.name()))?;
            let told = server.measure(bench, &zones, &mut questions, &mut written)?;
            eprintln!("pass {}/{} churn {}:", pass + 1, bench.plan.passes, server.server.kind.name());
            for (figure, value) in figures.iter_mut().zip(told) {
                eprintln!("    {}: {value:.2}", figure.what);
                figure.servers[index].1.push(value);
            }
        }
    }
    Ok(Found { rows: Vec::new(), figures: figures.into() })
}

/// A server and one who writes to it.
struct Written {
    server: Server,
    writer: Writer,
}

impl Written {
    fn start(kind: &Kind, bench: &Bench<'_>, zones: &Zones) -> anyhow::Result<Written> {
        let api = free_address()?;
        let folder = bench.folder.join("servers");
        let scene = Scene { admin: Some(api), ..Scene::new(zones, folder, bench.cores.server) };
        eprintln!("starting {}", kind.name());
        let server = kind.start(&scene)?;
        let token = scene.folder.join(kind.name()).join("state/admin.token");
        let token = fs::read_to_string(&token).with_context(|| token.display().to_string())?;
        Ok(Written { server, writer: Writer::to(api, &token)? })
    }

    fn measure(
        &mut self,
        bench: &Bench<'_>,
        zones: &Zones,
        questions: &mut Questions,
        written: &mut u32,
    ) -> anyhow::Result<[f64; FIGURES.len()]> {
        let plan = bench.plan;
        let target = Target {
            address: self.server.address,
            processes: &self.server.processes,
            core: bench.cores.server,
            transport: Transport::Udp(plan.sending),
            sources: &[Ipv4Addr::LOCALHOST],
        };
        machine::go_on()?;
        let idle = blast::pace(target, questions, plan.pace, plan.window, &mut || Ok(()))?;
        let mut last = None;
        let mut next = || {
            *written += 1;
            // Numbers that share no factor: each record once in a million writes.
            let number = (u64::from(*written) * 7_919 % u64::from(RECORDS)) as u32;
            let address = Ipv4Addr::from(0x0b00_0000 | *written & 0x00ff_ffff);
            let question = Question::existing(zones, number);
            last = Some(Question { right: Right::Address(address), ..question });
            Change {
                path: format!("/api/v1/zones/{}/record-sets/{}/A", zones.apexes[0], label(number)),
                body: format!("{{\"ttl\": 60, \"records\": [\"{address}\"]}}"),
            }
        };
        let writer = &mut self.writer;
        writer.restart();
        let begun = Instant::now();
        let beside = blast::pace(target, questions, plan.pace, plan.window, &mut || writer.turn(&mut next))?;
        let (changes, late) = (writer.written as f64 / begun.elapsed().as_secs_f64(), writer.late as f64);
        ensure!(writer.settle(SETTLE)?, "the API does not answer");
        if let Some(last) = last {
            check::one(self.server.address, &last).context("the last change is not served")?;
        }
        let at = |paced: &Paced, share: f64| measured::us(paced.at(share));
        let lost = beside.tally.lost + beside.tally.wrong;
        Ok([
            at(&idle, 0.99),
            at(&beside, 0.99),
            at(&beside, 0.99) / at(&idle, 0.99),
            at(&beside, 0.5) / at(&idle, 0.5),
            lost as f64,
            changes,
            late,
        ])
    }
}
