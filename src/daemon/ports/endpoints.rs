//! Private endpoints as they were last listed, against what is served.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::admin::{
    ConflictReport, EndpointNameReport, EndpointReport, Extent, Reason, WantedEndpoints, WhyNot,
};
use crate::dns::{Name, RecordType, rdata};
use crate::sources::{Known, Now, SourceState};
use crate::sync::arm::ArmId;
use crate::sync::publication::{Nameless, Publication, Unplaced, Withheld};
use crate::sync::{ConnectionState, Desired, NotServed};
use crate::zone::{Origin, Slot, Snapshot, ViewId};

/// Other claims to one name that are shown; `doctor` lists all.
const CONFLICTS_SHOWN_MAX: usize = 10;

/// The wanted endpoints, in the order of their keys.
pub(super) fn reports(now: &Now, snapshot: &Snapshot, wanted: &WantedEndpoints) -> Vec<EndpointReport> {
    let is_wanted =
        |name: &str| wanted.source.as_ref().is_none_or(|source| source.eq_ignore_ascii_case(name));
    let known: Vec<(&str, Arc<Known>)> = now
        .sources
        .iter()
        .filter(|source| is_wanted(source.name()))
        .map(|source| (source.name(), source.known()))
        .collect();
    let sources: Vec<Listed<'_>> = known.iter().map(|(name, known)| Listed::of(name, known)).collect();
    let after = wanted.after.as_deref().and_then(|key| key.split_once('\n'));
    let mut all: BTreeMap<(&str, &str), Draft<'_>> = BTreeMap::new();
    for source in &sources {
        source.collect(after, &mut all);
    }
    let reports = all.into_iter().map(|((id, _), draft)| draft.report(id, snapshot));
    reports.filter(|report| wanted.fits(report)).take(wanted.limit).collect()
}

/// One source, ready for look-ups.
struct Listed<'h> {
    name: &'h str,
    desired: &'h Desired,
    not_served: HashMap<(&'h Name, &'h Name), &'h NotServed>,
    is_held_back: bool,
}

/// All that one source says of one endpoint.
struct Draft<'h> {
    source: &'h Listed<'h>,
    publications: Vec<&'h Publication>,
    withheld: Vec<&'h Withheld>,
    unplaced: Vec<&'h Unplaced>,
    nameless: Option<&'h Nameless>,
    is_foreign: bool,
    is_unsettled: bool,
}

impl<'h> Listed<'h> {
    fn of(name: &'h str, known: &'h Known) -> Listed<'h> {
        let not_served = known.not_served.iter().map(|it| ((&it.zone, &it.name), it)).collect();
        let is_held_back = matches!(known.state, SourceState::HeldBack { .. });
        Listed { name, desired: &known.desired, not_served, is_held_back }
    }

    /// Sorts what is listed by endpoint, those behind a key only.
    fn collect(&'h self, after: Option<(&str, &str)>, all: &mut BTreeMap<(&'h str, &'h str), Draft<'h>>) {
        let mut at = |id: &'h Arc<str>, add: &dyn Fn(&mut Draft<'h>)| {
            let key = (&**id, self.name);
            // Private DNS zones are no endpoints.
            if after.is_none_or(|after| key > after) && !id.contains("/privatednszones/") {
                add(all.entry(key).or_insert_with(|| Draft::of(self)));
            }
        };
        for it in &self.desired.publications {
            at(&it.claim.endpoint, &|draft| draft.publications.push(it));
        }
        for it in &self.desired.withheld {
            at(&it.endpoint, &|draft| draft.withheld.push(it));
        }
        for it in &self.desired.unplaced {
            at(&it.endpoint, &|draft| draft.unplaced.push(it));
        }
        for it in &self.desired.nameless {
            at(&it.endpoint, &|draft| draft.nameless = Some(it));
        }
        for id in &self.desired.foreign {
            at(id, &|draft| draft.is_foreign = true);
        }
        for id in &self.desired.unsettled {
            at(id, &|draft| draft.is_unsettled = true);
        }
    }
}

impl<'h> Draft<'h> {
    fn of(source: &'h Listed<'h>) -> Draft<'h> {
        Draft {
            source,
            publications: Vec::new(),
            withheld: Vec::new(),
            unplaced: Vec::new(),
            nameless: None,
            is_foreign: false,
            is_unsettled: false,
        }
    }

    fn report(self, id: &str, snapshot: &Snapshot) -> EndpointReport {
        let claim = self.publications.first().map(|it| &it.claim);
        let resource = claim.and_then(|claim| claim.resource.as_ref());
        let resource = resource.or_else(|| self.unplaced.first().and_then(|it| it.resource.as_ref()));
        let resource = resource.or_else(|| self.nameless.and_then(|it| it.resource.as_ref()));
        let withheld = self.withheld.first().map(|it| &it.state);
        let state = match withheld.or_else(|| self.nameless.map(|it| &it.state)) {
            Some(state) => Some(state.as_str()),
            None => (!self.is_foreign).then_some(ConnectionState::Approved.as_str()),
        };
        let why_not = if self.is_foreign {
            Some(why(Reason::Foreign, "sync.allow_subscriptions leaves out its subscription"))
        } else if self.is_unsettled {
            let detail = "its names are not told for now; what it had published stays";
            Some(why(Reason::NamesUnknown, detail))
        } else {
            self.nameless.filter(|_| self.publications.is_empty()).map(of_nameless)
        };
        let published = self.publications.iter().map(|it| self.published(it, snapshot));
        let withheld = self.withheld.iter().map(|it| of_withheld(it));
        let unplaced = self.unplaced.iter().map(|it| of_unplaced(it));
        let names: Vec<EndpointNameReport> = published.chain(withheld).chain(unplaced).collect();
        let count = names.iter().filter(|name| name.is_published).count();
        let extent = match count {
            0 => Extent::None,
            count if count == names.len() && !self.is_unsettled => Extent::All,
            _ => Extent::Some,
        };
        let shown = self.withheld.first().map(|it| it.endpoint_name.to_string());
        let shown = shown.or_else(|| self.nameless.map(|it| it.endpoint_name.to_string()));
        let network = claim.and_then(|claim| claim.virtual_network.as_ref());
        let network = network.or_else(|| self.nameless.and_then(|it| it.virtual_network.as_ref()));
        EndpointReport {
            id: id.to_owned(),
            name: shown.unwrap_or_else(|| id.rsplit('/').next().unwrap_or_default().to_owned()),
            source: self.source.name.to_owned(),
            subscription: ArmId::new(id).subscription().unwrap_or_default().to_owned(),
            virtual_network: network.map(ToString::to_string),
            resource: resource.map(ToString::to_string),
            state: state.map(str::to_owned),
            published: extent,
            why_not,
            names,
        }
    }

    /// A name that should be published, and what became of that.
    fn published(&self, it: &Publication, snapshot: &Snapshot) -> EndpointNameReport {
        let types = [(RecordType::A, it.ipv4.is_empty()), (RecordType::AAAA, it.ipv6.is_empty())];
        let node = snapshot.zone(it.zone.borrow()).and_then(|zone| zone.node(it.name.borrow()));
        let slots = || {
            let types = types.iter().filter(|(_, is_none)| !is_none);
            types.filter_map(|(rtype, _)| node.and_then(|node| node.slot(*rtype)))
        };
        let is_own = |origin: &Origin| {
            matches!(origin, Origin::Endpoint(claim)
                if claim.endpoint == it.claim.endpoint && claim.source == it.claim.source)
        };
        let is_there = slots().any(|slot| slot.offers().iter().any(|offer| is_own(&offer.origin)));
        // An operator's record is for everyone; a CNAME of theirs hides all that is claimed beside it.
        let is_operators = |slot: &Slot| slot.served(ViewId::NONE).origin.is_operators();
        let is_hidden = node.and_then(|node| node.slot(RecordType::CNAME)).is_some_and(is_operators);
        let is_overridden = is_there && (is_hidden || slots().all(is_operators));
        let why_not = if is_overridden {
            Some(why(
                Reason::Overridden,
                "an operator's record is served instead: delete that to take it back",
            ))
        } else if is_there {
            None
        } else if let Some(refused) = self.source.not_served.get(&(&it.zone, &it.name)) {
            Some(why(Reason::ZoneNotServed, format!("{refused}: {}", refused.advice())))
        } else if self.source.is_held_back {
            Some(why(Reason::HeldBack, "the pass waits for an operator: see /sync"))
        } else {
            Some(why(Reason::NotYet, "the next pass publishes it"))
        };
        let ipv4 = it.ipv4.iter().map(|ip| IpAddr::V4(*ip));
        let ipv6 = it.ipv6.iter().map(|ip| IpAddr::V6(*ip));
        EndpointNameReport {
            name: it.name.to_string(),
            zone: Some(it.zone.to_string()),
            addresses: ipv4.chain(ipv6).collect(),
            public_names: texts(&it.public_names),
            is_published: why_not.is_none(),
            why_not,
            conflicts: slots().flat_map(|slot| conflicts(slot, is_own)).take(CONFLICTS_SHOWN_MAX).collect(),
        }
    }
}

/// The claims of others, where they say something else.
fn conflicts(slot: &Slot, is_own: impl Fn(&Origin) -> bool) -> Vec<ConflictReport> {
    if !slot.is_conflict() {
        return Vec::new();
    }
    let served = slot.served(ViewId::NONE);
    let own = slot.offers().iter().find(|offer| is_own(&offer.origin));
    let others = slot.offers().iter().filter_map(|offer| match &offer.origin {
        Origin::Endpoint(claim) if !is_own(&offer.origin) => Some((offer, claim)),
        _ => None,
    });
    let others = others.filter(|(offer, _)| own.is_none_or(|own| own.set.records().ne(offer.set.records())));
    let report = others.map(|(offer, claim)| ConflictReport {
        endpoint: claim.endpoint.to_string(),
        source: claim.source.to_string(),
        addresses: offer.set.records().filter_map(rdata::address).collect(),
        is_served_elsewhere: std::ptr::eq(offer, served),
    });
    report.take(CONFLICTS_SHOWN_MAX).collect()
}

/// Why an endpoint without a name publishes none.
fn of_nameless(it: &Nameless) -> WhyNot {
    match it.state {
        ConnectionState::Approved => why(
            Reason::NoNames,
            "Azure gives it no name, as those of Private Link services have none: write a record of your own that \
             leads to its address, or give the endpoint a zone group",
        ),
        _ => of_state(&it.state),
    }
}

/// Why the connection's state keeps an endpoint from being published.
fn of_state(state: &ConnectionState) -> WhyNot {
    let (reason, what_to_do) = match state {
        ConnectionState::Pending => (Reason::Pending, "the owner of the resource must approve it"),
        ConnectionState::Rejected => (Reason::Rejected, "the owner of the resource has refused it"),
        ConnectionState::Disconnected => {
            (Reason::Disconnected, "the resource is gone or its owner has taken it back: delete the endpoint")
        }
        ConnectionState::Approved | ConnectionState::Other(_) => {
            (Reason::NotApproved, "only approved connections are published")
        }
    };
    why(reason, format!("the connection is {state}: {what_to_do}"))
}

fn of_withheld(it: &Withheld) -> EndpointNameReport {
    EndpointNameReport {
        name: it.name.to_string(),
        zone: Some(it.zone.to_string()),
        addresses: Vec::new(),
        public_names: texts(&it.public_names),
        is_published: false,
        why_not: Some(of_state(&it.state)),
        conflicts: Vec::new(),
    }
}

fn of_unplaced(it: &Unplaced) -> EndpointNameReport {
    let detail =
        format!("neither a zone group nor the name itself nor the catalogue tells its zone: {}", it.advice());
    EndpointNameReport {
        name: it.fqdn.to_string(),
        zone: None,
        addresses: Vec::new(),
        public_names: vec![it.fqdn.to_string()],
        is_published: false,
        why_not: Some(why(Reason::Unplaced, detail)),
        conflicts: Vec::new(),
    }
}

fn why(reason: Reason, detail: impl Into<String>) -> WhyNot {
    WhyNot { reason, detail: detail.into() }
}

fn texts(names: &[Name]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}
