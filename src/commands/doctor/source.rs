//! What inventories say, and what any source wants published that it cannot be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::words::{count, last_segment, published};
use super::Finding;
use crate::dns::Name;
use crate::sources::{Source, SourceState};
use crate::sync::{ConnectionState, Desired, HeldBack, NotServed, Refusal, directory};
use crate::telemetry::command;

/// An export older than this lacks what was made since.
const EXPORT_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn of_folder(source: &Source, settings: &directory::Settings) -> Vec<Finding> {
    let (name, known) = (source.name(), source.known());
    let desired = &known.desired;
    let mut findings = Vec::new();
    match &known.state {
        SourceState::Current { .. } => {
            findings.push(Finding::well(format!("inventory {name} was read whole: {}", published(&known))));
        }
        SourceState::Stale { why, .. } => findings.push(match known.age() {
            Some(age) => Finding::wrong(
                format!(
                    "inventory {name} cannot be read: {why}; {} from {age} ago stay published",
                    published(&known)
                ),
                "export it anew; what Azure made or withdrew since is not known until then",
            ),
            None => Finding::wrong(
                format!("inventory {name} cannot be read: {why}; nothing of it was ever published"),
                "export it anew; a server that runs already keeps what it read last",
            ),
        }),
        // What waits is told of below.
        SourceState::HeldBack { .. } => {}
    }
    findings.extend(known.held_back().map(|it| held_back("inventory", name, it, "export everything anew")));
    if let Some(age) = age_of(settings).filter(|age| *age > EXPORT_AGE_MAX) {
        let hours = age.as_secs() / 3600;
        findings.push(Finding::note(
            format!("inventory {name} is {hours} hours old"),
            "endpoints and names that Azure made since are missing: export on a schedule",
        ));
    }
    let zones = (&known.not_served[..], &known.derived);
    findings.extend(of_desired("inventory", name, desired, zones, "look at the export"));
    findings
}

/// Withdrawals that wait for an operator, and what else there is to do.
pub(super) fn held_back(kind: &str, name: &str, held_back: &HeldBack, otherwise: &str) -> Finding {
    Finding::wrong(
        format!(
            "{kind} {name} is held back: it would withdraw {held_back}; these stay, and all else is done"
        ),
        format!(
            "look at {}: if these endpoints are really gone, {}; else {otherwise}",
            command("sync --once --dry-run"),
            command(format_args!("sync --once --confirm {name}"))
        ),
    )
}

/// What a source lists, but does not publish.
pub(super) fn of_desired(
    kind: &str,
    name: &str,
    desired: &Desired,
    (not_served, derived): (&[NotServed], &BTreeSet<Name>),
    on_warning: &str,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for warning in &desired.warnings {
        findings.push(Finding::note(format!("{kind} {name}: {warning}"), on_warning));
    }
    for unplaced in &desired.unplaced {
        let endpoint = last_segment(&unplaced.endpoint);
        findings.push(Finding::wrong(
            format!("{} of {endpoint} is not published: no private-link zone is known for it", unplaced.fqdn),
            unplaced.advice(),
        ));
    }
    findings.extend(of_not_served(kind, name, not_served));
    if !derived.is_empty() {
        let zones: Vec<String> = derived.iter().map(ToString::to_string).collect();
        findings.push(Finding::well(format!(
            "{kind} {name} publishes into {} that the catalogue lacks: {}",
            count(derived.len(), "zone"),
            zones.join(", ")
        )));
    }
    if let Some(first) = desired.foreign.first() {
        let endpoints = count(desired.foreign.len(), "private endpoint");
        findings.push(Finding::note(
            format!("{endpoints} of {kind} {name} may not publish, {first} the first"),
            "sync.allow_subscriptions leaves out their subscriptions: add these, or leave it so",
        ));
    }
    let mut withheld: BTreeMap<&str, (&ConnectionState, &Name)> = BTreeMap::new();
    for it in &desired.withheld {
        withheld.entry(&it.endpoint_name).or_insert((&it.state, &it.name));
    }
    for (endpoint, (state, name)) in withheld {
        let advice = match state {
            ConnectionState::Pending => "the owner of the resource must approve the connection",
            ConnectionState::Rejected => {
                "the owner of the resource rejected it: ask them, or delete the endpoint"
            }
            ConnectionState::Disconnected => "the owner of the resource removed it: delete the endpoint",
            ConnectionState::Approved | ConnectionState::Other(_) => "only approved endpoints are published",
        };
        findings.push(Finding::note(
            format!("private endpoint {endpoint} is {state}: {name} stays public"),
            advice,
        ));
    }
    findings
}

/// Names that their zones keep from being published, those of one zone together.
fn of_not_served(kind: &str, name: &str, not_served: &[NotServed]) -> Vec<Finding> {
    let mut zones: BTreeMap<(&Name, &Refusal), (&NotServed, usize)> = BTreeMap::new();
    for it in not_served {
        zones.entry((&it.zone, &it.why)).or_insert((it, 0)).1 += 1;
    }
    let of_zone = |(first, names): (&NotServed, usize)| {
        let names = count(names, "name");
        let what = format!("{names} of {kind} {name} not published, {} the first: {first}", first.name);
        match first.why {
            Refusal::NotSelected => Finding::note(what, first.advice()),
            _ => Finding::wrong(what, first.advice()),
        }
    };
    zones.into_values().map(of_zone).collect()
}

/// How old the newest file of an inventory is.
fn age_of(settings: &directory::Settings) -> Option<Duration> {
    let files = directory::files_below(&settings.path).ok()?;
    let times = files.iter().filter_map(|file| file.metadata().ok()?.modified().ok());
    times.max()?.elapsed().ok()
}
