//! The kinds of work, one file each.

mod authoritative;
mod churn;
mod control;
mod dnsperf;
mod forward;
mod memory;
mod scale;
mod sizes;
mod start;
mod tcp;
mod views;

use std::path::Path;

use crate::machine::Cores;
use crate::passes::Plan;
use crate::servers::Kind;
use crate::table::{Figure, Row};

/// Questions a second while latency is measured and each is asked upstream: the slowest peer's core has work for five times as many.
pub const UPSTREAM_PACE_MAX: u32 = 2_000;

/// A kind of work that is measured.
pub struct Workload {
    pub name: &'static str,
    pub about: &'static str,
    /// Peers that can do it, in the order of the table; ours goes before them.
    pub peers: &'static [Kind],
    pub run: fn(&Bench<'_>) -> anyhow::Result<Found>,
}

/// What all of them are run with.
pub struct Bench<'b> {
    pub plan: &'b Plan,
    /// Ours and those peers of the workload that were asked for, installed.
    pub servers: &'b [Kind],
    /// For files; it goes with the run.
    pub folder: &'b Path,
    pub cores: Cores,
}

/// What was found.
#[derive(Default)]
pub struct Found {
    pub rows: Vec<Row>,
    pub figures: Vec<Figure>,
}

impl Found {
    pub fn add(&mut self, more: Found) {
        self.rows.extend(more.rows);
        self.figures.extend(more.figures);
    }
}

impl From<Vec<Row>> for Found {
    fn from(rows: Vec<Row>) -> Found {
        Found { rows, figures: Vec::new() }
    }
}

/// All, in the order they are run.
pub const ALL: &[Workload] = &[
    control::WORKLOAD,
    authoritative::WORKLOAD,
    forward::WORKLOAD,
    tcp::WORKLOAD,
    sizes::WORKLOAD,
    views::WORKLOAD,
    memory::WORKLOAD,
    start::WORKLOAD,
    churn::WORKLOAD,
    scale::WORKLOAD,
    dnsperf::WORKLOAD,
];
