//! `check`: the config, its zone files and its inventories, without a socket.

use std::io::Write;
use std::path::Path;

use clap::Args;

use super::delegations::Misfit;
use super::published::as_of;
use super::summary::Summary;
use super::{ConfigFile, Outcome, small_runtime};
use crate::admin;
use crate::config::{Config, ConfigErrors, Examined};
use crate::daemon::{LoadError, Parts};
use crate::sources::SourceState;
use crate::sync::directory;
use crate::telemetry::in_full;
use crate::zone::{MasterFile, MasterFileErrors, faults_of_file};

/// Read the config, zone files and inventories, and print what would be served or every error.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 = it can be served, 2 = it cannot. An inventory that cannot be read or is held back is told, but stops no server;
`doctor` fails on it.

Examples:
  privatelink-dns check
  privatelink-dns check --config config/quickstart.toml && systemctl reload privatelink-dns")]
pub(super) struct Check {
    #[command(flatten)]
    config: ConfigFile,
}

impl Check {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let config = self.whole_config()?;
        // Certificates are read, and nothing is bound.
        admin::bind(admin::Settings { listen: Vec::new(), ..config.admin.api.clone() })?;
        let runtime = small_runtime()?;
        let _entered = runtime.enter();
        let parts = match Parts::load(&config) {
            Err(LoadError::ZoneFiles(faults)) => anyhow::bail!(listed(&faults)),
            loaded => loaded?,
        };
        write!(out, "{}", Summary::new(&config, &parts))?;
        for warning in &parts.zone_warnings {
            writeln!(out, "warning: {warning}")?;
        }
        for inventory in inventory_faults(&config) {
            writeln!(out, "warning: {inventory}")?;
        }
        for misfit in Misfit::all(&config, &parts.store.snapshot()) {
            writeln!(out, "note         {misfit}; {}", misfit.advice())?;
        }
        let is_stale = |state: &SourceState| !matches!(state, SourceState::Current { .. });
        let mut folders = parts.sources.list().iter().filter(|source| source.live().is_none());
        if folders.any(|source| is_stale(&source.known().state)) {
            // A server that starts without an inventory still forwards; one that does not start is an outage.
            writeln!(out, "The config can be served, but an inventory cannot be read or is held back.")?;
        } else if let Some(known) = last_state(&parts) {
            writeln!(out, "The config can be served; until live Azure is listed: {known}.")?;
        } else {
            writeln!(out, "The config can be served.")?;
        }
        Ok(Outcome::Well)
    }
}

impl Check {
    /// The config, or all that is wrong with it, with zone files and with inventories.
    fn whole_config(&self) -> anyhow::Result<Config> {
        let Examined { config, errors } = self.config.examine()?;
        let certificates = config.as_ref().and_then(|config| config.check_certificates().err());
        let zone_files = config.as_ref().map(faults).unwrap_or_default();
        let is_well = errors.is_none() && certificates.is_none() && zone_files.is_empty();
        let config = match config {
            Some(config) if is_well => return Ok(config),
            config => config,
        };
        let mut all: Vec<String> = errors
            .iter()
            .chain(&certificates)
            .flat_map(ConfigErrors::iter)
            .map(ToString::to_string)
            .collect();
        all.extend(zone_files.iter().map(ToString::to_string));
        all.extend(config.iter().flat_map(inventory_faults));
        anyhow::bail!(all.join("\n").replace('\n', "\nerror: "))
    }
}

/// What keeps folders of inventories from being read.
fn inventory_faults(config: &Config) -> Vec<String> {
    let of = |source: &directory::Settings| {
        let faults = directory::faults(source).into_iter();
        faults.map(|fault| format!("inventory `{}`: {}", source.name, in_full(&fault))).collect::<Vec<_>>()
    };
    config.sync.sources.iter().flat_map(of).collect()
}

/// Each error on a line of its own, which begins as the first does.
fn listed(faults: &[MasterFileErrors]) -> String {
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    faults.join("\n").replace('\n', "\nerror: ")
}

/// What is served of live Azure before it is listed.
fn last_state(parts: &Parts) -> Option<String> {
    let known = as_of(&parts.sources);
    (!known.is_empty()).then(|| known.join("; "))
}

/// What is wrong in all zone files: loading stops at the first. Those that can be read are made zones only if others
/// cannot; else loading does it.
fn faults(config: &Config) -> Vec<MasterFileErrors> {
    // Of one that is not there the config's own error tells.
    let there = |file: &&Path| file.is_file();
    let files = config.zones.iter().filter_map(|zone| Some((zone, zone.file.as_deref().filter(there)?)));
    let read =
        files.map(|(zone, file)| (&zone.header, MasterFile::read(file, &zone.header.apex, config.folder())));
    let read: Vec<_> = read.collect();
    if read.iter().all(|(_, read)| read.is_ok()) {
        return Vec::new();
    }
    let faults = read.into_iter().filter_map(|(header, read)| match read {
        Ok(file) => faults_of_file(&file, header),
        Err(errors) => Some(errors),
    });
    faults.collect()
}
