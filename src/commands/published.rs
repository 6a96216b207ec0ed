//! The names that private endpoints publish, as a view is served them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::Config;
use crate::daemon::Parts;
use crate::dns::{Name, RecordType};
use crate::sync;
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
        let listed = listed_names(parts);
        let zones = snapshot.zones().map(|(_, zone)| zone);
        let zones =
            zones.filter(|zone| zone.header().kind == ZoneKind::PrivateLink && zone.is_served_to(view));
        let mut all = Vec::new();
        for zone in zones {
            for (name, node) in zone.nodes() {
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
fn listed_names(parts: &Parts) -> BTreeMap<&Name, BTreeSet<Name>> {
    let mut names: BTreeMap<&Name, BTreeSet<Name>> = BTreeMap::new();
    for source in parts.sources.list() {
        for publication in &source.desired.publications {
            names.entry(&publication.name).or_default().extend(publication.public_names.iter().cloned());
        }
    }
    names
}

/// Names that the same endpoints claim with different addresses.
pub(super) struct Contest {
    pub names: BTreeSet<Name>,
    /// ARM ids.
    pub endpoints: BTreeSet<Arc<str>>,
}

/// All conflicts, those of the same endpoints together.
pub(super) fn contests(snapshot: &Snapshot) -> Vec<Contest> {
    let mut contests: Vec<Contest> = Vec::new();
    for conflict in sync::conflicts(snapshot) {
        let endpoints = conflict.claims.iter().map(|(claim, _)| Arc::clone(&claim.endpoint)).collect();
        match contests.iter_mut().find(|contest| contest.endpoints == endpoints) {
            Some(contest) => {
                contest.names.insert(conflict.name);
            }
            None => contests.push(Contest { names: BTreeSet::from([conflict.name]), endpoints }),
        }
    }
    contests
}

impl Contest {
    /// The endpoints' own names.
    pub(super) fn endpoint_names(&self) -> String {
        let names = self.endpoints.iter().map(|id| id.rsplit('/').next().unwrap_or(id));
        names.collect::<Vec<_>>().join(" and ")
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
