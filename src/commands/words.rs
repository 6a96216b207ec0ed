//! Words that several reports have in common.

use crate::sources::Known;

/// What an `[access]` comes to that lets nobody ask.
pub(super) const NOBODY_MAY_ASK: &str =
    "nobody may ask: no range of access.allow is left, and every query is REFUSED";

/// What a source publishes, in the same words and numbers wherever it is told.
pub(super) fn published(known: &Known) -> String {
    let desired = &known.desired;
    if !desired.zones.is_empty() {
        let sets = desired.zones.iter().map(|zone| zone.record_sets.len()).sum();
        return format!(
            "{} with {}",
            count(desired.zones.len(), "private DNS zone"),
            count(sets, "record set")
        );
    }
    let names = count(known.names(), "name");
    format!("{names} of {}", count(known.endpoints(), "private endpoint"))
}

/// `1 zone`, `2 zones`.
pub(super) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// The name in an ARM id.
pub(super) fn last_segment(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}
