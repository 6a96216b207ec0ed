//! For whom upstream is asked.

use crate::dns::ClientNetwork;

/// One of those who share what may be asked at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Asker {
    /// A network of clients.
    Network(ClientNetwork),
    /// One that stands for many clients, as forwarders and address translation do: only the others' part is kept from it.
    Exempt(ClientNetwork),
    /// The server, for the cache's sake or its operator's.
    Server,
}
