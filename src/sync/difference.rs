//! What a plan adds, replaces and withdraws, with the reason, for people to read.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::desired::Desired;
use super::inventory::ConnectionState;
use super::publication::Publication;
use super::reconcile::{Plan, claims};
use super::refusal::NotServed;
use crate::dns::{Name, RecordSet, RecordType, rdata};
use crate::zone::{AzureZone, Change, Claim, Origin, Snapshot};

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
    /// What a plan does to claims and imported records in `snapshot`, in the order of zones and names.
    pub fn all(plan: &Plan, snapshot: &Snapshot, desired: &Desired) -> Vec<Difference> {
        let changes = &plan.changes;
        let fates = Fates::of(desired, plan);
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
                        (_, None) => fates.why_withdrawn(claim, name, rtype),
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
        let held_back = if self.is_held_back { "  held-back" } else { "" };
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
    /// What is not published because of its zone.
    not_served: HashMap<&'d Name, &'d NotServed>,
}

impl<'d> Fates<'d> {
    fn of(desired: &'d Desired, plan: &'d Plan) -> Fates<'d> {
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
            not_served: plan.not_served.iter().map(|it| (&it.name, it)).collect(),
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

    fn why_withdrawn(&self, claim: &Claim, name: &Name, rtype: RecordType) -> String {
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
        let Some(publication) = names.iter().find(|it| it.name == *name) else {
            return "the private endpoint does not have the name any more".to_owned();
        };
        if let Some(refused) = self.not_served.get(name) {
            return refused.to_string();
        }
        let has_any = match rtype {
            RecordType::AAAA => !publication.ipv6.is_empty(),
            _ => !publication.ipv4.is_empty(),
        };
        let why = match has_any {
            true => "private_link.addresses leaves out the address, or no endpoint can have it",
            false => "the private endpoint lost the address",
        };
        why.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PublishSettings, plan};
    use super::*;
    use crate::privatelink::{Catalogue, Cloud};

    const BLOB: &str = "privatelink.blob.core.windows.net.";

    fn publication(name: &str, zone: &str, address: [u8; 4]) -> Publication {
        let claim = Claim {
            endpoint: format!("/{name}").into(),
            virtual_network: None,
            subscription: "s".into(),
            resource: None,
            source: "dir".into(),
            since_secs: 1,
        };
        Publication {
            zone: zone.parse().unwrap(),
            name: format!("{name}.{zone}").parse().unwrap(),
            ipv4: vec![address.into()],
            ipv6: Vec::new(),
            public_names: Vec::new(),
            claim: Arc::new(claim),
        }
    }

    #[test]
    fn a_withdrawal_says_what_it_is_for() {
        let catalogue = Catalogue::builtin(Cloud::Public);
        let before = [
            publication("zone", "privatelink.vaultcore.azure.net.", [10, 0, 0, 1]),
            publication("address", BLOB, [10, 1, 0, 1]),
            publication("lost", BLOB, [10, 0, 0, 2]),
            publication("renamed", BLOB, [10, 0, 0, 3]),
            publication("gone", BLOB, [10, 0, 0, 4]),
        ];
        let before = Desired { publications: before.to_vec(), ..Desired::default() };
        let first =
            plan(&before, &"dir".into(), &PublishSettings::default(), &catalogue, &Snapshot::default());
        let (served, _) = first.changes.apply(&Snapshot::default()).unwrap();

        let mut after = before;
        after.publications.pop();
        let renamed = after.publications.last_mut().unwrap();
        renamed.name = format!("other.{BLOB}").parse().unwrap();
        after.publications[2].ipv4.clear();
        after.publications[2].ipv6 = vec!["fd00::2".parse().unwrap()];
        let settings = PublishSettings {
            zones: vec![BLOB.trim_end_matches('.').to_owned()],
            addresses: vec!["10.0.0.0/16".parse().unwrap(), "fd00::/8".parse().unwrap()],
            ..PublishSettings::default()
        };
        let second = plan(&after, &"dir".into(), &settings, &catalogue, &served);
        let differences = Difference::all(&second, &served, &after);
        let withdrawn = differences.iter().filter(|it| it.after.is_none());
        let told: Vec<(String, &str)> =
            withdrawn.map(|it| (it.name.borrow().relative_to(it.zone.borrow()), &*it.reason)).collect();
        let told: Vec<(&str, &str)> = told.iter().map(|(name, why)| (&**name, *why)).collect();
        assert_eq!(
            told,
            [
                ("zone", "private_link.zones leaves out privatelink.vaultcore.azure.net."),
                ("address", "private_link.addresses leaves out the address, or no endpoint can have it"),
                ("gone", "the private endpoint is not listed any more"),
                ("lost", "the private endpoint lost the address"),
                ("renamed", "the private endpoint does not have the name any more"),
            ]
        );
    }
}
