//! Listeners that serve, and how they end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::Service;
use super::bind::{self, Bound, Held};
use super::closing::Closing;
use super::connection::TcpService;
use super::counters::{Counters, Counting, Counts, InForce};
use super::error::BindError;
use super::limits::Connections;
use super::proxy::Proxies;
use super::relaying::UdpService;
use super::settings::Settings;
use super::sockets::{TcpSocket, UdpSocket, ask_for_room};
use super::tcp::Acceptor;
use super::tls::{TlsDoor, WHOSE};
use super::udp::{self, UdpWorker};
use super::waiting::Waiting;
use crate::tls::Server;

/// Listeners that serve; dropped without `drain`, they end without finishing what waits.
pub struct Listening {
    addresses: Vec<SocketAddr>,
    tls_addresses: Vec<SocketAddr>,
    counters: Arc<Counters>,
    closing: Arc<Closing>,
    udp: Vec<Weak<UdpSocket>>,
    tcp: Vec<Weak<TcpSocket>>,
    tls: Vec<Weak<TcpSocket>>,
    server: Option<Arc<Server>>,
}

/// What was unfinished when patience ended: threads, connections and requests waiting for upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    pub unfinished: usize,
}

impl Bound {
    /// Serves until the result is drained or dropped.
    pub fn run<S: Service>(self, service: Arc<S>, runtime: &Handle) -> Result<Listening, BindError> {
        let closing = Arc::<Closing>::default();
        // From here on an error drops `listening`, which ends what was started.
        let listening = Listening {
            tls_addresses: self.tls_addresses(),
            addresses: self.addresses,
            counters: self.counters.clone(),
            closing: closing.clone(),
            udp: self.udp.iter().map(Arc::downgrade).collect(),
            tcp: self.tcp.iter().map(Arc::downgrade).collect(),
            tls: self.tls.iter().map(Arc::downgrade).collect(),
            server: self.server.clone(),
        };
        let tcp_settings = self.settings.tcp.clone();
        let waiting = Waiting::new(&self.settings, self.counters.met.clone());
        self.counters.set_in_force(InForce {
            waiting: Arc::downgrade(&waiting),
            connections_max: tcp_settings.connections_max,
            server: self.server.as_ref().map(Arc::downgrade),
        });
        let proxies = Arc::new(Proxies::new(&self.settings.proxy_from));
        let shared = Arc::new(TcpService {
            service: service.clone(),
            connections: Connections::new(&tcp_settings),
            introductions: Connections::of_introductions(&tcp_settings),
            proxies: proxies.clone(),
            waiting: waiting.clone(),
            settings: tcp_settings,
            counters: self.counters.clone(),
            closing: closing.clone(),
        });
        let _context = runtime.enter();
        let door = self.server.map(|server| {
            let (watched, end, every) =
                (server.clone(), closing.clone(), self.settings.handshakes.certificate_check);
            closing.tracker.spawn(async move {
                tokio::select! {
                    () = watched.watch(every, WHOSE) => {}
                    () = end.asked() => {}
                }
            });
            Arc::new(TlsDoor::new(server, &self.settings.handshakes))
        });
        let plain = self.tcp.into_iter().map(|socket| (socket, None));
        for (socket, door) in plain.chain(self.tls.into_iter().map(|socket| (socket, door.clone()))) {
            let address = socket.address;
            let acceptor = Acceptor::new(socket, door, shared.clone())
                .map_err(|source| BindError::Start { address, source })?;
            closing.tracker.spawn(acceptor.run());
        }
        for (index, socket) in self.udp.into_iter().enumerate() {
            let address = socket.address;
            // One that was there before has the room of older settings.
            ask_for_room(&socket.socket, &self.settings);
            let own = Arc::new(UdpService {
                service: service.clone(),
                counters: self.counters.for_worker(),
                waiting: waiting.clone(),
                closing: closing.clone(),
                proxies: proxies.clone(),
                runtime: runtime.clone(),
            });
            let worker = UdpWorker { socket, own };
            udp::spawn(worker, index).map_err(|source| BindError::Start { address, source })?;
        }
        Ok(listening)
    }
}

impl Listening {
    /// The addresses bound, with their real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The addresses of TLS, with their real ports.
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.tls_addresses
    }

    /// What TLS handshakes are made with.
    pub fn tls_server(&self) -> Option<&Arc<Server>> {
        self.server.as_ref()
    }

    /// Reads certificates that have changed, without waiting for the next look.
    pub fn look_at_certificates(&self) {
        if let Some(server) = &self.server {
            server.look(WHOSE);
        }
    }

    /// What was counted since the first of these listeners began, over all reloads.
    pub fn counters(&self) -> Counts {
        self.counters.sum()
    }

    /// The same for later.
    pub fn counting(&self) -> Counting {
        Counting(Arc::clone(&self.counters))
    }

    /// Binds what `settings` ask for, taking over the sockets of addresses that stay.
    ///
    /// Run the result before these listeners are drained: they leave to it what the kernel has queued.
    pub fn rebind(&self, settings: &Settings) -> Result<Bound, BindError> {
        let held = Held {
            udp: self.udp.iter().filter_map(Weak::upgrade).collect(),
            tcp: self.tcp.iter().filter_map(Weak::upgrade).collect(),
            tls: self.tls.iter().filter_map(Weak::upgrade).collect(),
            tickets: self.server.as_ref().and_then(|server| server.tickets().cloned()),
        };
        bind::bind_beside(settings, held, self.counters.clone())
    }

    /// Reads no more, answers what has been read or queued, and ends; at the latest after `patience`.
    pub async fn drain(self, patience: Duration) -> Drained {
        self.closing.ask();
        self.closing.tracker.close();
        let finished = tokio::time::timeout(patience, self.closing.tracker.wait()).await;
        let unfinished = if finished.is_ok() { 0 } else { self.closing.tracker.len() };
        Drained { unfinished }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.closing.ask();
        self.closing.cut_short();
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Listening").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
