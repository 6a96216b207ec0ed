//! An endpoint's records: each of its names placed in a zone, with the addresses of whoever knows them best.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::inventory::{ConnectionState, Endpoint, EndpointName, Warning};
use super::publication::{Publication, Unplaced, Withheld};
use crate::dns::{Name, NameRef};
use crate::privatelink::{Catalogue, Hint, Placement, carried_zone};
use crate::zone::Claim;

/// What helps to place a name: the group that its address is of or, when that is not told, the endpoint's only one.
pub(super) fn hint<'a>(endpoint: &'a Endpoint, name: &'a EndpointName, beside: &'a [Name]) -> Hint<'a> {
    let only = match endpoint.group_ids.as_slice() {
        [only] => Some(&**only),
        _ => None,
    };
    Hint {
        resource_type: endpoint.resource_type.as_deref(),
        group_id: name.group_id.as_deref().or(only),
        beside,
    }
}

/// An endpoint's records.
#[derive(Default)]
pub(super) struct Records {
    by_name: BTreeMap<Name, Record>,
    grouped: Grouped,
    pub unplaced: Vec<Unplaced>,
    pub warnings: Vec<Warning>,
}

/// Whether an endpoint has a zone group that says anything; most have none, and then it need not be looked for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Grouped {
    #[default]
    No,
    Yes,
}

struct Record {
    zone: Name,
    addresses: Vec<IpAddr>,
    public_names: Vec<Name>,
    author: Author,
}

/// Who gave a record its addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Author {
    ZoneGroup,
    Endpoint,
}

impl Records {
    pub(super) fn of(endpoint: &Endpoint, catalogue: &Catalogue) -> Records {
        let mut records = Records::default();
        let (grouped, listed): (Vec<_>, Vec<_>) = endpoint.names.iter().partition(|name| name.zone.is_some());
        for name in grouped {
            let Some(zone) = &name.zone else { continue };
            let zone = zone_of_group(zone, &name.fqdn, catalogue);
            match is_for_others(name.fqdn.borrow(), zone.borrow(), catalogue, hint(endpoint, name, &[])) {
                false => records.add(zone, name.fqdn.clone(), name, Author::ZoneGroup),
                true => records.unplaced(endpoint, name),
            }
        }
        let beside: Vec<Name> = endpoint.names.iter().map(|name| name.fqdn.clone()).collect();
        for name in listed {
            let hint = hint(endpoint, name, &beside);
            let place = catalogue.place(name.fqdn.borrow(), hint);
            let place = place.or_else(|| Placement::carried(name.fqdn.borrow()));
            let place =
                place.filter(|it| !is_for_others(it.record.borrow(), it.zone.borrow(), catalogue, hint));
            records.place(endpoint, name, place);
        }
        records
    }

    /// Adds a name that the endpoint or its interface lists, unless the zone group has said it already.
    fn place(&mut self, endpoint: &Endpoint, name: &EndpointName, place: Option<Placement>) {
        let Some(Placement { zone, record: private }) = place else {
            if !self.group_has(name, None) {
                self.unplaced(endpoint, name);
            }
            return;
        };
        let (zone, private) = (zone.to_name(), private.to_name());
        let grouped = self.by_name.get_mut(&private).filter(|record| record.author == Author::ZoneGroup);
        if let Some(record) = grouped {
            if !same_addresses(&record.addresses, &name.addresses) {
                let endpoint = Arc::clone(&endpoint.id);
                self.warnings.push(Warning::GroupDiffers { endpoint, name: private.clone() });
            }
            record.add_public_name(&name.fqdn, &private);
        } else if !self.group_has(name, Some(&zone)) {
            // Azure ML's interface lists names that its zone group folds into others of the same address.
            self.add(zone, private, name, Author::Endpoint);
        }
    }

    /// An approved endpoint's name that has no place.
    fn unplaced(&mut self, endpoint: &Endpoint, name: &EndpointName) {
        if endpoint.state == ConnectionState::Approved {
            self.unplaced.push(Unplaced {
                fqdn: name.fqdn.clone(),
                endpoint: Arc::clone(&endpoint.id),
                resource: endpoint.resource.clone(),
                group_id: hint(endpoint, name, &[]).group_id.map(Arc::from),
            });
        }
    }

    fn add(&mut self, zone: Name, private: Name, name: &EndpointName, author: Author) {
        let record = self.by_name.entry(private.clone()).or_insert_with(|| Record {
            zone,
            addresses: Vec::new(),
            public_names: Vec::new(),
            author,
        });
        if author == Author::ZoneGroup {
            self.grouped = Grouped::Yes;
        }
        record.addresses.extend(name.addresses.iter().copied());
        record.addresses.sort_unstable();
        record.addresses.dedup();
        record.add_public_name(&name.fqdn, &private);
    }

    /// Whether the zone group has records for all addresses of a name, in `zone` if it is given.
    fn group_has(&self, name: &EndpointName, zone: Option<&Name>) -> bool {
        if self.grouped == Grouped::No {
            return name.addresses.is_empty();
        }
        let grouped = || self.by_name.values().filter(|record| record.author == Author::ZoneGroup);
        name.addresses.iter().all(|address| {
            grouped().any(|record| {
                record.addresses.contains(address) && zone.is_none_or(|zone| record.zone == *zone)
            })
        })
    }

    pub(super) fn publications(self, claim: &Arc<Claim>) -> impl Iterator<Item = Publication> {
        self.by_name.into_iter().map(|(name, record)| {
            let (ipv4, ipv6) =
                record.addresses.iter().fold((Vec::new(), Vec::new()), |mut split, address| {
                    match address {
                        IpAddr::V4(address) => split.0.push(*address),
                        IpAddr::V6(address) => split.1.push(*address),
                    }
                    split
                });
            let (zone, public_names, claim) = (record.zone, record.public_names, Arc::clone(claim));
            Publication { zone, name, ipv4, ipv6, public_names, claim }
        })
    }

    pub(super) fn withheld(self, endpoint: &Endpoint) -> impl Iterator<Item = Withheld> {
        self.by_name.into_iter().map(|(name, record)| Withheld {
            zone: record.zone,
            name,
            public_names: record.public_names,
            endpoint: Arc::clone(&endpoint.id),
            endpoint_name: Arc::clone(&endpoint.name),
            state: endpoint.state.clone(),
        })
    }
}

impl Record {
    fn add_public_name(&mut self, fqdn: &Name, private: &Name) {
        if fqdn != private && !self.public_names.contains(fqdn) {
            self.public_names.push(fqdn.clone());
        }
    }
}

/// The zone of a zone group's record.
///
/// It is the one that the group names, if the catalogue knows it. Else it begins with the label `privatelink`, or is the
/// catalogue's: a zone below these would outrank them, so that one endpoint could take a name from all that claim it.
/// The name is the same in either.
fn zone_of_group(zone: &Name, name: &Name, catalogue: &Catalogue) -> Name {
    let own = carried_zone(zone.borrow());
    let (Some(own), None) = (own, catalogue.is_private_link_zone(zone.borrow())) else {
        return zone.clone();
    };
    let known = catalogue.place(name.borrow(), Hint::default());
    known.map_or_else(|| own.to_name(), |known| known.zone.to_name())
}

/// Whether a name is a wildcard where the names of others lie, of other tenants too: below an apex, or below what a service
/// has there for all. The catalogue knows the services whose own it is.
fn is_for_others(name: NameRef<'_>, zone: NameRef<'_>, catalogue: &Catalogue, hint: Hint<'_>) -> bool {
    let is_shared = |parent| parent == zone || catalogue.is_shared(parent);
    name.is_wildcard() && name.parent().is_some_and(is_shared) && !catalogue.names_wildcard(name, hint)
}

fn same_addresses(mine: &[IpAddr], theirs: &[IpAddr]) -> bool {
    mine.len() == theirs.len() && mine.iter().all(|address| theirs.contains(address))
}
