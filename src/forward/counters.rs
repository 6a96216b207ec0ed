//! What forwarding counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Events since the start.
#[derive(Default, Debug)]
pub struct Counters {
    /// Questions that callers asked.
    pub questions: AtomicU64,
    /// Questions that joined one that was in flight already.
    pub coalesced: AtomicU64,
    /// Queries sent to upstreams, retries and probes included.
    pub queries: AtomicU64,
    /// Queries sent over TCP, because of a truncated reply or a suspicious one.
    pub tcp_queries: AtomicU64,
    /// Upstreams that stayed silent on a question.
    pub timeouts: AtomicU64,
    /// Upstreams that could not be reached at all.
    pub network_errors: AtomicU64,
    /// Failures that upstreams answered: codes, referrals, nonsense.
    pub upstream_failures: AtomicU64,
    /// Replies that answered no query of ours: a wrong id or question.
    pub near_misses: AtomicU64,
    /// Replies whose question differed from ours in case only.
    pub case_mismatches: AtomicU64,
    /// Replies over UDP that were truncated and asked for again over TCP.
    pub truncated: AtomicU64,
    /// Replies to queries that were given up before.
    pub late_replies: AtomicU64,
    /// Queries asked again without EDNS, which their upstream does not know.
    pub edns_retries: AtomicU64,
    /// Queries not sent because of `queries_per_second_max`.
    pub shed_rate: AtomicU64,
    /// Questions not asked because too many were in flight.
    pub shed_in_flight: AtomicU64,
    /// Questions not asked because their rule or their client network had its share of those in flight.
    pub shed_share: AtomicU64,
    /// Questions turned away because too many waited for the same one.
    pub shed_waiters: AtomicU64,
    /// Questions of ours that came back to us.
    pub loops: AtomicU64,
    /// Probes sent to find out whether an upstream leads back to us.
    pub loop_probes: AtomicU64,
    /// Questions of our own, sent to upstreams that are silent or down.
    pub checkups: AtomicU64,
    /// Questions asked ahead of the end of what the cache holds.
    pub prefetches: AtomicU64,
    /// Questions that no upstream answered and the cache could, past the entry's end.
    pub stale_answers: AtomicU64,
    /// Questions that ended in a failure.
    pub failures: AtomicU64,
    /// Upstreams that were marked down.
    pub upstreams_down: AtomicU64,
    /// UDP sockets opened.
    pub sockets_opened: AtomicU64,
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
