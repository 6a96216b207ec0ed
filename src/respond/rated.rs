//! Replies within the bounds of rate limiting.

use std::net::IpAddr;

use tokio::time::Instant;

use super::ahead::Ahead;
use super::client::Client;
use super::complete::{Asked, complete_cut, complete_error, complete_failure};
use super::observed::Observed;
use super::rate_limit::{Instead, RateLimit};
use super::reply::Reply;
use super::responder::{Attempt, Responder, Serving, View};
use crate::dns::{ExtendedError, Rcode, RecordType, Request, Unanswerable};

impl Responder {
    /// Answers without waiting, if zones and cache suffice; with what was found out of this message and client, if they
    /// were looked ahead to.
    pub fn try_answer(
        &self,
        view: &View,
        ahead: Option<&Ahead<'_>>,
        message: &[u8],
        client: Client,
        buffer: &mut [u8],
    ) -> Attempt {
        let attempt = self.answer_within_bounds(view, ahead, message, client, buffer);
        if view.is_observed {
            self.tell(&Observed { message, client, asked: view.now, upstream: None }, &attempt, buffer);
        }
        view.counted(attempt)
    }

    fn answer_within_bounds(
        &self,
        view: &View,
        ahead: Option<&Ahead<'_>>,
        message: &[u8],
        client: Client,
        buffer: &mut [u8],
    ) -> Attempt<Reply> {
        match view.serving.limit_for(client.address.ip()) {
            None => self.answer_at_once(view, ahead, message, client, buffer),
            Some(limit) if limit.is_over_quota(client.address.ip(), view.now) => {
                self.counters.beyond_rate.add(1);
                view.count_refused(message, client);
                self.turn_away(limit, message, client, buffer)
            }
            Some(_) => match self.answer_at_once(view, ahead, message, client, buffer) {
                Attempt::Reply(reply) => {
                    self.within_rate(&view.serving, message, client, buffer, reply, view.now)
                }
                attempt => attempt,
            },
        }
    }

    /// The reply in the buffer, or what is sent in its place.
    pub(super) fn within_rate(
        &self,
        serving: &Serving,
        message: &[u8],
        client: Client,
        buffer: &mut [u8],
        reply: Reply,
        now: Instant,
    ) -> Attempt<Reply> {
        let limit = serving.limit_for(client.address.ip()).filter(|limit| limit.limits_responses());
        let Some(limit) = limit.filter(|_| !client.transport.is_connected()) else {
            return Attempt::Reply(reply);
        };
        let Some(asked) = asked_of(message) else { return Attempt::Reply(reply) };
        if self.is_there(&asked, client) {
            return Attempt::Reply(reply);
        }
        match limit.judge(client.address.ip(), &buffer[..reply.length()], has_cookie(&asked), now) {
            None => Attempt::Reply(reply),
            Some(instead) => self.send_instead(instead, &self.with_cookie(asked, client), client, buffer),
        }
    }

    /// Answers one who asked too much.
    fn turn_away(
        &self,
        limit: &RateLimit,
        message: &[u8],
        client: Client,
        buffer: &mut [u8],
    ) -> Attempt<Reply> {
        let Some(asked) = asked_of(message) else { return Attempt::Drop };
        let is_known = client.transport.is_connected() || self.is_there(&asked, client);
        let asked = self.with_cookie(asked, client);
        if !is_known {
            return self.send_instead(limit.instead(has_cookie(&asked)), &asked, client, buffer);
        }
        let why = format!("a client may ask {} questions a second", limit.settings().queries_per_second);
        let why = ExtendedError::new(ExtendedError::OTHER, why);
        complete_failure(&asked, client, why, buffer).map_or(Attempt::Drop, Attempt::Reply)
    }

    fn send_instead(
        &self,
        instead: Instead,
        asked: &Asked<'_>,
        client: Client,
        buffer: &mut [u8],
    ) -> Attempt<Reply> {
        let (counter, reply) = match instead {
            Instead::Nothing => (&self.counters.reply_dropped, None),
            Instead::Cut => (&self.counters.reply_cut, complete_cut(asked, client, buffer)),
            Instead::BadCookie => {
                let reply = complete_error(asked, client, Rcode::BADCOOKIE, &[], buffer);
                (&self.counters.reply_bad_cookie, reply)
            }
        };
        counter.add(1);
        reply.map_or(Attempt::Drop, Attempt::Reply)
    }

    /// The same with a cookie for the client, if it has sent one.
    fn with_cookie<'m>(&self, asked: Asked<'m>, client: Client) -> Asked<'m> {
        let sent = asked.edns.and_then(|edns| edns.cookie);
        Asked { cookie: self.cookie(sent, client.address.ip()), ..asked }
    }

    /// Whether a client has shown that it is at its address (RFC 7873 §5.2.5).
    fn is_there(&self, asked: &Asked<'_>, client: Client) -> bool {
        let cookie = asked.edns.and_then(|edns| edns.cookie);
        cookie.is_some_and(|cookie| self.has_made(cookie, client.address.ip()))
    }
}

/// What a reply to a message is made of, without a cookie; `None` where there is no reply to it.
fn asked_of(message: &[u8]) -> Option<Asked<'_>> {
    match Request::read(message) {
        Ok(request) => Some(Asked::new(&request, None)),
        Err(Unanswerable::Refuse { id, flags, question, edns, .. }) => {
            Some(Asked { id, flags, question, edns, rtype: RecordType(0), cookie: None })
        }
        Err(Unanswerable::Drop) => None,
    }
}

fn has_cookie(asked: &Asked<'_>) -> bool {
    asked.edns.is_some_and(|edns| edns.cookie.is_some())
}

impl Serving {
    /// The bounds that hold for a client.
    fn limit_for(&self, client: IpAddr) -> Option<&RateLimit> {
        self.rate_limit.as_deref().filter(|limit| !limit.exempts(client))
    }
}
