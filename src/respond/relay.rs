//! Messages that wait for upstream in the hands of the thread that read them.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::client::Client;
use super::complete::complete;
use super::observed::Observed;
use super::query::{Begun, Missing};
use super::reply::Reply;
use super::responder::{Asking, Attempt, Known, Responder, View};
use crate::answer::Step;
use crate::dns::{NameRef, QueryFlags, Question};
use crate::forward::{Asker, Lane, Outcome, Returned, Said, UpstreamAddress, looks_own};

/// Bytes of a message that are kept without the heap: most queries with EDNS and a cookie.
const MESSAGE_BYTES_USUAL: usize = 96;

/// Asks upstream for one thread. `T` is what the thread needs to send a reply.
pub struct Relay<T> {
    responder: Arc<Responder>,
    lane: Lane<Box<Pending<T>>>,
    /// Taken and not yet asked.
    staged: VecDeque<Box<Pending<T>>>,
    /// What is none for the lane.
    turned_away: Vec<Box<Pending<T>>>,
}

/// A message, who sent it and when. It changes hands often, and is moved in a box.
struct Pending<T> {
    message: SmallVec<[u8; MESSAGE_BYTES_USUAL]>,
    client: Client,
    asker: Asker,
    began: Instant,
    missing: Missing,
    tag: T,
}

/// What became of a message.
pub enum Settled<T> {
    /// A reply of this many bytes is in the buffer.
    Reply(T, usize),
    /// There is no reply.
    Drop(T),
    /// It must be waited for elsewhere.
    Wait(T, Answer),
}

/// A reply that is waited for.
pub type Answer = Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>;

impl<T> Relay<T> {
    /// A relay whose unusual messages go on in `runtime`.
    pub fn new(responder: Arc<Responder>, runtime: Handle) -> io::Result<Relay<T>> {
        let lane = Lane::new(runtime)?;
        Ok(Relay { responder, lane, staged: VecDeque::new(), turned_away: Vec::new() })
    }

    /// Takes a message for which `try_answer` said that upstream must be asked; `send` asks.
    pub fn take(&mut self, message: &[u8], client: Client, asker: Asker, tag: T, missing: Missing) {
        // Those of one batch came at one time.
        let began = self.staged.back().map_or_else(Instant::now, |pending| pending.began);
        let message = SmallVec::from_slice(message);
        self.staged.push_back(Box::new(Pending { message, client, asker, began, missing, tag }));
    }

    /// Asks upstream for all that was taken.
    pub fn send(&mut self) {
        let Relay { responder, lane, staged, turned_away } = self;
        if staged.is_empty() && !lane.has_staged() {
            return;
        }
        let view = responder.view();
        let forwarder = &view.serving.forwarder;
        // One by one, so that a panic costs one.
        while let Some(pending) = staged.pop_front() {
            let turned = match responder.missing(&view, &pending) {
                Some((question, flags)) => {
                    let asker = pending.asker;
                    lane.begin(forwarder, question, flags, (pending, asker), view.now).err()
                }
                None => Some(pending),
            };
            turned_away.extend(turned);
        }
        lane.send(view.now);
    }

    /// Takes what came from upstreams, without waiting.
    pub fn receive(&mut self) {
        self.lane.receive(Instant::now());
    }

    /// Looks after what upstreams have been silent on, when it is time.
    pub fn look(&mut self) {
        if self.lane.look_at().is_some() {
            self.lane.look(Instant::now());
        }
    }

    /// When to look again.
    pub fn look_at(&self) -> Option<Instant> {
        self.lane.look_at()
    }

    /// Whether nothing is awaited from upstreams.
    pub fn is_idle(&self) -> bool {
        self.lane.is_idle()
    }

    /// What became of messages, if any is done with.
    pub fn settling(&mut self) -> Option<Settling<'_, T>> {
        let is_any = self.lane.has_returned() || !self.turned_away.is_empty();
        is_any.then(|| Settling { view: self.responder.view(), relay: self })
    }
}

impl<T> AsFd for Relay<T> {
    /// Readable when something came from upstream.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lane.as_fd()
    }
}

/// Messages that are done with, answered from one view.
pub struct Settling<'r, T> {
    view: View,
    relay: &'r mut Relay<T>,
}

impl<T> Settling<'_, T> {
    /// The next of them; a reply is then in the buffer.
    pub fn next(&mut self, buffer: &mut [u8]) -> Option<Settled<T>> {
        let responder = &self.relay.responder;
        let wait = |pending: Box<Pending<T>>, known| {
            let Pending { message, client, asker, missing, tag, .. } = *pending;
            let answer = responder.clone().go_on(message.into_vec(), client, asker, missing, known);
            Settled::Wait(tag, Box::pin(answer))
        };
        if let Some(pending) = self.relay.turned_away.pop() {
            return Some(wait(pending, None));
        }
        let Returned { pending, name, said } = self.relay.lane.next_returned()?;
        if let Said::Outcome(outcome) = &said {
            let known = (name.borrow(), outcome);
            match responder.resume(&self.view, &pending, known, buffer) {
                Attempt::Reply(reply) => {
                    let View { serving, now, .. } = &self.view;
                    let (message, client) = (&pending.message, pending.client);
                    let sent = responder.within_rate(serving, message, client, buffer, reply, *now);
                    let upstream = outcome.upstream.as_ref().map(UpstreamAddress::socket);
                    let observed = Observed { message, client, asked: pending.began, upstream };
                    responder.tell(&observed, &sent, buffer);
                    let Attempt::Reply(reply) = sent else { return Some(Settled::Drop(pending.tag)) };
                    serving.tallies.own().count_late(reply, *now - pending.began);
                    return Some(Settled::Reply(pending.tag, reply.length()));
                }
                Attempt::Drop => return Some(Settled::Drop(pending.tag)),
                Attempt::Wait(_) => {}
            }
        }
        let known = Known { began: pending.began, name, said };
        Some(wait(pending, Some(known)))
    }
}

impl Responder {
    /// The question that a lane may ask for a message; none if the message is answered otherwise.
    fn missing<T>(&self, view: &View, pending: &Pending<T>) -> Option<(Question, QueryFlags)> {
        let View { snapshot, serving, now, .. } = view;
        let Pending { message, client, missing, .. } = pending;
        let begun = self.begin(serving, snapshot, message, *client, *missing, &mut []).ok()?;
        let Begun { query, view: client_view, look, .. } = &begun;
        if begun.is_probe || looks_own(&serving.forwarder, query.asked.question) {
            return None;
        }
        if begun.is_untouched {
            return Some((Question { name: query.name.to_name(), rtype: query.asked.rtype }, query.flags()));
        }
        let mut chase = query.chase(snapshot, &serving.rules, *client_view);
        let step = begun.step(&mut chase);
        let asking = Asking { snapshot, serving, query };
        let step = self.advance(asking, &mut chase, step, *look, None, *now);
        // A lane asks by the rules.
        if step == Step::Done || chase.delegation().is_some() {
            return None;
        }
        Some((chase.question(), query.flags()))
    }

    /// Answers with what upstream said to one name.
    fn resume<T>(
        &self,
        view: &View,
        pending: &Pending<T>,
        known: (NameRef<'_>, &Outcome),
        buffer: &mut [u8],
    ) -> Attempt<Reply> {
        let View { snapshot, serving, now, .. } = view;
        let Pending { message, client, missing, .. } = pending;
        let begun = self.begin(serving, snapshot, message, *client, *missing, buffer);
        let begun = match begun {
            Ok(begun) => begun,
            Err(attempt) => return attempt,
        };
        let Begun { query, view: client_view, look, .. } = &begun;
        let mut chase = query.chase(snapshot, &serving.rules, *client_view);
        let step = begun.step(&mut chase);
        let asking = Asking { snapshot, serving, query };
        if self.advance(asking, &mut chase, step, *look, Some(known), *now) == Step::Ask {
            return Attempt::Wait(*missing);
        }
        complete(&query.asked, *client, &chase, buffer).map_or(Attempt::Drop, Attempt::Reply)
    }
}
