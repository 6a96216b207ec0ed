//! Where the sources stand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::admin::{
    DriftReport, FailingReport, HeldBackReport, HeldSubscription, PassesReport, SourceKind, SourceReport,
    SourceRole, SourceStateWord, SyncReport,
};
use crate::sources::{Listing, Now, Source, SourceState};
use crate::sync::HeldBack;
use crate::telemetry::when::rfc3339;

/// Subscriptions and zones of one source that are shown; who cannot list thousands has one cause for all.
const FAILING_SHOWN_MAX: usize = 100;
/// Subscriptions with withdrawals that wait: as many as are shown of those that fail.
const HELD_SHOWN_MAX: usize = FAILING_SHOWN_MAX;
/// Drift that is shown: a screen full. `doctor` lists all.
const DRIFT_SHOWN_MAX: usize = 30;

/// All sources in the order of their names.
pub(super) fn report(now: &Now) -> SyncReport {
    let mut sources: Vec<SourceReport> = now.sources.iter().map(|source| of_source(source)).collect();
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    let (count, first) = now.log.drift(DRIFT_SHOWN_MAX);
    let first = first.iter().map(|drift| format!("{drift}: {}", drift.advice())).collect();
    let drift = DriftReport { count, first };
    SyncReport { sources, conflicts: now.log.conflicts(), drift, trouble: now.trouble.clone() }
}

fn of_source(source: &Source) -> SourceReport {
    let (known, times, listed_by) = (source.known(), source.times(), source.listed_by());
    let (state, since, why) = match &known.state {
        SourceState::Current { since } => (SourceStateWord::Current, since, None),
        SourceState::Stale { since, why } => (SourceStateWord::Stale, since, Some(why.clone())),
        SourceState::HeldBack { since, .. } => (SourceStateWord::HeldBack, since, None),
    };
    let report = SourceReport {
        name: source.name().to_owned(),
        kind: match &source.listing {
            Listing::Directory(_) => SourceKind::Directory,
            Listing::Azure(_) if source.listing.is_of_zones() => SourceKind::PrivateDns,
            Listing::Azure(_) => SourceKind::Arm,
        },
        role: if source.is_listed_here() { SourceRole::Listing } else { SourceRole::Following },
        state,
        since: rfc3339(*since),
        why,
        read_at: known.read_at.map(rfc3339),
        age_secs: known.read_at.map(age_secs),
        names: known.names(),
        names_not_served: known.not_served.len(),
        derived_zones: known.derived.iter().map(ToString::to_string).collect(),
        // Others do not tell of each.
        failing_count: listed_by.as_ref().map_or(known.failing.len(), |(_, failing)| *failing),
        listed_by: listed_by.map(|(host, _)| host),
        failing: failing(&known.failing),
        held_back: None,
        passes: PassesReport {
            began: times.began.map(rfc3339),
            ended: times.ended.map(rfc3339),
            is_under_way: times.began.is_some_and(|began| times.ended.is_none_or(|ended| began > ended)),
            next: times.next.map(rfc3339),
        },
    };
    report.holding(known.held_back())
}

impl SourceReport {
    /// With what waits for an operator.
    fn holding(self, held_back: Option<&HeldBack>) -> SourceReport {
        let Some(held_back) = held_back else { return self };
        let why = match self.state {
            SourceStateWord::HeldBack => Some(format!(
                "it would withdraw {held_back}; all else is done: look at that, and confirm the plan if it is meant"
            )),
            SourceStateWord::Current | SourceStateWord::Stale => self.why,
        };
        SourceReport { why, held_back: Some(of_held_back(held_back)), ..self }
    }
}

fn failing(all: &BTreeMap<Arc<str>, (SystemTime, String)>) -> Vec<FailingReport> {
    let report = |(id, (since, why)): (&Arc<str>, &(SystemTime, String))| FailingReport {
        id: id.to_string(),
        since: rfc3339(*since),
        age_secs: age_secs(*since),
        why: why.clone(),
    };
    all.iter().take(FAILING_SHOWN_MAX).map(report).collect()
}

fn of_held_back(held_back: &HeldBack) -> HeldBackReport {
    let mut subscriptions: Vec<HeldSubscription> = held_back
        .parts
        .iter()
        .map(|part| HeldSubscription {
            subscription: part.subscription.to_string(),
            would_withdraw: part.would_withdraw,
            of: part.of,
        })
        .collect();
    subscriptions.sort_by_key(|it| std::cmp::Reverse(it.would_withdraw));
    subscriptions.truncate(HELD_SHOWN_MAX);
    let HeldBack { would_withdraw, of, plan, .. } = held_back;
    HeldBackReport { would_withdraw: *would_withdraw, of: *of, plan: plan.to_string(), subscriptions }
}

fn age_secs(time: SystemTime) -> u64 {
    time.elapsed().unwrap_or_default().as_secs()
}
