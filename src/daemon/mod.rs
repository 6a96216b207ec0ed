//! Settings → parts → bound sockets → run → reload → drain. Floor 7; `serve` and the tests use the same.

mod azure;
mod azure_sources;
mod descriptors;
mod hand;
mod known;
mod parts;
mod resolver;
mod running;
mod source;
mod sources;
mod spare;
mod told;
mod watch;

use std::error::Error;

pub use azure::AzureSource;
pub use azure_sources::AzureSources;
pub use hand::SourceAt;
pub use known::Known;
pub use parts::{LoadError, Parts};
pub use running::{Daemon, Reload, StartError};
pub use source::{Proposal, Published, Reading, Source, SourceState};
pub use sources::{Sources, StateAccess};

/// An error and all that is behind it, in one line.
fn in_full(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
