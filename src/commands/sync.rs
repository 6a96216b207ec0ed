//! `sync`: one pass over all sources, shown before it is done.

use std::io::Write;

use anyhow::{Context, bail};
use clap::Args;

use super::summary::count;
use super::{ConfigFile, Outcome, progress, small_runtime};
use crate::config::Config;
use crate::daemon::{Parts, Proposal, Reading, SourceAt, StateAccess};

/// Read all sources once, inventories and live Azure, show what changes against the last good state in state_dir, and keep
/// the new one there.
///
/// A running server does the same by itself, when an inventory changes and by the clock; it needs this only to learn that a
/// plan which it holds back is confirmed.
#[derive(Args)]
#[command(after_help = "\
A line for each record set: + added, ~ replaced, - withdrawn; zone, name, TTL, type, data, private endpoint or private DNS
zone, reason. Behind `# drift`, ! what private DNS zones say otherwise than the endpoints.

Exit status: 0 = done, or nothing to do, 1 = a source is held back, 2 = an error: a source or a subscription that cannot be
read stays as it was, and the others are done.

Examples:
  privatelink-dns sync --once --dry-run             shows what would change
  privatelink-dns sync --once
  privatelink-dns sync --once --confirm inventory   lets that source withdraw what is held back now

For live Azure a line on stderr tells how far the listing is, if that is a terminal.")]
pub(super) struct Sync {
    /// Do one pass and end.
    // A server is what syncs without end.
    #[arg(long, required = true)]
    once: bool,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Let this source withdraw what it would be held back for: exactly the plan that is shown.
    #[arg(long, value_name = "SOURCE", conflicts_with = "dry_run")]
    confirm: Vec<String>,
    #[command(flatten)]
    config: ConfigFile,
}

impl Sync {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
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
        }
        let (mut failed, mut outcome) = (Vec::new(), Outcome::Well);
        for at in parts.sources.all() {
            let name = parts.sources.name(at).to_owned();
            let reading = match read(&parts, at).await {
                Ok(reading) => reading,
                Err(why) => {
                    failed.push(format!("source `{name}` stays as it was: {why}"));
                    continue;
                }
            };
            let proposal = parts.sources.propose(at, &reading, &parts.store.load());
            tell(&name, &proposal, out)?;
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
            let confirmed = match &proposal.held_back {
                Some(held_back) if self.confirm.contains(&name) => {
                    parts.sources.confirm(at, held_back.plan)?;
                    writeln!(out, "# {name}: confirmed; a running server withdraws them now")?;
                    Some(held_back.plan)
                }
                Some(_) => {
                    writeln!(out, "# {name}: `privatelink-dns sync --once --confirm {name}` lets this pass")?;
                    outcome = Outcome::Found;
                    continue;
                }
                None => None,
            };
            // Also when it is only shown: in memory, so that the plans of other sources and the drift come out the same.
            parts.sources.publish(at, reading, &parts.store, confirmed)?;
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

/// What a source says now; what takes long tells how far it is.
async fn read(parts: &Parts, at: SourceAt) -> Result<Reading, String> {
    let reading = parts.sources.read(at, &parts.store);
    match at {
        SourceAt::Directory(_) => reading.await,
        SourceAt::Azure(index) => {
            let source = &parts.sources.azure().list()[index];
            progress::shown(&source.settings.name, source.progress(), reading).await
        }
    }
}

/// Prints a source's plan.
fn tell(name: &str, proposal: &Proposal, out: &mut impl Write) -> anyhow::Result<()> {
    for difference in &proposal.differences {
        writeln!(out, "{difference}")?;
    }
    let number = |is: fn(bool, bool) -> bool| {
        proposal.differences.iter().filter(|it| is(it.before.is_some(), it.after.is_some())).count()
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
            "# {name}: HELD BACK: {} of {} would be withdrawn, {added} added, {replaced} replaced",
            held_back.would_withdraw,
            count(held_back.of, "record set")
        )?,
    }
    Ok(())
}
