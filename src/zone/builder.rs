//! The only way to a zone: offers go in, and what no zone may be is refused.

use super::error::ZoneError;
use super::front::{self, Owner};
use super::header::{ZoneHeader, ZoneKind};
use super::name_trie::NameTrie;
use super::network::Networks;
use super::node::Node;
use super::numbering::UNNAMED;
use super::origin::Origin;
use super::served::Zone;
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
    touched: Fronts,
    /// Whether a name with data of several types, or a DNAME, is among them: only these and names below break rules.
    has_aliases: bool,
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
            wildcards: 0,
            number: UNNAMED,
            negative: None,
        };
        let mut builder = ZoneBuilder {
            zone,
            networks,
            touched: Fronts::default(),
            has_aliases: false,
            serial: Serial::Kept,
        };
        builder.zone.nodes.entry(&[], Node::default);
        if is_private_link {
            let apex = builder.zone.header.apex.clone();
            let offer = Offer { set: azure_soa(), origin: Origin::BuiltIn };
            builder.put(&apex, offer).expect("a SOA at the apex is right");
        }
        builder
    }

    /// Goes on from a served zone, whose unchanged parts are shared.
    pub fn from_zone(zone: &Zone, networks: &'n Networks) -> ZoneBuilder<'n> {
        ZoneBuilder {
            zone: zone.clone(),
            networks,
            touched: Fronts::default(),
            has_aliases: false,
            serial: Serial::Kept,
        }
    }

    /// Other settings for the same apex.
    pub fn set_header(&mut self, header: ZoneHeader) {
        debug_assert_eq!(header.apex, self.zone.header.apex);
        self.zone.header = header;
    }

    /// Adds an offer, or replaces that of the same origin.
    pub fn put(&mut self, name: &Name, offer: Offer) -> Result<(), ZoneError> {
        let front = self.check_offer(name, &offer)?;
        let rtype = offer.set.rtype;
        let given = soa_serial(&offer.set).filter(|_| rtype == RecordType::SOA);
        let is_newer = given.is_some_and(|given| self.zone.serial == 0 || is_newer(given, self.zone.serial));
        let mut offer = offer;
        if given.is_some() && !is_newer {
            // An older serial is no news; the zone goes on counting from its own.
            offer.set = with_serial(&offer.set, self.zone.serial);
        }
        let networks = self.networks;
        let (node, is_new_name) = self.zone.nodes.entry(front, Node::default);
        let (changed, is_new_slot) = match node.slot_mut(rtype) {
            Some(slot) => (slot.put(offer, front, networks), false),
            None => {
                node.push(Slot::new(offer, front, networks));
                (true, true)
            }
        };
        self.has_aliases |= node.slots().len() > 1 || rtype == RecordType::DNAME;
        if is_new_name {
            self.make_path(front);
        }
        if is_new_slot {
            self.count(front, rtype, 1);
        }
        if changed {
            self.touch(front);
            if let Some(given) = given.filter(|_| is_newer) {
                self.serial = Serial::Given(given);
            }
        }
        Ok(())
    }

    /// Takes an origin's offer back; answers whether there was one.
    pub fn remove(&mut self, name: &Name, rtype: RecordType, origin: &Origin) -> bool {
        let Some(front) = name.borrow().strip_suffix(self.zone.apex().borrow()) else { return false };
        let Some(node) = self.zone.node_at(front) else { return false };
        let offers = node.slot(rtype).map_or(&[][..], Slot::offers);
        if !offers.iter().any(|offer| offer.origin.replaces(origin)) {
            return false;
        }
        let networks = self.networks;
        let (node, _) = self.zone.nodes.entry(front, Node::default);
        node.replace(rtype, |slot| slot.without(origin, front, networks));
        if node.slot(rtype).is_none() {
            self.count(front, rtype, -1);
            self.prune(front);
        }
        self.touch(front);
        true
    }

    /// Decides all contests anew, after the networks changed.
    pub fn choose_all(&mut self) {
        let is_contested = |node: &Node| node.slots().iter().any(Slot::depends_on_networks);
        let contested = self.zone.nodes().filter(|(_, node)| is_contested(node));
        let contested: Vec<Box<[u8]>> = contested.map(|(owner, _)| owner.front().into()).collect();
        for front in contested {
            let (node, _) = self.zone.nodes.entry(&front, Node::default);
            node.slots_mut().iter_mut().for_each(|slot| slot.choose(&front, self.networks));
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
        if self.has_aliases || self.zone.detours > 0 {
            self.faults().next().map_or(Ok(()), Err)?;
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
            let (node, _) = self.zone.nodes.entry(&[], Node::default);
            let slot = node.slot_mut(RecordType::SOA).expect("the slot was just seen");
            for offer in offers {
                let set = with_serial(&offer.set, new);
                slot.put(Offer { set, origin: offer.origin }, &[], self.networks);
            }
        }
        self.zone.negative = NegativeAuthority::new(apex.borrow(), &self.zone.soa().set);
        Ok(self.zone)
    }

    /// What the changed names break that can only be told when all changes are in.
    pub(super) fn faults(&self) -> impl Iterator<Item = ZoneError> {
        let owners = self.touched.iter().map(|front| Owner::new(front, self.zone.apex()));
        owners.filter_map(|owner| self.check_name(&owner.to_name()).err())
    }

    fn touch(&mut self, front: &[u8]) {
        if matches!(self.serial, Serial::Kept) {
            self.serial = Serial::Next;
        }
        self.touched.push(front);
    }

    /// What can be told from one offer alone. Answers the name's labels in front of the apex.
    fn check_offer<'a>(&self, name: &'a Name, offer: &Offer) -> Result<&'a [u8], ZoneError> {
        let (apex, rtype) = (&self.zone.header.apex, offer.set.rtype);
        let Some(front) = name.borrow().strip_suffix(apex.borrow()) else {
            return Err(ZoneError::OutOfZone { apex: apex.clone(), name: name.clone() });
        };
        if offer.set.is_empty() {
            return Err(ZoneError::EmptySet(name.clone()));
        }
        if rtype.is_question_only() || !offer.set.records().all(|data| rdata::is_valid(rtype, data)) {
            return Err(ZoneError::BadData { name: name.clone(), rtype });
        }
        if rtype == RecordType::SOA && name != apex {
            return Err(ZoneError::NotAtApex { apex: apex.clone(), name: name.clone(), rtype });
        }
        if rtype == RecordType::DS && name == apex {
            return Err(ZoneError::DsAtApex(name.clone()));
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
        Ok(front)
    }

    /// What can only be told when all changes are in.
    fn check_name(&self, name: &Name) -> Result<(), ZoneError> {
        let Some(node) = self.zone.node(name.borrow()) else { return Ok(()) };
        // An operator's CNAME or DNAME goes before the claims of endpoints, which stay beside or below it unserved:
        // refused, they would take with them all that their source lists.
        let is_operators = |slot: &Slot| slot.offers().iter().any(|offer| offer.origin.is_operators());
        // A CNAME of one of Azure's zones stays unserved beside other data in the same way.
        if node.slot(RecordType::CNAME).is_some_and(is_operators)
            && node.slots().iter().any(|slot| !slot.rtype().is_beside_cname() && is_operators(slot))
        {
            return Err(ZoneError::CnameBesideData(name.clone()));
        }
        if node.slot(RecordType::DNAME).is_some() && node.children > 0 {
            let below = self.zone.nodes().find(|(other, node)| {
                node.slots().iter().any(is_operators) && *other != *name && other.to_name().is_within(name)
            });
            if let Some((below, _)) = below {
                return Err(ZoneError::BelowDname { dname: name.clone(), name: below.to_name() });
            }
        }
        if self.zone.detours > 0 && node.slots().iter().any(is_operators) {
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

    /// Makes the empty non-terminals between a new name and the zone's tree.
    fn make_path(&mut self, front: &[u8]) {
        let (mut at, mut is_new) = (front, true);
        while is_new && let Some(parent) = front::parent(at) {
            self.zone.wildcards += usize::from(is_wildcard(at));
            let node;
            (node, is_new) = self.zone.nodes.entry(parent, Node::default);
            node.children += 1;
            at = parent;
        }
    }

    /// Takes away a name without data or children, and the empty non-terminals that only it needed.
    fn prune(&mut self, front: &[u8]) {
        let mut at = front;
        let is_unused = |node: &Node| node.slots().is_empty() && node.children == 0;
        while let Some(parent) = front::parent(at)
            && self.zone.node_at(at).is_some_and(is_unused)
        {
            self.zone.nodes.remove(at);
            self.zone.wildcards -= usize::from(is_wildcard(at));
            self.zone.nodes.entry(parent, Node::default).0.children -= 1;
            at = parent;
        }
    }

    fn count(&mut self, front: &[u8], rtype: RecordType, change: isize) {
        let is_apex = front.is_empty();
        let is_frame = is_apex && matches!(rtype, RecordType::SOA | RecordType::NS);
        if !is_frame {
            self.zone.content = self.zone.content.wrapping_add_signed(change);
        }
        if rtype == RecordType::DNAME || (rtype == RecordType::NS && !is_apex) {
            self.zone.detours = self.zone.detours.wrapping_add_signed(change);
        }
    }
}

/// Labels in front of an apex, one name's behind the other's: for a million names many allocations less.
#[derive(Default)]
struct Fronts {
    /// Each behind its length.
    bytes: Vec<u8>,
    /// Where the last one's length is.
    last: usize,
}

impl Fronts {
    /// Adds a name; the sets of a name come one after the other, and count once.
    fn push(&mut self, front: &[u8]) {
        if self.bytes.get(self.last + 1..) == Some(front) {
            return;
        }
        self.last = self.bytes.len();
        self.bytes.push(front.len() as u8);
        self.bytes.extend_from_slice(front);
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first()?;
            let (front, behind) = behind.split_at(usize::from(*length));
            rest = behind;
            Some(front)
        })
    }
}

fn is_wildcard(front: &[u8]) -> bool {
    front.starts_with(b"\x01*")
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
