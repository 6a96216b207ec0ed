//! Where a source's records come from, by its kind.

use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;
use tokio::sync::Notify;

use super::known::Known;
use super::settings::Settings;
use crate::privatelink::Catalogue;
use crate::sync::azure::{self, Azure, AzureError, Progress, Subject};
use crate::sync::directory;

/// Private DNS zones are listed at most this often, unless config says otherwise.
const PRIVATE_ZONES_INTERVAL: Duration = Duration::from_secs(300);

/// What is listed, and when. A further kind is one more of these.
pub enum Listing {
    /// A folder of exported JSON: read when it changes.
    Directory(directory::Settings),
    /// What one identity sees of Azure, its endpoints or its private DNS zones: listed by the clock and by nudges, by one
    /// of all instances.
    Azure(Box<Live>),
}

/// Azure, and who wants it listed.
pub struct Live {
    pub settings: azure::Settings,
    pub(super) interval: Duration,
    resolver: Option<Arc<dyn Resolve>>,
    catalogue: Arc<Catalogue>,
    pub(super) nudged: Notify,
    pub(super) wanted: Notify,
    progress: Arc<Progress>,
}

impl Listing {
    /// All of config, in its order: the folders first.
    pub(super) fn all(settings: &Settings) -> impl Iterator<Item = Listing> {
        let directories = settings.directories.iter().cloned().map(Listing::Directory);
        directories.chain(
            settings.azure.iter().map(|own| Listing::Azure(Box::new(Live::new(own.clone(), settings)))),
        )
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Listing::Directory(settings) => &settings.name,
            Listing::Azure(live) => &live.settings.name,
        }
    }

    /// What people call such a source, first as a sentence begins.
    pub(super) fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Listing::Directory(_) => ("Inventory", "inventory"),
            Listing::Azure(_) => ("Source", "source"),
        }
    }

    /// How it is told that nothing could be learnt.
    pub(super) fn stays(&self, known: &Known) -> String {
        match (self, known.age()) {
            (Listing::Azure(_), _) => "stays as it was".to_owned(),
            (Listing::Directory(_), Some(age)) => format!("stays as it was {age} ago"),
            (Listing::Directory(_), None) => "was never read".to_owned(),
        }
    }

    /// What its records came from before a restart.
    pub(super) fn origin(&self) -> &'static str {
        match self {
            Listing::Directory(_) => "an inventory",
            Listing::Azure(_) => "listings",
        }
    }

    /// Whether it lists private DNS zones.
    pub fn is_of_zones(&self) -> bool {
        matches!(self, Listing::Azure(live) if live.settings.subject == Subject::PrivateZones)
    }

    /// Whether it lists whatever subscriptions there are.
    pub(super) fn finds_subscriptions(&self) -> bool {
        matches!(self, Listing::Azure(live) if live.settings.subscriptions.is_empty())
    }

    /// Whether its settings leave nothing out.
    pub(super) fn names_all(&self) -> bool {
        match self {
            Listing::Directory(_) => true,
            Listing::Azure(live) => live.settings.names_all(),
        }
    }

    /// Whether its settings let what lies at an ARM id be published at all.
    pub(super) fn names(&self, id: &str) -> bool {
        match self {
            Listing::Directory(_) => true,
            Listing::Azure(live) => live.settings.names(id),
        }
    }
}

impl Live {
    fn new(settings: azure::Settings, all: &Settings) -> Live {
        // Two and more requests a zone: too much for once a minute.
        let usual = match settings.subject {
            Subject::Endpoints => all.interval,
            Subject::PrivateZones => all.interval.max(PRIVATE_ZONES_INTERVAL),
        };
        Live {
            interval: settings.interval.unwrap_or(usual),
            settings,
            resolver: all.resolver.clone(),
            catalogue: Arc::clone(&all.catalogue),
            nudged: Notify::new(),
            wanted: Notify::new(),
            progress: Arc::default(),
        }
    }

    /// A client that knows nothing yet.
    pub fn azure(&self) -> Result<Arc<Azure>, AzureError> {
        let azure = Azure::new(self.settings.clone(), self.resolver.clone())?;
        let azure = azure.with_catalogue(Arc::clone(&self.catalogue));
        Ok(Arc::new(azure.telling(Arc::clone(&self.progress))))
    }

    /// How far the pass under way has come.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Begins a pass now; one that is under way is followed by another.
    pub fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// Begins a pass now, unless the last that was wanted is over for less than a pause: then behind that.
    pub fn want(&self) {
        self.wanted.notify_one();
    }

    /// What it lists, for people.
    pub(super) fn parts(&self) -> &'static str {
        match self.settings.subject {
            Subject::Endpoints => "subscriptions",
            Subject::PrivateZones => "subscriptions and private DNS zones",
        }
    }
}
