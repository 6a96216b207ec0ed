//! Why a client is answered what it is answered, step by step.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::time::Instant;

use super::client::{Client, Transport};
use super::complete::complete;
use super::responder::{ANSWER_DEADLINE, Attempt, Responder, own_question, reply_bytes};
use crate::answer::Step;
use crate::dns::{Message, Name, RecordType};
use crate::forward::Asker;

/// The steps to an answer, and the answer.
pub struct Explanation {
    pub steps: Vec<String>,
    /// The reply that the client gets; `None` if it gets none.
    pub reply: Option<Message>,
}

impl Responder {
    /// Answers a question as `client` would ask it over TCP, and tells each step.
    pub async fn explain(self: Arc<Self>, name: &Name, rtype: RecordType, client: IpAddr) -> Explanation {
        let (snapshot, serving) = (self.store().snapshot(), self.serving());
        let message = own_question(name, rtype);
        let client = Client { address: SocketAddr::new(client, 0), local: None, transport: Transport::Tcp };
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
                let reply = match attempt {
                    Attempt::Reply(length) => Message::read(&buffer[..length]).ok(),
                    Attempt::Drop | Attempt::Wait(_) => None,
                };
                return Explanation { steps, reply };
            }
        };
        let mut chase = query.chase(&snapshot, &serving.rules, view).traced();
        let deadline = Instant::now() + ANSWER_DEADLINE;
        let mut step = chase.run();
        while step == Step::Ask {
            let current = chase.current().to_name();
            let rule = serving.forwarder.rule_for(current.borrow());
            chase.note(|| match rule {
                Some(rule) => {
                    let upstreams: Vec<String> =
                        rule.upstreams.iter().map(|upstream| upstream.address.to_string()).collect();
                    format!("rule: {current} is asked of {} by rule {}", upstreams.join(", "), rule.domain)
                }
                None => format!("rule: none forwards {current}"),
            });
            let relayed =
                self.relayed(&serving, &mut chase, &query, Asker::Server, deadline, &mut None).await;
            step = chase.feed(relayed);
        }
        steps.extend(chase.trace().iter().cloned());
        steps.extend(
            chase.errors().iter().map(|error| format!("extended error {}: {}", error.code, error.text)),
        );
        let reply = complete(&query.asked, client, &chase, &mut buffer);
        Explanation { steps, reply: reply.and_then(|length| Message::read(&buffer[..length]).ok()) }
    }
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
