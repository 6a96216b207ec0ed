//! What forwarding counts.

use crate::counters;

counters! {
    /// Events since the start.
    pub struct Counters => Counts in "forward" {
        /// Questions that callers asked.
        questions,
        /// Questions that joined one that was in flight already.
        coalesced,
        /// Queries sent to upstreams, retries and probes included.
        queries,
        /// Queries sent over TCP, because of a truncated reply or a suspicious one.
        tcp_queries,
        /// Queries sent over TLS.
        tls_queries,
        /// Connections made to upstreams that are asked over TLS, or over TCP alone.
        connections_opened,
        /// Questions asked again because the connection ended that they were asked on.
        asked_again,
        /// Queries that upstreams left unanswered.
        timeouts,
        /// Upstreams that could not be reached at all.
        network_errors,
        /// Failures that upstreams answered: codes, referrals, nonsense.
        upstream_failures,
        /// Replies that answered no query of ours: a wrong id or question.
        near_misses,
        /// Replies whose question differed from ours in case only.
        case_mismatches,
        /// Replies over UDP that were truncated and asked for again over TCP.
        truncated,
        /// Replies to queries that were given up before.
        late_replies,
        /// Queries asked again without EDNS, which their upstream does not know.
        edns_retries,
        /// Queries not sent because of `queries_per_second_max`.
        shed_rate,
        /// Questions not asked because too many were in flight.
        shed_in_flight,
        /// Questions not asked because their rule or their client network had its share of those in flight.
        shed_share,
        /// Questions turned away because too many waited for the same one.
        shed_waiters,
        /// Questions of ours that came back to us.
        loops,
        /// Probes sent to find out whether an upstream leads back to us.
        loop_probes,
        /// Questions of our own, sent to upstreams that are silent or down.
        checkups,
        /// Questions asked ahead of the end of what the cache holds.
        prefetches,
        /// Questions that no upstream answered and the cache could, past the entry's end.
        stale_answers,
        /// Questions that ended in a failure.
        failures,
        /// Upstreams that were marked down.
        upstreams_down,
        /// UDP sockets opened.
        sockets_opened,
    }
}
