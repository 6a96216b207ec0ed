//! Whether clients are to be sent to this server, and what of it is not as it should be.

use serde::Serialize;
use utoipa::ToSchema;

/// What probes are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Why clients are to be sent elsewhere; empty when ready.
    pub not_ready: Vec<NotReady>,
    /// What is amiss while all that is known is served. It sends nobody elsewhere: what all instances depend on, as on
    /// Azure, fails for all of them at once.
    pub degraded: Vec<Degraded>,
}

/// A part that is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct NotReady {
    #[schema(example = "server")]
    pub part: String,
    /// What it waits for.
    #[schema(example = "its end: it was told to stop")]
    pub waits_for: String,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Degraded {
    pub reason: DegradedReason,
    #[schema(example = "sync/azure")]
    pub part: String,
    /// In words, for people.
    #[schema(example = "it cannot be read now: its records stay as they were")]
    pub detail: String,
}

/// The kinds of it, each with a series of the gauge `degraded`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DegradedReason {
    /// Nothing is known of a source, not even from before the restart.
    SourceUnread,
    /// A source cannot be read, or only in part.
    SourceStale,
    /// Withdrawals of a source wait for an operator.
    SourceHeldBack,
    /// What is published was not restored, or is not kept for a restart.
    StateNotKept,
    /// The store is away or damaged.
    StoreAway,
    /// The disk of the store is full.
    StoreFull,
    /// No upstream answers.
    NoUpstream,
}

impl DegradedReason {
    pub const ALL: [DegradedReason; 7] = [
        DegradedReason::SourceUnread,
        DegradedReason::SourceStale,
        DegradedReason::SourceHeldBack,
        DegradedReason::StateNotKept,
        DegradedReason::StoreAway,
        DegradedReason::StoreFull,
        DegradedReason::NoUpstream,
    ];

    /// The word for it in answers and labels.
    pub fn word(self) -> &'static str {
        match self {
            DegradedReason::SourceUnread => "source-unread",
            DegradedReason::SourceStale => "source-stale",
            DegradedReason::SourceHeldBack => "source-held-back",
            DegradedReason::StateNotKept => "state-not-kept",
            DegradedReason::StoreAway => "store-away",
            DegradedReason::StoreFull => "store-full",
            DegradedReason::NoUpstream => "no-upstream",
        }
    }
}

impl Degraded {
    pub fn new(reason: DegradedReason, part: impl Into<String>, detail: impl Into<String>) -> Degraded {
        Degraded { reason, part: part.into(), detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_labels_have_the_same_words() {
        for reason in DegradedReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.word());
        }
    }
}
