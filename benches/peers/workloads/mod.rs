//! The kinds of work, one file each.

mod authoritative;

use std::path::Path;

use crate::machine::Cores;
use crate::passes::Plan;
use crate::servers::Kind;
use crate::table::Row;

/// A kind of work that is measured.
pub struct Workload {
    pub name: &'static str,
    pub about: &'static str,
    /// Peers that can do it, in the order of the table; ours goes before them.
    pub peers: &'static [Kind],
    pub run: fn(&Bench<'_>) -> anyhow::Result<Vec<Row>>,
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

/// All, in the order they are run.
pub const ALL: &[Workload] = &[authoritative::WORKLOAD];
