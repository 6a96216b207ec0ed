//! The catalogue of one cloud, indexed so that a name finds its lines without reading all of them.

use std::str::FromStr;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::data::{Data, Service, Status};
use super::geo::Region;
use super::mapping::Mapping;
use super::template::{Bindings, Template};
use crate::dns::{Name, NameRef};

/// Which public names lead into which private zones, in one cloud.
#[derive(Debug, Clone)]
pub struct Catalogue {
    cloud: Cloud,
    pub(super) data: Data,
    pub(super) mappings: Vec<IndexedMapping>,
    /// Mappings by the literal end of their public and of their private names.
    by_public: Index,
    by_private: Index,
    pub(super) zones: Vec<Zone>,
    by_zone: Index,
}

/// An Azure cloud with Private Link zones of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cloud {
    #[default]
    Public,
    UsGov,
    China,
}

/// A mapping and the lines of the catalogue that have it.
#[derive(Debug, Clone)]
pub(super) struct IndexedMapping {
    pub(super) mapping: Mapping,
    pub(super) services: SmallVec<[u32; 4]>,
    /// The best status of those lines.
    pub(super) status: Status,
    /// The number of labels behind the last placeholder of the public name.
    pub(super) literal_labels: usize,
}

/// A zone, or a family of zones, and the lines of the catalogue that name it.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    pub(super) template: Template,
    pub(super) services: SmallVec<[u32; 4]>,
    /// The best status of those lines.
    pub(super) status: Status,
}

/// Why a catalogue cannot be read, or does not know a word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    #[error("line {line}: {message}")]
    Syntax { line: usize, message: String },
    #[error("line {line}: `{key}`: {message}")]
    Value { line: usize, key: String, message: String },
    #[error("the catalogue knows no service, group id or zone `{selector}`{}", did_you_mean(nearest))]
    UnknownSelector { selector: String, nearest: Option<String> },
    #[error("the catalogue knows no region `{region}`{}", did_you_mean(nearest))]
    UnknownRegion { region: String, nearest: Option<String> },
    #[error("no such cloud: `{0}`; there are public, usgov and china")]
    UnknownCloud(String),
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|word| format!("; did you mean `{word}`?")).unwrap_or_default()
}

/// Numbers of mappings or zones by the literal end of a name.
#[derive(Debug, Clone, Default)]
struct Index(HashMap<Name, SmallVec<[u32; 4]>>);

impl Catalogue {
    /// What is compiled in.
    pub fn builtin(cloud: Cloud) -> Catalogue {
        Catalogue::of(cloud, Data::builtin().clone())
    }

    /// What is compiled in with an operator's file laid over it; errors name line and key.
    pub fn with_overlay(cloud: Cloud, text: &str) -> Result<Catalogue, CatalogueError> {
        Ok(Catalogue::of(cloud, Data::builtin().overlay(text)?))
    }

    fn of(cloud: Cloud, data: Data) -> Catalogue {
        let mut catalogue = Catalogue {
            cloud,
            data: Data::default(),
            mappings: Vec::new(),
            by_public: Index::default(),
            by_private: Index::default(),
            zones: Vec::new(),
            by_zone: Index::default(),
        };
        catalogue.add_services(data.services(cloud));
        catalogue.data = data;
        catalogue
    }

    fn add_services(&mut self, services: &[Service]) {
        let (mut known_mappings, mut known_zones) = (HashMap::new(), HashMap::new());
        for (at, service) in (0..).zip(services) {
            for mapping in &service.mappings {
                let number = *known_mappings.entry(mapping).or_insert_with(|| self.add_mapping(mapping));
                let indexed = &mut self.mappings[number as usize];
                indexed.services.push(at);
                indexed.status = indexed.status.min(service.status);
            }
            if let Some(template) = service.zone.as_ref().filter(|_| service.has_zone()) {
                let number = *known_zones.entry(template).or_insert_with(|| self.add_zone(template));
                let zone = &mut self.zones[number as usize];
                zone.services.push(at);
                zone.status = zone.status.min(service.status);
            }
        }
    }

    fn add_mapping(&mut self, mapping: &Mapping) -> u32 {
        let number = self.mappings.len() as u32;
        let public = mapping.public.literal_suffix();
        self.mappings.push(IndexedMapping {
            mapping: mapping.clone(),
            services: SmallVec::new(),
            status: Status::Unknown,
            literal_labels: public.borrow().label_count(),
        });
        self.by_public.insert(public, number);
        self.by_private.insert(mapping.private.literal_suffix(), number);
        number
    }

    fn add_zone(&mut self, template: &Template) -> u32 {
        let number = self.zones.len() as u32;
        let zone = Zone { template: template.clone(), services: SmallVec::new(), status: Status::Unknown };
        self.zones.push(zone);
        self.by_zone.insert(template.literal_suffix(), number);
        number
    }

    /// The cloud this is the catalogue of.
    pub fn cloud(&self) -> Cloud {
        self.cloud
    }

    /// All lines, an overlay's first.
    pub fn services(&self) -> &[Service] {
        self.data.services(self.cloud)
    }

    /// All regions of all clouds, by name.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.data.regions.iter()
    }

    /// The geo code of a region, given its name or display name.
    pub fn geo_code(&self, region: &str) -> Option<&str> {
        self.data.regions.find(region).map(|region| region.geo_code.as_str())
    }

    /// The lines that name the zone `apex`, the best first; `None` when it is no private-link zone.
    pub fn is_private_link_zone(&self, apex: NameRef<'_>) -> Option<Vec<&Service>> {
        let mut services: Vec<_> = self
            .zones_above(apex)
            .filter(|(_, front)| front.is_empty())
            .flat_map(|(zone, _)| zone.services.iter().map(|at| &self.services()[*at as usize]))
            .collect();
        services.sort_by_key(|service| service.status);
        (!services.is_empty()).then_some(services)
    }

    /// The zones that a name is or lies in, with the labels in front of their apex.
    pub(super) fn zones_above<'a>(&'a self, name: NameRef<'a>) -> impl Iterator<Item = (&'a Zone, &'a [u8])> {
        self.by_zone.find(name).filter_map(move |number| {
            let zone = &self.zones[number as usize];
            let front = zone.template.match_suffix(name, &mut Bindings::default())?;
            Some((zone, front))
        })
    }

    /// The mappings whose public names end like `name`.
    pub(super) fn mappings_of_public(&self, name: NameRef<'_>) -> impl Iterator<Item = &IndexedMapping> {
        self.by_public.find(name).map(|number| &self.mappings[number as usize])
    }

    /// The mappings whose private names end like `name`.
    pub(super) fn mappings_of_private(&self, name: NameRef<'_>) -> impl Iterator<Item = &IndexedMapping> {
        self.by_private.find(name).map(|number| &self.mappings[number as usize])
    }
}

impl Index {
    fn insert(&mut self, suffix: Name, number: u32) {
        self.0.entry(suffix).or_default().push(number);
    }

    fn find(&self, name: NameRef<'_>) -> impl Iterator<Item = u32> {
        name.ancestors().filter_map(|ancestor| self.0.get(ancestor.as_wire())).flatten().copied()
    }
}

impl Cloud {
    /// All of them.
    pub const ALL: [Cloud; 3] = [Cloud::Public, Cloud::UsGov, Cloud::China];

    /// Its word in config.
    pub fn as_str(self) -> &'static str {
        match self {
            Cloud::Public => "public",
            Cloud::UsGov => "usgov",
            Cloud::China => "china",
        }
    }
}

impl FromStr for Cloud {
    type Err = CatalogueError;

    fn from_str(text: &str) -> Result<Cloud, CatalogueError> {
        Cloud::ALL
            .into_iter()
            .find(|cloud| cloud.as_str() == text)
            .ok_or_else(|| CatalogueError::UnknownCloud(text.to_owned()))
    }
}

impl std::fmt::Display for Cloud {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}
