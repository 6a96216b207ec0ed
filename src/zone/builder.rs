//! The only way to a zone: offers go in, and what no zone may be is refused.

use std::sync::Arc;

use super::error::ZoneError;
use super::name_trie::NameTrie;
use super::network::Networks;
use super::origin::Origin;
use super::served::{Zone, ZoneHeader, ZoneKind};
use super::slot::{Offer, Slot};
use crate::dns::{Name, NameRef, NegativeAuthority, RecordSet, RecordType, Ttl, rdata};

/// The SOA that Azure gives to private zones (facts §1); `minimum` is that of real exports.
const AZURE_SOA: &str = "azureprivatedns.net. azureprivatedns-host.microsoft.com. 1 3600 300 2419200 10";
const AZURE_SOA_TTL_SECS: u32 = 3600;

/// A zone in the making: a new one, or a served one with changes.
pub struct ZoneBuilder<'n> {
    zone: Zone,
    networks: &'n Networks,
    /// Names whose rules are checked at the end: in between, a change may break them.
    touched: Vec<Name>,
    serial: Serial,
}

/// Where the new serial comes from.
enum Serial {
    /// Nothing changed.
    Kept,
    /// One more than before.
    Next,
    /// A new SOA record brought one.
    Given(u32),
}

impl<'n> ZoneBuilder<'n> {
    /// An empty zone. A private-link zone has Azure's SOA from the start.
    pub fn new(header: ZoneHeader, networks: &'n Networks) -> ZoneBuilder<'n> {
        let is_private_link = header.kind == ZoneKind::PrivateLink;
        let zone = Zone {
            header,
            visible_in: None,
            nodes: NameTrie::default(),
            serial: 0,
            content: 0,
            detours: 0,
            negative: None,
        };
        let mut builder = ZoneBuilder { zone, networks, touched: Vec::new(), serial: Serial::Kept };
        builder.zone.nodes.entry(builder.zone.header.apex.clone().borrow(), Arc::default);
        if is_private_link {
            let apex = builder.zone.header.apex.clone();
            let offer = Offer { set: azure_soa(), origin: Origin::BuiltIn };
            builder.put(&apex, offer).expect("a SOA at the apex is right");
        }
        builder
    }

    /// Goes on from a served zone, whose unchanged parts are shared.
    pub fn from_zone(zone: &Zone, networks: &'n Networks) -> ZoneBuilder<'n> {
        ZoneBuilder { zone: zone.clone(), networks, touched: Vec::new(), serial: Serial::Kept }
    }

    /// Other settings for the same apex.
    pub fn set_header(&mut self, header: ZoneHeader) {
        debug_assert_eq!(header.apex, self.zone.header.apex);
        self.zone.header = header;
    }

    /// Adds an offer, or replaces that of the same origin.
    pub fn put(&mut self, name: &Name, offer: Offer) -> Result<(), ZoneError> {
        self.check_offer(name, &offer)?;
        let rtype = offer.set.rtype;
        let given = soa_serial(&offer.set).filter(|_| rtype == RecordType::SOA);
        let is_newer = given.is_some_and(|given| self.zone.serial == 0 || is_newer(given, self.zone.serial));
        let mut offer = offer;
        if given.is_some() && !is_newer {
            // An older serial is no news; the zone goes on counting from its own.
            offer.set = with_serial(&offer.set, self.zone.serial);
        }
        self.make_path(name);
        let networks = self.networks;
        let node = Arc::make_mut(self.zone.nodes.entry(name.borrow(), Arc::default));
        let changed = match node.slots.iter_mut().find(|slot| slot.rtype() == rtype) {
            Some(slot) => slot.put(offer, networks),
            None => {
                node.slots.push(Slot::new(offer, networks));
                self.count(name, rtype, 1);
                true
            }
        };
        if changed {
            self.touch(name);
            if let Some(given) = given.filter(|_| is_newer) {
                self.serial = Serial::Given(given);
            }
        }
        Ok(())
    }

    /// Takes an origin's offer back; answers whether there was one.
    pub fn remove(&mut self, name: &Name, rtype: RecordType, origin: &Origin) -> bool {
        let Some(node) = self.zone.nodes.get(name.borrow()) else { return false };
        let offers = node.slot(rtype).map_or(&[][..], Slot::offers);
        if !offers.iter().any(|offer| offer.origin.replaces(origin)) {
            return false;
        }
        let networks = self.networks;
        let node = Arc::make_mut(self.zone.nodes.entry(name.borrow(), Arc::default));
        let index = node.slots.iter().position(|slot| slot.rtype() == rtype).expect("the slot was just seen");
        match node.slots.remove(index).without(origin, networks) {
            Some(slot) => node.slots.insert(index, slot),
            None => {
                self.count(name, rtype, -1);
                self.prune(name);
            }
        }
        self.touch(name);
        true
    }

    /// Decides all contests anew, after the networks changed.
    pub fn choose_all(&mut self) {
        let contested: Vec<Name> = self
            .zone
            .nodes()
            .filter(|(_, node)| node.slots.iter().any(Slot::depends_on_networks))
            .map(|(name, _)| name.clone())
            .collect();
        for name in contested {
            let node = Arc::make_mut(self.zone.nodes.entry(name.borrow(), Arc::default));
            node.slots.iter_mut().for_each(|slot| slot.choose(self.networks));
        }
    }

    /// Checks what was changed, and makes the zone.
    pub fn finish(mut self) -> Result<Zone, ZoneError> {
        let mut views = Vec::new();
        for network in &self.zone.header.networks {
            let view = self.networks.view_named(network);
            let unknown = || ZoneError::NoSuchNetwork(self.zone.header.apex.clone(), network.clone());
            views.push(view.ok_or_else(unknown)?);
        }
        self.zone.visible_in = (!views.is_empty()).then(|| views.into());
        for name in &self.touched {
            self.check_name(name)?;
        }
        let apex = self.zone.header.apex.clone();
        let Some(soa) = self.zone.node(apex.borrow()).and_then(|node| node.slot(RecordType::SOA)) else {
            return Err(ZoneError::NoSoa(apex));
        };
        let old = self.zone.serial;
        let new = match self.serial {
            Serial::Kept => old,
            Serial::Given(given) => given,
            Serial::Next => old.wrapping_add(1).max(1),
        };
        if new != old {
            let offers: Vec<Offer> = soa.offers().to_vec();
            self.zone.serial = new;
            let node = Arc::make_mut(self.zone.nodes.entry(apex.borrow(), Arc::default));
            let slot = node.slots.iter_mut().find(|slot| slot.rtype() == RecordType::SOA);
            let slot = slot.expect("the slot was just seen");
            for offer in offers {
                let set = with_serial(&offer.set, new);
                slot.put(Offer { set, origin: offer.origin }, self.networks);
            }
        }
        self.zone.negative = NegativeAuthority::new(apex.borrow(), &self.zone.soa().set);
        Ok(self.zone)
    }

    fn touch(&mut self, name: &Name) {
        if matches!(self.serial, Serial::Kept) {
            self.serial = Serial::Next;
        }
        // The sets of a name come one after the other.
        if self.touched.last() != Some(name) {
            self.touched.push(name.clone());
        }
    }

    /// What can be told from one offer alone.
    fn check_offer(&self, name: &Name, offer: &Offer) -> Result<(), ZoneError> {
        let (apex, rtype) = (&self.zone.header.apex, offer.set.rtype);
        if !name.is_within(apex) {
            return Err(ZoneError::OutOfZone { apex: apex.clone(), name: name.clone() });
        }
        if offer.set.is_empty() {
            return Err(ZoneError::EmptySet(name.clone()));
        }
        if rtype.is_question_only() || !offer.set.records().all(|data| rdata::is_valid(rtype, data)) {
            return Err(ZoneError::BadData { name: name.clone(), rtype });
        }
        if rtype == RecordType::SOA && name != apex {
            return Err(ZoneError::NotAtApex { apex: apex.clone(), name: name.clone(), rtype });
        }
        let is_single = matches!(rtype, RecordType::SOA | RecordType::CNAME | RecordType::DNAME);
        if is_single && offer.set.len() > 1 {
            return Err(ZoneError::MoreThanOne { name: name.clone(), rtype });
        }
        // RFC 4592 §4.2, §4.4: without a use and without a clear meaning.
        let is_delegation = matches!(rtype, RecordType::NS | RecordType::SOA | RecordType::DNAME);
        if name.borrow().is_wildcard() && is_delegation {
            return Err(ZoneError::WildcardDelegation(name.clone()));
        }
        Ok(())
    }

    /// What can only be told when all changes are in.
    fn check_name(&self, name: &Name) -> Result<(), ZoneError> {
        let Some(node) = self.zone.node(name.borrow()) else { return Ok(()) };
        // An operator's CNAME or DNAME goes before the claims of endpoints, which stay beside or below it unserved:
        // refused, they would take with them all that their source lists.
        let is_operators = |slot: &Slot| slot.offers().iter().any(|offer| offer.origin.is_operators());
        // A CNAME of one of Azure's zones stays unserved beside other data in the same way.
        if node.slot(RecordType::CNAME).is_some_and(is_operators)
            && node.slots.iter().any(|slot| !slot.rtype().is_beside_cname() && is_operators(slot))
        {
            return Err(ZoneError::CnameBesideData(name.clone()));
        }
        if node.slot(RecordType::DNAME).is_some() && node.children > 0 {
            let below = self.zone.nodes().find(|(other, node)| {
                *other != name && other.is_within(name) && node.slots.iter().any(is_operators)
            });
            if let Some((below, _)) = below {
                return Err(ZoneError::BelowDname { dname: name.clone(), name: below.clone() });
            }
        }
        if self.zone.detours > 0 && node.slots.iter().any(is_operators) {
            for above in name.borrow().ancestors().skip(1) {
                if !above.is_within(self.zone.header.apex.borrow()) {
                    break;
                }
                if self.zone.node(above).is_some_and(|node| node.slot(RecordType::DNAME).is_some()) {
                    return Err(ZoneError::BelowDname { dname: above.to_name(), name: name.clone() });
                }
            }
        }
        Ok(())
    }

    /// Makes a name's node and the empty non-terminals between it and the zone's tree.
    fn make_path(&mut self, name: &Name) {
        let mut at = name.borrow();
        let mut exists = self.zone.nodes.get(at).is_some();
        while !exists {
            self.zone.nodes.entry(at, Arc::default);
            at = at.parent().expect("the apex is always there");
            exists = self.zone.nodes.get(at).is_some();
            Arc::make_mut(self.zone.nodes.entry(at, Arc::default)).children += 1;
        }
    }

    /// Takes away a name without data or children, and the empty non-terminals that only it needed.
    fn prune(&mut self, name: &Name) {
        let apex = self.zone.header.apex.clone();
        let mut at = name.borrow();
        while at != apex.borrow()
            && self.zone.nodes.get(at).is_some_and(|node| node.slots.is_empty() && node.children == 0)
        {
            self.zone.nodes.remove(at);
            at = at.parent().expect("the apex is always there");
            Arc::make_mut(self.zone.nodes.entry(at, Arc::default)).children -= 1;
        }
    }

    fn count(&mut self, name: &Name, rtype: RecordType, change: isize) {
        let is_apex = *name == self.zone.header.apex;
        let is_frame = is_apex && matches!(rtype, RecordType::SOA | RecordType::NS);
        if !is_frame {
            self.zone.content = self.zone.content.wrapping_add_signed(change);
        }
        if rtype == RecordType::DNAME || (rtype == RecordType::NS && !is_apex) {
            self.zone.detours = self.zone.detours.wrapping_add_signed(change);
        }
    }
}

/// The SOA that Azure gives to private zones, as we write it: whole names, and a serial that we count.
pub fn azure_soa() -> RecordSet {
    let data = rdata::from_text(RecordType::SOA, AZURE_SOA, NameRef::ROOT).expect("the text is a SOA");
    let ttl = Ttl::from_secs(AZURE_SOA_TTL_SECS).expect("an hour is a lifetime");
    RecordSet::new(RecordType::SOA, ttl, [data]).expect("one SOA is no large set")
}

/// Whether serial `new` comes after `old` (RFC 1982 §3.2).
pub fn is_newer(new: u32, old: u32) -> bool {
    new != old && new.wrapping_sub(old) < 1 << 31
}

/// Where the serial lies: behind two names, before four numbers.
fn serial_at(data: &[u8]) -> Option<usize> {
    data.len().checked_sub(20)
}

/// The serial of a SOA record set.
pub(super) fn soa_serial(set: &RecordSet) -> Option<u32> {
    let data = set.records().next()?;
    let bytes = data.get(serial_at(data)?..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}

/// The same SOA record set with another serial.
pub(super) fn with_serial(set: &RecordSet, serial: u32) -> RecordSet {
    let records = set.records().map(|data| {
        let mut data = data.to_vec();
        if let Some(at) = serial_at(&data) {
            data[at..at + 4].copy_from_slice(&serial.to_be_bytes());
        }
        data
    });
    RecordSet::new(set.rtype, set.ttl, records).expect("the set was not too large before")
}
