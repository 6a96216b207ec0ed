//! The look-ups of name servers' addresses that one question leads to, so that they end.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::dns::Name;

/// Names of servers whose addresses are looked up for one client's question, however they depend on each other.
const LOOKED_UP_MAX: u32 = 8;

/// Servers whose addresses depend on one another, in a row.
const DEPTH_MAX: usize = 3;

/// Finds the addresses of name servers that lie elsewhere.
pub trait ServerAddresses: Send + Sync {
    /// The addresses of a server; none if they cannot be found. `quest` goes with all that is asked for them.
    fn addresses(
        self: Arc<Self>,
        server: Name,
        quest: Quest,
    ) -> Pin<Box<dyn Future<Output = Vec<IpAddr>> + Send>>;
}

/// Whose addresses are being looked up, so that it ends.
#[derive(Clone)]
pub struct Quest {
    servers: Vec<Name>,
    left: Arc<AtomicU32>,
}

impl Quest {
    /// The quest of a client's question.
    pub fn new() -> Quest {
        Quest { servers: Vec::new(), left: Arc::new(AtomicU32::new(LOOKED_UP_MAX)) }
    }

    /// Whether it is a client's question itself, for which no server is looked up.
    pub(super) fn is_first(&self) -> bool {
        self.servers.is_empty()
    }

    /// The quest for the addresses of a server; none if it would not end.
    pub(super) fn go_on(&self, server: &Name) -> Option<Quest> {
        let is_seen = self.servers.contains(server);
        let left = &self.left;
        let is_granted =
            || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if is_seen || self.servers.len() >= DEPTH_MAX || !is_granted() {
            return None;
        }
        let servers = self.servers.iter().cloned().chain([server.clone()]).collect();
        Some(Quest { servers, left: left.clone() })
    }
}

impl Default for Quest {
    fn default() -> Quest {
        Quest::new()
    }
}
