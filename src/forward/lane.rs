//! The short way of a question: the thread that read it asks its upstream itself, many questions with one call.
//!
//! A lane takes what is usual: a healthy upstream, asked once over UDP, that answers. All else goes on as a flight of
//! the forwarder: what the upstream said so far goes with it, and what it says later is passed on.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::asker::Asker;
use super::attempt::Begun;
use super::datagrams::Datagrams;
use super::inflight::Waiter;
use super::port::{Asking, Found, Lead, Port, Sent, State};
use super::race::DOWN_PATIENCE;
use super::reading::Reading;
use super::settings::Asked;
use super::sockets::{ERRORS_MAX, QUERIES_AT_ONCE_MAX, is_of_here};
use super::{ExchangeError, Forwarder, Judgement, Outcome, Query, case};
use crate::cache::UpstreamReply;
use crate::dns::{Name, NameRef, QueryFlags, Question};
use crate::net::Poll;

/// Ports with room among which each query's is chosen; where there are fewer, one of the missing ones is opened.
const PORTS_TO_CHOOSE_FROM: usize = 16;

/// Room for so many queries is enough for any batch: a call for each would cost more than the queries.
const ROOM_MIN: usize = QUERIES_AT_ONCE_MAX / 2;

/// The least time between two looks for questions whose upstream has been silent too long.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// The time between two looks whether flights still wait for what was handed over to them.
const FLIGHT_PAUSE: Duration = Duration::from_millis(50);

/// Asks upstreams for one thread. `T` is what the thread wants back with the answer.
pub struct Lane<T> {
    runtime: Handle,
    poll: Poll,
    datagrams: Datagrams,
    /// Each at the place it is polled by.
    ports: Vec<Option<Port<T>>>,
    /// The places of the ports that have not served yet.
    open: HashMap<SocketAddr, Vec<usize>>,
    /// Begun and not yet sent.
    staged: Vec<(Query, Asking<T>)>,
    /// What the thread has not taken back yet.
    returned: VecDeque<Returned<T>>,
    /// Queries that are listened for.
    live: usize,
    look_at: Option<Instant>,
}

/// A question that is a lane's no more.
pub struct Returned<T> {
    pub pending: T,
    pub name: Name,
    pub said: Said,
}

/// What a lane knows of a question.
pub enum Said {
    Outcome(Outcome),
    /// A flight goes on with it.
    Awaited(Awaited),
}

/// One who waits for a flight.
pub struct Awaited {
    forwarder: Arc<Forwarder>,
    waiter: Waiter,
}

impl Awaited {
    /// What became of the question.
    pub async fn outcome(self) -> Outcome {
        self.forwarder.wait(self.waiter).await
    }
}

impl<T> Lane<T> {
    /// A lane whose flights run in `runtime`.
    pub fn new(runtime: Handle) -> io::Result<Lane<T>> {
        Ok(Lane {
            runtime,
            poll: Poll::new()?,
            datagrams: Datagrams::new(),
            ports: Vec::new(),
            open: HashMap::new(),
            staged: Vec::new(),
            returned: VecDeque::new(),
            live: 0,
            look_at: None,
        })
    }

    /// Begins to ask a question, which `send` sends; returns the pending query if a lane cannot take it.
    ///
    /// The question section that brought it here must not be `looks_own`.
    pub fn begin(
        &mut self,
        forwarder: &Arc<Forwarder>,
        question: Question,
        flags: QueryFlags,
        (pending, asker): (T, Asker),
        now: Instant,
    ) -> Result<(), T> {
        let Some(rule) = forwarder.rules.taking(&question) else { return Err(pending) };
        let Some((upstream, others)) = rule.upstreams.split_first() else { return Err(pending) };
        // One that is down is probed beside the question, which a flight does.
        let are_up = others.iter().all(|other| other.standing(now).is_asked_first());
        let takes = are_up && upstream.is_asked_by_datagrams();
        let Some((case, edns)) = upstream.health.manner(now).filter(|_| takes) else { return Err(pending) };
        if forwarder.transport.ports().is_none() {
            return Err(pending);
        }
        let asked = Asked::by_rules(question, flags);
        let begun = forwarder.inflight.lead(asked, rule.number, asker, now);
        let Some((waiter, sender)) = begun else { return Err(pending) };
        forwarder.counters.questions.add(1);
        let asked = &waiter.flight.asked;
        let query = Query::new(&asked.question, asked.flags, edns, case);
        let granted = upstream.budget.as_ref().is_none_or(|budget| budget.take(asker, now));
        if granted {
            waiter.flight.note_sent(query.question(), upstream);
        }
        let lead = Lead::new(forwarder.clone(), waiter, sender);
        let asking = Asking { lead, rule: rule.clone(), upstream: upstream.clone(), edns, pending };
        if granted {
            self.staged.push((query, asking));
        } else {
            self.leave(asking, None);
        }
        Ok(())
    }

    /// Whether there is something to send.
    pub fn has_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// Sends what was begun.
    pub fn send(&mut self, now: Instant) {
        if self.staged.is_empty() {
            return;
        }
        let mut staged = mem::take(&mut self.staged);
        // Those of one upstream take few calls, and those of one length the kernel takes together.
        staged
            .sort_unstable_by_key(|(query, asking)| (Arc::as_ptr(&asking.upstream), query.as_bytes().len()));
        let mut call: Option<Call> = None;
        let mut rest = staged.drain(..);
        while let Some((query, asking)) = rest.next() {
            let upstream = asking.upstream.socket();
            if call.as_ref().is_none_or(|call| call.upstream != upstream || call.room == 0) {
                if let Some(call) = call.take() {
                    self.send_from(call.at, now);
                }
                let next = rest.as_slice().iter().take(ROOM_MIN);
                let same = next.take_while(|(_, next)| Arc::ptr_eq(&next.upstream, &asking.upstream));
                call = self.call(&asking, upstream, 1 + same.count(), now);
            }
            match &mut call {
                Some(call) => {
                    call.room -= 1;
                    if let Some(port) = &mut self.ports[call.at] {
                        port.enlist(query, asking);
                        self.live += 1;
                    }
                }
                None => self.leave(asking, None),
            }
        }
        drop(rest);
        if let Some(call) = call {
            self.send_from(call.at, now);
        }
        self.staged = staged;
        // Their rule may fall meanwhile, which leaves them less time.
        self.look_at = Some(self.look_at.map_or(now + DOWN_PATIENCE, |at| at.min(now + DOWN_PATIENCE)));
    }

    /// A random port for so many queries to an upstream, or for as many as it takes.
    fn call(
        &mut self,
        asking: &Asking<T>,
        upstream: SocketAddr,
        queries: usize,
        now: Instant,
    ) -> Option<Call> {
        let forwarder = &asking.lead.forwarder;
        let ports = forwarder.transport.ports()?;
        let open = self.open.entry(upstream).or_default();
        let choice = rand::rng().random_range(0..PORTS_TO_CHOOSE_FROM);
        let port = |at: &usize| self.ports[*at].as_ref().map(|port| (*at, port));
        let mut roomy =
            open.iter().filter_map(port).filter(|(_, port)| port.takes(queries.min(ROOM_MIN), now));
        if let Some((at, port)) = roomy.nth(choice) {
            return Some(Call { at, upstream, room: port.room(now) });
        }
        let Ok((socket, counted)) = ports.open_for_lane(upstream) else {
            let (at, port) = open.iter().filter_map(port).max_by_key(|(_, port)| port.room(now))?;
            return Some(Call { at, upstream, room: port.room(now) }).filter(|call| call.room > 0);
        };
        let at = self.ports.iter().position(Option::is_none).unwrap_or(self.ports.len());
        self.poll.add(&socket, at).ok()?;
        forwarder.counters.sockets_opened.add(1);
        let port = Port::new(socket, counted, upstream, forwarder.counters.clone(), now);
        if at == self.ports.len() {
            self.ports.push(None);
        }
        self.ports[at] = Some(port);
        open.push(at);
        Some(Call { at, upstream, room: QUERIES_AT_ONCE_MAX })
    }

    /// Sends what a port has to send.
    fn send_from(&mut self, at: usize, now: Instant) {
        let Some(port) = &mut self.ports[at] else { return };
        let unsent = port.unsent();
        let queries = port.sent[unsent..].iter().map(|sent| sent.query.as_bytes());
        let (sent, mut result) = self.datagrams.send(&port.socket, queries);
        // The port is of an address, or leads a way, that is gone: flights ask from others, and so does the next batch.
        if result.as_ref().is_err_and(is_of_here) {
            port.closes = now;
            result = Ok(());
        }
        for sent in &port.sent[unsent..unsent + sent] {
            if let State::Waits(asking) = &sent.state {
                asking.upstream.queries.add(1);
            }
        }
        port.counters.queries.add(sent as u64);
        port.note_sent(unsent + sent);
        while let Some(port) = self.ports[at].as_mut().filter(|port| port.unsent() < port.sent.len()) {
            let Some(Sent { query, state: State::Waits(asking), .. }) = port.withdraw() else { break };
            self.live -= 1;
            // The error is that of the first that was not sent; the others were not tried.
            let error = match mem::replace(&mut result, Ok(())) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => Some(error),
                _ => None,
            };
            let begun = error.map(|error| begun(&asking, query, Err(error.into())));
            self.leave(asking, begun);
        }
        self.tidy(at, now);
    }

    /// Takes what came from upstreams.
    pub fn receive(&mut self, now: Instant) {
        for at in self.poll.ready() {
            self.receive_from(at, now);
            self.tidy(at, now);
        }
    }

    fn receive_from(&mut self, at: usize, now: Instant) {
        let Some(port) = self.ports.get_mut(at).and_then(Option::as_mut) else { return };
        match self.datagrams.receive(&port.socket) {
            Ok(received) => {
                for index in 0..received {
                    self.deliver(at, index, now);
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            // SAD DNS: what ICMP says is not believed; the queries wait on.
            Err(_) => {
                port.errors += 1;
                if port.errors >= ERRORS_MAX {
                    self.poll.remove(&port.socket);
                    port.closes = now;
                }
            }
        }
    }

    fn deliver(&mut self, at: usize, index: usize, now: Instant) {
        let Some(port) = &mut self.ports[at] else { return };
        let datagram = self.datagrams.get(index);
        match port.find(datagram) {
            Found::Late => port.counters.late_replies.add(1),
            Found::Reply(place, judgement) => {
                self.live -= 1;
                match port.put(place, State::Over) {
                    State::Waits(asking) => {
                        match usable(&asking, datagram).filter(|_| judgement == Judgement::Reply) {
                            Some(reply) => {
                                port.tell(place, &asking, datagram, now);
                                self.answer(asking, reply, now);
                            }
                            None => {
                                let query = port.sent[place].query.clone();
                                let begun = begun(&asking, query, Ok(datagram.to_vec()));
                                self.leave(asking, Some(begun));
                            }
                        }
                    }
                    // A caller that is gone needs no reply.
                    State::HandedOver(reply) => drop(reply.send(Ok(datagram.to_vec()))),
                    State::Over => {}
                }
            }
            Found::Stranger(place) => {
                port.counters.near_misses.add(1);
                if let Some(place) = place {
                    self.leave_attacked(at, place);
                }
                while let Some(port) = self.ports[at].as_ref().filter(|port| port.is_under_attack())
                    && let Some(place) = port.any_live()
                {
                    self.leave_attacked(at, place);
                }
            }
        }
    }

    /// Hands over a query that a forger may be about to hit: it must be asked over TCP.
    fn leave_attacked(&mut self, at: usize, place: usize) {
        let Some(port) = &mut self.ports[at] else { return };
        self.live -= 1;
        match port.put(place, State::Over) {
            State::Waits(asking) => {
                let query = port.sent[place].query.clone();
                let begun = begun(&asking, query, Err(ExchangeError::NearMisses));
                self.leave(asking, Some(begun));
            }
            State::HandedOver(reply) => drop(reply.send(Err(ExchangeError::NearMisses))),
            State::Over => {}
        }
    }

    /// Hands over what an upstream has been silent on for too long, and closes ports that have served.
    pub fn look(&mut self, now: Instant) {
        if self.look_at.is_none_or(|at| now < at) {
            return;
        }
        self.receive(now);
        let mut next: Option<Instant> = None;
        let mut soon = |at: Instant| next = Some(next.map_or(at, |next| next.min(at)));
        for at in 0..self.ports.len() {
            let mut is_checked = false;
            for place in 0.. {
                let Some(port) = &mut self.ports[at] else { break };
                match port.sent.get(place).map(|sent| &sent.state) {
                    None => break,
                    Some(State::Over) => {}
                    Some(State::HandedOver(reply)) if reply.is_closed() => {
                        port.put(place, State::Over);
                        self.live -= 1;
                    }
                    Some(State::HandedOver(_)) => soon(now + FLIGHT_PAUSE),
                    Some(State::Waits(asking)) => {
                        let until = asking.patient_until(now);
                        if now < until {
                            soon(until);
                            continue;
                        }
                        if !mem::replace(&mut is_checked, true) {
                            port.check_address();
                        }
                        let (sender, reply) = oneshot::channel();
                        let query = port.sent[place].query.clone();
                        if let State::Waits(asking) = port.put(place, State::HandedOver(sender)) {
                            let (upstream, edns) = (asking.upstream.clone(), asking.edns);
                            self.leave(asking, Some(Begun { upstream, query, edns, reply }));
                        }
                        soon(now + FLIGHT_PAUSE);
                    }
                }
            }
            self.tidy(at, now);
            if let Some(port) = &self.ports[at] {
                soon(port.closes.max(now + LOOK_PAUSE));
            }
        }
        self.look_at = next.map(|next| next.max(now + LOOK_PAUSE));
    }

    /// When to look again.
    pub fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Whether nothing is listened for.
    pub fn is_idle(&self) -> bool {
        self.live == 0
    }

    /// Whether there are questions that are the lane's no more.
    pub fn has_returned(&self) -> bool {
        !self.returned.is_empty()
    }

    /// The next question that is the lane's no more.
    pub fn next_returned(&mut self) -> Option<Returned<T>> {
        self.returned.pop_front()
    }

    fn answer(&mut self, asking: Asking<T>, reply: UpstreamReply, now: Instant) {
        let Asking { lead, upstream, pending, .. } = asking;
        let forwarder = lead.forwarder.clone();
        let flight = lead.flight().cloned();
        upstream.note_answer(now, flight.as_ref().map(|flight| now - flight.started));
        let Some(flight) = flight else { return };
        let outcome = forwarder.learn(&flight.asked, reply, upstream.address.clone(), now);
        lead.settle(&outcome);
        let name = flight.asked.question.name.clone();
        self.returned.push_back(Returned { pending, name, said: Said::Outcome(outcome) });
    }

    /// Has a flight go on with a question.
    fn leave(&mut self, asking: Asking<T>, begun: Option<Begun>) {
        let Asking { lead, rule, pending, .. } = asking;
        let forwarder = lead.forwarder.clone();
        let Some((waiter, sender)) = lead.leave() else { return };
        let flight = waiter.flight.clone();
        let name = flight.asked.question.name.clone();
        self.runtime.spawn(forwarder.clone().fly(flight, rule, sender, begun));
        self.returned.push_back(Returned {
            pending,
            name,
            said: Said::Awaited(Awaited { forwarder, waiter }),
        });
    }

    /// Offers a port that has served no longer, and closes it when nothing is listened for.
    fn tidy(&mut self, at: usize, now: Instant) {
        let place = &mut self.ports[at];
        let Some(port) = place.as_ref().filter(|port| port.has_served(now)) else { return };
        if let Some(open) = self.open.get_mut(&port.upstream) {
            open.retain(|open| *open != at);
        }
        if port.live == 0 {
            *place = None;
        }
    }
}

/// Whether a question section that was received looks like one that we sent.
// What cannot be recognised is not ours; probes are told by their domain before they come here.
pub fn looks_own(forwarder: &Forwarder, raw_question: &[u8]) -> bool {
    case::is_recognisable(raw_question) && forwarder.is_own_question(raw_question)
}

impl<T> AsFd for Lane<T> {
    /// Readable when something came.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

/// The port that queries of one system call take.
struct Call {
    at: usize,
    upstream: SocketAddr,
    /// How many more it takes.
    room: usize,
}

/// A query that is over for the lane.
fn begun<T>(asking: &Asking<T>, query: Query, received: Result<Vec<u8>, ExchangeError>) -> Begun {
    let (sender, reply) = oneshot::channel();
    // The receiver is there.
    let _ = sender.send(received);
    Begun { upstream: asking.upstream.clone(), query, edns: asking.edns, reply }
}

/// What a reply says, if nothing is unusual about it.
fn usable<T>(asking: &Asking<T>, datagram: &[u8]) -> Option<UpstreamReply> {
    let forwarder = &asking.lead.forwarder;
    let question = &asking.lead.flight()?.asked.question;
    let speaks_for = |name: NameRef<'_>| forwarder.speaks_for(&asking.rule, question, name);
    if let Some(reply) = UpstreamReply::read_usual(datagram, question, speaks_for) {
        return Some(reply);
    }
    Reading::of(forwarder, datagram, question, &asking.rule, asking.edns).answer()
}

#[cfg(test)]
mod tests;
