//! Why a client is answered what it is answered, step by step.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::time::Instant;

use super::client::{Client, Transport};
use super::complete::complete;
use super::delegated::cut_of;
use super::query::Look;
use super::reply::Reply;
use super::responder::{ANSWER_DEADLINE, Asking, Attempt, Responder, reply_bytes};
use crate::answer::Step;
use crate::dns::{Message, QueryFlags, Question, Record, RecordType};
use crate::forward::Asker;

/// The steps to an answer, and the answer.
pub struct Explanation {
    pub steps: Vec<String>,
    /// The reply that the client gets; `None` if it gets none.
    pub reply: Option<Message>,
}

impl Responder {
    /// Answers a question as `client` would ask it over TCP, and tells each step.
    pub async fn explain(
        self: Arc<Self>,
        question: &Question,
        flags: QueryFlags,
        client: IpAddr,
    ) -> Explanation {
        let Question { name, rtype } = question;
        let (snapshot, serving) = (self.store().snapshot(), self.serving());
        let message = crate::dns::message::query(0, name.borrow(), *rtype, flags, true);
        let client = Client::new(SocketAddr::new(client, 0), Transport::Tcp);
        let mut steps = Vec::new();
        let view = snapshot.networks().view_of(client.address.ip());
        steps.push(match snapshot.networks().name(view) {
            Some(network) => format!("view: {} belongs to network `{network}`", client.address.ip()),
            None => format!("view: {} belongs to no configured network", client.address.ip()),
        });
        let allowed = serving.rules.access().allows(client.address.ip());
        steps.push(format!(
            "access: {}",
            if allowed { "allowed" } else { "refused, client network not allowed" }
        ));
        let mut buffer = vec![0; reply_bytes(client.transport)];
        let query = match self.admit(&serving.rules, &message, client, &mut buffer) {
            Ok(query) => query,
            Err(attempt) => {
                let reply = message_of(attempt, &buffer);
                let over_udp = Client { transport: Transport::Udp, ..client };
                let brief = self.admit(&serving.rules, &message, over_udp, &mut buffer).err();
                steps.extend(of_refusal(
                    reply.as_ref(),
                    brief.and_then(|it| message_of(it, &buffer)).as_ref(),
                ));
                return Explanation { steps, reply };
            }
        };
        let mut chase = query.chase(&snapshot, &serving.rules, view).traced();
        let deadline = Instant::now() + ANSWER_DEADLINE;
        let mut step = chase.run();
        while step == Step::Ask {
            let current = chase.current().to_name();
            if let Some(delegation) = chase.delegation() {
                let cut = cut_of(delegation, view, &snapshot);
                let zone = delegation.zone.apex().clone();
                chase.note(|| {
                    format!("delegation: {current} is asked of the servers of {cut}, which zone {zone} names")
                });
            }
            let is_by_rule = chase.delegation().is_none();
            let asked = Question { name: current.clone(), rtype: *rtype };
            let rule = serving.forwarder.rule_for(&asked);
            let by_rule = || match rule {
                Some(rule) => {
                    let upstreams: Vec<String> =
                        rule.upstreams.iter().map(|upstream| upstream.address.to_string()).collect();
                    format!("rule: {current} is asked of {} by rule {}", upstreams.join(", "), rule.domain)
                }
                None => format!("rule: none forwards {current}"),
            };
            if is_by_rule {
                chase.note(by_rule);
            }
            let asking = Asking { snapshot: &snapshot, serving: &serving, query: &query };
            let (look, known) = (&mut Look::First, &mut None);
            let relayed = self.relayed(asking, &mut chase, Asker::Server, deadline, look, known).await;
            for upstream in rule.filter(|_| is_by_rule).iter().flat_map(|rule| &rule.upstreams) {
                if let Some(link) = upstream.link() {
                    let (address, protocol) = (&upstream.address, upstream.address.protocol());
                    chase.note(|| format!("transport: {address} is asked over {protocol} alone: {link}"));
                }
            }
            step = chase.feed(relayed);
        }
        steps.extend(chase.trace().iter().cloned());
        if query.asked.dnssec_ok() {
            let proofs = chase.proofs();
            let proofs = proofs.iter().filter(|(_, record)| record.rtype != RecordType::RRSIG);
            steps.extend(proofs.map(|(_, Record { owner, rtype, .. })| {
                format!(
                    "proof: {rtype} of {owner} goes with the answer, as a wildcard made a part of it (RFC 4035 §3.1.3.3)"
                )
            }));
        }
        steps.extend(
            chase.errors().iter().map(|error| format!("extended error {}: {}", error.code, error.text)),
        );
        let reply = complete(&query.asked, client, &chase, &mut buffer);
        Explanation { steps, reply: reply.and_then(|reply| Message::read(&buffer[..reply.length()]).ok()) }
    }
}

/// The reply that is in a buffer, if one is.
fn message_of(attempt: Attempt<Reply>, buffer: &[u8]) -> Option<Message> {
    match attempt {
        Attempt::Reply(reply) => Message::read(&buffer[..reply.length()]).ok(),
        Attempt::Drop | Attempt::Wait(_) => None,
    }
}

/// Why a question is turned away, and what of that those hear whose address may be forged.
fn of_refusal(reply: Option<&Message>, over_udp: Option<&Message>) -> Vec<String> {
    let reason = |message: &Message| message.extended_error.clone();
    let Some((code, text)) = reply.and_then(reason) else { return Vec::new() };
    let mut steps = vec![format!("extended error {code}: {text}")];
    if over_udp.and_then(reason).is_none_or(|(_, brief)| brief != text) {
        steps.push(format!(
            "over UDP without a cookie of this server's (RFC 7873) the reply is brief: code {code} goes without its text"
        ));
    }
    steps
}

impl fmt::Display for Explanation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(out, "{:>2}. {step}", number + 1)?;
        }
        let Some(reply) = &self.reply else { return writeln!(out, "answer: none") };
        writeln!(out, "answer: {}", reply.rcode)?;
        for record in &reply.answer {
            writeln!(out, "    {record}")?;
        }
        for record in &reply.authority {
            writeln!(out, "    authority: {record}")?;
        }
        Ok(())
    }
}
