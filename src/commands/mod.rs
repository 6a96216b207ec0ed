//! The command line: one verb one file. Floor 8.

mod backup;
mod cache;
mod catalogue;
mod cert;
mod check;
mod client;
mod delegations;
mod doctor;
mod explain;
mod forwarders;
mod hosts;
mod networks;
mod progress;
mod published;
mod records;
mod serve;
mod store;
mod summary;
mod sync;
mod token;
mod top;
mod words;
mod zones;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigErrors, DEFAULT_FILE, Examined};
use crate::telemetry::call_with_config;

/// A DNS server for Azure Private Link: serves the privatelink.* zones, splices them into public names, forwards the rest.
#[derive(Parser)]
#[command(name = "privatelink-dns", version, max_term_width = 110, after_help = AFTER_HELP)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "\
Exit status: 0 = well, 1 = no or something found, 2 = an error.

Examples:
  privatelink-dns check -c config/quickstart.toml
  privatelink-dns serve -c config/quickstart.toml
  privatelink-dns explain contosodata01.blob.core.windows.net -c config/quickstart.toml
  privatelink-dns catalogue contoso.vault.azure.net";

#[derive(Subcommand)]
enum Verb {
    Serve(serve::Serve),
    Check(check::Check),
    Explain(explain::Explain),
    Doctor(doctor::Doctor),
    Sync(sync::Sync),
    Zones(zones::Zones),
    Hosts(hosts::Hosts),
    Catalogue(catalogue::CatalogueOf),
    Records(records::Records),
    Forwarders(forwarders::Forwarders),
    Networks(networks::Networks),
    Token(token::Token),
    Top(top::Top),
    Cache(cache::Cache),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Store(store::Store),
    Cert(cert::Cert),
}

/// Which config.
#[derive(Args, Clone)]
struct ConfigFile {
    /// The config file.
    #[arg(short, long = "config", value_name = "FILE", default_value = DEFAULT_FILE, env = "PRIVATELINK_DNS_CONFIG")]
    config: PathBuf,
}

/// How a verb ends when nothing stops it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Well,
    /// The answer is no, or something was found that needs a hand.
    Found,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, ConfigErrors> {
        self.tell_commands();
        Config::load(&self.config)
    }

    /// What it says, and all that is wrong with it.
    fn examine(&self) -> Result<Examined, ConfigErrors> {
        self.tell_commands();
        Config::examine(&self.config)
    }

    /// Has commands that are advised read the same file.
    fn tell_commands(&self) {
        if self.config != Path::new(DEFAULT_FILE) {
            call_with_config(&self.config);
        }
    }
}

/// Runs what the command line says.
pub fn run() -> ExitCode {
    let verb = CommandLine::parse().verb;
    let out = &mut io::stdout();
    let done = match verb {
        Verb::Serve(verb) => verb.run(out),
        Verb::Check(verb) => verb.run(out),
        Verb::Explain(verb) => verb.run(out),
        Verb::Doctor(verb) => verb.run(out),
        Verb::Sync(verb) => verb.run(out),
        Verb::Zones(verb) => verb.run(out),
        Verb::Hosts(verb) => verb.run(out),
        Verb::Catalogue(verb) => verb.run(out),
        Verb::Records(verb) => verb.run(out),
        Verb::Forwarders(verb) => verb.run(out),
        Verb::Networks(verb) => verb.run(out),
        Verb::Token(verb) => verb.run(out),
        Verb::Top(verb) => verb.run(out),
        Verb::Cache(verb) => verb.run(out),
        Verb::Backup(verb) => verb.run(out),
        Verb::Restore(verb) => verb.run(out),
        Verb::Store(verb) => verb.run(out),
        Verb::Cert(verb) => verb.run(out),
    };
    let done = done.and_then(|outcome| out.flush().map(|()| outcome).map_err(Into::into));
    match done {
        Ok(Outcome::Well) => ExitCode::SUCCESS,
        Ok(Outcome::Found) => ExitCode::from(1),
        // `… | head` has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error);
            ExitCode::from(2)
        }
    }
}

/// Prints an error with its causes; each of a config's errors is one of its own.
fn tell(error: &anyhow::Error) {
    // Nothing can be done about a closed stderr.
    let mut stderr = io::stderr().lock();
    if let Some(errors) = error.downcast_ref::<ConfigErrors>() {
        for error in errors.iter() {
            let _ = writeln!(stderr, "error: {error}");
        }
        return;
    }
    let _ = writeln!(stderr, "error: {error:#}");
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The first wait before Azure is asked again, where somebody waits for the answer: as many tries as a server makes, in
/// seconds instead of half a minute.
const RETRY: Duration = Duration::from_millis(250);

fn ask_azure_impatiently(config: &mut Config) {
    config.sync.azure.iter_mut().for_each(|source| source.retry = RETRY);
}

/// A runtime for verbs that ask a few questions.
fn small_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
