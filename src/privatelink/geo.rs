//! Azure regions and the geo codes that Backup, Site Recovery and Automation write into names.

use std::collections::BTreeMap;

/// One Azure region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// As resources name it: `westeurope`.
    pub name: String,
    /// As the portal prints it: `West Europe`.
    pub display_name: String,
    /// Its short form in names: `we`; empty when nobody has told it.
    pub geo_code: String,
    /// The cloud it belongs to: `public`, `usgov`, `china`, `custom`, and such as have no Private Link zones of their own.
    pub cloud: String,
    /// What an operator should know of it; sources that disagree.
    pub note: String,
}

impl Region {
    /// A region of which no more than the name is known; `None` for what is no region's name.
    pub(super) fn named(name: &str, cloud: &str) -> Option<Region> {
        let key = key(name);
        let is_name = !key.is_empty() && key.len() <= 63 && key.bytes().all(|it| it.is_ascii_alphanumeric());
        is_name.then(|| Region {
            name: key,
            display_name: name.to_owned(),
            geo_code: String::new(),
            cloud: cloud.to_owned(),
            note: String::new(),
        })
    }
}

/// A region as the catalogue's file has it.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegionRow {
    code: GeoCode,
    name: Option<String>,
    cloud: Option<String>,
    #[serde(default)]
    #[serde(rename = "source")]
    _source: Vec<String>,
    note: Option<String>,
}

/// A geo code: letters and digits, since it becomes a label.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(try_from = "String")]
struct GeoCode(String);

/// All regions by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Regions(BTreeMap<String, Region>);

impl Regions {
    /// Adds a region or replaces what is said of it; what `row` leaves out stays as it was.
    pub(super) fn insert(&mut self, name: &str, row: RegionRow) {
        let key = key(name);
        let old = self.0.remove(&key);
        let (display_name, cloud, note) = match old {
            Some(old) => (old.display_name, old.cloud, old.note),
            None => (name.to_owned(), "public".to_owned(), String::new()),
        };
        let region = Region {
            name: key.clone(),
            display_name: row.name.unwrap_or(display_name),
            geo_code: row.code.0,
            cloud: row.cloud.unwrap_or(cloud),
            note: row.note.unwrap_or(note),
        };
        self.0.insert(key, region);
    }

    /// The region of this name or display name, whatever its case.
    pub(super) fn find(&self, name: &str) -> Option<&Region> {
        self.0.get(&key(name))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Region> {
        self.0.values()
    }
}

/// `West Europe` and `westeurope` are one region.
fn key(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_whitespace()).collect::<String>().to_ascii_lowercase()
}

impl TryFrom<String> for GeoCode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<GeoCode, &'static str> {
        let is_code = !text.is_empty() && text.len() <= 16 && text.bytes().all(|b| b.is_ascii_alphanumeric());
        is_code.then(|| GeoCode(text.to_ascii_lowercase())).ok_or("a geo code is 1 to 16 letters and digits")
    }
}
