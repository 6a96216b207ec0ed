//! What was measured, as one Markdown table.

use std::fmt::Write;

use crate::passes::Measured;
use crate::servers::Kind;

/// One kind of work, and what the servers did with it.
pub struct Row {
    pub work: String,
    pub cells: Vec<Cell>,
}

/// One server at one kind of work.
pub struct Cell {
    pub server: Kind,
    /// It answers wrongly.
    pub is_left_out: bool,
    /// In order; those of all servers at the same place were measured beside each other.
    pub passes: Vec<Measured>,
}

/// The table; a line for each server and kind of work.
pub fn markdown(rows: &[Row]) -> String {
    let ours: Vec<&str> = rows
        .iter()
        .flat_map(|row| &row.cells)
        .filter(|cell| cell.server.is_ours())
        .map(|cell| cell.server.name())
        .fold(Vec::new(), |mut names, name| {
            if !names.contains(&name) {
                names.push(name);
            }
            names
        });
    let mut text = String::from("| work | server | CPU µs a query |");
    ours.iter().for_each(|name| write!(text, " {name} ÷ it |").expect("a cell"));
    text += " user + system µs | queries/s | busy | lost | wrong | p50 µs | p99 µs |\n|---|---|---|";
    ours.iter().for_each(|_| text += "---|");
    text += "---|---|---|---|---|---|---|\n";
    for row in rows {
        for cell in &row.cells {
            write!(text, "| {} | {} |", row.work, cell.server.name()).expect("a cell");
            if cell.passes.is_empty() {
                let why = if cell.is_left_out { "answers wrongly" } else { "–" };
                writeln!(text, " {why} |{}", " – |".repeat(ours.len() + 7)).expect("a line");
                continue;
            }
            write!(text, " {} |", spread(&all(cell, Measured::cpu_us), 2)).expect("a cell");
            for name in &ours {
                let ratios = row.ratios(name, cell);
                let is_itself = cell.server.name() == *name;
                let ratio =
                    if ratios.is_empty() || is_itself { "–".to_owned() } else { spread(&ratios, 2) };
                write!(text, " {ratio} |").expect("a cell");
            }
            let median_of = |of: fn(&Measured) -> f64| median(&all(cell, of));
            writeln!(
                text,
                " {:.2} + {:.2} | {} | {:.0} % | {} | {} | {:.0} | {:.0} |",
                median_of(Measured::user_us),
                median_of(Measured::system_us),
                spread(&all(cell, Measured::a_second), 0),
                median_of(|measured| measured.shares().0 * 100.0),
                cell.passes.iter().map(Measured::lost).sum::<u64>(),
                cell.passes.iter().map(|measured| measured.flood.whole.wrong).sum::<u64>(),
                median_of(|measured| measured.p50.as_secs_f64() * 1e6),
                median_of(|measured| measured.p99.as_secs_f64() * 1e6),
            )
            .expect("a line");
        }
    }
    text
}

/// How much of the servers' core others had: median and most of all runs, in percent.
pub fn foreign_percent(rows: &[Row]) -> Option<(f64, f64)> {
    let passes = rows.iter().flat_map(|row| &row.cells).flat_map(|cell| &cell.passes);
    let shares: Vec<f64> = passes.map(|measured| measured.shares().1 * 100.0).collect();
    let most = shares.iter().copied().reduce(f64::max)?;
    Some((median(&shares), most))
}

impl Row {
    /// CPU time of one of ours by that of a server, pass by pass.
    fn ratios(&self, ours: &str, server: &Cell) -> Vec<f64> {
        let ours = self.cells.iter().find(|cell| cell.server.name() == ours);
        let ours = ours.map_or(&[][..], |cell| &cell.passes);
        ours.iter().zip(&server.passes).map(|(ours, theirs)| ours.cpu_us() / theirs.cpu_us()).collect()
    }
}

fn all(cell: &Cell, of: impl Fn(&Measured) -> f64) -> Vec<f64> {
    cell.passes.iter().map(of).collect()
}

/// Median (least–most).
fn spread(values: &[f64], digits: usize) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.digits$} ({least:.digits$}–{most:.digits$})", median(values))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}
