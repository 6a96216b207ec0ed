//! One socket of a lane, and the queries sent from it.

use std::net::SocketAddr;
use std::sync::Arc;

use socket2::Socket;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::inflight::{Flight, Sender, Waiter};
use super::observed::tell_answer;
use super::open_ports::Open;
use super::race::{DOWN_PATIENCE, PATIENCE};
use super::sockets::{NEAR_MISSES_MAX, PORT_LIFE, QUERIES_AT_ONCE_MAX, QUERIES_PER_PORT};
use super::{Counters, ExchangeError, Forwarder, Judgement, Outcome, Query, Rule, Upstream};

/// Ids that are looked through at once.
const IDS_AT_ONCE: usize = 16;

/// What a handed-over query waits for.
pub type Reply = oneshot::Sender<Result<Vec<u8>, ExchangeError>>;

/// A socket on a random port, connected to one upstream.
pub struct Port<T> {
    pub socket: Socket,
    /// The ids of `sent`, beside each other to be searched.
    ids: Vec<u16>,
    /// All that were ever sent, so that a late reply is known for what it is.
    pub sent: Vec<Sent<T>>,
    /// Where in `sent` those begin that are still to be sent.
    unsent: usize,
    /// How many are listened for.
    pub live: usize,
    /// Datagrams that fit no query.
    strangers: u32,
    pub upstream: SocketAddr,
    pub closes: Instant,
    /// Errors of reading.
    pub errors: u32,
    pub counters: Arc<Counters>,
    open: Open,
}

/// A query that was sent.
pub struct Sent<T> {
    pub query: Query,
    pub state: State<T>,
}

/// Who listens for the reply to a query.
pub enum State<T> {
    /// The lane.
    Waits(Asking<T>),
    /// A flight that took it over.
    HandedOver(Reply),
    /// Nobody any more.
    Over,
}

/// A question in a lane.
pub struct Asking<T> {
    pub lead: Lead,
    pub rule: Arc<Rule>,
    pub upstream: Arc<Upstream>,
    pub edns: bool,
    pub pending: T,
}

/// The right and the duty to answer a flight; dropped, it ends without an outcome.
pub struct Lead {
    pub forwarder: Arc<Forwarder>,
    /// None once it is in other hands.
    flight: Option<(Waiter, Sender)>,
}

/// What a datagram is to a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// The reply to the query at this place, which is listened for; perhaps in the wrong case.
    Reply(usize, Judgement),
    /// The reply to a query that nobody listens for any more.
    Late,
    /// Something else; it has the id of the query at this place, if at one.
    Stranger(Option<usize>),
}

impl<T> Port<T> {
    pub fn new(
        socket: Socket,
        open: Open,
        upstream: SocketAddr,
        counters: Arc<Counters>,
        now: Instant,
    ) -> Port<T> {
        Port {
            socket,
            ids: Vec::with_capacity(QUERIES_PER_PORT),
            sent: Vec::with_capacity(QUERIES_PER_PORT),
            unsent: 0,
            live: 0,
            strangers: 0,
            upstream,
            closes: now + PORT_LIFE,
            errors: 0,
            counters,
            open,
        }
    }

    /// How many more queries it takes now.
    pub fn room(&self, now: Instant) -> usize {
        match self.has_served(now) {
            true => 0,
            false => (QUERIES_AT_ONCE_MAX - self.live).min(QUERIES_PER_PORT - self.sent.len()),
        }
    }

    /// Whether it takes so many queries now, or as many as it ever will.
    pub fn takes(&self, queries: usize, now: Instant) -> bool {
        let room = self.room(now);
        room > 0 && room >= queries.min(QUERIES_PER_PORT - self.sent.len())
    }

    /// Whether it takes no more queries, ever. One that met a stranger may be known to a forger.
    pub fn has_served(&self, now: Instant) -> bool {
        self.sent.len() >= QUERIES_PER_PORT
            || self.strangers > 0
            || now >= self.closes
            || !self.open.is_current()
    }

    /// Whether it met so many strangers that its queries are in danger.
    pub fn is_under_attack(&self) -> bool {
        self.strangers > NEAR_MISSES_MAX
    }

    /// Looks whether the address that it sends from is still there.
    pub fn check_address(&self) {
        self.open.check_address(self.local());
    }

    /// Tells of the reply to a query, if anybody wants to know.
    pub fn tell(&self, place: usize, asking: &Asking<T>, reply: &[u8], now: Instant) {
        let asked = asking.lead.flight().map_or(now, |flight| flight.started);
        let query = self.sent[place].query.as_bytes();
        let parties = (asking.upstream.socket(), &*asking.rule);
        tell_answer(&asking.lead.forwarder.tap, parties, (query, reply), (asked, now), || self.local());
    }

    fn local(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok().and_then(|local| local.as_socket())
    }

    /// Takes a query to be sent, and makes its id one of its own here.
    pub fn enlist(&mut self, mut query: Query, asking: Asking<T>) {
        while self.place(query.id()).is_some() {
            query.renew_id();
        }
        self.ids.push(query.id());
        self.sent.push(Sent { query, state: State::Waits(asking) });
        self.live += 1;
    }

    /// Where in `sent` those begin that are still to be sent.
    pub fn unsent(&self) -> usize {
        self.unsent
    }

    /// Notes that all in front of `end` are sent.
    pub fn note_sent(&mut self, end: usize) {
        self.unsent = end;
    }

    /// Takes back the last query, which was not sent.
    pub fn withdraw(&mut self) -> Option<Sent<T>> {
        self.ids.pop();
        self.live -= 1;
        self.sent.pop()
    }

    /// Where in `sent` the query of an id is.
    fn place(&self, id: u16) -> Option<usize> {
        let (number, ids) = self.ids.chunks(IDS_AT_ONCE).enumerate().find(|(_, ids)| ids.contains(&id))?;
        Some(number * IDS_AT_ONCE + ids.iter().position(|sent| *sent == id)?)
    }

    /// What a datagram is.
    pub fn find(&mut self, datagram: &[u8]) -> Found {
        let id = datagram.first_chunk().map(|id| u16::from_be_bytes(*id));
        let place = id.and_then(|id| self.place(id));
        match place {
            Some(at) if matches!(self.sent[at].state, State::Over) => return Found::Late,
            Some(at) => match self.sent[at].query.judge(datagram) {
                Judgement::Stranger => {}
                judgement => return Found::Reply(at, judgement),
            },
            None => {}
        }
        self.strangers += 1;
        Found::Stranger(place)
    }

    /// A query that is listened for.
    pub fn any_live(&self) -> Option<usize> {
        self.sent.iter().position(|sent| !matches!(sent.state, State::Over))
    }

    /// Puts another in the place of who listens for the reply to a query.
    pub fn put(&mut self, at: usize, state: State<T>) -> State<T> {
        if matches!(state, State::Over) {
            self.live -= 1;
        }
        std::mem::replace(&mut self.sent[at].state, state)
    }
}

impl<T> Asking<T> {
    /// When to look whether the upstream has been silent for too long: it has if that is past.
    pub fn patient_until(&self, now: Instant) -> Instant {
        let Some(flight) = self.lead.flight() else { return now };
        let least = flight.started + DOWN_PATIENCE;
        if now < least {
            return least;
        }
        let usual = flight.started + PATIENCE;
        self.rule.down_since(now).map_or(usual, |since| usual.min(least.max(since + DOWN_PATIENCE)))
    }
}

impl Lead {
    pub fn new(forwarder: Arc<Forwarder>, waiter: Waiter, sender: Sender) -> Lead {
        Lead { forwarder, flight: Some((waiter, sender)) }
    }

    /// Leaves the flight to others, who must settle it; none if it was left before.
    pub fn leave(mut self) -> Option<(Waiter, Sender)> {
        self.flight.take()
    }

    pub fn flight(&self) -> Option<&Arc<Flight>> {
        self.flight.as_ref().map(|(waiter, _)| &waiter.flight)
    }

    /// Takes the question out of those in flight and tells those who followed.
    pub fn settle(mut self, outcome: &Outcome) {
        let Some((waiter, sender)) = self.flight.take() else { return };
        self.forwarder.inflight.settle(&waiter.flight);
        // From here on nobody joins.
        if waiter.is_followed() {
            sender.send(outcome.clone());
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if let Some((waiter, _)) = &self.flight {
            self.forwarder.inflight.settle(&waiter.flight);
        }
    }
}
