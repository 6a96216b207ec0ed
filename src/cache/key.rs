//! What an entry is found by: the question and what it asks of the one who answers.

use std::hash::{Hash, Hasher};

use quick_cache::Equivalent;

use crate::dns::{Name, NameRef, QueryFlags, RecordType};

/// The key that an entry owns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Key {
    pub name: Name,
    pub rtype: RecordType,
    pub flags: QueryFlags,
}

/// The key of a look-up, made without allocating.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct KeyRef<'a> {
    pub name: NameRef<'a>,
    pub rtype: RecordType,
    pub flags: QueryFlags,
}

impl Key {
    pub fn borrow(&self) -> KeyRef<'_> {
        KeyRef { name: self.name.borrow(), rtype: self.rtype, flags: self.flags }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrow().hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let flags = u32::from(self.flags.dnssec_ok) << 16 | u32::from(self.flags.checking_disabled) << 17;
        state.write(self.name.as_wire());
        state.write_u32(flags | u32::from(self.rtype.0));
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.borrow()
    }
}
