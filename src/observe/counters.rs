//! What became of what was seen.

use crate::counters;

counters! {
    /// What the reader of the tap did not keep up with.
    pub struct Counters => Counts in "observed" {
        /// Queries and replies that neither dnstap nor the query log saw, as too many came at once.
        lost,
    }
}

counters! {
    /// Frames of dnstap.
    pub struct FrameCounters => FrameCounts in "dnstap_frames" {
        /// Frames that the collector of dnstap took.
        sent,
        /// Frames that did not reach the collector of dnstap.
        dropped,
    }
}

counters! {
    /// Lines of the query log.
    pub struct LineCounters => LineCounts in "query_log_lines" {
        /// Lines written to the query log.
        written,
        /// Lines that could not be written to the query log.
        dropped,
    }
}

/// Counts what becomes of items that are handed to a writer.
pub(super) trait Tally: Send + Sync {
    fn add_written(&self, items: u64);

    fn add_dropped(&self, items: u64);
}

impl Tally for FrameCounters {
    fn add_written(&self, items: u64) {
        self.sent.add(items);
    }

    fn add_dropped(&self, items: u64) {
        self.dropped.add(items);
    }
}

impl Tally for LineCounters {
    fn add_written(&self, items: u64) {
        self.written.add(items);
    }

    fn add_dropped(&self, items: u64) {
        self.dropped.add(items);
    }
}
