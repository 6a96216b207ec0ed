//! What zones of ours leave to other servers, and what is known of these. What they say is kept apart from what the
//! forwarding rules' upstreams do.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::link::Links;
use super::referral::{NameServer, Referral, SERVERS_MAX};
use super::{Upstream, UpstreamAddress};
use crate::cache::{Manner, Respondent};
use crate::dns::{Name, QueryFlags, Question, RecordType};
use crate::tls::Trust;

/// Domains below one delegation that are remembered.
const BELOW_MAX: usize = 256;

/// The longest that one is.
const BELOW_SECS_MAX: u32 = 3600;

/// Delegations that are remembered: what more of them said is asked again.
const DELEGATIONS_MAX: usize = 4096;

/// Servers whose health is remembered.
const SERVERS_KNOWN_MAX: usize = 4096;

/// What a zone of ours leaves to other servers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Cut {
    pub domain: Name,
    pub servers: Vec<NameServer>,
    /// The network whose clients ask, where addresses of servers may depend on it.
    pub seen_by: Option<Arc<str>>,
}

/// A cut, and what is known below it.
pub struct Delegation {
    top: Arc<Level>,
    respondent: Respondent,
    below: Mutex<HashMap<Name, Below>>,
}

struct Below {
    level: Arc<Level>,
    until: Instant,
}

/// One domain on the way down.
pub(super) struct Level {
    pub(super) domain: Name,
    pub(super) servers: Vec<NameServer>,
    pub(super) reach: Reach,
}

/// Where a domain's servers may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Anywhere,
    /// Not on this host or its links: who says so is elsewhere.
    Elsewhere,
}

/// All delegations that were asked for.
#[derive(Default)]
pub(super) struct Delegations {
    known: Mutex<HashMap<Cut, Arc<Delegation>>>,
    servers: Mutex<HashMap<UpstreamAddress, Arc<Upstream>>>,
    made: AtomicU32,
}

impl fmt::Display for Cut {
    /// `sub.corp.example. (ns1.sub.corp.example. 10.0.0.53, ns2.elsewhere.example.)`
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = |server: &NameServer| {
            let addresses = server.addresses.iter().map(IpAddr::to_string);
            let words: Vec<String> = std::iter::once(server.name.to_string()).chain(addresses).collect();
            words.join(" ")
        };
        let servers: Vec<String> = self.servers.iter().map(server).collect();
        write!(out, "{} ({})", self.domain, servers.join(", "))
    }
}

impl Delegation {
    /// What answers are kept under, besides the question.
    pub fn manner(&self, flags: QueryFlags) -> Manner {
        Manner { flags, of: self.respondent }
    }

    pub(super) fn respondent(&self) -> Respondent {
        self.respondent
    }

    /// The zone's own cut.
    pub(super) fn top(&self) -> Arc<Level> {
        self.top.clone()
    }

    pub(super) fn is_top(&self, level: &Level) -> bool {
        level.domain == self.top.domain
    }

    /// The level nearest to a name that is known.
    pub(super) fn nearest(&self, question: &Question, now: Instant) -> Arc<Level> {
        let below = self.below.lock();
        // RFC 4035 §3.1.4.1: the parent's servers answer for DS.
        let skipped = usize::from(question.rtype == RecordType::DS);
        let above = question.name.borrow().ancestors().skip(skipped);
        let mut levels = above.filter_map(|domain| below.get(&domain.to_name()));
        levels.find(|below| now < below.until).map_or_else(|| self.top.clone(), |below| below.level.clone())
    }

    /// Takes what a server said of a domain further down.
    pub(super) fn learn(&self, referral: Referral, by: IpAddr, above: &Level, now: Instant) -> Arc<Level> {
        let is_near = above.reach == Reach::Anywhere && by.to_canonical().is_loopback();
        let reach = if is_near { Reach::Anywhere } else { Reach::Elsewhere };
        let Referral { domain, servers, ttl_secs } = referral;
        let level = Arc::new(Level { domain: domain.clone(), servers, reach });
        let until = now + Duration::from_secs(ttl_secs.min(BELOW_SECS_MAX).into());
        let mut below = self.below.lock();
        if below.len() >= BELOW_MAX {
            below.retain(|_, below| now < below.until);
        }
        if below.len() >= BELOW_MAX {
            below.clear();
        }
        below.insert(domain, Below { level: level.clone(), until });
        level
    }

    pub(super) fn forget(&self, level: &Level) {
        self.below.lock().remove(&level.domain);
    }
}

impl Delegations {
    pub(super) fn of(&self, cut: Cut) -> Arc<Delegation> {
        let mut known = self.known.lock();
        if let Some(delegation) = known.get(&cut) {
            return delegation.clone();
        }
        if known.len() >= DELEGATIONS_MAX {
            known.clear();
        }
        let Cut { domain, mut servers, .. } = cut.clone();
        servers.truncate(SERVERS_MAX);
        let delegation = Arc::new(Delegation {
            top: Arc::new(Level { domain, servers, reach: Reach::Anywhere }),
            respondent: Respondent::numbered(self.made.fetch_add(1, Ordering::Relaxed) + 1),
            below: Mutex::default(),
        });
        known.insert(cut, delegation.clone());
        delegation
    }

    /// The server of an address, which has this domain, with what is known of its health.
    pub(super) fn server(&self, address: UpstreamAddress, domain: &Name, links: &Links) -> Arc<Upstream> {
        let mut servers = self.servers.lock();
        if servers.len() >= SERVERS_KNOWN_MAX && !servers.contains_key(&address) {
            servers.clear();
        }
        let new = || {
            let upstream = Upstream::new(address.clone(), None, links, &Trust::default());
            // What it has, not what a resolver knows.
            upstream.set_checkup(domain);
            Arc::new(upstream)
        };
        servers.entry(address.clone()).or_insert_with(new).clone()
    }
}

impl Reach {
    pub(super) fn permits(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let (is_broadcast, is_link_local) = match address {
            IpAddr::V4(v4) => (v4.is_broadcast(), v4.is_link_local()),
            IpAddr::V6(v6) => (false, v6.is_unicast_link_local()),
        };
        let is_here = address.is_loopback() || is_link_local;
        !address.is_unspecified()
            && !address.is_multicast()
            && !is_broadcast
            && (self == Reach::Anywhere || !is_here)
    }
}
