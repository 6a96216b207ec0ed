//! One upstream server, shared by all rules that name it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::info;

use super::budget::Budget;
use super::fault::Fault;
use super::health::{Health, Standing};
use super::link::Links;
use super::settings::AZURE_DNS_QUERIES_PER_SECOND;
use super::{ExchangeError, Link, LinkState, Protocol, Query, Transport, UpstreamAddress, failure};
use crate::dns::{Name, Question, RecordType};
use crate::telemetry::{Counter, Durations, Histogram};
use crate::tls::Trust;

/// A server that questions go to.
pub struct Upstream {
    pub address: UpstreamAddress,
    pub(super) health: Health,
    pub(super) budget: Option<Budget>,
    /// The way to it, if it is asked over connections.
    link: Option<Arc<dyn Link>>,
    trust: Trust,
    /// What we ask it ourselves to learn whether it lives.
    checkup: Mutex<Question>,
    /// The task that asks it while it is down.
    watch: Mutex<Option<Watch>>,
    /// Queries sent to it.
    pub(super) queries: Counter,
    /// Queries that it left unanswered.
    pub(super) timeouts: Counter,
    /// Questions that it answered with a failure, a referral or nonsense, by what they failed by.
    failures: [Counter; Fault::ALL.len()],
    /// How long its answers took.
    answers: Histogram,
}

/// A task that ends when this is dropped.
struct Watch(AbortHandle);

/// An upstream as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamHealth {
    pub address: UpstreamAddress,
    pub standing: Standing,
    /// UTC time of the first question that it left without an answer, as `12:01 UTC`.
    pub silent_since: Option<String>,
    pub queries: u64,
    pub timeouts: u64,
    pub failures: u64,
    pub queries_per_second_max: Option<u32>,
    /// Of one that is asked over connections.
    pub link: Option<LinkState>,
}

impl Upstream {
    pub(super) fn new(
        address: UpstreamAddress,
        queries_per_second_max: Option<u32>,
        links: &Links,
        trust: &Trust,
    ) -> Upstream {
        let azure = address.is_azure().then_some(AZURE_DNS_QUERIES_PER_SECOND);
        Upstream {
            link: links.to(&address, trust),
            trust: trust.clone(),
            address,
            health: Health::default(),
            budget: queries_per_second_max.or(azure).map(Budget::new),
            checkup: Mutex::new(checkup_of(&Name::root())),
            watch: Mutex::default(),
            queries: Counter::default(),
            timeouts: Counter::default(),
            failures: Default::default(),
            answers: Histogram::default(),
        }
    }

    /// Whether it is the same as another: as many questions may go to it, and it proves who it is to the same authorities.
    pub(super) fn is_like(&self, other: &Upstream) -> bool {
        let bound = |upstream: &Upstream| upstream.budget.as_ref().map(Budget::per_second_max);
        let has_same_trust = self.address.peer().is_none() || self.trust == other.trust;
        self.address == other.address && bound(self) == bound(other) && has_same_trust
    }

    /// Whether lanes may ask it.
    pub(super) fn is_asked_by_datagrams(&self) -> bool {
        self.link.is_none()
    }

    /// Sends a query the way that this upstream is asked, and waits for the reply.
    pub(super) async fn exchange(
        &self,
        transport: &dyn Transport,
        query: &mut Query,
        protocol: Protocol,
    ) -> Result<Vec<u8>, ExchangeError> {
        match &self.link {
            Some(link) => link.exchange(query).await,
            None => transport.exchange(self.socket(), query, protocol).await,
        }
    }

    /// What is known of the way to it, if it is asked over connections.
    pub fn link(&self) -> Option<LinkState> {
        self.link.as_ref().map(|link| link.state())
    }

    /// What we ask it ourselves to learn whether it lives.
    pub(super) fn checkup(&self) -> Question {
        self.checkup.lock().clone()
    }

    /// Takes the widest domain that it is asked for.
    pub(super) fn set_checkup(&self, domain: &Name) {
        *self.checkup.lock() = checkup_of(domain);
    }

    /// Lets a task live for as long as the upstream, in the place of the one before.
    pub(super) fn set_watch(&self, task: AbortHandle) {
        *self.watch.lock() = Some(Watch(task));
    }

    /// Notes any answer of it, and how long it took where that is known.
    pub(super) fn note_answer(&self, now: Instant, took: Option<Duration>) {
        if let Some(took) = took {
            self.answers.add(took, 1);
        }
        if self.health.answered(now) {
            info!(forward.upstream = %self.address, "Upstream {} answers again", self.address);
        }
    }

    /// Notes what it failed by.
    pub(super) fn note_failure(&self, fault: Fault) {
        self.failures[fault as usize].add(1);
    }

    /// How often it failed by what.
    pub(super) fn failures(&self) -> impl Iterator<Item = (Fault, u64)> {
        Fault::ALL.into_iter().zip(self.failures.iter().map(Counter::value))
    }

    /// How long its answers took so far.
    pub(super) fn durations(&self) -> Durations {
        let mut durations = Durations::default();
        durations.add(&self.answers);
        durations
    }

    pub fn socket(&self) -> SocketAddr {
        self.address.socket()
    }

    pub fn standing(&self, now: Instant) -> Standing {
        self.health.standing(now)
    }

    /// What is known of it.
    pub fn health(&self, now: Instant) -> UpstreamHealth {
        UpstreamHealth {
            address: self.address.clone(),
            standing: self.standing(now),
            silent_since: self.health.silent_since().map(|since| failure::clock(since, now)),
            queries: self.queries.value(),
            timeouts: self.timeouts.value(),
            failures: self.failures.iter().map(Counter::value).sum(),
            queries_per_second_max: self.budget.as_ref().map(Budget::per_second_max),
            link: self.link(),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What every resolver has at hand, or what one for this domain must know.
fn checkup_of(domain: &Name) -> Question {
    let rtype = if domain.borrow().is_root() { RecordType::NS } else { RecordType::SOA };
    Question { name: domain.clone(), rtype }
}
