//! The passes: every list of questions to every server in turn, ours and the peers interleaved.

use std::time::Duration;

use anyhow::Context;

use crate::blast::{self, Flood, Paced, Sending, Target};
use crate::check;
use crate::machine;
use crate::questions::Questions;
use crate::servers::{Kind, Scene, Server};
use crate::table::{Cell, Row};

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

/// Starts the servers, asks all lists in all passes, and ends them.
pub fn run(
    plan: &Plan,
    kinds: &[Kind],
    scene: &Scene<'_>,
    lists: Vec<(String, Questions)>,
) -> anyhow::Result<Vec<Row>> {
    let mut servers = Vec::new();
    for kind in kinds {
        eprintln!("starting {}", kind.name());
        servers.push(kind.start(scene)?);
    }
    measure(plan, &servers, scene, lists)
}

/// Asks all lists in all passes.
pub fn measure(
    plan: &Plan,
    servers: &[Server],
    scene: &Scene<'_>,
    mut lists: Vec<(String, Questions)>,
) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (work, questions) in &lists {
        let cells = servers.iter().map(|server| {
            let wrong = check::samples(server.address, questions).err().map(|error| format!("{error:#}"));
            if let Some(wrong) = &wrong {
                eprintln!("{work}: {} answers wrongly and is left out: {wrong}", server.kind.name());
            }
            Cell { server: server.kind.clone(), is_left_out: wrong.is_some(), passes: Vec::new() }
        });
        rows.push(Row { work: work.clone(), cells: cells.collect() });
    }
    for pass in 0..plan.passes {
        for ((work, questions), row) in lists.iter_mut().zip(&mut rows) {
            for turn in 0..servers.len() {
                // Each begins once: whoever follows another finds its caches.
                let index = (turn + pass) % servers.len();
                if row.cells[index].is_left_out {
                    continue;
                }
                machine::go_on()?;
                let server = &servers[index];
                let measured = one(plan, server, scene.cores.server, questions);
                let measured = measured.with_context(|| format!("{work}, {}", server.kind.name()))?;
                eprintln!(
                    "pass {}/{} {work:<28} {:<10} {}",
                    pass + 1,
                    plan.passes,
                    server.kind.name(),
                    measured.line()
                );
                row.cells[index].passes.push(measured);
            }
        }
    }
    Ok(rows)
}

/// What one server did in one pass.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub flood: Flood,
    pub p50: Duration,
    pub p99: Duration,
    /// Of the paced questions.
    pub paced_lost: u64,
}

impl Measured {
    /// CPU time an answer, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.an_answer(self.flood.cpu.all())
    }

    pub fn user_us(&self) -> f64 {
        self.an_answer(self.flood.cpu.user)
    }

    pub fn system_us(&self) -> f64 {
        self.an_answer(self.flood.cpu.system)
    }

    pub fn a_second(&self) -> f64 {
        self.flood.answered as f64 / self.flood.took.as_secs_f64()
    }

    /// How much of its core the server used, and how much others did.
    pub fn shares(&self) -> (f64, f64) {
        let share = |time: Duration| time.as_secs_f64() / self.flood.took.as_secs_f64();
        (share(self.flood.cpu.all()), share(self.flood.foreign))
    }

    pub fn lost(&self) -> u64 {
        self.flood.whole.lost + self.paced_lost
    }

    fn an_answer(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.flood.answered.max(1) as f64
    }

    fn line(&self) -> String {
        let (busy, foreign) = self.shares();
        let whole = self.flood.whole;
        format!(
            "{:.2} µs ({:.2} user + {:.2} system), {:.0}/s, {:.0} % busy, {:.0} % others; of {} asked {} answered, {} lost, {} wrong, {} stray; p50 {:.0} µs, p99 {:.0} µs, {} lost",
            self.cpu_us(),
            self.user_us(),
            self.system_us(),
            self.a_second(),
            busy * 100.0,
            foreign * 100.0,
            whole.sent,
            whole.answered,
            whole.lost,
            whole.wrong,
            whole.stray,
            self.p50.as_secs_f64() * 1e6,
            self.p99.as_secs_f64() * 1e6,
            self.paced_lost,
        )
    }
}

fn one(plan: &Plan, server: &Server, core: usize, questions: &mut Questions) -> anyhow::Result<Measured> {
    let target =
        Target { address: server.address, processes: &server.processes, core, sending: plan.sending };
    let flood = blast::flood(target, questions, plan.warm_up, plan.window)?;
    if let Some((header, right)) = flood.whole.example {
        eprintln!("{}: {} wrong, as {header:02x?} for {right:?}", server.kind.name(), flood.whole.wrong);
    }
    anyhow::ensure!(flood.answered > 0, "no question was answered");
    let Paced { took, tally } = blast::pace(target, questions, plan.pace, plan.paced)?;
    let at = |share: f64| {
        let last = took.len().saturating_sub(1) as f64;
        took.get((last * share).round() as usize).copied().unwrap_or_default()
    };
    Ok(Measured { flood, p50: at(0.5), p99: at(0.99), paced_lost: tally.lost + tally.wrong })
}
