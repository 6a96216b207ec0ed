//! `sync`: one pass over all sources, shown before it is done.

use std::io::Write;

use anyhow::{Context, bail};
use clap::Args;

use super::summary::count;
use super::{ConfigFile, Outcome, small_runtime};
use crate::daemon::{Parts, Proposal, StateAccess};
use crate::sync::state::Confirmation;

/// Read all inventories once, show what changes against the last good state in state_dir, and keep the new one there.
///
/// A running server does the same by itself when an inventory changes; it needs this only to learn that a plan which it
/// holds back is confirmed.
#[derive(Args)]
#[command(after_help = "\
A line for each record set: + added, ~ replaced, - withdrawn; zone, name, TTL, type, data, private endpoint, reason.

Exit status: 0 = done, or nothing to do, 1 = a source is held back, 2 = an error.

Examples:
  privatelink-dns sync --once --dry-run             shows what would change
  privatelink-dns sync --once
  privatelink-dns sync --once --confirm inventory   lets that source withdraw what is held back now")]
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
        let config = self.config.load()?;
        let is_known = |name: &String| config.sync.sources.iter().any(|source| source.name == *name);
        let is_azure = |name: &String| config.sync.azure.iter().any(|source| source.name == *name);
        if let Some(name) = self.confirm.iter().find(|name| is_azure(name)) {
            bail!(
                "`{name}` is live Azure, which is not asked here: raise sync.withdraw_max_percent until it has passed"
            );
        }
        if let Some(unknown) = self.confirm.iter().find(|name| !is_known(name)) {
            bail!("there is no source `{unknown}` in {}", config.file.display());
        }
        let runtime = small_runtime()?;
        let _entered = runtime.enter();
        let access = if self.dry_run { StateAccess::Look } else { StateAccess::Keep };
        let mut parts = Parts::restore(&config, access)?;
        if let Some(trouble) = parts.sources.trouble() {
            writeln!(out, "# {trouble}")?;
        }
        for source in &config.sync.azure {
            writeln!(out, "# {}: live Azure is not asked here, only by a running server", source.name)?;
        }
        let (mut failed, mut outcome) = (Vec::new(), Outcome::Well);
        for index in 0..parts.sources.list().len() {
            let name = parts.sources.list()[index].settings.name.clone();
            let reading = match parts.sources.read(index) {
                Ok(reading) => reading,
                Err(why) => {
                    failed.push(format!("source `{name}` stays as it was: {why}"));
                    continue;
                }
            };
            let proposal = parts.sources.propose(index, &reading, &parts.store.load());
            tell(&name, &proposal, out)?;
            let confirmed = match &proposal.held_back {
                Some(held_back) if self.confirm.contains(&name) => {
                    let confirmation = Confirmation { source: name.clone(), plan: held_back.plan };
                    parts.sources.state_folder().confirm(&confirmation)?;
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
            if !self.dry_run {
                parts.sources.publish(index, reading, &parts.store, confirmed)?;
            }
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
