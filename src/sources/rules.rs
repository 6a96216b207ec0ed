//! How what is listed becomes what is published.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::info;

use super::settings::Settings;
use crate::dns::Name;
use crate::privatelink::Catalogue;
use crate::sync::private_dns::Remark;
use crate::sync::state::unix_secs;
use crate::sync::{
    self, Desired, Difference, Fingerprint, HeldBack, Hold, Inventory, NotServed, Plan, PublishSettings,
};
use crate::zone::{Author, Change, Overlay, Snapshot, Store, ZoneError};

/// What config and operators say of all sources.
#[derive(Clone)]
pub(super) struct Rules {
    pub catalogue: Arc<Catalogue>,
    pub publish: PublishSettings,
    /// What operators wrote.
    pub written: Arc<dyn Overlay>,
}

/// What publishing would do.
pub struct Proposal {
    pub differences: Vec<Difference>,
    /// Only an operator can let it pass.
    pub held_back: Option<HeldBack>,
}

/// What a commit came to.
#[derive(Default)]
pub(super) struct PublishOutcome {
    /// What is published, with what waits for an operator.
    pub desired: Desired,
    /// Record sets added, replaced, withdrawn.
    pub counts: (usize, usize, usize),
    pub changed: bool,
    /// The zones' revision behind it.
    pub revision: u64,
    /// Names that are not published because of their zone.
    pub not_served: Vec<NotServed>,
    /// Zones that the catalogue lacks.
    pub derived: BTreeSet<Name>,
    /// What an operator should know of private DNS zones.
    pub remarks: BTreeSet<Remark>,
}

impl Rules {
    pub fn new(settings: &Settings, written: &Arc<dyn Overlay>) -> Rules {
        let (catalogue, written) = (Arc::clone(&settings.catalogue), Arc::clone(written));
        Rules { catalogue, publish: settings.publish.clone(), written }
    }

    /// What an inventory wants published.
    pub fn desired(&self, inventory: &Inventory, source: &Arc<str>, read_at: SystemTime) -> Desired {
        let (allow, since_secs) = (&self.publish.allow_subscriptions, unix_secs(read_at));
        sync::desired(inventory, &self.catalogue, source, allow, |_| since_secs)
    }

    /// Whether a subscription may publish.
    pub fn allows(&self, subscription: &str) -> bool {
        sync::desired::is_allowed(&self.publish.allow_subscriptions, subscription)
    }

    pub fn plan(&self, desired: &Desired, source: &Arc<str>, snapshot: &Snapshot) -> Plan {
        let settings = PublishSettings { made: self.written.made(), ..self.publish.clone() };
        let mut plan = sync::plan(desired, source, &settings, &self.catalogue, snapshot);
        // What operators set of a zone goes before what sync makes of it, without a moment between.
        plan.changes.changes.retain_mut(|change| match change {
            Change::SetZone(header) => {
                *header = self.written.header_over_learnt(header);
                snapshot.zone(header.apex.borrow()).is_none_or(|zone| zone.header() != header)
            }
            _ => true,
        });
        plan
    }

    /// What publishing would do to what `older` has published.
    pub fn propose(
        &self,
        desired: &Desired,
        older: &Desired,
        source: &Arc<str>,
        snapshot: &Snapshot,
    ) -> Proposal {
        let plan = self.plan(desired, source, snapshot);
        let mut differences = Difference::all(&plan, snapshot, desired);
        let hold = self.hold(&plan, desired, older, source, snapshot);
        if let Some(hold) = &hold {
            hold.mark(&mut differences);
        }
        Proposal { differences, held_back: hold.map(|hold| hold.held_back) }
    }

    fn hold<'p>(
        &self,
        plan: &'p Plan,
        desired: &Desired,
        older: &Desired,
        source: &Arc<str>,
        snapshot: &'p Snapshot,
    ) -> Option<Hold<'p>> {
        let before = older.held_back.as_ref();
        Hold::of(plan, desired, before, source, snapshot, self.publish.withdraw_max_percent)
    }

    /// Commits what a source wants, without the withdrawals that are too many unless somebody `consents` to them.
    pub fn commit(
        &self,
        mut desired: Desired,
        older: &Desired,
        source: &Arc<str>,
        store: &Store,
        consents: impl FnOnce(Fingerprint) -> bool,
    ) -> Result<PublishOutcome, ZoneError> {
        let mut outcome = PublishOutcome::default();
        let committed = store.commit_with(Author::Source(Arc::clone(source)), |snapshot| {
            let mut plan = self.plan(&desired, source, snapshot);
            if let Some(hold) = self.hold(&plan, &desired, older, source, snapshot) {
                if consents(hold.held_back.plan) {
                    info!(source = %source, "The withdrawals of `{source}` that were held back are confirmed");
                } else {
                    hold.keep(&mut desired, older, snapshot.networks());
                    plan = self.plan(&desired, source, snapshot);
                }
            }
            outcome.counts = (plan.added, plan.replaced, plan.withdrawn);
            (outcome.not_served, outcome.derived) = (plan.not_served, plan.derived);
            outcome.remarks = plan.remarks;
            Ok(plan.changes)
        })?;
        outcome.desired = desired;
        outcome.revision = committed.revision;
        outcome.changed = !committed.effect.zones.is_empty();
        Ok(outcome)
    }
}
