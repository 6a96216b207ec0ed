//! Drift: where record sets in Azure's private DNS zones say otherwise than the private endpoints. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::desired::Desired;
use super::private_dns::{ImportedSet, PrivateZone};
use crate::dns::{Name, RecordSet, RecordType, rdata};
use crate::zone::{Origin, Slot, Snapshot};

/// A record set of a private DNS zone that the endpoints contradict.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drift {
    pub name: Name,
    pub rtype: RecordType,
    /// ARM id of the private DNS zone.
    pub zone: Arc<str>,
    /// The record set's data there.
    pub data: String,
    pub kind: DriftKind,
}

/// In what a record set is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriftKind {
    /// An endpoint has the name with other addresses, which are served.
    WrongAddress { endpoint: Arc<str>, addresses: String },
    /// The endpoint that it was written for is not listed.
    DeletedEndpoint { endpoint_name: Arc<str> },
    /// The endpoint that it was written for is listed, but does not have the name, or is not approved.
    StaleRecord { endpoint_name: Arc<str>, state: Option<Arc<str>> },
}

/// The private endpoints that sources have listed.
#[derive(Debug, Default)]
pub struct ListedEndpoints {
    /// By name in lower case; with the connection's state for one that publishes nothing for it.
    endpoints: BTreeMap<Arc<str>, Option<Arc<str>>>,
    /// Names of those of which not all names are known, or which may not publish: nothing is concluded of them.
    unjudged: BTreeSet<Arc<str>>,
    extent: ListedExtent,
}

/// Whether an endpoint that is not listed is gone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum ListedExtent {
    /// A source could not be read whole, or none lists endpoints at all.
    #[default]
    Part,
    /// Every source was read whole.
    Whole,
}

impl ListedEndpoints {
    /// Those of all sources that list endpoints.
    pub fn of<'d>(sources: impl Iterator<Item = &'d Desired>, extent: ListedExtent) -> ListedEndpoints {
        let mut listed = ListedEndpoints { extent, ..ListedEndpoints::default() };
        for desired in sources {
            let name = |id: &Arc<str>| Arc::<str>::from(id.rsplit('/').next().unwrap_or_default());
            let unjudged = desired.unsettled.iter().chain(&desired.foreign);
            let unjudged = unjudged.chain(desired.unplaced.iter().map(|it| &it.endpoint));
            listed.unjudged.extend(unjudged.map(name));
            for it in &desired.withheld {
                listed.endpoints.entry(name(&it.endpoint)).or_insert_with(|| Some(it.state.as_str().into()));
            }
            // Names are unique in a resource group only: one that publishes speaks for all.
            let publishing = desired.publications.iter().map(|it| (name(&it.claim.endpoint), None));
            listed.endpoints.extend(publishing);
        }
        listed
    }
}

/// All drift of the zones that a snapshot holds, in the order of names.
pub fn drift<'z>(
    zones: impl Iterator<Item = &'z PrivateZone>,
    snapshot: &Snapshot,
    endpoints: &ListedEndpoints,
) -> Vec<Drift> {
    let mut all = BTreeSet::new();
    for zone in zones {
        let Some(served) = snapshot.zone(zone.apex.borrow()) else { continue };
        // One that is not imported contradicts nobody.
        if !served.azure_zones().any(|it| it.id == zone.azure.id && it.source == zone.azure.source) {
            continue;
        }
        for it in &zone.record_sets {
            let node = served.node(it.name.borrow());
            let slots = node.map_or(&[][..], |node| node.slots());
            if let Some(kind) = kind(it, slots, endpoints) {
                let (name, rtype) = (it.name.clone(), it.set.rtype);
                all.insert(Drift {
                    name,
                    rtype,
                    zone: Arc::clone(&zone.azure.id),
                    data: text(&it.set),
                    kind,
                });
            }
        }
    }
    all.into_iter().collect()
}

fn kind(it: &ImportedSet, slots: &[Slot], endpoints: &ListedEndpoints) -> Option<DriftKind> {
    let is_address = |rtype| matches!(rtype, RecordType::A | RecordType::AAAA);
    // An alias stands against all addresses, an address against those of its kind.
    let against = slots.iter().filter(|slot| match it.set.rtype {
        RecordType::CNAME => is_address(slot.rtype()),
        rtype => is_address(rtype) && slot.rtype() == rtype,
    });
    let claims = against.flat_map(Slot::offers).filter_map(|offer| match &offer.origin {
        Origin::Endpoint(claim) => Some((claim, &offer.set)),
        _ => None,
    });
    let claims: Vec<_> = claims.collect();
    if let Some((claim, set)) = claims.first() {
        // Of endpoints that contradict each other it need agree with one.
        let agrees = claims.iter().any(|(_, set)| set.records().eq(it.set.records()));
        let (endpoint, addresses) = (Arc::clone(&claim.endpoint), text(set));
        return (!agrees).then_some(DriftKind::WrongAddress { endpoint, addresses });
    }
    let endpoint_name = Arc::clone(it.creator.as_ref()?);
    if endpoints.unjudged.contains(&endpoint_name) {
        return None;
    }
    match endpoints.endpoints.get(&endpoint_name) {
        Some(state) => Some(DriftKind::StaleRecord { endpoint_name, state: state.clone() }),
        None if endpoints.extent == ListedExtent::Whole => Some(DriftKind::DeletedEndpoint { endpoint_name }),
        None => None,
    }
}

fn text(set: &RecordSet) -> String {
    let records: Vec<String> = set.records().map(|data| rdata::to_text(set.rtype, data)).collect();
    records.join(" ")
}

impl Drift {
    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match &self.kind {
            DriftKind::WrongAddress { .. } => {
                "the endpoint's addresses are served here; who asks Azure gets the zone's: correct or delete the record \
                 set, or let the endpoint's zone group keep it"
            }
            DriftKind::DeletedEndpoint { .. } => {
                "if the endpoint is gone, delete the record set; if it lies in a subscription that no source lists, \
                 list that too"
            }
            DriftKind::StaleRecord { .. } => {
                "delete the record set: its endpoint does not stand for the name"
            }
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Drift { name, rtype, zone, data, kind } = self;
        match kind {
            DriftKind::WrongAddress { endpoint, addresses } => write!(
                out,
                "{name} {rtype} {data} in {zone}: wrong address, private endpoint {endpoint} has {addresses}"
            ),
            DriftKind::DeletedEndpoint { endpoint_name } => write!(
                out,
                "{name} {rtype} {data} in {zone}: deleted endpoint, it was written for {endpoint_name}, which no \
                 source lists"
            ),
            DriftKind::StaleRecord { endpoint_name, state: Some(state) } => write!(
                out,
                "{name} {rtype} {data} in {zone}: stale record, private endpoint {endpoint_name} is {state}"
            ),
            DriftKind::StaleRecord { endpoint_name, state: None } => write!(
                out,
                "{name} {rtype} {data} in {zone}: stale record, private endpoint {endpoint_name} does not have the name"
            ),
        }
    }
}
