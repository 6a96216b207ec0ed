//! Settings → parts → bound sockets → run → reload → drain. Floor 7; `serve` and the tests use the same.

mod azure;
mod parts;
mod resolver;
mod running;
mod sources;
mod watch;

pub use azure::{AzureSource, AzureSources, Known};
pub use parts::{LoadError, Parts};
pub use running::{Daemon, Reload, StartError};
pub use sources::{Source, SourceState, Sources};
