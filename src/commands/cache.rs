//! `cache`: what a running server remembers of its upstreams' answers.

use std::io::Write;

use clap::{Args, Subcommand};
use reqwest::Method;

use super::Outcome;
use super::client::{Client, Form, Output, ServerOptions, cell, write_json};

/// Make a running server forget what upstreams answered.
#[derive(Args)]
#[command(after_help = "\
Examples:
  privatelink-dns cache flush contoso.blob.core.windows.net
  privatelink-dns cache flush --all")]
pub(super) struct Cache {
    #[command(subcommand)]
    verb: CacheVerb,
}

#[derive(Subcommand)]
enum CacheVerb {
    Flush(Flush),
}

/// Forget a name and all below it, or everything.
#[derive(Args)]
struct Flush {
    #[arg(required_unless_present = "all")]
    name: Option<String>,
    /// Everything.
    #[arg(long, conflicts_with = "name")]
    all: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerOptions,
}

impl Cache {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let CacheVerb::Flush(verb) = self.verb;
        let client = Client::of(&verb.server)?;
        let done =
            client.call(Method::DELETE, &["cache"]).maybe_query("name", verb.name.as_deref()).send()?;
        match verb.output.form {
            Form::Json => write_json(&done, out)?,
            Form::Table => writeln!(out, "{} entries are forgotten", cell(&done["entries"]))?,
        }
        Ok(Outcome::Well)
    }
}
