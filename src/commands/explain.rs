//! `explain`: why a client is answered what it is answered.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use reqwest::Method;

use super::client::{Client, OtherServer, cell};
use super::published::as_of;
use super::{ConfigFile, Outcome, small_runtime};
use crate::daemon::Parts;
use crate::dns::{Name, QueryFlags, Question, Rcode, RecordType};

/// Tell step by step why a client is answered what it is answered: view, zone, endpoint, rule, upstream.
///
/// Works from the config, its inventories and the last good state of live Azure alone, unless a running server is named:
/// that knows operators' records and what its cache holds as well.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 = the answer is NOERROR, 1 = another one or none, 2 = an error.

Examples:
  privatelink-dns explain contosodata01.blob.core.windows.net --client 10.10.1.4
  privatelink-dns explain contosokv01.vault.azure.net AAAA --client 10.10.1.4 --offline
  privatelink-dns explain contosokv01.vault.azure.net --client 10.10.1.4 --server http://127.0.0.1:8053")]
pub(super) struct Explain {
    #[command(flatten)]
    asked: Asked,
    /// Do not ask upstreams: what they would be asked is answered as if there were none.
    #[arg(long, conflicts_with = "server")]
    offline: bool,
    #[command(flatten)]
    server: OtherServer,
    #[command(flatten)]
    config: ConfigFile,
}

/// A question, and who asks it.
#[derive(Args)]
struct Asked {
    /// The name asked for.
    name: Name,
    /// The type asked for: A, AAAA, HTTPS, TXT, TYPE65, …
    #[arg(default_value = "A", value_name = "TYPE")]
    rtype: RecordType,
    /// Who asks.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    client: IpAddr,
    /// Ask for DNSSEC's proofs, too, as validators do (DO).
    #[arg(long)]
    dnssec: bool,
}

impl Explain {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let server = if self.offline { self.server } else { self.server.or_of_environment() };
        if let Some(client) = server.client(&self.config)? {
            return explain_of_server(&client, &self.asked, out);
        }
        let Asked { name, rtype, client, dnssec } = self.asked;
        let mut config = self.config.load()?;
        if self.offline {
            config.forward.rules.clear();
        }
        let (explanation, as_of) = small_runtime()?
            .block_on(async {
                let parts = Parts::load(&config)?;
                let responder = Arc::clone(&parts.responder);
                let as_of = as_of(&parts.sources);
                let question = Question { name: name.clone(), rtype };
                let flags = QueryFlags { dnssec_ok: dnssec, ..QueryFlags::default() };
                anyhow::Ok((responder.explain(&question, flags, client).await, as_of))
            })
            .context("the config cannot be served")?;
        writeln!(out, "{name} {rtype} asked by {client}")?;
        if self.offline {
            writeln!(out, "(offline: no upstream is asked, as if none were configured)")?;
        }
        for line in as_of {
            writeln!(out, "({line})")?;
        }
        write!(out, "{explanation}")?;
        let is_good = explanation.reply.is_some_and(|reply| reply.rcode == Rcode::NOERROR);
        Ok(if is_good { Outcome::Well } else { Outcome::Found })
    }
}

/// The explanation of a running server.
fn explain_of_server(client: &Client, asked: &Asked, out: &mut impl Write) -> anyhow::Result<Outcome> {
    let Asked { name, rtype, client: asker, dnssec } = asked;
    let call = client.call(Method::GET, &["explain"]).query("name", &name.to_string());
    let call = call.query("type", &rtype.to_string()).query("client", &asker.to_string());
    let call = if *dnssec { call.query("dnssec", "true") } else { call };
    let explained = call.send()?;
    writeln!(out, "{name} {rtype} asked by {asker}")?;
    for (number, step) in explained["steps"].as_array().into_iter().flatten().enumerate() {
        writeln!(out, "{:>2}. {}", number + 1, cell(step))?;
    }
    let Some(rcode) = explained["rcode"].as_str() else {
        writeln!(out, "answer: none")?;
        return Ok(Outcome::Found);
    };
    writeln!(out, "answer: {rcode}")?;
    for (section, word) in [("answer", ""), ("authority", "authority: ")] {
        for record in explained[section].as_array().into_iter().flatten() {
            let [name, ttl, rtype, data] = ["name", "ttl", "type", "data"].map(|key| cell(&record[key]));
            writeln!(out, "    {word}{name} {ttl} {rtype} {data}")?;
        }
    }
    Ok(if rcode == "NOERROR" { Outcome::Well } else { Outcome::Found })
}
