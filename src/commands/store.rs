//! `store`: the store itself.

use std::io::Write;

use clap::{Args, Subcommand};

use super::{ConfigFile, Outcome, small_runtime};
use crate::daemon;

/// Look after the store of what operators write.
#[derive(Args)]
#[command(after_help = "\
Examples:
  privatelink-dns store new")]
pub(super) struct Store {
    #[command(subcommand)]
    verb: StoreVerb,
}

#[derive(Subcommand)]
enum StoreVerb {
    New(New),
}

/// Begin with an empty store where one was lost and there is no backup of it: all that operators wrote is given up.
/// One that cannot be opened is kept under another name; one that is in order is left alone.
#[derive(Args)]
struct New {
    #[command(flatten)]
    config: ConfigFile,
}

impl Store {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        match self.verb {
            StoreVerb::New(verb) => verb.run(out),
        }
    }
}

impl New {
    fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let config = self.config.load()?;
        let made = small_runtime()?.block_on(daemon::make_store(&config))?;
        writeln!(out, "made         an empty store, {}", made.path.display())?;
        if let Some(kept) = made.kept {
            writeln!(out, "kept         what was there before, as {}", kept.display())?;
        }
        Ok(Outcome::Well)
    }
}
