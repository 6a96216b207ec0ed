//! `catalogue`: what is known of a name, without any config.

use std::io::Write;

use clap::Args;

use super::Outcome;
use crate::dns::Name;
use crate::privatelink::{Catalogue, Cloud, Description, Kind};

/// Tell which private zone and record a name leads to, or which public names lead to a private one.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 = the name is known, 1 = it is not, 2 = an error.

Examples:
  privatelink-dns catalogue contoso.vault.azure.net
  privatelink-dns catalogue contoso.privatelink.vaultcore.azure.net
  privatelink-dns catalogue contoso.blob.core.usgovcloudapi.net --cloud usgov")]
pub(super) struct CatalogueOf {
    /// A public or private name, a zone, or a public suffix.
    name: Name,
    /// public, usgov or china; without it the first that knows the name.
    #[arg(long)]
    cloud: Option<Cloud>,
}

impl CatalogueOf {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let of = |cloud: Cloud| Catalogue::builtin(cloud).describe(self.name.borrow());
        let description = match self.cloud {
            Some(cloud) => of(cloud),
            None => {
                let known = Cloud::ALL.into_iter().map(of).find(is_known);
                known.unwrap_or_else(|| of(Cloud::default()))
            }
        };
        write!(out, "{description}")?;
        Ok(if is_known(&description) { Outcome::Well } else { Outcome::Found })
    }
}

fn is_known(description: &Description) -> bool {
    !matches!(description.kind, Kind::Unknown { .. })
}
