//! Zones of a running server that operators make and take away.

use std::io::Write;

use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::Outcome;
use super::super::client::{Client, Form, Output, ServerOptions, cell, write_json, write_plan, write_table};

/// Make a zone in a running server; it is served at once, with the records that `records put` writes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  privatelink-dns zones create corp.internal
  privatelink-dns zones create lab.internal --network hub-westeurope --on-missing ask-public
  privatelink-dns zones create privatelink.blob.core.windows.net --dry-run")]
pub(super) struct Create {
    /// The zone's name.
    name: String,
    /// What it is; without it private-link for a zone of the catalogue, plain for any other.
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// What a name means that it does not have; without it nxdomain for a plain zone, ask-public for a private-link zone.
    #[arg(long, value_enum)]
    on_missing: Option<Missing>,
    /// A network of the config that sees it, several times for several; without one all clients see it.
    #[arg(long = "network", value_name = "NAME")]
    networks: Vec<String>,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerOptions,
}

/// Take a zone away from a running server, with all that operators wrote in it. What config makes goes by config only.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 = it is gone, 2 = an error.

Examples:
  privatelink-dns zones delete lab.internal --dry-run   shows the records that go with it
  privatelink-dns zones delete lab.internal")]
pub(super) struct Delete {
    /// The zone's name.
    name: String,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerOptions,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    PrivateLink,
    Plain,
}

#[derive(Clone, Copy, ValueEnum)]
enum Missing {
    AskPublic,
    #[value(name = "nxdomain")]
    NxDomain,
}

impl Create {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let mut body = json!({"name": self.name, "networks": self.networks});
        if let Some(kind) = self.kind {
            body["kind"] = word(kind);
        }
        if let Some(on_missing) = self.on_missing {
            body["on_missing"] = word(on_missing);
        }
        let client = Client::of(&self.server)?;
        let call = client.call(Method::POST, &["zones"]);
        let call = if self.dry_run { call.query("dry_run", "true") } else { call };
        let made = call.json(body).send()?;
        match self.output.form {
            Form::Json => write_json(&made, out)?,
            Form::Table if self.dry_run => write_plan(&made, out)?,
            Form::Table => {
                let keys = ["name", "kind", "on_missing", "networks"];
                let row = keys.iter().map(|key| cell(&made[*key])).collect();
                write_table(&["ZONE", "KIND", "ON-MISSING", "NETWORKS"], &[row], out)?;
            }
        }
        Ok(Outcome::Well)
    }
}

impl Delete {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let client = Client::of(&self.server)?;
        let call = client.call(Method::DELETE, &["zones", &self.name]).header("if-match", "*");
        let call = if self.dry_run { call.query("dry_run", "true") } else { call };
        match (call.send()?, self.output.form) {
            (Value::Null, Form::Json) => {}
            (Value::Null, Form::Table) => writeln!(out, "zone {} is gone", self.name)?,
            (plan, Form::Json) => write_json(&plan, out)?,
            (plan, Form::Table) => write_plan(&plan, out)?,
        }
        Ok(Outcome::Well)
    }
}

/// A value of the command line as the API has it.
fn word(value: impl ValueEnum) -> Value {
    value.to_possible_value().map_or(Value::Null, |value| json!(value.get_name()))
}
