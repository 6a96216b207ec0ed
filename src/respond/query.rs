//! A query that was admitted, and what is kept of it while it waits for upstream.

use super::complete::Asked;
use super::finished::Epoch;
use crate::answer::{Chase, Recursion, Rules, Step};
use crate::dns::edns::Edns;
use crate::dns::header::HEADER_BYTES;
use crate::dns::{Flags, QueryFlags, RawName, RawQuestion};
use crate::zone::{Snapshot, ViewId};

/// A query that is answered.
pub(super) struct Query<'m> {
    pub(super) asked: Asked<'m>,
    pub(super) name: RawName<'m>,
}

/// What a message waits for.
#[derive(Clone, Copy, Debug)]
pub struct Missing(Option<Decided>);

/// What was decided of a query before it had to wait; it is the same as long as its epoch lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decided {
    epoch: Epoch,
    pub(super) view: ViewId,
    /// Whether upstream is asked for the query's own name, and nothing was found out before that.
    pub(super) is_untouched: bool,
    edns: Option<EdnsDecided>,
    cookie: Option<[u8; 24]>,
}

/// What of a message's OPT record a reply depends on.
#[derive(Clone, Copy, Debug)]
struct EdnsDecided {
    payload_bytes: u16,
    dnssec_ok: bool,
    keepalive: bool,
    padding: bool,
}

/// A query on its way.
pub(super) struct Begun<'m> {
    pub(super) query: Query<'m>,
    pub(super) view: ViewId,
    /// Whether it is known that upstream must be asked for its very name.
    pub(super) is_untouched: bool,
    /// How the cache is looked into up to the name that upstream must be asked for.
    pub(super) look: Look,
    /// Whether it is a probe for a loop that came back.
    pub(super) is_probe: bool,
}

impl Begun<'_> {
    /// The first step of the query's chase, which has decided nothing yet.
    pub(super) fn step(&self, chase: &mut Chase<'_>) -> Step {
        if self.is_untouched { Step::Ask } else { chase.run() }
    }
}

/// Which look into the cache one is for a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    First,
    /// Of a query that waited: it was counted before.
    Again,
}

impl Query<'_> {
    /// What upstream is asked besides the question.
    pub(super) fn flags(&self) -> QueryFlags {
        QueryFlags { dnssec_ok: self.asked.dnssec_ok(), checking_disabled: self.asked.flags.has(Flags::CD) }
    }

    pub(super) fn chase<'s>(&self, snapshot: &'s Snapshot, rules: &'s Rules, view: ViewId) -> Chase<'s> {
        let recursion =
            if self.asked.flags.has(Flags::RD) { Recursion::Desired } else { Recursion::NotDesired };
        Chase::new(snapshot, rules, view, self.name.to_buf(), self.asked.rtype, recursion)
    }
}

impl Missing {
    /// It is still to be found out.
    pub const UNKNOWN: Missing = Missing(None);

    /// Where a chase of the query stands.
    pub(super) fn of(query: &Query<'_>, chase: &Chase<'_>, epoch: Epoch) -> Missing {
        let edns = query.asked.edns.map(|edns| EdnsDecided {
            payload_bytes: edns.payload_bytes,
            dnssec_ok: edns.dnssec_ok,
            keepalive: edns.keepalive,
            padding: edns.padding,
        });
        Missing(Some(Decided {
            epoch,
            view: chase.view(),
            is_untouched: chase.is_untouched(),
            edns,
            cookie: query.asked.cookie,
        }))
    }

    /// How the cache is looked into when the query goes on.
    pub(super) fn next_look(self) -> Look {
        if self.0.is_some() { Look::Again } else { Look::First }
    }

    /// What was decided in this epoch.
    pub(super) fn decided_in(self, epoch: Epoch) -> Option<Decided> {
        self.0.filter(|decided| decided.epoch == epoch)
    }
}

impl Decided {
    /// The query again, out of its message.
    pub(super) fn query(self, message: &[u8]) -> Option<Query<'_>> {
        let header: &[u8; HEADER_BYTES] = message.first_chunk()?;
        let RawQuestion { name, rtype, bytes: question, .. } = RawQuestion::read(message, HEADER_BYTES)?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (id, flags) = (word(0), Flags(word(2)));
        let edns = self.edns.map(|edns| Edns {
            payload_bytes: edns.payload_bytes,
            dnssec_ok: edns.dnssec_ok,
            keepalive: edns.keepalive,
            padding: edns.padding,
            ..Edns::default()
        });
        let asked = Asked { id, flags, question, edns, rtype, cookie: self.cookie };
        Some(Query { asked, name })
    }
}
