//! What an entry is found by: the question, whom it went to, and what it asked of them.

use std::hash::{Hash, Hasher};

use quick_cache::Equivalent;

use crate::dns::{Name, NameRef, QueryFlags, RecordType};

/// The servers that are asked: what one says of a name, another may not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Respondent(u32);

impl Respondent {
    /// The upstreams of the forwarding rules.
    pub const RULES: Respondent = Respondent(0);

    /// The servers of the delegation of this number; zero stands for the rules.
    pub fn numbered(number: u32) -> Respondent {
        Respondent(number)
    }

    /// What `numbered` makes the same of.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// The servers that are asked, and the flags they are asked with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manner {
    pub flags: QueryFlags,
    pub of: Respondent,
}

impl From<QueryFlags> for Manner {
    /// As the forwarding rules ask.
    fn from(flags: QueryFlags) -> Manner {
        Manner { flags, of: Respondent::RULES }
    }
}

/// The key that an entry owns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Key {
    pub name: Name,
    pub rtype: RecordType,
    pub manner: Manner,
}

/// The key of a look-up, made without allocating.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct KeyRef<'a> {
    pub name: NameRef<'a>,
    pub rtype: RecordType,
    pub manner: Manner,
}

impl Key {
    pub fn borrow(&self) -> KeyRef<'_> {
        KeyRef { name: self.name.borrow(), rtype: self.rtype, manner: self.manner }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrow().hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Manner { flags, of } = self.manner;
        let flags = u64::from(flags.dnssec_ok) << 16 | u64::from(flags.checking_disabled) << 17;
        state.write(self.name.as_wire());
        state.write_u64(u64::from(of.0) << 32 | flags | u64::from(self.rtype.0));
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.borrow()
    }
}
