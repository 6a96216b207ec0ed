//! The door of forwarding: a question in, always an outcome out.

use std::pin::pin;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::asker::Asker;
use super::attempt::Begun;
use super::checkup::Examiner;
use super::delegation::Delegations;
use super::failure::{self, Failure, Unanswered};
use super::inflight::{Flight, Full, Inflight, Joined, Sender, Waiter};
use super::link::Links;
use super::loops::Probes;
use super::race::{DOWN_PATIENCE, Won};
use super::rule::{Role, Rules};
use super::settings::Asked;
use super::shares::NoPlace;
use super::{Counters, Rule, Settings, Sockets, Transport, UpstreamAddress, UpstreamHealth};
use crate::cache::{Cache, UpstreamReply};
use crate::dns::{ExtendedError, Name, NameRef, QueryFlags, Question, Rcode, RecordType};
use crate::observe::Tap;

/// Asks upstreams and keeps what they say.
pub struct Forwarder {
    pub(super) rules: Rules,
    pub(super) cache: Arc<Cache>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) links: Links,
    pub(super) inflight: Inflight,
    pub(super) probes: Probes,
    pub(super) delegations: Arc<Delegations>,
    pub(super) examiner: Examiner,
    pub counters: Arc<Counters>,
    settings: Settings,
    learning: RwLock<Learning>,
    pub(super) tap: Arc<Tap>,
}

/// Whether what upstreams say goes to the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Learning {
    Goes,
    /// Others ask by now, perhaps other upstreams.
    Ended,
}

/// What became of a question.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Upstream's reply; a failure has `End::Failed` and says why.
    pub reply: Arc<UpstreamReply>,
    /// Seconds to subtract from TTLs.
    pub age_secs: u32,
    /// Why it is given though it is past its end: it is from the cache, and no upstream answers.
    pub stale: Option<ExtendedError>,
    /// Who answered now.
    pub upstream: Option<UpstreamAddress>,
    /// What was in the way of the answer, in words: failures of other upstreams, TCP, no EDNS. None mostly.
    pub way: Option<Arc<str>>,
}

impl Forwarder {
    /// A forwarder that asks real servers.
    pub fn new(settings: Settings, cache: Arc<Cache>) -> Arc<Forwarder> {
        Forwarder::observed(settings, cache, Arc::default())
    }

    /// The same, with what it asks told to others.
    pub fn observed(settings: Settings, cache: Arc<Cache>, tap: Arc<Tap>) -> Arc<Forwarder> {
        let counters = Arc::new(Counters::default());
        let transport = Arc::new(Sockets::new(counters.clone()));
        Forwarder::build(settings, cache, transport, counters, tap)
    }

    /// A forwarder whose queries go another way, as tests do.
    pub fn with_transport(
        settings: Settings,
        cache: Arc<Cache>,
        transport: Arc<dyn Transport>,
    ) -> Arc<Forwarder> {
        Forwarder::build(settings, cache, transport, Arc::default(), Arc::default())
    }

    fn build(
        settings: Settings,
        cache: Arc<Cache>,
        transport: Arc<dyn Transport>,
        counters: Arc<Counters>,
        tap: Arc<Tap>,
    ) -> Arc<Forwarder> {
        let links = Links::new(counters.clone());
        Arc::new(Forwarder {
            rules: Rules::new(&settings, &links),
            links,
            cache,
            examiner: Examiner::new(transport.clone(), counters.clone()),
            transport,
            inflight: inflight(&settings),
            probes: Probes::default(),
            delegations: Arc::default(),
            counters,
            settings,
            learning: RwLock::new(Learning::Goes),
            tap,
        })
    }

    /// One that asks by other rules and keeps what it hears in `cache`; what is known of upstreams that stay goes on, and
    /// so does all that is counted.
    pub fn with_settings(&self, settings: Settings, cache: Arc<Cache>) -> Arc<Forwarder> {
        Arc::new(Forwarder {
            rules: Rules::beside(&settings, &self.links, &self.rules.upstreams),
            links: self.links.clone(),
            cache,
            examiner: self.examiner.clone(),
            transport: self.transport.clone(),
            inflight: inflight(&settings),
            probes: Probes::default(),
            delegations: self.delegations.clone(),
            counters: self.counters.clone(),
            settings,
            learning: RwLock::new(Learning::Goes),
            tap: self.tap.clone(),
        })
    }

    /// Leaves the cache to a successor: what is still in flight is answered to those who wait, and not kept. Nothing of
    /// it comes into the cache after this returns.
    pub fn retire(&self) {
        *self.learning.write() = Learning::Ended;
    }

    /// Asks upstream, without a look into the cache; what is learnt goes there.
    ///
    /// When upstream fails, what the cache has answers. A caller that goes away takes nothing from others.
    pub async fn ask(self: &Arc<Self>, question: Question, flags: QueryFlags, asker: Asker) -> Outcome {
        self.counters.questions.add(1);
        let asked = Asked::by_rules(question, flags);
        let waiter = match self.join(&asked, asker) {
            Ok(waiter) => waiter,
            Err(why) => return self.fall_back(&asked, why),
        };
        self.wait(waiter).await
    }

    /// Asks as [`Forwarder::ask`] does, for callers who have an answer of their own: none of them waits for upstreams that
    /// are known to be down. Those are tried behind the question when their time has come.
    pub async fn ask_unless_down(
        self: &Arc<Self>,
        question: Question,
        flags: QueryFlags,
        asker: Asker,
    ) -> Outcome {
        let now = Instant::now();
        let rule = self.rules.taking(&question);
        let Some(rule) = rule.filter(|rule| rule.down_since(now).is_some()) else {
            return self.ask(question, flags, asker).await;
        };
        let asked = Asked::by_rules(question, flags);
        if self.has_stale(&asked, now) {
            // RFC 8767 §5: it is better than the caller's own answer once asking has failed, and not before.
            return self.ask(asked.question, flags, asker).await;
        }
        self.counters.questions.add(1);
        let why = Failure::known(rule, now).explain(now);
        if rule.upstreams.iter().any(|upstream| upstream.health.is_probe_due(now)) {
            // If it cannot be tried now, it is when the next pause is over.
            let _ = self.join(&asked, Asker::Server);
        }
        self.fall_back(&asked, why)
    }

    /// Waits for a flight.
    pub(super) async fn wait(&self, waiter: Waiter) -> Outcome {
        let flight = waiter.flight.clone();
        match waiter.outcome().await {
            Some(outcome) => outcome,
            // The task that asked is gone: the runtime shuts down.
            None => {
                let why = ExtendedError::new(ExtendedError::OTHER, "the server stops");
                self.fall_back(&flight.asked, why)
            }
        }
    }

    /// Asks upstream for the cache's sake.
    pub fn prefetch(self: &Arc<Self>, question: Question, flags: QueryFlags) {
        self.counters.prefetches.add(1);
        // If it cannot be asked now, it is asked when it is needed.
        let _ = self.join(&Asked::by_rules(question, flags), Asker::Server);
    }

    /// Answers without asking upstream: with what the cache has past its end, else with a failure that says why.
    pub fn refuse(&self, question: Question, flags: QueryFlags, why: ExtendedError) -> Outcome {
        self.fall_back(&Asked::by_rules(question, flags), why)
    }

    /// The rule that takes a question.
    pub fn rule_for(&self, question: &Question) -> Option<&Rule> {
        self.rules.taking(question).map(|rule| &**rule)
    }

    /// Whether `rule`'s upstreams, asked this, may say something of `name`.
    pub(super) fn speaks_for(&self, rule: &Rule, asked: &Question, name: NameRef<'_>) -> bool {
        // The proof that a name has no DS is owned by it (RFC 4035 §3.1.4).
        if asked.rtype == RecordType::DS && name == asked.name.borrow() {
            return true;
        }
        let taker = self.rules.of(name);
        match rule.role {
            Role::Resolvers => taker.is_some_and(|taker| taker.domain == rule.domain),
            // An explicit rule takes precedence over a delegation.
            Role::NameServers => {
                name.is_within(rule.domain.borrow())
                    && taker.is_none_or(|taker| taker.domain.borrow().is_root())
            }
        }
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
    fn join(self: &Arc<Self>, asked: &Asked, asker: Asker) -> Result<Waiter, ExtendedError> {
        let rule = self.rules.taking(&asked.question).filter(|rule| !rule.upstreams.is_empty());
        let rule = rule.ok_or_else(|| failure::no_rule(asked.question.name.borrow()))?;
        self.board(asked, (rule.number, &rule.domain), asker, |flight, sender| {
            // Its state is large, and tokio moves what it is given more than once.
            tokio::spawn(Box::pin(self.clone().fly(flight, rule.clone(), sender, None)));
        })
    }

    /// Takes part in a question's flight; `begin` begins it if there is none and the rule of this number and domain and the
    /// asker may have one more.
    pub(super) fn board(
        self: &Arc<Self>,
        asked: &Asked,
        (rule, domain): (usize, &Name),
        asker: Asker,
        begin: impl FnOnce(Arc<Flight>, Sender),
    ) -> Result<Waiter, ExtendedError> {
        match self.inflight.join(asked.clone(), rule, asker) {
            Ok(Joined::Leads(waiter, sender)) => {
                begin(waiter.flight.clone(), sender);
                Ok(waiter)
            }
            Ok(Joined::Follows(waiter)) => {
                self.counters.coalesced.add(1);
                self.suspect_loop(&waiter.flight);
                Ok(waiter)
            }
            Err(full) => Err(self.turned_away(full, domain, asker)),
        }
    }

    /// Counts a question that is not asked; why it is not.
    fn turned_away(&self, full: Full, domain: &Name, asker: Asker) -> ExtendedError {
        let Settings { questions_in_flight_max, waiters_max, .. } = self.settings;
        let (counter, why) = match (full, asker) {
            (Full::Questions(NoPlace::Full), _) => {
                let why = format!("{questions_in_flight_max} questions wait for upstream");
                (&self.counters.shed_in_flight, why)
            }
            (Full::Questions(NoPlace::Rule), _) => {
                let why = format!("too many questions below {domain} wait for upstream");
                (&self.counters.shed_share, why)
            }
            (Full::Questions(NoPlace::Asker), Asker::Network(network) | Asker::Exempt(network)) => {
                (&self.counters.shed_share, format!("too many questions of {network} wait for upstream"))
            }
            (Full::Questions(NoPlace::Asker), Asker::Server) => {
                let why = "too many questions of the server's own wait for upstream";
                (&self.counters.shed_share, why.to_owned())
            }
            (Full::Waiters, _) => {
                (&self.counters.shed_waiters, format!("{waiters_max} clients wait for this question"))
            }
        };
        counter.add(1);
        ExtendedError::new(ExtendedError::OTHER, why)
    }

    /// Asks one question on behalf of all who wait.
    pub(super) async fn fly(
        self: Arc<Self>,
        flight: Arc<Flight>,
        rule: Arc<Rule>,
        sender: Sender,
        begun: Option<Begun>,
    ) {
        let settlement = self.inflight.settlement(&flight);
        let asked = &flight.asked;
        let now = Instant::now();
        let mut race = pin!(self.race(&flight, &rule, begun));
        let raced = match rule.down_since(now) {
            None => race.await,
            Some(_) => match timeout_at(flight.started + DOWN_PATIENCE, &mut race).await {
                Ok(raced) => raced,
                Err(_) => {
                    // It is the one to try upstream with: that takes its time, and who waits has the stale entry.
                    let why = Failure::known(&rule, now).explain(now);
                    if let Some(outcome) = self.stale(asked, why) {
                        sender.send(outcome);
                    }
                    race.await
                }
            },
        };
        let outcome = self.conclude(asked, raced.map_err(|failure| failure.conclude(Instant::now())));
        drop(settlement);
        sender.send(outcome);
    }

    /// What becomes of a question: what was said is kept, and for a failure answers what is.
    pub(super) fn conclude(&self, asked: &Asked, raced: Result<Won, Unanswered>) -> Outcome {
        let now = Instant::now();
        match raced {
            Ok(Won { reply, upstream, way }) => {
                if let Some(way) = &way {
                    debug!(dns.question.name = %asked.question.name, "Upstream {upstream} answers: {way}");
                }
                Outcome { way, ..self.learn(asked, reply, upstream, now) }
            }
            Err(Unanswered { reply, why, is_worth_keeping }) => {
                debug!(dns.question.name = %asked.question.name, "No upstream answers: {}", why.text);
                let reply = Arc::new(reply);
                if is_worth_keeping {
                    self.keep(asked, &reply, now);
                }
                self.stale(asked, why).unwrap_or_else(|| {
                    self.counters.failures.add(1);
                    Outcome { reply, age_secs: 0, stale: None, upstream: None, way: None }
                })
            }
        }
    }

    /// Keeps what an upstream said.
    pub(super) fn learn(
        &self,
        asked: &Asked,
        reply: UpstreamReply,
        upstream: UpstreamAddress,
        now: Instant,
    ) -> Outcome {
        let reply = Arc::new(self.cache.capped(reply));
        self.keep(asked, &reply, now);
        Outcome { reply, age_secs: 0, stale: None, upstream: Some(upstream), way: None }
    }

    fn keep(&self, asked: &Asked, reply: &Arc<UpstreamReply>, now: Instant) {
        // Held over the put, so that `retire` waits for it.
        let learning = self.learning.read();
        if *learning == Learning::Goes {
            self.cache.put(&asked.question, asked.manner(), reply.clone(), now);
        }
    }

    /// What the cache has, or a failure.
    pub(super) fn fall_back(&self, asked: &Asked, why: ExtendedError) -> Outcome {
        self.stale(asked, why.clone()).unwrap_or_else(|| {
            self.counters.failures.add(1);
            let reply = Arc::new(UpstreamReply::failure(Rcode::SERVFAIL, why));
            Outcome { reply, age_secs: 0, stale: None, upstream: None, way: None }
        })
    }

    /// Whether the cache has what may answer once asking has failed.
    fn has_stale(&self, asked: &Asked, now: Instant) -> bool {
        let question = &asked.question;
        self.cache.fallback(question.name.borrow(), question.rtype, asked.manner(), now).is_some()
    }

    pub(super) fn stale(&self, asked: &Asked, why: ExtendedError) -> Option<Outcome> {
        let question = &asked.question;
        let hit =
            self.cache.fallback(question.name.borrow(), question.rtype, asked.manner(), Instant::now())?;
        self.counters.stale_answers.add(1);
        let why = ExtendedError::stale(hit.reply.denies_name(), format!("answered stale: {}", why.text));
        Some(Outcome {
            reply: hit.reply,
            age_secs: hit.age_secs,
            stale: Some(why),
            upstream: None,
            way: None,
        })
    }
}

/// The number that rules made of delegations have.
pub(super) fn delegated(settings: &Settings) -> usize {
    settings.rules.len()
}

/// Nothing in flight.
fn inflight(settings: &Settings) -> Inflight {
    // And of the delegations that are followed, which together are as one rule.
    let rules = delegated(settings) + 1;
    Inflight::new(settings.questions_in_flight_max, settings.waiters_max, rules)
}

#[cfg(test)]
mod tests;
