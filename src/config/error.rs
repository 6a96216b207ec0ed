//! What is wrong with a config, and where.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One thing that is wrong, with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", self.place())]
pub struct ConfigError {
    pub file: Arc<Path>,
    /// From 1; `None` when the file as a whole is at fault.
    pub line: Option<usize>,
    /// As in `forward.rule[0].domain`; `None` where no key can be told.
    pub key: Option<String>,
    pub message: String,
}

/// Everything found wrong, in the order of the file; nothing of it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigError {
    fn place(&self) -> String {
        let mut place = self.file.display().to_string();
        if let Some(line) = self.line {
            place += &format!(":{line}");
        }
        place += ": ";
        if let Some(key) = &self.key {
            place += &format!("{key}: ");
        }
        place
    }
}

impl ConfigErrors {
    /// `errors` must not be empty.
    pub(super) fn new(mut errors: Vec<ConfigError>) -> ConfigErrors {
        debug_assert!(!errors.is_empty());
        errors.sort_by_key(|error| error.line);
        ConfigErrors(errors)
    }

    pub(super) fn whole_file(file: PathBuf, message: String) -> ConfigErrors {
        ConfigErrors(vec![ConfigError { file: file.into(), line: None, key: None, message }])
    }

    /// The errors, at least one.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    /// One a line.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            let end = if number == 0 { "" } else { "\n" };
            write!(out, "{end}{error}")?;
        }
        Ok(())
    }
}
