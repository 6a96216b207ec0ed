//! What the API counts of itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use parking_lot::Mutex;

use super::problem::Kind;
use crate::telemetry::Counter;

/// Upper bounds of the buckets of answer times, in seconds: from memory, from disk, and what is slow.
pub(super) const SECONDS: [f64; 7] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0];

/// Counters of the listener and of requests.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: Counter,
    pub(super) open_connections: AtomicUsize,
    /// Closed at once, since there are too many.
    pub(super) crowded: Counter,
    /// TLS handshakes that failed or took too long.
    pub(super) handshakes_failed: Counter,
    pub(super) unauthenticated: Counter,
    pub(super) throttled: Counter,
    requests: Mutex<Requests>,
}

/// Requests by method and status, and how long they took.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    pub(super) by_status: BTreeMap<(&'static str, u16), u64>,
    pub(super) seconds: f64,
    /// Those that took up to `SECONDS` each, and those that took longer.
    pub(super) buckets: [u64; SECONDS.len() + 1],
}

impl Counters {
    pub(super) fn count_request(&self, method: &Method, status: StatusCode, took: Duration) {
        let took = took.as_secs_f64();
        let bucket = SECONDS.iter().position(|bound| took <= *bound).unwrap_or(SECONDS.len());
        let mut requests = self.requests.lock();
        *requests.by_status.entry((label(method), status.as_u16())).or_default() += 1;
        requests.seconds += took;
        requests.buckets[bucket] += 1;
    }

    pub(super) fn count_unknown(&self, kind: Kind) {
        match kind {
            Kind::Unauthenticated => self.unauthenticated.add(1),
            Kind::Throttled => self.throttled.add(1),
            _ => {}
        }
    }

    pub(super) fn requests(&self) -> Requests {
        self.requests.lock().clone()
    }

    /// Counts a connection as open until what is returned is dropped.
    pub(super) fn opened(counters: &std::sync::Arc<Counters>) -> Open {
        counters.connections.add(1);
        counters.open_connections.fetch_add(1, Ordering::Relaxed);
        Open(std::sync::Arc::clone(counters))
    }
}

/// A connection that is open.
pub(super) struct Open(std::sync::Arc<Counters>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The label of a method; clients invent others, and each label is a series.
fn label(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}
