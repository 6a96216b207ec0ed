//! The door of forwarding: a question in, always an outcome out.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::debug;

use super::counters::count;
use super::failure::{self, Failure};
use super::inflight::{Flight, Full, Inflight, Joined};
use super::loops::Probes;
use super::rule::Rules;
use super::settings::Asked;
use super::{Counters, Rule, Settings, Sockets, Transport, UpstreamAddress, UpstreamHealth};
use crate::cache::{Cache, End, UpstreamReply};
use crate::dns::{ExtendedError, NameRef, QueryFlags, Question, Rcode};

/// Asks upstreams and keeps what they say.
pub struct Forwarder {
    pub(super) rules: Rules,
    pub(super) cache: Arc<Cache>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) inflight: Inflight,
    pub(super) probes: Probes,
    pub counters: Arc<Counters>,
    settings: Settings,
}

/// What became of a question.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Upstream's reply; a failure has `End::Failed` and says why.
    pub reply: Arc<UpstreamReply>,
    /// Seconds to subtract from TTLs.
    pub age_secs: u32,
    pub freshness: Freshness,
    /// Who answered now.
    pub upstream: Option<UpstreamAddress>,
}

/// Whether a reply is of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freshness {
    Fresh,
    /// From the cache and past its end, because no upstream answers; say why (RFC 8914 §4.4, §4.20).
    Stale(ExtendedError),
}

impl Forwarder {
    /// A forwarder that asks real servers.
    pub fn new(settings: Settings, cache: Arc<Cache>) -> Arc<Forwarder> {
        let counters = Arc::new(Counters::default());
        let transport = Arc::new(Sockets::new(counters.clone()));
        Forwarder::build(settings, cache, transport, counters)
    }

    /// A forwarder whose queries go another way, as tests do.
    pub fn with_transport(
        settings: Settings,
        cache: Arc<Cache>,
        transport: Arc<dyn Transport>,
    ) -> Arc<Forwarder> {
        Forwarder::build(settings, cache, transport, Arc::default())
    }

    fn build(
        settings: Settings,
        cache: Arc<Cache>,
        transport: Arc<dyn Transport>,
        counters: Arc<Counters>,
    ) -> Arc<Forwarder> {
        Arc::new(Forwarder {
            rules: Rules::new(&settings.rules),
            cache,
            transport,
            inflight: Inflight::new(settings.questions_in_flight_max, settings.waiters_max),
            probes: Probes::default(),
            counters,
            settings,
        })
    }

    /// Asks upstream, without a look into the cache; what is learnt goes there.
    ///
    /// When upstream fails, what the cache has answers. A caller that goes away takes nothing from others.
    pub async fn ask(self: &Arc<Self>, question: Question, flags: QueryFlags) -> Outcome {
        count(&self.counters.questions);
        let asked = Asked { question, flags };
        let waiter = match self.join(&asked) {
            Ok(waiter) => waiter,
            Err(why) => return self.fall_back(&asked, why),
        };
        match waiter.outcome().await {
            Some(outcome) => outcome,
            // The task that asked is gone: the runtime shuts down.
            None => self.fall_back(&asked, ExtendedError::new(ExtendedError::OTHER, "the server stops")),
        }
    }

    /// Asks upstream for the cache's sake.
    pub fn prefetch(self: &Arc<Self>, question: Question, flags: QueryFlags) {
        count(&self.counters.prefetches);
        // If it cannot be asked now, it is asked when it is needed.
        let _ = self.join(&Asked { question, flags });
    }

    /// The rule that takes a name.
    pub fn rule_for(&self, name: NameRef<'_>) -> Option<&Rule> {
        self.rules.of(name).map(|rule| &**rule)
    }

    /// Whether `rule`'s upstreams may say something of `name`.
    pub fn speaks_for(&self, rule: &Rule, name: NameRef<'_>) -> bool {
        self.rules.of(name).is_some_and(|taker| taker.domain == rule.domain)
    }

    /// All upstreams and how they are.
    pub fn health(&self) -> Vec<UpstreamHealth> {
        let now = Instant::now();
        self.rules.upstreams.iter().map(|upstream| upstream.health(now)).collect()
    }

    /// How many questions are in flight.
    pub fn questions_in_flight(&self) -> usize {
        self.inflight.len()
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes part in a question's flight; begins it if there is none.
    fn join(self: &Arc<Self>, asked: &Asked) -> Result<super::inflight::Waiter, ExtendedError> {
        let name = asked.question.name.borrow();
        let rule = self.rules.of(name).filter(|rule| !rule.upstreams.is_empty());
        let rule = rule.ok_or_else(|| failure::no_rule(name))?;
        match self.inflight.join(asked.clone()) {
            Ok(Joined::Leads(waiter, sender)) => {
                tokio::spawn(self.clone().fly(waiter.flight.clone(), rule.clone(), sender));
                Ok(waiter)
            }
            Ok(Joined::Follows(waiter)) => {
                count(&self.counters.coalesced);
                self.suspect_loop(&waiter.flight);
                Ok(waiter)
            }
            Err(Full::Questions) => {
                count(&self.counters.shed_in_flight);
                let max = self.settings.questions_in_flight_max;
                Err(ExtendedError::new(ExtendedError::OTHER, format!("{max} questions wait for upstream")))
            }
            Err(Full::Waiters) => {
                count(&self.counters.shed_waiters);
                let max = self.settings.waiters_max;
                Err(ExtendedError::new(ExtendedError::OTHER, format!("{max} clients wait for this question")))
            }
        }
    }

    /// Asks one question on behalf of all who wait.
    async fn fly(
        self: Arc<Self>,
        flight: Arc<Flight>,
        rule: Arc<Rule>,
        sender: watch::Sender<Option<Outcome>>,
    ) {
        let landing = self.inflight.landing(&flight);
        let asked = &flight.asked;
        let now = Instant::now();
        if rule.is_down(now) {
            // Nobody need wait for what is known: the stale entry answers, and upstream is tried behind it.
            let why = Failure::known(&rule, now).explain(now);
            sender.send_modify(|outcome| *outcome = self.stale(asked, why));
        }
        let raced = self.race(&flight, &rule).await;
        let now = Instant::now();
        let outcome = match raced {
            Ok((reply, upstream)) => {
                let reply = Arc::new(self.cache.capped(reply));
                self.cache.put(&asked.question, asked.flags, reply.clone(), now);
                Outcome { reply, age_secs: 0, freshness: Freshness::Fresh, upstream: Some(upstream) }
            }
            Err(failure) => {
                let why = failure.explain(now);
                debug!(dns.question.name = %asked.question.name, "No upstream answers: {}", why.text);
                let keep = failure.is_worth_keeping();
                let reply = Arc::new(failure.into_reply(now));
                if keep {
                    self.cache.put(&asked.question, asked.flags, reply.clone(), now);
                }
                self.stale(asked, why).unwrap_or_else(|| {
                    count(&self.counters.failures);
                    Outcome { reply, age_secs: 0, freshness: Freshness::Fresh, upstream: None }
                })
            }
        };
        drop(landing);
        sender.send_replace(Some(outcome));
    }

    /// What the cache has, or a failure.
    fn fall_back(&self, asked: &Asked, why: ExtendedError) -> Outcome {
        self.stale(asked, why.clone()).unwrap_or_else(|| {
            count(&self.counters.failures);
            let reply = Arc::new(UpstreamReply::failure(Rcode::SERVFAIL, why));
            Outcome { reply, age_secs: 0, freshness: Freshness::Fresh, upstream: None }
        })
    }

    fn stale(&self, asked: &Asked, why: ExtendedError) -> Option<Outcome> {
        let question = &asked.question;
        let hit = self.cache.fallback(question.name.borrow(), question.rtype, asked.flags, Instant::now())?;
        count(&self.counters.stale_answers);
        let code = match hit.reply.rcode {
            Rcode::NXDOMAIN if hit.reply.end == End::Negative => ExtendedError::STALE_NXDOMAIN,
            _ => ExtendedError::STALE_ANSWER,
        };
        let text = format!("answered stale: {}", why.text);
        Some(Outcome {
            reply: hit.reply,
            age_secs: hit.age_secs,
            freshness: Freshness::Stale(ExtendedError::new(code, text)),
            upstream: None,
        })
    }
}
