//! Work that takes long, done a few at a time on threads that may block: it must not take what answering the DNS needs.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task;

use super::refusal::{Refusal, RefusalKind};

/// Places for such work.
#[derive(Clone)]
pub struct Turns(Arc<Semaphore>);

impl Turns {
    /// So many at once.
    pub fn new(max: usize) -> Turns {
        Turns(Arc::new(Semaphore::new(max)))
    }

    /// Does it where it holds nobody up; it waits for its turn.
    pub async fn take<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = Arc::clone(&self.0).acquire_owned().await.expect("the places are never closed");
        // The thread has the place: it works on when the client is gone.
        blocking(move || {
            let _place = place;
            work()
        })
        .await
    }
}

/// Does what may block on a thread that may.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let done = task::spawn_blocking(work).await;
    done.map_err(|_| Refusal::new(RefusalKind::Internal, "the log tells more under this request id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn who_goes_away_leaves_no_place_to_others_before_the_work_ends() {
        let turns = Turns::new(2);
        let mut ends = Vec::new();
        for _ in 0..2 {
            let ((begun, has_begun), (end, ended)) = (tokio::sync::oneshot::channel(), mpsc::channel::<()>());
            ends.push(end);
            let turns = turns.clone();
            let asking = tokio::spawn(async move {
                turns
                    .take(move || {
                        begun.send(()).unwrap();
                        let _ = ended.recv();
                    })
                    .await
            });
            has_begun.await.unwrap();
            asking.abort();
            assert!(asking.await.unwrap_err().is_cancelled());
        }
        assert_eq!(turns.0.available_permits(), 0, "the threads work on");
        drop(ends);
        turns.take(|| ()).await.unwrap();
    }
}
