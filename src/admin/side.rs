//! Work beside the usual: bounded, so that questions of operators never take what answering the DNS needs.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::task;

use super::problem::{Kind, Problem};

/// Explanations at once: each may ask upstreams for as long as a client's question would.
const EXPLANATIONS_MAX: usize = 8;
/// Looks through all endpoints, a whole zone or the whole cache at once: each takes a thread of its own for up to a second,
/// and threads of these must not outnumber those that answer the DNS.
const SCANS_MAX: usize = 2;
/// Large writes that are read and validated at once. They have places of their own: who may only read must not hold up
/// those who write.
const PREPARATIONS_MAX: usize = 2;
/// Whole zones that are on their way to clients at once: each is held in memory until it is taken.
const EXPORTS_MAX: usize = 4;
/// Answers of more than a few records on their way to clients at once, and what they are: each is held in memory until it
/// is taken, and a page of record sets has up to a MiB.
const LARGE_ANSWERS_MAX: usize = 256;
const LARGE_ANSWER_BYTES: u64 = 64 << 10;
/// When to come again while there are too many explanations: they last two seconds at most.
const RETRY_SECS: u64 = 2;

/// Places for such work.
pub struct SideWork {
    explanations: Semaphore,
    scans: Arc<Semaphore>,
    preparations: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    large_answers: Arc<Semaphore>,
}

/// A place that is free again when it is dropped.
pub(super) struct Place {
    _place: OwnedSemaphorePermit,
}

impl Default for SideWork {
    fn default() -> SideWork {
        SideWork {
            explanations: Semaphore::new(EXPLANATIONS_MAX),
            scans: Arc::new(Semaphore::new(SCANS_MAX)),
            preparations: Arc::new(Semaphore::new(PREPARATIONS_MAX)),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
            large_answers: Arc::new(Semaphore::new(LARGE_ANSWERS_MAX)),
        }
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

    /// A place for a zone that is sent whole; it waits for its turn.
    pub(super) async fn export(&self) -> Place {
        let place = Arc::clone(&self.exports).acquire_owned().await;
        Place { _place: place.expect("the places are never closed") }
    }

    /// An answer as it is if it is small; a large one takes a place, or goes back into nothing.
    pub(super) fn bounded(&self, response: Response) -> Response {
        if response.body().size_hint().upper().is_some_and(|bytes| bytes <= LARGE_ANSWER_BYTES) {
            return response;
        }
        match Arc::clone(&self.large_answers).try_acquire_owned() {
            Ok(place) => Place { _place: place }.until_sent(response),
            Err(_) => {
                let detail = format!("{LARGE_ANSWERS_MAX} large answers are on their way; ask again soon");
                Problem::new(Kind::Unavailable, detail).retry_after_secs(RETRY_SECS).into_response()
            }
        }
    }

    /// Looks where it holds nobody up; it waits for its turn.
    pub(super) async fn scan<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        in_turn(&self.scans, look).await
    }

    /// Reads or validates a large write where it holds nobody up; it waits for its turn.
    pub(super) async fn prepare<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        in_turn(&self.preparations, work).await
    }
}

async fn in_turn<T: Send + 'static>(
    places: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let place = Arc::clone(places).acquire_owned().await.expect("the places are never closed");
    // The thread has the place: it works on when the client is gone.
    blocking(move || {
        let _place = place;
        work()
    })
    .await
}

impl Place {
    /// The same answer, which has the place until all of it is taken.
    pub(super) fn until_sent(self, response: Response) -> Response {
        response.map(|body| Body::new(Placed { body, _place: self }))
    }
}

/// A body with a place.
struct Placed {
    body: Body,
    _place: Place,
}

impl HttpBody for Placed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Does what may block on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = task::spawn_blocking(work).await;
    done.map_err(|_| Problem::new(Kind::Internal, "the log tells more under this request id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn who_goes_away_leaves_no_place_to_others_before_the_work_ends() {
        let side = Arc::new(SideWork::default());
        let mut ends = Vec::new();
        for _ in 0..SCANS_MAX {
            let ((begun, has_begun), (end, ended)) = (tokio::sync::oneshot::channel(), mpsc::channel::<()>());
            ends.push(end);
            let side = Arc::clone(&side);
            let asking = tokio::spawn(async move {
                side.scan(move || {
                    begun.send(()).unwrap();
                    let _ = ended.recv();
                })
                .await
            });
            has_begun.await.unwrap();
            asking.abort();
            assert!(asking.await.unwrap_err().is_cancelled());
        }
        assert_eq!(side.scans.available_permits(), 0, "the threads work on");
        drop(ends);
        side.scan(|| ()).await.unwrap();
    }

    #[tokio::test]
    async fn a_zone_has_its_place_until_it_is_sent() {
        let side = SideWork::default();
        let answer = side.export().await.until_sent(Response::new(Body::from("a")));
        assert_eq!(answer.body().size_hint().exact(), Some(1));
        assert_eq!(side.exports.available_permits(), EXPORTS_MAX - 1);
        drop(answer);
        assert_eq!(side.exports.available_permits(), EXPORTS_MAX);
    }

    #[tokio::test]
    async fn large_answers_on_their_way_have_a_bound() {
        let side = SideWork::default();
        let answer = |bytes: u64| side.bounded(Response::new(Body::from(vec![b'x'; bytes as usize])));
        let held: Vec<Response> = (0..LARGE_ANSWERS_MAX).map(|_| answer(LARGE_ANSWER_BYTES + 1)).collect();
        assert!(held.iter().all(|it| it.status() == 200));
        assert_eq!(answer(LARGE_ANSWER_BYTES + 1).status(), 503);
        assert_eq!(answer(LARGE_ANSWER_BYTES).status(), 200);
        drop(held);
        assert_eq!(answer(LARGE_ANSWER_BYTES + 1).status(), 200);
    }
}
