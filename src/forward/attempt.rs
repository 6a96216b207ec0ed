//! One upstream asked once: with what it understands, and again over TCP or plainly where it must.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::warn;

use super::asker::Asker;
use super::case::Case;
use super::failure::Trouble;
use super::fault::Fault;
use super::inflight::Flight;
use super::observed::Observed;
use super::reading::Reading;
use super::rule::Role;
use super::{ExchangeError, Forwarder, Judgement, Protocol, Query, Rule, Standing, Upstream};
use crate::cache::UpstreamReply;
use crate::dns::Rcode;

/// Queries in one attempt: plain, over TCP, without 0x20, twice to be sure of EDNS, without it, and that over TCP.
const QUERIES_MAX: usize = 7;

/// A query that is under way already when its attempt begins.
pub(super) struct Begun {
    pub upstream: Arc<Upstream>,
    pub query: Query,
    /// Whether it carries EDNS.
    pub edns: bool,
    pub reply: oneshot::Receiver<Result<Vec<u8>, ExchangeError>>,
}

/// What an upstream answered.
pub(super) struct Answer {
    pub reply: UpstreamReply,
    /// Why it was asked more than once; mostly empty.
    pub detours: Vec<&'static str>,
}

/// How the next query of an attempt is sent.
struct Manner {
    protocol: Protocol,
    case: Case,
    edns: bool,
}

/// What speaks against an upstream's knowing EDNS.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Witness {
    None,
    /// An error without the question: a forger needs no more than id and port for it.
    Bare,
    /// Two of those, or an error with the question.
    Sure,
}

impl Forwarder {
    /// Asks one upstream; ends when it answers, and else not before the caller gives up.
    pub(super) async fn attempt(
        &self,
        upstream: &Arc<Upstream>,
        flight: &Flight,
        rule: &Rule,
        begun: Option<Begun>,
    ) -> Result<Answer, Trouble> {
        let answered = self.ask_one(upstream, flight, rule, begun).await;
        if let Err(trouble) = &answered {
            self.note_trouble(upstream, trouble);
        }
        answered
    }

    async fn ask_one(
        &self,
        upstream: &Arc<Upstream>,
        flight: &Flight,
        rule: &Rule,
        mut begun: Option<Begun>,
    ) -> Result<Answer, Trouble> {
        let now = Instant::now();
        let health = &upstream.health;
        let (case, edns) = match &begun {
            Some(begun) => (begun.query.case(), begun.edns),
            None => (health.case(now), health.edns(now)),
        };
        // What is asked over TLS is never asked otherwise.
        let first = upstream.address.protocol();
        let mut manner = Manner { protocol: first, case, edns };
        let mut lacks_edns = Witness::None;
        let mut detours = Vec::new();
        // Whether a reply in the wrong case is why TCP is tried.
        let mut case_differed = false;
        for _ in 0..QUERIES_MAX {
            let mut asked = Instant::now();
            let received = match begun.take() {
                Some(begun) => {
                    asked = flight.started;
                    self.await_begun(begun, flight, rule).await
                }
                None => self.exchange(upstream, flight, rule, &manner).await,
            };
            let received = match received {
                Ok(received) => received,
                Err(Trouble::Unreachable(ExchangeError::NearMisses)) if manner.protocol == Protocol::Udp => {
                    detours.push("asked over TCP because of too many forged replies");
                    manner.protocol = Protocol::Tcp;
                    continue;
                }
                Err(Trouble::Unreachable(ExchangeError::Network(_)))
                    if manner.protocol == Protocol::Tcp && case_differed =>
                {
                    // It has no TCP to prove itself by: ask anew without 0x20, and believe none of what came.
                    health.loses_case(Instant::now());
                    (manner.protocol, manner.case, case_differed) = (Protocol::Udp, Case::Plain, false);
                    continue;
                }
                Err(trouble) => return Err(trouble),
            };
            match (received.judgement, manner.protocol) {
                (Judgement::CaseDiffers, Protocol::Udp) => {
                    self.counters.case_mismatches.add(1);
                    detours.push("asked over TCP because its reply had the name in another case");
                    (manner.protocol, case_differed) = (Protocol::Tcp, true);
                    continue;
                }
                // Over a connection it is no forgery: this upstream does not keep case.
                (Judgement::CaseDiffers, Protocol::Tcp | Protocol::Tls) => health.loses_case(Instant::now()),
                (Judgement::Bare(rcode), _) => {
                    // What a forger might have sent shows neither that the upstream lives nor what it knows.
                    if !manner.edns || !matches!(rcode, Rcode::FORMERR | Rcode::NOTIMP) {
                        return Err(Trouble::Bare(rcode));
                    }
                    if lacks_edns == Witness::None {
                        (lacks_edns, manner.protocol) = (Witness::Bare, first);
                        continue;
                    }
                    lacks_edns = Witness::Sure;
                    self.leave_edns_out(&mut manner, first, &mut detours);
                    continue;
                }
                (Judgement::Reply | Judgement::Cut | Judgement::Stranger, _) => {}
            }
            if received.judgement != Judgement::Cut {
                let now = Instant::now();
                upstream.note_answer(now, Some(now - asked));
            }
            let question = &flight.asked.question;
            match Reading::of(self, &received.bytes, question, rule, manner.edns) {
                Reading::Truncated if manner.protocol != Protocol::Udp => {
                    // What is left out may be the answer: its absence is no "no data".
                    let over = if manner.protocol == Protocol::Tcp { "TCP, too" } else { "TLS" };
                    return Err(Trouble::Unreadable(format!("its reply is truncated over {over}")));
                }
                Reading::Truncated => {
                    self.counters.truncated.add(1);
                    detours.push("asked over TCP because its reply was truncated");
                    manner.protocol = Protocol::Tcp;
                }
                Reading::RefusesEdns { knows_edns } => {
                    if !knows_edns {
                        lacks_edns = Witness::Sure;
                    }
                    self.leave_edns_out(&mut manner, first, &mut detours);
                }
                Reading::Final { said, takes_query } => {
                    if lacks_edns == Witness::Sure && !manner.edns && takes_query {
                        health.lacks_edns(Instant::now());
                    }
                    return said.map(|reply| Answer { reply, detours });
                }
            }
        }
        Err(Trouble::Unreadable("it takes no manner of asking".to_owned()))
    }

    fn leave_edns_out(&self, manner: &mut Manner, first: Protocol, detours: &mut Vec<&'static str>) {
        self.counters.edns_retries.add(1);
        detours.push("asked without EDNS because it refused it");
        (manner.edns, manner.protocol) = (false, first);
    }

    /// Counts what an upstream failed by; what concerns all questions is logged once in a while.
    fn note_trouble(&self, upstream: &Upstream, trouble: &Trouble) {
        if let Trouble::Unreachable(ExchangeError::Tls(_)) = trouble {
            self.complain(upstream, trouble);
        }
        let (concerns_all, fault) = match trouble {
            Trouble::Answered(Rcode::REFUSED, _) => (true, Fault::Refused),
            Trouble::Bare(rcode) => (true, Fault::of(*rcode)),
            Trouble::Refers(_) => (true, Fault::Referral),
            Trouble::Answered(rcode, _) => (false, Fault::of(*rcode)),
            Trouble::Unreadable(_) => (false, Fault::Malformed),
            Trouble::Unreachable(_) | Trouble::OverBudget(_) | Trouble::Silent(_) | Trouble::Looping => {
                return;
            }
            // It helps as it should.
            Trouble::RefersBelow(_) => return,
        };
        self.counters.upstream_failures.add(1);
        upstream.note_failure(fault);
        if concerns_all {
            self.complain(upstream, trouble);
        }
    }

    /// Logs what an operator must repair, once in a while.
    fn complain(&self, upstream: &Upstream, trouble: &Trouble) {
        let now = Instant::now();
        if upstream.health.take_complaint(now) {
            let why = trouble.explain(&upstream.address, now);
            warn!(forward.upstream = %upstream.address, "An upstream does not help: {why}");
        }
    }

    async fn exchange(
        &self,
        upstream: &Arc<Upstream>,
        flight: &Flight,
        rule: &Rule,
        manner: &Manner,
    ) -> Result<Received, Trouble> {
        let now = Instant::now();
        if upstream.standing(now) == Standing::Looping {
            return Err(Trouble::Looping);
        }
        let asked = &flight.asked;
        let mut query = Query::new(&asked.question, asked.flags, manner.edns, manner.case);
        if rule.role == Role::NameServers {
            query = query.without_recursion();
        }
        flight.note_sent(query.question(), upstream);
        self.send(upstream, Some(rule), &mut query, manner.protocol, flight.asker()).await
    }

    /// Sends one query within the upstream's bound, whatever it is for.
    pub(super) async fn send(
        &self,
        upstream: &Upstream,
        rule: Option<&Rule>,
        query: &mut Query,
        protocol: Protocol,
        asker: Asker,
    ) -> Result<Received, Trouble> {
        let now = Instant::now();
        if let Some(budget) = upstream.budget.as_ref().filter(|budget| !budget.take(asker, now)) {
            self.counters.shed_rate.add(1);
            return Err(Trouble::OverBudget(budget.per_second_max()));
        }
        self.counters.queries.add(1);
        upstream.queries.add(1);
        match protocol {
            Protocol::Udp => {}
            Protocol::Tcp => self.counters.tcp_queries.add(1),
            Protocol::Tls => self.counters.tls_queries.add(1),
        }
        let to = (upstream.socket(), protocol);
        let observed = Observed::begin(&self.tap, to, rule, query.as_bytes(), now);
        let received = upstream.exchange(&*self.transport, query, protocol).await;
        self.judge(query, received, observed)
    }

    /// Waits for what is said to a query that was sent and counted before.
    async fn await_begun(&self, begun: Begun, flight: &Flight, rule: &Rule) -> Result<Received, Trouble> {
        let (sent, query) = (flight.started, begun.query.as_bytes());
        let to = (begun.upstream.socket(), Protocol::Udp);
        let observed = Observed::begin(&self.tap, to, Some(rule), query, sent);
        let aborted = || std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into();
        let received = begun.reply.await.unwrap_or_else(|_| Err(aborted()));
        self.judge(&begun.query, received, observed)
    }

    fn judge(
        &self,
        query: &Query,
        received: Result<Vec<u8>, ExchangeError>,
        observed: Option<Observed>,
    ) -> Result<Received, Trouble> {
        let bytes = received.map_err(|error| {
            if error.is_unreachable() {
                self.counters.network_errors.add(1);
            }
            Trouble::Unreachable(error)
        })?;
        match query.judge(&bytes) {
            Judgement::Stranger => {
                self.counters.near_misses.add(1);
                Err(Trouble::Unreachable(ExchangeError::NearMisses))
            }
            judgement => {
                if let Some(observed) = observed {
                    observed.answered(query.as_bytes(), &bytes);
                }
                Ok(Received { bytes, judgement })
            }
        }
    }
}

/// A reply and how sure it is.
pub(super) struct Received {
    bytes: Vec<u8>,
    judgement: Judgement,
}

#[cfg(test)]
mod tests;
