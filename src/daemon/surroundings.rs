//! What stands around the admin API: config, the responder whose forwarder operators' rules exchange.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::parts;
use super::shared::Shared;
use crate::admin::Neighbours;
use crate::config::Config;
use crate::dns::Name;
use crate::forward::{self, RuleSettings, UpstreamHealth};
use crate::persist::StoredDocument;
use crate::privatelink::Catalogue;
use crate::respond::Responder;

/// After this long no question is in flight any more that was asked by other rules.
const ASKED_BEFORE: Duration = Duration::from_secs(2);

/// Shared by the daemon, which tells it what changes, the applier and the API.
pub(super) struct Surroundings {
    responder: Arc<Responder>,
    config: ArcSwap<Config>,
    sources: Shared,
    /// Rules are exchanged one after the other.
    turn: Mutex<()>,
    runtime: Handle,
}

impl Surroundings {
    /// Call it inside a runtime.
    pub fn new(config: &Config, responder: &Arc<Responder>, sources: &Shared) -> Arc<Surroundings> {
        Arc::new(Surroundings {
            responder: Arc::clone(responder),
            config: ArcSwap::from_pointee(config.clone()),
            sources: sources.clone(),
            turn: Mutex::new(()),
            runtime: Handle::current(),
        })
    }

    /// Goes on with another config.
    pub fn configure(&self, config: &Config) {
        self.config.store(Arc::new(config.clone()));
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
        let forward =
            forward::Settings { rules: over(rules, &config.forward.rules), ..config.forward.clone() };
        if *before.forwarder.settings() == forward {
            return;
        }
        let changed = changed(&before.forwarder.settings().rules, &forward.rules);
        let cache = Arc::clone(&before.cache);
        let forwarder = before.forwarder.with_settings(forward);
        self.responder.replace(parts::serving(&config, Arc::clone(&cache), forwarder));
        // What other upstreams said of these names holds no longer; of all others it stays.
        let forget = move || {
            for domain in &changed {
                cache.purge(Some(domain.borrow()));
            }
        };
        forget();
        self.runtime.spawn(async move {
            tokio::time::sleep(ASKED_BEFORE).await;
            forget();
        });
    }

    fn document_changed(&self, document: &StoredDocument) {
        if let Some(instances) = self.sources.instances() {
            instances.document_changed(document);
        }
    }
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
