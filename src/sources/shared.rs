//! What others see of the sources while the run loop owns them, and what they may ask of them.

use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::azure::AzureSource;
use super::instances::Instances;
use super::role::Roles;
use super::source::Source;
use super::told::Told;
use crate::sync::StateFolder;

/// A window on the sources: who holds it sees each pass that has ended.
#[derive(Clone)]
pub struct Shared(Arc<Inside>);

struct Inside {
    now: ArcSwap<Now>,
    wanted: Notify,
    roles: Roles,
    /// Others that share the store; they hold this window.
    instances: OnceLock<Weak<Instances>>,
}

/// The sources at one moment. What live Azure has told is in its own sources, which go on.
pub(crate) struct Now {
    pub directories: Vec<Source>,
    pub azure: Vec<Arc<AzureSource>>,
    /// Where confirmations are left.
    pub state: StateFolder,
    /// Why the last good state could not be read or kept.
    pub trouble: Option<String>,
    pub told: Told,
}

impl Shared {
    pub(super) fn new(state: &StateFolder, roles: Roles) -> Shared {
        let (state, told) = (state.clone(), Told::default());
        let now = Now { directories: Vec::new(), azure: Vec::new(), state, trouble: None, told };
        let (now, wanted, instances) = (ArcSwap::from_pointee(now), Notify::new(), OnceLock::new());
        Shared(Arc::new(Inside { now, wanted, roles, instances }))
    }

    /// Whether this instance lists Azure.
    pub(crate) fn roles(&self) -> &Roles {
        &self.0.roles
    }

    /// From now on there may be other instances.
    pub(super) fn share_with(&self, instances: &Arc<Instances>) {
        // There is one store in the life of a server.
        let _ = self.0.instances.set(Arc::downgrade(instances));
    }

    /// The other instances, if there may be any and this one is not about to stop.
    pub(crate) fn instances(&self) -> Option<Arc<Instances>> {
        self.0.instances.get().and_then(Weak::upgrade)
    }

    /// The same where another one lists Azure.
    pub(crate) fn listed_elsewhere(&self) -> Option<Arc<Instances>> {
        self.instances().filter(|_| !self.roles().is_listing())
    }

    pub(super) fn show(&self, now: Now) {
        self.0.now.store(Arc::new(now));
    }

    pub(crate) fn now(&self) -> Arc<Now> {
        self.0.now.load_full()
    }

    /// Asks the run loop to read the folders now; many requests before it comes to that are one.
    pub(super) fn want_folders(&self) {
        self.0.wanted.notify_one();
    }

    /// Waits until somebody wants the folders read.
    pub(crate) async fn wanted(&self) {
        self.0.wanted.notified().await;
    }
}
