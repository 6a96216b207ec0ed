//! One zone as it is served: immutable, and asked by name and type.

use std::sync::Arc;

use smallvec::SmallVec;

use super::name_trie::NameTrie;
use super::network::ViewId;
use super::origin::{AzureZone, Origin};
use super::slot::{Offer, Slot};
use crate::dns::{Name, NameRef, NegativeAuthority, RecordType};

/// What kind of zone it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ZoneKind {
    /// One of Azure's `privatelink.*` zones: not served while it has no record.
    PrivateLink,
    /// Any other zone.
    Plain,
}

/// What a miss in a zone means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum OnMissing {
    /// Upstream is asked: the resource may be another tenant's.
    AskPublic,
    /// The name does not exist.
    NxDomain,
}

/// A zone's name and settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ZoneHeader {
    pub apex: Name,
    pub kind: ZoneKind,
    pub on_missing: OnMissing,
    /// The networks that see the zone; none = all.
    pub networks: Vec<Arc<str>>,
}

impl ZoneHeader {
    /// A private-link zone with the usual settings.
    pub fn private_link(apex: Name) -> ZoneHeader {
        ZoneHeader {
            apex,
            kind: ZoneKind::PrivateLink,
            on_missing: OnMissing::AskPublic,
            networks: Vec::new(),
        }
    }

    /// Any other zone with the usual settings.
    pub fn plain(apex: Name) -> ZoneHeader {
        ZoneHeader { apex, kind: ZoneKind::Plain, on_missing: OnMissing::NxDomain, networks: Vec::new() }
    }
}

/// A name of a zone. A node without slots is an empty non-terminal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    pub(super) slots: SmallVec<[Slot; 1]>,
    /// Nodes one label below.
    pub(super) children: u32,
}

impl Node {
    /// The slot of a type.
    pub fn slot(&self, rtype: RecordType) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.rtype() == rtype)
    }

    /// All slots.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// What a view is served of a type. An operator's CNAME hides what endpoints claim.
    fn served(&self, rtype: RecordType, view: ViewId) -> Option<&Offer> {
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
        if self.slots.len() == 1 || !matches!(alias.origin, Origin::AzureZone(_)) {
            return Some(alias);
        }
        let is_own = slot.is_chosen_for(view);
        let mut others = self.slots.iter().filter(|slot| !slot.rtype().is_beside_cname());
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
        let shown = self.slots.iter().filter_map(|slot| Some((slot, self.served(slot.rtype(), view)?)));
        shown.min_by_key(|(slot, _)| rank(slot)).map(|(_, offer)| offer)
    }
}

/// A zone.
#[derive(Clone)]
pub struct Zone {
    pub(super) header: ZoneHeader,
    /// The views that see the zone; `None` = all.
    pub(super) visible_in: Option<Box<[ViewId]>>,
    pub(super) nodes: NameTrie<Arc<Node>>,
    pub(super) serial: u32,
    /// Record sets but for SOA and NS of the apex: what makes a private-link zone worth serving.
    pub(super) content: usize,
    /// Delegations and DNAMEs: only with them must a look-up go down from the apex.
    pub(super) detours: usize,
    /// The SOA record of negative answers, where it can be made once.
    pub(super) negative: Option<NegativeAuthority>,
}

/// What a zone says to a name and a type.
#[derive(Debug)]
pub enum Outcome<'z> {
    /// Data. The owner is the name asked for, also when a wildcard made it.
    Hit(&'z Offer),
    /// The name is an alias.
    Alias(&'z Offer),
    /// The name lies below a DNAME.
    Dname { owner: &'z Name, offer: &'z Offer },
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NoSuchName,
    /// The name is delegated to other servers.
    Referral { cut: &'z Name, offer: &'z Offer },
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
        let apex = self.nodes.get(self.header.apex.borrow());
        let soa = apex.and_then(|node| node.slot(RecordType::SOA));
        soa.into_iter().flat_map(Slot::offers).filter_map(|offer| match &offer.origin {
            Origin::AzureZone(zone) => Some(zone),
            _ => None,
        })
    }

    /// The SOA record set.
    pub fn soa(&self) -> &Offer {
        let apex = self.nodes.get(self.header.apex.borrow());
        let soa = apex.and_then(|node| node.served(RecordType::SOA, ViewId::NONE));
        soa.expect("the builder refuses a zone without SOA")
    }

    /// The SOA record of negative answers, finished; `None` where it depends on the question.
    pub fn negative(&self) -> Option<&NegativeAuthority> {
        self.negative.as_ref()
    }

    /// All names and what is at them, in no order.
    pub fn nodes(&self) -> impl Iterator<Item = (&Name, &Node)> {
        self.nodes.iter().map(|(name, node)| (name, &**node))
    }

    /// The names behind one, in an order that stays as others come and go; for lists that are read page by page.
    pub fn nodes_behind(&self, name: Option<NameRef<'_>>) -> impl Iterator<Item = (&Name, &Node)> {
        self.nodes.iter_behind(name).map(|(name, node)| (name, &**node))
    }

    /// What is at a name.
    pub fn node(&self, name: NameRef<'_>) -> Option<&Node> {
        self.nodes.get(name).map(|node| &**node)
    }

    /// What this zone says (RFC 1034 §4.3.2, RFC 4592). `name` must lie within the zone.
    pub fn lookup(&self, name: NameRef<'_>, rtype: RecordType, view: ViewId) -> Outcome<'_> {
        if self.detours > 0
            && let Some(detour) = self.detour(name, rtype, view)
        {
            return detour;
        }
        if let Some(node) = self.node(name) {
            return answer(node, rtype, view);
        }
        // RFC 4592 §3.3.1: the wildcard at the closest encloser, and no other.
        for encloser in name.ancestors().skip(1) {
            if !encloser.is_within(self.header.apex.borrow()) {
                break;
            }
            if self.node(encloser).is_some() {
                let wildcard = encloser.child(b"*").ok();
                let node = wildcard.and_then(|wildcard| self.node(wildcard.borrow()));
                return node.map_or(Outcome::NoSuchName, |node| answer(node, rtype, view));
            }
        }
        Outcome::NoSuchName
    }

    /// Whether a name exists, by itself or by a wildcard, for whatever type.
    pub fn holds(&self, name: NameRef<'_>, view: ViewId) -> bool {
        !matches!(self.lookup(name, RecordType::ANY, view), Outcome::NoSuchName)
    }

    /// The delegation or DNAME nearest to the apex that `name` lies at or below.
    fn detour(&self, name: NameRef<'_>, rtype: RecordType, view: ViewId) -> Option<Outcome<'_>> {
        let depth = name.label_count();
        for labels in self.header.apex.borrow().label_count()..=depth {
            let at = name.trim_to(labels)?;
            let Some((owner, node)) = self.nodes.get_entry(at) else { continue };
            let is_apex = at == self.header.apex.borrow();
            if labels < depth
                && let Some(offer) = node.served(RecordType::DNAME, view)
            {
                return Some(Outcome::Dname { owner, offer });
            }
            // RFC 4035 §3.1.4.1: the parent answers for DS.
            let own_ds = labels == depth && rtype == RecordType::DS;
            if !is_apex
                && !own_ds
                && let Some(offer) = node.served(RecordType::NS, view)
            {
                return Some(Outcome::Referral { cut: owner, offer });
            }
        }
        None
    }
}

fn answer(node: &Node, rtype: RecordType, view: ViewId) -> Outcome<'_> {
    if rtype == RecordType::ANY {
        return node.any(view).map_or(Outcome::NoData, Outcome::Hit);
    }
    if rtype != RecordType::CNAME
        && let Some(alias) = node.served(RecordType::CNAME, view)
    {
        return if rtype.is_beside_cname() { Outcome::NoData } else { Outcome::Alias(alias) };
    }
    node.served(rtype, view).map_or(Outcome::NoData, Outcome::Hit)
}
