//! Words that several reports have in common.

use crate::sync::Desired;

/// What an `[access]` comes to that lets nobody ask.
pub(super) const NOBODY_MAY_ASK: &str =
    "nobody may ask: no range of access.allow is left, and every query is REFUSED";

/// What is known of private DNS zones; `None` of a source that lists none.
pub(super) fn zones(desired: &Desired) -> Option<String> {
    let sets = desired.zones.iter().map(|zone| zone.record_sets.len()).sum();
    let zones = count(desired.zones.len(), "private DNS zone");
    (!desired.zones.is_empty()).then(|| format!("{zones} with {}", count(sets, "record set")))
}

/// `1 zone`, `2 zones`.
pub(super) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// The name in an ARM id.
pub(super) fn last_segment(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}
