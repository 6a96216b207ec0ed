//! `sync`: one pass over all sources, shown before it is done.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{self, Client, Form, OtherServer, Output, cell, write_json};
use super::words::{count, published};
use super::{ConfigFile, Outcome, progress, small_runtime};
use crate::config::Config;
use crate::daemon::Parts;
use crate::sources::{Proposal, Reading, Source, StateAccess};
use crate::telemetry::command;
use crate::zone::Store;

/// Read all sources once, inventories and live Azure, show what changes against the last good state in state_dir, and keep
/// the new one there.
///
/// A running server does the same by itself, when an inventory changes and by the clock; it needs this only to learn that a
/// plan which it holds back is confirmed.
#[derive(Args)]
#[command(after_help = "\
A line for each record set: + added, ~ replaced, - withdrawn; zone, name, TTL, type, data, private endpoint or private DNS
zone, reason. One that ends in held-back stays until it is confirmed; all else is done. Behind `# drift`, ! what private DNS zones say otherwise than the endpoints.

Exit status: 0 = done, or nothing to do, 1 = withdrawals are held back, 2 = an error: a source or a subscription that cannot be
read stays as it was, and the others are done.

Examples:
  privatelink-dns sync --once --dry-run             shows what would change
  privatelink-dns sync --once
  privatelink-dns sync --once --confirm inventory   lets that source withdraw what is held back now
  privatelink-dns sync --server http://127.0.0.1:8053          shows where a running server's sources stand
  privatelink-dns sync --server http://127.0.0.1:8053 --once   has it do a pass, and waits for its end
  privatelink-dns sync --server http://127.0.0.1:8053 --confirm azure

For live Azure a line on stderr tells how far the listing is, if that is a terminal.")]
pub(super) struct Sync {
    /// Do one pass and end.
    // A server is what syncs without end.
    #[arg(long)]
    once: bool,
    /// Of a running server: do not wait for the end of the pass.
    #[arg(long)]
    no_wait: bool,
    /// Only show what would be done.
    #[arg(long, conflicts_with = "server")]
    dry_run: bool,
    /// Let this source withdraw what it would be held back for: exactly the plan that is shown.
    #[arg(long, value_name = "SOURCE", conflicts_with = "dry_run")]
    confirm: Vec<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: OtherServer,
    #[command(flatten)]
    config: ConfigFile,
}

/// The longest that a pass of a running server is waited for: that of hundreds of subscriptions takes minutes.
const PASS_WITHIN: Duration = Duration::from_secs(600);
/// How often a running server is asked whether its pass is over.
const ASK_EVERY: Duration = Duration::from_millis(200);

impl Sync {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let server = self.server.clone();
        let server = if self.dry_run { server } else { server.or_of_environment() };
        if let Some(client) = server.client(&self.config)? {
            return self.run_at(&client, out);
        }
        if !self.once {
            bail!("say --once for a pass by itself, or --server for where a running server's sources stand");
        }
        if self.no_wait || self.output.form == Form::Json {
            bail!("--no-wait and -o json are for a running server: --server names it");
        }
        let mut config = self.config.load()?;
        super::ask_azure_impatiently(&mut config);
        small_runtime()?.block_on(self.sync(&config, out))
    }

    async fn sync(&self, config: &Config, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let access = if self.dry_run { StateAccess::Look } else { StateAccess::Keep };
        // Before anything is restored: a name that is mistyped changes nothing.
        let names = config.sync.sources.iter().map(|source| &source.name);
        let names: Vec<&String> = names.chain(config.sync.azure.iter().map(|source| &source.name)).collect();
        if let Some(unknown) = self.confirm.iter().find(|name| !names.contains(name)) {
            bail!("there is no source `{unknown}` in {}", config.file.display());
        }
        let mut parts = Parts::restore(config, access)?;
        if let Some(trouble) = parts.sources.trouble() {
            writeln!(out, "# {trouble}")?;
            writeln!(out, "# What follows is compared with nothing: all that is listed looks new")?;
        }
        let (mut failed, mut outcome) = (Vec::new(), Outcome::Well);
        for source in parts.sources.list() {
            let name = source.name();
            let reading = match read(source, &parts.store).await {
                Ok(reading) => reading,
                Err(why) => {
                    failed.push(format!("source `{name}` stays as it was: {why}"));
                    continue;
                }
            };
            let mut proposal = source.propose(&reading, &parts.store.load());
            let is_confirmed = self.confirm.iter().any(|confirmed| confirmed == name);
            let confirmed = proposal.held_back.take_if(|_| is_confirmed).map(|held_back| held_back.plan);
            if confirmed.is_some() {
                proposal.differences.iter_mut().for_each(|it| it.is_held_back = false);
            }
            tell(name, &proposal, out)?;
            for (id, why) in &reading.failed {
                let kind = if id.starts_with('/') { "private DNS zone" } else { "subscription" };
                writeln!(out, "# {name}: {kind} {id} stays as it was: {why}")?;
            }
            if !reading.failed.is_empty() {
                let zones = reading.failed.keys().filter(|id| id.starts_with('/')).count();
                let kinds = [(reading.failed.len() - zones, "subscription"), (zones, "private DNS zone")];
                let kinds = kinds.iter().filter(|(number, _)| *number > 0);
                let kinds: Vec<String> = kinds.map(|(number, kind)| count(*number, kind)).collect();
                failed.push(format!("{} of source `{name}` cannot be listed", kinds.join(" and ")));
            }
            if let Some(plan) = confirmed {
                source.confirm(plan)?;
                writeln!(
                    out,
                    "# {name}: what was held back is confirmed: a running server withdraws it too"
                )?;
            } else if is_confirmed {
                writeln!(out, "# {name}: nothing was held back, and nothing had to be confirmed")?;
            }
            if let Some(held_back) = &proposal.held_back {
                for part in &held_back.parts {
                    writeln!(out, "# {name}: {part} would be withdrawn, and wait")?;
                }
                let confirm = command(format_args!("sync --once --confirm {name}"));
                writeln!(out, "# {name}: {confirm} lets this pass")?;
                outcome = Outcome::Found;
            }
            // Also when it is only shown: in memory, so that the plans of other sources and the drift come out the same.
            source.publish(reading, &parts.store, confirmed)?;
            writeln!(out, "# {name}: {}", published(&source.known()))?;
        }
        let drift = parts.sources.drift(&parts.store.load());
        if !drift.is_empty() {
            writeln!(
                out,
                "# drift: {} of private DNS zones contradict the endpoints",
                count(drift.len(), "record set")
            )?;
        }
        for drift in &drift {
            writeln!(out, "! {drift}")?;
        }
        if !self.dry_run {
            parts.sources.save().context("the new state is not kept")?;
        }
        if !failed.is_empty() {
            bail!(failed.join("\nerror: "));
        }
        Ok(outcome)
    }
}

impl Sync {
    /// Has a running server do a pass, or lets what it holds back pass; shows where its sources stand.
    fn run_at(&self, client: &Client, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let before = sources_of(client)?;
        let mut begun: Vec<String> = Vec::new();
        for name in &self.confirm {
            let source = before.iter().find(|source| source["name"].as_str() == Some(name));
            let Some(plan) = source.and_then(|source| source["held_back"]["plan"].as_str()) else {
                bail!("nothing of a source `{name}` is held back");
            };
            let body = json!({"confirm": {"source": name, "plan": plan}});
            client.call(Method::POST, &["sync"]).json(body).send()?;
            begun.push(name.clone());
        }
        if self.once && self.confirm.is_empty() {
            let answer = client.call(Method::POST, &["sync"]).json(json!({})).send()?;
            let names = answer["sources"].as_array().into_iter().flatten();
            begun.extend(names.filter_map(Value::as_str).map(str::to_owned));
        }
        let sources = match self.no_wait || begun.is_empty() {
            true => sources_of(client)?,
            false => wait_for(client, &before, &begun)?,
        };
        match self.output.form {
            Form::Json => write_json(&Value::Array(sources.clone()), out)?,
            Form::Table => {
                let keys = ["name", "kind", "state", "since", "names", "why"];
                let row = |source: &Value| keys.iter().map(|key| cell(&source[*key])).collect();
                let rows: Vec<Vec<String>> = sources.iter().map(row).collect();
                client::write_table(&["SOURCE", "KIND", "STATE", "SINCE", "NAMES", "WHY"], &rows, out)?;
            }
        }
        let stale = sources
            .iter()
            .filter(|it| it["state"] == "stale" && begun.iter().any(|name| it["name"] == **name));
        let stale: Vec<String> = stale
            .map(|it| format!("source `{}` stays as it was: {}", cell(&it["name"]), cell(&it["why"])))
            .collect();
        if !stale.is_empty() && !self.no_wait {
            bail!(stale.join("\nerror: "));
        }
        let is_held_back = |source: &Value| source["state"] == "held-back";
        Ok(if sources.iter().any(is_held_back) { Outcome::Found } else { Outcome::Well })
    }
}

/// Where the sources of a running server stand.
fn sources_of(client: &Client) -> anyhow::Result<Vec<Value>> {
    let mut sources = Vec::new();
    client.each(&["sync"], &[], |items| {
        sources.extend(items);
        Ok(())
    })?;
    Ok(sources)
}

/// Asks until each of these sources has done a pass that began after `before`.
fn wait_for(client: &Client, before: &[Value], names: &[String]) -> anyhow::Result<Vec<Value>> {
    let start = Instant::now();
    loop {
        let now = sources_of(client)?;
        let find = |all: &[Value], name: &str| all.iter().find(|source| source["name"] == name).cloned();
        let is_done = |name: &String| {
            // One that a reload has taken away is not waited for.
            find(&now, name).is_none_or(|source| {
                let passes = &source["passes"];
                let older =
                    find(before, name).map_or(Value::Null, |source| source["passes"]["began"].clone());
                passes["is_under_way"] == false && passes["began"] != older
            })
        };
        if names.iter().all(is_done) {
            return Ok(now);
        }
        if start.elapsed() > PASS_WITHIN {
            bail!(
                "the pass goes on after {} seconds; `sync --server` shows where it stands",
                PASS_WITHIN.as_secs()
            );
        }
        thread::sleep(ASK_EVERY);
    }
}

/// What a source says now; what takes long tells how far it is.
async fn read(source: &Source, store: &Store) -> Result<Reading, String> {
    let reading = source.read(store);
    match source.live() {
        None => reading.await,
        Some(live) => progress::shown(source.name(), live.progress(), reading).await,
    }
}

/// Prints a source's plan.
fn tell(name: &str, proposal: &Proposal, out: &mut impl Write) -> anyhow::Result<()> {
    for difference in &proposal.differences {
        writeln!(out, "{difference}")?;
    }
    let number = |is: fn(bool, bool) -> bool| {
        let done = proposal.differences.iter().filter(|it| !it.is_held_back);
        done.filter(|it| is(it.before.is_some(), it.after.is_some())).count()
    };
    let (added, replaced, withdrawn) =
        (number(|before, _| !before), number(|before, after| before && after), number(|_, after| !after));
    match &proposal.held_back {
        _ if proposal.differences.is_empty() => writeln!(out, "# {name}: no change")?,
        None => writeln!(
            out,
            "# {name}: {} added, {replaced} replaced, {withdrawn} withdrawn",
            count(added, "record set")
        )?,
        Some(held_back) => writeln!(
            out,
            "# {name}: held-back: {} of {} would be withdrawn, {added} added, {replaced} replaced, {withdrawn} withdrawn",
            held_back.would_withdraw,
            count(held_back.of, "record set")
        )?,
    }
    Ok(())
}
