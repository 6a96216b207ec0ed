//! One source: what it said last, what is published of it, and what waits for an operator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::{error, info, warn};

use super::settings::Settings;
use super::told::tell_first;
use crate::dns::Name;
use crate::privatelink::Catalogue;
use crate::sync::private_dns::Remark;
use crate::sync::state::unix_secs;
use crate::sync::{
    self, Desired, Difference, Fingerprint, HeldBack, Hold, Inventory, LastGood, NotServed, Plan,
    PublishSettings, Refusal, Saved, StateFolder, directory,
};
use crate::telemetry::{Age, in_full};
use crate::zone::{Author, Change, Overlay, Snapshot, Store, ZoneError};

/// One folder.
#[derive(Clone)]
pub struct Source {
    pub settings: directory::Settings,
    pub state: SourceState,
    /// What is published of it, and what its last good inventory said besides.
    pub desired: Arc<Desired>,
    /// When the inventory behind `desired` was read, maybe before the last restart.
    pub read_at: Option<SystemTime>,
    /// When the inventory was read that a restart would begin with.
    pub kept: Option<SystemTime>,
    /// Names that are not published because of their zone.
    pub not_served: Vec<NotServed>,
    /// Zones of it that the catalogue lacks.
    pub derived: BTreeSet<Name>,
    /// When it was last read, whatever came of that.
    pub(crate) passed_at: Option<SystemTime>,
}

/// Whether a source's records are as new as they can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// Its inventory was read whole.
    Current { since: SystemTime },
    /// Its inventory could not be read; the last good one, if there was any, stays in force.
    Stale { since: SystemTime, why: String },
    /// Its inventory was read whole, but withdraws so much that an operator must confirm that; all else is published.
    HeldBack { since: SystemTime, would_withdraw: usize, of: usize },
}

/// What an inventory came to, not yet published.
pub struct Reading {
    pub(super) desired: Desired,
    pub(super) read_at: SystemTime,
    /// Subscriptions and private DNS zones that could not be read, and why: what they had stays.
    pub failed: BTreeMap<Arc<str>, String>,
    /// How many could.
    pub(super) listed: usize,
    /// What was listed, if all was: as long as that is the same, so is `desired`.
    pub(super) whole: Option<BTreeMap<Arc<str>, Arc<Inventory>>>,
}

/// What publishing it would do.
pub struct Proposal {
    pub differences: Vec<Difference>,
    /// Only an operator can let it pass.
    pub held_back: Option<HeldBack>,
}

/// What publishing it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    pub is_changed: bool,
    /// Some withdrawals wait for an operator; all else is done.
    pub is_held_back: bool,
}

/// How much of what was published is published again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restored {
    All,
    /// The settings of now leave some of it out.
    Less,
}

/// How what is listed becomes what is published.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) publish: PublishSettings,
    /// What operators wrote.
    pub(super) written: Arc<dyn Overlay>,
}

/// What a commit came to.
#[derive(Default)]
pub(super) struct Outcome {
    /// What is published, with what waits for an operator.
    pub(super) desired: Desired,
    /// Record sets added, replaced, withdrawn.
    pub(super) counts: (usize, usize, usize),
    pub(super) changed: bool,
    /// The zones' revision behind it.
    pub(super) revision: u64,
    /// Names that are not published because of their zone.
    pub(super) not_served: Vec<NotServed>,
    /// Zones that the catalogue lacks.
    pub(super) derived: BTreeSet<Name>,
    /// What an operator should know of private DNS zones.
    pub(super) remarks: BTreeSet<Remark>,
}

impl SourceState {
    /// The state before the first pass.
    pub(super) fn unread() -> SourceState {
        SourceState::Stale { since: SystemTime::now(), why: "it was not read yet".to_owned() }
    }

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

impl Source {
    pub(super) fn new(settings: directory::Settings) -> Source {
        Source {
            settings,
            state: SourceState::unread(),
            desired: Arc::default(),
            read_at: None,
            kept: None,
            not_served: Vec::new(),
            derived: BTreeSet::new(),
            passed_at: None,
        }
    }

    /// The withdrawals that wait for an operator.
    pub fn held_back(&self) -> Option<&HeldBack> {
        self.desired.held_back.as_ref()
    }

    /// How long ago the inventory was read that is published.
    pub fn age(&self) -> Option<Age> {
        self.read_at.map(Age::of)
    }

    /// Publishes what it had published before the restart.
    pub(super) fn restore(
        &mut self,
        last: LastGood,
        store: &Store,
        rules: &Rules,
    ) -> Result<Restored, ZoneError> {
        self.desired = Arc::new(last.desired);
        let restored = self.republish(store, rules)?;
        (self.read_at, self.kept) = (Some(last.read_at), Some(last.read_at));
        let (name, names, age) = (&self.settings.name, self.desired.names(), Age::of(last.read_at));
        info!(source = %name, names,
            "Restored the last good state of `{name}`: {names} names from an inventory of {age} ago");
        Ok(restored)
    }

    /// Publishes anew what is published, as these rules want it: what they withdraw, an operator withdrew.
    pub(super) fn republish(&mut self, store: &Store, rules: &Rules) -> Result<Restored, ZoneError> {
        let allow = &rules.publish.allow_subscriptions;
        let is_less = !allow.is_empty()
            && Desired::retain(&mut self.desired, |subscription, _| {
                sync::desired::is_allowed(allow, subscription)
            });
        let name: Arc<str> = self.settings.name.as_str().into();
        let (desired, not_served, derived) = (&self.desired, &mut self.not_served, &mut self.derived);
        store.commit_with(Author::Source(Arc::clone(&name)), |snapshot| {
            let plan = rules.plan(desired, &name, snapshot);
            (*not_served, *derived) = (plan.not_served, plan.derived);
            Ok(plan.changes)
        })?;
        Ok(if is_less { Restored::Less } else { Restored::All })
    }

    pub(super) fn saved(&self) -> Option<Saved<'_>> {
        let (source, desired) = (self.settings.name.as_str(), &self.desired);
        self.read_at.map(|read_at| Saved { source, read_at, desired })
    }

    pub(super) fn read(&self, rules: &Rules) -> Result<Reading, String> {
        let inventory = directory::read(&self.settings).map_err(|cause| in_full(&cause))?;
        let read_at = SystemTime::now();
        let since_secs = unix_secs(read_at);
        let source = self.settings.name.as_str().into();
        let allow = &rules.publish.allow_subscriptions;
        let mut desired = sync::desired(&inventory, &rules.catalogue, &source, allow, |_| since_secs);
        desired.carry_over(&self.desired);
        Ok(Reading { desired, read_at, failed: BTreeMap::new(), listed: 0, whole: None })
    }

    pub(super) fn is_stale(&mut self, why: String) {
        let name = &self.settings.name;
        if !matches!(&self.state, SourceState::Stale { why: told, .. } if *told == why) {
            let served = match self.age() {
                Some(age) => format!("stays as it was {age} ago"),
                None => "was never read".to_owned(),
            };
            error!(source = %name, "Inventory `{name}` {served}: {why}");
        }
        self.state = self.state.failed(why);
    }

    /// Publishes a reading, without the withdrawals that are too many unless somebody `consents` to them.
    pub(super) fn publish(
        &mut self,
        reading: Reading,
        store: &Store,
        rules: &Rules,
        consents: impl FnOnce(&str, Fingerprint) -> bool,
    ) -> Result<Published, ZoneError> {
        let Reading { desired, read_at, .. } = reading;
        let name = self.settings.name.clone();
        let Outcome { desired, counts, changed, not_served, derived, .. } =
            rules.commit(desired, &self.desired, &name.as_str().into(), store, consents)?;
        if changed {
            let (added, replaced, withdrawn) = counts;
            info!(source = %name, added, replaced, withdrawn,
                "Synced inventory `{name}`: {added} record sets added, {replaced} replaced, {withdrawn} withdrawn");
        }
        tell("Inventory", &name, &desired, &self.desired);
        tell_of_zones("Inventory", &name, (&not_served, &self.not_served), (&derived, &self.derived));
        tell_held_back("Inventory", &name, &desired, &self.desired);
        let is_changed = !desired.publishes_as(&self.desired);
        match &desired.held_back {
            None => {
                self.read_at = Some(read_at);
                self.state = SourceState::Current { since: read_at };
            }
            Some(held_back) => {
                // It is as old as the oldest of its parts.
                self.read_at = self.read_at.or(Some(read_at));
                self.state = self.state.held_back(held_back);
            }
        }
        let is_held_back = desired.held_back.is_some();
        self.desired = Arc::new(desired);
        (self.not_served, self.derived) = (not_served, derived);
        Ok(Published { is_changed, is_held_back })
    }
}

/// Logs that an operator must look at withdrawals, unless the last pass had the same.
pub(super) fn tell_held_back(kind: &str, name: &str, desired: &Desired, old: &Desired) {
    let Some(held_back) = &desired.held_back else { return };
    if old.held_back.as_ref().is_some_and(|old| old.plan == held_back.plan) {
        return;
    }
    let HeldBack { would_withdraw, of, .. } = held_back;
    error!(source = %name, would_withdraw, of,
        "{kind} `{name}` would withdraw {held_back}: these are held back, and all else is done. Look at \
         `privatelink-dns sync --once --dry-run`, and if that is meant, `sync --once --confirm {name}`");
}

/// Logs what the last reading did not have.
pub(super) fn tell(kind: &str, name: &str, desired: &Desired, old: &Desired) {
    let told = remarks(old);
    let now = remarks(desired);
    let new: Vec<&String> = now.difference(&told).collect();
    if let Some(untold) = tell_first(&new, |remark| warn!(source = %name, "{kind} `{name}`: {remark}")) {
        warn!(source = %name, "{kind} `{name}`: {untold} more remarks like these");
    }
    if let Some(first) = desired.foreign.first().filter(|_| desired.foreign != old.foreign) {
        let endpoints = desired.foreign.len();
        warn!(source = %name, endpoints,
            "{kind} `{name}`: {endpoints} private endpoints or zones publish nothing, as sync.allow_subscriptions \
             leaves out their subscriptions; {first} is the first");
    }
}

/// Logs the zones that are new although the catalogue lacks them, and those that are newly refused.
pub(super) fn tell_of_zones(
    kind: &str,
    name: &str,
    (not_served, told): (&[NotServed], &[NotServed]),
    (derived, told_derived): (&BTreeSet<Name>, &BTreeSet<Name>),
) {
    for zone in derived.difference(told_derived) {
        info!(source = %name, zone.apex = %zone,
            "{kind} `{name}` publishes into {zone}, which the catalogue lacks: a zone group or a name tells it");
    }
    let refused = |all: &[NotServed]| -> BTreeSet<String> {
        let others = all.iter().filter(|it| it.why != Refusal::NotSelected);
        others.map(|it| format!("{} is not published: {it}", it.name)).collect()
    };
    let (now, told) = (refused(not_served), refused(told));
    let new: Vec<&String> = now.difference(&told).collect();
    if let Some(untold) = tell_first(&new, |remark| warn!(source = %name, "{kind} `{name}`: {remark}")) {
        warn!(source = %name, "{kind} `{name}`: {untold} more remarks like these");
    }
}

/// A confirmation that did not fit is taken away, so that it permits nothing later.
pub(super) fn tell_unused_confirmation(name: &str, state: &StateFolder, published: Published) {
    // One that was followed is gone already.
    if !matches!(state.confirmed(name), Ok(None)) && forget_confirmation(state, name) {
        if published.is_held_back {
            warn!(source = %name,
                "What was confirmed for `{name}` is not what it would withdraw now, which stays held back");
        } else {
            info!(source = %name, "Nothing of `{name}` was held back: the confirmation is forgotten");
        }
    }
}

/// Answers whether it is gone: a confirmation that stays could permit more than once.
pub(crate) fn forget_confirmation(state: &StateFolder, source: &str) -> bool {
    match state.forget_confirmation(source) {
        Ok(()) => true,
        Err(cause) => {
            error!(source = %source, "The confirmation for source `{source}` cannot be taken away: {cause}");
            false
        }
    }
}

impl Rules {
    pub(super) fn new(settings: &Settings, written: &Arc<dyn Overlay>) -> Rules {
        let (catalogue, written) = (Arc::clone(&settings.catalogue), Arc::clone(written));
        Rules { catalogue, publish: settings.publish.clone(), written }
    }

    pub(super) fn plan(&self, desired: &Desired, source: &Arc<str>, snapshot: &Snapshot) -> Plan {
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
    pub(super) fn propose(
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
    pub(super) fn commit(
        &self,
        mut desired: Desired,
        older: &Desired,
        source: &Arc<str>,
        store: &Store,
        consents: impl FnOnce(&str, Fingerprint) -> bool,
    ) -> Result<Outcome, ZoneError> {
        let mut outcome = Outcome::default();
        let committed = store.commit_with(Author::Source(Arc::clone(source)), |snapshot| {
            let mut plan = self.plan(&desired, source, snapshot);
            if let Some(hold) = self.hold(&plan, &desired, older, source, snapshot) {
                if consents(source, hold.held_back.plan) {
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

/// What is odd about an inventory, each in words. A set: a large one without its interfaces has a remark an endpoint.
fn remarks(desired: &Desired) -> BTreeSet<String> {
    let unplaced = desired.unplaced.iter();
    let unplaced =
        unplaced.map(|name| format!("no private-link zone is known for {} of {}", name.fqdn, name.endpoint));
    desired.warnings.iter().map(ToString::to_string).chain(unplaced).collect()
}
