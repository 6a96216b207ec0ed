//! Which messages are answered, and what the others are told.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use super::client::Client;
use super::complete::{Asked, complete_error, complete_error_briefly};
use super::query::Query;
use super::reply::Reply;
use super::responder::{Attempt, Responder};
use crate::answer::Rules;
use crate::dns::{ExtendedError, Rcode, RecordType, Request, Unanswerable};

impl Responder {
    /// Reads a message and turns away what cannot or may not be answered; a reply to it is then in the buffer.
    pub(super) fn admit<'m>(
        &self,
        rules: &Rules,
        message: &'m [u8],
        client: Client,
        buffer: &mut [u8],
    ) -> Result<Query<'m>, Attempt<Reply>> {
        let ip = client.address.ip();
        let reply = |reply: Option<Reply>| reply.map_or(Attempt::Drop, Attempt::Reply);
        // Over UDP without a cookie of ours the client's address may be forged.
        let is_forgeable = |cookie: Option<&[u8]>| {
            !client.transport.is_connected() && !cookie.is_some_and(|cookie| self.has_made(cookie, ip))
        };
        let request = match Request::read(message) {
            Ok(request) => request,
            Err(Unanswerable::Drop) => {
                self.counters.dropped.add(1);
                return Err(Attempt::Drop);
            }
            Err(Unanswerable::Refuse { id, flags, rcode, question, edns }) => {
                self.counters.unanswerable.add(1);
                let cookie = edns.and_then(|edns| self.cookie(edns.cookie, ip));
                let asked = Asked { id, flags, question, edns, rtype: RecordType(0), cookie };
                let is_malformed = matches!(rcode, Rcode::FORMERR | Rcode::NOTIMP | Rcode::BADVERS);
                let is_brief = (is_malformed || !client.is_allowed(rules.access()))
                    && is_forgeable(edns.and_then(|edns| edns.cookie));
                return Err(reply(match is_brief {
                    true => complete_error_briefly(&asked, message.len(), client, rcode, None, buffer),
                    false => complete_error(&asked, client, rcode, &[], buffer),
                }));
            }
        };
        let cookie = request.edns.and_then(|edns| self.cookie(edns.cookie, ip));
        let asked = Asked::new(&request, cookie);
        let refuse = |rcode, code, why: &'static str, buffer: &mut [u8]| {
            reply(complete_error(&asked, client, rcode, &[ExtendedError::new(code, why)], buffer))
        };
        let refuse_briefly = |rcode, code, why: &'static str, buffer: &mut [u8]| {
            if !is_forgeable(request.edns.and_then(|edns| edns.cookie)) {
                return refuse(rcode, code, why, buffer);
            }
            reply(complete_error_briefly(&asked, message.len(), client, rcode, Some(code), buffer))
        };
        if !client.is_allowed(rules.access()) {
            self.counters.not_allowed.add(1);
            let why = "client network not allowed";
            return Err(refuse_briefly(Rcode::REFUSED, ExtendedError::PROHIBITED, why, buffer));
        }
        match request.rtype {
            RecordType::AXFR | RecordType::IXFR => {
                let why = "zone transfers are not served";
                return Err(refuse_briefly(Rcode::REFUSED, ExtendedError::NOT_SUPPORTED, why, buffer));
            }
            RecordType::NXNAME => {
                let why = "NXNAME only stands in proofs and cannot be asked for";
                return Err(refuse_briefly(Rcode::FORMERR, ExtendedError::INVALID_QUERY_TYPE, why, buffer));
            }
            // RFC 6891 §6.1: OPT is no question; the others only mean something in other messages.
            rtype if rtype.is_question_only() && rtype != RecordType::ANY => {
                let why = "this type cannot be asked for";
                return Err(refuse(Rcode::NOTIMP, ExtendedError::NOT_SUPPORTED, why, buffer));
            }
            _ => {}
        }
        Ok(Query { asked, name: request.name })
    }

    pub(super) fn cookie(&self, request: Option<&[u8]>, client: IpAddr) -> Option<[u8; 24]> {
        self.cookies.reply(request?, client, now_secs())
    }

    /// Whether a cookie is one that we gave to a client of late.
    pub(super) fn has_made(&self, cookie: &[u8], client: IpAddr) -> bool {
        self.cookies.is_ours(cookie, client, now_secs())
    }
}

/// The time of cookies.
// RFC 9018 §4.3: it is taken modulo 2^32.
fn now_secs() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()) as u32
}
