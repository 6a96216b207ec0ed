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
use super::responder::{Asking, AtOnce, Attempt, Known, Missing, Responder, View};
use crate::answer::Step;
use crate::dns::header::HEADER_BYTES;
use crate::dns::{NameRef, QueryFlags, Question, RawQuestion};
use crate::forward::{Asker, Returned, Lane, Outcome, Said, looks_own};

/// Bytes of a message that are kept without the heap: most queries with EDNS and a cookie.
const MESSAGE_BYTES_USUAL: usize = 96;

/// Asks upstream for one thread. `T` is what the thread needs to send a reply.
pub struct Relay<T> {
    responder: Arc<Responder>,
    lane: Lane<Box<Guest<T>>>,
    /// Taken and not yet asked.
    staged: VecDeque<Box<Guest<T>>>,
    /// What is none for the lane.
    turned_away: Vec<Box<Guest<T>>>,
}

/// A message, who sent it and when. It changes hands often, and is moved in a box.
struct Guest<T> {
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
        let began = self.staged.back().map_or_else(Instant::now, |guest| guest.began);
        let message = SmallVec::from_slice(message);
        self.staged.push_back(Box::new(Guest { message, client, asker, began, missing, tag }));
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
        while let Some(guest) = staged.pop_front() {
            let missing = match guest.missing.at_once() {
                Some(AtOnce { flags, .. }) => RawQuestion::read(&guest.message, HEADER_BYTES)
                    .map(|asked| (asked.to_question(), flags, asked.bytes)),
                None => responder.missing(&view, &guest.message, guest.client),
            };
            let missing = missing.filter(|(_, _, raw_question)| !looks_own(forwarder, raw_question));
            let turned = match missing.map(|(question, flags, _)| (question, flags)) {
                Some((question, flags)) => {
                    let asker = guest.asker;
                    lane.begin(forwarder, question, flags, (guest, asker), view.now).err()
                }
                None => Some(guest),
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
        let wait = |guest: Box<Guest<T>>, known| {
            let guest = *guest;
            let answer = responder.clone().go_on(guest.message.into_vec(), guest.client, guest.asker, known);
            Settled::Wait(guest.tag, Box::pin(answer))
        };
        if let Some(guest) = self.relay.turned_away.pop() {
            return Some(wait(guest, None));
        }
        let Returned { pending: guest, name, said } = self.relay.lane.next_returned()?;
        if let Said::Outcome(outcome) = &said {
            let known = (name.borrow(), outcome);
            match responder.resume(&self.view, &guest, known, buffer) {
                Attempt::Reply(length) => {
                    let View { serving, now, .. } = &self.view;
                    let (message, client) = (&guest.message, guest.client);
                    let sent = responder.within_rate(serving, message, client, buffer, length, *now);
                    return Some(match sent {
                        Attempt::Reply(length) => Settled::Reply(guest.tag, length),
                        _ => Settled::Drop(guest.tag),
                    });
                }
                Attempt::Drop => return Some(Settled::Drop(guest.tag)),
                Attempt::Wait(_) => {}
            }
        }
        let known = Known { began: guest.began, name, said };
        Some(wait(guest, Some(known)))
    }
}

impl Responder {
    /// The question that upstream must be asked for a message, and the question section it came with; none if the
    /// message is answered otherwise.
    fn missing<'m>(
        &self,
        view: &View,
        message: &'m [u8],
        client: Client,
    ) -> Option<(Question, QueryFlags, &'m [u8])> {
        let serving = &view.serving;
        let query = self.admit(&serving.rules, message, client, &mut []).ok()?;
        if serving.is_probe(&query) {
            return None;
        }
        let mut chase = query.chase(&view.snapshot, &serving.rules, view.of(client));
        let step = chase.run();
        let asking = Asking { snapshot: &view.snapshot, serving, query: &query };
        let step = self.advance(asking, &mut chase, step, None, view.now);
        // A lane asks by the rules.
        if step == Step::Done || chase.delegation().is_some() {
            return None;
        }
        let question = Question { name: chase.current().to_name(), rtype: query.rtype };
        Some((question, query.flags, query.asked.question))
    }

    /// Answers with what upstream said to one name.
    fn resume<T>(
        &self,
        view: &View,
        guest: &Guest<T>,
        known: (NameRef<'_>, &Outcome),
        buffer: &mut [u8],
    ) -> Attempt {
        let View { snapshot, serving, now, .. } = view;
        let query = match self.admit(&serving.rules, &guest.message, guest.client, buffer) {
            Ok(query) => query,
            Err(attempt) => return attempt,
        };
        let mut chase = query.chase(snapshot, &serving.rules, view.of(guest.client));
        let is_known_to_ask = |known: AtOnce| known.epoch == serving.epoch(snapshot);
        let step = match guest.missing.at_once().is_some_and(is_known_to_ask) {
            true => Step::Ask,
            false => chase.run(),
        };
        let asking = Asking { snapshot, serving, query: &query };
        if self.advance(asking, &mut chase, step, Some(known), *now) == Step::Ask {
            return Attempt::Wait(Missing::UNKNOWN);
        }
        complete(&query.asked, guest.client, &chase, buffer).map_or(Attempt::Drop, Attempt::Reply)
    }
}
