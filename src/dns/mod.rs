//! The words of the DNS: names, records, messages. Floor 1: knows nothing of the server.

pub mod header;
pub mod name;
pub mod rdata;
pub mod record;
mod suffix_map;
mod svcb;
pub mod token;

pub use header::{Flags, Rcode};
pub use name::{Name, NameBuf, NameError, NameRef};
pub use record::{Record, RecordSet, RecordType, Ttl};
pub use suffix_map::SuffixMap;
