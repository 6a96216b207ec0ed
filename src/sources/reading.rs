//! What was listed, as what is to be published of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::listing::Listing;
use super::rules::Rules;
use crate::sync::azure::{AzureError, Pass};
use crate::sync::{self, Desired, Extent, Inventory, directory};
use crate::telemetry::in_full;
use crate::zone::Snapshot;

/// What a listing came to, not yet published.
pub struct Reading {
    pub(super) desired: Desired,
    pub(super) read_at: SystemTime,
    /// Subscriptions and private DNS zones that could not be read, and why: what they had stays.
    pub failed: BTreeMap<Arc<str>, String>,
    /// How many could.
    pub(super) listed: usize,
    /// What was listed, if all was: as long as that is the same, so is `desired`.
    pub(super) whole: Option<Listed>,
}

/// Inventories by their parts.
pub(super) type Listed = BTreeMap<Arc<str>, Arc<Inventory>>;

impl Reading {
    /// Of a folder. It blocks.
    pub(super) fn of_folder(
        settings: &directory::Settings,
        rules: &Rules,
        older: &Desired,
    ) -> Result<Reading, String> {
        let inventory = directory::read(settings).map_err(|cause| in_full(&cause))?;
        let read_at = SystemTime::now();
        let mut desired = rules.desired(&inventory, &settings.name.as_str().into(), read_at);
        desired.carry_over(older);
        Ok(Reading { desired, read_at, failed: BTreeMap::new(), listed: 1, whole: None })
    }

    /// Of a pass, with what is known of the subscriptions that it tells nothing of.
    pub(super) fn of_pass(
        pass: Pass,
        listing: &Listing,
        rules: &Rules,
        older: &Desired,
        snapshot: &Snapshot,
    ) -> Reading {
        let read_at = SystemTime::now();
        let source: Arc<str> = listing.name().into();
        let mut failed: BTreeMap<Arc<str>, String> =
            pass.failed.iter().map(|(id, error)| (Arc::clone(id), in_full(error))).collect();
        let extent = match listing.finds_subscriptions() {
            // An identity that may no longer read a subscription does not know that it is empty.
            true => {
                for id in sync::subscriptions_of(snapshot, &source) {
                    if !pass.listed.contains_key(&id) {
                        failed.entry(id).or_insert_with(|| AzureError::Vanished.to_string());
                    }
                }
                Extent::Only(pass.listed.keys().cloned().collect())
            }
            // An operator who names others wants those that are not named withdrawn.
            false => Extent::AllBut(failed.keys().cloned().collect::<BTreeSet<_>>()),
        };
        let mut desired = Desired { extent, ..Desired::default() };
        desired.join(pass.listed.values().map(|it| rules.desired(it, &source, read_at)));
        desired.import(pass.zones.iter().cloned(), &rules.publish.allow_subscriptions);
        desired.unsettled.extend(pass.unread.keys().cloned());
        desired.keep(older);
        desired.carry_over(older);
        failed.extend(pass.unread.iter().map(|(id, error)| (Arc::clone(id), in_full(error))));
        let listed = pass.listed.len() + pass.zones.len();
        Reading { desired, read_at, failed, listed, whole: whole(&pass).cloned() }
    }
}

/// What a pass listed, if that is all there is to know of it: private DNS zones are planned anew each time.
pub(super) fn whole(pass: &Pass) -> Option<&Listed> {
    let is_whole = pass.failed.is_empty() && pass.unread.is_empty() && pass.zones.is_empty();
    is_whole.then_some(&pass.listed)
}
