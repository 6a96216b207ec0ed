//! What is at one name of a zone.

use super::network::ViewId;
use super::origin::Origin;
use super::outcome::Outcome;
use super::slot::{Offer, Slot};
use crate::dns::RecordType;

/// A name of a zone. A node without slots is an empty non-terminal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    slots: Slots,
    /// Nodes one label below.
    pub(super) children: u32,
}

/// Most names have one type, which lies in place.
#[derive(Clone, Debug, Default, PartialEq)]
enum Slots {
    #[default]
    None,
    One(Slot),
    Many(Box<[Slot]>),
}

impl Node {
    /// The slot of a type.
    pub fn slot(&self, rtype: RecordType) -> Option<&Slot> {
        self.slots().iter().find(|slot| slot.rtype() == rtype)
    }

    /// All slots.
    pub fn slots(&self) -> &[Slot] {
        match &self.slots {
            Slots::None => &[],
            Slots::One(slot) => std::slice::from_ref(slot),
            Slots::Many(slots) => slots,
        }
    }

    pub(super) fn slots_mut(&mut self) -> &mut [Slot] {
        match &mut self.slots {
            Slots::None => &mut [],
            Slots::One(slot) => std::slice::from_mut(slot),
            Slots::Many(slots) => slots,
        }
    }

    /// The slot of a type, to be changed.
    pub(super) fn slot_mut(&mut self, rtype: RecordType) -> Option<&mut Slot> {
        self.slots_mut().iter_mut().find(|slot| slot.rtype() == rtype)
    }

    /// Adds a slot of a type that is not there.
    pub(super) fn push(&mut self, slot: Slot) {
        if matches!(self.slots, Slots::None) {
            self.slots = Slots::One(slot);
            return;
        }
        let mut slots = self.take_slots();
        slots.push(slot);
        self.slots = Slots::Many(slots.into());
    }

    /// Gives the slot of a type another content; `None` takes it away.
    pub(super) fn replace(&mut self, rtype: RecordType, with: impl FnOnce(Slot) -> Option<Slot>) {
        let mut slots = self.take_slots();
        if let Some(index) = slots.iter().position(|slot| slot.rtype() == rtype)
            && let Some(slot) = with(slots.remove(index))
        {
            slots.insert(index, slot);
        }
        self.slots = match slots.len() {
            0 | 1 => slots.pop().map_or(Slots::None, Slots::One),
            _ => Slots::Many(slots.into()),
        };
    }

    fn take_slots(&mut self) -> Vec<Slot> {
        match std::mem::take(&mut self.slots) {
            Slots::None => Vec::new(),
            Slots::One(slot) => vec![slot],
            Slots::Many(slots) => slots.into(),
        }
    }

    /// What a view is served of a type. An operator's CNAME hides what endpoints claim.
    pub(super) fn served(&self, rtype: RecordType, view: ViewId) -> Option<&Offer> {
        match rtype {
            RecordType::CNAME => self.alias(view),
            _ => self.slot(rtype).map(|slot| slot.served(view)),
        }
    }

    /// The CNAME that a view is served. One of Azure's zones gives way to what endpoints and operators say, and to
    /// another such zone's data unless it is the one that the view's network is linked to.
    fn alias(&self, view: ViewId) -> Option<&Offer> {
        let slot = self.slot(RecordType::CNAME)?;
        let alias = slot.served(view);
        if self.slots().len() == 1 || !matches!(alias.origin, Origin::AzureZone(_)) {
            return Some(alias);
        }
        let is_own = slot.is_chosen_for(view);
        let mut others = self.slots().iter().filter(|slot| !slot.rtype().is_beside_cname());
        let is_hidden = others.any(|other| {
            let is_of_azure = matches!(other.served(view).origin, Origin::AzureZone(_));
            !is_of_azure || !is_own
        });
        (!is_hidden).then_some(alias)
    }

    /// One set for a question of type ANY (RFC 8482 §4.1).
    fn any(&self, view: ViewId) -> Option<&Offer> {
        let rank = |slot: &Slot| match slot.rtype() {
            RecordType::CNAME => 0,
            RecordType::A => 1,
            RecordType::AAAA => 2,
            RecordType::SOA => 9,
            _ => 3,
        };
        let shown = self.slots().iter().filter_map(|slot| Some((slot, self.served(slot.rtype(), view)?)));
        shown.min_by_key(|(slot, _)| rank(slot)).map(|(_, offer)| offer)
    }

    /// What is said to a question for this name.
    pub(super) fn answer(&self, rtype: RecordType, view: ViewId) -> Outcome<'_> {
        if rtype == RecordType::ANY {
            return self.any(view).map_or(Outcome::NoData, Outcome::Hit);
        }
        if rtype != RecordType::CNAME
            && let Some(alias) = self.served(RecordType::CNAME, view)
        {
            return if rtype.is_beside_cname() { Outcome::NoData } else { Outcome::Alias(alias) };
        }
        self.served(rtype, view).map_or(Outcome::NoData, Outcome::Hit)
    }
}
