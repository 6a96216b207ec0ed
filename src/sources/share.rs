//! What instances have told each other of one source.

use super::status::{Mark, Status};

/// Of one source, as this instance knows it.
#[derive(Clone, Default)]
pub(super) struct Share {
    /// What is published is in no document yet.
    pub is_unshared: bool,
    /// A pass has ended of which the others do not know.
    pub is_untold: bool,
    /// The term in which a pass of ours was last published.
    pub published_in: Option<u64>,
    /// The term in which one last ended, whatever came of it.
    pub ended_in: Option<u64>,
    /// The document that was last taken from the others, or given to them.
    pub document: Option<Mark>,
    /// The document that is being given to them.
    pub offered: Option<Mark>,
    /// Why the document of the others is not served.
    pub trouble: Option<String>,
    /// What the instance that lists said last.
    pub status: Option<Status>,
}
