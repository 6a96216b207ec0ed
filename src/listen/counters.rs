//! What the listeners count, and the sums that metrics show.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::failure::Failure;
use super::met::{LimitMet, LimitsMet};
use super::waiting::Waiting;
use crate::counters;
use crate::telemetry::when::unix_secs;
use crate::telemetry::{Counter, Families, Measured, label};
use crate::tls::Server;

counters! {
    /// The counters of one UDP thread.
    pub struct UdpCounters => UdpCounts in "udp" {
        /// Messages read.
        queries,
        /// Replies the kernel took.
        replies,
        /// Messages answered after waiting for upstream.
        waited,
        /// Messages that get no reply by decision of the service.
        dropped,
        /// Messages that could not wait because `udp_waiting_max` waited already, or the share of their network.
        waiting_max_reached,
        /// Messages that could not wait because `wait_limit` of their network did.
        wait_limit_reached,
        /// Replies that waited on, as too many were ready at once.
        paced,
        /// Replies not sent, as their turn would have come too late.
        paced_out,
        /// Messages longer than the buffer, of which the first part was read.
        oversized,
        /// Messages of proxies that do not say whom they speak for; they get no reply.
        bad_proxy_headers,
        /// Replies the kernel refused to send.
        send_failures,
        /// Errors of reading, other than having nothing to read.
        receive_failures,
        /// Messages the kernel dropped because the socket's buffer was full.
        kernel_drops,
        /// Messages whose answering panicked.
        panics,
    }
}

counters! {
    /// The counters of all TCP connections, those with TLS included.
    pub struct TcpCounters => TcpCounts in "tcp" {
        /// Connections taken on.
        connections,
        /// Connections that ended, for whatever reason.
        connections_closed,
        /// Messages read.
        queries,
        /// Replies written.
        replies,
        /// Messages answered after waiting for upstream.
        waited,
        /// Messages that get no reply by decision of the service.
        dropped,
        /// Messages that could not wait because `waiting_max` waited already, or the share of their network.
        waiting_max_reached,
        /// Messages that could not wait because `wait_limit` of their network did.
        wait_limit_reached,
        /// Connections closed because all `connections_max` were busy.
        connections_max_reached,
        /// Connections closed to make room for new ones: idle, or with half a message, or replies that were not taken.
        evicted,
        /// Connections closed because their client had `connections_per_client_max`, all of them busy.
        connections_per_client_max_reached,
        /// Times a connection was not read on because `in_flight_max` of its messages waited.
        in_flight_max_reached,
        /// Connections closed after `messages_max`.
        messages_max_reached,
        /// Connections closed after `idle_timeout`.
        idle_timeouts,
        /// Connections closed after `message_timeout`.
        message_timeouts,
        /// Connections closed after `write_timeout`.
        write_timeouts,
        /// Connections closed for a message of no length.
        empty_messages,
        /// Connections of proxies closed because they did not say whom they speak for.
        bad_proxy_headers,
        /// Connections the kernel failed to hand over, most often for want of file descriptors.
        accept_failures,
        /// Messages whose answering panicked.
        panics,
    }
}

counters! {
    /// The counters of TLS handshakes.
    pub struct TlsCounters => TlsCounts in "tls" {
        /// TLS handshakes that succeeded.
        handshakes,
        /// Those that resumed a session.
        resumed_handshakes,
        /// Handshakes that were ended to make room for new ones.
        evicted_handshakes,
    }
}

/// Everything that listeners counted since the server began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub udp: UdpCounts,
    pub tcp: TcpCounts,
    pub tls: TlsCounts,
}

/// The counters of all listeners; they go on counting over a reload.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// One a UDP thread; a thread that ended leaves its own to the next.
    udp: Mutex<Vec<Arc<UdpCounters>>>,
    pub tcp: TcpCounters,
    pub tls: TlsCounters,
    /// By the places of their reasons.
    pub failures: [Counter; Failure::ALL.len()],
    /// Client networks that met a bound.
    pub met: Arc<LimitsMet>,
    in_force: Mutex<InForce>,
}

/// Of the listeners in force.
#[derive(Clone, Debug, Default)]
pub(super) struct InForce {
    /// Their messages that wait.
    pub waiting: Weak<Waiting>,
    /// How many TCP connections may be open.
    pub connections_max: usize,
    /// What TLS handshakes are made with.
    pub server: Option<Weak<Server>>,
}

/// What listeners count, for whoever outlives them: it goes on over all reloads.
#[derive(Clone, Debug)]
pub struct Counting(pub(super) Arc<Counters>);

impl Counting {
    /// What was counted since the first of the listeners began.
    pub fn counts(&self) -> Counts {
        self.0.sum()
    }

    /// Client networks that met a bound of waiting within this time, the heaviest first.
    pub fn limits_met(&self, within: Duration) -> Vec<LimitMet> {
        self.0.met.of_late(within)
    }
}

impl Measured for Counting {
    fn measure(&self, families: &mut Families) {
        let Counts { udp, tcp, tls } = self.counts();
        udp.measure(families);
        tcp.measure(families);
        tls.measure(families);
        let failures = Failure::ALL.into_iter().zip(&self.0.failures);
        let failures = failures.map(|(reason, count)| (label("reason", reason.word()), count.value()));
        families.counters("tls_handshake_failures", "TLS handshakes that failed, by reason", failures);
        let open = tcp.connections.saturating_sub(tcp.connections_closed);
        families.gauge("tcp_open_connections", "Connections that are open", open as f64);
        let InForce { waiting, connections_max, server } = self.0.in_force.lock().clone();
        families.gauge("tcp_open_connections_limit", "Connections that may be open", connections_max as f64);
        let identities = server.and_then(|server| server.upgrade()).map(|server| server.identities());
        let ends = identities.iter().flat_map(|identities| identities.pairs()).map(|pair| {
            let file = pair.files().certificate.display().to_string();
            (label("certificate", file), unix_secs(pair.ends_at()))
        });
        let about = "Unix time at which a certificate of DNS over TLS ends";
        families.gauges("tls_certificate_end_timestamp_seconds", about, ends);
        let Some(waiting) = waiting.upgrade() else { return };
        let by_transport = |[udp, tcp]: [usize; 2]| {
            [("udp", udp), ("tcp", tcp)].map(|(word, number)| (label("transport", word), number as f64))
        };
        families.gauges("waiting", "Queries that wait for an upstream", by_transport(waiting.taken()));
        families.gauges(
            "waiting_limit",
            "Queries that may wait for an upstream",
            by_transport(waiting.limits()),
        );
    }
}

impl Counters {
    /// Counters for a UDP thread.
    pub fn for_worker(&self) -> Arc<UdpCounters> {
        let mut udp = self.udp.lock();
        if let Some(free) = udp.iter().find(|counters| Arc::strong_count(counters) == 1) {
            return free.clone();
        }
        let counters = Arc::<UdpCounters>::default();
        udp.push(counters.clone());
        counters
    }

    /// From now on these listeners are in force.
    pub fn set_in_force(&self, in_force: InForce) {
        *self.in_force.lock() = in_force;
    }

    pub fn sum(&self) -> Counts {
        let mut counts = Counts::default();
        for worker in self.udp.lock().iter() {
            counts.udp.add(worker);
        }
        counts.tcp.add(&self.tcp);
        counts.tls.add(&self.tls);
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_ended_worker_counted_stays_and_its_counters_are_used_again() {
        let counters = Counters::default();
        let first = counters.for_worker();
        first.queries.add(3);
        let second = counters.for_worker();
        second.queries.add(4);
        drop(first);
        counters.for_worker().queries.add(5);
        assert_eq!(counters.sum().udp.queries, 12);
        assert_eq!(counters.udp.lock().len(), 2);
    }
}
