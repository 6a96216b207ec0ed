//! What stands around the admin API: config, the responder whose forwarder config and operators' rules exchange.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::serving::{self, changed, forward_over};
use crate::config::Config;
use crate::forward::{self, RuleSettings, UpstreamHealth};
use crate::ledger::{Neighbours, Written};
use crate::persist::StoredDocument;
use crate::privatelink::Catalogue;
use crate::respond::Responder;
use crate::sources::Shared;

/// Shared by the daemon, which tells it what changes, the applier and the API.
pub(super) struct Surroundings {
    responder: Arc<Responder>,
    written: Arc<Written>,
    config: ArcSwap<Config>,
    sources: Shared,
    /// A reload and operators' rules exchange what is served with one after the other, each with what holds by then:
    /// else one would take back what the other has just put in force.
    turn: Mutex<()>,
}

impl Surroundings {
    pub fn new(
        config: &Config,
        responder: &Arc<Responder>,
        written: &Arc<Written>,
        sources: &Shared,
    ) -> Arc<Surroundings> {
        Arc::new(Surroundings {
            responder: Arc::clone(responder),
            written: Arc::clone(written),
            config: ArcSwap::from_pointee(config.clone()),
            sources: sources.clone(),
            turn: Mutex::new(()),
        })
    }

    /// Goes on with another config.
    pub fn configure(&self, new: &Config) {
        let _turn = self.turn.lock();
        self.config.store(Arc::new(new.clone()));
        self.exchange(new, forward_over(self.written.rules(), new));
    }

    /// Serves by a config and rules. What upstreams said stays, past its end too, but for names of which others are asked
    /// now; what is known of upstreams that stay goes on, and so does all that is counted.
    fn exchange(&self, config: &Config, forward: forward::Settings) {
        let before = self.responder.serving();
        let has_same_cache = *before.cache.settings() == config.cache;
        let cache = match has_same_cache {
            true => Arc::clone(&before.cache),
            false => Arc::new(before.cache.with_settings(config.cache.clone())),
        };
        let changed = changed(&before.forwarder.settings().rules, &forward.rules);
        let forwarder = match has_same_cache && *before.forwarder.settings() == forward {
            true => Arc::clone(&before.forwarder),
            false => before.forwarder.with_settings(forward, Arc::clone(&cache)),
        };
        self.responder.replace(serving::serving(config, Arc::clone(&cache), forwarder, Some(&before)));
        if before.cache.purges() != cache.purges() {
            // What was forgotten while it was taken over must not be there again.
            cache.purge(None);
        }
        if changed.is_empty() {
            return;
        }
        // Nor may they still say something: what is about to come of them is answered and not kept.
        before.forwarder.retire();
        for domain in &changed {
            cache.purge_domain(domain.borrow());
        }
    }
}

impl Neighbours for Surroundings {
    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.config.load().private_link.catalogue)
    }

    fn configured_rules(&self) -> Vec<RuleSettings> {
        self.config.load().forward.rules.clone()
    }

    fn upstreams(&self) -> Vec<UpstreamHealth> {
        self.responder.serving().forwarder.health()
    }

    fn set_rules(&self, rules: Vec<RuleSettings>) {
        let _turn = self.turn.lock();
        let config = self.config.load();
        let forward = forward_over(rules, &config);
        if *self.responder.serving().forwarder.settings() != forward {
            self.exchange(&config, forward);
        }
    }

    fn document_changed(&self, document: &StoredDocument) {
        if let Some(instances) = self.sources.instances() {
            instances.document_changed(document);
        }
    }
}
