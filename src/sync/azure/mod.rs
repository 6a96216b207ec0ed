//! Live Azure: a token, the subscriptions that it sees, and complete listings of each.
//!
//! Written on plain HTTP: `azure_identity` has the identity endpoint hard-coded and refuses an authority on a loopback
//! address, so it could neither be pointed elsewhere nor tested, and the listings need their own client anyway.

mod credential;
mod error;
mod examine;
mod http;
mod listing;
mod memory;
mod progress;
mod settings;
mod token;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use reqwest::dns::Resolve;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use error::AzureError;
pub use examine::{ACTIONS, Identity, Refusals, Skew};
pub use progress::Progress;
pub use settings::{
    ARC_KEY_FOLDER, CredentialSettings, Endpoint, EndpointError, NETWORK_API_VERSION, SecretPlace, Settings,
};
pub use token::Secret;

use super::inventory::Inventory;
use http::Http;
use memory::Memory;
use token::Tokens;

/// Subscriptions listed at one time: enough for fifty in a few seconds, and few connections.
const SUBSCRIPTIONS_AT_ONCE: usize = 8;

/// Azure Resource Manager as one identity sees it.
pub struct Azure {
    settings: Settings,
    http: Http,
    tokens: Tokens,
    /// Subscriptions that asked for more patience than a pass has, and until when.
    resting: Mutex<HashMap<Arc<str>, Instant>>,
    memory: Memory,
    progress: Arc<Progress>,
}

/// What a pass found out, by subscription in lower case.
#[derive(Debug, Default)]
pub struct Pass {
    /// Those whose listings are complete.
    pub listed: BTreeMap<Arc<str>, Arc<Inventory>>,
    /// Those that could not be listed: nothing may be concluded of them.
    pub failed: BTreeMap<Arc<str>, AzureError>,
}

impl Azure {
    /// Asks nothing yet; host names are resolved by `resolver`, without one by the system.
    pub fn new(settings: Settings, resolver: Option<Arc<dyn Resolve>>) -> Result<Azure, AzureError> {
        let http = Http::new(&settings, resolver)?;
        Ok(Azure {
            settings,
            http,
            tokens: Tokens::default(),
            resting: Mutex::default(),
            memory: Memory::default(),
            progress: Arc::default(),
        })
    }

    /// Tells there how far passes have come.
    pub fn telling(self, progress: Arc<Progress>) -> Azure {
        Azure { progress, ..self }
    }

    /// Lists all subscriptions of the settings, or all that the identity sees.
    pub async fn pass(self: &Arc<Self>) -> Result<Pass, AzureError> {
        self.progress.begin();
        // Without a token no subscription needs to be tried.
        self.token().await?;
        let subscriptions = match self.settings.subscriptions.is_empty() {
            true => self.visible_subscriptions().await?,
            false => self.settings.subscriptions.clone(),
        };
        self.memory.turn();
        self.progress.is_of(subscriptions.len());
        let permits = Arc::new(Semaphore::new(SUBSCRIPTIONS_AT_ONCE));
        let mut listings = JoinSet::new();
        for subscription in subscriptions.iter().cloned() {
            let (azure, permits) = (Arc::clone(self), Arc::clone(&permits));
            listings.spawn(async move {
                let _permit = permits.acquire().await;
                let listed = azure.subscription(&subscription).await;
                azure.progress.subscription_is_done();
                (subscription, listed)
            });
        }
        let mut pass = Pass::default();
        while let Some(joined) = listings.join_next().await {
            match joined {
                Ok((subscription, Ok(inventory))) => drop(pass.listed.insert(subscription, inventory)),
                Ok((subscription, Err(error))) => drop(pass.failed.insert(subscription, error)),
                // It is found missing below.
                Err(_) => {}
            }
        }
        for subscription in subscriptions.iter().filter(|id| !pass.listed.contains_key(*id)) {
            pass.failed.entry(Arc::clone(subscription)).or_insert(AzureError::Fault);
        }
        Ok(pass)
    }
}
