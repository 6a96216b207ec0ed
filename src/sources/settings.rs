//! What is asked of all sources together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;

use crate::privatelink::Catalogue;
use crate::sync::{PublishSettings, azure, directory};

/// Of all `[[sync.source]]`, and what is common to them.
#[derive(Clone)]
pub struct Settings {
    pub directories: Vec<directory::Settings>,
    /// Live Azure: its endpoints, and its private DNS zones.
    pub azure: Vec<azure::Settings>,
    /// How often live Azure is listed, unless a source says otherwise.
    pub interval: Duration,
    pub publish: PublishSettings,
    pub catalogue: Arc<Catalogue>,
    /// Where what is published is kept.
    pub state_dir: PathBuf,
    /// What looks up the hosts of Azure; without it the system does.
    pub resolver: Option<Arc<dyn Resolve>>,
}
