//! A reply that stands in a buffer.

use crate::dns::Rcode;
use crate::observe::AnswerPath;

/// A reply that was written into a buffer, and what is counted of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    /// In bytes, from the start of the buffer.
    pub length: usize,
    pub rcode: Rcode,
    pub path: AnswerPath,
}

impl Reply {
    /// A reply without records.
    pub(super) fn error(length: usize, rcode: Rcode) -> Reply {
        let path = match rcode {
            Rcode::REFUSED | Rcode::BADCOOKIE => AnswerPath::Refused,
            _ => AnswerPath::Error,
        };
        Reply { length, rcode, path }
    }
}
