//! The responder: takes a message, finds its answer, writes the reply.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Guard};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::ahead::{Ahead, Aheads, Place};
use super::client::{Client, Transport};
use super::complete::{Asked, complete, complete_error, complete_error_briefly, complete_failure};
use super::cookie::Cookies;
use super::delegated::OwnAnswers;
use super::rate_limit::RateLimit;
use super::{ahead, finished, quick};
use crate::answer::{Chase, Freshness, Recursion, Relayed, Rules, Step};
use crate::cache::{Cache, Lookup, Manner, UpstreamReply};
use crate::dns::{
    ExtendedError, Flags, Name, NameRef, QueryFlags, Question, RawName, Rcode, RecordType, Request,
    Unanswerable,
};
use crate::forward::{Asker, Forwarder, Outcome, Quest, Said};
use crate::telemetry::Counter;
use crate::zone::{Snapshot, Store, ViewId};

/// Clients hear within two seconds, whatever is wrong upstream (RFC 8767 §5).
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_millis(1900);

/// The parts that a reload exchanges together.
pub struct Serving {
    pub rules: Rules,
    pub cache: Arc<Cache>,
    pub forwarder: Arc<Forwarder>,
    /// None where nothing is bounded.
    pub rate_limit: Option<Arc<RateLimit>>,
}

/// Answers messages.
pub struct Responder {
    store: Arc<Store>,
    serving: ArcSwap<Serving>,
    cookies: Cookies,
    /// Where refreshes of cached replies run: the callers' threads are not all the runtime's.
    runtime: Handle,
    counters: Counters,
}

/// What happened to messages.
#[derive(Default)]
pub struct Counters {
    /// Messages that were no query and got no reply.
    pub dropped: Counter,
    /// Messages answered with an error because of what they are: FORMERR, NOTIMP, BADVERS, another class.
    pub unanswerable: Counter,
    /// Queries of clients that no `access.allow` names.
    pub not_allowed: Counter,
    /// Queries that came back to us from an upstream of ours.
    pub loops: Counter,
}

/// What a batch of messages is answered from.
pub struct View {
    pub(super) snapshot: Guard<Arc<Snapshot>>,
    pub(super) serving: Guard<Arc<Serving>>,
    /// When it was loaded: lifetimes count in seconds, and a batch takes less than one of a thousand parts of it.
    pub(super) now: Instant,
    /// Hits of the cache by answers that were kept finished; the cache counts them when the batch is answered.
    kept_hits: Cell<usize>,
}

impl View {
    /// The network that a client belongs to.
    pub(super) fn of(&self, client: Client) -> ViewId {
        self.snapshot.networks().view_of(client.address.ip())
    }
}

impl Drop for View {
    fn drop(&mut self) {
        match self.kept_hits.get() {
            0 => {}
            hits => self.serving.cache.count_hits(hits),
        }
    }
}

/// What upstream is known to say to one name of a message that was begun elsewhere.
pub(super) struct Known {
    pub(super) began: Instant,
    pub(super) name: Name,
    pub(super) said: Said,
}

/// What a chase is carried on with.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a, 'm> {
    pub(super) snapshot: &'a Arc<Snapshot>,
    pub(super) serving: &'a Arc<Serving>,
    pub(super) query: &'a Query<'m>,
}

/// What came of a message without waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// A reply of this many bytes is in the buffer.
    Reply(usize),
    /// There is no reply.
    Drop,
    /// Upstream must be asked.
    Wait(Missing),
}

/// What a message waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Missing(Option<AtOnce>);

/// What `try_answer` knows of a message for whose very question upstream must be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct AtOnce {
    pub(super) flags: QueryFlags,
    /// While it lasts, a chase of the question begins with asking upstream.
    pub(super) epoch: finished::Epoch,
}

impl Missing {
    /// It is still to be found out.
    pub const UNKNOWN: Missing = Missing(None);

    fn of(chase: &Chase<'_>, flags: QueryFlags, epoch: finished::Epoch) -> Missing {
        Missing(chase.is_untouched().then_some(AtOnce { flags, epoch }))
    }

    pub(super) fn at_once(self) -> Option<AtOnce> {
        self.0
    }
}

impl Responder {
    /// A responder over a store; call it inside a runtime.
    pub fn new(store: Arc<Store>, serving: Serving, cookie_secret: [u8; 16]) -> Responder {
        Responder {
            store,
            serving: ArcSwap::from_pointee(serving),
            cookies: Cookies::new(cookie_secret),
            runtime: Handle::current(),
            counters: Counters::default(),
        }
    }

    /// Goes on with other rules, cache and forwarder.
    pub fn replace(&self, serving: Serving) {
        self.serving.store(Arc::new(serving));
    }

    /// The parts in use.
    pub fn serving(&self) -> Arc<Serving> {
        self.serving.load_full()
    }

    /// The zones.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the next batch is answered from.
    pub fn view(&self) -> View {
        View {
            snapshot: self.store.load(),
            serving: self.serving.load(),
            now: Instant::now(),
            kept_hits: Cell::new(0),
        }
    }

    /// Looks ahead to messages that `try_answer` is asked next.
    pub fn look_ahead<'v, 'm>(
        &self,
        view: &'v View,
        messages: impl Iterator<Item = (&'m [u8], IpAddr)>,
    ) -> Aheads<Ahead<'v>> {
        ahead::look_ahead(&view.snapshot, messages)
    }

    /// As `try_answer`, whatever the client has had of late.
    pub(super) fn answer_at_once(
        &self,
        view: &View,
        ahead: Option<&Ahead<'_>>,
        message: &[u8],
        client: Client,
        buffer: &mut [u8],
    ) -> Attempt {
        let query = match self.admit(&view.serving.rules, message, client, buffer) {
            Ok(query) => query,
            Err(attempt) => return attempt,
        };
        if view.serving.is_probe(&query) {
            return Attempt::Wait(Missing::UNKNOWN);
        }
        let client_view = ahead.map_or_else(|| view.of(client), |ahead| ahead.view);
        let place = ahead.map(|ahead| &ahead.place);
        let View { snapshot, serving, now, kept_hits } = view;
        let mut room = None;
        let (asked, name) = (&query.asked, query.name.lower_in(&mut room));
        if let Some(length) = quick::answer(asked, name, place, snapshot, client_view, client, buffer) {
            return Attempt::Reply(length);
        }
        // Before the cache is asked: what is purged from it later is not good.
        let epoch = serving.epoch(snapshot);
        let spot = place.and_then(Place::spot);
        let key = finished::Key::new(asked, name, client_view, spot);
        if let Some((length, hits)) = finished::answer(&key, epoch, asked, client, *now, buffer) {
            kept_hits.update(|others| others + hits);
            return Attempt::Reply(length);
        }
        let mut chase = query.chase(snapshot, &serving.rules, client_view);
        let step = chase.run();
        let asking = Asking { snapshot, serving, query: &query };
        if self.advance(asking, &mut chase, step, None, *now) == Step::Ask {
            return Attempt::Wait(Missing::of(&chase, query.flags, epoch));
        }
        let Some(length) = complete(asked, client, &chase, buffer) else { return Attempt::Drop };
        finished::keep(&key, epoch, &chase, asked, *now, &buffer[..length]);
        Attempt::Reply(length)
    }

    /// Answers, and asks upstream for what is missing. `None`: no reply.
    pub async fn answer(self: Arc<Self>, message: Vec<u8>, client: Client, asker: Asker) -> Option<Vec<u8>> {
        self.go_on(message, client, asker, None).await
    }

    /// Answers, perhaps with something known already.
    pub(super) async fn go_on(
        self: Arc<Self>,
        message: Vec<u8>,
        client: Client,
        asker: Asker,
        known: Option<Known>,
    ) -> Option<Vec<u8>> {
        let serving = self.serving();
        let mut reply = self.answer_whenever(&serving, &message, client, asker, known).await?;
        let length = reply.len();
        match self.within_rate(&serving, &message, client, &mut reply, length, Instant::now()) {
            Attempt::Reply(length) => reply.truncate(length),
            _ => return None,
        }
        Some(reply)
    }

    async fn answer_whenever(
        &self,
        serving: &Arc<Serving>,
        message: &[u8],
        client: Client,
        asker: Asker,
        mut known: Option<Known>,
    ) -> Option<Vec<u8>> {
        let snapshot = self.store.snapshot();
        let began = known.as_ref().map_or_else(Instant::now, |known| known.began);
        let deadline = began + ANSWER_DEADLINE;
        // Room for an error; for an answer there is none before there is one, as many may wait for upstream.
        let mut buffer = vec![0; ERROR_BYTES_MAX];
        let length = {
            let query = match self.admit(&serving.rules, message, client, &mut buffer) {
                Ok(query) => query,
                Err(Attempt::Reply(length)) => {
                    buffer.truncate(length);
                    return Some(buffer);
                }
                Err(_) => return None,
            };
            let client_view = snapshot.networks().view_of(client.address.ip());
            let mut chase = query.chase(&snapshot, &serving.rules, client_view);
            let mut step = chase.run();
            let is_own = || known.is_none() && serving.forwarder.is_own_question(query.asked.question);
            if serving.is_probe(&query) || (step == Step::Ask && is_own()) {
                let why = self.note_loop(serving, &query);
                complete_failure(&query.asked, client, why, &mut buffer)?
            } else {
                while step == Step::Ask {
                    let asking = Asking { snapshot: &snapshot, serving, query: &query };
                    let relayed = self.relayed(asking, &mut chase, asker, deadline, &mut known).await;
                    step = chase.feed(relayed);
                }
                buffer = vec![0; reply_bytes(client.transport)];
                complete(&query.asked, client, &chase, &mut buffer)?
            }
        };
        buffer.truncate(length);
        // It may wait for its turn to be sent.
        buffer.shrink_to_fit();
        Some(buffer)
    }

    /// Notes a question of our own that came back; what it is answered with.
    pub(super) fn note_loop(&self, serving: &Serving, query: &Query<'_>) -> ExtendedError {
        self.counters.loops.add(1);
        serving.forwarder.note_loop(query.asked.question);
        let why = "forwarding loop: this question came back to the server that asked it";
        ExtendedError::new(ExtendedError::OTHER, why)
    }

    /// What upstream says to the chase's current name, from the cache or by asking.
    pub(super) async fn relayed(
        &self,
        asking: Asking<'_, '_>,
        chase: &mut Chase<'_>,
        asker: Asker,
        deadline: Instant,
        known: &mut Option<Known>,
    ) -> Relayed {
        let Asking { snapshot, serving, query } = asking;
        let known = known.take_if(|known| known.name.borrow() == chase.current());
        if known.is_none()
            && let Some(relayed) = self.cached(asking, chase, Instant::now())
        {
            return relayed;
        }
        let asked = async {
            match known.map(|known| known.said) {
                Some(Said::Outcome(outcome)) => outcome,
                Some(Said::Awaited(awaited)) => awaited.outcome().await,
                None => {
                    let question = Question { name: chase.current().to_name(), rtype: query.rtype };
                    if let Some(delegation) = serving.delegation(chase, snapshot) {
                        let names = OwnAnswers::new(snapshot, serving, chase.view(), asker);
                        return names.ask(delegation, question, query.flags, Quest::new()).await;
                    }
                    match chase.has_own_answer() {
                        true => serving.forwarder.ask_unless_down(question, query.flags, asker).await,
                        false => serving.forwarder.ask(question, query.flags, asker).await,
                    }
                }
            }
        };
        // The forwarder bounds one question; a chain may ask many.
        let Ok(outcome) = timeout_at(deadline, asked).await else {
            let why = "the chain of aliases took upstreams longer than two seconds";
            let why = ExtendedError::new(ExtendedError::NO_REACHABLE_AUTHORITY, why);
            let reply = Arc::new(UpstreamReply::failure(Rcode::SERVFAIL, why));
            return Relayed { reply, age_secs: 0, freshness: Freshness::Fresh, life: None };
        };
        told(outcome, chase)
    }

    /// Goes on from a chase's step as far as it can without waiting: by what upstream said to one name, if that is
    /// known, and by the cache.
    pub(super) fn advance(
        &self,
        asking: Asking<'_, '_>,
        chase: &mut Chase<'_>,
        mut step: Step,
        mut known: Option<(NameRef<'_>, &Outcome)>,
        now: Instant,
    ) -> Step {
        while step == Step::Ask {
            let relayed = match known.take_if(|(name, _)| *name == chase.current()) {
                Some((_, outcome)) => Some(told(outcome.clone(), chase)),
                None => self.cached(asking, chase, now),
            };
            match relayed {
                Some(relayed) => step = chase.feed(relayed),
                None => break,
            }
        }
        step
    }

    fn cached(&self, asking: Asking<'_, '_>, chase: &mut Chase<'_>, now: Instant) -> Option<Relayed> {
        let Asking { snapshot, serving, query } = asking;
        let delegation = serving.delegation(chase, snapshot);
        let manner = delegation
            .as_ref()
            .map_or_else(|| Manner::from(query.flags), |delegation| delegation.manner(query.flags));
        let (hit, freshness) = match serving.cache.get(chase.current(), query.rtype, manner, now) {
            Lookup::Fresh(hit) => (hit, Freshness::Fresh),
            // Upstream failed a moment ago and is not asked again yet (RFC 8767 §5).
            Lookup::Stale { hit, recheck: false } => {
                let why = "answered stale: upstream does not answer";
                chase.add_error(ExtendedError::stale(hit.reply.denies_name(), why));
                (hit, Freshness::Stale)
            }
            Lookup::Stale { recheck: true, .. } | Lookup::Miss => return None,
        };
        chase.note(|| {
            let what = match hit.reply.rcode {
                Rcode::NXDOMAIN => "that there is no such name, whatever the type (RFC 2308 §5)",
                _ => "upstream's answer",
            };
            format!("cache: {what}, of {} seconds ago", hit.age_secs)
        });
        if hit.wants_prefetch {
            let question = Question { name: chase.current().to_name(), rtype: query.rtype };
            let _entered = self.runtime.enter();
            match delegation {
                Some(delegation) => {
                    let names = OwnAnswers::new(snapshot, serving, chase.view(), Asker::Server);
                    serving.forwarder.prefetch_delegated(delegation, question, query.flags, names);
                }
                None => serving.forwarder.prefetch(question, query.flags),
            }
        }
        Some(Relayed { reply: hit.reply, age_secs: hit.age_secs, freshness, life: Some(hit.life) })
    }

    /// Reads a message and turns away what cannot or may not be answered; a reply to it is then in the buffer.
    pub(super) fn admit<'m>(
        &self,
        rules: &Rules,
        message: &'m [u8],
        client: Client,
        buffer: &mut [u8],
    ) -> Result<Query<'m>, Attempt> {
        let ip = client.address.ip();
        let reply = |length: Option<usize>| length.map_or(Attempt::Drop, Attempt::Reply);
        // Over UDP without a cookie of ours the client's address may be forged.
        let is_forgeable = |cookie: Option<&[u8]>| {
            client.transport == Transport::Udp && !cookie.is_some_and(|cookie| self.has_made(cookie, ip))
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
                let is_brief = (is_malformed || !rules.access().allows(ip))
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
        if !rules.access().allows(ip) {
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
        let flags =
            QueryFlags { dnssec_ok: request.dnssec_ok(), checking_disabled: request.flags.has(Flags::CD) };
        Ok(Query { asked, name: request.name, rtype: request.rtype, flags })
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

/// An outcome as a chase takes it.
pub(super) fn told(outcome: Outcome, chase: &mut Chase<'_>) -> Relayed {
    if let (Some(upstream), Some(way)) = (outcome.upstream, &outcome.way) {
        chase.note(|| format!("upstream: {upstream} answers; {way}"));
    }
    let freshness = if outcome.stale.is_some() { Freshness::Stale } else { Freshness::Fresh };
    if let Some(why) = outcome.stale {
        chase.add_error(why);
    }
    Relayed { reply: outcome.reply, age_secs: outcome.age_secs, freshness, life: None }
}

impl Serving {
    /// What an answer that was made before depends on.
    pub(super) fn epoch(&self, snapshot: &Snapshot) -> finished::Epoch {
        finished::Epoch {
            rules: self.rules.number(),
            revision: snapshot.revision(),
            purges: self.cache.purges(),
        }
    }

    /// Whether this is a probe for a loop that came back: it lies in `.invalid`, which else is answered here.
    pub(super) fn is_probe(&self, query: &Query<'_>) -> bool {
        const INVALID: &[u8] = b"\x07invalid\0";
        let end = query.name.as_wire().last_chunk::<{ INVALID.len() }>();
        end.is_some_and(|end| end.eq_ignore_ascii_case(INVALID))
            && self.forwarder.is_own_question(query.asked.question)
    }
}

/// A query that is answered.
pub(super) struct Query<'m> {
    pub(super) asked: Asked<'m>,
    pub(super) name: RawName<'m>,
    pub(super) rtype: RecordType,
    pub(super) flags: QueryFlags,
}

impl Query<'_> {
    pub(super) fn chase<'s>(&self, snapshot: &'s Snapshot, rules: &'s Rules, view: ViewId) -> Chase<'s> {
        let recursion =
            if self.asked.flags.has(Flags::RD) { Recursion::Desired } else { Recursion::NotDesired };
        Chase::new(snapshot, rules, view, self.name.to_buf(), self.rtype, recursion)
    }
}

/// Room for a reply without records: a question of 259 bytes, and an OPT record with a cookie and one reason.
const ERROR_BYTES_MAX: usize = 1024;

/// Room for the largest reply over a transport.
pub(super) fn reply_bytes(transport: Transport) -> usize {
    match transport {
        Transport::Udp => usize::from(crate::dns::edns::UDP_PAYLOAD_BYTES),
        Transport::Tcp => usize::from(u16::MAX),
    }
}
