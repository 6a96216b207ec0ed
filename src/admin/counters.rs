//! What the API counts of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use parking_lot::Mutex;

use super::problem::Kind;
use crate::counters;
use crate::telemetry::{Durations, Families, Histogram, Measured};

counters! {
    /// Counters of connections, and of requests that are turned away.
    pub(super) struct Doors => DoorCounts in "admin" {
        /// Connections taken.
        connections,
        /// Connections that ended.
        connections_closed,
        /// Connections closed at once, since there were too many.
        crowded_connections,
        /// TLS handshakes that failed or took too long.
        failed_handshakes,
        /// Requests without a right token or certificate.
        unauthenticated,
        /// Requests refused after too many failed attempts.
        throttled,
    }
}

/// What the API counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) doors: Doors,
    requests: Mutex<Requests>,
    /// Until their answers began.
    durations: Histogram,
}

/// Requests by method and status, and how long they took until their answers began.
type Requests = BTreeMap<(&'static str, u16), u64>;

impl Counters {
    pub(super) fn count_request(&self, method: &Method, status: StatusCode, took: Duration) {
        self.durations.add(took, 1);
        *self.requests.lock().entry((method_word(method), status.as_u16())).or_default() += 1;
    }

    pub(super) fn count_unknown(&self, kind: Kind) {
        match kind {
            Kind::Unauthenticated => self.doors.unauthenticated.add(1),
            Kind::Throttled => self.doors.throttled.add(1),
            _ => {}
        }
    }

    /// Counts a connection as open until what is returned is dropped.
    pub(super) fn opened(counters: &std::sync::Arc<Counters>) -> Open {
        counters.doors.connections.add(1);
        Open(std::sync::Arc::clone(counters))
    }
}

impl Measured for Counters {
    fn measure(&self, families: &mut Families) {
        let requests = self.requests.lock().clone();
        let requests = requests.into_iter().map(|((method, status), count)| {
            (vec![("method", method.to_owned()), ("status", status.to_string())], count)
        });
        families.counters("admin_requests", "Requests to the admin API", requests);
        let mut durations = Durations::default();
        durations.add(&self.durations);
        let about = "Time until an answer of the admin API begins";
        families.histograms("admin_request_duration_seconds", about, [(Vec::new(), durations)]);
        let doors = self.doors.counts();
        doors.measure(families);
        let open = doors.connections.saturating_sub(doors.connections_closed);
        families.gauge("admin_open_connections", "Open connections of the admin API", open as f64);
    }
}

/// A connection that is open.
pub(super) struct Open(std::sync::Arc<Counters>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.doors.connections_closed.add(1);
    }
}

/// The label of a method; clients invent others, and each label is a series.
fn method_word(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}
