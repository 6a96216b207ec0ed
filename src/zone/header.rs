//! A zone's name and settings.

use std::sync::Arc;

use crate::dns::Name;

/// What kind of zone it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ZoneKind {
    /// One of Azure's `privatelink.*` zones: not served while it has no record.
    PrivateLink,
    /// Any other zone.
    Plain,
}

/// What a miss in a zone means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum OnMissing {
    /// Upstream is asked: the resource may be another tenant's.
    AskPublic,
    /// The name does not exist.
    NxDomain,
}

/// What becomes of a question for a name that is delegated to other servers, if its client wants recursion.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Delegations {
    /// The client is told which servers to ask.
    Refer,
    /// Those servers are asked.
    Follow,
}

/// A zone's name and settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ZoneHeader {
    pub apex: Name,
    pub kind: ZoneKind,
    pub on_missing: OnMissing,
    /// The networks that see the zone; none = all.
    pub networks: Vec<Arc<str>>,
    pub delegations: Delegations,
}

impl ZoneHeader {
    /// A private-link zone with the usual settings.
    pub fn private_link(apex: Name) -> ZoneHeader {
        ZoneHeader {
            apex,
            kind: ZoneKind::PrivateLink,
            on_missing: OnMissing::AskPublic,
            networks: Vec::new(),
            delegations: Delegations::Refer,
        }
    }

    /// Any other zone with the usual settings.
    pub fn plain(apex: Name) -> ZoneHeader {
        ZoneHeader {
            apex,
            kind: ZoneKind::Plain,
            on_missing: OnMissing::NxDomain,
            networks: Vec::new(),
            delegations: Delegations::Refer,
        }
    }
}
