//! The names that private endpoints publish, as a view is served them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::words;
use crate::config::Config;
use crate::daemon::Parts;
use crate::dns::{Name, NameRef, RecordType, rdata};
use crate::privatelink::Catalogue;
use crate::sources::{Known, Source, Sources};
use crate::sync::inventory::{is_private, may_be_published};
use crate::sync::publication::Publication;
use crate::sync::{self, Contest};
use crate::telemetry::Age;
use crate::zone::{Node, Outcome, Owner, Snapshot, ViewId, Zone, ZoneKind};

/// A private name with its addresses, and the names that people and programs use for it.
pub(super) struct Published {
    pub zone: Name,
    pub private: Name,
    /// Those that Azure lists, else those that the catalogue knows; none in a zone without public counterpart.
    pub public: Vec<Name>,
    /// Programs use the private name, for want of a public one.
    pub is_used_as_it_is: bool,
    pub addresses: Vec<IpAddr>,
}

/// All names of a view, each looked at only when it is asked for: there may be a million.
pub(super) struct Names<'p> {
    catalogue: &'p Catalogue,
    snapshot: Arc<Snapshot>,
    view: ViewId,
    /// What sources want published, by private names in wire form.
    listed: HashMap<&'p [u8], SmallVec<[&'p Publication; 1]>>,
}

impl Published {
    /// All of a view, in the order of private names.
    pub(super) fn all(config: &Config, parts: &Parts, view: ViewId) -> Vec<Published> {
        let known = parts.sources.known();
        let names = Names::new(config, parts, &known, view);
        let mut all: Vec<Published> =
            names.all().filter_map(|(zone, owner, _)| names.published(zone, owner)).collect();
        all.sort_by(|one, other| one.private.cmp(&other.private));
        all
    }

    /// What programs ask for.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        let own = self.is_used_as_it_is.then_some(&self.private);
        own.into_iter().chain(&self.public)
    }
}

impl<'p> Names<'p> {
    pub(super) fn new(
        config: &'p Config,
        parts: &'p Parts,
        known: &'p [Arc<Known>],
        view: ViewId,
    ) -> Names<'p> {
        let mut listed: HashMap<&[u8], SmallVec<[&Publication; 1]>> = HashMap::new();
        for publication in publications(known) {
            listed.entry(publication.name.as_wire()).or_default().push(publication);
        }
        let catalogue = &config.private_link.catalogue;
        Names { catalogue, snapshot: parts.store.snapshot(), view, listed }
    }

    /// What sources want published for a private name.
    pub(super) fn listed(&self, private: &Name) -> &[&'p Publication] {
        self.listed.get(private.as_wire()).map_or(&[], |all| all)
    }

    /// Of the names that are quickly seen to be worth a look and then are wanted the first, in their order.
    pub(super) fn first(
        &self,
        is_worth_a_look: impl Fn(NameRef<'_>, &Node) -> bool,
        is_wanted: impl Fn(&Published) -> bool,
    ) -> Option<Published> {
        let mut first: Option<Published> = None;
        for (zone, owner, node) in self.all() {
            let name = owner.to_buf();
            let is_before = |first: &Published| name.borrow().canonical_cmp(first.private.borrow()).is_lt();
            if first.as_ref().is_none_or(is_before)
                && is_worth_a_look(name.borrow(), node)
                && let Some(published) = self.published(zone, owner)
                && is_wanted(&published)
            {
                first = Some(published);
            }
        }
        first
    }

    /// Whether programs use a private name, for want of a public one.
    pub(super) fn is_used_as_it_is(&self, private: NameRef<'_>) -> bool {
        if !self.catalogue.has_public_counterpart(private) {
            return true;
        }
        match self.listed.get(private.as_wire()) {
            Some(all) => all.iter().all(|it| it.public_names.is_empty()),
            None => self.catalogue.public_names(private).is_empty(),
        }
    }

    fn all(&self) -> impl Iterator<Item = (&Zone, Owner<'_>, &Node)> {
        let zones = self.snapshot.zones().map(|(_, zone)| &**zone);
        let zones =
            zones.filter(|zone| zone.header().kind == ZoneKind::PrivateLink && zone.is_served_to(self.view));
        let nodes = zones.flat_map(|zone| zone.nodes().map(move |(owner, node)| (zone, owner, node)));
        nodes.filter(|(_, _, node)| !node.slots().is_empty())
    }

    fn published(&self, zone: &Zone, owner: Owner<'_>) -> Option<Published> {
        let private = owner.to_name();
        let addresses = addresses(&self.snapshot, &private, self.view);
        if addresses.is_empty() {
            return None;
        }
        let public = self.public_names(&private);
        let is_used_as_it_is = self.is_used_as_it_is(private.borrow());
        Some(Published { zone: zone.apex().clone(), private, public, is_used_as_it_is, addresses })
    }

    fn public_names(&self, private: &Name) -> Vec<Name> {
        // Site Recovery lists names without the label that no public DNS knows.
        if !self.catalogue.has_public_counterpart(private.borrow()) {
            return Vec::new();
        }
        let listed = self.listed(private);
        let of_azure: BTreeSet<&Name> = listed.iter().flat_map(|it| &it.public_names).collect();
        match of_azure.is_empty() {
            true => self.catalogue.public_names(private.borrow()),
            false => of_azure.into_iter().cloned().collect(),
        }
    }
}

/// What sources of every kind want published.
pub(super) fn publications(known: &[Arc<Known>]) -> impl Iterator<Item = &Publication> {
    known.iter().flat_map(|known| &known.desired.publications)
}

/// How old what is known of live Azure is, where it is not asked now.
pub(super) fn as_of(sources: &Sources) -> Vec<String> {
    let of = |source: &Arc<Source>| {
        let (name, known) = (source.name(), source.known());
        Some(match (known.read_at, sources.trouble()) {
            _ if known.asked => return None,
            (Some(at), _) => {
                format!("{name}: {} as Azure was listed {} ago", words::published(&known), Age::of(at))
            }
            (None, Some(trouble)) => format!("{name}: Azure was not listed yet. {trouble}"),
            (None, None) => format!("{name}: Azure was not listed yet, and nothing is kept from before"),
        })
    };
    sources.list().iter().filter_map(of).collect()
}

/// The addresses that a view is served for a private name itself.
fn addresses(snapshot: &Snapshot, private: &Name, view: ViewId) -> Vec<IpAddr> {
    let Some(zone) = snapshot.zone_for(private.borrow(), view) else { return Vec::new() };
    let types = [RecordType::A, RecordType::AAAA].into_iter();
    let hits = types.filter_map(|rtype| match zone.lookup(private.borrow(), rtype, view) {
        Outcome::Hit(offer) => Some(offer.set.records().filter_map(rdata::address).collect::<Vec<_>>()),
        _ => None,
    });
    hits.flatten().collect()
}

/// Addresses of endpoints that an operator should look at, each with its name.
#[derive(Default)]
pub(super) struct OddAddresses {
    /// What `private_link.addresses` leaves out.
    pub left_out: Vec<String>,
    /// Published, and of no private network.
    pub public: Vec<String>,
}

impl OddAddresses {
    pub(super) fn of(config: &Config, parts: &Parts) -> OddAddresses {
        let (known, ranges) = (parts.sources.known(), &config.private_link.addresses);
        let mut odd = OddAddresses::default();
        for it in publications(&known) {
            let ipv4 = it.ipv4.iter().map(|ip| IpAddr::V4(*ip));
            for address in ipv4.chain(it.ipv6.iter().map(|ip| IpAddr::V6(*ip))) {
                if !may_be_published(address, ranges) {
                    odd.left_out.push(format!("{} at {address}", it.name));
                } else if !is_private(address) {
                    odd.public.push(format!("{} at {address}", it.name));
                }
            }
        }
        odd
    }
}

/// All conflicts, those of the same endpoints together.
pub(super) fn contests(snapshot: &Snapshot) -> Vec<Contest> {
    Contest::of(sync::conflicts(snapshot))
}
