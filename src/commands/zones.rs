//! `zones`: what is served, out to a master file and in from one.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::client::{self, Client, OtherServer, cell};
use super::summary::count;
use super::{ConfigFile, Outcome, small_runtime};
use crate::config::Config;
use crate::daemon::Parts;
use crate::dns::{Name, RecordSet, rdata};
use crate::zone::{
    Change, ChangeSet, MasterFile, Networks, OnMissing, Snapshot, ViewId, ZoneHeader, ZoneKind,
    changes_of_file, write_master_file,
};

/// List zones, write one as a master file, or take a master file in.
#[derive(Args)]
#[command(after_help = "\
Examples:
  privatelink-dns zones list
  privatelink-dns zones list --server http://127.0.0.1:8053
  privatelink-dns zones export privatelink.blob.core.windows.net > blob.zone
  privatelink-dns zones import new.zone --zone corp.internal            shows what would change
  privatelink-dns zones import new.zone --zone corp.internal --write")]
pub(super) struct Zones {
    #[command(subcommand)]
    verb: ZonesVerb,
}

#[derive(Subcommand)]
enum ZonesVerb {
    List(List),
    Export(Export),
    Import(Import),
}

/// List the zones: apex, kind, serial, names, record sets, what a miss means, networks.
#[derive(Args)]
struct List {
    /// Also private-link zones without records, which are not served.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    server: OtherServer,
    #[command(flatten)]
    config: ConfigFile,
}

/// Write a zone to stdout as a master file.
#[derive(Args)]
#[command(after_help = "\
Examples:
  privatelink-dns zones export corp.internal
  privatelink-dns zones export privatelink.blob.core.windows.net --client 10.10.1.4")]
struct Export {
    /// The zone's name.
    zone: Name,
    /// As this client's network is served; without it as clients outside all networks are.
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    #[command(flatten)]
    config: ConfigFile,
}

/// Check a master file, show what it would change, and put it in the place of the zone's own file.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 = the file is good, 2 = it is not.

Examples:
  privatelink-dns zones import new.zone --zone corp.internal
  privatelink-dns zones import new.zone --zone corp.internal --write    a running server then reloads by itself")]
struct Import {
    /// The master file.
    file: PathBuf,
    /// The zone; its [[zone]] in the config names the file that is written.
    #[arg(long)]
    zone: Name,
    /// Write; without it only what would change is shown.
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    config: ConfigFile,
}

impl Zones {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        match self.verb {
            ZonesVerb::List(verb) => verb.run(out),
            ZonesVerb::Export(verb) => verb.run(out),
            ZonesVerb::Import(verb) => verb.run(out),
        }
    }
}

fn loaded(config: &Config) -> anyhow::Result<std::sync::Arc<Snapshot>> {
    let runtime = small_runtime()?;
    let _entered = runtime.enter();
    Ok(Parts::load(config)?.store.snapshot())
}

impl List {
    fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        if let Some(client) = self.server.client(&self.config)? {
            return list_of_server(&client, self.all, out);
        }
        let config = self.config.load()?;
        let snapshot = loaded(&config)?;
        let mut zones: Vec<_> = snapshot.zones().map(|(_, zone)| zone).collect();
        zones.sort_by(|one, other| one.apex().cmp(other.apex()));
        let is_served = |kind: ZoneKind, is_empty: bool| kind == ZoneKind::Plain || !is_empty;
        let (mut rows, mut hidden) = (vec![HEADINGS.map(str::to_owned)], 0);
        for zone in zones {
            let header = zone.header();
            if !self.all && !is_served(header.kind, zone.is_empty()) {
                hidden += 1;
                continue;
            }
            let kind = match header.kind {
                ZoneKind::PrivateLink => "private-link",
                ZoneKind::Plain => "plain",
            };
            let on_missing = match header.on_missing {
                OnMissing::AskPublic => "ask-public",
                OnMissing::NxDomain => "nxdomain",
            };
            let networks =
                if header.networks.is_empty() { "all".to_owned() } else { header.networks.join(" ") };
            rows.push([
                zone.apex().to_string(),
                kind.to_owned(),
                zone.serial().to_string(),
                zone.len().to_string(),
                zone.content().to_string(),
                on_missing.to_owned(),
                networks,
            ]);
        }
        write_table(&rows, out)?;
        if hidden > 0 {
            writeln!(
                out,
                "{} without records: not served (--all lists them)",
                count(hidden, "private-link zone")
            )?;
        }
        Ok(Outcome::Well)
    }
}

/// The zones of a running server, with those that operators made.
fn list_of_server(client: &Client, all: bool, out: &mut impl Write) -> anyhow::Result<Outcome> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    client.each(&["zones"], &[], |zones| {
        let zones = zones.iter().filter(|zone| all || zone["served"] == true);
        let keys = ["name", "kind", "made_by", "serial", "record_sets", "on_missing", "networks"];
        rows.extend(zones.map(|zone| keys.iter().map(|key| cell(&zone[*key])).collect()));
        Ok(())
    })?;
    let headings = ["ZONE", "KIND", "MADE-BY", "SERIAL", "RECORD-SETS", "ON-MISSING", "NETWORKS"];
    client::write_table(&headings, &rows, out)?;
    Ok(Outcome::Well)
}

const HEADINGS: [&str; 7] = ["ZONE", "KIND", "SERIAL", "NAMES", "RECORD-SETS", "ON-MISSING", "NETWORKS"];

fn write_table(rows: &[[String; 7]], out: &mut impl Write) -> io::Result<()> {
    let widths: [usize; 7] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or_default());
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

impl Export {
    fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let config = self.config.load()?;
        let snapshot = loaded(&config)?;
        let view = self.client.map_or(ViewId::NONE, |client| snapshot.networks().view_of(client));
        let Some(zone) = snapshot.zone(self.zone.borrow()) else {
            bail!("there is no zone {}; `privatelink-dns zones list --all` shows those there are", self.zone);
        };
        let sets = zone.nodes().flat_map(|(name, node)| {
            node.slots().iter().map(move |slot| (name.clone(), slot.served(view).set.clone()))
        });
        let mut text = String::new();
        write_master_file(&self.zone, sets, &mut text).expect("a String takes all text");
        out.write_all(text.as_bytes())?;
        Ok(Outcome::Well)
    }
}

impl Import {
    fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let config = self.config.load()?;
        let zone = config.zones.iter().find(|zone| zone.header.apex == self.zone);
        let target = zone.and_then(|zone| Some((&zone.header, zone.file.as_deref()?)));
        let Some((header, target)) = target else {
            bail!("{}: no [[zone]] for {} with a file", config.file.display(), self.zone);
        };
        let networks = Networks::new(config.networks.clone(), Vec::new())?;
        let root = self.file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let (new, files) = records(&self.file, header, root, &networks)?;
        let (old, _) = records(target, header, config.folder(), &networks)?;
        for (sign, lines) in [('-', old.difference(&new)), ('+', new.difference(&old))] {
            for line in lines {
                writeln!(out, "{sign} {line}")?;
            }
        }
        let (taken, put) = (old.difference(&new).count(), new.difference(&old).count());
        let target_shown = target.display();
        if taken + put == 0 {
            writeln!(out, "{target_shown} has the same records already")?;
            return Ok(Outcome::Well);
        }
        if !self.write {
            writeln!(out, "{taken} out, {put} in; nothing written: --write puts it into {target_shown}")?;
            return Ok(Outcome::Well);
        }
        if files > 1 {
            bail!(
                "{} includes other files, which do not come along: export the zone first",
                self.file.display()
            );
        }
        let text = fs::read(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        replace(target, &text).with_context(|| format!("cannot write {target_shown}"))?;
        writeln!(out, "{taken} out, {put} in; written to {target_shown}")?;
        Ok(Outcome::Well)
    }
}

/// The records of a master file as lines, after it has proved to make a zone; and how many files it is.
fn records(
    file: &Path,
    header: &ZoneHeader,
    root: &Path,
    networks: &Networks,
) -> anyhow::Result<(BTreeSet<String>, usize)> {
    let read = MasterFile::read(file, &header.apex, root)?;
    let empty = Snapshot::default();
    let mut changes =
        changes_of_file(&read, header.clone(), &empty).with_context(|| file.display().to_string())?;
    let sets: Vec<(Name, RecordSet)> = changes.iter().filter_map(put).collect();
    changes.push(Change::SetNetworks(networks.clone().into()));
    ChangeSet { changes }.apply(&empty).with_context(|| file.display().to_string())?;
    let lines = sets.iter().flat_map(|(name, set)| {
        let line = |data| format!("{name} {} {} {}", set.ttl, set.rtype, rdata::to_text(set.rtype, data));
        set.records().map(line).collect::<Vec<_>>()
    });
    Ok((lines.collect(), read.files.len()))
}

fn put(change: &Change) -> Option<(Name, RecordSet)> {
    match change {
        Change::Put { name, offer, .. } => Some((name.clone(), offer.set.clone())),
        _ => None,
    }
}

/// Puts text in the place of a file, whole or not at all.
fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    // Hidden, so that nobody who reads the folder takes it for a zone.
    let beside = folder.join(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        let mut new = fs::OpenOptions::new().write(true).create_new(true).open(&beside)?;
        new.write_all(text)?;
        new.set_permissions(fs::metadata(file)?.permissions())?;
        new.sync_all()?;
        fs::rename(&beside, file)?;
        fs::File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // What cannot be removed does no harm.
        let _ = fs::remove_file(&beside);
    }
    written
}
