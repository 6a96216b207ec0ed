//! One UDP socket and the thread that serves it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{SockAddr, Socket};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tracing::{error, warn};

use super::batch::{self, Batch, ReturnPath, Size, Wait};
use super::counters::UdpCounters;
use super::listening::Closing;
use super::{Attempt, Service};
use crate::respond::{Client, Transport};

/// How long a thread sleeps in the kernel without a datagram before it looks whether it shall stop: short enough
/// for a prompt end, and five wake-ups a second cost an idle thread nothing.
pub const RECEIVE_TIMEOUT: Duration = Duration::from_millis(200);

/// How long a retired socket stays quiet before it is closed; the kernel queues what it had routed within microseconds.
const QUIET_TIMEOUT: Duration = Duration::from_millis(10);

/// Bounds the reading of a socket that could not be retired, where datagrams may never end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause after an error that may come back at once, such as a lack of kernel memory.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Attempts to send a reply that waited, while the socket's send buffer is full, a millisecond apart.
const SEND_ATTEMPTS_MAX: usize = 5;

/// A bound UDP socket; whoever holds it reads it.
#[derive(Debug)]
pub struct UdpSocket {
    pub socket: Arc<Socket>,
    /// The address of the settings, which may have port 0.
    pub asked: SocketAddr,
    pub address: SocketAddr,
    /// The kernel's count of dropped datagrams as far as it is counted.
    drops_counted: AtomicU32,
}

impl UdpSocket {
    pub fn new(socket: Socket, asked: SocketAddr, address: SocketAddr) -> UdpSocket {
        UdpSocket { socket: Arc::new(socket), asked, address, drops_counted: AtomicU32::new(0) }
    }

    /// Has the kernel give new datagrams to the other sockets of this address, or refuse them if there are none.
    fn retire(&self) -> io::Result<()> {
        // A connected socket takes part in SO_REUSEPORT no more; from our own port 1 nothing will ever come.
        let address = match self.address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            address => address,
        };
        let mut peer = self.address;
        peer.set_ip(address);
        peer.set_port(1);
        self.socket.connect(&SockAddr::from(peer))
    }

    fn count_drops(&self, total: u32, counters: &UdpCounters) {
        let counted = self.drops_counted.load(Ordering::Relaxed);
        let new = total.wrapping_sub(counted);
        // The kernel's count wraps; and another thread, taking over this socket, may have counted further.
        let newer = new != 0 && new < u32::MAX / 2;
        if newer
            && self
                .drops_counted
                .compare_exchange(counted, total, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            counters.kernel_drops.add(new.into());
        }
    }
}

/// The thread of one UDP socket.
pub struct UdpWorker<S> {
    pub socket: Arc<UdpSocket>,
    pub service: Arc<S>,
    pub counters: Arc<UdpCounters>,
    /// One permit for each request that may wait for upstream.
    pub waiting: Arc<Semaphore>,
    pub closing: Arc<Closing>,
    pub runtime: Handle,
}

impl<S: Service> UdpWorker<S> {
    /// Serves until `closing`; then whatever is queued still, unless another thread has taken over the socket.
    pub fn run(self) {
        let mut batch = Batch::new();
        while !self.closing.is_asked() {
            match batch.receive(&self.socket.socket, Wait::ForOne) {
                Ok(received) => self.serve(&mut batch, received),
                Err(error) => self.note(&error),
            }
        }
        let UdpWorker { socket, service, counters, waiting, closing, runtime } = self;
        let Some(socket) = Arc::into_inner(socket) else { return };
        let last = UdpWorker { socket: Arc::new(socket), service, counters, waiting, closing, runtime };
        last.finish(&mut batch);
    }

    fn finish(&self, batch: &mut Batch) {
        let socket = &self.socket.socket;
        let retired = self.socket.retire();
        let _ = socket.set_read_timeout(Some(QUIET_TIMEOUT));
        let began = Instant::now();
        while began.elapsed() < FINISH_TIMEOUT {
            let wait = if retired.is_ok() { Wait::ForOne } else { Wait::No };
            match batch.receive(socket, wait) {
                Ok(received) => self.serve(batch, received),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => {}
                    _ => return,
                },
            }
        }
    }

    fn serve(&self, batch: &mut Batch, received: usize) {
        let mut next = 0;
        let mut tally = Tally::default();
        while next < received {
            let before = next;
            let served = catch_unwind(AssertUnwindSafe(|| {
                let view = self.service.view();
                while next < received {
                    let index = next;
                    next += 1;
                    self.serve_one(batch, index, &view, &mut tally);
                }
            }));
            if served.is_err() {
                self.counters.panics.add(1);
                if next == before {
                    break;
                }
            }
        }
        let sent = batch.send(&self.socket.socket);
        if let Some(total) = batch.kernel_drops() {
            self.socket.count_drops(total, &self.counters);
        }
        self.counters.queries.add(tally.queries);
        self.counters.dropped.add(tally.dropped);
        self.counters.oversized.add(tally.oversized);
        self.counters.replies.add(sent.replies as u64);
        self.counters.send_failures.add(sent.failures as u64);
    }

    fn serve_one(&self, batch: &mut Batch, index: usize, view: &S::View, tally: &mut Tally) {
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
            address: path.peer,
            local: path.source.map(|source| source.address),
            transport: Transport::Udp,
        };
        match self.service.try_answer(view, datagram.message, client, datagram.reply) {
            Attempt::Reply(length) => batch.queue(index, length),
            Attempt::Drop => tally.dropped += 1,
            Attempt::Wait => self.wait(datagram.message, client, path),
        }
    }

    /// Hands a message to the runtime, which sends the reply when it has one.
    fn wait(&self, message: &[u8], client: Client, path: ReturnPath) {
        let Ok(permit) = self.waiting.clone().try_acquire_owned() else {
            self.counters.waiting_max_reached.add(1);
            return;
        };
        let answer = self.service.clone().answer(message.to_vec(), client);
        let socket = self.socket.socket.clone();
        let mut outcome = Outcome { counters: self.counters.clone(), ended: false };
        let task = async move {
            let _permit = permit;
            let reply = answer.await;
            outcome.ended = true;
            let counters = &outcome.counters;
            counters.waited.add(1);
            match reply {
                None => counters.dropped.add(1),
                Some(reply) => match send_when_there_is_room(&socket, &reply, &path).await {
                    Ok(()) => counters.replies.add(1),
                    Err(_) => counters.send_failures.add(1),
                },
            }
        };
        self.closing.tracker.spawn_on(task, &self.runtime);
    }

    fn note(&self, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {}
            // An ICMP error about a reply; the client is gone.
            io::ErrorKind::ConnectionRefused => {}
            _ => {
                if self.counters.receive_failures.get() == 0 {
                    let address = self.socket.address;
                    warn!(%address, %error, "Reading from {address} failed");
                }
                self.counters.receive_failures.add(1);
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

/// Starts the thread of one socket.
pub fn spawn<S: Service>(worker: UdpWorker<S>, index: usize) -> io::Result<()> {
    // The token is dropped when the thread ends, and with it the tracker knows.
    let token = worker.closing.tracker.token();
    let address = worker.socket.address;
    thread::Builder::new().name(format!("udp-{index}")).spawn(move || {
        let _token = token;
        if catch_unwind(AssertUnwindSafe(|| worker.run())).is_err() {
            error!(%address, "A UDP thread of {address} ended by a panic");
        }
    })?;
    Ok(())
}
