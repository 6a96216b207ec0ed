//! From a name to its zone and record, and from a private name back to its public ones.

use std::cmp::Reverse;

use smallvec::SmallVec;

use super::catalogue::{Catalogue, IndexedMapping, Zone};
use super::data::Service;
use super::mapping::Mapping;
use crate::dns::{Name, NameBuf, NameRef};

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

/// Where a name is served; on the stack, for a query asks for it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The apex of the private zone.
    pub zone: NameBuf,
    /// The full private name.
    pub record: NameBuf,
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
    pub fn place(&self, fqdn: NameRef<'_>, hint: Hint<'_>) -> Option<Placement> {
        if let Some(zone) = self.private_zone_of(fqdn) {
            let apex = fqdn.trim_to(zone.template.label_count())?;
            return Some(Placement { zone: apex.to_buf(), record: fqdn.to_buf() });
        }
        if self.is_marked(fqdn) || self.is_zoneless(hint) {
            return None;
        }
        self.candidates(fqdn, hint).into_iter().next()
    }

    /// All private names that a public name may have, the likeliest first; none for private names.
    pub fn private_names(&self, public: NameRef<'_>) -> SmallVec<[Placement; 2]> {
        if self.is_marked(public) || self.private_zone_of(public).is_some() {
            return SmallVec::new();
        }
        self.candidates(public, Hint::default())
    }

    /// The public names of a private name, the one to use first.
    pub fn public_names(&self, private: NameRef<'_>) -> Vec<Name> {
        let mut found: Vec<(_, Name)> = Vec::new();
        for indexed in self.mappings_of_private(private) {
            if let Some(name) = indexed.mapping.outward(private)
                && !self.is_marked(name.borrow())
            {
                found.push(((indexed.status, !indexed.mapping.is_exclusive()), name));
            }
        }
        // Names of older zones only where no current line knows the private name.
        let best = found.iter().map(|(rank, _)| *rank).min();
        found.retain(|(rank, _)| Some(*rank) == best);
        let mut names: Vec<Name> = Vec::new();
        for (_, name) in found {
            if names.len() < PUBLIC_NAMES_MAX && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Whether public DNS has aliases that lead to the names of the zone around `private`. Without them, as for Azure
    /// Backup, programs use the private names as they are. Of a zone it does not know the catalogue expects aliases.
    pub fn has_public_counterpart(&self, private: NameRef<'_>) -> bool {
        let Some(zone) = self.private_zone_of(private) else { return true };
        let mut services = zone.services.iter().map(|at| &self.services()[*at as usize]);
        services.any(|service| service.mappings.iter().any(Mapping::leads_outward))
    }

    /// Whether the catalogue has a wildcard by its whole name for this type of resource: one that stands for the service's
    /// own names, which are the same for every endpoint, as Defender for Cloud's does.
    pub fn names_wildcard(&self, wildcard: NameRef<'_>, hint: Hint<'_>) -> bool {
        let is_type = |at: &u32| {
            let service = &self.services()[*at as usize];
            hint.resource_type.is_some_and(|it| service.resource_type.eq_ignore_ascii_case(it))
        };
        let mut mappings = self.mappings_of_private(wildcard);
        mappings.any(|indexed| indexed.mapping.is_of(wildcard) && indexed.services.iter().any(is_type))
    }

    /// Whether names of different resources lie directly below a private name: an apex, or what a service has below it, such
    /// as `scm.privatelink.azurewebsites.net`.
    pub fn is_shared(&self, private: NameRef<'_>) -> bool {
        self.mappings_of_private(private).any(|indexed| indexed.mapping.is_shared(private))
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

    fn candidates(&self, public: NameRef<'_>, hint: Hint<'_>) -> SmallVec<[Placement; 2]> {
        let mut found: SmallVec<[_; 8]> = SmallVec::new();
        for indexed in self.mappings_of_public(public) {
            if let Some((zone, record)) = indexed.mapping.inward(public, hint.beside) {
                found.push((self.rank(indexed, hint), Placement { zone, record }));
            }
        }
        found.sort_by(|(left, _), (right, _)| left.cmp(right));
        let mut places: SmallVec<[Placement; 2]> = SmallVec::new();
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
        name.labels().any(is_marker)
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

/// Whether a label marks private names and zones.
pub(super) fn is_marker(label: &[u8]) -> bool {
    matches!(label, b"privatelink" | b"privatelink-global")
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

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::privatelink::Status;
    use crate::privatelink::{Cloud, Suffixes, Template};

    /// Those of all clouds, and of one that is derived.
    static CATALOGUES: LazyLock<Vec<Catalogue>> = LazyLock::new(|| {
        let derived = Catalogue::builtin(Cloud::Custom).derive(&Suffixes::new("sovcloud-api.fr").unwrap());
        Cloud::ALL.map(Catalogue::builtin).into_iter().chain([derived]).collect()
    });

    /// A name of the template: `labels` in front, its placeholders filled from `numbers`.
    fn sample(template: &Template, labels: &[String], numbers: [u32; 3]) -> Name {
        let mut text = template.to_string();
        for (placeholder, number) in template.placeholders().collect::<Vec<_>>().iter().zip(numbers) {
            let value = match *placeholder {
                "partitionId" => number.to_string(),
                "00-99" => format!("{:02}", number % 100),
                _ => format!("p{number}q"),
            };
            text = text.replace(&format!("{{{placeholder}}}"), &value);
        }
        [labels.join("."), text].join(".").trim_start_matches('.').parse().unwrap()
    }

    proptest! {
        // Each case goes through all lines of all clouds.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_private_name_comes_back_from_each_of_its_public_names(
            labels in proptest::collection::vec("[a-z]{2}[a-z0-9-]{0,10}[a-z]", 1..3),
            numbers in any::<[u16; 3]>(),
        ) {
            let numbers = numbers.map(u32::from);
            for catalogue in &*CATALOGUES {
                for indexed in &catalogue.mappings {
                    let mapping = &indexed.mapping;
                    let labels = if mapping.is_whole() { &[][..] } else { &labels[..] };
                    let private = sample(&mapping.private, labels, numbers);
                    let Some(public) = mapping.outward(private.borrow()) else { continue };
                    let publics = catalogue.public_names(private.borrow());
                    // Only a better mapping of the same private name may take a public name's place.
                    prop_assert!(!publics.is_empty(), "{private}");
                    prop_assert!(
                        publics.contains(&public) || indexed.status > Status::Current || !mapping.is_exclusive(),
                        "{private} {public} {publics:?}"
                    );
                    for public in publics {
                        if mapping.needs_beside() {
                            continue;
                        }
                        let found = catalogue.private_names(public.borrow());
                        prop_assert!(found.iter().any(|place| place.record.borrow() == private.borrow()), "{private} {public} {found:?}");
                    }
                }
            }
        }

        #[test]
        fn the_endpoint_of_a_current_line_gets_its_own_zone_back(
            label in "[a-z]{2}[a-z0-9-]{0,10}[a-z]",
            numbers in any::<[u16; 3]>(),
        ) {
            for catalogue in &*CATALOGUES {
                for service in catalogue.services().iter().filter(|service| service.status == Status::Current) {
                    for mapping in service.mappings.iter().filter(|mapping| !mapping.needs_beside()) {
                        let labels = if mapping.is_whole() { vec![] } else { vec![label.clone()] };
                        let public = sample(&mapping.public, &labels, numbers.map(u32::from));
                        // Of two records of one public name the first is the endpoint's.
                        let mut ways = service.mappings.iter().filter_map(|it| it.inward(public.borrow(), &[]));
                        let (zone, record) = ways.next().unwrap();
                        let hint = Hint {
                            resource_type: Some(&service.resource_type),
                            group_id: service.group_ids.first().map(String::as_str),
                            beside: &[],
                        };
                        let place = catalogue.place(public.borrow(), hint).unwrap();
                        prop_assert_eq!(&place, &Placement { zone, record });
                        // What is placed stays where it is.
                        let again = catalogue.place(place.record.borrow(), hint).unwrap();
                        prop_assert_eq!(&again.record, &place.record);
                        prop_assert!(place.record.borrow().is_within(place.zone.borrow()) && place.record != place.zone);
                    }
                }
            }
        }

        #[test]
        fn no_name_makes_the_catalogue_panic(
            labels in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..=63), 0..4),
            suffix in 0..600_usize,
        ) {
            for catalogue in &*CATALOGUES {
                let mapping = &catalogue.mappings[suffix % catalogue.mappings.len()].mapping;
                for template in [&mapping.public, &mapping.private, &mapping.zone] {
                    let end = template.literal_suffix();
                    let mut wire = Vec::new();
                    for label in &labels {
                        wire.push(label.len() as u8);
                        wire.extend(label.iter().map(u8::to_ascii_lowercase));
                    }
                    let Ok(name) = NameBuf::join(&wire, end.borrow()) else { continue };
                    let name = name.borrow();
                    let first = catalogue.private_names(name).first().cloned();
                    if catalogue.private_zone_of(name).is_none() {
                        prop_assert_eq!(catalogue.place(name, Hint::default()), first);
                    }
                    catalogue.public_names(name);
                    catalogue.is_private_link_zone(name);
                }
            }
        }
    }

    #[test]
    fn the_bounds_hold_all_that_the_catalogue_has() {
        for catalogue in &*CATALOGUES {
            for indexed in &catalogue.mappings {
                let labels = ["aa".to_owned(), "bb".to_owned(), "cc".to_owned()];
                let public = sample(&indexed.mapping.public, &labels, [1; 3]);
                assert!(catalogue.private_names(public.borrow()).len() < PRIVATE_NAMES_MAX, "{public}");
                let private = sample(&indexed.mapping.private, &labels, [1; 3]);
                assert!(catalogue.public_names(private.borrow()).len() < PUBLIC_NAMES_MAX, "{private}");
            }
        }
    }
}
