//! Settings → parts → bound sockets → run → reload → drain. Floor 7; `serve` and the tests use the same.

mod parts;
mod running;
mod source;
mod sources;
mod watch;

pub use parts::{LoadError, Parts};
pub use running::{Daemon, Reload, StartError};
pub use source::{Proposal, Published, Reading, Source, SourceState};
pub use sources::{Sources, StateAccess};
