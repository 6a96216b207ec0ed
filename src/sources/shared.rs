//! What others see of the sources while the run loop owns them, and what they may ask of them.

use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::instances::Instances;
use super::listing::Live;
use super::log::Log;
use super::role::Roles;
use super::source::Source;

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

/// The sources by the settings of one moment; they themselves go on.
pub(crate) struct Now {
    pub sources: Vec<Arc<Source>>,
    /// Why the last good state could not be read or kept.
    pub trouble: Option<String>,
    pub log: Log,
}

impl Now {
    pub(super) fn named(&self, name: &str) -> Option<&Arc<Source>> {
        self.sources.iter().find(|source| source.name() == name)
    }

    /// Those that one instance lists for all.
    pub(super) fn live(&self) -> impl Iterator<Item = (&Arc<Source>, &Live)> {
        self.sources.iter().filter_map(|source| Some((source, source.live()?)))
    }
}

impl Shared {
    pub(super) fn new(now: Now, roles: Roles) -> Shared {
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
    pub(super) fn listed_elsewhere(&self) -> Option<Arc<Instances>> {
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
