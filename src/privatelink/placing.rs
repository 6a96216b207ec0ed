//! From a name to its zone and record, and from a private name back to its public ones.

use std::cmp::Reverse;

use smallvec::SmallVec;

use super::catalogue::{Catalogue, IndexedMapping, Zone};
use super::data::{Service, Status};
use crate::dns::{Name, NameRef};

/// The private names tried for one public name; more than any suffix of the catalogue has (a test holds it).
const PRIVATE_NAMES_MAX: usize = 8;
/// The public names found for one private name; more than any zone of the catalogue has (a test holds it).
const PUBLIC_NAMES_MAX: usize = 8;

/// What is known of the endpoint that a name comes from; compared without case.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hint<'a> {
    /// `Microsoft.KeyVault/vaults`.
    pub resource_type: Option<&'a str>,
    /// `vault`.
    pub group_id: Option<&'a str>,
    /// All names of the endpoint: Azure ML's inference names need the workspace's id, which stands in another name.
    pub beside: &'a [Name],
}

/// Where a name is served.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The apex of the private zone.
    pub zone: Name,
    /// The full private name.
    pub record: Name,
}

/// How well a line fits a hint; the lower the better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    TypeAndGroup,
    Type,
    Suffix,
}

impl Catalogue {
    /// The zone and record of a name that an endpoint's network interface lists; `None` when the catalogue does not know its zone.
    pub fn place(&self, fqdn: NameRef<'_>, hint: Hint<'_>) -> Option<Place> {
        if let Some(zone) = self.private_zone_of(fqdn) {
            let apex = fqdn.trim_to(zone.template.label_count())?;
            return Some(Place { zone: apex.to_name(), record: fqdn.to_name() });
        }
        if self.is_marked(fqdn) || self.is_zoneless(hint) {
            return None;
        }
        self.candidates(fqdn, hint).into_iter().next()
    }

    /// All private names that a public name may have, the likeliest first; none for private names.
    pub fn private_names(&self, public: NameRef<'_>) -> SmallVec<[Place; 2]> {
        if self.is_marked(public) || self.private_zone_of(public).is_some() {
            return SmallVec::new();
        }
        self.candidates(public, Hint::default())
    }

    /// The public names of a private name, the one to use first.
    pub fn public_names(&self, private: NameRef<'_>) -> Vec<Name> {
        let mut found: Vec<(Status, Name)> = Vec::new();
        for indexed in self.mappings_of_private(private) {
            if let Some(name) = indexed.mapping.outward(private)
                && !self.is_marked(name.borrow())
                && !found.iter().any(|(_, known)| *known == name)
            {
                found.push((indexed.status, name));
            }
        }
        // Names of older zones only where no current line knows the private name.
        let best = found.iter().map(|(status, _)| *status).min();
        let best = found.into_iter().filter(|(status, _)| Some(*status) == best);
        best.map(|(_, name)| name).take(PUBLIC_NAMES_MAX).collect()
    }

    /// The zone that encloses a name already in private form: the best in status, then the longest, then the most literal.
    pub(super) fn private_zone_of<'a>(&'a self, name: NameRef<'a>) -> Option<&'a Zone> {
        self.zones_above(name).filter(|(_, front)| !front.is_empty()).map(|(zone, _)| zone).min_by_key(
            |zone| {
                let literal = zone.template.literal_suffix().borrow().label_count();
                (zone.status, Reverse(zone.template.label_count()), Reverse(literal))
            },
        )
    }

    fn candidates(&self, public: NameRef<'_>, hint: Hint<'_>) -> SmallVec<[Place; 2]> {
        let mut found: SmallVec<[_; 8]> = SmallVec::new();
        for indexed in self.mappings_of_public(public) {
            if let Some((zone, record)) = indexed.mapping.inward(public, hint.beside) {
                found.push((self.rank(indexed, hint), Place { zone, record }));
            }
        }
        found.sort_by(|(left, _), (right, _)| left.cmp(right));
        let mut places: SmallVec<[Place; 2]> = SmallVec::new();
        for (_, place) in found {
            if places.len() < PRIVATE_NAMES_MAX && places.iter().all(|known| known.record != place.record) {
                places.push(place);
            }
        }
        places
    }

    /// What decides between two mappings of one name; the lower the better.
    ///
    /// A public name's CNAME is the same whoever asks, so a longer literal suffix beats the hint (`ts.eventgrid` under a
    /// `topic`); the hint beats a placeholder, which may take a label that is not meant for it (SQL databases and instances).
    fn rank(&self, indexed: &IndexedMapping, hint: Hint<'_>) -> impl Ord + use<> {
        let services = indexed.services.iter().map(|at| &self.services()[*at as usize]);
        let (status, fit) = services
            .map(|service| (service.status, hint.fit(service)))
            .min()
            .unwrap_or((indexed.status, Fit::Suffix));
        let length = indexed.mapping.public.label_count();
        (status, Reverse(indexed.literal_labels), fit, Reverse(length), indexed.mapping.likeness)
    }

    /// Whether a label marks this name as a private one, so that it is nobody's public name.
    // Whole labels only: a vault may well be called privatelink-test.
    fn is_marked(&self, name: NameRef<'_>) -> bool {
        name.labels().any(|label| matches!(label, b"privatelink" | b"privatelink-global"))
    }

    /// Whether Microsoft has no zone for this type of resource, so that a suffix that fits is another service's.
    fn is_zoneless(&self, hint: Hint<'_>) -> bool {
        let Some(resource_type) = hint.resource_type else { return false };
        let mut lines = self
            .services()
            .iter()
            .filter(|service| service.resource_type.eq_ignore_ascii_case(resource_type))
            .peekable();
        lines.peek().is_some() && lines.all(|service| !service.has_zone())
    }
}

impl Hint<'_> {
    fn fit(self, service: &Service) -> Fit {
        let type_fits = self.resource_type.is_none_or(|it| service.resource_type.eq_ignore_ascii_case(it));
        let group_fits = self.group_id.is_none_or(|it| service.has_group(it));
        match (type_fits, group_fits) {
            (true, true) => Fit::TypeAndGroup,
            (true, false) if self.resource_type.is_some() => Fit::Type,
            _ => Fit::Suffix,
        }
    }
}
