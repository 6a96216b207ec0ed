//! What was measured, as one Markdown table.

use std::fmt::Write;

use crate::measured::Measured;
use crate::servers::Kind;

/// One kind of work, and what the servers did with it.
pub struct Row {
    pub work: String,
    /// The row that this one is set against, server by server.
    pub base: Option<String>,
    pub cells: Vec<Cell>,
}

/// Something that is no cost of a query, and what the servers did.
pub struct Figure {
    pub what: String,
    pub digits: usize,
    /// A value a pass.
    pub servers: Vec<(Kind, Vec<f64>)>,
}

/// One server at one kind of work.
pub struct Cell {
    pub server: Kind,
    /// It answers wrongly, or not any more.
    pub is_left_out: bool,
    /// In order; those of all servers at the same place were measured beside each other.
    pub passes: Vec<Measured>,
}

/// The table; a line for each server and kind of work.
pub fn markdown(rows: &[Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let ours = names_of_ours(rows.iter().flat_map(|row| &row.cells).map(|cell| &cell.server));
    let has_base = rows.iter().any(|row| row.base.is_some());
    let mut text = String::from("| work | server | CPU µs a query |");
    ours.iter().for_each(|name| write!(text, " {name} ÷ it |").expect("a cell"));
    text += if has_base { " it ÷ itself at |" } else { "" };
    text += " user + system µs | queries/s | busy | lost | wrong | p50 µs | p99 µs |\n|---|---|---|";
    (0..ours.len() + usize::from(has_base)).for_each(|_| text += "---|");
    text += "---|---|---|---|---|---|---|\n";
    for row in rows {
        for cell in &row.cells {
            write!(text, "| {} | {} |", row.work, cell.server.name()).expect("a cell");
            if cell.passes.is_empty() {
                let why = if cell.is_left_out { "answers wrongly" } else { "–" };
                writeln!(text, " {why} |{}", " – |".repeat(ours.len() + usize::from(has_base) + 7))
                    .expect("a line");
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
            if has_base {
                let base = row.base.as_ref().and_then(|base| rows.iter().find(|row| row.work == *base));
                let ratios =
                    base.map(|base| ratios_of(cell, base.cell(cell.server.name()))).unwrap_or_default();
                match base {
                    Some(base) if !ratios.is_empty() => {
                        write!(text, " {}: {} |", base.work, spread(&ratios, 2))
                    }
                    _ => write!(text, " – |"),
                }
                .expect("a cell");
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

/// What is no cost of a query, as a table of its own.
pub fn figures(figures: &[Figure]) -> String {
    if figures.is_empty() {
        return String::new();
    }
    let ours = names_of_ours(figures.iter().flat_map(|figure| &figure.servers).map(|(server, _)| server));
    let mut text = String::from("\n| what | server | measured |");
    ours.iter().for_each(|name| write!(text, " {name} ÷ it |").expect("a cell"));
    text += "\n|---|---|---|";
    ours.iter().for_each(|_| text += "---|");
    text += "\n";
    for figure in figures {
        for (server, values) in &figure.servers {
            if values.is_empty() {
                continue;
            }
            write!(text, "| {} | {} | {} |", figure.what, server.name(), spread(values, figure.digits))
                .expect("cells");
            for name in &ours {
                let ours = figure.servers.iter().find(|(server, _)| server.name() == *name);
                match ours {
                    Some((_, ours)) if server.name() != *name && !ours.is_empty() => {
                        let ratios: Vec<f64> =
                            ours.iter().zip(values).map(|(ours, theirs)| ours / theirs).collect();
                        // Of nothing there is no ratio.
                        let is_told = ratios.iter().all(|ratio| ratio.is_finite());
                        if is_told {
                            write!(text, " {} |", spread(&ratios, 2))
                        } else {
                            write!(text, " – |")
                        }
                    }
                    _ => write!(text, " – |"),
                }
                .expect("a cell");
            }
            text += "\n";
        }
    }
    text
}

impl Row {
    /// CPU time of one of ours by that of a server, pass by pass.
    fn ratios(&self, ours: &str, server: &Cell) -> Vec<f64> {
        self.cell(ours).map(|ours| ratios_of(ours, Some(server))).unwrap_or_default()
    }

    pub fn cell(&self, server: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.server.name() == server)
    }

    /// A value a pass of each server, where there is one.
    pub fn figure(&self, what: &str, digits: usize, of: impl Fn(&Measured) -> Option<f64>) -> Figure {
        let values = |cell: &Cell| cell.passes.iter().filter_map(&of).collect();
        let servers = self.cells.iter().map(|cell| (cell.server.clone(), values(cell))).collect();
        Figure { what: what.to_owned(), digits, servers }
    }
}

/// CPU time of one by that of another, pass by pass.
pub fn ratios_of(one: &Cell, other: Option<&Cell>) -> Vec<f64> {
    let other = other.map_or(&[][..], |cell| &cell.passes);
    one.passes.iter().zip(other).map(|(one, other)| one.cpu_us() / other.cpu_us()).collect()
}

fn names_of_ours<'k>(servers: impl Iterator<Item = &'k Kind>) -> Vec<&'k str> {
    servers.filter(|server| server.is_ours()).map(Kind::name).fold(Vec::new(), |mut names, name| {
        if !names.contains(&name) {
            names.push(name);
        }
        names
    })
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
