//! Settings → parts → bound sockets → run → reload → drain. Floor 7; `serve` and the tests use the same.

mod address_space;
mod admin_token;
mod administration;
mod away;
mod backup;
mod descriptors;
mod error;
mod files;
mod new_store;
mod notify;
mod numbers;
mod observing;
mod parts;
mod ports;
mod privileges;
mod running;
mod serving;
mod settled;
mod signals;
mod sockets;
mod surroundings;
mod told;
mod watch;
mod watchdog;

pub use admin_token::{TOKEN_FILE, rescue};
pub use backup::{BackupError, Restored, back_up, restore};
pub use error::{AdministrationError, StartError};
pub use new_store::{MadeStore, NewStoreError, make_store};
pub use parts::{LoadError, Parts};
pub use ports::Ports;
pub use privileges::PrivilegesError;
pub use running::{Daemon, Reload};
pub use sockets::Sockets;
