//! One name of an endpoint: what is published of it, or why nothing is.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::arm::ArmId;
use super::inventory::ConnectionState;
use crate::dns::Name;
use crate::privatelink::{Hint, ServiceLines};
use crate::zone::Claim;

/// One endpoint's addresses for one private name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub zone: Name,
    /// The whole private name.
    pub name: Name,
    pub ipv4: Vec<Ipv4Addr>,
    pub ipv6: Vec<Ipv6Addr>,
    /// The public names that lead to it, as Azure lists them.
    pub public_names: Vec<Name>,
    pub claim: Arc<Claim>,
}

impl Publication {
    /// Keeps the time when the older one of the same name and endpoint was first seen.
    pub(super) fn take_over(&mut self, older: &Publication) {
        // Nearly all is as it was, and is kept in memory once: what each pass made anew would scatter it.
        self.name = older.name.clone();
        if self.zone == older.zone {
            self.zone = older.zone.clone();
        }
        if self.public_names == older.public_names {
            self.public_names.clone_from_slice(&older.public_names);
        }
        self.claim = match older.claim.is_but_for_time(&self.claim) {
            true => Arc::clone(&older.claim),
            false => Arc::new(Claim { since_secs: older.claim.since_secs, ..Claim::clone(&self.claim) }),
        };
    }
}

/// A name that is not published because its endpoint is not approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    pub zone: Name,
    /// The whole private name.
    pub name: Name,
    pub public_names: Vec<Name>,
    pub endpoint: Arc<str>,
    pub endpoint_name: Arc<str>,
    pub state: ConnectionState,
}

/// A name of an approved endpoint that neither a zone group nor itself nor the catalogue places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplaced {
    pub fqdn: Name,
    pub endpoint: Arc<str>,
    pub resource: Option<Arc<str>>,
    pub group_id: Option<Arc<str>>,
}

impl Unplaced {
    /// What to do about it.
    pub fn advice(&self) -> String {
        match self.lines() {
            Some(lines) => format!("if that is its zone, paste into the config:\n{lines}"),
            None if self.fqdn.borrow().is_wildcard() => {
                "it would stand for everybody's names: write a record of your own for those below it"
                    .to_owned()
            }
            None => "write a record of your own that leads to its address".to_owned(),
        }
    }

    /// The lines of config that have it published; `None` where none could.
    pub fn lines(&self) -> Option<ServiceLines> {
        let resource_type = self.resource.as_deref().and_then(|id| ArmId::new(id).resource_type());
        let (resource_type, group_id) = (resource_type.as_deref(), self.group_id.as_deref());
        ServiceLines::of_name(self.fqdn.borrow(), Hint { resource_type, group_id, beside: &[] })
    }
}

/// An endpoint without a name to publish: one of a Private Link service, or one that is not approved and of no known kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nameless {
    pub endpoint: Arc<str>,
    pub endpoint_name: Arc<str>,
    pub virtual_network: Option<Arc<str>>,
    pub resource: Option<Arc<str>>,
    pub state: ConnectionState,
}
