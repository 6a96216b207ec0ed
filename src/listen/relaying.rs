//! What a UDP thread does with messages that wait for upstream: it relays them itself, or leaves them to the runtime.

use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use socket2::Socket;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use super::Service;
use super::closing::Closing;
use super::counters::UdpCounters;
use super::proxy::Proxies;
use super::replies::{Replies, Sent, send_one};
use super::sockets::RECEIVE_TIMEOUT;
use super::waiting::{Leave, NoRoom, Ticket, Waiting};
use crate::dns::ExtendedError;
use crate::net::{ReturnPath, Wait, wait_for_either};
use crate::respond::{Client, Missing, Relay, Settled};

/// Attempts to send a reply that waited, while the socket's send buffer is full, a millisecond apart.
const SEND_ATTEMPTS_MAX: usize = 5;

/// What one UDP thread answers with.
pub struct UdpService<S> {
    pub service: Arc<S>,
    pub counters: Arc<UdpCounters>,
    /// Requests that wait for upstream.
    pub waiting: Arc<Waiting>,
    pub closing: Arc<Closing>,
    pub proxies: Arc<Proxies>,
    pub runtime: Handle,
}

/// The messages of one UDP thread that wait for upstream.
pub struct Relaying<S> {
    own: Arc<UdpService<S>>,
    socket: Arc<Socket>,
    /// None if the service has none, or the kernel no descriptor for it.
    relay: Option<Relay<Place>>,
    replies: Replies,
    /// Whether something came from upstream.
    is_readable: bool,
    /// When the messages came that are taken now: one look at the clock is enough for a batch.
    batch_came: Option<Instant>,
}

/// Where a reply goes, and its right to be waited for.
struct Place {
    path: ReturnPath,
    ticket: Ticket,
}

impl<S: Service> Relaying<S> {
    pub fn new(own: &Arc<UdpService<S>>, socket: &Arc<Socket>) -> Relaying<S> {
        Relaying {
            own: own.clone(),
            socket: socket.clone(),
            relay: own.service.relay(&own.runtime),
            replies: Replies::new(),
            is_readable: false,
            batch_came: None,
        }
    }

    /// Takes a message for which upstream must be asked, or tells why it cannot wait.
    pub fn take(
        &mut self,
        message: &[u8],
        client: Client,
        path: ReturnPath,
        missing: Missing,
    ) -> Result<(), ExtendedError> {
        let now = *self.batch_came.get_or_insert_with(Instant::now);
        let ticket = self.own.waiting.admit(client, now).map_err(|no_room| {
            match no_room {
                NoRoom::WaitLimit(..) => self.own.counters.wait_limit_reached.add(1),
                NoRoom::Full(_) | NoRoom::Share(_) => self.own.counters.waiting_max_reached.add(1),
            }
            no_room.explain()
        })?;
        let asker = ticket.asker();
        let place = Place { path, ticket };
        match &mut self.relay {
            Some(relay) => relay.take(message, client, asker, place, missing),
            None => {
                let answer = self.own.service.clone().answer(message.to_vec(), client, asker, missing);
                self.leave(place, answer);
            }
        }
        Ok(())
    }

    /// Waits for the clients' socket or for upstream; how to read the socket, if it is to be read.
    pub fn wait(&mut self) -> Option<Wait> {
        let Some(relay) = self.relay.as_ref().filter(|relay| !relay.is_idle()) else {
            // Who waits for one datagram reads it with the same call.
            return Some(Wait::ForOne);
        };
        let timeout = patience(relay);
        let ready = wait_for_either(Some(&self.socket), relay.as_fd(), timeout);
        self.is_readable = ready.other;
        ready.socket.then_some(Wait::No)
    }

    /// Asks upstream what was taken, and answers what came from there.
    pub fn turn(&mut self) {
        self.batch_came = None;
        let Some(relay) = &mut self.relay else { return };
        let is_readable = std::mem::take(&mut self.is_readable);
        let received = catch_unwind(AssertUnwindSafe(|| {
            if is_readable {
                relay.receive();
            }
            relay.look();
        }));
        if received.is_err() {
            self.own.counters.panics.add(1);
        }
        // A panic costs the message that it is about, which is taken out before.
        while catch_unwind(AssertUnwindSafe(|| relay.send())).is_err() {
            self.own.counters.panics.add(1);
        }
        while catch_unwind(AssertUnwindSafe(|| self.settle())).is_err() {
            self.own.counters.panics.add(1);
        }
        self.send();
    }

    /// Goes on until nothing waits any more, or all is cut short.
    pub fn finish(mut self) {
        while let Some(relay) = self.relay.as_ref().filter(|relay| !relay.is_idle())
            && !self.own.closing.is_cut()
        {
            self.is_readable = wait_for_either(None, relay.as_fd(), patience(relay)).other;
            self.turn();
        }
    }

    fn settle(&mut self) {
        let Relaying { relay: Some(relay), replies, own, socket, .. } = self else { return };
        let counters = &own.counters;
        let (mut left, mut held) = (Vec::new(), Vec::new());
        let Some(mut settling) = relay.settling() else { return };
        let now = Instant::now();
        while let Some(settled) = settling.next(replies.room()) {
            match settled {
                Settled::Reply(Place { path, ticket }, length) => match ticket.leave(now) {
                    Leave::Now => {
                        counters.waited.add(1);
                        replies.add(length, &path);
                        if replies.is_full() {
                            count(counters, replies.send(socket));
                        }
                    }
                    Leave::At(at, ticket) => {
                        let place = Place { path, ticket };
                        held.push((place, at, replies.room()[..length].to_vec()));
                    }
                    Leave::Never => {
                        counters.waited.add(1);
                        counters.paced_out.add(1);
                    }
                },
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
        for (place, at, reply) in held {
            self.hold(place, at, reply);
        }
    }

    fn send(&mut self) {
        count(&self.own.counters, self.replies.send(&self.socket));
    }

    /// Leaves a message to the runtime, which sends the reply when it has one and when it may.
    fn leave(&self, place: Place, answer: impl Future<Output = Option<Vec<u8>>> + Send + 'static) {
        let socket = self.socket.clone();
        let mut outcome = Outcome { counters: self.own.counters.clone(), ended: false };
        let task = async move {
            let Place { path, ticket } = place;
            let reply = answer.await;
            outcome.ended = true;
            let counters = &outcome.counters;
            let Some(reply) = reply else {
                counters.waited.add(1);
                return counters.dropped.add(1);
            };
            // Until it is sent it has its place.
            let _ticket = match ticket.leave(Instant::now()) {
                Leave::Now => None,
                Leave::At(at, ticket) => {
                    counters.paced.add(1);
                    sleep_until(at).await;
                    Some(ticket)
                }
                Leave::Never => {
                    counters.waited.add(1);
                    return counters.paced_out.add(1);
                }
            };
            send_late(&socket, &reply, &path, counters).await;
        };
        self.own.closing.tracker.spawn_on(task, &self.own.runtime);
    }

    /// Has the runtime send a reply at its time.
    fn hold(&self, place: Place, at: Instant, reply: Vec<u8>) {
        let (socket, counters) = (self.socket.clone(), self.own.counters.clone());
        counters.paced.add(1);
        let task = async move {
            sleep_until(at).await;
            send_late(&socket, &reply, &place.path, &counters).await;
        };
        self.own.closing.tracker.spawn_on(task, &self.own.runtime);
    }
}

/// How long a thread may sleep beside its relay.
fn patience(relay: &Relay<Place>) -> Duration {
    let look = relay.look_at().map(|at| at.saturating_duration_since(Instant::now()));
    look.map_or(RECEIVE_TIMEOUT, |look| look.min(RECEIVE_TIMEOUT))
}

fn count(counters: &UdpCounters, sent: Sent) {
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

/// Sends a reply that waited, and counts it.
async fn send_late(socket: &Socket, reply: &[u8], path: &ReturnPath, counters: &UdpCounters) {
    counters.waited.add(1);
    match send_when_there_is_room(socket, reply, path).await {
        Ok(()) => counters.replies.add(1),
        Err(_) => counters.send_failures.add(1),
    }
}

async fn send_when_there_is_room(socket: &Socket, reply: &[u8], path: &ReturnPath) -> io::Result<()> {
    let mut attempts = 1;
    loop {
        match send_one(socket, reply, path) {
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

#[cfg(test)]
mod tests {
    use tokio::net::{TcpSocket, UdpSocket};

    use super::super::echo::*;
    use super::super::{Limit, Limits, Settings};
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_network_has_so_many_wait_over_udp_and_tcp_together_and_others_have_theirs() {
        let limits = Limits { wait_limit: 2, exempt: vec!["127.0.3.1/32".parse().unwrap()] };
        let settings = Settings { limits, ..settings(&["127.0.0.1:0"]) };
        let (echo, listening) = listen(&settings);
        let server = listening.addresses()[0];
        let bind = async |address| UdpSocket::bind(address).await.unwrap();
        let (one, other) = (bind("127.0.1.1:0").await, bind("127.0.2.1:0").await);
        let exempt = bind("127.0.3.1:0").await;
        let stream = TcpSocket::new_v4().unwrap();
        stream.bind("127.0.1.2:0".parse().unwrap()).unwrap();
        let mut stream = soon(stream.connect(server)).await.unwrap();
        one.send_to(&question(1, "w"), server).await.unwrap();
        soon(echo.wait_for_at_gate(1)).await;
        send_frames(&mut stream, &[question(2, "w"), question(3, "w")]).await;
        let refused = receive_frame(&mut stream).await.unwrap();
        assert_eq!((id(&refused), refused[3]), (3, REFUSED));
        one.send_to(&question(4, "w"), server).await.unwrap();
        let refused = receive(&one).await.0;
        assert_eq!((id(&refused), refused[3]), (4, REFUSED));
        for id in 5..10 {
            exempt.send_to(&question(id, "w"), server).await.unwrap();
        }
        other.send_to(&question(10, "w"), server).await.unwrap();
        soon(echo.wait_for_at_gate(8)).await;
        let counts = listening.counters();
        assert_eq!((counts.udp.wait_limit_reached, counts.tcp.wait_limit_reached), (1, 1));
        let met = listening.counting().limits_met(Duration::from_secs(60));
        let met: Vec<_> = met.iter().map(|met| (met.network.to_string(), met.limit, met.messages)).collect();
        assert_eq!(met, [("127.0.1.0/24".to_owned(), Limit::WaitLimit, 2)]);
        echo.gate.send_replace(true);
        assert_eq!(id(&receive(&one).await.0), 1);
        assert_eq!(id(&receive_frame(&mut stream).await.unwrap()), 2);
        assert_eq!(id(&receive(&other).await.0), 10);
        for _ in 5..10 {
            receive(&exempt).await;
        }
        // A message that waits no more takes no place.
        one.send_to(&question(11, "w"), server).await.unwrap();
        assert_eq!(id(&receive(&one).await.0), 11);
    }
}
