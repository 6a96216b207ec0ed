//! What the admin API asks of the running server.

mod endpoints;
mod limits;
mod readiness;
mod sync;
mod top;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use crate::admin::{
    BackingUp, EndpointReport, Explained, ExplainedReply, Explaining, LimitMetReport, Readiness, Server,
    SyncReport, TopReport, WantedEndpoints, WantedEntries,
};
use crate::cache::Listed;
use crate::dns::{Name, QueryFlags, Question};
use crate::listen::Counting;
use crate::observe::Observers;
use crate::privatelink::Catalogue;
use crate::respond::Responder;
use crate::sources::{ConfirmError, NudgeError, Shared};
use crate::sync::Fingerprint;
use crate::zone::Store;
use top::Looks;

/// The running server as the admin API sees it. It lives over reloads: what they exchange is read when asked for.
#[derive(Clone)]
pub struct Ports {
    responder: Arc<Responder>,
    sources: Shared,
    limits: Option<Counting>,
    observers: Option<Arc<Observers>>,
    looks: Arc<Looks>,
    health: Option<Arc<TellHealth>>,
    backups: Option<Arc<MakeBackup>>,
}

/// Makes a backup.
type MakeBackup = dyn Fn() -> BackingUp + Send + Sync;

/// Adds to what is not ready or not as it should be.
type TellHealth = dyn Fn(&mut Readiness) + Send + Sync;

impl Ports {
    /// Of what answers, and of [`crate::sources::Sources::shared`].
    pub fn new(responder: Arc<Responder>, sources: Shared) -> Ports {
        let looks = Arc::default();
        Ports { responder, sources, limits: None, observers: None, looks, health: None, backups: None }
    }

    /// Adds what listeners know of clients.
    pub fn with_limits(self, limits: Counting) -> Ports {
        Ports { limits: Some(limits), ..self }
    }

    /// Adds who counts names and clients.
    pub fn with_observers(self, observers: Arc<Observers>) -> Ports {
        Ports { observers: Some(observers), ..self }
    }

    /// Adds what only others know to be amiss, such as the store.
    pub fn with_health(self, health: impl Fn(&mut Readiness) + Send + Sync + 'static) -> Ports {
        Ports { health: Some(Arc::new(health)), ..self }
    }
}

impl Ports {
    /// Makes backups, which only who knows the config can.
    pub fn with_backups(self, backups: impl Fn() -> BackingUp + Send + Sync + 'static) -> Ports {
        Ports { backups: Some(Arc::new(backups)), ..self }
    }
}

impl Server for Ports {
    fn readiness(&self) -> Readiness {
        let degraded = readiness::degraded(&self.responder, &self.sources.now());
        let mut readiness = Readiness { not_ready: Vec::new(), degraded };
        if let Some(health) = &self.health {
            health(&mut readiness);
        }
        readiness
    }

    fn limits_met(&self) -> Vec<LimitMetReport> {
        self.limits.as_ref().map(limits::reports).unwrap_or_default()
    }

    fn top(&self) -> TopReport {
        let busiest = self.observers.as_ref().map(|observers| observers.busiest()).unwrap_or_default();
        self.looks.look(std::time::Instant::now(), self.responder.totals(), busiest)
    }

    fn store(&self) -> &Arc<Store> {
        self.responder.store()
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(self.responder.serving().rules.catalogue())
    }

    fn sync(&self) -> SyncReport {
        sync::report(&self.sources.now())
    }

    fn endpoints(&self, wanted: &WantedEndpoints) -> Vec<EndpointReport> {
        endpoints::reports(&self.sources.now(), &self.store().snapshot(), wanted)
    }

    fn nudge(&self, source: Option<&str>) -> Result<Vec<String>, NudgeError> {
        self.sources.nudge(source)
    }

    fn confirm(&self, source: &str, plan: Fingerprint) -> Result<(), ConfirmError> {
        self.sources.confirm(source, plan)
    }

    fn cached(&self, wanted: &WantedEntries) -> Vec<Listed> {
        let serving = self.responder.serving();
        serving.cache.page(wanted.name.borrow(), wanted.after.as_ref(), wanted.limit, Instant::now())
    }

    fn flush(&self, name: Option<&Name>) -> usize {
        self.responder.serving().cache.purge(name.map(Name::borrow))
    }

    fn backup(&self) -> BackingUp {
        match &self.backups {
            Some(backups) => backups(),
            None => Box::pin(std::future::ready(Err("this server makes no backups".to_owned()))),
        }
    }

    fn explain(&self, question: Question, flags: QueryFlags, client: IpAddr) -> Explaining {
        let responder = Arc::clone(&self.responder);
        Box::pin(async move {
            let explanation = responder.explain(&question, flags, client).await;
            let reply = explanation.reply.map(|reply| ExplainedReply {
                rcode: reply.rcode,
                answer: reply.answer,
                authority: reply.authority,
            });
            Explained { steps: explanation.steps, reply }
        })
    }
}
