//! Why the server does not start.

use std::io;
use std::path::PathBuf;

use super::parts::LoadError;
use super::privileges::PrivilegesError;
use crate::admin;
use crate::config::ConfigErrors;
use crate::listen::BindError;
use crate::persist::PersistError;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Administration(#[from] AdministrationError),
    #[error("telemetry.listen cannot be served")]
    Monitors(#[from] admin::StartError),
    #[error(transparent)]
    Privileges(#[from] PrivilegesError),
    #[error("signals cannot be received")]
    Signal(#[source] io::Error),
}

/// Why there is no store or no API.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    #[error("the store {url} cannot be opened")]
    Store { url: String, source: PersistError },
    #[error("the token of the first admin cannot be written to {}", path.display())]
    TokenFile { path: PathBuf, source: io::Error },
    #[error("the admin API cannot be served")]
    Api(#[from] admin::StartError),
}
