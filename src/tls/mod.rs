//! TLS from PEM files: certificates by the name that a client asks for, read again when the files change. Floor 1.
//!
//! `Pair` is one chain with its key; `Identities` chooses among several by SNI; `Server` is what handshakes are made with
//! while its files come and go. Who listens says what is spoken over it.

mod error;
mod identities;
mod names;
mod pair;
mod pem;
mod self_signed;
mod server;
#[cfg(test)]
mod tests;

pub use error::{Part, TlsError};
pub use identities::Identities;
pub use names::Names;
pub use pair::{Pair, PairFiles};
pub use self_signed::{SelfSigned, SelfSignedError};
pub use server::{Ended, Server, Settings, Tickets};
