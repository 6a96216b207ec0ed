//! The passes: every list of questions to every server in turn, ours and the peers interleaved.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context;

use crate::blast::{self, Target, Transport};
use crate::check;
use crate::datagrams::Sending;
use crate::machine;
use crate::measured::Measured;
use crate::questions::Questions;
use crate::servers::{Kind, Scene, Server};
use crate::table::{Cell, Row};
use crate::upstream::Upstream;

/// Who asks, each with a port of its own.
const SOURCES: [Ipv4Addr; 4] = [Ipv4Addr::LOCALHOST; 4];

/// How often a server that answers nothing is measured again.
const TRIES: usize = 3;

/// How long and how often is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub passes: usize,
    pub warm_up: Duration,
    pub window: Duration,
    pub paced: Duration,
    /// Questions a second while latency is measured.
    pub pace: u32,
    pub sending: Sending,
}

/// A line of the table: questions and who is asked.
pub struct Job<'j> {
    pub work: String,
    pub questions: Questions,
    pub servers: Vec<&'j Server>,
    /// The work that this one is set against.
    pub base: Option<String>,
    pub transport: Transport,
    pub sources: Vec<Ipv4Addr>,
    /// Questions a second while latency is measured.
    pub pace: u32,
    /// Where the servers ask; answered by the generator itself, as one process more on its core would disturb it.
    pub upstream: Option<&'j Upstream>,
    /// Whether all is asked before it is measured, for it to be kept.
    pub fills: bool,
    /// Whether upstream is asked directly, too, to tell what the server adds.
    pub is_beside_upstream: bool,
}

impl<'j> Job<'j> {
    pub fn new(plan: &Plan, work: String, questions: Questions, servers: &'j [Server]) -> Job<'j> {
        Job {
            work,
            questions,
            servers: servers.iter().collect(),
            base: None,
            transport: Transport::Udp(plan.sending),
            sources: SOURCES.to_vec(),
            pace: plan.pace,
            upstream: None,
            fills: false,
            is_beside_upstream: false,
        }
    }
}

/// Starts servers of some kinds.
pub fn start(kinds: &[Kind], scene: &Scene<'_>) -> anyhow::Result<Vec<Server>> {
    let start = |kind: &Kind| {
        eprintln!("starting {}", kind.name());
        kind.start(scene)
    };
    kinds.iter().map(start).collect()
}

/// Asks all lists in all passes.
pub fn measure(plan: &Plan, core: usize, mut jobs: Vec<Job<'_>>) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for job in &mut jobs {
        let cells = job.servers.iter().map(|server| {
            let wrong = check::samples(server.address, job.transport, &job.questions).err();
            if let Some(wrong) = &wrong {
                eprintln!(
                    "{}: {} answers wrongly and is left out: {}",
                    job.work,
                    server.kind.name(),
                    format!("{wrong:#}").replace('\n', " ")
                );
            }
            Cell { server: server.kind.clone(), is_left_out: wrong.is_some(), passes: Vec::new() }
        });
        let cells: Vec<Cell> = cells.collect();
        for (server, _) in job.servers.iter().zip(&cells).filter(|(_, cell)| job.fills && !cell.is_left_out) {
            let _busy = job.upstream.map(Upstream::take_over);
            let mut aside = || job.upstream.map_or(Ok(()), Upstream::turn);
            let target = target(server, core, job.transport, &job.sources);
            blast::fill(target, &mut job.questions, &mut aside)
                .with_context(|| format!("{}, {}", job.work, server.kind.name()))?;
        }
        rows.push(Row { work: job.work.clone(), base: job.base.clone(), cells });
    }
    for pass in 0..plan.passes {
        for (job, row) in jobs.iter_mut().zip(&mut rows) {
            for turn in 0..job.servers.len() {
                // Each begins once: whoever follows another finds its caches.
                let index = (turn + pass) % job.servers.len();
                if row.cells[index].is_left_out {
                    continue;
                }
                machine::go_on()?;
                let server = job.servers[index];
                let measured = one(plan, server, core, job);
                let measured = measured.with_context(|| format!("{}, {}", job.work, server.kind.name()));
                let measured = match measured {
                    Err(error) if !server.kind.is_ours() => {
                        // One peer does not end the run of all.
                        eprintln!("it is left out from now on: {error:#}");
                        row.cells[index].is_left_out = true;
                        continue;
                    }
                    measured => measured?,
                };
                eprintln!(
                    "pass {}/{} {:<28} {:<10} {}",
                    pass + 1,
                    plan.passes,
                    job.work,
                    server.kind.name(),
                    measured.line()
                );
                row.cells[index].passes.push(measured);
            }
        }
    }
    Ok(rows)
}

fn one(plan: &Plan, server: &Server, core: usize, job: &mut Job<'_>) -> anyhow::Result<Measured> {
    let target = target(server, core, job.transport, &job.sources);
    let questions = &mut job.questions;
    let _busy = job.upstream.map(Upstream::take_over);
    let mut aside = || job.upstream.map_or(Ok(()), Upstream::turn);
    let mut flood = blast::flood(target, questions, plan.warm_up, plan.window, &mut aside)?;
    for _ in 1..TRIES {
        // On a busy machine a server may have had no time at all.
        if flood.answered == 0 {
            flood = blast::flood(target, questions, plan.warm_up, plan.window, &mut aside)?;
        }
    }
    if let Some((header, right)) = flood.whole.example {
        eprintln!("{}: {} wrong, as {header:02x?} for {right:?}", server.kind.name(), flood.whole.wrong);
    }
    anyhow::ensure!(flood.answered > 0, "no question was answered");
    let mut direct_p50 = None;
    if let (Some(upstream), true) = (job.upstream, job.is_beside_upstream) {
        let target = Target { address: upstream.address, processes: &[], ..target };
        direct_p50 = Some(blast::pace(target, questions, job.pace, plan.paced, &mut aside)?.at(0.5));
    }
    let paced = blast::pace(target, questions, job.pace, plan.paced, &mut aside)?;
    let paced_lost = paced.tally.lost + paced.tally.wrong;
    Ok(Measured { flood, p50: paced.at(0.5), p99: paced.at(0.99), paced_lost, direct_p50 })
}

fn target<'t>(server: &'t Server, core: usize, transport: Transport, sources: &'t [Ipv4Addr]) -> Target<'t> {
    Target { address: server.address, processes: &server.processes, core, transport, sources }
}
