//! What happens on a connection, to tell an idle or stuck one.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::admin::settings::Limits;

/// What is going on on one connection.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<State>>);

struct State {
    /// Requests whose answer has not ended.
    open: usize,
    /// Those of them that a handler works on.
    handled: usize,
    had_request: bool,
    /// When the last answer ended, at first when the connection began.
    quiet_since: Instant,
    /// When bytes last moved.
    moved: Instant,
    /// A request was answered before its body was read.
    cut: bool,
}

/// Time to take in what a client still sends after its answer.
// Closed with bytes unread, TCP resets the connection, and the client may lose the answer that says why (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);

impl Activity {
    pub(super) fn new() -> Activity {
        let now = Instant::now();
        let state =
            State { open: 0, handled: 0, had_request: false, quiet_since: now, moved: now, cut: false };
        Activity(Arc::new(Mutex::new(state)))
    }

    /// Whether the connection does nothing for too long.
    pub(super) fn is_over(&self, limits: &Limits, now: Instant) -> bool {
        let state = self.0.lock();
        let longer = |since: Instant, time: Duration| now.saturating_duration_since(since) > time;
        match (state.open, state.handled) {
            (0, _) if !state.had_request => longer(state.quiet_since, limits.head),
            (0, _) => longer(state.quiet_since, limits.idle),
            // A client that does not read its answer.
            (_, 0) => longer(state.moved, limits.idle),
            // Requests have their own time.
            _ => false,
        }
    }

    /// A request has come.
    pub(super) fn begin(&self) -> Exchange {
        let mut state = self.0.lock();
        state.open += 1;
        state.handled += 1;
        state.had_request = true;
        Exchange { activity: self.clone(), is_handled: true }
    }

    fn moves(&self) {
        self.0.lock().moved = Instant::now();
    }
}

/// A request and its answer, over when dropped.
pub(super) struct Exchange {
    activity: Activity,
    is_handled: bool,
}

impl Exchange {
    /// The handler is done; what remains is to send.
    pub(super) fn answer(mut self, body: Body) -> Body {
        self.end_handling();
        self.activity.moves();
        Body::new(Sending { body, _exchange: self })
    }

    fn end_handling(&mut self) {
        if std::mem::take(&mut self.is_handled) {
            self.activity.0.lock().handled -= 1;
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end_handling();
        let mut state = self.activity.0.lock();
        state.open -= 1;
        state.quiet_since = Instant::now();
    }
}

/// A body that holds its exchange until its end.
struct Sending {
    body: Body,
    _exchange: Exchange,
}

impl HttpBody for Sending {
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

/// A request's body that notes whether it is read to its end.
pub(super) struct Received {
    body: Incoming,
    activity: Activity,
    is_read: bool,
}

impl Received {
    pub(super) fn new(body: Incoming, activity: Activity) -> Received {
        Received { is_read: body.is_end_stream(), body, activity }
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.is_read |= matches!(polled, Poll::Ready(None)) || self.body.is_end_stream();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if !self.is_read {
            self.activity.0.lock().cut = true;
        }
    }
}

/// A stream whose moving bytes are noted.
pub(super) struct Watched<S> {
    stream: S,
    activity: Activity,
    /// The end of lingering, once it has begun.
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Activity) -> Watched<S> {
        Watched { stream, activity, linger: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if polled.is_ready() {
            self.activity.moves();
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if polled.is_ready() {
            self.activity.moves();
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if polled.is_ready() {
            self.activity.moves();
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            if !self.activity.0.lock().cut {
                return Poll::Ready(Ok(()));
            }
            self.linger = Some(Box::pin(tokio::time::sleep(LINGER)));
        }
        let mut bytes = [0; 8192];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let is_late = self.linger.as_mut().is_some_and(|it| it.as_mut().poll(context).is_ready());
            let read = Pin::new(&mut self.stream).poll_read(context, &mut buffer);
            match (is_late, read) {
                (false, Poll::Pending) => return Poll::Pending,
                (false, Poll::Ready(Ok(()))) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_over_when_nothing_happens() {
        let limits = Limits::default();
        let activity = Activity::new();
        let is_over_after = |time| activity.is_over(&limits, Instant::now() + time);
        let more = Duration::from_millis(1);
        assert!(!is_over_after(limits.head) && is_over_after(limits.head + more), "no request ever came");
        let exchange = activity.begin();
        assert!(!is_over_after(limits.idle * 10), "a handler works");
        let body = exchange.answer(Body::empty());
        assert!(!is_over_after(limits.idle) && is_over_after(limits.idle + more), "the client does not read");
        tokio::time::advance(limits.idle * 2).await;
        drop(body);
        assert!(!is_over_after(limits.idle) && is_over_after(limits.idle + more), "no further request came");
    }
}
