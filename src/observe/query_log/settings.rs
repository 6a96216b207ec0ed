//! What is logged of queries, and where.

use std::path::PathBuf;

use super::filter::Filter;

/// Where the log goes, how, and what stands in it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Settings {
    pub format: Format,
    /// `None` for standard output.
    pub path: Option<PathBuf>,
    pub filter: Filter,
}

/// The form of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// Fields in a fixed order, for people.
    #[default]
    Text,
    /// One object a line.
    Json,
}
