//! Live Azure: a token, the subscriptions that there are, and complete listings of each.
//!
//! Written on plain HTTP, the tokens too. `azure_identity` (1.0.0 and 1.1.0-beta.1 were read) takes a transport of ours,
//! so that neither the resolver, a proxy nor tests stand against it. But it
//! - has no way to forget a token that Azure Resource Manager refuses before its end, as when it was revoked;
//! - tries six times within 72 s for a managed identity, whatever its options say: a pass has other sources to list;
//! - signs for a client certificate with OpenSSL alone, and reads PKCS#12 alone: PEM and signature would stay ours;
//! - knows Azure Arc in the beta only, and there no other folder of keys, and no other address but by the environment;
//! - reads a federated token anew every ten minutes, not when one is refused;
//! - puts the metadata service's whole answer into its error, which we cut, and clean of what was sent.
//!
//! It would bring a dozen crates, and spare half of `credential.rs`.

mod asking;
mod certificate;
mod credential;
mod discovery;
mod error;
mod examine;
mod groups;
mod host_sockets;
mod http;
mod listing;
mod memory;
mod private_zones;
mod progress;
mod resolver;
mod settings;
mod token;
mod trust;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::dns::Resolve;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use error::AzureError;
pub use examine::{ACTIONS, Identity, Refusals, Skew};
pub use progress::Progress;
pub use resolver::{HostServer, Resolver, ResolverSettings};
pub use settings::{
    ARC_KEY_FOLDER, CredentialSettings, Endpoint, EndpointError, Hosts, NETWORK_API_VERSION,
    PRIVATE_DNS_API_VERSION, SecretPlace, Settings, Subject, UserAssigned,
};
pub use token::Secret;

use super::inventory::Inventory;
use super::private_dns::PrivateZone;
use super::scope::Scope;
use crate::privatelink::Catalogue;
use discovery::Life;
use groups::Groups;
use http::Http;
use listing::Listed;
use memory::Memory;
use token::Tokens;

/// Listings, or single questions, at one time: enough for fifty subscriptions in a few seconds, and few connections.
const ASKED_AT_ONCE: usize = 8;

/// The least wait for a pass that is due because a subscription's rest ends.
const AGAIN_MIN: Duration = Duration::from_secs(1);

/// Azure Resource Manager as one identity sees it.
pub struct Azure {
    settings: Settings,
    http: Http,
    tokens: Tokens,
    /// Which names need no zone group; without it none is asked for.
    catalogue: Option<Arc<Catalogue>>,
    groups: Groups,
    /// Subscriptions that asked for more patience than a pass has, and until when.
    resting: Mutex<HashMap<Arc<str>, Instant>>,
    memory: Memory,
    /// Sent to Azure Resource Manager since this was last taken.
    requests: AtomicUsize,
    progress: Arc<Progress>,
}

/// What a pass found out, by [`Scope::key`].
#[derive(Debug, Default)]
pub struct Pass {
    /// Those whose listings are complete, and empty ones for those that are gone or excluded.
    pub listed: BTreeMap<Arc<str>, Arc<Inventory>>,
    /// Those that could not be listed: nothing may be concluded of them.
    pub failed: BTreeMap<Arc<str>, AzureError>,
    /// The private DNS zones that were read whole.
    pub zones: Vec<Arc<PrivateZone>>,
    /// Those that are listed but could not be read, by ARM id: nothing may be concluded of them either.
    pub unread: BTreeMap<Arc<str>, AzureError>,
    /// Requests to Azure Resource Manager, those for tokens left out.
    pub requests: usize,
    /// When a subscription that was throttled may be asked again.
    pub again_in: Option<Duration>,
}

impl Azure {
    /// Asks nothing yet; host names are resolved by `resolver`, without one by the system.
    pub fn new(settings: Settings, resolver: Option<Arc<dyn Resolve>>) -> Result<Azure, AzureError> {
        let http = Http::new(&settings, resolver)?;
        Ok(Azure {
            settings,
            http,
            tokens: Tokens::default(),
            catalogue: None,
            groups: Groups::default(),
            resting: Mutex::default(),
            memory: Memory::default(),
            requests: AtomicUsize::new(0),
            progress: Arc::default(),
        })
    }

    /// Tells there how far passes have come.
    pub fn telling(self, progress: Arc<Progress>) -> Azure {
        Azure { progress, ..self }
    }

    /// Asks for the zone groups of endpoints whose names this catalogue does not place.
    pub fn with_catalogue(self, catalogue: Arc<Catalogue>) -> Azure {
        Azure { catalogue: Some(catalogue), ..self }
    }

    /// Lists what the settings name, or all that there is for the identity.
    pub async fn pass(self: &Arc<Self>) -> Result<Pass, AzureError> {
        self.progress.begin();
        self.requests.store(0, Ordering::Relaxed);
        self.resting.lock().retain(|_, until| *until > Instant::now());
        // Without a token no subscription needs to be tried.
        self.token().await?;
        let mut pass = Pass::default();
        let scopes = match self.scopes(&mut pass).await {
            Ok(scopes) => scopes,
            Err(error) => return Err(self.hushed(error).await),
        };
        self.progress.set_subscriptions(scopes.len());
        self.memory.turn();
        let permits = Arc::new(Semaphore::new(ASKED_AT_ONCE));
        let mut listings = JoinSet::new();
        for scope in scopes.clone() {
            let (azure, permits) = (Arc::clone(self), Arc::clone(&permits));
            listings.spawn(async move {
                let _permit = permits.acquire().await;
                let listed = azure.scope(&scope).await;
                azure.progress.finish_subscription();
                (scope.key(), listed)
            });
        }
        let mut undecided = Vec::new();
        while let Some(joined) = listings.join_next().await {
            match joined {
                Ok((key, Ok(listed))) => {
                    let Listed { inventory, undecided: ids, zones, unread } = listed;
                    undecided.push((Arc::clone(&key), ids));
                    pass.listed.insert(key, inventory);
                    pass.zones.extend(zones);
                    pass.unread.extend(unread);
                }
                Ok((key, Err(error))) => drop(pass.failed.insert(key, error)),
                // It is found missing below.
                Err(_) => {}
            }
        }
        for key in scopes.iter().map(Scope::key).filter(|key| !pass.listed.contains_key(key)) {
            pass.failed.entry(key).or_insert(AzureError::Fault);
        }
        for error in pass.failed.values_mut().chain(pass.unread.values_mut()) {
            *error = self.hushed(std::mem::replace(error, AzureError::Fault)).await;
        }
        self.settle(&mut pass.listed, &undecided).await;
        let rests = scopes.iter().filter_map(|scope| self.rest_of(&scope.subscription));
        pass.again_in = rests.min().map(|wait| wait.max(AGAIN_MIN));
        pass.requests = self.requests.swap(0, Ordering::Relaxed);
        Ok(pass)
    }

    /// What is to be listed; of what is not, though it is known, all is told.
    async fn scopes(&self, pass: &mut Pass) -> Result<Vec<Scope>, AzureError> {
        let settings = &self.settings;
        if !settings.resource_groups.is_empty() {
            return Ok(settings.resource_groups.clone());
        }
        if !settings.subscriptions.is_empty() {
            return Ok(settings.subscriptions.iter().cloned().map(Scope::subscription).collect());
        }
        let mut found = self.discover().await?;
        found.extend(settings.exclude_subscriptions.iter().map(|id| (Arc::clone(id), Life::Deleted)));
        let (living, gone): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, life)| *life == Life::Lives);
        pass.listed.extend(gone.into_iter().map(|(id, _)| (id, Arc::default())));
        Ok(living.into_iter().map(|(id, _)| Scope::subscription(id)).collect())
    }
}
