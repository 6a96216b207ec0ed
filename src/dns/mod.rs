//! The words of the DNS: names, records, messages. Floor 1: knows nothing of the server.

pub mod name;

pub use name::{Name, NameBuf, NameError, NameRef};
