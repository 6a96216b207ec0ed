//! `backup` and `restore`: all of `state_dir` in one file, and back.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use reqwest::Method;

use super::client::{Client, OtherServer, ServerOptions};
use super::{ConfigFile, Outcome, small_runtime};
use crate::daemon;
use crate::telemetry::command;

/// Save the store (zones, records, serials, tokens, audit) and the last good state of all sources in one file, also
/// while a server runs. It is a gzipped tar for the owner's eyes only: it holds the hashes of tokens.
#[derive(Args)]
#[command(after_help = "\
Where state_dir cannot be read, or with --server, the running server is asked for it, with an admin's token.
A store of PostgreSQL is saved by pg_dump.

Examples:
  privatelink-dns backup /var/backups/privatelink-dns.tar.gz
  privatelink-dns backup dns.tar.gz --server https://dns.corp.example.com:8053 --token-file admin.token
  tar xzOf dns.tar.gz sync-state.jsonl | jq .published")]
pub(super) struct Backup {
    /// Where to; a file that is there is exchanged when the new one is whole.
    file: PathBuf,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    server: OtherServer,
}

/// Put a backup in the place of what is in state_dir. Stop the server first; one that lost its store goes on with it.
#[derive(Args)]
#[command(after_help = "\
Takes what `privatelink-dns backup` wrote, and what was copied by hand: a records.db (with records.db-wal beside it),
a sync-state.jsonl, or a folder of both. What is there before is kept as *.before-restore-<time>. A backup that is
damaged, or of a newer program, changes nothing. A store of PostgreSQL is restored by pg_restore.

Run it as the server's user, or as root.

Examples:
  privatelink-dns restore /var/backups/privatelink-dns.tar.gz
  privatelink-dns restore copy/records.db -c /etc/privatelink-dns/config.toml")]
pub(super) struct Restore {
    /// The backup.
    file: PathBuf,
    #[command(flatten)]
    config: ConfigFile,
}

impl Backup {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let server = self.server.clone().or_of_environment();
        if let Some(client) = server.client(&self.config)? {
            return fetch(&client, &self.file, out);
        }
        let config = self.config.load()?;
        match small_runtime()?.block_on(daemon::back_up(&config, &self.file)) {
            Ok(()) => told(&self.file, out),
            Err(error) if error.is_refused() => {
                let options = ServerOptions::of_config(self.config, self.server);
                let client = Client::of(&options).with_context(|| {
                    format!(
                        "{error}; a running server can be asked instead, as --server with --token-file says"
                    )
                })?;
                fetch(&client, &self.file, out)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Asks a running server.
fn fetch(client: &Client, file: &Path, out: &mut impl Write) -> anyhow::Result<Outcome> {
    let mut unfinished = file.to_owned().into_os_string();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let opened = File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
    let mut to = opened.with_context(|| format!("cannot write {}", unfinished.display()))?;
    let fetched = client.call(Method::GET, &["backup"]).send_into(&mut to);
    let done = fetched.and_then(|()| {
        let moved = to.sync_all().and_then(|()| fs::rename(&unfinished, file));
        moved.with_context(|| format!("cannot write {}", file.display()))
    });
    if let Err(error) = done {
        // Half a backup is none.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    told(file, out)
}

fn told(file: &Path, out: &mut impl Write) -> anyhow::Result<Outcome> {
    let size = fs::metadata(file)?.len();
    writeln!(out, "{}: {size} bytes; {} puts it back", file.display(), command("restore FILE"))?;
    Ok(Outcome::Well)
}

impl Restore {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        if !self.file.exists() {
            bail!("there is no {}", self.file.display());
        }
        let config = self.config.load()?;
        let restored = small_runtime()?.block_on(daemon::restore(&config, &self.file))?;
        if let Some(held) = restored.records {
            writeln!(out, "restored     the store at revision {}, {} entries", held.revision, held.entries)?;
        }
        for (source, names) in restored.sources.iter().flatten() {
            writeln!(out, "restored     the last good state of `{source}`, {names} names")?;
        }
        for kept in &restored.kept {
            writeln!(out, "kept         what was there before, as {}", kept.display())?;
        }
        Ok(Outcome::Well)
    }
}
