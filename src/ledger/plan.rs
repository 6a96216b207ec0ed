//! What a write would do, line by line: `+`, `~` and `-` as data.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::view::{KindWord, OfferView, OnMissingWord};
use super::written::WrittenState;
use crate::dns::{Name, RecordType};
use crate::persist::{Entry, StoredChange, StoredForwarder, StoredToken, Subject};
use crate::zone::{Snapshot, ViewId, ZoneHeader};

/// Lines of one plan; a larger one says how many there are.
const LINES_MAX: usize = 1000;

/// What a write would do; nothing is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Plan {
    /// Always true: whoever reads it knows that nothing was done.
    pub dry_run: bool,
    pub lines: Vec<PlanLine>,
    /// All lines, also those beyond the first thousand.
    pub lines_total: usize,
}

/// One line of it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PlanLine {
    pub action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "corp.internal.")]
    pub zone: Option<String>,
    /// Of a record set relative to its zone; of a forwarder its domain, of a token its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "www")]
    pub name: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(example = "A")]
    pub rtype: Option<String>,
    /// What is there now.
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// What would be there.
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
}

/// What happens to one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// `+`
    Add,
    /// `~`
    Change,
    /// `-`
    Remove,
}

impl Plan {
    /// The plan of changes that lead from one state of the zones to another.
    pub fn of(changes: &[StoredChange], state: &WrittenState, old: &Snapshot, new: &Snapshot) -> Plan {
        let mut plan = Plan { dry_run: true, ..Plan::default() };
        for change in changes {
            match change {
                StoredChange::Put(Entry::RecordSet { zone, name, set }) => {
                    plan.add_set(zone, name, set.rtype, old, new);
                }
                StoredChange::Remove(Subject::RecordSet { zone, name, rtype }) => {
                    plan.add_set(zone, name, *rtype, old, new);
                }
                StoredChange::ClearZone(apex) => {
                    let mut sets: Vec<_> = state.sets(apex).map(|(key, _)| key).collect();
                    sets.sort_unstable();
                    for (name, rtype) in sets {
                        plan.add_set(apex, &name, rtype, old, new);
                    }
                }
                StoredChange::Put(Entry::Zone(stored)) => plan.add_zone(&stored.apex, old, new),
                StoredChange::Remove(Subject::Zone(apex)) => plan.add_zone(apex, old, new),
                StoredChange::Put(Entry::Forwarder(rule)) => {
                    let before = state.forwarder(&rule.domain).map(|(rule, _)| forwarder(rule));
                    plan.add(None, Some(rule.domain.to_string()), None, before, Some(forwarder(rule)));
                }
                StoredChange::Remove(Subject::Forwarder(domain)) => {
                    let before = state.forwarder(domain).map(|(rule, _)| forwarder(rule));
                    plan.add(None, Some(domain.to_string()), None, before, None);
                }
                StoredChange::Put(Entry::Token(one)) => {
                    let before = state.token(&one.id).map(|(one, _)| token(one));
                    plan.add(None, Some(one.id.to_string()), None, before, Some(token(one)));
                }
                StoredChange::Put(Entry::Document(_))
                | StoredChange::Remove(Subject::Token(_) | Subject::Document(_)) => {}
            }
        }
        plan
    }

    fn add_set(&mut self, apex: &Name, name: &Name, rtype: RecordType, old: &Snapshot, new: &Snapshot) {
        let (before, after) = (served(apex, name, rtype, old), served(apex, name, rtype, new));
        let name = name.borrow().relative_to(apex.borrow());
        self.add(Some(apex), Some(name), Some(rtype), before, after);
    }

    fn add_zone(&mut self, apex: &Name, old: &Snapshot, new: &Snapshot) {
        let of = |snapshot: &Snapshot| snapshot.zone(apex.borrow()).map(|zone| header(zone.header()));
        self.add(Some(apex), None, None, of(old), of(new));
    }

    fn add(
        &mut self,
        zone: Option<&Name>,
        name: Option<String>,
        rtype: Option<RecordType>,
        before: Option<Value>,
        after: Option<Value>,
    ) {
        let action = match (&before, &after) {
            (None, None) => return,
            (before, after) if before == after => return,
            (None, _) => Action::Add,
            (_, None) => Action::Remove,
            _ => Action::Change,
        };
        self.lines_total += 1;
        if self.lines.len() < LINES_MAX {
            let (zone, rtype) = (zone.map(Name::to_string), rtype.map(|rtype| rtype.to_string()));
            self.lines.push(PlanLine { action, zone, name, rtype, before, after });
        }
    }
}

fn served(apex: &Name, name: &Name, rtype: RecordType, snapshot: &Snapshot) -> Option<Value> {
    let node = snapshot.zone(apex.borrow())?.node(name.borrow())?;
    let offer = node.slot(rtype)?.served(ViewId::NONE);
    let OfferView { ttl, records, origin } = OfferView::of(offer);
    Some(json!({ "ttl": ttl, "records": records, "origin": origin }))
}

fn header(header: &ZoneHeader) -> Value {
    let (kind, on_missing) = (KindWord::from(header.kind), OnMissingWord::from(header.on_missing));
    json!({ "kind": kind, "on_missing": on_missing, "networks": header.networks })
}

fn forwarder(rule: &StoredForwarder) -> Value {
    json!({ "upstreams": rule.upstreams, "queries_per_second_max": rule.queries_per_second_max })
}

fn token(token: &StoredToken) -> Value {
    json!({ "name": token.name, "role": token.role, "zones": token.zones, "revoked": token.revoked_secs.is_some() })
}
