//! The store of what operators write, its applier and the admin API: opened, served, reloaded, drained.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;
use tracing::{error, warn};

use super::admin_token::{self, TOKEN_FILE};
use super::away::{Away, LastKnown, keep, keep_copy};
use super::descriptors;
use super::error::AdministrationError;
use super::parts::{self, LoadError, Parts};
use crate::admin::{self, Attempts, Degraded, DegradedReason, Server};
use crate::config::{AdminSettings, Asked, Config};
use crate::ledger::{Applier, Bases, Following, Ledger, TokenBook, Trail, Written};
use crate::persist::{self, Entry, Persist, PersistError, Stored, Trouble};
use crate::sources::{Instances, Tasks};
use crate::sync::StateFolder;
use crate::sync::azure::Resolver;
use crate::telemetry::{Numbers, in_full};

/// How often a store that was away at the start is looked for to make the first token.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long requests in flight may take to end: longer than a large commit takes.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// What operators write, and the API by which they do.
pub(super) struct Administration {
    persist: Persist,
    applier: Arc<Applier>,
    ledger: Arc<Ledger>,
    trail: Trail,
    api: Option<admin::Running>,
    /// Where others may share the store; dropping its tasks gives the lease back.
    instances: Option<(Arc<Instances>, Tasks)>,
    state: StateFolder,
    // Dropping these ends the tasks of the applier and of the copy.
    following: Option<Following>,
    copying: Option<AbortOnDropHandle<()>>,
}

/// The store, and all that is in it.
pub(super) struct Opened {
    persist: Persist,
    stored: Stored,
    trail: Trail,
    /// What was last known, where the store is not there.
    away: Option<Away>,
}

/// Binds the API's sockets; `None` where there are none.
pub(super) fn bind(settings: &AdminSettings) -> Result<Option<admin::Bound>, AdministrationError> {
    if settings.api.listen.is_empty() {
        return Ok(None);
    }
    match admin::bind(fitted(&settings.api)) {
        Ok(bound) => Ok(Some(bound)),
        // Nobody asked for it.
        Err(cause) if settings.api_is == Asked::ByDefault => {
            error!(
                "There is no admin API: {}; admin.listen says where it shall be, or [] for none",
                in_full(&cause)
            );
            Ok(None)
        }
        Err(cause) => Err(cause.into()),
    }
}

/// The API's settings with no more connections than file descriptors allow.
fn fitted(settings: &admin::Settings) -> admin::Settings {
    let mut settings = settings.clone();
    settings.limits.connections = descriptors::api_connections(settings.limits.connections);
    settings
}

/// Opens the store if there is to be one, and makes the first token in it.
pub(super) async fn open(
    settings: &AdminSettings,
    state_dir: &Path,
) -> Result<Option<Opened>, AdministrationError> {
    if !settings.has_store() {
        return Ok(None);
    }
    match open_store(settings, state_dir).await {
        Ok(opened) => Ok(Some(opened)),
        Err(cause) if !settings.needs_store() => {
            error!("There is no admin API: {}; see state_dir and store.url", in_full(&cause));
            Ok(None)
        }
        Err(cause) => Err(cause),
    }
}

async fn open_store(settings: &AdminSettings, state_dir: &Path) -> Result<Opened, AdministrationError> {
    let url = settings.store.shown();
    let failed = |source| AdministrationError::Store { url: url.clone(), source };
    let last_known = LastKnown { settings: &settings.store, state: StateFolder::new(state_dir) };
    if let Some(why) = last_known.lost() {
        return open_later(settings, state_dir, last_known.away(why));
    }
    // A store that is away or damaged must not keep us from serving all else.
    let (persist, mut stored) = match open_whole(&settings.store).await {
        Ok(opened) => opened,
        Err(cause) => {
            let why = last_known.unusable(cause).map_err(failed)?;
            return open_later(settings, state_dir, last_known.away(why));
        }
    };
    if !admin_token::is_in(&stored) && !settings.api.listen.is_empty() {
        admin_token::make_first(&persist, &state_dir.join(TOKEN_FILE), &url).await?;
        stored = persist.load().await.map_err(failed)?;
    }
    Ok(Opened::new(persist, stored))
}

/// Opens a store and reads all of it.
async fn open_whole(settings: &persist::Settings) -> Result<(Persist, Stored), PersistError> {
    let persist = Persist::open(settings).await?;
    match persist.load().await {
        Ok(stored) => Ok((persist, stored)),
        Err(cause) => {
            persist.close().await;
            Err(cause)
        }
    }
}

/// Opens a store that is not there yet.
fn open_later(settings: &AdminSettings, state_dir: &Path, away: Away) -> Result<Opened, AdministrationError> {
    let url = settings.store.shown();
    let persist = Persist::open_later(&settings.store, &away.why)
        .map_err(|source| AdministrationError::Store { url: url.clone(), source })?;
    if !settings.api.listen.is_empty() {
        let (persist, path) = (persist.clone(), state_dir.join(TOKEN_FILE));
        tokio::spawn(async move {
            loop {
                match persist.load().await {
                    Ok(stored) if admin_token::is_in(&stored) => return,
                    Ok(_) => match admin_token::make_first(&persist, &path, &url).await {
                        Ok(()) => return,
                        // It can be read a moment before it can be written.
                        Err(AdministrationError::Store { source, .. }) if source.is_passing() => {}
                        Err(cause) => return error!("{}", in_full(&cause)),
                    },
                    Err(_) => {}
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
    }
    Ok(Opened { away: Some(away), ..Opened::new(persist, Stored::default()) })
}

impl Opened {
    fn new(persist: Persist, stored: Stored) -> Opened {
        let trail = Trail::new(persist.clone());
        Opened { persist, stored, trail, away: None }
    }

    /// Takes down for the audit what config and sync change, once it is opened.
    pub fn trail(&self) -> &Trail {
        &self.trail
    }

    /// What operators wrote.
    pub fn written(&self) -> Arc<Written> {
        Arc::new(self.away.as_ref().map_or_else(|| Written::of(&self.stored), Away::written))
    }
}

impl Administration {
    /// Serves what is stored, over what config and sources say, and follows it from now on.
    pub fn begin(opened: Opened, config: &Config, parts: &Parts) -> Administration {
        let Opened { persist, stored, trail, away } = opened;
        let sources = parts.sources.shared();
        let documents = stored.entries.iter().filter_map(|(entry, _)| match entry {
            Entry::Document(document) => Some(document.clone()),
            _ => None,
        });
        // Before the applier, which tells of documents that change from now on.
        let instances =
            persist.has_others().then(|| Instances::begin(&persist, &parts.store, sources, documents));
        let applier = Applier::new(
            Arc::clone(&parts.store),
            Arc::clone(&parts.written),
            Arc::clone(&parts.surroundings) as _,
        );
        applier.rebase(bases(config, parts));
        let changes = match away {
            None => persist.changes(stored.revision),
            Some(away) => {
                applier.serve_as_stale(away.zones);
                persist.changes_anew()
            }
        };
        let following = applier.start(changes);
        let state = StateFolder::new(&config.state_dir);
        let keeping = keep_copy(Arc::clone(applier.written()), state.clone(), applier.applied());
        let copying = AbortOnDropHandle::new(tokio::spawn(keeping));
        let ledger = Ledger::new(persist.clone(), Arc::clone(&applier));
        let (following, copying) = (Some(following), Some(copying));
        Administration { persist, applier, ledger, trail, api: None, instances, state, following, copying }
    }

    /// Begins to answer requests.
    pub fn serve(
        &mut self,
        bound: admin::Bound,
        server: Arc<dyn Server>,
        numbers: Arc<Numbers>,
        config: &Config,
    ) -> Result<(), AdministrationError> {
        let refusals = Attempts::new(self.persist.clone());
        numbers.add(Arc::clone(&refusals) as _);
        numbers.add(Arc::new(self.persist.clone()));
        let parts = admin::Parts {
            server,
            numbers,
            tokens: Arc::clone(self.ledger.written()) as _,
            refusals,
            resolver: Resolver::of(&config.azure_hosts()),
            more: admin::owned_routes(Arc::clone(&self.ledger)),
        };
        self.api = Some(bound.serve(parts)?);
        Ok(())
    }

    /// Tells what is amiss with the store, also later.
    pub fn health(&self) -> impl Fn() -> Option<Degraded> + Send + Sync + 'static {
        let (written, persist) = (Arc::clone(self.ledger.written()), self.persist.clone());
        move || {
            let trouble = if written.is_known() { persist.trouble()? } else { Trouble::Away };
            let (reason, detail) = match trouble {
                Trouble::Away => (
                    DegradedReason::StoreAway,
                    "it is away or damaged: what operators wrote is served as last known, and changes are refused",
                ),
                Trouble::Full => (DegradedReason::StoreFull, "its disk is full: changes are refused"),
            };
            Some(Degraded::new(reason, "store", detail))
        }
    }

    /// Where the API answers.
    pub fn addresses(&self) -> &[std::net::SocketAddr] {
        self.api.as_ref().map_or(&[], admin::Running::addresses)
    }

    /// Goes on with another config below what operators wrote. On an error nothing is changed.
    pub fn reload(&self, new: &Config, parts: &mut Parts) -> Result<(), LoadError> {
        parts.reload_under(new, |parts, files| {
            self.applier.rebase_after(|| {
                parts.exchange(new, files)?;
                Ok(bases(new, parts))
            })
        })?;
        // Sources may have made other zones, and linked others, by the new config.
        self.applier.rebase(bases(new, parts));
        if let Some((instances, _)) = &self.instances {
            instances.reconfigured();
        }
        self.reload_api(new);
        Ok(())
    }

    fn reload_api(&self, new: &Config) {
        let Some(api) = &self.api else { return };
        let settings = fitted(&new.admin.api);
        if let Err(cause) = api.reload(settings) {
            error!("The admin API goes on with its old settings: {}", in_full(&cause));
        }
    }

    /// Takes no more requests, answers those that are there, and closes the store.
    pub async fn stop(mut self) {
        // Another instance can list while the last requests are answered.
        self.instances.take();
        if let Some(api) = &self.api {
            api.drain(DRAIN_PATIENCE).await;
        }
        self.trail.settle(DRAIN_PATIENCE).await;
        self.persist.close().await;
        drop((self.following.take(), self.copying.take()));
        let (written, state) = (Arc::clone(self.applier.written()), self.state.clone());
        match tokio::task::spawn_blocking(move || keep(&written, &state)).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => warn!("What operators wrote last is not copied: {cause}"),
            Err(cause) => error!("What operators wrote last cannot be copied: {cause}"),
        }
    }
}

fn bases(config: &Config, parts: &Parts) -> Bases {
    parts::bases(config, &parts.store.snapshot())
}
