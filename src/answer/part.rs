//! Parts of an answer: where each record comes from, and how long it may be kept.

use std::ops::Range;
use std::sync::Arc;

use crate::cache::{Life, UpstreamReply};
use crate::dns::{Name, NameBuf};
use crate::zone::{Offer, Owner, Zone};

/// One step of an answer, in the order of the chain.
#[derive(Clone)]
pub enum Part<'s> {
    /// A record set of a zone. The owner is the name of this number along the chain.
    Local { owner: usize, offer: &'s Offer, zone: &'s Zone },
    /// A DNAME of a zone, whose owner is not a name of the chain.
    Dname { owner: Owner<'s>, offer: &'s Offer, zone: &'s Zone },
    /// An alias that no zone holds: it follows from a DNAME, or from the catalogue.
    Alias { owner: usize, ttl_secs: u32 },
    /// A PTR record: the name that the view is served with the address of the owner.
    Pointer { owner: usize, ttl_secs: u32, target: &'s Name },
    /// Records that upstream gave.
    Upstream { relayed: Relayed, records: Range<usize> },
}

/// An upstream's reply, and how old it is.
#[derive(Clone)]
pub struct Relayed {
    pub reply: Arc<UpstreamReply>,
    pub age_secs: u32,
    pub freshness: Freshness,
    /// Of the cache's entry, if it is from there.
    pub life: Option<Arc<Life>>,
}

/// Whether a reply is within its lifetime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    Fresh,
    /// Its records are given `STALE_TTL_SECS`.
    Stale,
}

/// How long a stale record may be kept by who asked (RFC 8767 §4).
pub const STALE_TTL_SECS: u32 = 30;

impl Relayed {
    /// What is left of a lifetime.
    pub fn ttl_left_secs(&self, ttl_secs: u32) -> u32 {
        match self.freshness {
            Freshness::Fresh => ttl_secs.saturating_sub(self.age_secs),
            Freshness::Stale => STALE_TTL_SECS,
        }
    }
}

/// What goes into the authority section.
#[derive(Clone, Default)]
pub enum Authority<'s> {
    #[default]
    Nothing,
    /// The SOA of a zone that has no data or no such name.
    Soa(&'s Zone),
    /// What upstream said of its negative answer.
    Upstream(Relayed),
    /// Whose glue goes into the additional section.
    Delegation(Delegation<'s>),
}

/// What a zone leaves to other servers.
#[derive(Clone, Copy)]
pub struct Delegation<'s> {
    pub cut: Owner<'s>,
    pub servers: &'s Offer,
    pub zone: &'s Zone,
}

/// The names that a chain passed, the question first.
pub type Names = smallvec::SmallVec<[NameBuf; 3]>;
