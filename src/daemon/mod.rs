//! Settings → parts → bound sockets → run → reload → drain. Floor 7; `serve` and the tests use the same.

mod descriptors;
mod parts;
mod running;
mod sources;
mod watch;

pub use parts::{LoadError, Parts};
pub use running::{Daemon, Reload, StartError};
pub use sources::{Source, SourceState, Sources};
