//! Listeners that serve, and how they end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bind::{self, BindError, Bound};
use super::counters::{Counters, Counting, Counts};
use super::settings::Settings;
use super::tcp::TcpSocket;
use super::udp::UdpSocket;

/// Listeners that serve; dropped without `drain`, they end without finishing what waits.
pub struct Listening {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) counters: Arc<Counters>,
    pub(super) closing: Arc<Closing>,
    pub(super) udp: Vec<Weak<UdpSocket>>,
    pub(super) tcp: Vec<Weak<TcpSocket>>,
}

/// What was unfinished when patience ended: threads, connections and requests waiting for upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    pub unfinished: usize,
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
        self.closing.cut.cancel();
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Listening").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// The end of one generation of listeners, and who still has to reach it.
#[derive(Debug, Default)]
pub struct Closing {
    /// The same as `asked`, for threads to look at without a lock.
    flag: AtomicBool,
    asked: CancellationToken,
    cut: CancellationToken,
    pub tracker: TaskTracker,
}

impl Closing {
    pub fn ask(&self) {
        self.flag.store(true, Ordering::Relaxed);
        self.asked.cancel();
    }

    pub fn is_asked(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Waits until no more shall be begun.
    pub async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// Whether nothing shall be finished any more.
    pub fn is_cut(&self) -> bool {
        self.cut.is_cancelled()
    }

    /// Waits until nothing shall be finished any more.
    pub async fn cut(&self) {
        self.cut.cancelled().await;
    }
}
