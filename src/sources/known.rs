//! What is known of a source at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use hashbrown::HashSet;

use crate::dns::Name;
use crate::sync::private_dns::Remark;
use crate::sync::publication::Publication;
use crate::sync::{Desired, HeldBack, NotServed, Saved};
use crate::telemetry::Age;

/// What passes have found out.
#[derive(Clone, Debug)]
pub struct Known {
    pub state: SourceState,
    /// Whether it was listed since the start: else `state` tells nothing yet.
    pub asked: bool,
    /// What is published of it, and what the last complete listing of each of its parts said besides.
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

/// Whether a source's records are as new as they can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// It was listed whole.
    Current { since: SystemTime },
    /// It could not be listed, or only in part; what was last listed, if there was anything, stays in force.
    Stale { since: SystemTime, why: String },
    /// It was listed, but withdraws so much that an operator must confirm that; all else is published.
    HeldBack { since: SystemTime, would_withdraw: usize, of: usize },
}

/// When passes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassTimes {
    pub began: Option<SystemTime>,
    /// Of the last one that is over.
    pub ended: Option<SystemTime>,
    /// Unless it is nudged.
    pub next: Option<SystemTime>,
}

impl SourceState {
    /// The words of all states.
    pub const WORDS: [&str; 3] = ["current", "stale", "held-back"];

    /// The word for it in metrics, the API and reports.
    pub fn word(&self) -> &'static str {
        let [current, stale, held_back] = SourceState::WORDS;
        match self {
            SourceState::Current { .. } => current,
            SourceState::Stale { .. } => stale,
            SourceState::HeldBack { .. } => held_back,
        }
    }
}

impl Default for Known {
    /// Before the first pass.
    fn default() -> Known {
        Known {
            state: SourceState::Stale { since: SystemTime::now(), why: "it was not read yet".to_owned() },
            asked: false,
            desired: Arc::default(),
            read_at: None,
            not_served: Vec::new(),
            derived: BTreeSet::new(),
            failing: BTreeMap::new(),
            remarks: BTreeSet::new(),
            held_back: None,
        }
    }
}

impl Known {
    /// The withdrawals that wait for an operator.
    pub fn held_back(&self) -> Option<&HeldBack> {
        self.held_back.as_ref()
    }

    /// How many names are published of it, each once however many endpoints claim it, and record sets of private DNS zones.
    pub fn names(&self) -> usize {
        let imported: usize = self.desired.zones.iter().map(|zone| zone.record_sets.len()).sum();
        let (mut names, mut last) = (0, None);
        // They are in the order of names.
        for it in self.published() {
            names += usize::from(last != Some(&it.name));
            last = Some(&it.name);
        }
        names + imported
    }

    /// How many private endpoints have a name that is published.
    pub fn endpoints(&self) -> usize {
        self.published().map(|it| &*it.claim.endpoint).collect::<HashSet<&str>>().len()
    }

    fn published(&self) -> impl Iterator<Item = &Publication> {
        let refused: HashSet<(&Name, &Name)> =
            self.not_served.iter().map(|it| (&it.zone, &it.name)).collect();
        let all = self.desired.publications.iter();
        all.filter(move |it| refused.is_empty() || !refused.contains(&(&it.zone, &it.name)))
    }

    /// How long ago that was listed which is published.
    pub fn age(&self) -> Option<Age> {
        self.read_at.map(Age::of)
    }

    /// Whether all of it could be listed, where nothing could before. Of parts that could not each is told by itself.
    pub(super) fn is_mended_since(&self, before: &Known) -> bool {
        let was_stale = before.asked && matches!(before.state, SourceState::Stale { .. });
        was_stale && before.failing.is_empty() && matches!(self.state, SourceState::Current { .. })
    }

    /// The same with what was published at another time.
    pub(super) fn with(&self, desired: Desired, read_at: SystemTime) -> Known {
        let held_back = desired.held_back.clone();
        Known { desired: Arc::new(desired), read_at: Some(read_at), held_back, ..self.clone() }
    }

    pub(super) fn saved<'a>(&'a self, source: &'a str) -> Option<Saved<'a>> {
        self.read_at.map(|read_at| Saved { source, read_at, desired: &self.desired })
    }
}

impl SourceState {
    /// The state after a failure, stale since the first of a row.
    pub(super) fn failed(&self, why: String) -> SourceState {
        let since = match self {
            SourceState::Stale { since, .. } => *since,
            _ => SystemTime::now(),
        };
        SourceState::Stale { since, why }
    }

    /// The state after a pass was held back, since the first of a row.
    pub(super) fn held_back(&self, held_back: &HeldBack) -> SourceState {
        let since = match self {
            SourceState::HeldBack { since, .. } => *since,
            _ => SystemTime::now(),
        };
        SourceState::HeldBack { since, would_withdraw: held_back.would_withdraw, of: held_back.of }
    }
}
