//! Why an operator's wish is not followed.

use crate::sync::Fingerprint;

/// A source that config does not name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no source `{0}`")]
pub struct NoSuchSource(pub String);

/// Why nothing was begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NudgeError {
    #[error(transparent)]
    NoSuchSource(#[from] NoSuchSource),
    /// Another instance lists, and whether it heard is not known.
    #[error("{0}")]
    NotTold(String),
}

/// Why a plan is not let pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmError {
    #[error(transparent)]
    NoSuchSource(#[from] NoSuchSource),
    #[error("nothing of this source is held back")]
    NothingHeldBack,
    #[error("what is held back is another plan by now: {now}")]
    OtherPlan { now: Fingerprint },
    #[error("the confirmation cannot be kept: {0}")]
    NotKept(String),
    /// Another instance lists, and whether it heard is not known.
    #[error("{0}")]
    NotTold(String),
}
