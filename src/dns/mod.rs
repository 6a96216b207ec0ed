//! The words of the DNS: names, records, messages. Floor 1: knows nothing of the server.

mod client_host;
mod client_network;
pub mod edns;
mod gist;
pub mod header;
pub mod message;
pub mod name;
mod negative_authority;
mod question;
mod raw;
pub mod rdata;
pub mod record;
pub mod reply;
pub mod request;
mod suffix_map;
mod svcb;
pub mod token;

pub use client_host::ClientHost;
pub use client_network::ClientNetwork;
pub use edns::ExtendedError;
pub use gist::Gist;
pub use header::{Flags, Rcode};
pub use message::{Message, MessageError, QueryFlags};
pub use name::{Name, NameBuf, NameError, NameRef};
pub use negative_authority::{NegativeAuthority, negative_ttl_secs};
pub use question::Question;
pub use raw::{RawName, RawQuestion};
pub use record::{Record, RecordSet, RecordType, Ttl};
pub use reply::{ReplyWriter, Section};
pub use request::{Request, Unanswerable};
pub use suffix_map::SuffixMap;
