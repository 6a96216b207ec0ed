//! What happens on a connection, to tell an idle or stuck one.

use std::collections::HashMap;
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
    had_request: bool,
    /// When the last answer ended, at first when the connection began.
    quiet_since: Instant,
    /// Answers on their way, by number.
    sending: HashMap<u64, Sent>,
    /// The number of the next one.
    next: u64,
    /// A request was answered before its body was read.
    cut: bool,
}

/// How far an answer has come.
struct Sent {
    since: Instant,
    bytes: u64,
}

/// What a client must take of each answer beyond the first moments: less, and it holds memory for nothing. Pings and
/// further requests do not count.
const BYTES_PER_SEC_MIN: u64 = 16 << 10;

/// What is handed on of an answer at once, so that what a client has not taken is still here to be counted.
const PIECE_BYTES_MAX: usize = 32 << 10;

/// Time to take in what a client still sends after its answer: the largest body over a slow line.
// Closed with bytes unread, TCP resets the connection, and the client may lose the answer that says why (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(10);

impl Activity {
    pub(super) fn new() -> Activity {
        let state = State {
            open: 0,
            had_request: false,
            quiet_since: Instant::now(),
            sending: HashMap::new(),
            next: 0,
            cut: false,
        };
        Activity(Arc::new(Mutex::new(state)))
    }

    /// Whether the connection does nothing for too long.
    pub(super) fn is_over(&self, limits: &Limits, now: Instant) -> bool {
        let state = self.0.lock();
        let longer = |since: Instant, time: Duration| now.saturating_duration_since(since) > time;
        match state.open {
            0 if !state.had_request => longer(state.quiet_since, limits.head),
            0 => longer(state.quiet_since, limits.idle),
            // A client that does not read an answer. Requests have their own time.
            _ => state.sending.values().any(|sent| {
                longer(sent.since, limits.idle + Duration::from_secs(sent.bytes / BYTES_PER_SEC_MIN))
            }),
        }
    }

    /// Whether a request was answered before its body was read, so that no other can follow it over HTTP/1.
    pub(super) fn is_cut(&self) -> bool {
        self.0.lock().cut
    }

    /// A request has come.
    pub(super) fn begin(&self) -> Exchange {
        let mut state = self.0.lock();
        state.open += 1;
        state.had_request = true;
        state.next += 1;
        Exchange { activity: self.clone(), number: state.next }
    }
}

/// A request and its answer, over when dropped.
pub(super) struct Exchange {
    activity: Activity,
    number: u64,
}

impl Exchange {
    /// The handler is done; what remains is to send.
    pub(super) fn answer(self, body: Body) -> Body {
        let sent = Sent { since: Instant::now(), bytes: 0 };
        self.activity.0.lock().sending.insert(self.number, sent);
        Body::new(Sending { body, rest: Bytes::new(), exchange: self })
    }

    fn sends(&self, bytes: usize) {
        if let Some(sent) = self.activity.0.lock().sending.get_mut(&self.number) {
            sent.bytes += bytes as u64;
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.activity.0.lock();
        state.sending.remove(&self.number);
        state.open -= 1;
        state.quiet_since = Instant::now();
    }
}

/// A body in pieces that holds its exchange until its end.
struct Sending {
    body: Body,
    /// What the body gave and was not handed on.
    rest: Bytes,
    exchange: Exchange,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)).transpose()?.map(Frame::into_data) {
                None => return Poll::Ready(None),
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                Some(Ok(data)) => self.rest = data,
            }
        }
        let count = self.rest.len().min(PIECE_BYTES_MAX);
        let piece = self.rest.split_to(count);
        self.exchange.sends(count);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(body.lower() + rest);
        hint
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

/// A stream that lingers at its end where a request was cut.
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
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
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
            if !self.activity.is_cut() {
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

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_be_read_slowly_but_not_never() {
        let limits = Limits::default();
        let activity = Activity::new();
        let (stuck, slow) = (activity.begin(), activity.begin());
        let large = Bytes::from(vec![b'x'; 100 * PIECE_BYTES_MAX]);
        let mut slow = slow.answer(Body::from(large.clone()));
        assert_eq!(HttpBody::size_hint(&slow).exact(), Some(large.len() as u64));
        let piece = async |body: &mut Body| {
            let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
            frame.unwrap().unwrap().into_data().unwrap().len()
        };
        for _ in 0..99 {
            tokio::time::advance(Duration::from_secs(2)).await;
            assert_eq!(piece(&mut slow).await, PIECE_BYTES_MAX);
            assert!(!activity.is_over(&limits, Instant::now()), "it is read, and longer than `idle`");
        }
        assert_eq!(HttpBody::size_hint(&slow).exact(), Some(PIECE_BYTES_MAX as u64));
        let stuck = stuck.answer(Body::from(large));
        tokio::time::advance(limits.idle + Duration::from_secs(1)).await;
        let _others = activity.begin();
        assert!(activity.is_over(&limits, Instant::now()), "others do not hold it open");
        drop((stuck, slow));
        assert!(!activity.is_over(&limits, Instant::now()));
    }
}
