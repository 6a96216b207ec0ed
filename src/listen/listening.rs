//! Listeners that serve, and how they end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::Service;
use super::bind::{self, Bound};
use super::closing::Closing;
use super::connection::TcpService;
use super::counters::{Counters, Counting, Counts};
use super::error::BindError;
use super::limits::Connections;
use super::relaying::UdpService;
use super::settings::Settings;
use super::sockets::{TcpSocket, UdpSocket, ask_for_room};
use super::tcp::Acceptor;
use super::udp::{self, UdpWorker};
use super::waiting::Waiting;

/// Listeners that serve; dropped without `drain`, they end without finishing what waits.
pub struct Listening {
    addresses: Vec<SocketAddr>,
    counters: Arc<Counters>,
    closing: Arc<Closing>,
    udp: Vec<Weak<UdpSocket>>,
    tcp: Vec<Weak<TcpSocket>>,
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
            addresses: self.addresses,
            counters: self.counters.clone(),
            closing: closing.clone(),
            udp: self.udp.iter().map(Arc::downgrade).collect(),
            tcp: self.tcp.iter().map(Arc::downgrade).collect(),
        };
        let tcp_settings = self.settings.tcp.clone();
        let waiting = Waiting::new(&self.settings, self.counters.met.clone());
        self.counters.set_in_force(&waiting, tcp_settings.connections_max);
        let shared = Arc::new(TcpService {
            service: service.clone(),
            connections: Connections::new(&tcp_settings),
            waiting: waiting.clone(),
            settings: tcp_settings,
            counters: self.counters.clone(),
            closing: closing.clone(),
        });
        let _context = runtime.enter();
        for socket in self.tcp {
            let address = socket.address;
            let acceptor = Acceptor::new(socket, shared.clone())
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
        let udp = self.udp.iter().filter_map(Weak::upgrade).collect();
        let tcp = self.tcp.iter().filter_map(Weak::upgrade).collect();
        bind::bind_beside(settings, udp, tcp, self.counters.clone())
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
