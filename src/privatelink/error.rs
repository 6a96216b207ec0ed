//! What can be wrong with a catalogue, or with a word that it is asked for.

use crate::telemetry::did_you_mean;

/// Why a catalogue cannot be read, or does not know a word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    #[error("line {line}: {message}")]
    Syntax { line: usize, message: String },
    #[error("line {line}: `{key}`: {message}")]
    Value { line: usize, key: String, message: String },
    #[error("the catalogue knows no service, group id or zone `{selector}`{}", did_you_mean(nearest.as_deref()))]
    UnknownSelector { selector: String, nearest: Option<String> },
    #[error("the catalogue knows no region `{region}`{}", did_you_mean(nearest.as_deref()))]
    UnknownRegion { region: String, nearest: Option<String> },
    #[error("no such cloud: `{0}`; there are public, usgov and china")]
    UnknownCloud(String),
}
