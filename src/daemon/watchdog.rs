//! systemd's watchdog: it is fed while queries of the server's own are answered at each address that UDP is served at, so
//! that a server whose threads are alive and answer nobody is restarted.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use parking_lot::Mutex;
use tracing::error;

use super::notify;
use crate::listen::PROXY_ITSELF;

/// The SOA of `localhost.`, which no upstream is asked for: without RD what is not known here is refused. One record in
/// the additional section.
const QUESTION: &[u8] = b"\0\0\0\x01\0\0\0\0\0\x01\x09localhost\0\0\x06\0\x01";

/// OPT with the option COOKIE up to its value (RFC 6891 §6.1.2, RFC 7873 §4).
const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\x1c\0\x0a\0\x18";

/// A client's and a server's part together (RFC 9018 §4).
const COOKIE_SIZE: usize = 24;

/// The client's part.
const OURS_SIZE: usize = 8;

/// How long an answer is waited for before the query is sent again: datagrams get lost where queues are full.
const SENT_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Rounds in the time after which the manager would restart the server: one that lasts long spoils nothing.
const ROUNDS: u32 = 4;

/// Where the server is asked.
#[derive(Clone, Default)]
pub(super) struct Served {
    pub addresses: Vec<SocketAddr>,
    /// The ranges of `listen.proxy_from`, from which a header is required. With a proxy on this host they hold its own addresses.
    pub proxies: Vec<IpNet>,
}

/// Asks until it is dropped.
pub(super) struct Watchdog {
    served: Arc<Mutex<Served>>,
    _ends_with_it: Sender<()>,
}

/// What came of a query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Answered,
    Silent,
    /// The host does not have the address, or not any more: what is sent there would go to somebody else.
    NotHere,
}

impl Watchdog {
    /// Begins where the manager wants to hear of us, by WATCHDOG_USEC.
    pub fn begin(served: Served) -> Option<Watchdog> {
        let patience = sd_notify::watchdog_enabled()?;
        Watchdog::feeding(served, patience / ROUNDS, notify::alive)
    }

    fn feeding(served: Served, pause: Duration, feed: impl Fn() + Send + 'static) -> Option<Watchdog> {
        let (sender, ended) = channel();
        let served = Arc::new(Mutex::new(served));
        let rounds = Rounds { served: Arc::clone(&served), ended, pause };
        // A thread: a runtime that is busy must not look like listeners that are dead.
        let thread = thread::Builder::new().name("watchdog".into()).spawn(move || rounds.run(feed));
        if let Err(cause) = thread {
            error!("The watchdog cannot be started, and systemd will restart the server: {cause}");
            return None;
        }
        Some(Watchdog { served, _ends_with_it: sender })
    }

    /// Goes on with other addresses.
    pub fn watch(&self, served: Served) {
        *self.served.lock() = served;
    }
}

struct Rounds {
    served: Arc<Mutex<Served>>,
    ended: Receiver<()>,
    pause: Duration,
}

impl Rounds {
    fn run(self, feed: impl Fn()) {
        let mut cookies = HashMap::<SocketAddr, Cookie>::new();
        loop {
            let addresses = self.served.lock().addresses.clone();
            cookies.retain(|address, _| addresses.contains(address));
            let mut is_well = |address| self.is_well(address, cookies.entry(address).or_default());
            if addresses.into_iter().all(&mut is_well) {
                feed();
            }
            if self.is_over(self.pause) {
                return;
            }
        }
    }

    /// Asks one address until it answers, or need not any more; not so when the server ends before.
    fn is_well(&self, address: SocketAddr, cookie: &mut Cookie) -> bool {
        // Threads share an address by its clients' ports. One that is silent is asked until it is not, by the same port,
        // and another one the next time.
        let (mut socket, begun, mut is_told) = (None, Instant::now(), false);
        loop {
            let proxies = self.served.lock().proxies.clone();
            let asked = ask(address, &proxies, &mut socket, cookie);
            match asked {
                Ok(Asked::Answered | Asked::NotHere) => return true,
                Ok(Asked::Silent) => {}
                Err(_) => thread::sleep(SENT_AGAIN_AFTER),
            }
            if !self.served.lock().addresses.contains(&address) {
                return true;
            }
            if self.is_over(Duration::ZERO) {
                return false;
            }
            if begun.elapsed() > self.pause.max(SENT_AGAIN_AFTER) && !is_told {
                is_told = true;
                let why = asked.map_or_else(|error| error.to_string(), |_| "no answer comes".to_owned());
                error!(
                    "The server's own queries to {address} have had no answer for {:?}, and systemd is told nothing \
                     until one comes: {why}",
                    begun.elapsed()
                );
            }
        }
    }

    fn is_over(&self, wait: Duration) -> bool {
        self.ended.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected)
    }
}

/// By which the server knows that its own client is no forger: limits of rate leave such a one an answer (RFC 7873). It
/// holds for one address. Until the server's part is told, zeros keep its place: a refusal is not longer than its query.
struct Cookie([u8; COOKIE_SIZE]);

impl Default for Cookie {
    fn default() -> Cookie {
        let mut cookie = [0; COOKIE_SIZE];
        cookie[..OURS_SIZE].copy_from_slice(&rand::random::<[u8; OURS_SIZE]>());
        Cookie(cookie)
    }
}

impl Cookie {
    /// Finds it in a reply, by our part of it.
    fn learn(&mut self, reply: &[u8]) {
        let found = reply.windows(COOKIE_SIZE).find(|it| it.starts_with(&self.0[..OURS_SIZE]));
        self.0 = found.and_then(|it| it.try_into().ok()).unwrap_or(self.0);
    }
}

fn query(id: [u8; 2], cookie: &Cookie) -> Vec<u8> {
    [&id, QUESTION, OPT, &cookie.0].concat()
}

/// Sends the query once, and waits a little.
fn ask(
    served: SocketAddr,
    proxies: &[IpNet],
    socket: &mut Option<UdpSocket>,
    cookie: &mut Cookie,
) -> io::Result<Asked> {
    let mut server = served;
    match served.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => server.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => server.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    if !is_here(server.ip()) {
        return Ok(Asked::NotHere);
    }
    let mut own = server;
    own.set_port(0);
    let socket = match socket {
        Some(socket) => socket,
        None => match UdpSocket::bind(own) {
            Ok(new) => {
                new.connect(server)?;
                new.set_read_timeout(Some(SENT_AGAIN_AFTER))?;
                socket.insert(new)
            }
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => return Ok(Asked::NotHere),
            Err(error) => return Err(error),
        },
    };
    let id: [u8; 2] = rand::random();
    let is_proxy = proxies.iter().any(|range| range.contains(&server.ip()));
    let header = if is_proxy { PROXY_ITSELF } else { &[] };
    socket.send(&[header, &query(id, cookie)].concat())?;
    let mut reply = [0; 1232];
    loop {
        match socket.recv(&mut reply) {
            // Whatever it says: it was read, understood and answered.
            Ok(length) if length > 2 && reply[..2] == id && reply[2] & 0x80 != 0 => {
                cookie.learn(&reply[..length]);
                return Ok(Asked::Answered);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Asked::Silent),
            Err(error) => return Err(error),
        }
    }
}

/// Whether the host has an address, as far as it can be told. That it can be bound does not tell: beside keepalived
/// `net.ipv4.ip_nonlocal_bind` is set, and all addresses can be.
fn is_here(address: IpAddr) -> bool {
    let ip = |it: SockaddrStorage| match (it.as_sockaddr_in(), it.as_sockaddr_in6()) {
        (Some(it), _) => Some(IpAddr::V4(it.ip())),
        (_, Some(it)) => Some(IpAddr::V6(it.ip())),
        _ => None,
    };
    // All of 127/8 is there, and listed is one.
    address.is_loopback()
        || getifaddrs()
            .map_or(true, |mut all| all.any(|it| it.address.and_then(ip).is_some_and(|it| it == address)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::mpsc;

    use super::*;

    const PAUSE: Duration = Duration::from_millis(1);
    /// A test waits no longer.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn of(addresses: &[SocketAddr]) -> Served {
        Served { addresses: addresses.to_vec(), ..Served::default() }
    }

    /// A watchdog of these addresses, and what it is fed with.
    fn watchdog(addresses: &[SocketAddr]) -> (Watchdog, Receiver<()>) {
        let (feed, fed) = mpsc::channel();
        let watchdog = Watchdog::feeding(of(addresses), PAUSE, move || _ = feed.send(())).unwrap();
        (watchdog, fed)
    }

    /// Reads a query, and answers it or not.
    fn serve(socket: &UdpSocket, is_answered: bool) -> SocketAddr {
        let mut query = [0; 512];
        let (length, client) = socket.recv_from(&mut query).unwrap();
        assert_eq!(query[2..][..QUESTION.len()], *QUESTION);
        query[2] |= 0x80;
        if is_answered {
            socket.send_to(&query[..length], client).unwrap();
        }
        client
    }

    fn served(address: &str) -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[test]
    fn it_is_fed_by_answers_of_all_addresses_and_by_nothing_else() {
        let ((one, first), (other, second)) = (served("127.0.0.1:0"), served("0.0.0.0:0"));
        let (_watchdog, fed) = watchdog(&[first, second]);
        serve(&one, true);
        // A silent server is asked again, from the same port.
        let (silent, again) = (serve(&other, false), serve(&other, false));
        assert_eq!(silent, again);
        assert_eq!(fed.try_recv(), Err(mpsc::TryRecvError::Empty));
        serve(&other, true);
        fed.recv_timeout(PATIENCE).unwrap();
        serve(&one, true);
        assert_eq!(fed.try_recv(), Err(mpsc::TryRecvError::Empty));
    }

    #[test]
    fn rounds_come_from_ports_of_their_own_so_that_all_threads_are_asked() {
        let (socket, address) = served("127.0.0.1:0");
        let (_watchdog, _fed) = watchdog(&[address]);
        let ports: HashSet<SocketAddr> = (0..4).map(|_| serve(&socket, true)).collect();
        assert!(ports.len() > 1, "{ports:?}");
    }

    #[test]
    fn the_cookie_that_the_server_tells_is_sent_from_then_on() {
        let (socket, address) = served("127.0.0.1:0");
        let (_watchdog, fed) = watchdog(&[address]);
        let told = |theirs: u8| {
            let mut query = [0; 512];
            let (length, client) = socket.recv_from(&mut query).unwrap();
            let sent = query[length - COOKIE_SIZE..length].to_vec();
            query[2] |= 0x80;
            query[length - COOKIE_SIZE + OURS_SIZE..length].fill(theirs);
            socket.send_to(&query[..length], client).unwrap();
            fed.recv_timeout(PATIENCE).unwrap();
            (sent, query[length - COOKIE_SIZE..length].to_vec())
        };
        let (first, cookie) = told(1);
        assert_eq!(
            (first[..OURS_SIZE].to_vec(), first[OURS_SIZE..].to_vec()),
            (cookie[..OURS_SIZE].to_vec(), vec![0; 16])
        );
        let (second, renewed) = told(2);
        assert_eq!(second, cookie);
        assert_eq!(told(3).0, renewed);
    }

    #[test]
    fn what_is_not_the_answer_does_not_feed_it() {
        let (socket, address) = served("127.0.0.1:0");
        let (_watchdog, fed) = watchdog(&[address]);
        let mut query = [0; 512];
        let (length, client) = socket.recv_from(&mut query).unwrap();
        socket.send_to(&query[..length], client).unwrap();
        socket.send_to(&[query[0] ^ 1, query[1], 0x80], client).unwrap();
        serve(&socket, false);
        assert_eq!(fed.try_recv(), Err(mpsc::TryRecvError::Empty));
    }

    #[test]
    fn where_a_proxy_is_expected_it_speaks_for_itself() {
        let (socket, address) = served("127.0.0.1:0");
        let proxies = vec!["127.0.0.0/8".parse().unwrap()];
        let served = Served { addresses: vec![address], proxies };
        let _watchdog = Watchdog::feeding(served, PAUSE, || {}).unwrap();
        let mut query = [0; 512];
        socket.recv_from(&mut query).unwrap();
        assert_eq!(query[..PROXY_ITSELF.len()], *PROXY_ITSELF);
        assert_eq!(query[PROXY_ITSELF.len() + 2..][..QUESTION.len()], *QUESTION);
    }

    #[test]
    fn an_address_that_the_host_does_not_have_is_not_asked() {
        let (_watchdog, fed) = watchdog(&["203.0.113.53:53".parse().unwrap()]);
        fed.recv_timeout(PATIENCE).unwrap();
    }

    #[test]
    fn an_address_that_a_reload_removes_is_waited_for_no_more() {
        let ((gone, first), (stays, second)) = (served("127.0.0.1:0"), served("127.0.0.1:0"));
        let (watchdog, fed) = watchdog(&[first]);
        serve(&gone, false);
        watchdog.watch(of(&[second]));
        // The round before may count as answered: nothing more was to be asked.
        serve(&stays, true);
        fed.recv_timeout(PATIENCE).unwrap();
        drop(watchdog);
        while fed.recv_timeout(PATIENCE).is_ok() {}
        assert_eq!(fed.try_recv(), Err(mpsc::TryRecvError::Disconnected), "its thread ends with it");
    }
}
