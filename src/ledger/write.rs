//! What somebody asks to have changed, and how it is recognised when it comes again.

use std::sync::Arc;

use super::edit::Edit;
use super::idempotency::{Fingerprint, IdempotencyKey};
use super::who::Who;

/// A write as it is asked for.
#[derive(Clone, Debug)]
pub struct Write {
    pub who: Who,
    pub edits: Vec<Edit>,
    pub comment: Option<Arc<str>>,
    pub mode: Mode,
    pub once: Option<Once>,
}

/// Whether it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Do,
    DryRun,
}

/// A request that is done once, however often it is sent.
#[derive(Clone, Debug)]
pub struct Once {
    pub key: IdempotencyKey,
    pub fingerprint: Fingerprint,
    /// What it is answered with again, beside revision and serials.
    pub answer: Arc<[u8]>,
}
