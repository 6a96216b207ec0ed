//! A reply that stands in a buffer.

use crate::dns::Rcode;
use crate::observe::AnswerPath;
use crate::zone::UNNAMED;

/// Codes that are counted by themselves; the last is for all others.
pub(super) const RCODES: usize = 25;

/// A reply that was written into a buffer, and what is counted of it.
///
/// It passes through several hands for each query, in one register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    length: u16,
    kind: ReplyKind,
    /// The number of the zone that its records come from.
    zone: u16,
}

/// Code and path of a reply in one small number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ReplyKind(u16);

impl Reply {
    /// A reply of so many bytes from the start of the buffer, and the number of its zone.
    pub(super) fn new(length: usize, kind: ReplyKind, zone: u16) -> Reply {
        debug_assert!(length <= usize::from(u16::MAX), "no message is longer");
        Reply { length: length as u16, kind, zone }
    }

    /// A reply without records.
    pub(super) fn error(length: usize, rcode: Rcode) -> Reply {
        let path = match rcode {
            Rcode::REFUSED | Rcode::BADCOOKIE => AnswerPath::Refused,
            _ => AnswerPath::Error,
        };
        Reply::new(length, ReplyKind::new(rcode, path), UNNAMED)
    }

    /// In bytes, from the start of the buffer.
    pub(super) fn length(self) -> usize {
        self.length.into()
    }

    pub(super) fn kind(self) -> ReplyKind {
        self.kind
    }

    /// The number of the zone that its records come from; `UNNAMED` if no zone of ours has any.
    pub(super) fn zone(self) -> u16 {
        self.zone
    }
}

impl ReplyKind {
    /// How many kinds there are.
    pub(super) const COUNT: usize = AnswerPath::ALL.len() * RCODES;

    pub(super) const fn new(rcode: Rcode, path: AnswerPath) -> ReplyKind {
        let rcode = if (rcode.0 as usize) < RCODES { rcode.0 } else { RCODES as u16 - 1 };
        ReplyKind(path as u16 * RCODES as u16 + rcode)
    }

    /// Below [`ReplyKind::COUNT`]; those of one path lie together, [`RCODES`] of them.
    pub(super) fn place(self) -> u16 {
        self.0
    }

    pub(super) fn path(self) -> AnswerPath {
        AnswerPath::ALL[usize::from(self.0) / RCODES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_places_of_their_own() {
        let mut places = std::collections::BTreeSet::new();
        for path in AnswerPath::ALL {
            for rcode in 0..RCODES as u16 {
                let kind = ReplyKind::new(Rcode(rcode), path);
                assert_eq!(kind.path(), path);
                places.insert(kind.place());
            }
            assert_eq!(ReplyKind::new(Rcode(4095), path), ReplyKind::new(Rcode(24), path));
        }
        assert_eq!(places, (0..ReplyKind::COUNT as u16).collect());
    }
}
