//! What there is of a zone: asked here by all who show one, write in it, or make it.

use std::sync::Arc;

use super::refusal::{Refusal, RefusalKind};
use super::written::WrittenState;
use crate::dns::Name;
use crate::persist::{Made, StoredZone};
use crate::zone::{Snapshot, Zone};

/// What is served of a zone, and what is written of it.
pub struct FoundZone<'s> {
    pub served: Option<&'s Arc<Zone>>,
    /// What operators say of the zone itself, and the revision of that.
    pub stored: Option<&'s (StoredZone, u64)>,
    /// Record sets that operators wrote in it.
    pub sets: usize,
}

impl<'s> FoundZone<'s> {
    pub fn of(apex: &Name, state: &'s WrittenState, snapshot: &'s Snapshot) -> FoundZone<'s> {
        FoundZone {
            served: snapshot.zone(apex.borrow()),
            stored: state.zone(apex),
            sets: state.sets_count(apex),
        }
    }

    /// Whether somebody makes it.
    pub fn is_there(&self) -> bool {
        self.served.is_some() || self.stored.is_some()
    }

    /// Whether there may be record sets to look at.
    pub fn has_content(&self) -> bool {
        self.served.is_some() || self.sets > 0
    }

    /// Whether operators made it, and nobody else did.
    pub fn is_made(&self) -> bool {
        self.stored.is_some_and(|(zone, _)| matches!(zone.made, Made::ByRest(_)))
    }

    /// The no to who names a zone that is not there, with what to do about it.
    pub fn none(apex: &Name, advice: &str) -> Refusal {
        Refusal::new(RefusalKind::NotFound, format!("there is no zone {apex}{advice}")).at("zone")
    }
}
