//! One zone as it is served: immutable, and asked by name and type.

use std::sync::Arc;

use super::front::{self, Owner};
use super::header::{ZoneHeader, ZoneKind};
use super::name_trie::{self, NameTrie};
use super::network::{Networks, ViewId};
use super::node::Node;
use super::origin::{AzureZone, Origin};
use super::outcome::Outcome;
use super::slot::{Contested, Offer, Slot};
use crate::dns::{Name, NameRef, NegativeAuthority, RecordType};

/// A zone.
#[derive(Clone)]
pub struct Zone {
    pub(super) header: ZoneHeader,
    /// The views that see the zone; `None` = all.
    pub(super) visible_in: Option<Box<[ViewId]>>,
    pub(super) nodes: NameTrie<Node>,
    pub(super) serial: u32,
    /// Record sets but for SOA and NS of the apex: what makes a private-link zone worth serving.
    pub(super) content: usize,
    /// Delegations and DNAMEs: only with them must a look-up go down from the apex.
    pub(super) detours: usize,
    /// Names that begin with `*`: only with them may one that is not there exist.
    pub(super) wildcards: usize,
    /// What answers out of it are counted under; [`UNNAMED`](super::UNNAMED) before it is served.
    pub(super) number: u16,
    /// The SOA record of negative answers, where it can be made once.
    pub(super) negative: Option<NegativeAuthority>,
}

impl Zone {
    /// Name and settings.
    pub fn header(&self) -> &ZoneHeader {
        &self.header
    }

    /// The zone's name.
    pub fn apex(&self) -> &Name {
        &self.header.apex
    }

    /// What answers out of it are counted under, below [`NUMBERS`](super::NUMBERS).
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The serial of the SOA record.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// How many names there are, empty non-terminals included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing but SOA and NS of the apex is there.
    pub fn is_empty(&self) -> bool {
        self.content == 0
    }

    /// Record sets but for SOA and NS of the apex.
    pub fn content(&self) -> usize {
        self.content
    }

    /// Whether a view is answered from this zone (design R3: an empty private-link zone is as if it were not there).
    pub fn is_served_to(&self, view: ViewId) -> bool {
        let seen = self.visible_in.as_ref().is_none_or(|views| views.contains(&view));
        seen && (self.content > 0 || self.header.kind == ZoneKind::Plain)
    }

    /// The zones of Azure that are imported into this one: each has a SOA here.
    pub fn azure_zones(&self) -> impl Iterator<Item = &Arc<AzureZone>> {
        let apex = self.nodes.get(&[]);
        let soa = apex.and_then(|node| node.slot(RecordType::SOA));
        soa.into_iter().flat_map(Slot::offers).filter_map(|offer| match &offer.origin {
            Origin::AzureZone(zone) => Some(zone),
            _ => None,
        })
    }

    /// The SOA record set.
    pub fn soa(&self) -> &Offer {
        let apex = self.nodes.get(&[]);
        let soa = apex.and_then(|node| node.served(RecordType::SOA, ViewId::NONE));
        soa.expect("the builder refuses a zone without SOA")
    }

    /// The SOA record of negative answers, finished; `None` where it depends on the question.
    pub fn negative(&self) -> Option<&NegativeAuthority> {
        self.negative.as_ref()
    }

    /// All names and what is at them, in no order.
    pub fn nodes(&self) -> impl Iterator<Item = (Owner<'_>, &Node)> {
        self.nodes.iter().map(|(front, node)| (Owner::new(front, self.apex()), node))
    }

    /// The names behind one, in an order that stays as others come and go; for lists that are read page by page.
    pub fn nodes_behind(&self, name: Option<NameRef<'_>>) -> impl Iterator<Item = (Owner<'_>, &Node)> {
        let front = name.and_then(|name| name.strip_suffix(self.apex().borrow()));
        self.nodes.iter_behind(front).map(|(front, node)| (Owner::new(front, self.apex()), node))
    }

    /// Names below the apex that are delegated to other servers, in no order.
    pub fn delegations(&self) -> impl Iterator<Item = Owner<'_>> {
        let nodes = (self.detours > 0).then(|| self.nodes()).into_iter().flatten();
        let is_cut =
            |owner: &Owner<'_>, node: &Node| !owner.front().is_empty() && node.slot(RecordType::NS).is_some();
        nodes.filter(move |(owner, node)| is_cut(owner, node)).map(|(owner, _)| owner)
    }

    /// What is at a name.
    pub fn node(&self, name: NameRef<'_>) -> Option<&Node> {
        self.node_at(name.strip_suffix(self.apex().borrow())?)
    }

    /// What is at a name, given by its labels in front of the apex: lower-cased, in wire form, without a root label.
    pub fn node_at(&self, front: &[u8]) -> Option<&Node> {
        self.nodes.get(front)
    }

    /// The way to what is at a name that will be asked for soon, given as to `node_at`.
    pub fn way(&self, front: &[u8]) -> Way<'_> {
        Way { zone: self, front_bytes: front.len(), node: self.nodes.way(front) }
    }

    /// What this zone says (RFC 1034 §4.3.2, RFC 4592). `name` must lie within the zone.
    pub fn lookup(&self, name: NameRef<'_>, rtype: RecordType, view: ViewId) -> Outcome<'_> {
        let Some(front) = name.strip_suffix(self.apex().borrow()) else { return Outcome::NoSuchName };
        self.lookup_by(|| self.node_at(front), name, front, rtype, view)
    }

    /// Whether the offer of `origin` for a name and type keeps the name from claims whose resources fit it worse.
    pub fn shields(
        &self,
        name: NameRef<'_>,
        rtype: RecordType,
        origin: &Origin,
        networks: &Networks,
    ) -> bool {
        let front = name.strip_suffix(self.apex().borrow());
        let slot = front.and_then(|front| Some((front, self.node_at(front)?.slot(rtype)?)));
        slot.is_some_and(|(front, slot)| slot.shields(front, origin, networks))
    }

    /// The offers for a name and type that a view is not served.
    pub fn contested(
        &self,
        name: NameRef<'_>,
        rtype: RecordType,
        view: ViewId,
        networks: &Networks,
    ) -> Vec<Contested<'_>> {
        let Some(front) = name.strip_suffix(self.apex().borrow()) else { return Vec::new() };
        if let Some(node) = self.node_at(front) {
            let slot = node.slot(rtype);
            return slot.map_or_else(Vec::new, |slot| slot.contested(front, view, networks));
        }
        // RFC 4592 §3.3.1: the wildcard below the closest encloser, which is the nearest there is.
        let above = name.ancestors().skip(1).filter_map(|above| above.child(b"*").ok());
        let mut contests = above.filter_map(|wildcard| {
            let front = wildcard.borrow().strip_suffix(self.apex().borrow())?;
            let slot = self.node_at(front)?.slot(rtype)?;
            Some(slot.contested(front, view, networks))
        });
        contests.next().unwrap_or_default()
    }

    /// The same, where `node` finds what is at the name.
    fn lookup_by<'z>(
        &'z self,
        node: impl FnOnce() -> Option<&'z Node>,
        name: NameRef<'_>,
        front: &[u8],
        rtype: RecordType,
        view: ViewId,
    ) -> Outcome<'z> {
        if self.detours > 0
            && let Some(detour) = self.detour(name, rtype, view)
        {
            return detour;
        }
        match node() {
            Some(node) => node.answer(rtype, view),
            None => self.wildcard(front).map_or(Outcome::NoSuchName, |node| node.answer(rtype, view)),
        }
    }

    /// What stands in for a name that is not there.
    // RFC 4592 §3.3.1: the wildcard at the closest encloser, and no other.
    fn wildcard(&self, front: &[u8]) -> Option<&Node> {
        if self.wildcards == 0 {
            return None;
        }
        let enclosers = std::iter::successors(front::parent(front), |front| front::parent(front));
        let mut enclosers = enclosers.filter(|front| self.node_at(front).is_some());
        let encloser = Owner::new(enclosers.next()?, self.apex()).to_buf();
        self.node(encloser.borrow().child(b"*").ok()?.borrow())
    }

    /// Whether a name exists, by itself or by a wildcard, for whatever type.
    pub fn holds(&self, name: NameRef<'_>, view: ViewId) -> bool {
        !matches!(self.lookup(name, RecordType::ANY, view), Outcome::NoSuchName)
    }

    /// The delegation or DNAME nearest to the apex that `name` lies at or below.
    fn detour(&self, name: NameRef<'_>, rtype: RecordType, view: ViewId) -> Option<Outcome<'_>> {
        let depth = name.label_count();
        for labels in self.apex().borrow().label_count()..=depth {
            let front = name.trim_to(labels)?.strip_suffix(self.apex().borrow())?;
            let Some((front, node)) = self.nodes.get_entry(front) else { continue };
            let owner = Owner::new(front, self.apex());
            // RFC 4035 §3.1.4.1: the parent answers for DS.
            let own_ds = labels == depth && rtype == RecordType::DS;
            if !front.is_empty()
                && !own_ds
                && let Some(offer) = node.served(RecordType::NS, view)
            {
                return Some(Outcome::Referral { cut: owner, offer });
            }
            // RFC 6672 §3.2: what is delegated is not ours to rename.
            if labels < depth
                && let Some(offer) = node.served(RecordType::DNAME, view)
            {
                return Some(Outcome::Dname { owner, offer });
            }
        }
        None
    }
}

/// The way to a name of a zone, of which each step asks for the memory that the next one reads.
#[derive(Clone, Copy)]
pub struct Way<'z> {
    zone: &'z Zone,
    front_bytes: usize,
    node: name_trie::Way<'z, Node>,
}

impl<'z> Way<'z> {
    /// The zone that the name lies in.
    pub fn zone(&self) -> &'z Zone {
        self.zone
    }

    /// Goes one step and asks for the memory that the next one reads; answers whether there was a step to go.
    pub fn go(&mut self) -> bool {
        self.node.go()
    }

    /// What the zone says of the name at the end: as `Zone::lookup`, and `name` is that which the way was begun for.
    pub fn lookup(&self, name: NameRef<'_>, rtype: RecordType, view: ViewId) -> Outcome<'z> {
        let front = &name.as_wire()[..self.front_bytes];
        let node = || self.node.get_entry(front).map(|(_, node)| node);
        self.zone.lookup_by(node, name, front, rtype, view)
    }
}
