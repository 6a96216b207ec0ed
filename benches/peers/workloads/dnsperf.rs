//! A second opinion: the same questions by DNS-OARC's dnsperf.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::{Bench, Found, Workload};
use crate::check;
use crate::cpu::Cpu;
use crate::questions::{Edns, Question, Questions};
use crate::servers::{Kind, Scene};
use crate::table::Figure;
use crate::zones::{RECORDS, ZONES, Zones};
use crate::{blast::Transport, install, machine, measured, passes};

pub const WORKLOAD: Workload = Workload {
    name: "dnsperf",
    about: "a cross-check: existing names of `authoritative` asked by dnsperf, which is dearer than the servers and does not fill their core",
    peers: &[Kind::Nsd, Kind::Knot, Kind::Bare],
    run,
};

/// What is told of a run.
const FIGURES: [(&str, usize); 4] = [
    ("by dnsperf: CPU µs a query", 2),
    ("by dnsperf: queries/s", 0),
    ("by dnsperf: mean latency, µs", 0),
    ("by dnsperf: lost", 0),
];

fn run(bench: &Bench<'_>) -> anyhow::Result<Found> {
    let program = install::program("dnsperf", "dnsperf")?;
    let zones = Zones::write(bench.folder.join("zones"), ZONES, RECORDS)?;
    let mut list = String::new();
    for number in 0..RECORDS {
        writeln!(list, "{} A", Question::existing(&zones, number).name)?;
    }
    let file = bench.folder.join("questions");
    fs::write(&file, list)?;
    let samples = (0..RECORDS).map(|number| Question::existing(&zones, number)).collect();
    let samples = Questions::new(samples, Edns::Without);
    let scene = Scene::new(&zones, bench.folder.to_owned(), bench.cores.server);
    let servers = passes::start(bench.servers, &scene)?;
    let mut figures = FIGURES.map(|(what, digits)| Figure {
        what: what.to_owned(),
        digits,
        servers: bench.servers.iter().map(|kind| (kind.clone(), Vec::new())).collect(),
    });
    for server in &servers {
        check::samples(server.address, Transport::Udp(bench.plan.sending), &samples)
            .with_context(|| format!("{} answers wrongly", server.kind.name()))?;
    }
    for pass in 0..bench.plan.passes {
        for turn in 0..servers.len() {
            machine::go_on()?;
            let index = (turn + pass) % servers.len();
            let server = &servers[index];
            let mut command = Command::new(&program);
            command.args(["-s", &server.address.ip().to_string(), "-p", &server.address.port().to_string()]);
            command.args(["-c", "4", "-T", "1", "-q", "1000", "-d"]).arg(&file);
            // It takes whole seconds.
            command.args(["-l", &bench.plan.window.as_secs().max(1).to_string()]);
            let before = Cpu::of(&server.processes);
            let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
            let cpu = Cpu::of(&server.processes) - before;
            machine::go_on()?;
            ensure!(output.status.success(), "dnsperf: {}", output.status);
            let said = String::from_utf8_lossy(&output.stdout);
            let lines = said.lines().filter_map(|line| line.trim().split_once(':'));
            let said: HashMap<&str, &str> = lines.collect();
            let number = |what: &str| {
                let text = said.get(what).and_then(|text| text.split_whitespace().next());
                let number: Option<f64> = text.and_then(|text| text.parse().ok());
                number.with_context(|| format!("dnsperf does not tell its {what}"))
            };
            let completed = number("Queries completed")?;
            let right = said.get("Response codes").is_some_and(|codes| codes.trim().starts_with("NOERROR"));
            ensure!(completed > 0.0 && right, "{} did not answer dnsperf rightly", server.kind.name());
            let told = [
                measured::us(cpu.all()) / completed,
                number("Queries per second")?,
                number("Average Latency (s)")? * 1e6,
                number("Queries lost")?,
            ];
            eprintln!(
                "pass {}/{} by dnsperf {:<10} {:.2} µs, {:.0}/s, mean latency {:.0} µs, {} lost",
                pass + 1,
                bench.plan.passes,
                server.kind.name(),
                told[0],
                told[1],
                told[2],
                told[3]
            );
            for (figure, value) in figures.iter_mut().zip(told) {
                figure.servers[index].1.push(value);
            }
        }
    }
    // Passes are rotated, but each server has one value a pass, so they stay beside each other.
    Ok(Found { rows: Vec::new(), figures: figures.into() })
}
