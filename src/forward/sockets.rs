//! UDP sockets to upstreams: connected, on random ports, each used for a few queries and a few seconds.
//!
//! A forger must hit port, id and case of a query at once. A port carries few queries before it is given up, so that
//! finding one open is of little use, and none any more once something came that fits none of them; several share one,
//! so that a burst towards a dead upstream does not use up all file descriptors.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::{Instant, timeout};

use super::link::LINKS_MAX;
use super::open_ports::{Open, OpenPorts, PORTS_MAX};
use super::race::PATIENCE;
use super::{Counters, Exchange, ExchangeError, Judgement, Protocol, Query, Transport, tcp};
use crate::net::{DATAGRAM_SIZE_MAX, ignore_path_mtu};

/// Queries that one port carries in its life.
pub(super) const QUERIES_PER_PORT: usize = 32;

/// Queries that one port carries at once: who finds it has so many to aim at (RFC 5452 §5).
pub(super) const QUERIES_AT_ONCE_MAX: usize = 8;

/// How long a port takes new queries.
pub(super) const PORT_LIFE: Duration = Duration::from_secs(5);

/// Ports with room among which each query's is chosen; where there are fewer, one of the missing ones is opened.
const PORTS_TO_CHOOSE_FROM: usize = 32;

/// Connections open at one time to all upstreams: an upstream that truncates every reply gets no more of them.
const CONNECTIONS_MAX: usize = 256;

/// File descriptors that upstreams take at most.
pub const DESCRIPTORS_MAX: usize = PORTS_MAX + CONNECTIONS_MAX + LINKS_MAX;

/// Where random ports are taken from: above those that services are usually given.
const PORT_RANGE: std::ops::RangeInclusive<u16> = 16_384..=65_535;

/// Tries to find a random port that is free before the kernel is asked for one.
const PORT_TRIES: usize = 16;

/// How long a query waits before the address that it was sent from is looked after; it is asked again a little later.
const SILENCE: Duration = PATIENCE.saturating_sub(Duration::from_millis(50));

/// Strangers that a port meets before all its queries are asked over TCP, where those cannot interfere. One that has the
/// id of a query moves that query at once: who hits port and id needs little more.
pub(super) const NEAR_MISSES_MAX: u32 = 10;

/// Errors in a row after which a port is given up: each report of ICMP is one, and proves nothing.
pub(super) const ERRORS_MAX: u32 = 100;

/// The transport that servers are really asked by.
pub struct Sockets {
    upstreams: Mutex<HashMap<SocketAddr, Ports>>,
    open: OpenPorts,
    /// One permit for each connection.
    connections: Semaphore,
    counters: Arc<Counters>,
}

/// The ports that take queries for one upstream; each lives by its receiving task.
type Ports = Vec<Weak<Port>>;

impl Sockets {
    pub fn new(counters: Arc<Counters>) -> Sockets {
        Sockets {
            upstreams: Mutex::default(),
            open: OpenPorts::default(),
            connections: Semaphore::new(CONNECTIONS_MAX),
            counters,
        }
    }

    async fn exchange_udp(&self, upstream: SocketAddr, query: &mut Query) -> Result<Vec<u8>, ExchangeError> {
        let mut waiting = self.enlist(upstream, query)?;
        if let Err(error) = waiting.port.send(query).await {
            if !is_of_here(&error) {
                return Err(error.into());
            }
            // The port is of an address, or leads a way, that is gone. Another may be there by now.
            waiting.port.retired.store(true, Ordering::Relaxed);
            waiting = self.enlist_anew(upstream, query)?;
            waiting.port.send(query).await?;
        }
        let reply = match timeout(SILENCE, &mut waiting.reply).await {
            Ok(reply) => reply,
            Err(_) => {
                waiting.port.open.check_address(waiting.port.socket.local_addr().ok());
                (&mut waiting.reply).await
            }
        };
        reply.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()))
    }

    /// Finds a place for a query on a random port.
    fn enlist(&self, upstream: SocketAddr, query: &mut Query) -> Result<Waiting, ExchangeError> {
        let mut upstreams = self.upstreams.lock();
        let ports = upstreams.entry(upstream).or_default();
        let choice = rand::rng().random_range(0..PORTS_TO_CHOOSE_FROM);
        let mut open = ports.iter().filter_map(Weak::upgrade).filter(|port| port.has_room());
        if let Some(waiting) = open.nth(choice).and_then(|port| Port::enlist(port, query)) {
            return Ok(waiting);
        }
        self.enlist_at(ports, upstream, query)
    }

    /// Finds a place for a query on a port that is opened now.
    fn enlist_anew(&self, upstream: SocketAddr, query: &mut Query) -> Result<Waiting, ExchangeError> {
        let mut upstreams = self.upstreams.lock();
        self.enlist_at(upstreams.entry(upstream).or_default(), upstream, query)
    }

    fn enlist_at(
        &self,
        ports: &mut Ports,
        upstream: SocketAddr,
        query: &mut Query,
    ) -> Result<Waiting, ExchangeError> {
        ports.retain(|port| port.upgrade().is_some_and(|port| !port.has_served()));
        let opened = self.open.count(PORTS_MAX).and_then(|counted| Ok((open_for_tasks(upstream)?, counted)));
        let (socket, counted) = match opened.map_err(ExchangeError::from) {
            Err(ExchangeError::TooManySockets) => {
                let mut others = ports.iter().filter_map(Weak::upgrade);
                return others
                    .find_map(|port| Port::enlist(port, query))
                    .ok_or(ExchangeError::TooManySockets);
            }
            opened => opened?,
        };
        let port = Arc::new(Port {
            socket,
            open: counted,
            queries: Mutex::default(),
            strangers: AtomicU32::new(0),
            closes: Instant::now() + PORT_LIFE,
            retired: AtomicBool::new(false),
            drained: Notify::new(),
        });
        self.counters.sockets_opened.add(1);
        ports.push(Arc::downgrade(&port));
        let waiting = Port::enlist(port.clone(), query).ok_or(ExchangeError::TooManySockets)?;
        tokio::spawn(port.receive(self.counters.clone()));
        Ok(waiting)
    }
}

impl Transport for Sockets {
    fn exchange<'a>(
        &'a self,
        upstream: SocketAddr,
        query: &'a mut Query,
        protocol: Protocol,
    ) -> Exchange<'a> {
        match protocol {
            Protocol::Udp => Box::pin(self.exchange_udp(upstream, query)),
            Protocol::Tcp => Box::pin(async move {
                // Whoever waits here waits no longer than for an answer.
                let _permit = self.connections.acquire().await.map_err(|_| ExchangeError::TooManySockets)?;
                tcp::exchange(upstream, query).await
            }),
            // Such upstreams have links.
            Protocol::Tls => {
                Box::pin(std::future::ready(Err(io::Error::from(io::ErrorKind::Unsupported).into())))
            }
        }
    }

    fn ports(&self) -> Option<&OpenPorts> {
        Some(&self.open)
    }
}

/// One socket and the queries sent from it.
struct Port {
    socket: UdpSocket,
    open: Open,
    /// All that were ever sent, so that a late reply is known for what it is.
    queries: Mutex<Vec<Sent>>,
    /// Datagrams that fit no query.
    strangers: AtomicU32,
    closes: Instant,
    /// Whether it takes no more because nothing can be sent from it.
    retired: AtomicBool,
    /// Tells the receiving task that the last query is gone.
    drained: Notify,
}

struct Sent {
    query: Query,
    /// None once the query is answered or given up.
    reply: Option<oneshot::Sender<Result<Vec<u8>, ExchangeError>>>,
}

/// A query that waits for its reply; dropped, it waits no longer.
struct Waiting {
    port: Arc<Port>,
    index: usize,
    reply: oneshot::Receiver<Result<Vec<u8>, ExchangeError>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.port.queries.lock()[self.index].reply = None;
        self.port.drained.notify_one();
    }
}

impl Port {
    /// A place for `query`, whose id is made one of its own here; none when the port has no room.
    fn enlist(port: Arc<Port>, query: &mut Query) -> Option<Waiting> {
        let mut queries = port.queries.lock();
        if port.room(&queries) == 0 {
            return None;
        }
        while queries.iter().any(|sent| sent.query.id() == query.id()) {
            query.renew_id();
        }
        let (sender, reply) = oneshot::channel();
        let index = queries.len();
        queries.push(Sent { query: query.clone(), reply: Some(sender) });
        drop(queries);
        Some(Waiting { port, index, reply })
    }

    async fn send(&self, query: &Query) -> io::Result<()> {
        match self.socket.send(query.as_bytes()).await {
            // What an earlier datagram met with, not this one.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused || is_of_here(&error) => {
                self.socket.send(query.as_bytes()).await?
            }
            sent => sent?,
        };
        Ok(())
    }

    /// Hands replies to those who wait, until the port has served its time and nobody waits.
    async fn receive(self: Arc<Self>, counters: Arc<Counters>) {
        let mut datagram = vec![0; DATAGRAM_SIZE_MAX];
        let mut errors = 0;
        while !self.is_done() && errors < ERRORS_MAX {
            tokio::select! {
                received = self.socket.recv(&mut datagram) => match received {
                    Ok(length) => self.deliver(&datagram[..length], &counters),
                    // SAD DNS: what ICMP says is not believed; the query waits on.
                    Err(_) => errors += 1,
                },
                () = self.drained.notified() => {}
                () = tokio::time::sleep_until(self.closes), if Instant::now() < self.closes => {}
            }
        }
    }

    fn is_done(&self) -> bool {
        let queries = self.queries.lock();
        self.is_closed(&queries) && waiting(&queries) == 0
    }

    fn has_room(&self) -> bool {
        self.room(&self.queries.lock()) > 0
    }

    fn has_served(&self) -> bool {
        self.is_closed(&self.queries.lock())
    }

    /// How many more queries it takes now.
    fn room(&self, queries: &[Sent]) -> usize {
        match self.is_closed(queries) {
            true => 0,
            false => QUERIES_AT_ONCE_MAX.saturating_sub(waiting(queries)),
        }
    }

    /// Whether it takes no new queries, ever. One that met a stranger may be known to a forger.
    fn is_closed(&self, queries: &[Sent]) -> bool {
        queries.len() >= QUERIES_PER_PORT
            || self.strangers.load(Ordering::Relaxed) > 0
            || Instant::now() >= self.closes
            || self.retired.load(Ordering::Relaxed)
            || !self.open.is_current()
    }

    fn deliver(&self, datagram: &[u8], counters: &Counters) {
        let mut queries = self.queries.lock();
        let same_id = queries.iter_mut().find(|sent| datagram.get(..2) == Some(&sent.query.as_bytes()[..2]));
        match same_id {
            Some(sent) if sent.reply.is_none() => return counters.late_replies.add(1),
            Some(sent) if sent.query.judge(datagram) != Judgement::Stranger => {
                return sent.end(Ok(datagram.to_vec()));
            }
            Some(sent) => sent.end(Err(ExchangeError::NearMisses)),
            None => {}
        }
        counters.near_misses.add(1);
        if self.strangers.fetch_add(1, Ordering::Relaxed) >= NEAR_MISSES_MAX {
            // Whichever query a forger is after, it is one of this port's.
            queries.iter_mut().for_each(|sent| sent.end(Err(ExchangeError::NearMisses)));
        }
    }
}

impl Sent {
    fn end(&mut self, reply: Result<Vec<u8>, ExchangeError>) {
        if let Some(sender) = self.reply.take() {
            // A caller that is gone needs no reply.
            let _ = sender.send(reply);
        }
    }
}

/// How many queries wait for their reply.
fn waiting(queries: &[Sent]) -> usize {
    queries.iter().filter(|sent| sent.reply.is_some()).count()
}

/// Whether an error is of this machine's addresses and routes, and says nothing of the upstream.
// EINVAL: before 6.x Linux says so of an IPv4 address that is gone.
pub(super) fn is_of_here(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EADDRNOTAVAIL | libc::ENETDOWN | libc::EINVAL)
    )
}

fn open_for_tasks(upstream: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::from_std(open(upstream)?.into())
}

/// A socket on a random port, connected so that only `upstream` is heard.
pub(super) fn open(upstream: SocketAddr) -> io::Result<socket2::Socket> {
    let domain = socket2::Domain::for_address(upstream);
    let datagrams = socket2::Type::DGRAM.nonblocking();
    let socket = socket2::Socket::new(domain, datagrams, Some(socket2::Protocol::UDP))?;
    ignore_path_mtu(&socket, upstream);
    let unspecified = match upstream {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut tries = (0..PORT_TRIES).map(|_| rand::rng().random_range(PORT_RANGE)).chain([0]);
    loop {
        let port = tries.next().unwrap_or(0);
        match socket.bind(&SocketAddr::new(unspecified, port).into()) {
            Ok(()) => break,
            Err(error) if port == 0 => return Err(error),
            Err(_) => {}
        }
    }
    socket.connect(&upstream.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::case::Case;
    use super::super::scripted;
    use super::super::{Forwarder, Settings};
    use super::*;
    use crate::cache::{self, Cache, End};
    use crate::dns::{QueryFlags, Rcode};

    fn query(name: &str) -> Query {
        Query::new(&scripted::question(name), QueryFlags::default(), true, Case::Mixed)
    }

    /// The query's own bytes as a reply to it.
    fn echo(query: &[u8]) -> Vec<u8> {
        let mut reply = query.to_vec();
        reply[2] |= 0x80;
        reply
    }

    async fn upstream() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    /// On a port that is free for both protocols.
    async fn upstream_with_tcp() -> (UdpSocket, TcpListener, SocketAddr) {
        loop {
            let (socket, address) = upstream().await;
            if let Ok(listener) = TcpListener::bind(address).await {
                return (socket, listener, address);
            }
        }
    }

    fn sockets() -> (Arc<Sockets>, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        (Arc::new(Sockets::new(counters.clone())), counters)
    }

    #[tokio::test]
    async fn strangers_are_passed_over_and_the_reply_behind_them_is_taken() {
        let (server, address) = upstream().await;
        let (sockets, counters) = sockets();
        let serve = async {
            let mut buffer = [0; 512];
            let (length, client) = server.recv_from(&mut buffer).await.unwrap();
            let reply = echo(&buffer[..length]);
            let mut stranger = reply.clone();
            for _ in 0..NEAR_MISSES_MAX - 1 {
                stranger[1] = stranger[1].wrapping_add(1);
                server.send_to(&stranger, client).await.unwrap();
            }
            // From another address: the kernel lets it through to nobody.
            let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            other.send_to(&reply, client).await.unwrap();
            server.send_to(b"x", client).await.unwrap();
            server.send_to(&reply, client).await.unwrap();
            reply
        };
        let mut query = query("account.blob.x.");
        let (received, sent) = tokio::join!(sockets.exchange(address, &mut query, Protocol::Udp), serve);
        assert_eq!(received.unwrap(), sent);
        assert_eq!(counters.near_misses.value(), u64::from(NEAR_MISSES_MAX));
        // The port takes no more queries.
        let ports = sockets.upstreams.lock()[&address].clone();
        assert!(ports.iter().filter_map(Weak::upgrade).all(|port| !port.has_room()));
    }

    #[tokio::test]
    async fn too_many_strangers_end_the_exchange_and_one_with_its_id_does_at_once() {
        for (strangers, step) in [(NEAR_MISSES_MAX + 1, 1), (1, 0)] {
            let (server, address) = upstream().await;
            let (sockets, _) = sockets();
            let serve = async {
                let mut buffer = [0; 512];
                let (length, client) = server.recv_from(&mut buffer).await.unwrap();
                let mut stranger = echo(&buffer[..length]);
                stranger[14] ^= 1;
                for _ in 0..strangers {
                    stranger[1] = stranger[1].wrapping_add(step);
                    server.send_to(&stranger, client).await.unwrap();
                }
            };
            let mut query = query("account.blob.x.");
            let (received, ()) = tokio::join!(sockets.exchange(address, &mut query, Protocol::Udp), serve);
            assert!(matches!(received, Err(ExchangeError::NearMisses)));
        }
    }

    #[tokio::test]
    async fn a_reply_in_the_wrong_case_is_left_to_the_caller_to_judge() {
        let (server, address) = upstream().await;
        let (sockets, _) = sockets();
        let serve = async {
            let mut buffer = [0; 512];
            let (length, client) = server.recv_from(&mut buffer).await.unwrap();
            let mut reply = echo(&buffer[..length]);
            reply[14] ^= 0x20;
            server.send_to(&reply, client).await.unwrap();
        };
        let mut query = query("account.blob.x.");
        let (received, ()) = tokio::join!(sockets.exchange(address, &mut query, Protocol::Udp), serve);
        assert_eq!(query.judge(&received.unwrap()), Judgement::CaseDiffers);
    }

    #[tokio::test]
    async fn ports_and_ids_change_all_the_time_and_a_late_reply_is_known_for_one() {
        let (server, address) = upstream().await;
        let (sockets, counters) = sockets();
        let (mut ports, mut ids) = (HashSet::new(), HashSet::new());
        let mut buffer = [0; 512];
        let mut set_bits = (0, 0);
        for index in 0..1500 {
            let mut query = query("account.blob.x.");
            let exchange = sockets.exchange(address, &mut query, Protocol::Udp);
            let serve = async {
                let (length, client) = server.recv_from(&mut buffer).await.unwrap();
                let reply = echo(&buffer[..length]);
                server.send_to(&reply, client).await.unwrap();
                if index == 0 {
                    server.send_to(&reply, client).await.unwrap();
                }
                client.port()
            };
            let (received, port) = tokio::join!(exchange, serve);
            assert!(received.is_ok());
            ports.insert(port);
            ids.insert(query.id());
            set_bits = (set_bits.0 | port, set_bits.1 | query.id());
        }
        // 32 queries for each port at most.
        assert!(ports.len() >= 1500 / QUERIES_PER_PORT, "{}", ports.len());
        assert!(ports.iter().all(|port| PORT_RANGE.contains(port)));
        assert!(ids.len() > 1400);
        assert_eq!(set_bits, (0xFFFF, 0xFFFF));
        assert_eq!((counters.late_replies.value(), counters.near_misses.value()), (1, 0));
    }

    #[tokio::test]
    async fn a_port_is_closed_when_it_has_served_and_nobody_waits() {
        let (_server, address) = upstream().await;
        let (sockets, _) = sockets();
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut at_once = 0;
        // The last query that finds room on some port fills it.
        let port = loop {
            let new = sockets.enlist(address, &mut query("a.")).unwrap();
            let port = Arc::downgrade(&new.port);
            at_once = at_once.max(super::waiting(&new.port.queries.lock()));
            let full = new.port.queries.lock().len() == QUERIES_PER_PORT;
            waiting.push(new);
            if full {
                break port;
            }
            if waiting.len() == 100 {
                waiting.clear();
            }
        };
        assert_eq!(at_once, QUERIES_AT_ONCE_MAX);
        let ids: HashSet<u16> =
            port.upgrade().unwrap().queries.lock().iter().map(|sent| sent.query.id()).collect();
        assert_eq!(ids.len(), QUERIES_PER_PORT);
        drop(waiting);
        while port.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// A forwarder that asks `address` by real sockets.
    fn forwarder(address: SocketAddr) -> Arc<Forwarder> {
        let settings: Settings = scripted::settings(&[(".", &[&address.to_string()])]);
        Forwarder::new(settings, Arc::new(Cache::new(cache::Settings::default())))
    }

    #[tokio::test]
    async fn a_truncated_reply_is_fetched_over_real_tcp() {
        let (server, listener, address) = upstream_with_tcp().await;
        let serve = async {
            let mut buffer = [0; 512];
            let (length, client) = server.recv_from(&mut buffer).await.unwrap();
            let mut reply = echo(&buffer[..length]);
            reply[2] |= 0x02;
            server.send_to(&reply, client).await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            let length = usize::from(stream.read_u16().await.unwrap());
            stream.read_exact(&mut buffer[..length]).await.unwrap();
            let mut reply = echo(&buffer[..length]);
            reply[3] = 3;
            stream.write_u16(length as u16).await.unwrap();
            stream.write_all(&reply).await.unwrap();
        };
        let forwarder = forwarder(address);
        let (outcome, ()) = tokio::join!(scripted::ask(&forwarder, "account.blob.x."), serve);
        assert_eq!((outcome.reply.rcode, &outcome.reply.end), (Rcode::NXDOMAIN, &End::Negative));
        assert_eq!(forwarder.counters.tcp_queries.value(), 1);
    }

    #[tokio::test]
    async fn two_hundred_who_ask_at_once_are_one_datagram() {
        let (server, address) = upstream().await;
        let forwarder = forwarder(address);
        let asks: Vec<_> = (0..200)
            .map(|_| {
                let forwarder = forwarder.clone();
                tokio::spawn(async move { scripted::ask(&forwarder, "account.blob.x.").await })
            })
            .collect();
        let mut buffer = [0; 512];
        let (length, client) = server.recv_from(&mut buffer).await.unwrap();
        while forwarder.counters.coalesced.value() < 199 {
            tokio::task::yield_now().await;
        }
        server.send_to(&echo(&buffer[..length]), client).await.unwrap();
        for ask in asks {
            assert_eq!(ask.await.unwrap().reply.end, End::Negative);
        }
        assert_eq!(forwarder.counters.queries.value(), 1);
    }
}
