//! The end of listeners.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long an ending connection may take to send a message it has begun, or its first.
pub const LAST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(1);

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

    /// Waits until a client that has said nothing yet has had its time since no more shall be begun.
    pub async fn last_moment(&self) {
        self.asked().await;
        let _ = timeout(LAST_MESSAGE_TIMEOUT, self.cut()).await;
    }

    /// Has nothing be finished any more.
    pub fn cut_short(&self) {
        self.cut.cancel();
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
