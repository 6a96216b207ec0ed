//! What lies over zones that others make.

use std::collections::BTreeSet;

use super::ZoneHeader;
use crate::dns::Name;

/// What operators set of zones, as far as those need it who publish into them.
pub trait Overlay: Send + Sync {
    /// The zones that operators made.
    fn made(&self) -> BTreeSet<Name>;

    /// A zone of sync's as operators' settings make it; its own settings are kept for when operators take theirs back.
    fn header_over_learnt(&self, base: &ZoneHeader) -> ZoneHeader;
}
