//! One line of the catalogue's file.

use serde::Deserialize;

use super::template::Template;

/// One zone of a service; the keys are explained at the head of the file.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    #[serde(default)]
    pub(super) groups: Vec<String>,
    pub(super) zone: Option<Template>,
    #[serde(default)]
    pub(super) public: Vec<Template>,
    #[serde(default)]
    pub(super) inward: Vec<Template>,
    #[serde(default)]
    pub(super) renamed: Vec<Template>,
    #[serde(default)]
    pub(super) rename: Vec<Rename>,
    #[serde(default)]
    pub(super) status: Status,
    #[serde(default = "documented")]
    pub(super) source: Vec<String>,
    #[serde(default)]
    pub(super) note: String,
}

/// A whole public name and its record.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rename {
    pub(super) public: Template,
    pub(super) record: Template,
    pub(super) beside: Option<Template>,
}

/// How far a line of the catalogue holds; the lower the better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    #[default]
    Current,
    /// Seen, but not to be made as a zone of its own.
    Variant,
    /// Renamed or dropped since.
    Older,
    /// Microsoft has no zone.
    None,
    /// Has a zone, but the sources disagree which.
    Unknown,
}

/// The revision of Microsoft's article that most lines were read from.
fn documented() -> Vec<String> {
    vec!["D26".to_owned()]
}
