//! `token`: who may use the admin API.

use std::io::{self, Write};

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, Form, Output, ServerOptions, cell, write_json, write_table};
use super::{ConfigFile, Outcome, small_runtime};
use crate::daemon;

/// Make, list and revoke bearer tokens of a running server.
#[derive(Args)]
#[command(after_help = "\
The first start of a server leaves the token of an admin in state_dir/admin.token.

Examples:
  privatelink-dns token create deploy --role operator --zone corp.internal --expires-in-days 90 > deploy.token
  privatelink-dns token list
  privatelink-dns token revoke 9f86d081884c7d65
  privatelink-dns token rescue > admin.token")]
pub(super) struct Token {
    #[command(subcommand)]
    verb: TokenVerb,
}

#[derive(Subcommand)]
enum TokenVerb {
    Create(Create),
    List(List),
    Revoke(Revoke),
    Rescue(Rescue),
}

/// Make a token and print it: it is shown this once.
#[derive(Args)]
struct Create {
    /// Whom the audit names.
    name: String,
    #[arg(long, value_enum, default_value_t = Role::Reader)]
    role: Role,
    /// A name, or a pattern of names, that it may change, with all below it; without one all.
    #[arg(long = "zone", value_name = "PATTERN")]
    zones: Vec<String>,
    /// Without it the token lives until it is revoked.
    #[arg(long, value_name = "DAYS")]
    expires_in_days: Option<u32>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerOptions,
}

/// List all tokens, revoked ones included, without their secrets.
#[derive(Args)]
struct List {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerOptions,
}

/// Revoke a token: it opens nothing any more.
#[derive(Args)]
struct Revoke {
    /// Its id: the part behind `pldns_`.
    id: String,
    #[command(flatten)]
    server: ServerOptions,
}

/// Make an admin's token in the store itself, when nobody has one any more, and print it. Run it as the server's user;
/// a server over SQLite must be stopped first.
#[derive(Args)]
struct Rescue {
    #[command(flatten)]
    config: ConfigFile,
}

/// What a token's bearer may do; each may do what those before it may.
#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Reader,
    Operator,
    Admin,
}

impl Token {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        match self.verb {
            TokenVerb::Create(verb) => verb.run(out),
            TokenVerb::List(verb) => verb.run(out),
            TokenVerb::Revoke(verb) => verb.run(out),
            TokenVerb::Rescue(verb) => verb.run(out),
        }
    }
}

impl Create {
    fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let role = match self.role {
            Role::Reader => "reader",
            Role::Operator => "operator",
            Role::Admin => "admin",
        };
        let mut body = json!({"name": self.name, "role": role});
        if !self.zones.is_empty() {
            body["zones"] = json!(self.zones);
        }
        if let Some(days) = self.expires_in_days {
            body["expires_in_days"] = json!(days);
        }
        let made = Client::of(&self.server)?.call(Method::POST, &["tokens"]).json(body).send()?;
        match self.output.form {
            Form::Json => write_json(&made, out)?,
            Form::Table => {
                // Alone on stdout, so that it can go to a file.
                writeln!(out, "{}", cell(&made["token"]))?;
                let (id, expires) = (cell(&made["id"]), made["expires"].as_str().unwrap_or("never"));
                // Nothing can be done about a closed stderr.
                let _ = writeln!(
                    io::stderr(),
                    "token {id} of `{}`, {role}, expires: {expires}; it is shown this once",
                    self.name
                );
            }
        }
        Ok(Outcome::Well)
    }
}

impl List {
    fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let mut tokens: Vec<Value> = Vec::new();
        Client::of(&self.server)?.each(&["tokens"], &[], |items| {
            tokens.extend(items);
            Ok(())
        })?;
        match self.output.form {
            Form::Json => write_json(&Value::Array(tokens), out)?,
            Form::Table => {
                let keys = ["id", "name", "role", "zones", "created", "expires", "revoked", "last_used"];
                let row = |token: &Value| keys.iter().map(|key| cell(&token[*key])).collect();
                let rows: Vec<Vec<String>> = tokens.iter().map(row).collect();
                let headings = ["ID", "NAME", "ROLE", "ZONES", "CREATED", "EXPIRES", "REVOKED", "LAST-USED"];
                write_table(&headings, &rows, out)?;
            }
        }
        Ok(Outcome::Well)
    }
}

impl Revoke {
    fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        // `pldns_<id>_…` is what people have at hand.
        let id = self.id.strip_prefix("pldns_").unwrap_or(&self.id);
        let id = id.split('_').next().unwrap_or(id);
        let client = Client::of(&self.server)?;
        let token = client.call(Method::GET, &["tokens", id]).send()?;
        let token_of = format!("token {id} of `{}`, {}", cell(&token["name"]), cell(&token["role"]));
        if let Some(revoked) = token["revoked"].as_str() {
            writeln!(out, "{token_of}, was revoked already, at {revoked}")?;
            return Ok(Outcome::Well);
        }
        client.call(Method::DELETE, &["tokens", id]).send()?;
        writeln!(out, "{token_of}, is revoked: it opens nothing any more")?;
        Ok(Outcome::Well)
    }
}

impl Rescue {
    fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let config = self.config.load()?;
        let token = small_runtime()?.block_on(daemon::rescue(&config.admin.store))?;
        writeln!(out, "{token}")?;
        Ok(Outcome::Well)
    }
}
