//! One UDP socket and the thread that serves it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::batch::Batch;
use super::proxy::introduced;
use super::relaying::{Relaying, UdpService};
use super::sockets::UdpSocket;
use super::{Attempt, Service};
use crate::net::{Size, Wait};
use crate::respond::{Aheads, Client, Transport};

/// How long a retired socket stays quiet before it is closed; the kernel queues what it had routed within microseconds.
const QUIET_TIMEOUT: Duration = Duration::from_millis(10);

/// Bounds the reading of a socket that could not be retired, where datagrams may never end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause after an error that may come back at once, such as a lack of kernel memory.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Messages that are worth looking ahead to: with fewer it costs what it gains.
const LOOK_AHEAD_MIN: usize = 4;

/// The thread of one UDP socket.
pub struct UdpWorker<S> {
    pub socket: Arc<UdpSocket>,
    pub own: Arc<UdpService<S>>,
}

impl<S: Service> UdpWorker<S> {
    /// Serves until `closing`; then whatever is queued still, unless another thread has taken over the socket.
    pub fn run(self) {
        let mut batch = Batch::new();
        let mut relaying = Relaying::new(&self.own, &self.socket.socket);
        while !self.own.closing.is_asked() {
            if let Some(wait) = relaying.wait() {
                match batch.receive(&self.socket.socket, wait) {
                    Ok(received) => self.serve(&mut batch, received, &mut relaying),
                    Err(error) => self.note(&error),
                }
            }
            relaying.turn();
        }
        let UdpWorker { socket, own } = self;
        if let Some(socket) = Arc::into_inner(socket) {
            UdpWorker { socket: Arc::new(socket), own }.finish(&mut batch, &mut relaying);
        }
        relaying.finish();
    }

    fn finish(&self, batch: &mut Batch, relaying: &mut Relaying<S>) {
        let socket = &self.socket.socket;
        let retired = self.socket.retire();
        let _ = socket.set_read_timeout(Some(QUIET_TIMEOUT));
        let began = Instant::now();
        while began.elapsed() < FINISH_TIMEOUT {
            let wait = if retired.is_ok() { Wait::ForOne } else { Wait::No };
            match batch.receive(socket, wait) {
                Ok(received) => self.serve(batch, received, relaying),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => {}
                    _ => return,
                },
            }
            relaying.turn();
        }
    }

    fn serve(&self, batch: &mut Batch, received: usize, relaying: &mut Relaying<S>) {
        let mut next = 0;
        let mut tally = Tally::default();
        // Those of proxies have other senders than is seen ahead.
        let mut looks_ahead = received >= LOOK_AHEAD_MIN && !self.own.proxies.is_any();
        while next < received {
            let before = (next, looks_ahead);
            let served = catch_unwind(AssertUnwindSafe(|| {
                let view = self.own.service.view();
                let aheads = match std::mem::take(&mut looks_ahead) {
                    true => self.own.service.look_ahead(&view, batch.messages()),
                    false => Aheads::new(),
                };
                while next < received {
                    let index = next;
                    next += 1;
                    let ahead = aheads.get(index).and_then(Option::as_ref);
                    self.serve_one(batch, index, &view, ahead, relaying, &mut tally);
                }
            }));
            if served.is_err() {
                self.own.counters.panics.add(1);
                if (next, looks_ahead) == before {
                    break;
                }
            }
        }
        // Before the replies, so that whoever has one finds its question counted.
        self.own.counters.queries.add(tally.queries);
        self.own.counters.dropped.add(tally.dropped);
        self.own.counters.oversized.add(tally.oversized);
        self.own.counters.bad_proxy_headers.add(tally.bad_proxy_headers);
        let sent = batch.send(&self.socket.socket);
        if let Some(total) = batch.kernel_drops() {
            self.socket.count_drops(total, &self.own.counters);
        }
        self.own.counters.replies.add(sent.replies as u64);
        self.own.counters.send_failures.add(sent.failures as u64);
    }

    fn serve_one(
        &self,
        batch: &mut Batch,
        index: usize,
        view: &S::View,
        ahead: Option<&S::Ahead<'_>>,
        relaying: &mut Relaying<S>,
        tally: &mut Tally,
    ) {
        let Some(datagram) = batch.datagram(index) else { return };
        tally.queries += 1;
        if datagram.size == Size::Cut {
            tally.oversized += 1;
        }
        let path = datagram.path;
        // Nothing can be sent to port 0; whoever writes it forges.
        if path.peer.port() == 0 {
            tally.dropped += 1;
            return;
        }
        let client = Client {
            local: path.source.map(|source| source.address).or(self.socket.own_address()),
            ..Client::new(path.peer, Transport::Udp)
        };
        let (client, message) = match self.own.proxies.cover(path.peer.ip()) {
            false => (client, datagram.message),
            true => match introduced(client, datagram.message) {
                Some(introduced) => introduced,
                None => return tally.bad_proxy_headers += 1,
            },
        };
        match self.own.service.try_answer(view, ahead, message, client, datagram.reply) {
            Attempt::Reply(length) => batch.queue(index, length, &path),
            Attempt::Drop => tally.dropped += 1,
            Attempt::Wait(missing) => {
                let Err(why) = relaying.take(message, client, path, missing) else { return };
                match self.own.service.refuse(view, message, client, missing, why, datagram.reply) {
                    Attempt::Reply(length) => batch.queue(index, length, &path),
                    Attempt::Drop | Attempt::Wait(_) => tally.dropped += 1,
                }
            }
        }
    }

    fn note(&self, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {}
            // An ICMP error about a reply; the client is gone.
            io::ErrorKind::ConnectionRefused => {}
            _ => {
                if self.own.counters.receive_failures.value() == 0 {
                    let address = self.socket.address;
                    warn!(%address, %error, "Reading from {address} failed");
                }
                self.own.counters.receive_failures.add(1);
                thread::sleep(ERROR_PAUSE);
            }
        }
    }
}

/// What one batch adds to the counters.
#[derive(Default)]
struct Tally {
    queries: u64,
    dropped: u64,
    oversized: u64,
    bad_proxy_headers: u64,
}

/// Starts the thread of one socket.
pub fn spawn<S: Service>(worker: UdpWorker<S>, index: usize) -> io::Result<()> {
    // The token is dropped when the thread ends, and with it the tracker knows.
    let token = worker.own.closing.tracker.token();
    let address = worker.socket.address;
    thread::Builder::new().name(format!("udp-{index}")).spawn(move || {
        let _token = token;
        if catch_unwind(AssertUnwindSafe(|| worker.run())).is_err() {
            error!(%address, "A UDP thread of {address} ended by a panic");
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::runtime::Handle;

    use super::super::echo::*;
    use super::super::{Settings, bind};
    use super::*;
    use crate::net::DATAGRAM_SIZE_MAX;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reply_comes_from_the_address_that_was_asked() {
        let (echo, listening) = listen(&settings(&["0.0.0.0:0"]));
        let mut server = listening.addresses()[0];
        let client = udp_client(server).await;
        for (number, label) in [(2, "a"), (3, "a"), (4, "w")] {
            let address = Ipv4Addr::new(127, 0, 0, number).into();
            server.set_ip(address);
            client.send_to(&question(number.into(), label), server).await.unwrap();
            echo.gate.send_replace(label == "w");
            let (reply, from) = receive(&client).await;
            assert_eq!((id(&reply), from), (number.into(), server));
            let seen =
                Client { local: Some(address), ..Client::new(client.local_addr().unwrap(), Transport::Udp) };
            assert_eq!(*echo.client.borrow(), Some(seen));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn ipv6_is_served_beside_ipv4_on_the_same_port() {
        let (_, four) = listen(&settings(&["0.0.0.0:0"]));
        let port = four.addresses()[0].port();
        let six = match bind(&settings(&[&format!("[::]:{port}")])) {
            Err(super::super::BindError::NoIpv6 { .. }) => return,
            bound => bound.unwrap().run(Echo::new(), &Handle::current()).unwrap(),
        };
        for server in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
            let server: SocketAddr = server.parse().unwrap();
            let client = udp_client(server).await;
            client.send_to(&question(6, "a"), server).await.unwrap();
            assert_eq!(receive(&client).await, (replied(question(6, "a")), server));
        }
        until(|| six.counters().udp.replies == 1).await;
    }

    fn replied(mut message: Vec<u8>) -> Vec<u8> {
        message[2] |= 0x80;
        message
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_thousand_messages_are_all_answered_and_counted() {
        let bound = bind(&settings(&["127.0.0.1:0"])).unwrap();
        let server = bound.addresses()[0];
        let client = udp_client(server).await;
        // The first hundred lie in the socket before anyone reads: more than one batch.
        let mut bound = Some(bound);
        let mut listening = None;
        for round in 0..10 {
            for id in 0..100 {
                client.send_to(&question(round * 100 + id, "a"), server).await.unwrap();
            }
            if let Some(bound) = bound.take() {
                listening = Some(bound.run(Echo::new(), &Handle::current()).unwrap());
            }
            let mut ids = HashSet::new();
            for _ in 0..100 {
                ids.insert(id(&receive(&client).await.0));
            }
            assert_eq!(ids.len(), 100);
        }
        let listening = listening.unwrap();
        until(|| listening.counters().udp.replies == 1000).await;
        assert_eq!(listening.counters().udp.queries, 1000);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_waits_holds_up_nothing_and_is_answered_later() {
        let (echo, listening) = listen(&settings(&["127.0.0.1:0"]));
        let server = listening.addresses()[0];
        let client = udp_client(server).await;
        client.send_to(&question(1, "w"), server).await.unwrap();
        soon(echo.wait_for_at_gate(1)).await;
        client.send_to(&question(2, "a"), server).await.unwrap();
        assert_eq!(id(&receive(&client).await.0), 2);
        echo.gate.send_replace(true);
        assert_eq!(receive(&client).await, (replied(question(1, "w")), server));
        until(|| listening.counters().udp.replies == 2).await;
        assert_eq!(listening.counters().udp.waited, 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_wait_than_may() {
        let settings = Settings { udp_waiting_max: 1, ..settings(&["127.0.0.1:0"]) };
        let (echo, listening) = listen(&settings);
        let server = listening.addresses()[0];
        let client = udp_client(server).await;
        for id in 1..=3 {
            client.send_to(&question(id, "w"), server).await.unwrap();
        }
        // A client whose message cannot wait is told at once.
        for expected in [2, 3] {
            let (refused, from) = receive(&client).await;
            assert_eq!((id(&refused), refused[3], from), (expected, REFUSED, server));
        }
        let counts = listening.counters().udp;
        assert_eq!((counts.waiting_max_reached, counts.wait_limit_reached), (2, 0));
        echo.gate.send_replace(true);
        assert_eq!(id(&receive(&client).await.0), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_costs_one_message_and_not_its_batch() {
        let bound = bind(&settings(&["127.0.0.1:0"])).unwrap();
        let server = bound.addresses()[0];
        let client = udp_client(server).await;
        for (id, label) in [(1, "a"), (2, "p"), (3, "a"), (4, "p"), (5, "n"), (6, "wp"), (7, "a")] {
            client.send_to(&question(id, label), server).await.unwrap();
        }
        let listening = bound.run(Echo::new(), &Handle::current()).unwrap();
        for expected in [1, 3, 7] {
            assert_eq!(id(&receive(&client).await.0), expected);
        }
        until(|| listening.counters().udp.panics == 3).await;
        until(|| listening.counters().udp.dropped == 1).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn any_size_is_read_and_the_longest_are_cut() {
        let (_, listening) = listen(&settings(&["127.0.0.1:0"]));
        let server = listening.addresses()[0];
        let client = udp_client(server).await;
        let mut long = question(1, "a");
        long.resize(5000, 0);
        client.send_to(&[], server).await.unwrap();
        client.send_to(&[1], server).await.unwrap();
        client.send_to(&long, server).await.unwrap();
        assert_eq!(receive(&client).await.0.len(), DATAGRAM_SIZE_MAX);
        until(|| listening.counters().udp.oversized == 1).await;
        assert_eq!(listening.counters().udp.queries, 3);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_kernel_drops_is_counted() {
        let bound = bind(&Settings { udp_buffer_size_bytes: 4096, ..settings(&["127.0.0.1:0"]) }).unwrap();
        let server = bound.addresses()[0];
        let client = udp_client(server).await;
        for id in 0..200 {
            client.send_to(&question(id, "n"), server).await.unwrap();
        }
        let listening = bound.run(Echo::new(), &Handle::current()).unwrap();
        until(|| listening.counters().udp.queries > 0).await;
        until(|| {
            // The count comes with the next datagram that finds room.
            let _ = client.try_send_to(&question(200, "n"), server);
            listening.counters().udp.kernel_drops > 0
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_end_answers_what_the_kernel_has_queued_and_frees_the_port() {
        let bound = bind(&settings(&["127.0.0.1:0"])).unwrap();
        let server = bound.addresses()[0];
        let client = udp_client(server).await;
        for id in 0..100 {
            client.send_to(&question(id, "a"), server).await.unwrap();
        }
        let listening = bound.run(Echo::new(), &Handle::current()).unwrap();
        assert_eq!(listening.drain(Duration::from_secs(10)).await.unfinished, 0);
        for expected in 0..100 {
            assert_eq!(id(&receive(&client).await.0), expected);
        }
        bind(&settings(&[&server.to_string()])).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_end_waits_for_upstream_as_long_as_it_has_patience() {
        for open in [true, false] {
            let (echo, listening) = listen(&settings(&["127.0.0.1:0"]));
            let server = listening.addresses()[0];
            let client = udp_client(server).await;
            client.send_to(&question(1, "w"), server).await.unwrap();
            soon(echo.wait_for_at_gate(1)).await;
            let patience = Duration::from_millis(if open { 10_000 } else { 400 });
            let drained = tokio::spawn(listening.drain(patience));
            if open {
                echo.gate.send_replace(true);
                assert_eq!(receive(&client).await, (replied(question(1, "w")), server));
            }
            assert_eq!(soon(drained).await.unwrap().unfinished, usize::from(!open));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reload_loses_no_message_even_with_other_workers() {
        let workers = |workers| Settings { workers, ..settings(&["0.0.0.0:0"]) };
        let (_, mut listening) = listen(&workers(2));
        let mut server = listening.addresses()[0];
        server.set_ip(Ipv4Addr::LOCALHOST.into());
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for _ in 0..8 {
            let over = over.clone();
            clients.push(tokio::spawn(async move {
                let mut asked = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    // A new port each time, so that the kernel chooses among the sockets again.
                    let client = udp_client(server).await;
                    for id in 0..10 {
                        client.send_to(&question(id, "a"), server).await.unwrap();
                    }
                    for _ in 0..10 {
                        receive(&client).await;
                    }
                    asked += 10;
                }
                asked
            }));
        }
        for count in [2, 1, 3, 1, 2] {
            let next = listening.rebind(&workers(count)).unwrap();
            let next = next.run(Echo::new(), &Handle::current()).unwrap();
            let queries = next.counters().udp.queries;
            assert_eq!(listening.drain(Duration::from_secs(10)).await.unfinished, 0);
            until(|| next.counters().udp.queries > queries + 100).await;
            listening = next;
        }
        over.store(true, Ordering::Relaxed);
        let mut asked = 0;
        for client in clients {
            asked += client.await.unwrap();
        }
        until(|| listening.counters().udp.replies == asked).await;
        assert_eq!(listening.counters().udp.queries, asked);
    }
}
