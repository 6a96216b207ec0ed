//! `zones`: what is served, out to a master file and in from one; made and taken away.

mod making;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{self, Client, Form, OtherServer, Output, cell, write_json, write_plan};
use super::words::count;
use super::{ConfigFile, Outcome, small_runtime};
use crate::config::Config;
use crate::daemon::Parts;
use crate::dns::{Name, RecordSet, rdata};
use crate::telemetry::command;
use crate::zone::{
    Change, ChangeSet, MasterFile, Networks, OnMissing, Snapshot, ViewId, ZoneHeader, ZoneKind,
    changes_of_file, faults_of_file, write_master_file,
};

/// List zones, write one as a master file, take a master file in, or make and take away zones of a running server.
///
/// Without a server they work from config, zone files and inventories; what operators wrote by REST a running server knows.
#[derive(Args)]
#[command(after_help = "\
Examples:
  privatelink-dns zones list
  privatelink-dns zones list --server http://127.0.0.1:8053
  privatelink-dns zones export privatelink.blob.core.windows.net > blob.zone
  privatelink-dns zones import new.zone --zone corp.internal            shows what would change
  privatelink-dns zones import new.zone --zone corp.internal --write
  privatelink-dns zones import new.zone --zone corp.internal --server http://127.0.0.1:8053 --dry-run
  privatelink-dns zones create lab.internal
  privatelink-dns zones delete lab.internal")]
pub(super) struct Zones {
    #[command(subcommand)]
    verb: ZonesVerb,
}

#[derive(Subcommand)]
enum ZonesVerb {
    List(List),
    Export(Export),
    Import(Import),
    Create(making::Create),
    Delete(making::Delete),
}

/// List the zones: apex, kind, serial, names, record sets, what a miss means, networks.
#[derive(Args)]
struct List {
    /// Also private-link zones without records, which are not served.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: Output,
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
  privatelink-dns zones export privatelink.blob.core.windows.net --client 10.10.1.4
  privatelink-dns zones export corp.internal --origin rest --server http://127.0.0.1:8053")]
struct Export {
    /// The zone's name.
    zone: Name,
    /// As this client's network is served; without it as clients outside all networks are.
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// As this network is served.
    #[arg(long, value_name = "NAME", conflicts_with = "client")]
    network: Option<String>,
    /// Of a running server only what comes from there: rest, file, endpoint, update, transfer, azure-zone or built-in.
    #[arg(long)]
    origin: Option<String>,
    #[command(flatten)]
    server: OtherServer,
    #[command(flatten)]
    config: ConfigFile,
}

/// Check a master file, show what it would change, and put it in the place of the zone's own file, or give it to a running
/// server.
#[derive(Args)]
#[command(after_help = "\
A running server makes the file's records operators' own, all or none, and takes back those of operators that it does not
have. Without a server nothing is written unless --write says so.

Exit status: 0 = the file is good, 2 = it is not.

Examples:
  privatelink-dns zones import new.zone --zone corp.internal
  privatelink-dns zones import new.zone --zone corp.internal --write    a running server then reloads by itself
  privatelink-dns zones import new.zone --zone corp.internal --server http://127.0.0.1:8053 --dry-run
  privatelink-dns zones import new.zone --zone corp.internal --server http://127.0.0.1:8053")]
struct Import {
    /// The master file.
    file: PathBuf,
    /// The zone; without a server its [[zone]] in the config names the file that is written.
    #[arg(long)]
    zone: Name,
    /// Write to the zone's own file; without it, and without a server, only what would change is shown.
    #[arg(long, conflicts_with = "server")]
    write: bool,
    /// Only show what would change.
    #[arg(long, conflicts_with = "write")]
    dry_run: bool,
    /// Of a running server: operators' records that the file does not have stay.
    #[arg(long, conflicts_with = "write")]
    merge: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: OtherServer,
    #[command(flatten)]
    config: ConfigFile,
}

impl Zones {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        match self.verb {
            ZonesVerb::List(verb) => verb.run(out),
            ZonesVerb::Export(verb) => verb.run(out),
            ZonesVerb::Import(verb) => verb.run(out),
            ZonesVerb::Create(verb) => verb.run(out),
            ZonesVerb::Delete(verb) => verb.run(out),
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
        if let Some(client) = self.server.or_of_environment().client(&self.config)? {
            return list_of_server(&client, self.all, self.output.form, out);
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
        if self.output.form == Form::Json {
            // In the words of a running server.
            let keys = ["name", "kind", "serial", "names", "record_sets", "on_missing", "networks"];
            let number =
                |text: &String| text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number));
            let networks = |text: &String| match text.as_str() {
                "all" => json!([]),
                text => json!(text.split(' ').collect::<Vec<_>>()),
            };
            let zones = rows.iter().skip(1).map(|row| {
                let value =
                    |(key, text)| (key, if key == "networks" { networks(text) } else { number(text) });
                keys.into_iter().zip(row).map(value).map(|(key, value)| (key.to_owned(), value)).collect()
            });
            write_json(&Value::Array(zones.map(Value::Object).collect()), out)?;
            return Ok(Outcome::Well);
        }
        write_table(&rows, out)?;
        if hidden > 0 {
            writeln!(
                out,
                "{} without records: not served (--all lists them)",
                count(hidden, "private-link zone")
            )?;
        }
        tell_of_server(&config);
        Ok(Outcome::Well)
    }
}

/// Where there is a store, what lies in it is not shown here.
fn tell_of_server(config: &Config) {
    let file = config.admin.store.file();
    if file.is_none_or(|file| file.exists())
        && let Ok(server) = client::server_of(config)
    {
        // Nothing can be done about a closed stderr.
        let _ = writeln!(
            io::stderr(),
            "What operators wrote by REST is not shown: --server {server} asks the running server"
        );
    }
}

/// The zones of a running server, with those that operators made.
fn list_of_server(client: &Client, all: bool, form: Form, out: &mut impl Write) -> anyhow::Result<Outcome> {
    let mut shown: Vec<Value> = Vec::new();
    client.each(&["zones"], &[], |zones| {
        shown.extend(zones.into_iter().filter(|zone| all || zone["served"] == true));
        Ok(())
    })?;
    if form == Form::Json {
        write_json(&Value::Array(shown), out)?;
        return Ok(Outcome::Well);
    }
    let keys = ["name", "kind", "made_by", "serial", "record_sets", "on_missing", "networks"];
    let row = |zone: &Value| keys.iter().map(|key| cell(&zone[*key])).collect();
    let rows: Vec<Vec<String>> = shown.iter().map(row).collect();
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
        if let Some(client) = self.server.clone().or_of_environment().client(&self.config)? {
            return self.run_at(&client, out);
        }
        if self.origin.is_some() {
            bail!("--origin is for a running server: --server names it");
        }
        let config = self.config.load()?;
        let snapshot = loaded(&config)?;
        let view = match (&self.network, self.client) {
            (Some(name), _) => match snapshot.networks().view_named(name) {
                Some(view) => view,
                None => bail!("there is no network `{name}` in {}", config.file.display()),
            },
            (None, Some(client)) => snapshot.networks().view_of(client),
            (None, None) => ViewId::NONE,
        };
        let Some(zone) = snapshot.zone(self.zone.borrow()) else {
            bail!("there is no zone {}; {} shows those there are", self.zone, command("zones list --all"));
        };
        let sets = zone.nodes().flat_map(|(owner, node)| {
            node.slots().iter().map(move |slot| (owner.to_name(), slot.served(view).set.clone()))
        });
        let mut text = String::new();
        write_master_file(&self.zone, sets, &mut text).expect("a String takes all text");
        out.write_all(text.as_bytes())?;
        Ok(Outcome::Well)
    }
}

impl Export {
    /// A zone of a running server.
    fn run_at(&self, client: &Client, out: &mut impl Write) -> anyhow::Result<Outcome> {
        if self.client.is_some() {
            bail!("a running server is asked by --network, not by --client");
        }
        let call = client.call(Method::GET, &["zones", &self.zone.to_string(), "export"]);
        let call = call.maybe_query("network", self.network.as_deref());
        let text = call.maybe_query("origin", self.origin.as_deref()).send_for_text()?;
        out.write_all(text.as_bytes())?;
        Ok(Outcome::Well)
    }
}

impl Import {
    fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let server = if self.write { self.server.clone() } else { self.server.clone().or_of_environment() };
        if let Some(client) = server.client(&self.config)? {
            return self.run_at(&client, out);
        }
        if self.merge {
            bail!("--merge is for a running server: --server names it");
        }
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

impl Import {
    /// Gives the file to a running server, all or nothing.
    fn run_at(&self, client: &Client, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let file = self.file.display();
        let text = fs::read_to_string(&self.file).with_context(|| format!("cannot read {file}"))?;
        let call = client.call(Method::POST, &["zones", &self.zone.to_string(), "import"]);
        let call = call.query("mode", if self.merge { "merge" } else { "replace" });
        let call = if self.dry_run { call.query("dry_run", "true") } else { call };
        let done = call.text("text/dns", text).send().with_context(|| format!("{file} is not imported"))?;
        match self.output.form {
            Form::Json => write_json(&done, out)?,
            Form::Table if self.dry_run => write_plan(&done, out)?,
            Form::Table => {
                let serial = done["serials"][self.zone.to_string()].as_u64();
                let serial = serial.map_or_else(|| "as it was".to_owned(), |serial| serial.to_string());
                writeln!(out, "imported; revision {}, serial {serial}", cell(&done["revision"]))?;
            }
        }
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
    if let Some(faults) = faults_of_file(&read, header) {
        return Err(faults.into());
    }
    for warning in &read.warnings {
        // Nothing can be done about a closed stderr.
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
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
