//! `serve`: the server.

use std::io::Write;

use anyhow::Context;
use clap::Args;

use super::summary::Summary;
use super::{ConfigFile, Outcome};
use crate::daemon::{Daemon, Sockets};
use crate::telemetry::logging;

/// Serve DNS until SIGTERM or SIGINT; SIGHUP or a changed file reloads.
#[derive(Args)]
#[command(after_help = "\
Examples:
  privatelink-dns serve
  privatelink-dns serve --config config/quickstart.toml")]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigFile,
}

impl Serve {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let config = self.config.load()?;
        logging::init(&config.telemetry)?;
        // Before the runtime has threads: each has rights of its own.
        let sockets = Sockets::bind_as_root(&config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.context("the runtime cannot be started")?;
        runtime.block_on(async {
            let daemon = Daemon::start_on(sockets, &self.config.config, config).await?;
            let summary = Summary::new(daemon.config(), daemon.parts())
                .listening(daemon.addresses(), daemon.tls_addresses())
                .administered_at(daemon.admin_addresses());
            // Who reads only the first lines of it wants the server all the same.
            let _ = write!(out, "{summary}").and_then(|()| out.flush());
            daemon.run_until_signal().await;
            Ok(Outcome::Well)
        })
    }
}
