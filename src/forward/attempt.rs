//! One upstream asked once: with what it understands, and again over TCP or plainly where it must.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
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

/// A query that is under way already when its attempt begins.
pub(super) struct Begun {
    pub upstream: Arc<Upstream>,
    pub query: Query,
    /// Whether it carries EDNS.
    pub edns: bool,
    pub reply: oneshot::Receiver<Result<Vec<u8>, ExchangeError>>,
}

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
        mut begun: Option<Begun>,
    ) -> Result<UpstreamReply, Trouble> {
        let now = Instant::now();
        let health = &upstream.health;
        let (case, edns) = match &begun {
            Some(begun) => (begun.query.case(), begun.edns),
            None => (health.case(now), health.edns(now)),
        };
        let mut manner = Manner { protocol: Protocol::Udp, case, edns };
        let edns_at_first = manner.edns;
        // Whether a reply in the wrong case is why TCP is tried.
        let mut case_differed = false;
        for _ in 0..QUERIES_MAX {
            let received = match begun.take() {
                Some(begun) => self.await_begun(begun).await,
                None => self.exchange(upstream, flight, &manner).await,
            };
            let received = match received {
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
            if message.flags.has(Flags::TC) {
                if manner.protocol == Protocol::Tcp {
                    // What is left out may be the answer: its absence is no "no data" (RFC 2181 §9).
                    return Err(Trouble::Unreadable("its reply is truncated over TCP, too".to_owned()));
                }
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
        Err(Trouble::Unreadable("it takes no manner of asking".to_owned()))
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
        self.judge(query, received)
    }

    /// Waits for what is said to a query that was sent and counted before.
    async fn await_begun(&self, begun: Begun) -> Result<Received, Trouble> {
        let aborted = || std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into();
        let received = begun.reply.await.unwrap_or_else(|_| Err(aborted()));
        self.judge(&begun.query, received)
    }

    fn judge(&self, query: &Query, received: Result<Vec<u8>, ExchangeError>) -> Result<Received, Trouble> {
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

    pub(super) fn note_answer(&self, upstream: &Upstream) {
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

#[cfg(test)]
mod tests {
    use super::super::scripted::{Said, Scripted, Seen, ask, settings};
    use super::*;
    use crate::dns::message;

    const RECORD: &str = "account.blob.x. 60 A 10.0.0.1";

    fn count_of(counter: &std::sync::atomic::AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    fn ways(script: &Scripted) -> Vec<(Protocol, bool)> {
        script.seen().iter().map(|seen| (seen.protocol, seen.message.has_edns)).collect()
    }

    fn lowered(seen: &Seen, mut reply: Vec<u8>) -> Vec<u8> {
        let end = 12 + seen.message.raw_question.len() - 4;
        reply[12..end].make_ascii_lowercase();
        reply
    }

    #[tokio::test(start_paused = true)]
    async fn a_truncated_reply_is_asked_for_again_over_tcp() {
        let script = Scripted::new(|seen| match seen.protocol {
            Protocol::Udp => {
                let mut reply = seen.answer(Rcode::NOERROR, &[], &[]);
                reply[2] |= 0x02;
                Said::Reply(reply)
            }
            Protocol::Tcp => Said::Reply(seen.answer(Rcode::NOERROR, &[RECORD], &[])),
        });
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
        assert_eq!(ask(&forwarder, "account.blob.x.").await.reply.end, End::Data);
        assert_eq!(ways(&script), [(Protocol::Udp, true), (Protocol::Tcp, true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_is_truncated_over_tcp_too_is_no_answer() {
        let script = Scripted::new(|seen| {
            let mut reply = seen.answer(Rcode::NOERROR, &[], &[]);
            reply[2] |= 0x02;
            Said::Reply(reply)
        });
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
        let reply = ask(&forwarder, "account.blob.x.").await.reply;
        assert_eq!((&reply.end, reply.rcode), (&End::Failed, Rcode::SERVFAIL));
        assert!(reply.extended_error.as_ref().unwrap().text.contains("truncated over TCP"));
        assert_eq!(ways(&script), [(Protocol::Udp, true), (Protocol::Tcp, true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_without_edns_is_asked_without_and_that_is_remembered() {
        let script = Scripted::new(|seen| match seen.message.has_edns {
            true => {
                let mut formerr = seen.bytes[..12].to_vec();
                formerr[2..].copy_from_slice(&[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
                Said::Reply(formerr)
            }
            false => {
                Said::Reply(seen.plain_answer(Rcode::NOERROR, &[&format!("{} 60 A 10.0.0.1", seen.name())]))
            }
        });
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
        for name in ["account.blob.x.", "b.x."] {
            assert_eq!(ask(&forwarder, name).await.reply.end, End::Data);
        }
        let udp = |edns| (Protocol::Udp, edns);
        assert_eq!(ways(&script), [udp(true), udp(false), udp(false)]);
        assert_eq!(count_of(&forwarder.counters.edns_retries), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_loses_case_proves_itself_over_tcp_once() {
        let script = Scripted::new(|seen| {
            let record = format!("{} 60 A 10.0.0.1", seen.name());
            Said::Reply(lowered(seen, seen.answer(Rcode::NOERROR, &[&record], &[])))
        });
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
        for name in ["account.blob.x.", "another.blob.x."] {
            assert_eq!(ask(&forwarder, name).await.reply.end, End::Data);
        }
        let tcp: Vec<Protocol> = script.seen().iter().map(|seen| seen.protocol).collect();
        assert_eq!(tcp, [Protocol::Udp, Protocol::Tcp, Protocol::Udp]);
        assert_eq!(script.seen()[2].message.raw_question, b"\x07another\x04blob\x01x\x00\x00\x01\x00\x01");
        assert_eq!(count_of(&forwarder.counters.case_mismatches), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_loses_case_and_has_no_tcp_is_asked_anew_in_lower_case() {
        let script = Scripted::new(|seen| match seen.protocol {
            Protocol::Tcp => Said::Unreachable,
            Protocol::Udp => Said::Reply(lowered(seen, seen.answer(Rcode::NOERROR, &[RECORD], &[]))),
        });
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
        assert_eq!(ask(&forwarder, "account.blob.x.").await.reply.end, End::Data);
        let seen = script.seen();
        assert_eq!(seen.len(), 3);
        assert_ne!(seen[0].message.id, seen[2].message.id);
    }

    #[tokio::test(start_paused = true)]
    async fn a_forged_reply_in_the_wrong_case_is_not_believed() {
        let script = Scripted::new(|seen| match seen.protocol {
            Protocol::Udp => Said::Reply(lowered(
                seen,
                seen.answer(Rcode::NOERROR, &["account.blob.x. 60 A 6.6.6.6"], &[]),
            )),
            Protocol::Tcp => Said::Reply(seen.answer(Rcode::NOERROR, &[RECORD], &[])),
        });
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
        let reply = ask(&forwarder, "account.blob.x.").await.reply;
        assert_eq!(*reply.answer[0].data, [10, 0, 0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_lead_to_tcp_and_are_never_kept() {
        let script = Scripted::new(|seen| {
            let mut reply = seen.answer(Rcode::NOERROR, &[RECORD], &[]);
            if seen.protocol == Protocol::Udp {
                reply[0] ^= 1;
            }
            Said::Reply(reply)
        });
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
        assert_eq!(ask(&forwarder, "account.blob.x.").await.reply.end, End::Data);
        assert_eq!(count_of(&forwarder.counters.near_misses), 1);
        assert_eq!(count_of(&forwarder.counters.tcp_queries), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_chain_that_leaves_the_rule_is_cut_there_and_not_kept() {
        let chain = ["a.corp. 60 CNAME b.public.", "b.public. 60 A 6.6.6.6", "evil.corp. 60 A 6.6.6.6"];
        let script = Scripted::new(move |seen| Said::Reply(seen.answer(Rcode::NOERROR, &chain, &[])));
        let rules = settings(&[(".", &["10.0.0.1"]), ("corp.", &["10.0.0.2"]), ("eu.corp.", &["10.0.0.3"])]);
        let forwarder = script.forwarder(rules);
        let reply = ask(&forwarder, "a.corp.").await.reply;
        assert_eq!((&reply.end, reply.answer.len()), (&End::Continues("b.public.".parse().unwrap()), 1));
        let everything = forwarder.cache.page(crate::dns::NameRef::ROOT, None, 10, Instant::now());
        assert_eq!(everything.len(), 1);
        let rule = forwarder.rule_for(script.seen()[0].message.question.as_ref().unwrap().name.borrow());
        let speaks = |name: &str| {
            let name: crate::dns::Name = name.parse().unwrap();
            forwarder.speaks_for(rule.unwrap(), name.borrow())
        };
        assert!(speaks("x.corp.") && !speaks("x.eu.corp.") && !speaks("x.") && !speaks("xcorp."));
    }

    #[tokio::test(start_paused = true)]
    async fn nonsense_is_a_failure_that_says_so() {
        let script = Scripted::new(|seen| {
            let mut reply = seen.answer(Rcode::NOERROR, &[RECORD], &[]);
            reply.truncate(reply.len() - 13);
            Said::Reply(reply)
        });
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
        let reply = ask(&forwarder, "account.blob.x.").await.reply;
        assert_eq!(reply.rcode, Rcode::SERVFAIL);
        assert!(reply.extended_error.as_ref().unwrap().text.contains("nonsense"));
        let query =
            message::query(7, crate::dns::NameRef::ROOT, crate::dns::RecordType::A, Default::default(), true);
        assert!(Message::read(&query).is_ok());
    }
}
