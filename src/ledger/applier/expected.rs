//! What was validated here and is on its way to the store: where nothing comes between, it is served as it was tried.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::dns::Name;
use crate::ledger::write::Write;
use crate::persist::{Change, Entry, StoredChange, Subject};
use crate::zone::TriedSet;

/// A write that is being stored.
pub(in crate::ledger) struct Expected {
    pub write: Arc<Write>,
    /// What it was validated against.
    pub revision: u64,
    pub tried: TriedSet,
}

/// All of them; each goes when it is taken, or when who waits for it does.
#[derive(Default)]
pub(super) struct Coming(Mutex<Vec<Expected>>);

/// Takes a write away that did not come.
pub(in crate::ledger) struct Awaited {
    coming: Arc<Coming>,
    write: Arc<Write>,
}

impl Coming {
    pub(super) fn expect(self: &Arc<Coming>, expected: Expected) -> Awaited {
        let awaited = Awaited { coming: Arc::clone(self), write: Arc::clone(&expected.write) };
        // What a zone is made of is learnt between: only record sets are served as they were tried.
        if expected.write.edits.iter().all(|edit| is_of_record_set(&edit.change)) {
            self.0.lock().push(expected);
        }
        awaited
    }

    /// What was tried of a change, if that was stored just so upon what it was validated against.
    pub(super) fn take(&self, change: &Change, revision: u64) -> Option<TriedSet> {
        let is_it = |expected: &Expected| {
            let edits = &expected.write.edits;
            expected.revision == revision
                && edits.len() == change.changes.len()
                && edits.iter().map(|edit| &edit.change).eq(&change.changes)
        };
        let mut coming = self.0.lock();
        let index = coming.iter().position(is_it)?;
        let tried = coming.swap_remove(index).tried;
        // The store may have given a serial that no zone has seen yet.
        let has = |(apex, serial): &(Name, u32)| {
            tried.zones().zone(apex.borrow()).is_some_and(|zone| zone.serial() == *serial)
        };
        change.serials.iter().all(has).then_some(tried)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.coming.0.lock().retain(|expected| !Arc::ptr_eq(&expected.write, &self.write));
    }
}

fn is_of_record_set(change: &StoredChange) -> bool {
    matches!(
        change,
        StoredChange::Put(Entry::RecordSet { .. }) | StoredChange::Remove(Subject::RecordSet { .. })
    )
}
