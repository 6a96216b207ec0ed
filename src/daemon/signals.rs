//! Signals, and the end that two of them bring: announced to probes first, so that clients can be sent elsewhere.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use tracing::info;

use super::notify;

/// Signals are received from the start: one that comes while zones are read must not end the process.
pub(super) struct Signals {
    pub hangup: Signal,
    pub nudge: Signal,
    stop: Option<[Signal; 2]>,
}

/// The end of the server, and how long it serves on after it was told.
#[derive(Clone, Default)]
pub(super) struct Ending(Arc<Announced>);

#[derive(Default)]
struct Announced {
    is_announced: AtomicBool,
    lame_duck_secs: AtomicU64,
}

impl Signals {
    pub fn new() -> io::Result<Signals> {
        let stop = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let (hangup, nudge) = (signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?);
        Ok(Signals { hangup, nudge, stop: Some(stop) })
    }

    /// Waits until the server shall stop: some time after SIGTERM, at once on SIGINT or a second SIGTERM.
    pub fn stop(&mut self, ending: Ending) -> impl Future<Output = ()> + use<> {
        let stop = self.stop.take();
        async move {
            let Some([mut terminate, mut interrupt]) = stop else { return };
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => return,
            }
            ending.announce();
            let lame_duck = ending.lame_duck();
            if lame_duck.is_zero() {
                return;
            }
            notify::stopping(lame_duck);
            info!(
                "Stopping in {} seconds: serving on, and /readyz sends clients elsewhere",
                lame_duck.as_secs()
            );
            tokio::select! {
                () = sleep(lame_duck) => {}
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
    }
}

impl Ending {
    /// Tells probes that the server is about to stop.
    pub fn announce(&self) {
        self.0.is_announced.store(true, Ordering::Relaxed);
    }

    pub fn is_announced(&self) -> bool {
        self.0.is_announced.load(Ordering::Relaxed)
    }

    /// Sets how long it serves on.
    pub fn set_lame_duck(&self, time: Duration) {
        self.0.lame_duck_secs.store(time.as_secs(), Ordering::Relaxed);
    }

    fn lame_duck(&self) -> Duration {
        Duration::from_secs(self.0.lame_duck_secs.load(Ordering::Relaxed))
    }
}
