//! What the responder serves with: config, below what operators say of forwarding.

use std::sync::Arc;

use crate::answer::{self, PrivateReverse, Rules};
use crate::cache::Cache;
use crate::config::Config;
use crate::dns::Name;
use crate::forward::{self, Forwarder, RuleSettings};
use crate::respond::{RateLimit, Serving};

/// What the responder serves with, by the rules of a forwarder. What a client had of late is remembered where the bounds
/// are those from before.
pub(super) fn serving(
    config: &Config,
    cache: Arc<Cache>,
    forwarder: Arc<Forwarder>,
    before: Option<&Serving>,
) -> Serving {
    // Azure's resolver knows the virtual machines of its networks; what others know of private addresses is not ours.
    let by_upstreams = match forwarder.settings().asks_azure_alone() {
        true => PrivateReverse::Ask,
        false => PrivateReverse::Here,
    };
    let rules = Rules::new(answer::Settings {
        access: config.access.clone(),
        public_names: config.private_link.public_names,
        private_reverse: config.private_reverse.unwrap_or(by_upstreams),
        forwarded: forwarder.settings().rules.iter().map(|rule| rule.domain.clone()).collect(),
        catalogue: Arc::clone(&config.private_link.catalogue),
    });
    let before = before.and_then(|before| before.rate_limit.as_ref());
    let rate_limit = match before.filter(|before| *before.settings() == config.rate) {
        Some(before) => Some(Arc::clone(before)),
        None => RateLimit::new(config.rate.clone()).map(Arc::new),
    };
    Serving::new(rules, cache, forwarder, rate_limit)
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
pub(super) fn changed(old: &[RuleSettings], new: &[RuleSettings]) -> Vec<Name> {
    let differs = |rule: &&RuleSettings, others: &[RuleSettings]| {
        !others.iter().any(|other| other.domain == rule.domain && other.upstreams == rule.upstreams)
    };
    let gone = old.iter().filter(|rule| differs(rule, new));
    let come = new.iter().filter(|rule| differs(rule, old));
    gone.chain(come).map(|rule| rule.domain.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Where reverse names of private addresses are asked with this `[forward]`.
    async fn private_reverse(forward: &str) -> PrivateReverse {
        let text = format!("[listen]\ndns = ['127.0.0.1:0']\n[forward]\n{forward}");
        let config = Config::parse(&text, Path::new("c.toml")).unwrap();
        let cache = Arc::new(Cache::new(config.cache.clone()));
        let forwarder = Forwarder::new(config.forward.clone(), Arc::clone(&cache));
        serving(&config, cache, forwarder, None).rules.private_reverse()
    }

    #[tokio::test]
    async fn azures_resolver_alone_is_asked_for_reverse_names_unless_config_says_otherwise() {
        use PrivateReverse::{Ask, Here};
        for (forward, expected) in [
            ("", Ask),
            ("upstreams = ['168.63.129.16']", Ask),
            ("upstreams = ['168.63.129.16', '10.0.0.1']", Here),
            ("upstreams = ['10.0.0.1']", Here),
            ("upstreams = []", Here),
            ("private_reverse = 'here'", Here),
            ("upstreams = ['10.0.0.1']\nprivate_reverse = 'ask'", Ask),
            // A rule for other names changes nothing for these.
            ("[[forward.rule]]\ndomain = 'corp.example'\nupstreams = ['10.0.0.1']", Ask),
        ] {
            assert_eq!(private_reverse(forward).await, expected, "{forward}");
        }
    }

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
