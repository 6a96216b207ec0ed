//! A name and a type that are asked for.

use super::{Name, RecordType};

/// A question as it is asked upstream.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Question {
    pub name: Name,
    pub rtype: RecordType,
}
