//! What a message of an upstream means to whoever asked.

use super::failure::Trouble;
use super::referral::Referral;
use super::rule::Role;
use super::{Forwarder, Rule};
use crate::cache::{End, NotAReply, UpstreamReply};
use crate::dns::header::HEADER_BYTES;
use crate::dns::{Flags, Message, NameRef, Question, Rcode};

/// What a message means that came from the upstream and answers the query.
pub(super) enum Reading {
    /// It must be asked again over TCP.
    Truncated,
    /// It must be asked again without EDNS.
    RefusesEdns {
        /// One that knows EDNS says so by an OPT record, and means this query only (RFC 6891 §7).
        knows_edns: bool,
    },
    /// It is the upstream's answer, or its failure.
    Final {
        said: Result<UpstreamReply, Trouble>,
        /// Whether the way in which it was asked is no reason for a failure.
        takes_query: bool,
    },
}

impl Reading {
    /// Reads what an upstream of a rule said to a question, which was asked with EDNS or without.
    pub fn of(
        forwarder: &Forwarder,
        bytes: &[u8],
        question: &Question,
        rule: &Rule,
        has_edns: bool,
    ) -> Reading {
        // RFC 2181 §9: what is behind the cut may be unreadable, and is of no use in any case.
        if is_truncated(bytes) {
            return Reading::Truncated;
        }
        let message = match Message::read(bytes) {
            Ok(message) => message,
            Err(error) => {
                return Reading::Final {
                    said: Err(Trouble::Unreadable(error.to_string())),
                    takes_query: false,
                };
            }
        };
        let refuses_edns = refuses_edns(&message);
        if has_edns && refuses_edns {
            return Reading::RefusesEdns { knows_edns: message.has_edns };
        }
        Reading::Final { said: said(forwarder, message, question, rule), takes_query: !refuses_edns }
    }

    /// The usual answer, if it is one: nothing more must be asked.
    pub fn answer(self) -> Option<UpstreamReply> {
        match self {
            Reading::Final { said, .. } => said.ok(),
            Reading::Truncated | Reading::RefusesEdns { .. } => None,
        }
    }
}

fn said(
    forwarder: &Forwarder,
    message: Message,
    question: &Question,
    rule: &Rule,
) -> Result<UpstreamReply, Trouble> {
    if rule.role == Role::NameServers
        && let Some(referral) = Referral::read(&message, &rule.domain, &question.name)
    {
        return Err(Trouble::RefersBelow(Box::new(referral)));
    }
    let rcode = message.rcode;
    let speaks_for = |name: NameRef<'_>| forwarder.speaks_for(rule, question, name);
    match UpstreamReply::from_message(message, question, speaks_for) {
        Ok(reply) if reply.end == End::Failed => Err(Trouble::Answered(rcode, Box::new(reply))),
        Ok(reply) => Ok(reply),
        Err(NotAReply::Referral(domain)) => Err(Trouble::Refers(domain)),
        Err(error) => Err(Trouble::Unreadable(error.to_string())),
    }
}

/// Whether TC is set in the header.
fn is_truncated(reply: &[u8]) -> bool {
    reply.first_chunk::<HEADER_BYTES>().is_some_and(|header| {
        let flags = u16::from_be_bytes([header[2], header[3]]);
        Flags(flags).has(Flags::TC)
    })
}

/// Whether a query with EDNS is answered in a way that one without may not be.
// Some servers copy the OPT record into the FORMERR that it makes them answer.
fn refuses_edns(message: &Message) -> bool {
    match message.rcode {
        Rcode::FORMERR => true,
        Rcode::NOTIMP => !message.has_edns,
        _ => false,
    }
}
