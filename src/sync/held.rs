//! What a plan withdraws, and how that stays published while it waits for an operator.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::desired::Desired;
use super::inventory::ConnectionState;
use super::private_dns::{PrivateZone, azure_offers, is_ours};
use super::publication::Publication;
use super::reconcile::{Plan, claims};
use crate::dns::{Name, RecordSet, RecordType, rdata};
use crate::zone::{Change, Networks, Origin, Snapshot};

/// A record set that a plan withdraws.
#[derive(Clone)]
pub(super) struct Withdrawal<'p> {
    pub subscription: Arc<str>,
    /// ARM id of the private endpoint or of the private DNS zone.
    pub id: &'p Arc<str>,
    /// The whole private name.
    pub name: &'p Name,
    pub rtype: RecordType,
    /// Whether the name would fall to an endpoint whose resource fits it worse.
    pub is_shield: bool,
    set: Option<&'p RecordSet>,
}

impl<'p> Withdrawal<'p> {
    /// Those of a plan that a doubtful listing could be the cause of.
    pub(super) fn all_doubtful(
        plan: &'p Plan,
        desired: &Desired,
        snapshot: &'p Snapshot,
    ) -> Vec<Withdrawal<'p>> {
        let removed = plan.changes.changes.iter().filter_map(|change| match change {
            Change::Remove { zone, name, rtype, origin } => Some((zone, name, *rtype, origin)),
            _ => None,
        });
        let sure = Sure::of(desired, plan);
        let all = removed.filter_map(|(zone, name, rtype, origin)| {
            let (subscription, id) = match origin {
                Origin::Endpoint(claim)
                    if !sure.is_of_endpoint(&claim.endpoint, &claim.resource, name, rtype) =>
                {
                    (&claim.subscription, &claim.endpoint)
                }
                // Each imported zone has one, which is not counted.
                Origin::AzureZone(azure) if rtype != RecordType::SOA && !sure.is_of_zone(&azure.id, name) => {
                    (&azure.subscription, &azure.id)
                }
                _ => return None,
            };
            let set = snapshot.offer_of(zone, name, rtype, origin).map(|offer| &offer.set);
            let is_shield = snapshot
                .zone(zone.borrow())
                .is_some_and(|zone| zone.shields(name.borrow(), rtype, origin, snapshot.networks()));
            Some(Withdrawal { subscription: Arc::clone(subscription), id, name, rtype, is_shield, set })
        });
        all.collect()
    }
}

impl fmt::Display for Withdrawal<'_> {
    /// Whatever its TTL is: a setting of ours is no other withdrawal.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.name, self.rtype)?;
        for data in self.set.iter().flat_map(|set| set.records()) {
            write!(out, " {}", rdata::to_text(self.rtype, data))?;
        }
        write!(out, "  {}", self.id)
    }
}

/// What no doubtful listing is the cause of: the listing itself says that it is to go, or what takes its place.
struct Sure<'d> {
    /// Endpoints whose connection is refused, and endpoints and zones that may not publish.
    ids: HashSet<&'d str>,
    /// Names that are withdrawn, with all that is to be published of them.
    publications: HashMap<&'d Name, Vec<&'d Publication>>,
    /// Names of zones that an alias comes to or goes from: something else takes its place.
    renamed: HashSet<(&'d str, &'d Name)>,
}

impl<'d> Sure<'d> {
    fn of(desired: &'d Desired, plan: &'d Plan) -> Sure<'d> {
        let is_refused = |state: &ConnectionState| {
            matches!(
                state,
                ConnectionState::Pending | ConnectionState::Rejected | ConnectionState::Disconnected
            )
        };
        let withheld = desired.withheld.iter().map(|it| (&it.endpoint, &it.state));
        // One that is not approved lists no names, mostly.
        let nameless = desired.nameless.iter().map(|it| (&it.endpoint, &it.state));
        let refused = withheld.chain(nameless).filter(|(_, state)| is_refused(state));
        let ids = refused.map(|(endpoint, _)| &**endpoint).chain(desired.foreign.iter().map(|id| &**id));
        let changes = &plan.changes.changes;
        let removed: HashSet<&Name> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Remove { name, origin: Origin::Endpoint(_), .. } => Some(name),
                _ => None,
            })
            .collect();
        let mut publications: HashMap<&Name, Vec<&Publication>> = HashMap::new();
        for it in desired.publications.iter().filter(|it| removed.contains(&it.name)) {
            publications.entry(&it.name).or_default().push(it);
        }
        let mut put: HashMap<(&str, &Name), bool> = HashMap::new();
        for change in changes {
            if let Change::Put { name, offer, .. } = change
                && let Origin::AzureZone(azure) = &offer.origin
            {
                *put.entry((&azure.id, name)).or_default() |= offer.set.rtype == RecordType::CNAME;
            }
        }
        let renamed = changes.iter().filter_map(|change| match change {
            Change::Remove { name, rtype, origin: Origin::AzureZone(azure), .. } => {
                let becomes_alias = put.get(&(&*azure.id, name))?;
                (*becomes_alias || *rtype == RecordType::CNAME).then_some((&*azure.id, name))
            }
            _ => None,
        });
        Sure { ids: ids.collect(), publications, renamed: renamed.collect() }
    }

    fn is_of_endpoint(
        &self,
        endpoint: &str,
        resource: &Option<Arc<str>>,
        name: &Name,
        rtype: RecordType,
    ) -> bool {
        let has_address = |it: &Publication| match rtype {
            RecordType::AAAA => !it.ipv6.is_empty(),
            _ => !it.ipv4.is_empty(),
        };
        // Made anew: the same resource has another endpoint for the name by now.
        let is_successor =
            |it: &&&Publication| resource.is_some() && it.claim.resource == *resource && has_address(it);
        self.ids.contains(endpoint)
            || self.publications.get(name).is_some_and(|all| all.iter().find(is_successor).is_some())
    }

    fn is_of_zone(&self, zone: &str, name: &Name) -> bool {
        self.ids.contains(zone) || self.renamed.contains(&(zone, name))
    }
}

/// How many record sets a source has published, by subscription.
pub(super) fn published<'s>(source: &Arc<str>, snapshot: &'s Snapshot) -> BTreeMap<&'s str, usize> {
    let mut published: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, _, _, claim) in claims(snapshot).filter(|(.., claim)| claim.source == *source) {
        *published.entry(&claim.subscription).or_default() += 1;
    }
    let sets = azure_offers(snapshot).filter(|(.., azure)| azure.source == *source);
    for (.., azure) in sets.filter(|(_, _, offer, _)| offer.set.rtype != RecordType::SOA) {
        *published.entry(&azure.subscription).or_default() += 1;
    }
    published
}

impl Desired {
    pub(super) fn keep_publications(
        &mut self,
        older: &Desired,
        held: &HashMap<&str, HashSet<(&Name, RecordType)>>,
    ) {
        let kept = older.publications.iter().filter_map(|it| {
            let held = held.get(&*it.claim.endpoint)?;
            let is_held = |rtype| held.contains(&(&it.name, rtype));
            let ipv4 = if is_held(RecordType::A) { it.ipv4.clone() } else { Vec::new() };
            let ipv6 = if is_held(RecordType::AAAA) { it.ipv6.clone() } else { Vec::new() };
            (!ipv4.is_empty() || !ipv6.is_empty()).then(|| Publication { ipv4, ipv6, ..it.clone() })
        });
        let mut kept: HashMap<(Name, Arc<str>), Publication> =
            kept.map(|it| ((it.name.clone(), Arc::clone(&it.claim.endpoint)), it)).collect();
        // An endpoint that has lost its addresses of one kind goes on with those of the other.
        for it in self.publications.iter_mut().filter(|it| held.contains_key(&*it.claim.endpoint)) {
            if let Some(mut kept) = kept.remove(&(it.name.clone(), Arc::clone(&it.claim.endpoint))) {
                it.ipv4.append(&mut kept.ipv4);
                it.ipv6.append(&mut kept.ipv6);
            }
        }
        self.publications.extend(kept.into_values());
        self.sort();
    }

    pub(super) fn keep_zones(
        &mut self,
        older: &Desired,
        held: &HashMap<&str, HashSet<(&Name, RecordType)>>,
        networks: &Networks,
    ) {
        for older in older.zones.iter() {
            let Some(held) = held.get(&*older.azure.id) else { continue };
            let is_held = |name: &Name, rtype| held.contains(&(name, rtype));
            let Some(zone) = self.zones.iter_mut().find(|it| it.azure.id == older.azure.id) else {
                self.zones.push(Arc::clone(older));
                continue;
            };
            if !is_ours(&zone.azure, networks) {
                // Without a link nothing of it would be served.
                *zone = Arc::clone(older);
                continue;
            }
            let kept = older.record_sets.iter().filter(|it| is_held(&it.name, it.set.rtype));
            let mut record_sets: Vec<_> = zone.record_sets.iter().chain(kept).cloned().collect();
            record_sets.sort_by(|a, b| (&a.name, a.set.rtype).cmp(&(&b.name, b.set.rtype)));
            *zone = Arc::new(PrivateZone { record_sets, ..PrivateZone::clone(zone) });
        }
        self.sort();
    }
}
