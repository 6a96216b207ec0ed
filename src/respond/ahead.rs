//! What a thread finds out about the messages of a batch before it answers them.
//!
//! Where an answer lies is found in steps. Each asks for the memory that the next one reads, and is taken for all
//! messages before the next: memory is then waited for once a step, and not once a step and message.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::finished::Spot;
use super::quick;
use crate::dns::header::HEADER_BYTES;
use crate::dns::{NameRef, RawQuestion, RecordType};
use crate::zone::{Snapshot, ViewId, Way};

/// Messages that are looked ahead to: a batch.
const MESSAGES_AHEAD: usize = 64;

/// What was found out of each message of a batch; `None` where there was nothing to find.
pub type Aheads<A> = SmallVec<[Option<A>; MESSAGES_AHEAD]>;

/// What was found out of one message.
pub struct Ahead<'v> {
    /// The network that the client belongs to.
    pub(super) view: ViewId,
    pub(super) place: Place<'v>,
}

/// Where the answer to a message lies, if it does.
pub(super) enum Place<'v> {
    /// A zone of ours answers for the name.
    Zone(Way<'v>),
    /// It may be among the finished answers.
    Finished(Spot),
}

/// Looks ahead to messages of these clients.
pub(super) fn look_ahead<'s, 'm>(
    snapshot: &'s Snapshot,
    messages: impl Iterator<Item = (&'m [u8], IpAddr)>,
) -> Aheads<Ahead<'s>> {
    let begin = |(message, client)| {
        let RawQuestion { name, rtype, .. } = RawQuestion::read(message, HEADER_BYTES)?;
        let view = snapshot.networks().view_of(client);
        let place = Place::new(snapshot, name.lower_in(&mut None), rtype, view);
        Some(Ahead { view, place })
    };
    let mut aheads: Aheads<Ahead<'s>> = messages.map(begin).collect();
    while aheads.iter_mut().flatten().fold(false, |any, ahead| any | ahead.place.go()) {}
    aheads
}

impl<'s> Place<'s> {
    fn new(snapshot: &'s Snapshot, name: NameRef<'_>, rtype: RecordType, view: ViewId) -> Place<'s> {
        match quick::is_quick(name, rtype).then(|| snapshot.way(name, view)).flatten() {
            Some(way) => Place::Zone(way),
            None => Place::Finished(Spot::new(name, rtype, view)),
        }
    }

    /// Where it may be among the finished answers, if that was looked for.
    pub(super) fn spot(&self) -> Option<&Spot> {
        match self {
            Place::Zone(_) => None,
            Place::Finished(spot) => Some(spot),
        }
    }

    /// Goes one step; answers whether there was one to go.
    fn go(&mut self) -> bool {
        match self {
            Place::Zone(way) => way.go(),
            Place::Finished(spot) => spot.go(),
        }
    }
}
