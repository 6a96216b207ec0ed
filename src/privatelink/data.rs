//! The catalogue's file, `config/privatelink.toml`, and an operator's overlay of it.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::LazyLock;

use serde::Deserialize;
use toml::Spanned;

use super::cloud::Cloud;
use super::error::CatalogueError;
use super::geo::{RegionRow, Regions};
use super::mapping::Mapping;
use super::row::{Row, Status};
use super::suffixes::Suffixes;
use super::template::Template;

const BUILTIN: &str = include_str!("../../config/privatelink.toml");

static BUILTIN_DATA: LazyLock<Data> =
    LazyLock::new(|| Data::default().overlay(BUILTIN).expect("a test reads the file that is compiled in"));

/// What the catalogue says of one (service, group ids, zone).
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name in Microsoft's documents: `Azure Key Vault`.
    pub name: String,
    /// `Microsoft.KeyVault/vaults`.
    pub resource_type: String,
    /// Group ids of its endpoints; may have a placeholder: `sites-{slotName}`.
    pub group_ids: Vec<String>,
    /// Its private zone; none where Microsoft has none.
    pub zone: Option<Template>,
    /// The public suffixes below which its names lie.
    pub public_suffixes: Vec<Template>,
    pub status: Status,
    /// Where this was read.
    pub sources: Vec<String>,
    /// What an operator should know of it.
    pub note: String,
    /// How its names are mapped.
    pub(super) mappings: Vec<Mapping>,
}

/// A catalogue's file, read and checked.
#[derive(Debug, Clone, Default)]
pub(super) struct Data {
    services: BTreeMap<Cloud, Vec<Service>>,
    pub(super) regions: Regions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    public: Vec<Block>,
    #[serde(default)]
    usgov: Vec<Block>,
    #[serde(default)]
    china: Vec<Block>,
    #[serde(default)]
    custom: Vec<Block>,
    #[serde(default)]
    regions: BTreeMap<String, RegionRow>,
}

/// A service in one cloud, as the file and `[[private_link.service]]` have it.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    service: String,
    #[serde(rename = "type")]
    resource_type: String,
    zones: Vec<Spanned<Row>>,
}

/// What is wrong with one row of services that are laid over others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("service {service}, zone {zone}: `{key}`: {message}")]
pub struct RowError {
    /// The service's number, from 0.
    pub service: usize,
    /// The number of the service's zone, from 0.
    pub zone: usize,
    pub key: &'static str,
    pub message: String,
}

impl Block {
    /// Where its rows begin in the text.
    fn starts(&self) -> Vec<usize> {
        self.zones.iter().map(|row| row.span().start).collect()
    }
}

impl Data {
    /// The data compiled in, read once.
    pub(super) fn builtin() -> &'static Data {
        &BUILTIN_DATA
    }

    /// This data with the file `text` laid over it.
    pub(super) fn overlay(&self, text: &str) -> Result<Data, CatalogueError> {
        let file: File = toml::from_str(text).map_err(|error| syntax_error(text, &error))?;
        let mut data = self.clone();
        let clouds = [
            (Cloud::Public, file.public),
            (Cloud::UsGov, file.usgov),
            (Cloud::China, file.china),
            (Cloud::Custom, file.custom),
        ];
        for (cloud, blocks) in clouds {
            let starts: Vec<Vec<usize>> = blocks.iter().map(Block::starts).collect();
            data.lay_over(cloud, blocks).map_err(|RowError { service, zone, key, message }| {
                let line = line_of(text, starts[service][zone]);
                CatalogueError::Value { line, key: key.to_owned(), message }
            })?;
        }
        for (name, row) in file.regions {
            data.regions.insert(&name, row);
        }
        Ok(data)
    }

    /// This data with a custom cloud that has what the public one has, but for the lines that it has itself.
    pub(super) fn derive(mut self, suffixes: &Suffixes) -> Data {
        let mut services = self.services.remove(&Cloud::Custom).unwrap_or_default();
        let own: HashSet<_> = services.iter().map(Service::key).collect();
        let derived = self.services(Cloud::Public).iter().map(|service| service.below(suffixes));
        services.extend(derived.filter(|service| !own.contains(&service.key())).collect::<Vec<_>>());
        self.services.insert(Cloud::Custom, services);
        self
    }

    /// Lays services over those of one cloud. Their lines come first, so that they win where nothing else decides.
    pub(super) fn lay_over(&mut self, cloud: Cloud, blocks: Vec<Block>) -> Result<(), RowError> {
        let mut services = Vec::new();
        for (at, block) in blocks.into_iter().enumerate() {
            for (zone, row) in block.zones.into_iter().enumerate() {
                let service = Service::new(&block.service, &block.resource_type, row.into_inner());
                services.push(service.map_err(|(key, message)| RowError {
                    service: at,
                    zone,
                    key,
                    message,
                })?);
            }
        }
        let replaced: HashSet<_> = services.iter().map(Service::key).collect();
        let kept = self.services(cloud).iter().filter(|service| !replaced.contains(&service.key()));
        services.extend(kept.cloned());
        self.services.insert(cloud, services);
        Ok(())
    }

    pub(super) fn services(&self, cloud: Cloud) -> &[Service] {
        self.services.get(&cloud).map_or(&[], Vec::as_slice)
    }
}

impl Service {
    fn new(name: &str, resource_type: &str, row: Row) -> Result<Service, (&'static str, String)> {
        let mappings = Mapping::of_row(&row)?;
        Ok(Service {
            name: name.to_owned(),
            resource_type: resource_type.to_owned(),
            group_ids: row.groups,
            zone: row.zone,
            public_suffixes: [row.public, row.inward, row.renamed].concat(),
            status: row.status,
            sources: row.source,
            note: row.note,
            mappings,
        })
    }

    /// The same in a cloud of other suffixes.
    fn below(&self, suffixes: &Suffixes) -> Service {
        Service {
            zone: self.zone.as_ref().map(|zone| suffixes.of(zone)),
            public_suffixes: self.public_suffixes.iter().map(|suffix| suffixes.of(suffix)).collect(),
            mappings: self.mappings.iter().map(|mapping| mapping.below(suffixes)).collect(),
            ..self.clone()
        }
    }

    /// What an overlay replaces: the lines of the same resource type and zone.
    fn key(&self) -> (String, Option<String>) {
        let zone = self.zone.as_ref().map(Template::to_string);
        (self.resource_type.to_ascii_lowercase(), zone)
    }

    /// Whether its zone is one that names are placed in.
    pub(super) fn has_zone(&self) -> bool {
        self.zone.is_some() && self.status < Status::None
    }

    /// Whether `group_id` is one of its group ids.
    pub(super) fn has_group(&self, group_id: &str) -> bool {
        self.group_ids.iter().any(|pattern| match pattern.split_once('{') {
            None => pattern.eq_ignore_ascii_case(group_id),
            Some((before, rest)) => {
                let after = rest.split_once('}').map_or("", |(_, after)| after);
                let (group_id, before) = (group_id.to_ascii_lowercase(), before.to_ascii_lowercase());
                let value = group_id.strip_prefix(&before);
                let value = value.and_then(|value| value.strip_suffix(&after.to_ascii_lowercase()));
                value.is_some_and(|value| !value.is_empty())
            }
        })
    }
}

fn syntax_error(text: &str, error: &toml::de::Error) -> CatalogueError {
    let at = error.span().unwrap_or_default();
    let message = error.message().to_owned();
    let line = line_of(text, at.start);
    match key_of(text, at) {
        Some(key) => CatalogueError::Value { line, key, message },
        None => CatalogueError::Syntax { line, message },
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// The key that the value at `at` belongs to; `None` for keys and tables, whose errors name what they mean.
fn key_of(text: &str, at: Range<usize>) -> Option<String> {
    let (front, value) = (text.get(..at.start)?, text.get(at.clone())?);
    let is_key = text.get(at.end..)?.trim_start().starts_with('=');
    if is_key || value.is_empty() || value.starts_with('{') || value.starts_with("[[") {
        return None;
    }
    let (front, _) = front.rsplit_once('=')?;
    let key = front.trim_end().rsplit(|letter: char| !letter.is_alphanumeric() && letter != '_').next()?;
    (!key.is_empty()).then(|| key.to_owned())
}
