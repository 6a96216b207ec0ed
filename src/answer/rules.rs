//! What answers are decided by, besides the zones: access, special names, public names.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::access::{Access, AccessSettings};
use super::special;
use crate::dns::{Name, NameRef, SuffixMap};
use crate::privatelink::Catalogue;
use crate::zone::{Snapshot, ViewId, Zone};

/// How public names of published endpoints are answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PublicNames {
    /// Upstream is asked and its answer is cut where it enters a zone of ours (design R4).
    #[default]
    Splice,
    /// They are answered from the catalogue at once; upstream is not asked (design R5).
    Local,
}

/// Where the reverse names of private addresses are asked (`forward.private_reverse`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PrivateReverse {
    /// Upstream; what it does not know or fails on is answered as RFC 6303 wants it.
    Ask,
    /// Nobody: RFC 6303.
    #[default]
    Here,
}

/// What the parts of an answer depend on.
#[derive(Clone)]
pub struct Settings {
    pub access: AccessSettings,
    pub public_names: PublicNames,
    pub private_reverse: PrivateReverse,
    /// The domains of explicit forwarding rules: below them no name is special.
    pub forwarded: Vec<Name>,
    pub catalogue: Arc<Catalogue>,
}

/// The number of the next rules.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Settings made ready for look-ups.
pub struct Rules {
    pub(super) access: Access,
    pub(super) public_names: PublicNames,
    private_reverse: PrivateReverse,
    pub(super) catalogue: Arc<Catalogue>,
    forwarded: SuffixMap<()>,
    special: &'static Snapshot,
    number: u64,
}

impl Rules {
    /// Makes settings ready.
    pub fn new(settings: Settings) -> Rules {
        let explicit = settings.forwarded.into_iter().filter(|domain| !domain.borrow().is_root());
        Rules {
            access: Access::new(&settings.access),
            public_names: settings.public_names,
            private_reverse: settings.private_reverse,
            catalogue: settings.catalogue,
            forwarded: explicit.map(|domain| (domain, ())).collect(),
            special: special::zones(),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Tells these rules from all others of this process.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Who may ask.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Azure's zones and names.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// Where the reverse names of private addresses are asked.
    pub fn private_reverse(&self) -> PrivateReverse {
        self.private_reverse
    }

    /// Whether a rule other than the default one forwards this name.
    pub(super) fn is_forwarded(&self, name: NameRef<'_>) -> bool {
        !self.forwarded.is_empty() && self.forwarded.enclosing(name).next().is_some()
    }

    /// The special zone that this name lies in, unless a rule forwards it (design R8).
    pub(super) fn special_zone_for(&self, name: NameRef<'_>) -> Option<&'static Zone> {
        self.special.zone_for(name, ViewId::NONE).filter(|_| !self.is_forwarded(name))
    }

    /// Whether a name is special and answered here: no rule forwards it.
    pub fn keeps(&self, name: NameRef<'_>) -> bool {
        self.special_zone_for(name).is_some()
    }

    /// Whether upstream is asked for a name of a special zone before that says it does not exist.
    pub(super) fn is_asked(&self, special: &Zone, name: NameRef<'_>) -> bool {
        self.private_reverse == PrivateReverse::Ask
            && special::is_private_reverse(special.apex().borrow())
            && !special.holds(name, ViewId::NONE)
    }
}
