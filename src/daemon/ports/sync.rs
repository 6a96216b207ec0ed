//! Where the sources stand, and an operator's hand on them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::admin::when::rfc3339;
use crate::admin::{
    ConfirmError, DriftReport, FailingReport, HeldBackReport, NoSuchSource, NotReady, PassesReport,
    SourceKind, SourceReport, SourceStateWord, SyncReport,
};
use crate::daemon::azure::AzureSource;
use crate::daemon::known::Known;
use crate::daemon::shared::{Now, Shared};
use crate::daemon::source::{Source, SourceState};
use crate::sync::azure::Subject;
use crate::sync::state::Confirmation;
use crate::sync::{Fingerprint, HeldBack};

/// Subscriptions and zones of one source that are shown; who cannot list thousands has one cause for all.
const FAILING_SHOWN_MAX: usize = 100;
/// Drift that is shown: a screen full. `doctor` lists all.
const DRIFT_SHOWN_MAX: usize = 30;

/// All sources in the order of their names.
pub(super) fn report(now: &Now) -> SyncReport {
    let directories = now.directories.iter().map(of_directory);
    let mut sources: Vec<SourceReport> = directories.chain(now.azure.iter().map(|it| of_azure(it))).collect();
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    let (count, first) = now.told.drift(DRIFT_SHOWN_MAX);
    let first = first.iter().map(|drift| format!("{drift}: {}", drift.advice())).collect();
    let drift = DriftReport { count, first };
    SyncReport { sources, conflicts: now.told.conflicts(), drift, trouble: now.trouble.clone() }
}

fn of_directory(source: &Source) -> SourceReport {
    let passes = PassesReport {
        began: source.passed_at.map(rfc3339),
        ended: source.passed_at.map(rfc3339),
        is_under_way: false,
        next: None,
    };
    SourceReport {
        names: source.desired.names(),
        names_not_served: source.not_served.len(),
        held_back: source.held_back.as_ref().map(of_held_back),
        ..usual(&source.settings.name, SourceKind::Directory, &source.state, source.read_at, passes)
    }
}

fn of_azure(source: &AzureSource) -> SourceReport {
    let (known, times) = (source.known(), source.times());
    let kind = match source.settings.subject {
        Subject::Endpoints => SourceKind::Arm,
        Subject::PrivateZones => SourceKind::PrivateDns,
    };
    let passes = PassesReport {
        began: times.began.map(rfc3339),
        ended: times.ended.map(rfc3339),
        is_under_way: times.began.is_some_and(|began| times.ended.is_none_or(|ended| began > ended)),
        next: times.next.map(rfc3339),
    };
    SourceReport {
        names: known.desired.names(),
        names_not_served: known.not_served.len(),
        failing_count: known.failing.len(),
        failing: failing(&known.failing),
        held_back: known.held_back().map(of_held_back),
        ..usual(&source.settings.name, kind, &known.state, known.read_at, passes)
    }
}

/// What is told of a source of any kind.
fn usual(
    name: &str,
    kind: SourceKind,
    state: &SourceState,
    read_at: Option<SystemTime>,
    passes: PassesReport,
) -> SourceReport {
    let (word, since, why) = match state {
        SourceState::Current { since } => (SourceStateWord::Current, since, None),
        SourceState::Stale { since, why } => (SourceStateWord::Stale, since, Some(why.clone())),
        SourceState::HeldBack { since, would_withdraw, of } => {
            let why = format!(
                "it would withdraw {would_withdraw} of {of} record sets: look at that, and confirm the plan if it is meant"
            );
            (SourceStateWord::HeldBack, since, Some(why))
        }
    };
    SourceReport {
        name: name.to_owned(),
        kind,
        state: word,
        since: rfc3339(*since),
        why,
        read_at: read_at.map(rfc3339),
        age_secs: read_at.map(age_secs),
        names: 0,
        names_not_served: 0,
        failing_count: 0,
        failing: Vec::new(),
        held_back: None,
        passes,
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
    let HeldBack { would_withdraw, of, plan } = held_back;
    HeldBackReport { would_withdraw: *would_withdraw, of: *of, plan: plan.to_string() }
}

fn age_secs(time: SystemTime) -> u64 {
    time.elapsed().unwrap_or_default().as_secs()
}

/// Sources of which nothing is known yet, not even from before the restart.
// One that was asked once is not waited for: who cannot read it answers the rest all the same.
pub(super) fn not_ready(now: &Now) -> Vec<NotReady> {
    let waits = |name: &str| NotReady {
        part: format!("sync/{name}"),
        waits_for: "its first complete listing".to_owned(),
    };
    let directories = now
        .directories
        .iter()
        .filter(|it| it.read_at.is_none() && it.passed_at.is_none())
        .map(|it| waits(&it.settings.name));
    let azure = now.azure.iter().filter(|it| is_awaited(&it.known())).map(|it| waits(&it.settings.name));
    directories.chain(azure).collect()
}

fn is_awaited(known: &Known) -> bool {
    known.read_at.is_none() && !known.asked
}

/// Begins a pass of one source, or of all.
pub(super) fn nudge(sources: &Shared, name: Option<&str>) -> Result<Vec<String>, NoSuchSource> {
    let now = sources.now();
    let is_wanted = |own: &str| name.is_none_or(|name| name == own);
    let mut nudged = Vec::new();
    for source in now.azure.iter().filter(|it| is_wanted(&it.settings.name)) {
        source.nudge();
        nudged.push(source.settings.name.clone());
    }
    let before = nudged.len();
    let directories = now.directories.iter().map(|it| &it.settings.name);
    nudged.extend(directories.filter(|name| is_wanted(name)).cloned());
    if nudged.len() > before {
        sources.want_folders();
    }
    match (nudged.is_empty(), name) {
        (true, Some(name)) => Err(NoSuchSource(name.to_owned())),
        _ => {
            nudged.sort_unstable();
            Ok(nudged)
        }
    }
}

/// Lets one plan pass, as `sync --once --confirm` does: word is left in `state_dir`, and the next pass follows it.
pub(super) fn confirm(sources: &Shared, name: &str, plan: Fingerprint) -> Result<(), ConfirmError> {
    let now = sources.now();
    let azure = now.azure.iter().find(|it| it.settings.name == name);
    let directory = now.directories.iter().find(|it| it.settings.name == name);
    let held_back = match (azure, directory) {
        (Some(source), _) => source.known().held_back().cloned(),
        (None, Some(source)) => source.held_back.clone(),
        (None, None) => return Err(NoSuchSource(name.to_owned()).into()),
    };
    let held_back = held_back.ok_or(ConfirmError::NothingHeldBack)?;
    if held_back.plan != plan {
        return Err(ConfirmError::OtherPlan { now: held_back.plan });
    }
    let confirmation = Confirmation { source: name.to_owned(), plan };
    now.state.confirm(&confirmation).map_err(|cause| ConfirmError::NotKept(cause.to_string()))?;
    nudge(sources, Some(name))?;
    Ok(())
}
