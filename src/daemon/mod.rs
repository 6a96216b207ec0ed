//! Settings → parts → bound sockets → run → reload → drain. Floor 7; `serve` and the tests use the same.

mod admin_token;
mod administration;
mod azure;
mod azure_sources;
mod descriptors;
mod hand;
mod instances;
mod known;
mod parts;
mod ports;
mod resolver;
mod role;
mod running;
mod share;
mod shared;
mod source;
mod sources;
mod spare;
mod surroundings;
mod told;
mod watch;

use std::error::Error;

pub use admin_token::{TOKEN_FILE, rescue};
pub use administration::AdministrationError;
pub use azure::{AzureSource, PassTimes};
pub use azure_sources::AzureSources;
pub use hand::SourceAt;
pub use known::Known;
pub use parts::{LoadError, Parts};
pub use ports::Ports;
pub use role::Role;
pub use running::{Daemon, Reload, StartError};
pub use shared::Shared;
pub use source::{Proposal, Published, Reading, Source, SourceState};
pub use sources::{Sources, StateAccess};

/// An error and all that is behind it, in one line.
fn in_full(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
