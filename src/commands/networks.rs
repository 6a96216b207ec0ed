//! `networks`: by what a running server tells its clients apart.

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Outcome;
use super::client::{Client, Form, Output, ServerOptions, cell, write_json, write_table};
use super::words::last_segment;

/// List the networks of a running server's config.
#[derive(Args)]
#[command(after_help = "\
Networks are made by [[network]] of the config.

Examples:
  privatelink-dns networks list
  privatelink-dns networks list --server http://127.0.0.1:8053 -o json")]
pub(super) struct Networks {
    #[command(subcommand)]
    verb: NetworksVerb,
}

#[derive(Subcommand)]
enum NetworksVerb {
    List(List),
}

/// List networks: the longest range that has a client's address decides which is its own.
#[derive(Args)]
struct List {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerOptions,
}

impl Networks {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let NetworksVerb::List(verb) = self.verb;
        let mut networks: Vec<Value> = Vec::new();
        Client::of(&verb.server)?.each(&["networks"], &[], |items| {
            networks.extend(items);
            Ok(())
        })?;
        match verb.output.form {
            Form::Json => write_json(&Value::Array(networks), out)?,
            Form::Table => {
                let rows: Vec<Vec<String>> = networks.iter().map(row).collect();
                write_table(&["NETWORK", "CLIENTS", "VIRTUAL-NETWORKS"], &rows, out)?;
            }
        }
        Ok(Outcome::Well)
    }
}

fn row(network: &Value) -> Vec<String> {
    let ids = network["virtual_networks"].as_array().into_iter().flatten().map(cell);
    let names: Vec<String> = ids.map(|id| last_segment(&id).to_owned()).collect();
    let names = if names.is_empty() { "-".to_owned() } else { names.join(" ") };
    vec![cell(&network["name"]), cell(&network["clients"]), names]
}
