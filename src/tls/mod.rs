//! TLS from PEM files: certificates by the name that a client asks for, read again when the files change. Floor 1.
//!
//! `Pair` is one chain with its key; `Identities` chooses among several by SNI; `Server` is what handshakes are made with
//! while its files come and go. Who listens says what is spoken over it. `Client` is the other side: who a server must be
//! (`Peer`), which authorities say so (`Trust`), and what it showed (`Shown`).

mod client;
mod error;
mod identities;
mod names;
mod pair;
mod peer;
mod pem;
mod self_signed;
mod server;
mod shown;
#[cfg(test)]
mod tests;
mod trust;

pub use client::Client;
pub use error::{Part, TlsError};
pub use identities::Identities;
pub use names::Names;
pub use pair::{Ended, Pair, PairFiles};
pub use peer::{Peer, Pin, PinError};
pub use self_signed::{SelfSigned, SelfSignedError};
pub use server::{Server, Settings, Tickets};
pub use shown::Shown;
pub use trust::Trust;
