//! Why something that was asked for is not done: what kind of no it is, where the mistake stands, and what to do.

use std::borrow::Cow;

use tracing::error;

use crate::persist::PersistError;
use crate::telemetry::in_full;

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// What is at fault, as whoever asks calls it: a JSON pointer, a parameter, a line.
    pub at: Option<String>,
    /// What is wrong here and what to do.
    pub why: Cow<'static, str>,
    /// Further faults of the same request.
    pub others: Vec<Refusal>,
    /// Faults beyond this one, also those that are too many to be told.
    pub others_total: usize,
}

/// The sorts of refusals, by what whoever asks can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// A value is wrong.
    Invalid,
    /// The caller's token ended meanwhile.
    Unauthenticated,
    /// The caller lacks the role.
    Forbidden,
    /// The caller may not change this name.
    OutOfScope,
    NotFound,
    /// It goes against what is there.
    Conflict,
    /// It has changed meanwhile.
    PreconditionFailed,
    /// It must be said which state is changed.
    PreconditionRequired,
    TooLarge,
    /// It cannot be done now.
    Unavailable {
        retry_secs: u64,
    },
    /// It may be stored, or not.
    Unsettled {
        retry_secs: u64,
    },
    /// It is stored as this revision, and not served yet.
    NotServedYet {
        revision: u64,
    },
    /// The server made a mistake.
    Internal,
}

impl Refusal {
    pub fn new(kind: RefusalKind, why: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { kind, at: None, why: why.into(), others: Vec::new(), others_total: 0 }
    }

    /// A wrong value.
    pub fn invalid(at: impl Into<String>, why: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::new(RefusalKind::Invalid, why).at(at)
    }

    /// Names what is at fault.
    pub fn at(mut self, at: impl Into<String>) -> Refusal {
        self.at = Some(at.into());
        self
    }
}

/// What the store's no means to whoever asks.
impl From<&PersistError> for Refusal {
    fn from(found: &PersistError) -> Refusal {
        match found {
            PersistError::Unavailable { retry_after, .. }
            | PersistError::Full { retry_after, .. }
            | PersistError::Away { retry_after, .. } => {
                let retry_secs = retry_after.as_secs().max(1);
                Refusal::new(RefusalKind::Unavailable { retry_secs }, found.to_string())
            }
            PersistError::Unsettled { retry_after, .. } => {
                let retry_secs = retry_after.as_secs().max(1);
                let why =
                    format!("{found}; look before you send it again, or send it with an Idempotency-Key");
                Refusal::new(RefusalKind::Unsettled { retry_secs }, why)
            }
            PersistError::KeyReused => {
                let why = "this key was sent with another request; send a new key with a new request";
                Refusal::invalid("Idempotency-Key", why)
            }
            PersistError::TooLarge { .. } => {
                Refusal::new(RefusalKind::TooLarge, format!("{found}; send it in several requests"))
            }
            PersistError::Precondition { .. } => {
                Refusal::new(RefusalKind::PreconditionFailed, found.to_string())
            }
            _ => {
                error!("The store failed: {}", in_full(found));
                let why = "the store failed; the log tells more under this request id";
                Refusal::new(RefusalKind::Internal, why)
            }
        }
    }
}
