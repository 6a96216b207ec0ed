//! What a UDP thread does with messages that wait for upstream: it relays them itself, or leaves them to the runtime.

use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use socket2::Socket;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Service;
use super::batch::{self, Batch, ReturnPath, Wait};
use super::counters::UdpCounters;
use super::listening::Closing;
use super::udp::{RECEIVE_TIMEOUT, UdpWorker};
use crate::forward::Asker;
use crate::respond::{Client, Missing, Relay, Settled};

/// Attempts to send a reply that waited, while the socket's send buffer is full, a millisecond apart.
const SEND_ATTEMPTS_MAX: usize = 5;

/// The messages of one UDP thread that wait for upstream.
pub struct Relaying<S> {
    service: Arc<S>,
    socket: Arc<Socket>,
    counters: Arc<UdpCounters>,
    /// One permit for each message that may wait.
    waiting: Arc<Semaphore>,
    closing: Arc<Closing>,
    runtime: Handle,
    /// None if the service has none, or the kernel no descriptor for it.
    relay: Option<Relay<Place>>,
    replies: Batch,
    /// Whether something came from upstream.
    is_readable: bool,
}

/// Where a reply goes, and its right to be waited for.
struct Place {
    path: ReturnPath,
    _permit: OwnedSemaphorePermit,
}

impl<S: Service> Relaying<S> {
    pub fn new(worker: &UdpWorker<S>) -> Relaying<S> {
        Relaying {
            service: worker.service.clone(),
            socket: worker.socket.socket.clone(),
            counters: worker.counters.clone(),
            waiting: worker.waiting.clone(),
            closing: worker.closing.clone(),
            runtime: worker.runtime.clone(),
            relay: worker.service.relay(&worker.runtime),
            replies: Batch::new(),
            is_readable: false,
        }
    }

    /// Takes a message for which upstream must be asked.
    pub fn take(&mut self, message: &[u8], client: Client, path: ReturnPath, missing: Missing) {
        let Ok(permit) = self.waiting.clone().try_acquire_owned() else {
            self.counters.waiting_max_reached.add(1);
            return;
        };
        let place = Place { path, _permit: permit };
        match &mut self.relay {
            Some(relay) => {
                let asker = Asker::Network(client.address.ip().into());
                relay.take(message, client, asker, place, missing);
            }
            None => {
                let answer = self.service.clone().answer(message.to_vec(), client);
                self.leave(place, answer);
            }
        }
    }

    /// Waits for the clients' socket or for upstream; how to read the socket, if it is to be read.
    pub fn wait(&mut self) -> Option<Wait> {
        let Some(relay) = self.relay.as_ref().filter(|relay| !relay.is_idle()) else {
            // Who waits for one datagram reads it with the same call.
            return Some(Wait::ForOne);
        };
        let timeout = patience(relay);
        let ready = batch::wait_for_either(Some(&self.socket), relay.as_fd(), timeout);
        self.is_readable = ready.other;
        ready.socket.then_some(Wait::No)
    }

    /// Asks upstream what was taken, and answers what came from there.
    pub fn turn(&mut self) {
        let Some(relay) = &mut self.relay else { return };
        let is_readable = std::mem::take(&mut self.is_readable);
        let received = catch_unwind(AssertUnwindSafe(|| {
            if is_readable {
                relay.receive();
            }
            relay.look();
        }));
        if received.is_err() {
            self.counters.panics.add(1);
        }
        // A panic costs the message that it is about, which is taken out before.
        while catch_unwind(AssertUnwindSafe(|| relay.send())).is_err() {
            self.counters.panics.add(1);
        }
        while catch_unwind(AssertUnwindSafe(|| self.settle())).is_err() {
            self.counters.panics.add(1);
        }
        self.send();
    }

    /// Goes on until nothing waits any more, or all is cut short.
    pub fn finish(mut self) {
        while let Some(relay) = self.relay.as_ref().filter(|relay| !relay.is_idle())
            && !self.closing.is_cut()
        {
            self.is_readable = batch::wait_for_either(None, relay.as_fd(), patience(relay)).other;
            self.turn();
        }
    }

    fn settle(&mut self) {
        let Relaying { relay: Some(relay), replies, counters, socket, .. } = self else { return };
        let mut left = Vec::new();
        let Some(mut settling) = relay.settling() else { return };
        while let Some(settled) = settling.next(replies.room()) {
            match settled {
                Settled::Reply(place, length) => {
                    counters.waited.add(1);
                    replies.add(length, &place.path);
                    if replies.is_full() {
                        count(counters, replies.send(socket));
                    }
                }
                Settled::Drop(_) => {
                    counters.waited.add(1);
                    counters.dropped.add(1);
                }
                Settled::Wait(place, answer) => left.push((place, answer)),
            }
        }
        for (place, answer) in left {
            self.leave(place, answer);
        }
    }

    fn send(&mut self) {
        count(&self.counters, self.replies.send(&self.socket));
    }

    /// Leaves a message to the runtime, which sends the reply when it has one.
    fn leave(&self, place: Place, answer: impl Future<Output = Option<Vec<u8>>> + Send + 'static) {
        let socket = self.socket.clone();
        let mut outcome = Outcome { counters: self.counters.clone(), ended: false };
        let task = async move {
            let place = place;
            let reply = answer.await;
            outcome.ended = true;
            let counters = &outcome.counters;
            counters.waited.add(1);
            match reply {
                None => counters.dropped.add(1),
                Some(reply) => match send_when_there_is_room(&socket, &reply, &place.path).await {
                    Ok(()) => counters.replies.add(1),
                    Err(_) => counters.send_failures.add(1),
                },
            }
        };
        self.closing.tracker.spawn_on(task, &self.runtime);
    }
}

/// How long a thread may sleep beside its relay.
fn patience(relay: &Relay<Place>) -> Duration {
    let look = relay.look_at().map(|at| at.saturating_duration_since(Instant::now()));
    look.map_or(RECEIVE_TIMEOUT, |look| look.min(RECEIVE_TIMEOUT))
}

fn count(counters: &UdpCounters, sent: batch::Sent) {
    counters.replies.add(sent.replies as u64);
    counters.send_failures.add(sent.failures as u64);
}

/// Counts a panic if dropped before the answer ended.
struct Outcome {
    counters: Arc<UdpCounters>,
    ended: bool,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if !self.ended && thread::panicking() {
            self.counters.panics.add(1);
        }
    }
}

async fn send_when_there_is_room(socket: &Socket, reply: &[u8], path: &ReturnPath) -> io::Result<()> {
    let mut attempts = 1;
    loop {
        match batch::send_one(socket, reply, path) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && attempts < SEND_ATTEMPTS_MAX => {
                attempts += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // An ICMP error about an earlier reply, which the kernel reports on the next call.
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused && attempts < SEND_ATTEMPTS_MAX =>
            {
                attempts += 1;
            }
            result => return result,
        }
    }
}
