//! Zones of operators while their store is away: what is served of them is what was last known.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dns::Name;

/// How much is known of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleStanding {
    /// Its records as they last were.
    Stale,
    /// That there is such a zone, and nothing of what is in it.
    Unknown,
}

/// The zones that may be out of date, and why, in words for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleZones {
    pub zones: BTreeMap<Name, StaleStanding>,
    pub why: Arc<str>,
}
