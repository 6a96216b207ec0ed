//! Work beside the usual: bounded, so that questions of operators never take what answering the DNS needs.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::problem::{Kind, Problem};
use crate::ledger::Refusal;
use crate::ledger::Turns;

/// Explanations at once: each may ask upstreams for as long as a client's question would.
const EXPLANATIONS_MAX: usize = 8;
/// Looks through all endpoints, a whole zone or the whole cache at once: each takes a thread of its own for up to a second,
/// and threads of these must not outnumber those that answer the DNS.
const SCANS_MAX: usize = 2;
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
    scans: Turns,
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
            scans: Turns::new(SCANS_MAX),
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
    ) -> Result<T, Refusal> {
        self.scans.take(look).await
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
