//! `forwarders`: whom a running server asks for the names of a domain.

use std::io::Write;

use clap::{Args, Subcommand};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::Outcome;
use super::client::{
    Client, Form, Output, Refused, ServerOptions, cell, write_json, write_plan, write_table,
};

/// List, set and take back forwarding rules of a running server.
#[derive(Args)]
#[command(after_help = "\
A rule that is set goes before one of config for the same domain, until it is taken back. `@` is the root: all names that no
other rule takes.

Exit status: 0 = done, 1 = there is no such rule, 2 = an error.

Examples:
  privatelink-dns forwarders list
  privatelink-dns forwarders put corp.example.com 10.1.0.4 10.1.0.5:5353
  privatelink-dns forwarders put corp.example.com 'tls://10.1.0.5#dns.example.com'
  privatelink-dns forwarders put @ 168.63.129.16 --queries-per-second-max 900 --dry-run
  privatelink-dns forwarders delete corp.example.com")]
pub(super) struct Forwarders {
    #[command(subcommand)]
    verb: ForwardersVerb,
}

#[derive(Subcommand)]
enum ForwardersVerb {
    List(List),
    Put(Put),
    Delete(Delete),
}

/// List all rules, those of config too, with their upstreams and how these are.
#[derive(Args)]
struct List {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerOptions,
}

/// Send questions for a domain and all below it to these upstreams, in the place of a rule that is there.
#[derive(Args)]
struct Put {
    /// The domain; `@` for the root.
    domain: String,
    /// In the order of preference: IP, IP:port or [IPv6]:port; over TCP alone tcp://IP; over TLS tls://IP#name or
    /// tls://IP?pin=sha256:….
    #[arg(required = true)]
    upstreams: Vec<String>,
    /// A bound for each of them; without it 900 for 168.63.129.16, none for others.
    #[arg(long, value_name = "NUMBER")]
    queries_per_second_max: Option<u32>,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerOptions,
}

/// Take back a rule that operators set; one of config for the same domain holds again.
#[derive(Args)]
struct Delete {
    /// The domain; `@` for the root.
    domain: String,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerOptions,
}

impl Forwarders {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let done = match self.verb {
            ForwardersVerb::List(verb) => verb.run(out),
            ForwardersVerb::Put(verb) => verb.run(out),
            ForwardersVerb::Delete(verb) => verb.run(out),
        };
        match done {
            Err(error) if Refused::of(&error).is_some_and(|refused| refused.is(StatusCode::NOT_FOUND)) => {
                // An answer, and no error; nothing can be done about a closed stderr.
                let _ = writeln!(std::io::stderr(), "{error}");
                Ok(Outcome::Found)
            }
            done => done,
        }
    }
}

impl List {
    fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let mut rules: Vec<Value> = Vec::new();
        Client::of(&self.server)?.each(&["forwarders"], &[], |items| {
            rules.extend(items);
            Ok(())
        })?;
        match self.output.form {
            Form::Json => write_json(&Value::Array(rules), out)?,
            Form::Table => write_rules(&rules, out)?,
        }
        Ok(Outcome::Well)
    }
}

impl Put {
    fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let client = Client::of(&self.server)?;
        let call = || {
            let call = client.call(Method::PUT, &["forwarders", &self.domain]);
            let call = if self.dry_run { call.query("dry_run", "true") } else { call };
            let bound = self.queries_per_second_max;
            call.json(json!({"upstreams": self.upstreams, "queries_per_second_max": bound}))
        };
        let done = match call().send() {
            // It is there: this takes its place, in whatever state it is.
            Err(error)
                if Refused::of(&error)
                    .is_some_and(|refused| refused.is(StatusCode::PRECONDITION_REQUIRED)) =>
            {
                call().header("if-match", "*").send()?
            }
            done => done?,
        };
        match self.output.form {
            Form::Json => write_json(&done, out)?,
            Form::Table if self.dry_run => write_plan(&done, out)?,
            Form::Table => write_rules(std::slice::from_ref(&done), out)?,
        }
        Ok(Outcome::Well)
    }
}

impl Delete {
    fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let client = Client::of(&self.server)?;
        let call = client.call(Method::DELETE, &["forwarders", &self.domain]).header("if-match", "*");
        let call = if self.dry_run { call.query("dry_run", "true") } else { call };
        match (call.send()?, self.output.form) {
            (Value::Null, Form::Json) => {}
            (Value::Null, Form::Table) => writeln!(out, "the rule for {} is gone", self.domain)?,
            (done, Form::Json) => write_json(&done, out)?,
            (plan, Form::Table) if self.dry_run => write_plan(&plan, out)?,
            (rule, Form::Table) => {
                writeln!(out, "the rule for {} is gone, and that of config holds again:", self.domain)?;
                write_rules(&[rule], out)?;
            }
        }
        Ok(Outcome::Well)
    }
}

/// A line for each upstream; those behind a rule's first leave its domain out.
fn write_rules(rules: &[Value], out: &mut impl Write) -> anyhow::Result<()> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for rule in rules {
        let mut made_by = cell(&rule["made_by"]);
        if rule["overrides"].is_array() {
            made_by += &format!(", before config's {}", cell(&rule["overrides"]));
        }
        let mut head = [cell(&rule["domain"]), made_by, cell(&rule["queries_per_second_max"])];
        for upstream in rule["upstreams"].as_array().into_iter().flatten() {
            let [domain, made_by, bound] = head.each_mut().map(std::mem::take);
            let mut health = cell(&upstream["health"]);
            if let Some(problem) = upstream["connection"]["problem"].as_str() {
                health += &format!(": {problem}");
            }
            rows.push(vec![domain, cell(&upstream["address"]), health, bound, made_by]);
        }
    }
    Ok(write_table(&["DOMAIN", "UPSTREAM", "HEALTH", "PER-SECOND", "MADE-BY"], &rows, out)?)
}
