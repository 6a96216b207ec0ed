//! Which upstreams are asked for which names: the longest domain wins.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::health::Standing;
use super::link::Links;
use super::{RuleSettings, Settings, Upstream, UpstreamAddress};
use crate::dns::{Name, NameRef, Question, RecordType, SuffixMap};

/// What is asked for one domain.
pub struct Rule {
    /// Its place among all rules.
    pub(super) number: usize,
    pub domain: Name,
    /// In the order of preference.
    pub upstreams: Vec<Arc<Upstream>>,
    pub role: Role,
}

/// What a rule's upstreams are to its domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// They find out what they are asked.
    Resolvers,
    /// The domain is delegated to them: they say what they have, and where it goes on.
    NameServers,
}

/// All rules, and the upstreams they name.
pub struct Rules {
    by_domain: SuffixMap<Arc<Rule>>,
    pub upstreams: Vec<Arc<Upstream>>,
}

impl Rule {
    /// The upstreams to ask, the best first; those that are down only if none is up.
    pub(super) fn candidates(&self, now: Instant) -> Vec<Arc<Upstream>> {
        let of = |is: fn(Standing) -> bool| -> Vec<Arc<Upstream>> {
            self.upstreams.iter().filter(|upstream| is(upstream.standing(now))).cloned().collect()
        };
        let first = of(Standing::is_asked_first);
        if first.is_empty() { of(|standing| standing == Standing::Down) } else { first }
    }

    /// Since when all upstreams are known not to answer; none if one may.
    pub(super) fn down_since(&self, now: Instant) -> Option<Instant> {
        let mut since = None;
        for upstream in &self.upstreams {
            since = since.max(Some(upstream.health.out_since(now)?));
        }
        since
    }
}

impl Rules {
    pub(super) fn new(settings: &Settings, links: &Links) -> Rules {
        Rules::beside(settings, links, &[])
    }

    /// Rules in the place of others, whose upstreams they go on with where nothing of these is another.
    pub(super) fn beside(settings: &Settings, links: &Links, known: &[Arc<Upstream>]) -> Rules {
        let Settings { rules: settings, trust, .. } = settings;
        // An upstream named by several rules is one, with the least of their bounds.
        let mut bounds: HashMap<UpstreamAddress, Option<u32>> = HashMap::new();
        for rule in settings {
            for address in &rule.upstreams {
                let bound = bounds.entry(address.clone()).or_default();
                *bound = bound.iter().copied().chain(rule.queries_per_second_max).min();
            }
        }
        let shared: HashMap<UpstreamAddress, Arc<Upstream>> = bounds
            .into_iter()
            .map(|(address, bound)| {
                let new = Upstream::new(address.clone(), bound, links, trust);
                let stays = |it: &&Arc<Upstream>| it.is_like(&new);
                (address, known.iter().find(stays).cloned().unwrap_or_else(|| Arc::new(new)))
            })
            .collect();
        let by_domain = settings.iter().enumerate().map(|(number, rule)| {
            let mut upstreams: Vec<Arc<Upstream>> = Vec::new();
            for address in &rule.upstreams {
                if !upstreams.iter().any(|upstream| upstream.address == *address) {
                    upstreams.push(shared[address].clone());
                }
            }
            let domain = rule.domain.clone();
            let of_rule = Rule { number, domain, upstreams, role: Role::Resolvers };
            (rule.domain.clone(), Arc::new(of_rule))
        });
        let by_domain = by_domain.collect();
        for (address, upstream) in &shared {
            let names_it = |rule: &&RuleSettings| rule.upstreams.contains(address);
            let domains = settings.iter().filter(names_it).map(|rule| &rule.domain);
            if let Some(widest) = domains.min_by_key(|domain| domain.borrow().as_wire().len()) {
                upstream.set_checkup(widest);
            }
        }
        let mut upstreams: Vec<Arc<Upstream>> = shared.into_values().collect();
        upstreams.sort_by(|one, other| one.address.cmp(&other.address));
        Rules { by_domain, upstreams }
    }

    /// The rule that says who is asked.
    // RFC 4035 §3.1.4.1: the parent answers for DS, whom the rule of the name itself need not lead to.
    pub fn taking(&self, question: &Question) -> Option<&Arc<Rule>> {
        let name = question.name.borrow();
        let of_parent = name.parent().filter(|_| question.rtype == RecordType::DS);
        let of_parent = of_parent.and_then(|parent| self.of(parent));
        of_parent.filter(|rule| !rule.upstreams.is_empty()).or_else(|| self.of(name))
    }

    /// The rule with the longest domain that encloses `name`.
    pub fn of(&self, name: NameRef<'_>) -> Option<&Arc<Rule>> {
        self.by_domain.enclosing(name).next().map(|(_, rule)| rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_domain_wins_and_upstreams_are_shared() {
        let rule = |domain: &str, upstreams: &[&str], queries_per_second_max| RuleSettings {
            domain: domain.parse().unwrap(),
            upstreams: upstreams.iter().map(|text| text.parse().unwrap()).collect(),
            queries_per_second_max,
        };
        let links = Links::new(Arc::default());
        let settings = |rules: &[RuleSettings]| Settings { rules: rules.to_vec(), ..Settings::default() };
        let rules = Rules::new(
            &settings(&[
                rule(".", &["168.63.129.16", "10.0.0.1", "10.0.0.1"], None),
                rule("corp.example.", &["10.0.0.1"], Some(50)),
                rule("eu.corp.example.", &["10.0.0.1"], Some(70)),
            ]),
            &links,
        );
        let domain = |name: &str| {
            let name: Name = name.parse().unwrap();
            rules.of(name.borrow()).unwrap().domain.to_string()
        };
        assert_eq!(domain("a.eu.corp.example."), "eu.corp.example.");
        assert_eq!(domain("xeu.corp.example."), "corp.example.");
        assert_eq!(domain("xcorp.example."), ".");
        let root = rules.of(NameRef::ROOT).unwrap();
        let bounds: Vec<Option<u32>> = root
            .upstreams
            .iter()
            .map(|upstream| upstream.health(Instant::now()).queries_per_second_max)
            .collect();
        assert_eq!(bounds, [Some(900), Some(50)]);
        assert_eq!(rules.upstreams.len(), 2);
        let others = [rule(".", &["168.63.129.16"], None), rule("a.", &["10.0.0.1"], Some(60))];
        let others = Rules::beside(&settings(&others), &links, &rules.upstreams);
        let stays = |at: usize| rules.upstreams.iter().any(|it| Arc::ptr_eq(it, &others.upstreams[at]));
        assert_eq!([stays(0), stays(1)], [false, true], "10.0.0.1 has another bound");
    }
}
