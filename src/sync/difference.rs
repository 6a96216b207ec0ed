//! What a plan adds, replaces and withdraws, with the reason, for people to read.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::desired::{Desired, Publication};
use super::inventory::ConnectionState;
use super::reconcile::claims;
use crate::dns::{Name, RecordSet, RecordType, rdata};
use crate::zone::{AzureZone, Change, ChangeSet, Claim, Origin, Snapshot};

/// One record set that changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    pub zone: Name,
    /// The whole private name.
    pub name: Name,
    pub rtype: RecordType,
    /// `None`: it is added.
    pub before: Option<RecordSet>,
    /// `None`: it is withdrawn.
    pub after: Option<RecordSet>,
    /// ARM id of the private endpoint or of the private DNS zone.
    pub endpoint: Arc<str>,
    pub reason: String,
    /// It waits for an operator: see [`super::Hold::mark`].
    pub is_held_back: bool,
}

impl Difference {
    /// What `changes` do to claims and imported records in `snapshot`, in the order of zones and names.
    pub fn all(changes: &ChangeSet, snapshot: &Snapshot, desired: &Desired) -> Vec<Difference> {
        let fates = Fates::of(desired);
        let known: HashSet<(&Arc<str>, &Arc<str>)> =
            claims(snapshot).map(|(_, _, _, claim)| (&claim.source, &claim.endpoint)).collect();
        let mut all = Vec::new();
        for change in &changes.changes {
            let (zone, name, rtype, origin, after) = match change {
                Change::Put { zone, name, offer } => {
                    (zone, name, offer.set.rtype, &offer.origin, Some(&offer.set))
                }
                Change::Remove { zone, name, rtype, origin } => (zone, name, *rtype, origin, None),
                _ => continue,
            };
            let held = snapshot.offer_of(zone, name, rtype, origin);
            let (endpoint, reason) = match origin {
                Origin::Endpoint(claim) => {
                    let is_known = known.contains(&(&claim.source, &claim.endpoint));
                    let reason = match (held, after) {
                        (_, None) => fates.why_withdrawn(claim, name),
                        (Some(held), Some(after)) => why_replaced(&held.set, after).to_owned(),
                        (None, Some(_)) if is_known => "a new name of the private endpoint".to_owned(),
                        (None, Some(_)) => "a new private endpoint".to_owned(),
                    };
                    (&claim.endpoint, reason)
                }
                // Each imported zone has one, which is not counted.
                Origin::AzureZone(azure) if rtype != RecordType::SOA => {
                    (&azure.id, fates.of_zone(azure, held.map(|offer| &offer.set), after))
                }
                _ => continue,
            };
            all.push(Difference {
                zone: zone.clone(),
                name: name.clone(),
                rtype,
                before: held.map(|offer| offer.set.clone()),
                after: after.cloned(),
                endpoint: Arc::clone(endpoint),
                reason,
                is_held_back: false,
            });
        }
        let key = |it: &Difference| (it.zone.clone(), it.name.clone(), it.rtype, Arc::clone(&it.endpoint));
        all.sort_by_cached_key(key);
        all
    }

    /// The change alone, without its reason.
    fn change(&self) -> String {
        let (sign, ttl) = match (&self.before, &self.after) {
            (None, Some(after)) => ('+', after.ttl),
            (Some(before), None) => ('-', before.ttl),
            (_, Some(after)) => ('~', after.ttl),
            (None, None) => ('-', crate::dns::Ttl::from_wire(0)),
        };
        let owner = self.name.borrow().relative_to(self.zone.borrow());
        let data = match (&self.before, &self.after) {
            (Some(before), Some(after)) if before.records().ne(after.records()) => {
                format!("{} → {}", text_of(before), text_of(after))
            }
            (before, after) => after.as_ref().or(before.as_ref()).map(text_of).unwrap_or_default(),
        };
        format!("{sign} {} {owner} {ttl} {} {data}  {}", self.zone, self.rtype, self.endpoint)
    }
}

impl fmt::Display for Difference {
    /// `+ zone name TTL type data  endpoint  (reason)`, and whether it is held back.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held_back = if self.is_held_back { "  HELD BACK" } else { "" };
        write!(out, "{}  ({}){held_back}", self.change(), self.reason)
    }
}

fn why_replaced(before: &RecordSet, after: &RecordSet) -> &'static str {
    if before.records().ne(after.records()) {
        "its address is another one"
    } else if before.ttl != after.ttl {
        "private_link.ttl_secs"
    } else {
        "the endpoint's network or resource is another one"
    }
}

fn text_of(set: &RecordSet) -> String {
    let records: Vec<String> = set.records().map(|record| rdata::to_text(set.rtype, record)).collect();
    records.join(" ")
}

/// What became of endpoints, found fast: a bad listing may lack tens of thousands.
struct Fates<'d> {
    names: HashMap<&'d str, Vec<&'d Publication>>,
    /// The states of those that are listed as not approved.
    states: HashMap<&'d str, &'d ConnectionState>,
    foreign: HashSet<&'d str>,
    zones: HashSet<&'d str>,
}

impl<'d> Fates<'d> {
    fn of(desired: &'d Desired) -> Fates<'d> {
        let mut names: HashMap<&str, Vec<&Publication>> = HashMap::new();
        for publication in &desired.publications {
            names.entry(&publication.claim.endpoint).or_default().push(publication);
        }
        let nameless = desired.nameless.iter().map(|it| (&*it.endpoint, &it.state));
        let nameless = nameless.filter(|(_, state)| **state != ConnectionState::Approved);
        Fates {
            names,
            states: desired.withheld.iter().map(|it| (&*it.endpoint, &it.state)).chain(nameless).collect(),
            foreign: desired.foreign.iter().map(|endpoint| &**endpoint).collect(),
            zones: desired.zones.iter().map(|zone| &*zone.azure.id).collect(),
        }
    }

    fn of_zone(&self, azure: &AzureZone, before: Option<&RecordSet>, after: Option<&RecordSet>) -> String {
        let reason = match (before, after) {
            (Some(before), Some(after)) if before != after => "the private DNS zone has it otherwise",
            (Some(_), Some(_)) => "the private DNS zone has other links",
            (None, Some(_)) => "a record set of the private DNS zone",
            (_, None) if self.zones.contains(&*azure.id) => {
                "the private DNS zone has it no more, or is linked to no network of ours"
            }
            (_, None) if self.foreign.contains(&*azure.id) => {
                return format!("sync.allow_subscriptions leaves out {}", azure.subscription);
            }
            (_, None) => "the private DNS zone is not listed any more",
        };
        reason.to_owned()
    }

    fn why_withdrawn(&self, claim: &Claim, name: &Name) -> String {
        let endpoint = &*claim.endpoint;
        if let Some(state) = self.states.get(endpoint) {
            return format!("the connection is {state}");
        }
        if self.foreign.contains(endpoint) {
            return format!("sync.allow_subscriptions leaves out {}", claim.subscription);
        }
        let Some(names) = self.names.get(endpoint) else {
            return "the private endpoint is not listed any more".to_owned();
        };
        let why = match names.iter().find(|it| it.name == *name) {
            None => "the private endpoint does not have the name any more",
            // One kind of address of two went.
            Some(it) if it.ipv4.is_empty() || it.ipv6.is_empty() => "the private endpoint lost the address",
            Some(_) => "private_link.zones leaves out the zone",
        };
        why.to_owned()
    }
}
