//! The names that private endpoints publish, as a view is served them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::summary::{count, last_segment, zones};
use crate::config::Config;
use crate::daemon::{AzureSource, Known, Parts};
use crate::dns::{Name, RecordType};
use crate::sync::{self, desired::Publication};
use crate::telemetry::Age;
use crate::zone::{Outcome, Snapshot, ViewId, ZoneKind};

/// A private name with its addresses, and the names that people and programs use for it.
pub(super) struct Published {
    pub zone: Name,
    pub private: Name,
    /// Those that Azure lists, else those that the catalogue knows.
    pub public: Vec<Name>,
    /// Azure lists no public name, as for Azure Backup: programs use the private one.
    pub is_used_as_it_is: bool,
    pub addresses: Vec<IpAddr>,
}

impl Published {
    /// All of a view, in the order of private names.
    pub(super) fn all(config: &Config, parts: &Parts, view: ViewId) -> Vec<Published> {
        let snapshot = parts.store.snapshot();
        let known = parts.sources.azure().known();
        let listed = listed_names(publications(parts, &known));
        let zones = snapshot.zones().map(|(_, zone)| zone);
        let zones =
            zones.filter(|zone| zone.header().kind == ZoneKind::PrivateLink && zone.is_served_to(view));
        let mut all = Vec::new();
        for zone in zones {
            for (owner, node) in zone.nodes() {
                let name = &owner.to_name();
                let addresses = addresses(&snapshot, name, view);
                if addresses.is_empty() || node.slots().is_empty() {
                    continue;
                }
                let known = || config.private_link.catalogue.public_names(name.borrow());
                let of_azure = listed.get(name).filter(|names| !names.is_empty());
                let public = of_azure.map_or_else(known, |names| names.iter().cloned().collect());
                let is_used_as_it_is = public.is_empty() || listed.get(name).is_some_and(BTreeSet::is_empty);
                let (zone, private) = (zone.apex().clone(), name.clone());
                all.push(Published { zone, private, public, is_used_as_it_is, addresses });
            }
        }
        all.sort_by(|one, other| one.private.cmp(&other.private));
        all
    }

    /// What programs ask for.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        let own = self.is_used_as_it_is.then_some(&self.private);
        own.into_iter().chain(&self.public)
    }
}

/// What sources of every kind want published.
pub(super) fn publications<'p>(
    parts: &'p Parts,
    azure: &'p [Arc<Known>],
) -> impl Iterator<Item = &'p Publication> {
    let directories = parts.sources.list().iter().flat_map(|source| &source.desired.publications);
    directories.chain(azure.iter().flat_map(|known| &known.desired.publications))
}

/// How old what is known of live Azure is, where it is not asked now.
pub(super) fn as_of(source: &AzureSource) -> Option<String> {
    let (name, known) = (&source.settings.name, source.known());
    if known.asked {
        return None;
    }
    let names = zones(&known.desired).unwrap_or_else(|| count(known.desired.publications.len(), "name"));
    Some(match known.read_at {
        Some(at) => format!("{name}: {names} as Azure was listed {} ago", Age::of(at)),
        None => format!("{name}: Azure was not listed yet, and nothing is kept from before"),
    })
}

/// The addresses that a view is served for a private name itself.
fn addresses(snapshot: &Snapshot, private: &Name, view: ViewId) -> Vec<IpAddr> {
    let Some(zone) = snapshot.zone_for(private.borrow(), view) else { return Vec::new() };
    let types = [RecordType::A, RecordType::AAAA].into_iter();
    let hits = types.filter_map(|rtype| match zone.lookup(private.borrow(), rtype, view) {
        Outcome::Hit(offer) => Some(offer.set.records().filter_map(sync::address).collect::<Vec<_>>()),
        _ => None,
    });
    hits.flatten().collect()
}

/// The public names that Azure lists, by private name; none for those that it lists in private form.
fn listed_names<'p>(
    publications: impl Iterator<Item = &'p Publication>,
) -> BTreeMap<&'p Name, BTreeSet<Name>> {
    let mut names: BTreeMap<&Name, BTreeSet<Name>> = BTreeMap::new();
    for publication in publications {
        names.entry(&publication.name).or_default().extend(publication.public_names.iter().cloned());
    }
    names
}

/// Names that the same endpoints claim with different addresses.
pub(super) struct Contest {
    pub names: BTreeSet<Name>,
    /// Their ARM ids, and the subscriptions that they are of.
    pub endpoints: BTreeMap<Arc<str>, Arc<str>>,
}

/// All conflicts, those of the same endpoints together.
pub(super) fn contests(snapshot: &Snapshot) -> Vec<Contest> {
    let mut contests: Vec<Contest> = Vec::new();
    // Two sources with the same endpoints have tens of thousands of them.
    let mut places: BTreeMap<BTreeMap<Arc<str>, Arc<str>>, usize> = BTreeMap::new();
    for conflict in sync::conflicts(snapshot) {
        let claims = conflict.claims.iter();
        let endpoints: BTreeMap<_, _> =
            claims.map(|(claim, _)| (Arc::clone(&claim.endpoint), Arc::clone(&claim.subscription))).collect();
        let place = *places.entry(endpoints).or_insert_with_key(|endpoints| {
            contests.push(Contest { names: BTreeSet::new(), endpoints: endpoints.clone() });
            contests.len() - 1
        });
        contests[place].names.insert(conflict.name);
    }
    contests
}

impl Contest {
    /// The endpoints' own names, or their ids where two have the same.
    pub(super) fn endpoint_names(&self) -> String {
        let names: Vec<&str> = self.endpoints.keys().map(|id| last_segment(id)).collect();
        if names.iter().collect::<BTreeSet<_>>().len() == names.len() {
            return names.join(" and ");
        }
        self.endpoints.keys().map(|id| &**id).collect::<Vec<_>>().join(" and ")
    }
}

impl fmt::Display for Contest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.names.first() else { return Ok(()) };
        write!(out, "{first}")?;
        match self.names.len() {
            1 => {}
            2 => write!(out, " and 1 more name")?,
            all => write!(out, " and {} more names", all - 1)?,
        }
        write!(out, ": {}", self.endpoint_names())
    }
}
