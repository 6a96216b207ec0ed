//! The config file becomes the parts' own Settings; every error names file, line and key. Floor 6.

mod admin;
mod assembly;
mod certificates;
mod cloud;
mod document;
mod error;
#[cfg(test)]
mod example;
mod file;
mod limits;
mod listen;
mod monitors;
mod observers;
mod place;
mod private_link;
mod said;
mod source;
#[cfg(test)]
mod tests;
mod words;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::answer::{AccessSettings, PrivateReverse, PublicNames};
use crate::dns::{Name, Ttl};
use crate::forward::UpstreamAddress;
use crate::privatelink::Catalogue;
use crate::respond::RateSettings;
use crate::sync::{azure, directory};
use crate::zone::{Network, OnMissing, ZoneHeader};
use crate::{cache, forward, observe, telemetry};

pub use admin::{AdminSettings, Asked};
pub use error::{ConfigError, ConfigErrors};
pub use monitors::MonitorSettings;
pub use said::{AT_THE_START, Said, needs_restart};

/// Where the config is looked for.
pub const DEFAULT_FILE: &str = "/etc/privatelink-dns/config.toml";

/// What a config file says, checked; paths are made whole.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// What stands there, to be compared with another.
    pub said: Said,
    pub state_dir: PathBuf,
    /// Whom root becomes when all is bound.
    pub user: Option<String>,
    /// How long SIGTERM is only announced before listeners close.
    pub lame_duck: Duration,
    pub listen: crate::listen::Settings,
    ddr: Option<certificates::DdrName>,
    /// Certificates, and where they are named.
    certificates: Vec<certificates::Named>,
    pub networks: Vec<Network>,
    /// ARM ids, lower-cased: whose claim goes first where no view decides.
    pub prefer: Vec<Arc<str>>,
    pub access: AccessSettings,
    pub private_link: PrivateLinkSettings,
    pub zones: Vec<ZoneSettings>,
    pub forward: forward::Settings,
    /// `forward.private_reverse`; none = as the upstreams want it.
    pub private_reverse: Option<PrivateReverse>,
    pub rate: RateSettings,
    pub cache: cache::Settings,
    pub sync: SyncSettings,
    pub admin: AdminSettings,
    pub telemetry: telemetry::Settings,
    pub monitors: MonitorSettings,
    pub observe: observe::Settings,
}

/// `[private_link]`.
#[derive(Debug, Clone)]
pub struct PrivateLinkSettings {
    /// That of the cloud, with the operator's overlay.
    pub catalogue: Arc<Catalogue>,
    pub catalogue_file: Option<PathBuf>,
    /// Services, groups or zones as they are written.
    pub selectors: Vec<String>,
    pub regions: Vec<String>,
    /// The zones that selectors and regions name; those of other regions come with the inventory.
    pub zones: Vec<Name>,
    pub ttl: Ttl,
    pub on_missing: OnMissing,
    pub public_names: PublicNames,
    /// Only these addresses of endpoints are published; none = all but those of the platform.
    pub addresses: Vec<IpNet>,
    /// Whether the reverse names of endpoints' addresses are answered.
    pub reverse: bool,
}

/// One `[[zone]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneSettings {
    pub header: ZoneHeader,
    /// Its master file; a private-link zone needs none, nor does one that is imported.
    pub file: Option<PathBuf>,
}

/// `[sync]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncSettings {
    pub interval: Duration,
    pub withdraw_max_percent: u8,
    /// Ids of the subscriptions whose endpoints may publish, lower-cased; none = all.
    pub allow_subscriptions: Vec<Arc<str>>,
    pub sources: Vec<directory::Settings>,
    /// Live Azure: its endpoints, and its private DNS zones.
    pub azure: Vec<azure::Settings>,
}

/// What a file says, and all that is wrong with it.
#[derive(Debug)]
pub struct Examined {
    /// Not to be served if there are errors: what is wrong is left out of it.
    pub config: Option<Config>,
    pub errors: Option<ConfigErrors>,
}

fn read(path: &Path) -> Result<String, ConfigErrors> {
    fs::read_to_string(path)
        .map_err(|error| ConfigErrors::whole_file(path.to_owned(), format!("cannot be read: {error}")))
}

impl Config {
    /// Reads a file. It blocks: callers on the async runtime use a blocking thread.
    pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
        Config::parse(&read(path)?, path)
    }

    /// Reads text that stands, or would stand, at `path`; relative paths in it are relative to that file's folder.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigErrors> {
        match Config::examined(text, path)? {
            Examined { config: Some(config), errors: None } => Ok(config),
            Examined { errors, .. } => Err(errors.expect("a config without errors is whole")),
        }
    }

    /// Reads a file as [`Config::load`] does, and goes on past errors as far as they let it.
    pub fn examine(path: &Path) -> Result<Examined, ConfigErrors> {
        Config::examined(&read(path)?, path)
    }

    fn examined(text: &str, path: &Path) -> Result<Examined, ConfigErrors> {
        // Editors on Windows begin files with a byte order mark.
        let document = document::Document::read(text.strip_prefix('\u{feff}').unwrap_or(text), path)?;
        Ok(assembly::assemble(&document, document.to(), path))
    }

    /// The upstreams that are asked for Azure's hosts: those of config, never our own zones.
    pub fn azure_hosts(&self) -> azure::ResolverSettings {
        let rules = self.forward.rules.iter().map(|rule| {
            let server = |upstream: &UpstreamAddress| azure::HostServer {
                socket: upstream.socket(),
                peer: upstream.peer().cloned(),
            };
            (rule.domain.clone(), rule.upstreams.iter().map(server).collect())
        });
        let (rules, trust) = (rules.collect(), self.forward.trust.clone());
        azure::ResolverSettings { rules, trust, ..azure::ResolverSettings::default() }
    }

    /// The folder of the file, within which zone files may include others.
    pub fn folder(&self) -> &Path {
        match self.file.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }

    /// The file that queries are logged to.
    pub fn query_log(&self) -> Option<&Path> {
        self.observe.query_log.as_ref()?.path.as_deref()
    }

    /// The files besides the config itself whose change is a change of the config.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let zones = self.zones.iter().filter_map(|zone| zone.file.as_deref());
        zones.chain(self.private_link.catalogue_file.as_deref()).chain(self.forward.trust.path())
    }
}
