//! Work beside the usual: bounded, so that questions of operators never take what answering the DNS needs.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task;

use super::problem::{Kind, Problem};

/// Explanations at once: each may ask upstreams for as long as a client's question would.
const EXPLANATIONS_MAX: usize = 8;
/// Looks through all endpoints or the whole cache at once, each of some tens of milliseconds on a thread of its own.
const SCANS_MAX: usize = 2;
/// When to come again while there are too many explanations: they last two seconds at most.
const RETRY_SECS: u64 = 2;

/// Places for such work.
pub struct SideWork {
    explanations: Semaphore,
    scans: Semaphore,
}

impl Default for SideWork {
    fn default() -> SideWork {
        SideWork { explanations: Semaphore::new(EXPLANATIONS_MAX), scans: Semaphore::new(SCANS_MAX) }
    }
}

impl SideWork {
    /// A place for one explanation, unless there are too many.
    pub(super) fn explanation(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.explanations.try_acquire().map_err(|_| {
            let detail = format!("{EXPLANATIONS_MAX} explanations are under way; ask again soon");
            Problem::new(Kind::Unavailable, detail).retry_after_secs(RETRY_SECS)
        })
    }

    /// Does what takes long where it holds nobody up; it waits for its turn.
    pub(super) async fn scan<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let _place = self.scans.acquire().await.expect("the places are never closed");
        blocking(look).await
    }
}

/// Does what may block on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = task::spawn_blocking(work).await;
    done.map_err(|_| Problem::new(Kind::Internal, "the log tells more under this request id"))
}
