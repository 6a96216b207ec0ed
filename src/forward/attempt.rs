//! One upstream asked once: with what it understands, and again over TCP or plainly where it must.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;
use tracing::info;

use super::case::Case;
use super::counters::count;
use super::failure::Trouble;
use super::inflight::Flight;
use super::{ExchangeError, Forwarder, Judgement, Protocol, Query, Rule, Standing, Upstream};
use crate::cache::{End, UpstreamReply};
use crate::dns::{Flags, Message, Rcode};

/// Queries in one attempt: plain, over TCP, without 0x20, without EDNS, and that over TCP.
const QUERIES_MAX: usize = 5;

/// How the next query of an attempt is sent.
struct Manner {
    protocol: Protocol,
    case: Case,
    edns: bool,
}

impl Forwarder {
    /// Asks one upstream; ends when it answers, and else not before the caller gives up.
    pub(super) async fn attempt(
        &self,
        upstream: &Arc<Upstream>,
        flight: &Flight,
        rule: &Rule,
    ) -> Result<UpstreamReply, Trouble> {
        let now = Instant::now();
        let health = &upstream.health;
        let mut manner = Manner { protocol: Protocol::Udp, case: health.case(now), edns: health.edns(now) };
        let edns_at_first = manner.edns;
        // Whether a reply in the wrong case is why TCP is tried.
        let mut case_differed = false;
        for _ in 0..QUERIES_MAX {
            let received = match self.exchange(upstream, flight, &manner).await {
                Ok(received) => received,
                Err(Trouble::Unreachable(ExchangeError::NearMisses)) if manner.protocol == Protocol::Udp => {
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
                    count(&self.counters.case_mismatches);
                    (manner.protocol, case_differed) = (Protocol::Tcp, true);
                    continue;
                }
                // Over TCP it is no forgery: this upstream does not keep case.
                (Judgement::CaseDiffers, Protocol::Tcp) => health.loses_case(Instant::now()),
                (Judgement::Reply | Judgement::Stranger, _) => {}
            }
            self.note_answer(upstream);
            let message = match Message::read(&received.bytes) {
                Ok(message) => message,
                Err(error) => return Err(Trouble::Unreadable(error.to_string())),
            };
            if message.flags.has(Flags::TC) && manner.protocol == Protocol::Udp {
                manner.protocol = Protocol::Tcp;
                continue;
            }
            // RFC 6891 §7: a server that does not know EDNS says so, and sends none.
            let unknown = matches!(message.rcode, Rcode::FORMERR | Rcode::NOTIMP) && !message.has_edns;
            if manner.edns && unknown {
                count(&self.counters.edns_retries);
                (manner.edns, manner.protocol) = (false, Protocol::Udp);
                continue;
            }
            if edns_at_first && !manner.edns && !unknown {
                health.lacks_edns(Instant::now());
            }
            return self.read(message, flight, rule);
        }
        Err(Trouble::Unreadable("it wants to be asked in ever other ways".to_owned()))
    }

    fn read(&self, message: Message, flight: &Flight, rule: &Rule) -> Result<UpstreamReply, Trouble> {
        let rcode = message.rcode;
        let speaks_for = |name: crate::dns::NameRef<'_>| self.speaks_for(rule, name);
        let reply = UpstreamReply::from_message(message, &flight.asked.question, speaks_for)
            .map_err(|error| Trouble::Unreadable(error.to_string()))?;
        if reply.end == End::Failed {
            count(&self.counters.upstream_failures);
            return Err(Trouble::Answered(rcode, Box::new(reply)));
        }
        Ok(reply)
    }

    async fn exchange(
        &self,
        upstream: &Arc<Upstream>,
        flight: &Flight,
        manner: &Manner,
    ) -> Result<Received, Trouble> {
        let now = Instant::now();
        if upstream.standing(now) == Standing::Looping {
            return Err(Trouble::Looping);
        }
        let asked = &flight.asked;
        let mut query = Query::new(&asked.question, asked.flags, manner.edns, manner.case);
        flight.note_sent(query.question(), upstream);
        self.send(upstream, &mut query, manner.protocol).await
    }

    /// Sends one query within the upstream's bound, whatever it is for.
    pub(super) async fn send(
        &self,
        upstream: &Upstream,
        query: &mut Query,
        protocol: Protocol,
    ) -> Result<Received, Trouble> {
        let now = Instant::now();
        if let Some(budget) = upstream.budget.as_ref().filter(|budget| !budget.take(now)) {
            count(&self.counters.shed_rate);
            return Err(Trouble::OverBudget(budget.per_second_max()));
        }
        count(&self.counters.queries);
        upstream.queries.fetch_add(1, Ordering::Relaxed);
        if protocol == Protocol::Tcp {
            count(&self.counters.tcp_queries);
        }
        let received = self.transport.exchange(upstream.socket(), query, protocol).await;
        let bytes = received.map_err(|error| {
            if let ExchangeError::Network(_) = error {
                count(&self.counters.network_errors);
            }
            Trouble::Unreachable(error)
        })?;
        match query.judge(&bytes) {
            Judgement::Stranger => {
                count(&self.counters.near_misses);
                Err(Trouble::Unreachable(ExchangeError::NearMisses))
            }
            judgement => Ok(Received { bytes, judgement }),
        }
    }

    fn note_answer(&self, upstream: &Upstream) {
        if upstream.health.answered() {
            info!(forward.upstream = %upstream.address, "Upstream {} answers again", upstream.address);
        }
    }
}

/// A reply and how sure it is.
pub(super) struct Received {
    bytes: Vec<u8>,
    judgement: Judgement,
}
