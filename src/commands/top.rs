//! `top`: what clients ask a running server now.

use std::io::{IsTerminal, Write, stdout};
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::Outcome;
use super::client::{Client, Form, Output, ServerOptions, cell, write_json, write_table};

/// To the upper left corner, and away with what stands below.
const WIPE: &str = "\x1b[H\x1b[2J";

/// The most names and clients that the server tells of.
const LINES_MAX: u16 = 100;

/// Show what clients ask a running server now: rates, how answers came to be, the busiest names and clients.
#[derive(Args)]
#[command(after_help = "\
Rates are of the last ten seconds, or of less since somebody began to look. The token must be an operator's without a scope.

Examples:
  privatelink-dns top
  privatelink-dns top --once -o json --server http://127.0.0.1:8053")]
pub(super) struct Top {
    /// Show it once, of the next seconds, and end.
    #[arg(long)]
    once: bool,
    /// The seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=30))]
    every: u64,
    /// The names, and the clients, that are shown.
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=i64::from(LINES_MAX)))]
    lines: u16,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerOptions,
}

impl Top {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let client = Client::of(&self.server)?;
        let wipe =
            if !self.once && self.output.form == Form::Table && stdout().is_terminal() { WIPE } else { "" };
        let look = || client.call(Method::GET, &["top"]).send();
        // There is nothing to tell before the second look.
        look()?;
        loop {
            sleep(Duration::from_secs(self.every));
            let told = shown(&look()?, usize::from(self.lines));
            match self.output.form {
                Form::Json => write_json(&told, out)?,
                Form::Table => {
                    write!(out, "{wipe}")?;
                    write(&told, out)?;
                }
            }
            out.flush()?;
            if self.once {
                return Ok(Outcome::Well);
            }
        }
    }
}

/// What is shown of the server's answer: names and clients by their rates too.
fn shown(top: &Value, lines: usize) -> Value {
    let busiest = &top["busiest"];
    let over_secs = busiest["over_secs"].as_f64().unwrap_or_default();
    let rate = |queries: &Value| match queries.as_f64() {
        Some(queries) if over_secs > 0.0 => queries / over_secs,
        _ => 0.0,
    };
    let ranked = |list: &str, key: &str| -> Vec<Value> {
        let items = busiest[list].as_array().into_iter().flatten().take(lines);
        items.map(|it| json!({key: it[key], "queries_per_second": rate(&it["queries"])})).collect()
    };
    let mut shown = top.clone();
    shown["names"] = ranked("names", "name").into();
    shown["clients"] = ranked("clients", "address").into();
    if let Some(members) = shown.as_object_mut() {
        members.remove("busiest");
    }
    shown
}

fn write(top: &Value, out: &mut impl Write) -> anyhow::Result<()> {
    let rates = |words: &Value| {
        let words = words.as_object().into_iter().flatten();
        words.map(|(word, rate)| format!("  {word} {}", per_second(rate))).collect::<String>()
    };
    let over_secs = top["over_secs"].as_f64().unwrap_or_default();
    writeln!(
        out,
        "{} queries a second, of {over_secs:.1} s:{}",
        per_second(&top["queries_per_second"]),
        rates(&top["transports"])
    )?;
    writeln!(out, "replies:{}\n", rates(&top["rcodes"]))?;
    let paths = top["paths"].as_array().into_iter().flatten();
    let paths = paths.filter(|it| it["replies_per_second"].as_f64() > Some(0.0));
    let rows: Vec<_> = paths
        .map(|it| {
            vec![
                cell(&it["path"]),
                per_second(&it["replies_per_second"]),
                milliseconds(&it["median_secs"]),
                milliseconds(&it["p99_secs"]),
            ]
        })
        .collect();
    write_table(&["PATH", "REPLIES/S", "MEDIAN", "P99"], &rows, out)?;
    for (list, key, head) in [("names", "name", "NAME"), ("clients", "address", "CLIENT")] {
        let items = top[list].as_array().into_iter().flatten();
        let rows: Vec<_> =
            items.map(|it| vec![cell(&it[key]), per_second(&it["queries_per_second"])]).collect();
        writeln!(out)?;
        write_table(&[head, "QUERIES/S"], &rows, out)?;
    }
    Ok(())
}

fn per_second(rate: &Value) -> String {
    format!("{:.1}", rate.as_f64().unwrap_or_default())
}

fn milliseconds(secs: &Value) -> String {
    secs.as_f64().map_or_else(|| "-".to_owned(), |secs| format!("{:.3} ms", secs * 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_paths_names_and_clients_are_shown() {
        let top = json!({
            "over_secs": 4.0, "queries_per_second": 25.25,
            "transports": {"tcp": 0.25, "udp": 25.0}, "rcodes": {"NOERROR": 25.25},
            "paths": [
                {"path": "cached", "replies_per_second": 25.25, "median_secs": 0.0000625, "p99_secs": 0.002},
                {"path": "stale", "replies_per_second": 0.0, "median_secs": null, "p99_secs": null}
            ],
            "busiest": {
                "over_secs": 10.0, "queries": 252,
                "names": [{"name": "a.example.", "queries": 200}, {"name": "b.example.", "queries": 2}],
                "clients": [{"address": "10.0.0.7", "queries": 252}]
            }
        });
        let mut out = Vec::new();
        write(&shown(&top, 1), &mut out).unwrap();
        let expected = "\
25.2 queries a second, of 4.0 s:  tcp 0.2  udp 25.0
replies:  NOERROR 25.2

PATH    REPLIES/S  MEDIAN    P99
cached  25.2       0.062 ms  2.000 ms

NAME        QUERIES/S
a.example.  20.0

CLIENT    QUERIES/S
10.0.0.7  25.2
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
