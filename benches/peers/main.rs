//! Ours beside the best peers, each kind of work in one run on one machine: `cargo bench --bench peers`.
//!
//! `cargo bench --bench peers -- --help` tells what can be chosen.

mod bare;
mod blast;
mod check;
mod cpu;
mod datagrams;
mod install;
mod lane;
mod machine;
mod measured;
mod passes;
mod questions;
mod servers;
mod stream;
mod table;
mod upstream;
mod workloads;
mod writer;
mod zones;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use bare::Fault;
use datagrams::Sending;
use machine::Cores;
use passes::Plan;
use servers::Kind;
use workloads::{Bench, Found, Workload};

/// Measures privatelink-dns beside the best peers: CPU time a query, throughput and latency, in one Markdown table.
#[derive(Parser)]
#[command(name = "peers")]
struct Arguments {
    /// Kinds of work; all without one
    workloads: Vec<String>,
    /// Show the kinds of work and their peers
    #[arg(long)]
    list: bool,
    /// How often all is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    passes: u16,
    /// How long each run counts, in seconds
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// How long each run goes on before it counts, in seconds
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    warm_up: f64,
    /// How long latency is measured at a pace, in seconds
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    paced: f64,
    /// Questions a second while latency is measured
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pace: u32,
    /// How questions are handed to the kernel
    #[arg(long, value_enum, default_value_t = Sending::Gso)]
    sending: Sending,
    /// A build of ours to measure, and its name in the table; may be repeated. Default: "ours", by `cargo build --release`
    #[arg(long, value_name = "LABEL=PATH", value_parser = build)]
    ours: Vec<Kind>,
    /// Only these peers, by comma
    #[arg(long, value_delimiter = ',')]
    peers: Option<Vec<String>>,
    /// Write the table into a file, too
    #[arg(long)]
    out: Option<PathBuf>,
    /// What cargo says to benchmarks
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the bare responder
    #[arg(long, hide = true)]
    serve_bare: Option<SocketAddr>,
    /// How the bare responder is wrong
    #[arg(long, hide = true)]
    fault: Option<Fault>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(address) = arguments.serve_bare {
        return Ok(bare::serve(address, arguments.fault)?);
    }
    if arguments.list {
        for workload in workloads::ALL {
            let peers: Vec<&str> = workload.peers.iter().map(Kind::name).collect();
            let peers =
                if peers.is_empty() { String::new() } else { format!("; peers: {}", peers.join(", ")) };
            println!("{:<16} {}{peers}", workload.name, workload.about);
        }
        return Ok(());
    }
    let chosen = arguments.chosen()?;
    arguments.has_names_once()?;
    let cores = Cores::find()?;
    // Before this process keeps to one core.
    let ours = arguments.builds_of_ours()?;
    machine::heed_interrupts();
    machine::adopt().context("servers' children cannot be waited for")?;
    machine::pin(&[cores.generator]).context("the generator cannot be kept on its core")?;
    let plan = arguments.plan();
    let (mut found, mut told) = (Found::default(), Vec::new());
    for workload in chosen {
        let servers = arguments.servers(&ours, workload);
        for server in &servers {
            server.install()?;
            let description = server.description();
            if !told.contains(&description) {
                told.push(description);
            }
        }
        let folder = tempfile::tempdir()?;
        let bench = Bench { plan: &plan, servers: &servers, folder: folder.path(), cores };
        found.add((workload.run)(&bench).with_context(|| workload.name)?);
    }
    let mut text = table::markdown(&found.rows);
    text += &table::figures(&found.figures);
    text += &arguments.notes(&told, cores, &found.rows);
    print!("{text}");
    if let Some(out) = &arguments.out {
        fs::write(out, &text).with_context(|| out.display().to_string())?;
    }
    Ok(())
}

impl Arguments {
    fn chosen(&self) -> anyhow::Result<Vec<&'static Workload>> {
        if self.workloads.is_empty() {
            return Ok(workloads::ALL.iter().collect());
        }
        let by_name = |name: &String| {
            let workload = workloads::ALL.iter().find(|workload| workload.name == name);
            workload.with_context(|| format!("there is no workload `{name}`; --list shows them"))
        };
        self.workloads.iter().map(by_name).collect()
    }

    /// A name is a line of the table, and a folder.
    fn has_names_once(&self) -> anyhow::Result<()> {
        for (at, ours) in self.ours.iter().enumerate() {
            let is_there = self.ours[..at].iter().any(|other| other.name() == ours.name());
            anyhow::ensure!(!is_there, "--ours {} is there twice", ours.name());
        }
        let peers = || workloads::ALL.iter().flat_map(|workload| workload.peers).map(Kind::name);
        let unknown = self.peers.iter().flatten().find(|name| peers().all(|peer| peer != name.as_str()));
        anyhow::ensure!(unknown.is_none(), "there is no peer `{}`", unknown.map_or("", String::as_str));
        Ok(())
    }

    fn builds_of_ours(&self) -> anyhow::Result<Vec<Kind>> {
        if !self.ours.is_empty() {
            return Ok(self.ours.clone());
        }
        Ok(vec![Kind::Ours { label: "ours".to_owned(), path: servers::ours::build()? }])
    }

    fn servers(&self, ours: &[Kind], workload: &Workload) -> Vec<Kind> {
        let mut servers = ours.to_vec();
        let is_wanted = |kind: &&Kind| {
            self.peers.as_ref().is_none_or(|peers| peers.iter().any(|peer| peer == kind.name()))
        };
        servers.extend(workload.peers.iter().filter(is_wanted).cloned());
        servers
    }

    fn plan(&self) -> Plan {
        Plan {
            passes: self.passes.into(),
            warm_up: Duration::from_secs_f64(self.warm_up),
            window: Duration::from_secs_f64(self.seconds),
            paced: Duration::from_secs_f64(self.paced),
            pace: self.pace,
            sending: self.sending,
        }
    }

    /// What the table means and where it comes from.
    fn notes(&self, servers: &[String], cores: Cores, rows: &[table::Row]) -> String {
        let mut text =
            format!("\nMedians of {} passes (least–most); ratios are of the same pass.", self.passes);
        if let Some((median, most)) = table::foreign_percent(rows) {
            text += &format!(
                " CPU: user and system time of all the server's processes by answers in {} s, the server's core ({}) full, the \
generator on core {}, {}; ratios are of it. Busy: the server's CPU time by the clock; others had {median:.1} % of its core (most: \
{most:.1} %). Latency: one question at a time at {}/s for {} s, {}/s where each is asked upstream.",
                self.seconds,
                cores.server,
                cores.generator,
                match self.sending {
                    Sending::Gso => "which sends 64 questions at once with UDP_SEGMENT",
                    Sending::Each => "which sends with sendmmsg",
                },
                self.pace,
                self.paced,
                self.pace.min(workloads::UPSTREAM_PACE_MAX),
            );
        }
        text + &format!("\n\n{}. {}.\n", machine::description(), servers.join("; "))
    }
}

fn build(text: &str) -> Result<Kind, String> {
    let (label, path) = text.split_once('=').ok_or("it is LABEL=PATH")?;
    let mut peers = workloads::ALL.iter().flat_map(|workload| workload.peers).map(Kind::name);
    if label.is_empty() || label.contains(['|', '/']) || peers.any(|peer| peer == label) {
        return Err(format!("`{label}` is no good name in the table"));
    }
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    Ok(Kind::Ours { label: label.to_owned(), path })
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number")?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("it is not within 0.1 and 3600".to_owned())
    }
}
