//! Pages of a zone's record sets: each is found from where the one before ended, and nothing else is held.

use super::view::{OriginWord, RecordSetView, Shown};
use super::written::Written;
use crate::dns::{Name, RecordType};
use crate::zone::{Node, Slot, Snapshot, Store, Zone};

/// Names of a zone up to which pages are in the order of names. Beyond, each page would sort them all again, and the
/// order is one that costs nothing.
const SORTED_NAMES_MAX: usize = 10_000;

/// Which record sets are asked for; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub name: Option<NameFilter>,
    pub rtype: Option<RecordType>,
    pub origin: Option<OriginWord>,
}

/// One name, or a text in which `*` stands for any run of characters.
#[derive(Clone, Debug)]
pub enum NameFilter {
    Exactly(Name),
    Like(String),
}

/// The place that a page begins behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    order: Order,
    name: Name,
    rtype: RecordType,
}

/// In what order a listing goes; it stays the same to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Canonical order of names (RFC 4034 §6.1).
    ByName,
    /// The zone's own.
    ByPlace,
    /// At the end: what is written and not served, where nothing else is.
    Unserved,
}

impl Cursor {
    /// As a page's token holds it.
    pub fn to_key(&self) -> String {
        let order = match self.order {
            Order::ByName => 'n',
            Order::ByPlace => 'p',
            Order::Unserved => 'u',
        };
        format!("{order}{} {}", self.rtype.0, self.name)
    }

    pub fn of_key(key: &str) -> Option<Cursor> {
        let (order, rest) = key.split_at_checked(1)?;
        let order = match order {
            "n" => Order::ByName,
            "p" => Order::ByPlace,
            "u" => Order::Unserved,
            _ => return None,
        };
        let (rtype, name) = rest.split_once(' ')?;
        Some(Cursor { order, name: name.parse().ok()?, rtype: RecordType(rtype.parse().ok()?) })
    }
}

/// Collects the places of one page.
struct Page<'s> {
    apex: &'s Name,
    snapshot: &'s Snapshot,
    filter: &'s Filter,
    limit: usize,
    found: Vec<Cursor>,
}

/// The record sets behind a place, at most `limit`; `None` for what goes while it is listed.
// A filter that fits little looks at much. Meanwhile nothing is held up: only what is found is looked at with what is
// written.
pub fn page(
    apex: &Name,
    written: &Written,
    store: &Store,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: usize,
) -> Vec<(Cursor, Option<RecordSetView>)> {
    let mut alone: Vec<(Name, RecordType)> = match &filter.name {
        Some(NameFilter::Exactly(name)) => {
            let state = written.read();
            let types = state.types_of(apex, name).into_iter();
            types.map(|rtype| (name.clone(), rtype)).collect()
        }
        _ => {
            let state = written.read();
            state.refused_of(apex).map(|(name, rtype)| (name.clone(), rtype)).collect()
        }
    };
    alone.sort_unstable();
    let snapshot = store.snapshot();
    let mut page = Page { apex, snapshot: &snapshot, filter, limit, found: Vec::new() };
    page.take_all(after, &alone);
    let found = page.found;
    // First what is written, then what is served: see `Written`.
    let state = written.read();
    let snapshot = store.snapshot();
    let view = |place: &Cursor| {
        Shown { apex, name: &place.name, rtype: place.rtype, state: &state, snapshot: &snapshot }.view()
    };
    found.into_iter().map(|place| (place.clone(), view(&place))).collect()
}

impl Page<'_> {
    fn is_full(&self) -> bool {
        self.found.len() >= self.limit
    }

    fn take_all(&mut self, after: Option<&Cursor>, alone: &[(Name, RecordType)]) {
        let zone = self.snapshot.zone(self.apex.borrow());
        if let (Some(NameFilter::Exactly(name)), Some(zone)) = (&self.filter.name, zone) {
            let is_served = after.is_none_or(|after| after.order != Order::Unserved);
            if let Some(node) = zone.node(name.borrow()).filter(|_| is_served) {
                self.take_node(Order::ByName, name, node, after.map(|after| after.rtype));
            }
        } else if let Some(zone) = zone {
            let usual = if zone.len() <= SORTED_NAMES_MAX { Order::ByName } else { Order::ByPlace };
            match after.map_or(usual, |after| after.order) {
                Order::ByName => self.take_by_name(zone, after),
                Order::ByPlace => self.take_by_place(zone, after),
                Order::Unserved => {}
            }
        }
        self.take_unserved(after.filter(|after| after.order == Order::Unserved), alone);
    }

    fn take_by_name(&mut self, zone: &Zone, after: Option<&Cursor>) {
        let nodes = zone.nodes().map(|(owner, node)| (owner.to_name(), node));
        let mut nodes: Vec<(Name, &Node)> =
            nodes.filter(|(name, _)| after.is_none_or(|after| *name >= after.name)).collect();
        nodes.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (name, node) in &nodes {
            if self.is_full() {
                return;
            }
            let behind = after.filter(|after| after.name == *name).map(|after| after.rtype);
            self.take_node(Order::ByName, name, node, behind);
        }
    }

    fn take_by_place(&mut self, zone: &Zone, after: Option<&Cursor>) {
        if let Some(after) = after
            && let Some(node) = zone.node(after.name.borrow())
        {
            self.take_node(Order::ByPlace, &after.name, node, Some(after.rtype));
        }
        for (owner, node) in zone.nodes_behind(after.map(|after| after.name.borrow())) {
            if self.is_full() {
                return;
            }
            self.take_node(Order::ByPlace, &owner.to_name(), node, None);
        }
    }

    fn take_unserved(&mut self, after: Option<&Cursor>, alone: &[(Name, RecordType)]) {
        let zone = self.snapshot.zone(self.apex.borrow());
        for (name, rtype) in alone {
            if self.is_full() {
                return;
            }
            let slot = zone.and_then(|zone| zone.node(name.borrow())).and_then(|node| node.slot(*rtype));
            let is_behind = after.is_none_or(|after| (name, *rtype) > (&after.name, after.rtype));
            if is_behind && slot.is_none() {
                self.take(Order::Unserved, name, *rtype, None);
            }
        }
    }

    fn take_node(&mut self, order: Order, name: &Name, node: &Node, behind: Option<RecordType>) {
        let mut slots: Vec<&Slot> = node.slots().iter().collect();
        slots.sort_unstable_by_key(|slot| slot.rtype());
        for slot in slots {
            if behind.is_none_or(|behind| slot.rtype() > behind) {
                self.take(order, name, slot.rtype(), Some(slot));
            }
        }
    }

    fn take(&mut self, order: Order, name: &Name, rtype: RecordType, slot: Option<&Slot>) {
        if self.is_full() || !self.fits(name, rtype, slot) {
            return;
        }
        self.found.push(Cursor { order, name: name.clone(), rtype });
    }

    fn fits(&self, name: &Name, rtype: RecordType, slot: Option<&Slot>) -> bool {
        let is_of_type = self.filter.rtype.is_none_or(|wanted| wanted == rtype);
        let has_origin = |wanted: OriginWord| match slot {
            Some(slot) => slot.offers().iter().any(|offer| OriginWord::of(&offer.origin) == wanted),
            None => wanted == OriginWord::Rest,
        };
        let is_named = || match &self.filter.name {
            None => true,
            Some(NameFilter::Exactly(wanted)) => wanted == name,
            Some(NameFilter::Like(glob)) => {
                is_like(glob, &name.borrow().relative_to(self.apex.borrow()))
                    || is_like(glob, &name.to_string())
            }
        };
        is_of_type && self.filter.origin.is_none_or(has_origin) && is_named()
    }
}

/// Whether a text is of a form in which `*` stands for any run of characters.
pub fn is_like(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    // The first fit of each part leaves the most for those behind it.
    let rest = parts.iter().try_fold(rest, |rest, part| rest.find(part).map(|at| &rest[at + part.len()..]));
    rest.is_some_and(|rest| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{RecordSet, Ttl};
    use crate::zone::{Change, ChangeSet, Offer, Origin, Unwitnessed, ZoneHeader};

    #[test]
    fn a_large_zone_is_listed_whole_page_by_page_while_it_changes() {
        let apex: Name = "privatelink.z.".parse().unwrap();
        let store = Store::new(Box::new(Unwitnessed));
        let put = |number: usize| {
            let set = RecordSet::new(RecordType::A, Ttl::from_secs(1).unwrap(), [[10, 0, 0, 1]]).unwrap();
            let name = Name::parse(&format!("n{number}"), apex.borrow()).unwrap();
            Change::Put { zone: apex.clone(), name, offer: Offer { set, origin: Origin::Rest } }
        };
        let mut changes = vec![Change::SetZone(ZoneHeader::private_link(apex.clone()))];
        changes.extend((0..SORTED_NAMES_MAX + 500).map(put));
        store.commit(ChangeSet { changes }).unwrap();
        let written = Written::default();
        let (mut seen, mut after, mut extra) = (std::collections::HashSet::new(), None, 20_000);
        loop {
            let found = page(&apex, &written, &store, &Filter::default(), after.as_ref(), 997);
            let Some((last, _)) = found.last() else { break };
            after = Some(last.clone());
            for (place, view) in found {
                assert!(view.is_some() && seen.insert((place.name, place.rtype)));
            }
            store.commit(ChangeSet { changes: vec![put(extra)] }).unwrap();
            extra += 1;
        }
        let all = (0..SORTED_NAMES_MAX + 500)
            .map(|number| Name::parse(&format!("n{number}"), apex.borrow()).unwrap());
        assert!(all.into_iter().all(|name| seen.contains(&(name, RecordType::A))));
        assert!(seen.contains(&(apex, RecordType::SOA)));
    }

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (glob, text) in
            [("*", ""), ("a*", "a"), ("*b", "ab"), ("a*b*c", "axxbyyc"), ("ab", "ab"), ("*a*", "bab")]
        {
            assert!(is_like(glob, text), "{glob} {text}");
        }
        for (glob, text) in [("a", "ab"), ("a*b", "a"), ("ab*ba", "aba"), ("", "a"), ("*a", "ab")] {
            assert!(!is_like(glob, text), "{glob} {text}");
        }
    }

    #[test]
    fn a_place_survives_its_token() {
        for order in [Order::ByName, Order::ByPlace, Order::Unserved] {
            let place = Cursor { order, name: "a\\032b.z.".parse().unwrap(), rtype: RecordType::TXT };
            assert_eq!(Cursor::of_key(&place.to_key()), Some(place));
        }
        for wrong in ["", "x1 a.", "n a.", "n70000 a.", "n1"] {
            assert_eq!(Cursor::of_key(wrong), None, "{wrong}");
        }
    }
}
