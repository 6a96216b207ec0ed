//! What stands around the admin API: config, the responder whose forwarder config and operators' rules exchange.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::serving::{self, changed, forward_over};
use crate::cache::Cache;
use crate::config::Config;
use crate::forward::{Forwarder, RuleSettings, UpstreamHealth};
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
        let old = self.config.swap(Arc::new(new.clone()));
        let before = self.responder.serving();
        let forward = forward_over(self.written.rules(), new);
        // What upstreams said may no longer hold when others are asked; else what is known of them stays.
        let asks_the_same = old.cache == new.cache && before.forwarder.settings().rules == forward.rules;
        let (cache, forwarder) = if asks_the_same {
            let has_same_bounds = *before.forwarder.settings() == forward;
            let forwarder = match has_same_bounds {
                true => Arc::clone(&before.forwarder),
                false => before.forwarder.with_settings(forward),
            };
            (Arc::clone(&before.cache), forwarder)
        } else {
            let cache = Arc::new(Cache::new(new.cache.clone()));
            let forwarder = Forwarder::new(forward, Arc::clone(&cache));
            (cache, forwarder)
        };
        self.responder.replace(serving::serving(new, cache, forwarder, Some(&before)));
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
        let before = self.responder.serving();
        let forward = forward_over(rules, &config);
        if *before.forwarder.settings() == forward {
            return;
        }
        let changed = changed(&before.forwarder.settings().rules, &forward.rules);
        let cache = Arc::clone(&before.cache);
        let forwarder = before.forwarder.with_settings(forward);
        self.responder.replace(serving::serving(&config, Arc::clone(&cache), forwarder, Some(&before)));
        // What other upstreams said of these names holds no longer, nor does what they are about to say; of all others
        // it stays.
        before.forwarder.retire();
        for domain in &changed {
            cache.purge_domain(domain.borrow());
        }
    }

    fn document_changed(&self, document: &StoredDocument) {
        if let Some(instances) = self.sources.instances() {
            instances.document_changed(document);
        }
    }
}
