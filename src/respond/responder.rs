//! The responder: takes a message, finds its answer, writes the reply.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::ahead::{Ahead, Aheads, Place};
use super::client::{Client, Transport};
use super::complete::{complete, complete_failure};
use super::cookie::Cookies;
use super::delegated::OwnAnswers;
use super::designation::Designation;
use super::observed::Observed;
use super::query::{Begun, Decided, Look, Missing, Query};
use super::rate_limit::RateLimit;
use super::reply::Reply;
use super::tally::{Batch, Tallies, Totals};
use super::{ahead, finished, quick};
use crate::answer::{Chase, Freshness, Relayed, Rules, Step};
use crate::cache::{Cache, Lookup, Manner, UpstreamReply};
use crate::counters;
use crate::dns::header::HEADER_BYTES;
use crate::dns::{ExtendedError, Name, NameRef, RawQuestion, Rcode, RecordType};
use crate::forward::{self, Asker, Forwarder, Outcome, Quest, Said, looks_own};
use crate::observe::Tap;
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
    /// The responder's, whatever is exchanged.
    pub(super) tallies: Arc<Tallies>,
}

/// Answers messages.
pub struct Responder {
    store: Arc<Store>,
    serving: ArcSwap<Serving>,
    pub(super) cookies: Cookies,
    /// Where refreshes of cached replies run: the callers' threads are not all the runtime's.
    runtime: Handle,
    pub(super) counters: Counters,
    tallies: Arc<Tallies>,
    pub(super) tap: Arc<Tap>,
    /// What clients are told of encrypted transports.
    pub(super) designation: ArcSwapOption<Designation>,
}

counters! {
    /// What happened to messages.
    pub struct Counters => Counts in "queries" {
        /// Messages that were no query and got no reply.
        dropped,
        /// Messages answered with an error because of what they are: FORMERR, NOTIMP, BADVERS, another class.
        unanswerable,
        /// Queries of clients that no access.allow names.
        not_allowed,
        /// Queries that came back to us from an upstream of ours.
        looped,
        /// Queries beyond limits.queries_per_second of their client.
        beyond_rate,
        /// Replies beyond limits.responses_per_second that were not sent.
        reply_dropped,
        /// Replies beyond limits.responses_per_second that were cut short, so that the client asks over TCP.
        reply_cut,
        /// Replies beyond limits.responses_per_second in whose place BADCOOKIE was sent.
        reply_bad_cookie,
    }
}

/// What a batch of messages is answered from.
pub struct View {
    pub(super) snapshot: Guard<Arc<Snapshot>>,
    pub(super) serving: Guard<Arc<Serving>>,
    /// When it was loaded: lifetimes count in seconds, and a batch takes less than one of a thousand parts of it.
    pub(super) now: Instant,
    /// Whether somebody wants to be told of each message.
    pub(super) is_observed: bool,
    /// Hits of the cache by answers that were kept finished; the cache counts them when the batch is answered.
    kept_hits: Cell<usize>,
    /// What was counted of the batch.
    counted: Batch,
}

impl View {
    /// The network that a client belongs to.
    pub(super) fn of(&self, client: Client) -> ViewId {
        client.view(self.snapshot.networks())
    }

    /// Counts what came of a message of the batch.
    pub(super) fn counted(&self, attempt: Attempt<Reply>) -> Attempt {
        let reply = match attempt {
            Attempt::Reply(reply) => Some(reply),
            Attempt::Drop | Attempt::Wait(_) => None,
        };
        if self.counted.count_reply(reply) {
            self.add_up();
        }
        attempt.lengths()
    }

    /// Counts a query that is refused as it is read.
    pub(super) fn count_refused(&self, message: &[u8], client: Client) {
        let question = RawQuestion::read(message, HEADER_BYTES);
        let rtype = question.map_or(RecordType(0), |question| question.rtype);
        self.counted.count_request(client, self.of(client), rtype);
    }

    // Once a batch.
    #[cold]
    fn add_up(&self) {
        self.counted.add_to(self.serving.tallies.own(), self.now.elapsed(), &self.snapshot);
    }
}

impl Drop for View {
    fn drop(&mut self) {
        match self.kept_hits.get() {
            0 => {}
            hits => self.serving.cache.count_hits(hits),
        }
        if !self.counted.is_empty() {
            self.add_up();
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
#[derive(Clone, Copy, Debug)]
pub enum Attempt<R = usize> {
    /// A reply is in the buffer: so many bytes.
    Reply(R),
    /// There is no reply.
    Drop,
    /// Upstream must be asked.
    Wait(Missing),
}

impl Attempt<Reply> {
    /// A reply by its length alone.
    pub(super) fn lengths(self) -> Attempt {
        match self {
            Attempt::Reply(reply) => Attempt::Reply(reply.length()),
            Attempt::Drop => Attempt::Drop,
            Attempt::Wait(missing) => Attempt::Wait(missing),
        }
    }
}

impl Responder {
    /// A responder over a store; call it inside a runtime.
    pub fn new(store: Arc<Store>, serving: Serving, cookie_secret: [u8; 16]) -> Responder {
        Responder {
            store,
            tallies: Arc::clone(&serving.tallies),
            serving: ArcSwap::from_pointee(serving),
            cookies: Cookies::new(cookie_secret),
            runtime: Handle::current(),
            counters: Counters::default(),
            tap: Arc::default(),
            designation: ArcSwapOption::empty(),
        }
    }

    /// Goes on with other rules, cache and forwarder.
    pub fn replace(&self, serving: Serving) {
        let tallies = Arc::clone(&self.tallies);
        self.serving.store(Arc::new(Serving { tallies, ..serving }));
    }

    /// The parts in use.
    pub fn serving(&self) -> Arc<Serving> {
        self.serving.load_full()
    }

    /// The zones.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What was counted of queries and replies.
    pub fn totals(&self) -> Totals {
        self.tallies.totals()
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
            is_observed: self.tap.is_on(),
            kept_hits: Cell::new(0),
            counted: Batch::default(),
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
    ) -> Attempt<Reply> {
        let query = match self.admit(&view.serving.rules, message, client, buffer) {
            Ok(query) => query,
            Err(attempt) => {
                if matches!(attempt, Attempt::Reply(_)) {
                    view.count_refused(message, client);
                }
                return attempt;
            }
        };
        let client_view = ahead.map_or_else(|| view.of(client), |ahead| ahead.view);
        view.counted.count_request(client, client_view, query.asked.rtype);
        if view.serving.is_probe(&query) {
            return Attempt::Wait(Missing::UNKNOWN);
        }
        let place = ahead.map(|ahead| &ahead.place);
        let View { snapshot, serving, now, kept_hits, .. } = view;
        let mut room = None;
        let (asked, name) = (&query.asked, query.name.lower_in(&mut room));
        if let Some(reply) = quick::answer(asked, name, place, snapshot, client_view, client, buffer) {
            return Attempt::Reply(reply);
        }
        if asked.rtype == RecordType::SVCB
            && let Some(reply) = self.designated(&query, (snapshot, serving), client_view, client, buffer)
        {
            return Attempt::Reply(reply);
        }
        // Before the cache is asked: what is purged from it later is not good.
        let epoch = serving.epoch(snapshot);
        let spot = place.and_then(Place::spot);
        let key = finished::Key::new(asked, name, client_view, spot);
        if let Some((reply, hits)) = finished::answer(&key, epoch, asked, client, *now, buffer) {
            kept_hits.update(|others| others + hits);
            return Attempt::Reply(reply);
        }
        let mut chase = query.chase(snapshot, &serving.rules, client_view);
        let step = chase.run();
        let asking = Asking { snapshot, serving, query: &query };
        if self.advance(asking, &mut chase, step, Look::First, None, *now) == Step::Ask {
            return Attempt::Wait(Missing::of(&query, &chase, epoch));
        }
        let Some(reply) = complete(asked, client, &chase, buffer) else { return Attempt::Drop };
        finished::keep(&key, epoch, &chase, asked, *now, &buffer[..reply.length()]);
        Attempt::Reply(reply)
    }

    /// Answers, and asks upstream for what is missing, which `try_answer` told, if it was asked. `None`: no reply.
    pub async fn answer(
        self: Arc<Self>,
        message: Vec<u8>,
        client: Client,
        asker: Asker,
        missing: Missing,
    ) -> Option<Vec<u8>> {
        self.go_on(message, client, asker, missing, None).await
    }

    /// Answers, perhaps with something known already.
    pub(super) async fn go_on(
        self: Arc<Self>,
        message: Vec<u8>,
        client: Client,
        asker: Asker,
        missing: Missing,
        known: Option<Known>,
    ) -> Option<Vec<u8>> {
        let serving = self.serving();
        let began = known.as_ref().map_or_else(Instant::now, |known| known.began);
        let (mut bytes, reply, upstream) =
            self.answer_whenever(&serving, &message, client, asker, missing, known).await?;
        let now = Instant::now();
        let attempt = self.within_rate(&serving, &message, client, &mut bytes, reply, now);
        let observed = Observed { message: &message, client, asked: began, upstream };
        self.tell(&observed, &attempt, &bytes);
        let Attempt::Reply(reply) = attempt else { return None };
        self.tallies.own().count_late(reply, now - began);
        bytes.truncate(reply.length());
        Some(bytes)
    }

    async fn answer_whenever(
        &self,
        serving: &Arc<Serving>,
        message: &[u8],
        client: Client,
        asker: Asker,
        missing: Missing,
        mut known: Option<Known>,
    ) -> Option<(Vec<u8>, Reply, Option<SocketAddr>)> {
        let snapshot = self.store.snapshot();
        let began = known.as_ref().map_or_else(Instant::now, |known| known.began);
        let deadline = began + ANSWER_DEADLINE;
        let begun = {
            let mut buffer = [0; ERROR_BYTES_MAX];
            match self.begin(serving, &snapshot, message, client, missing, &mut buffer) {
                Ok(begun) => begun,
                Err(Attempt::Reply(reply)) => return Some((buffer[..reply.length()].to_vec(), reply, None)),
                Err(_) => return None,
            }
        };
        if begun.query.asked.rtype == RecordType::SVCB
            && let Some((bytes, reply)) = written(client.transport, |buffer| {
                self.designated(&begun.query, (&snapshot, serving), begun.view, client, buffer)
            })
        {
            return Some((bytes, reply, None));
        }
        let mut chase = begun.query.chase(&snapshot, &serving.rules, begun.view);
        let mut step = begun.step(&mut chase);
        let Begun { query, mut look, is_probe, .. } = begun;
        let is_own = || known.is_none() && looks_own(&serving.forwarder, query.asked.question);
        if is_probe || (step == Step::Ask && is_own()) {
            let why = self.note_loop(serving, &query);
            let failed =
                written(client.transport, |buffer| complete_failure(&query.asked, client, why, buffer));
            return failed.map(|(bytes, reply)| (bytes, reply, None));
        }
        while step == Step::Ask {
            let asking = Asking { snapshot: &snapshot, serving, query: &query };
            let relayed = self.relayed(asking, &mut chase, asker, deadline, &mut look, &mut known).await;
            step = chase.feed(relayed);
        }
        let (bytes, reply) =
            written(client.transport, |buffer| complete(&query.asked, client, &chase, buffer))?;
        Some((bytes, reply, chase.upstream()))
    }

    /// Begins with a message, where it stopped if that still holds; on an error a reply may be in the buffer.
    pub(super) fn begin<'m>(
        &self,
        serving: &Serving,
        snapshot: &Snapshot,
        message: &'m [u8],
        client: Client,
        missing: Missing,
        buffer: &mut [u8],
    ) -> Result<Begun<'m>, Attempt<Reply>> {
        let look = missing.next_look();
        if let Some(decided) = missing.decided_in(serving.epoch(snapshot))
            && let Some(query) = decided.query(message)
        {
            let Decided { view, is_untouched, .. } = decided;
            return Ok(Begun { query, view, is_untouched, look, is_probe: false });
        }
        let query = self.admit(&serving.rules, message, client, buffer)?;
        let view = client.view(snapshot.networks());
        let is_probe = serving.is_probe(&query);
        Ok(Begun { query, view, is_untouched: false, look, is_probe })
    }

    /// Notes a question of our own that came back; what it is answered with.
    pub(super) fn note_loop(&self, serving: &Serving, query: &Query<'_>) -> ExtendedError {
        self.counters.looped.add(1);
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
        look: &mut Look,
        known: &mut Option<Known>,
    ) -> Relayed {
        let Asking { snapshot, serving, query } = asking;
        let known = known.take_if(|known| known.name.borrow() == chase.current());
        if known.is_none()
            && let Some(relayed) = self.cached(asking, chase, *look, Instant::now())
        {
            return relayed;
        }
        *look = Look::First;
        let is_by_rule = chase.delegation().is_none();
        let asked = async {
            match known.map(|known| known.said) {
                Some(Said::Outcome(outcome)) => outcome,
                Some(Said::Awaited(awaited)) => awaited.outcome().await,
                None => {
                    let question = chase.question();
                    if let Some(delegation) = serving.delegation(chase, snapshot) {
                        let names = OwnAnswers::new(snapshot, serving, chase.view(), asker);
                        return names.ask(delegation, question, query.flags(), Quest::new()).await;
                    }
                    match chase.has_own_answer() {
                        true => serving.forwarder.ask_unless_down(question, query.flags(), asker).await,
                        false => serving.forwarder.ask(question, query.flags(), asker).await,
                    }
                }
            }
        };
        // The forwarder bounds one question by a rule; a chain may ask many.
        if is_by_rule && Instant::now() + forward::DEADLINE <= deadline {
            return told(asked.await, chase);
        }
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
        mut look: Look,
        mut known: Option<(NameRef<'_>, &Outcome)>,
        now: Instant,
    ) -> Step {
        while step == Step::Ask {
            let relayed = match known.take_if(|(name, _)| *name == chase.current()) {
                Some((_, outcome)) => {
                    look = Look::First;
                    Some(told(outcome.clone(), chase))
                }
                None => self.cached(asking, chase, look, now),
            };
            match relayed {
                Some(relayed) => step = chase.feed(relayed),
                None => break,
            }
        }
        step
    }

    fn cached(
        &self,
        asking: Asking<'_, '_>,
        chase: &mut Chase<'_>,
        look: Look,
        now: Instant,
    ) -> Option<Relayed> {
        let Asking { snapshot, serving, query } = asking;
        let delegation = serving.delegation(chase, snapshot);
        let manner = delegation
            .as_ref()
            .map_or_else(|| Manner::from(query.flags()), |delegation| delegation.manner(query.flags()));
        let (name, rtype) = (chase.current(), query.asked.rtype);
        let found = match look {
            Look::First => serving.cache.get(name, rtype, manner, now),
            Look::Again => serving.cache.find_again(name, rtype, manner, now),
        };
        let (hit, freshness) = match found {
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
            let question = chase.question();
            let _entered = self.runtime.enter();
            match delegation {
                Some(delegation) => {
                    let names = OwnAnswers::new(snapshot, serving, chase.view(), Asker::Server);
                    serving.forwarder.prefetch_delegated(delegation, question, query.flags(), names);
                }
                None => serving.forwarder.prefetch(question, query.flags()),
            }
        }
        Some(Relayed { reply: hit.reply, age_secs: hit.age_secs, freshness, life: Some(hit.life) })
    }
}

/// An outcome as a chase takes it.
pub(super) fn told(outcome: Outcome, chase: &mut Chase<'_>) -> Relayed {
    if let (Some(upstream), Some(way)) = (&outcome.upstream, &outcome.way) {
        chase.note(|| format!("upstream: {upstream} answers; {way}"));
    }
    if let Some(upstream) = &outcome.upstream {
        chase.note_upstream(upstream.socket());
    }
    let freshness = if outcome.stale.is_some() { Freshness::Stale } else { Freshness::Fresh };
    if let Some(why) = outcome.stale {
        chase.add_error(why);
    }
    Relayed { reply: outcome.reply, age_secs: outcome.age_secs, freshness, life: None }
}

impl Serving {
    /// Parts that serve together.
    pub fn new(
        rules: Rules,
        cache: Arc<Cache>,
        forwarder: Arc<Forwarder>,
        rate_limit: Option<Arc<RateLimit>>,
    ) -> Serving {
        Serving { rules, cache, forwarder, rate_limit, tallies: Arc::default() }
    }

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

/// Room for a reply without records: a question of 259 bytes, and an OPT record with a cookie and one reason.
const ERROR_BYTES_MAX: usize = 1024;

/// Room for the largest reply over a transport.
pub(super) fn reply_bytes(transport: Transport) -> usize {
    match transport {
        Transport::Udp => usize::from(crate::dns::edns::UDP_PAYLOAD_BYTES),
        Transport::Tcp | Transport::Tls => usize::from(u16::MAX),
    }
}

thread_local! {
    /// Where replies are written that were waited for: none is as long as there is room for.
    static REPLY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A reply of its own length.
fn written(transport: Transport, write: impl FnOnce(&mut [u8]) -> Option<Reply>) -> Option<(Vec<u8>, Reply)> {
    let bytes_max = reply_bytes(transport);
    REPLY.with_borrow_mut(|buffer| {
        if buffer.len() < bytes_max {
            buffer.resize(bytes_max, 0);
        }
        write(&mut buffer[..bytes_max]).map(|reply| (buffer[..reply.length()].to_vec(), reply))
    })
}
