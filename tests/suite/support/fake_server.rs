//! A running server that knows what a test gives it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use privatelink_dns::admin::{
    BackingUp, EndpointReport, Explained, ExplainedReply, Explaining, LimitMetReport, Readiness, Server,
    SourceReport, SyncReport, TopReport, WantedEndpoints, WantedEntries,
};
use privatelink_dns::cache::{self, Cache, Listed};
use privatelink_dns::dns::{Name, QueryFlags, Question, Rcode};
use privatelink_dns::privatelink::{Catalogue, Cloud};
use privatelink_dns::sources::{ConfirmError, NoSuchSource, NudgeError};
use privatelink_dns::sync::Fingerprint;
use privatelink_dns::zone::{Store, Unwitnessed};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// What it knows, and what it was asked to do.
pub struct FakeServer {
    pub store: Arc<Store>,
    pub cache: Cache,
    pub readiness: parking_lot::Mutex<Readiness>,
    pub sources: Vec<SourceReport>,
    pub endpoints: Vec<EndpointReport>,
    pub limits_met: Vec<LimitMetReport>,
    /// Nudges and confirmed plans, in words.
    pub asked: Mutex<Vec<String>>,
    /// Explanations are made as there are permits.
    pub explaining: Arc<Semaphore>,
}

impl Default for FakeServer {
    fn default() -> FakeServer {
        FakeServer {
            store: Arc::new(Store::new(Box::new(Unwitnessed))),
            cache: Cache::new(cache::Settings::default()),
            readiness: parking_lot::Mutex::default(),
            sources: Vec::new(),
            endpoints: Vec::new(),
            asked: Mutex::default(),
            limits_met: Vec::new(),
            explaining: Arc::new(Semaphore::new(1000)),
        }
    }
}

impl FakeServer {
    fn source(&self, name: &str) -> Result<&SourceReport, NoSuchSource> {
        self.sources.iter().find(|source| source.name == name).ok_or_else(|| NoSuchSource(name.to_owned()))
    }
}

impl Server for FakeServer {
    fn readiness(&self) -> Readiness {
        self.readiness.lock().clone()
    }

    fn limits_met(&self) -> Vec<LimitMetReport> {
        self.limits_met.clone()
    }

    fn top(&self) -> TopReport {
        TopReport { over_secs: 2.0, queries_per_second: 0.5, ..TopReport::default() }
    }

    fn store(&self) -> &Arc<Store> {
        &self.store
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::new(Catalogue::builtin(Cloud::Public))
    }

    fn sync(&self) -> SyncReport {
        SyncReport { sources: self.sources.clone(), ..SyncReport::default() }
    }

    fn endpoints(&self, wanted: &WantedEndpoints) -> Vec<EndpointReport> {
        let mut all = self.endpoints.clone();
        all.sort_by_key(EndpointReport::key);
        all.retain(|it| wanted.fits(it) && wanted.after.as_ref().is_none_or(|after| it.key() > *after));
        all.truncate(wanted.limit);
        all
    }

    fn nudge(&self, source: Option<&str>) -> Result<Vec<String>, NudgeError> {
        let nudged = match source {
            Some(name) => vec![self.source(name)?.name.clone()],
            None => self.sources.iter().map(|source| source.name.clone()).collect(),
        };
        self.asked.lock().unwrap().push(format!("nudge {}", source.unwrap_or("all")));
        Ok(nudged)
    }

    fn confirm(&self, source: &str, plan: Fingerprint) -> Result<(), ConfirmError> {
        let held_back = self.source(source)?.held_back.as_ref().ok_or(ConfirmError::NothingHeldBack)?;
        let now: Fingerprint = held_back.plan.parse().unwrap();
        if now != plan {
            return Err(ConfirmError::OtherPlan { now });
        }
        self.asked.lock().unwrap().push(format!("confirm {source} {plan}"));
        Ok(())
    }

    fn cached(&self, wanted: &WantedEntries) -> Vec<Listed> {
        self.cache.page(wanted.name.borrow(), wanted.after.as_ref(), wanted.limit, Instant::now())
    }

    fn flush(&self, name: Option<&Name>) -> usize {
        self.cache.purge(name.map(Name::borrow))
    }

    fn backup(&self) -> BackingUp {
        Box::pin(std::future::ready(Err("there is nothing to back up".to_owned())))
    }

    fn explain(&self, question: Question, _: QueryFlags, client: IpAddr) -> Explaining {
        let explaining = Arc::clone(&self.explaining);
        Box::pin(async move {
            explaining.acquire().await.unwrap().forget();
            let reply = ExplainedReply { rcode: Rcode::NXDOMAIN, answer: Vec::new(), authority: Vec::new() };
            let Question { name, rtype } = question;
            Explained { steps: vec![format!("{client} asks {name} {rtype}")], reply: Some(reply) }
        })
    }
}
