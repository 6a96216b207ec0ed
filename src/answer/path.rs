//! Which way an answer came to be.

use super::chase::Chase;
use super::part::{Authority, Delegation, Part};
use crate::dns::Rcode;
use crate::observe::AnswerPath;
use crate::zone::{UNNAMED, Zone};

impl Chase<'_> {
    /// What a finished answer is counted under: the number of the first zone of ours that its records come from.
    pub fn zone_number(&self) -> u16 {
        let of_parts = self.parts().iter().find_map(|part| match part {
            Part::Local { zone, .. } | Part::Dname { zone, .. } => Some(*zone),
            _ => None,
        });
        let zone = of_parts.or(match self.authority() {
            Authority::Soa(zone) | Authority::Delegation(Delegation { zone, .. }) => Some(*zone),
            Authority::Nothing | Authority::Upstream(_) => None,
        });
        zone.map_or(UNNAMED, Zone::number)
    }

    /// The path of a finished answer, for metrics and logs.
    pub fn path(&self) -> AnswerPath {
        match self.rcode() {
            Rcode::NOERROR | Rcode::NXDOMAIN | Rcode::YXDOMAIN => {}
            Rcode::REFUSED if !self.has_asked() => return AnswerPath::Refused,
            _ => return AnswerPath::Error,
        }
        if self.is_stale() {
            return AnswerPath::Stale;
        }
        let (mut is_ours, mut is_made, mut is_waited_for) = (false, false, false);
        for part in self.parts() {
            match part {
                Part::Local { .. } | Part::Dname { .. } => is_ours = true,
                // The alias of a DNAME follows from what stands in the zone.
                Part::Alias { .. } => is_made |= !is_ours,
                Part::Pointer { .. } => is_made = true,
                Part::Upstream { relayed, .. } => is_waited_for |= relayed.life.is_none(),
            }
        }
        is_ours |= is_made || matches!(self.authority(), Authority::Soa(_) | Authority::Delegation(_));
        match (is_ours, self.has_asked()) {
            (true, true) => AnswerPath::Spliced,
            (false, true) if is_waited_for => AnswerPath::Forwarded,
            (false, true) => AnswerPath::Cached,
            (_, false) if is_made => AnswerPath::Synthesised,
            (_, false) => AnswerPath::Authoritative,
        }
    }
}
