//! `hosts`: what is published, as lines for a hosts file.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;

use clap::Args;

use super::published::{Published, as_of};
use super::{ConfigFile, Outcome, small_runtime};
use crate::daemon::Parts;
use crate::dns::Name;
use crate::zone::ViewId;

/// Print `<ip> <fqdn>` lines of all published endpoints, by their public names.
///
/// Inventories are read; of live Azure the last good state in state_dir is told, and how old it is.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 = there are lines, 1 = nothing is published, 2 = an error.

Examples:
  privatelink-dns hosts > hosts.txt
  privatelink-dns hosts --client 10.10.1.4")]
pub(super) struct Hosts {
    /// As this client's network is served; without it as clients outside all networks are.
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    #[command(flatten)]
    config: ConfigFile,
}

impl Hosts {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let config = self.config.load()?;
        let runtime = small_runtime()?;
        let _entered = runtime.enter();
        let parts = Parts::load(&config)?;
        let snapshot = parts.store.snapshot();
        let view = self.client.map_or(ViewId::NONE, |client| snapshot.networks().view_of(client));
        let mut lines: BTreeSet<(&Name, IpAddr)> = BTreeSet::new();
        let all = Published::all(&config, &parts, view);
        for published in &all {
            for name in published.names() {
                lines.extend(published.addresses.iter().map(|address| (name, *address)));
            }
        }
        for line in as_of(&parts.sources) {
            writeln!(out, "# {line}")?;
        }
        for (name, address) in &lines {
            let text = name.to_string();
            let fqdn = text.trim_end_matches('.');
            // A hosts file knows no wildcards, no escapes, and comments begin anywhere.
            let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
            let comment = if fqdn.as_bytes().iter().all(is_host) { "" } else { "# " };
            writeln!(out, "{comment}{address} {fqdn}")?;
        }
        Ok(if lines.is_empty() { Outcome::Found } else { Outcome::Well })
    }
}
