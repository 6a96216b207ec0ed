//! Endpoints that are listed but do not publish, so that an answer can tell why (design R10).

use std::sync::Arc;

use crate::dns::Name;

/// A name that an endpoint would have, were it approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// The private name.
    pub name: Name,
    /// ARM id of the private endpoint, lower-cased.
    pub endpoint: Arc<str>,
    /// Its name, as ARM writes it.
    pub endpoint_name: Arc<str>,
    /// Its connection state: Pending, Rejected, Disconnected, or as ARM writes it.
    pub state: Arc<str>,
}
