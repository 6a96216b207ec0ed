//! `explain`: why a client is answered what it is answered.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;

use super::published::as_of;
use super::{ConfigFile, Outcome, small_runtime};
use crate::daemon::Parts;
use crate::dns::{Name, Rcode, RecordType};

/// Tell step by step why a client is answered what it is answered: view, zone, endpoint, rule, upstream.
///
/// Works from the config, its inventories and the last good state of live Azure alone; a running server is neither needed nor
/// asked.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 = the answer is NOERROR, 1 = another one or none, 2 = an error.

Examples:
  privatelink-dns explain contosodata01.blob.core.windows.net --client 10.10.1.4
  privatelink-dns explain contosokv01.vault.azure.net AAAA --client 10.10.1.4 --offline")]
pub(super) struct Explain {
    /// The name asked for.
    name: Name,
    /// The type asked for: A, AAAA, HTTPS, TXT, TYPE65, …
    #[arg(default_value = "A", value_name = "TYPE")]
    rtype: RecordType,
    /// Who asks.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    client: IpAddr,
    /// Do not ask upstreams: what they would be asked is answered as if there were none.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    config: ConfigFile,
}

impl Explain {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let mut config = self.config.load()?;
        if self.offline {
            config.forward.rules.clear();
        }
        let (explanation, as_of) = small_runtime()?
            .block_on(async {
                let parts = Parts::load(&config)?;
                let responder = Arc::clone(&parts.responder);
                let as_of: Vec<String> =
                    parts.sources.azure().list().iter().filter_map(|source| as_of(source)).collect();
                anyhow::Ok((responder.explain(&self.name, self.rtype, self.client).await, as_of))
            })
            .context("the config cannot be served")?;
        writeln!(out, "{} {} asked by {}", self.name, self.rtype, self.client)?;
        if self.offline {
            writeln!(out, "(offline: no upstream is asked, as if none were configured)")?;
        }
        for line in as_of {
            writeln!(out, "({line})")?;
        }
        write!(out, "{explanation}")?;
        let is_good = explanation.reply.is_some_and(|reply| reply.rcode == Rcode::NOERROR);
        Ok(if is_good { Outcome::Well } else { Outcome::Found })
    }
}
