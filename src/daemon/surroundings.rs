//! What stands around the admin API: config, the responder whose forwarder config and operators' rules exchange.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::parts;
use crate::cache::Cache;
use crate::config::Config;
use crate::dns::Name;
use crate::forward::{self, Forwarder, RuleSettings, UpstreamHealth};
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
        self.responder.replace(parts::serving(new, cache, forwarder, Some(&before)));
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
        self.responder.replace(parts::serving(&config, Arc::clone(&cache), forwarder, Some(&before)));
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

/// What is forwarded: what config says, below operators' rules.
pub(super) fn forward_over(rules: Vec<RuleSettings>, config: &Config) -> forward::Settings {
    forward::Settings { rules: over(rules, &config.forward.rules), ..config.forward.clone() }
}

/// Operators' rules over those of config: of two for one domain theirs holds.
fn over(mut rules: Vec<RuleSettings>, configured: &[RuleSettings]) -> Vec<RuleSettings> {
    let is_free = |rule: &&RuleSettings| !rules.iter().any(|own| own.domain == rule.domain);
    let others: Vec<RuleSettings> = configured.iter().filter(is_free).cloned().collect();
    rules.extend(others);
    rules
}

/// The domains whose upstreams are others than before.
fn changed(old: &[RuleSettings], new: &[RuleSettings]) -> Vec<Name> {
    let differs = |rule: &&RuleSettings, others: &[RuleSettings]| {
        !others.iter().any(|other| other.domain == rule.domain && other.upstreams == rule.upstreams)
    };
    let gone = old.iter().filter(|rule| differs(rule, new));
    let come = new.iter().filter(|rule| differs(rule, old));
    gone.chain(come).map(|rule| rule.domain.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(domain: &str, upstream: &str) -> RuleSettings {
        let (domain, upstreams) = (domain.parse().unwrap(), vec![upstream.parse().unwrap()]);
        RuleSettings { domain, upstreams, queries_per_second_max: None }
    }

    #[test]
    fn an_operators_rule_goes_before_that_of_config_and_only_its_domain_changes() {
        let configured = [rule(".", "10.0.0.1"), rule("a.", "10.0.0.2")];
        let merged = over(vec![rule("a.", "10.0.0.3"), rule("b.", "10.0.0.4")], &configured);
        assert_eq!(merged, [rule("a.", "10.0.0.3"), rule("b.", "10.0.0.4"), rule(".", "10.0.0.1")]);
        let mut domains = changed(&configured, &merged);
        domains.sort();
        domains.dedup();
        assert_eq!(domains, ["a.".parse().unwrap(), "b.".parse().unwrap()]);
    }
}
