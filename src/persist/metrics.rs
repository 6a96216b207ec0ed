//! What the store tells `/metrics`.

use super::{Persist, Trouble};
use crate::telemetry::{Families, Measured};

impl Measured for Persist {
    fn measure(&self, families: &mut Families) {
        self.0.shared.counters.counts().measure(families);
        let trouble = self.trouble();
        families.flag("store_up", "1 if the store takes changes", trouble.is_none());
        families.flag("store_full", "1 if the store's disk is full", trouble == Some(Trouble::Full));
    }
}
