//! The names that endpoints claim for each address: what reverse names lead back to. Kept only where config wants it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use smallvec::SmallVec;

use super::name_trie::NameTrie;
use super::node::Node;
use super::origin::Origin;
use super::served::Zone;
use crate::dns::{Name, NameRef, RecordType, rdata};

const IN_ADDR_ARPA: &[u8] = b"\x07in-addr\x04arpa\0";
const IP6_ARPA: &[u8] = b"\x03ip6\x04arpa\0";

/// Private names by the addresses that endpoints claim for them. Views are not regarded before somebody asks.
#[derive(Clone, Default)]
pub(super) struct Reverse {
    places: NameTrie<Place>,
}

/// An address, or a range of addresses that is one label of their reverse names shorter or more.
#[derive(Clone, Default)]
struct Place {
    /// Of an address: the names that an endpoint claims it for.
    names: SmallVec<[Name; 1]>,
    /// Places that are one label longer.
    longer: u32,
}

/// What a reverse name is of.
pub(super) enum ReverseOf<'r> {
    /// An address, and the names that endpoints claim it for.
    Address(IpAddr, &'r [Name]),
    /// Addresses whose reverse names lie below it.
    Range,
}

/// The front of a reverse name in the order of the address: its octets, or for IPv6 its nibbles.
#[derive(Clone, Copy)]
struct Prefix {
    bytes: [u8; 16],
    labels: u8,
    is_ipv6: bool,
}

impl Reverse {
    /// All that these zones have.
    pub fn of<'z>(zones: impl Iterator<Item = &'z Arc<Zone>>) -> Reverse {
        let mut reverse = Reverse::default();
        for zone in zones {
            for (owner, node) in zone.nodes() {
                let addresses = claimed(Some(node));
                if !addresses.is_empty() {
                    let name = owner.to_name();
                    addresses.into_iter().for_each(|address| reverse.add(address, &name));
                }
            }
        }
        reverse
    }

    /// Takes over what changed at a name; it does no harm to be told twice.
    pub fn change(&mut self, name: &Name, old: Option<&Node>, new: Option<&Node>) {
        let (old, new) = (claimed(old), claimed(new));
        for address in old.iter().filter(|address| !new.contains(address)) {
            self.remove(*address, name);
        }
        for address in new {
            self.add(address, name);
        }
    }

    fn add(&mut self, address: IpAddr, name: &Name) {
        // A wildcard stands for names that nobody knows: none of them is that of the address.
        if name.borrow().is_wildcard() {
            return;
        }
        let prefix = Prefix::of(address);
        let (place, is_new) = self.places.entry(&prefix.key(), Place::default);
        if !place.names.contains(name) {
            place.names.push(name.clone());
        }
        let (mut at, mut is_new) = (prefix, is_new);
        while is_new && let Some(shorter) = at.shorter() {
            let place;
            (place, is_new) = self.places.entry(&shorter.key(), Place::default);
            place.longer += 1;
            at = shorter;
        }
    }

    fn remove(&mut self, address: IpAddr, name: &Name) {
        let mut at = Prefix::of(address);
        if self.places.get(&at.key()).is_none() {
            return;
        }
        let (place, _) = self.places.entry(&at.key(), Place::default);
        place.names.retain(|other| other != name);
        while self.places.get(&at.key()).is_some_and(|place| place.names.is_empty() && place.longer == 0) {
            self.places.remove(&at.key());
            let Some(shorter) = at.shorter() else { break };
            self.places.entry(&shorter.key(), Place::default).0.longer -= 1;
            at = shorter;
        }
    }

    /// What a reverse name is of; `None` where it is that of no endpoint's address.
    pub fn at(&self, name: NameRef<'_>) -> Option<ReverseOf<'_>> {
        let prefix = Prefix::read(name)?;
        let place = self.places.get(&prefix.key())?;
        match place.longer {
            0 => Some(ReverseOf::Address(prefix.address()?, &place.names)),
            _ => Some(ReverseOf::Range),
        }
    }

    /// How many addresses and ranges there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.places.len()
    }
}

impl Prefix {
    fn of(address: IpAddr) -> Prefix {
        let mut bytes = [0; 16];
        match address {
            IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => bytes = address.octets(),
        }
        let labels = if address.is_ipv4() { 4 } else { 32 };
        Prefix { bytes, labels, is_ipv6: address.is_ipv6() }
    }

    /// Reads a name below `in-addr.arpa.` (RFC 1035 §3.5) or `ip6.arpa.` (RFC 3596 §2.5); others are none.
    fn read(name: NameRef<'_>) -> Option<Prefix> {
        let wire = name.as_wire();
        let is_ipv6 = wire.ends_with(IP6_ARPA);
        if !is_ipv6 && !wire.ends_with(IN_ADDR_ARPA) {
            return None;
        }
        let labels = name.label_count() - 2;
        let whole = if is_ipv6 { 32 } else { 4 };
        if labels == 0 || labels > whole {
            return None;
        }
        let mut bytes = [0_u8; 16];
        // The last label is the first of the address.
        for (at, label) in (0..labels).rev().zip(name.labels()) {
            match is_ipv6 {
                true => bytes[at / 2] |= nibble(label)? << (4 * (1 - at % 2)),
                false => bytes[at] = octet(label)?,
            }
        }
        Some(Prefix { bytes, labels: labels as u8, is_ipv6 })
    }

    /// What it is kept by.
    fn key(&self) -> SmallVec<[u8; 17]> {
        let used = if self.is_ipv6 { 16 } else { usize::from(self.labels) };
        // IPv4 has no more than four bytes, IPv6 always 17.
        let labels = self.is_ipv6.then_some(self.labels);
        labels.into_iter().chain(self.bytes[..used].iter().copied()).collect()
    }

    /// With one label less.
    fn shorter(&self) -> Option<Prefix> {
        let labels = self.labels.checked_sub(1).filter(|labels| *labels > 0)?;
        let mut bytes = self.bytes;
        let at = usize::from(labels);
        match self.is_ipv6 {
            true if at % 2 == 1 => bytes[at / 2] &= 0xF0,
            true => bytes[at / 2] = 0,
            false => bytes[at] = 0,
        }
        Some(Prefix { bytes, labels, ..*self })
    }

    /// The address, if it is a whole one.
    fn address(&self) -> Option<IpAddr> {
        match (self.is_ipv6, self.labels) {
            (false, 4) => self.bytes.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into()),
            (true, 32) => Some(Ipv6Addr::from(self.bytes).into()),
            _ => None,
        }
    }
}

/// The addresses that endpoints claim for a name, in all views together.
fn claimed(node: Option<&Node>) -> SmallVec<[IpAddr; 2]> {
    let slots = [RecordType::A, RecordType::AAAA].into_iter().filter_map(|rtype| node?.slot(rtype));
    let offers = slots.flat_map(|slot| slot.offers());
    let claims = offers.filter(|offer| matches!(offer.origin, Origin::Endpoint(_)));
    claims.flat_map(|offer| offer.set.records().filter_map(rdata::address)).collect()
}

/// A label that is a number as addresses are written: `007` is another name.
fn octet(label: &[u8]) -> Option<u8> {
    let is_plain = matches!(label, [b'0'] | [b'1'..=b'9', ..]);
    std::str::from_utf8(label).ok().filter(|_| is_plain)?.parse().ok()
}

fn nibble(label: &[u8]) -> Option<u8> {
    let [digit] = label else { return None };
    char::from(*digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{
        Change, ChangeSet, Claim, Network, Networks, Offer, Reversed, Snapshot, ViewId, ZoneHeader,
    };
    use super::*;
    use crate::dns::{RecordSet, Ttl};

    const APEX: &str = "privatelink.blob.core.windows.net.";

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn claim(endpoint: u8, network: u8) -> Origin {
        Origin::Endpoint(Arc::new(Claim {
            endpoint: format!("/endpoint{endpoint}").into(),
            virtual_network: Some(format!("/network{network}").into()),
            subscription: "s".into(),
            resource: None,
            source: "source".into(),
            since_secs: 0,
        }))
    }

    fn put(owner: &str, address: &str, origin: Origin) -> Change {
        let ttl = Ttl::from_secs(10).unwrap();
        let set = match address.parse().unwrap() {
            IpAddr::V4(address) => RecordSet::new(RecordType::A, ttl, [address.octets().to_vec()]),
            IpAddr::V6(address) => RecordSet::new(RecordType::AAAA, ttl, [address.octets().to_vec()]),
        };
        let offer = Offer { set: set.unwrap(), origin };
        Change::Put { zone: name(APEX), name: name(&format!("{owner}.{APEX}")), offer }
    }

    fn apply(old: &Snapshot, changes: Vec<Change>) -> Snapshot {
        ChangeSet { changes }.apply(old).unwrap().0
    }

    fn kept() -> Snapshot {
        let zone = Change::SetZone(ZoneHeader::private_link(name(APEX)));
        apply(&Snapshot::default(), vec![Change::SetReverse { kept: true }, zone])
    }

    fn target(snapshot: &Snapshot, reverse: &str, view: u16) -> String {
        let reverse = name(reverse);
        match snapshot.reversed(reverse.borrow(), ViewId(view)) {
            Some(Reversed::Pointer { target, .. }) => target.borrow().relative_to(name(APEX).borrow()),
            Some(Reversed::Above) => "above".to_owned(),
            None => "none".to_owned(),
        }
    }

    #[test]
    fn an_address_leads_to_its_name_and_what_is_above_exists() {
        let snapshot = apply(
            &kept(),
            vec![
                put("app", "10.1.2.3", claim(1, 1)),
                put("six", "fd00::1f", claim(2, 1)),
                put("*.ml", "10.1.2.4", claim(3, 1)),
            ],
        );
        let six = "f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.";
        for (reverse, expected) in [
            ("3.2.1.10.in-addr.arpa.", "app"),
            ("2.1.10.in-addr.arpa.", "above"),
            ("10.in-addr.arpa.", "above"),
            ("4.2.1.10.in-addr.arpa.", "none"),
            ("03.2.1.10.in-addr.arpa.", "none"),
            ("x.3.2.1.10.in-addr.arpa.", "none"),
            ("in-addr.arpa.", "none"),
            ("3.2.1.10.example.", "none"),
            (six, "six"),
            (&six[4..], "above"),
            (&six[2..], "above"),
        ] {
            assert_eq!(target(&snapshot, reverse, 0), expected, "{reverse}");
        }
    }

    #[test]
    fn an_address_leads_to_the_name_of_its_resource_before_any_other() {
        let mut of_resource = claim(9, 1);
        if let Origin::Endpoint(claim) = &mut of_resource {
            let claim = Arc::make_mut(claim);
            claim.resource =
                Some("/subscriptions/s/providers/microsoft.storage/storageaccounts/data01".into());
            claim.since_secs = 9;
        }
        let changes =
            vec![put("a", "10.1.2.3", claim(1, 1)), put("data01-secondary", "10.1.2.3", of_resource.clone())];
        let snapshot = apply(&kept(), changes);
        assert_eq!(target(&snapshot, "3.2.1.10.in-addr.arpa.", 0), "data01-secondary");
        let snapshot = apply(&snapshot, vec![put("data01", "10.1.2.3", of_resource)]);
        assert_eq!(target(&snapshot, "3.2.1.10.in-addr.arpa.", 0), "data01");
    }

    #[test]
    fn nothing_is_kept_unless_it_is_wanted() {
        let snapshot = apply(&kept(), vec![put("app", "10.1.2.3", claim(1, 1))]);
        let off = apply(&snapshot, vec![Change::SetReverse { kept: false }]);
        assert_eq!(target(&off, "3.2.1.10.in-addr.arpa.", 0), "none");
        let on = apply(&off, vec![Change::SetReverse { kept: true }]);
        assert_eq!(target(&on, "3.2.1.10.in-addr.arpa.", 0), "app");
    }

    #[test]
    fn of_several_names_at_an_address_the_views_own_claim_leads_then_the_shortest_name() {
        let network = |number: u8| Network {
            name: format!("n{number}").into(),
            clients: Vec::new(),
            virtual_networks: vec![format!("/network{number}").into()],
        };
        let networks = Networks::new(vec![network(1), network(2)], Vec::new()).unwrap();
        let snapshot = apply(
            &kept(),
            vec![
                Change::SetNetworks(Arc::new(networks)),
                put("site.scm", "10.0.0.4", claim(1, 1)),
                put("site", "10.0.0.4", claim(1, 1)),
                put("other", "10.0.0.4", claim(2, 2)),
            ],
        );
        let reverse = "4.0.0.10.in-addr.arpa.";
        let of_views: Vec<String> = (0..3).map(|view| target(&snapshot, reverse, view)).collect();
        assert_eq!(of_views, ["site", "site", "other"]);
        // A name that is served with another address is none of this one's.
        let moved = apply(&snapshot, vec![put("other", "10.0.0.5", claim(3, 2))]);
        let rest = Change::Remove {
            zone: name(APEX),
            name: name(&format!("other.{APEX}")),
            rtype: RecordType::A,
            origin: claim(2, 2),
        };
        assert_eq!(target(&apply(&moved, vec![rest]), reverse, 2), "site");
    }

    proptest! {
        #[test]
        fn changes_one_by_one_leave_what_a_new_look_at_all_zones_finds(
            steps in prop::collection::vec((0_u8..4, 0_u8..3, 0_u8..4, 0_u8..8), 1..40),
        ) {
            let mut snapshot = kept();
            for (owner, endpoint, address, kind) in steps {
                let owner = format!("n{owner}");
                let text = if kind % 2 == 0 { format!("10.0.{address}.1") } else { format!("fd00::{address}") };
                let whole = name(&format!("{owner}.{APEX}"));
                let rtype = if kind % 2 == 0 { RecordType::A } else { RecordType::AAAA };
                let origin = claim(endpoint, endpoint);
                let changes = match kind {
                    0..=4 => vec![put(&owner, &text, origin)],
                    5 | 6 => vec![Change::Remove { zone: name(APEX), name: whole, rtype, origin }],
                    _ => vec![
                        Change::DropZone(name(APEX)),
                        Change::SetZone(ZoneHeader::private_link(name(APEX))),
                        put(&owner, &text, origin),
                    ],
                };
                snapshot = apply(&snapshot, changes);
                let (kept, anew) = (snapshot.reverse.as_deref().unwrap(), Reverse::of(snapshot.zones().map(|(_, zone)| zone)));
                prop_assert_eq!(kept.len(), anew.len());
                for (key, place) in anew.places.iter() {
                    let other = kept.places.get(key).unwrap();
                    let sorted = |place: &Place| {
                        let mut names = place.names.to_vec();
                        names.sort();
                        (names, place.longer)
                    };
                    prop_assert_eq!(sorted(other), sorted(place));
                }
            }
        }
    }
}
