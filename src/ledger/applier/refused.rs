//! What is stored and not served is kept beside what is written, with the reason.

use tracing::warn;

use crate::ledger::translation::LeftOut;
use crate::ledger::written::WrittenState;
use crate::persist::{Change, Entry, StoredChange};

/// Refused changes that are logged one by one.
pub(super) const REFUSED_LOGGED_MAX: usize = 10;

/// The record sets that are put are tried now: why they were refused before is no news.
pub(super) fn serve_what_is_put(state: &mut WrittenState, change: &Change) {
    for one in &change.changes {
        match one {
            StoredChange::Put(Entry::RecordSet { zone, name, set }) => state.serve_set(zone, name, set.rtype),
            StoredChange::Put(Entry::Zone(zone)) => {
                state.serve_zone(&zone.apex);
                // A zone that is made takes along what was written for it.
                let waiting: Vec<_> =
                    state.refused_of(&zone.apex).map(|(name, rtype)| (name.clone(), rtype)).collect();
                waiting.iter().for_each(|(name, rtype)| state.serve_set(&zone.apex, name, *rtype));
            }
            _ => {}
        }
    }
}

/// Keeps why something is not served.
pub(super) fn note(state: &mut WrittenState, left_out: Vec<LeftOut>) {
    for left in left_out {
        match left {
            LeftOut::Zone { apex, why } => state.refuse_zone(&apex, why),
            LeftOut::Set { zone, name, rtype, why } => {
                if state.set(&zone, &name, rtype).is_some() {
                    state.refuse_set(&zone, &name, rtype, why);
                }
            }
        }
    }
}

pub(super) fn refuse(state: &mut WrittenState, change: &StoredChange, why: &str, is_told: bool) {
    match change {
        StoredChange::Put(Entry::RecordSet { zone, name, set }) => {
            if is_told {
                warn!(
                    %zone, %name, rtype = %set.rtype, why,
                    "The stored record set {name} {} is not served: {why}; delete it, or what it contradicts", set.rtype
                );
            }
            state.refuse_set(zone, name, set.rtype, why);
        }
        StoredChange::Put(Entry::Zone(zone)) => {
            if is_told {
                warn!(zone = %zone.apex, why, "A stored zone is not served as it should be: {why}");
            }
            state.refuse_zone(&zone.apex, why);
        }
        other => {
            let what = other.subject().map_or_else(|| "a zone's records".to_owned(), |it| it.to_string());
            warn!(why, "A stored change of {what} is not in force: {why}");
        }
    }
}
