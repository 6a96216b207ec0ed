//! What passes of live Azure have found out so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::source::SourceState;
use crate::dns::Name;
use crate::sync::private_dns::Remark;
use crate::sync::{Desired, HeldBack, NotServed, Saved};

/// What passes have found out.
#[derive(Clone, Debug)]
pub struct Known {
    pub state: SourceState,
    /// Whether Azure was asked since the start: else `state` tells nothing yet.
    pub asked: bool,
    /// What the last complete listing of each subscription wants published.
    pub desired: Arc<Desired>,
    /// When all of `desired` was last listed, maybe before the last restart.
    pub read_at: Option<SystemTime>,
    /// Names that are not published because of their zone.
    pub not_served: Vec<NotServed>,
    /// Zones of it that the catalogue lacks.
    pub derived: BTreeSet<Name>,
    /// Subscriptions, and private DNS zones by ARM id, that cannot be listed: since when, and why. Their records stay.
    pub failing: BTreeMap<Arc<str>, (SystemTime, String)>,
    /// What an operator should know of private DNS zones.
    pub remarks: BTreeSet<Remark>,
    /// The withdrawals that wait for an operator, as the instance that lists told.
    pub(super) held_back: Option<HeldBack>,
}

impl Known {
    pub(super) fn saved<'a>(&'a self, source: &'a str) -> Option<Saved<'a>> {
        self.read_at.map(|read_at| Saved { source, read_at, desired: &self.desired })
    }

    /// The withdrawals that wait for an operator.
    pub fn held_back(&self) -> Option<&HeldBack> {
        self.held_back.as_ref()
    }
}
