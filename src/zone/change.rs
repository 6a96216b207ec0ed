//! Changes to zones: a set of them is applied whole or not at all, and computed from two states.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::builder::{is_newer, soa_serial, with_serial};
use super::front::Owner;
use super::header::ZoneHeader;
use super::network::Networks;
use super::origin::Origin;
use super::served::Zone;
use super::slot::Offer;
use super::snapshot::Snapshot;
use super::stale::StaleZones;
use super::withheld::Withheld;
use crate::dns::{Name, RecordType};

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Makes a zone, or gives it other settings.
    SetZone(ZoneHeader),
    /// Takes a zone away with all that is in it.
    DropZone(Name),
    /// Adds an offer, or replaces that of the same origin.
    Put { zone: Name, name: Name, offer: Offer },
    /// Takes an origin's offer back.
    Remove { zone: Name, name: Name, rtype: RecordType, origin: Origin },
    /// Other networks or preferences: who is served what is decided anew.
    SetNetworks(Arc<Networks>),
    /// Whether it is kept which names endpoints claim for each address; not before it is wanted.
    SetReverse { kept: bool },
    /// The endpoints that a source lists but that do not publish; replaces what it said before.
    SetWithheld { source: Arc<str>, endpoints: Vec<Withheld> },
    /// The zones that may be out of date; replaces what was said before.
    SetStale(Option<Arc<StaleZones>>),
}

/// Changes that belong together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeSet {
    pub changes: Vec<Change>,
}

/// What applying a change set did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Zones that changed, with their new serials; `None` for a zone that is gone.
    pub zones: BTreeMap<Name, Option<u32>>,
}

impl ChangeSet {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes that turn `old` into `new`, serials apart.
    pub fn diff(old: &Snapshot, new: &Snapshot) -> ChangeSet {
        let mut changes = Vec::new();
        if old.networks != new.networks {
            changes.push(Change::SetNetworks(new.networks.clone()));
        }
        if old.keeps_reverse() != new.keeps_reverse() {
            changes.push(Change::SetReverse { kept: new.keeps_reverse() });
        }
        for (apex, _) in old.zones().filter(|(apex, _)| new.zone(apex.borrow()).is_none()) {
            changes.push(Change::DropZone(apex.clone()));
        }
        for (apex, zone) in new.zones() {
            match old.zone(apex.borrow()) {
                Some(old) => diff_zone(old, zone, &mut changes),
                None => {
                    changes.push(Change::SetZone(zone.header().clone()));
                    changes.extend(offers(zone).map(|(owner, offer)| Change::Put {
                        zone: apex.clone(),
                        name: owner.to_name(),
                        offer: offer.clone(),
                    }));
                }
            }
        }
        for (source, endpoints) in old.withheld_by_source() {
            if !endpoints.is_empty() && new.withheld_of(source).is_empty() {
                changes.push(Change::SetWithheld { source: source.clone(), endpoints: Vec::new() });
            }
        }
        for (source, endpoints) in new.withheld_by_source() {
            if old.withheld_of(source) != endpoints {
                changes.push(Change::SetWithheld { source: source.clone(), endpoints: endpoints.to_vec() });
            }
        }
        if old.stale() != new.stale() {
            changes.push(Change::SetStale(new.stale().cloned()));
        }
        ChangeSet { changes }
    }
}

fn offers(zone: &Zone) -> impl Iterator<Item = (Owner<'_>, &Offer)> {
    zone.nodes().flat_map(|(owner, node)| {
        node.slots().iter().flat_map(move |slot| slot.offers().iter().map(move |offer| (owner, offer)))
    })
}

fn diff_zone(old: &Zone, new: &Zone, changes: &mut Vec<Change>) {
    if old.header() != new.header() {
        changes.push(Change::SetZone(new.header().clone()));
    }
    let apex = new.apex();
    for (owner, offer) in offers(old) {
        let rtype = offer.set.rtype;
        let slot = new.node_at(owner.front()).and_then(|node| node.slot(rtype));
        let goes_on =
            |other: &Offer| other.origin.replaces(&offer.origin) && !is_younger(&other.origin, &offer.origin);
        if !slot.is_some_and(|slot| slot.offers().iter().any(goes_on)) {
            let (zone, name, origin) = (apex.clone(), owner.to_name(), offer.origin.clone());
            changes.push(Change::Remove { zone, name, rtype, origin });
        }
    }
    for (owner, offer) in offers(new) {
        let slot = old.node_at(owner.front()).and_then(|node| node.slot(offer.set.rtype));
        let is_same = |other: &Offer| other == offer || is_older_soa(other, offer);
        if !slot.is_some_and(|slot| slot.offers().iter().any(is_same)) {
            changes.push(Change::Put { zone: apex.clone(), name: owner.to_name(), offer: offer.clone() });
        }
    }
}

/// Whether a claim was given up and made again meanwhile: put upon the old one, it would keep that one's age.
fn is_younger(new: &Origin, old: &Origin) -> bool {
    match (new, old) {
        (Origin::Endpoint(new), Origin::Endpoint(old)) => new.since_secs > old.since_secs,
        _ => false,
    }
}

/// Whether `new` is the SOA record `old` with a serial that is no news.
fn is_older_soa(old: &Offer, new: &Offer) -> bool {
    let serials = (soa_serial(&old.set), soa_serial(&new.set));
    let (Some(old_serial), Some(new_serial), true) = (serials.0, serials.1, new.set.rtype == RecordType::SOA)
    else {
        return false;
    };
    old.origin == new.origin
        && !is_newer(new_serial, old_serial)
        && with_serial(&new.set, old_serial) == old.set
}

#[cfg(test)]
mod tests {
    use super::super::ZoneError;
    use super::super::{
        AzureZone, Network, Networks, OnMissing, Outcome, ViewId, VirtualNetworkLink, Withheld,
    };
    use super::*;
    use crate::dns::{RecordSet, Ttl, rdata};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn put(text: &str, origin: Origin) -> Change {
        let words: Vec<&str> = text.splitn(5, ' ').collect();
        let [zone, owner, ttl, rtype, data] = words[..] else { panic!("zone owner ttl type data") };
        let zone = name(zone);
        let rtype: RecordType = rtype.parse().unwrap();
        let data: Vec<Vec<u8>> =
            data.split(" | ").map(|data| rdata::from_text(rtype, data, zone.borrow()).unwrap()).collect();
        let set = RecordSet::new(rtype, Ttl::from_secs(ttl.parse().unwrap()).unwrap(), data).unwrap();
        let name = Name::parse(owner, zone.borrow()).unwrap();
        Change::Put { zone, name, offer: Offer { set, origin } }
    }

    fn plain(apex: &str) -> [Change; 2] {
        let soa = put(&format!("{apex} @ 3600 SOA ns host 7 1 1 1 60"), Origin::File);
        [Change::SetZone(ZoneHeader::plain(name(apex))), soa]
    }

    fn with(changes: impl IntoIterator<Item = Change>) -> Result<Snapshot, ZoneError> {
        let changes = plain("z.").into_iter().chain(changes).collect();
        ChangeSet { changes }.apply(&Snapshot::default()).map(|(snapshot, _)| snapshot)
    }

    fn file(texts: &[&str]) -> Result<Snapshot, ZoneError> {
        with(texts.iter().map(|text| put(&format!("z. {text}"), Origin::File)))
    }

    fn ask(snapshot: &Snapshot, owner: &str, rtype: &str) -> String {
        let owner = name(owner);
        let zone = snapshot.zone_for(owner.borrow(), ViewId::NONE).expect("the zone is served");
        let text = |offer: &Offer| {
            let rtype = offer.set.rtype;
            let data: Vec<String> = offer.set.records().map(|data| rdata::to_text(rtype, data)).collect();
            format!("{rtype} {}", data.join(" | "))
        };
        match zone.lookup(owner.borrow(), rtype.parse().unwrap(), ViewId::NONE) {
            Outcome::Hit(offer) => text(offer),
            Outcome::Alias(offer) => format!("alias {}", text(offer)),
            Outcome::Dname { owner, offer } => format!("{owner} {}", text(offer)),
            Outcome::Referral { cut, offer } => format!("{cut} {}", text(offer)),
            Outcome::NoData => "no data".into(),
            Outcome::NoSuchName => "no such name".into(),
        }
    }

    #[test]
    fn a_zone_answers_by_the_algorithm_of_rfc_1034_and_4592() {
        let snapshot = file(&[
            "a 60 A 10.0.0.1",
            "x.y.b 60 A 10.0.0.2",
            "c 60 CNAME a",
            "* 60 TXT wild",
            "*.w 60 A 10.0.0.3",
            "sub 60 NS ns.sub",
            "ns.sub 60 A 10.0.0.4",
            "d 60 DNAME e.",
        ])
        .unwrap();
        for (owner, rtype, expected) in [
            ("a.z.", "A", "A 10.0.0.1"),
            ("a.z.", "AAAA", "no data"),
            ("b.z.", "A", "no data"),
            ("y.b.z.", "A", "no data"),
            ("other.b.z.", "TXT", "no such name"),
            ("q.a.z.", "TXT", "no such name"),
            ("c.z.", "A", "alias CNAME a.z."),
            ("c.z.", "CNAME", "CNAME a.z."),
            ("c.z.", "ANY", "CNAME a.z."),
            ("q.z.", "TXT", "TXT \"wild\""),
            ("q.r.z.", "TXT", "TXT \"wild\""),
            ("q.z.", "A", "no data"),
            ("q.w.z.", "A", "A 10.0.0.3"),
            ("w.z.", "A", "no data"),
            ("sub.z.", "A", "sub.z. NS ns.sub.z."),
            ("ns.sub.z.", "A", "sub.z. NS ns.sub.z."),
            ("sub.z.", "DS", "no data"),
            ("q.d.z.", "A", "d.z. DNAME e."),
            ("d.z.", "A", "no data"),
            ("z.", "SOA", "SOA ns.z. host.z. 7 1 1 1 60"),
            ("z.", "NS", "no data"),
        ] {
            assert_eq!(ask(&snapshot, owner, rtype), expected, "{owner} {rtype}");
        }
    }

    #[test]
    fn what_no_zone_may_be_is_refused() {
        let error = |texts: &[&str]| file(texts).err().expect("refused").to_string();
        assert_eq!(
            error(&["a 1 CNAME b", "a 1 A 10.0.0.1"]),
            "a.z. has a CNAME record beside other data (RFC 1034 §3.6.2)"
        );
        assert_eq!(error(&["a. 1 A 10.0.0.1"]), "a. does not lie in zone z.");
        assert_eq!(error(&["a 1 CNAME b | c"]), "a.z. has more than one CNAME record");
        assert_eq!(
            error(&["a 1 SOA a b 1 1 1 1 1"]),
            "a.z. has a SOA record, which belongs only at the apex z."
        );
        assert!(error(&["a 1 DNAME b", "x.a 1 A 10.0.0.1"]).contains("RFC 6672"));
        assert!(error(&["*.a 1 NS b"]).contains("wildcard"));
        let bare = ChangeSet { changes: vec![Change::SetZone(ZoneHeader::plain(name("z.")))] };
        assert_eq!(bare.apply(&Snapshot::default()).err(), Some(ZoneError::NoSoa(name("z."))));
        let stray = ChangeSet { changes: vec![put("z. a 1 A 10.0.0.1", Origin::Rest)] };
        assert_eq!(stray.apply(&Snapshot::default()).err(), Some(ZoneError::NoSuchZone(name("z."))));
    }

    #[test]
    fn no_order_of_changes_makes_what_no_zone_may_be() {
        for texts in [
            &["a 1 A 10.0.0.1", "a 1 CNAME b"][..],
            &["@ 1 CNAME b"],
            &["x.a 1 A 10.0.0.1", "a 1 DNAME b"],
            &["* 1 DNAME b"],
            &["@ 1 DNAME b.", "a 1 A 10.0.0.1"],
        ] {
            assert!(file(texts).is_err(), "{texts:?}");
        }
    }

    #[test]
    fn what_is_dropped_and_made_again_is_told_as_made() {
        let old = file(&["a 1 A 10.0.0.1"]).unwrap();
        let changes = [Change::DropZone(name("z."))].into_iter().chain(plain("z.")).collect();
        let (new, effect) = ChangeSet { changes }.apply(&old).unwrap();
        assert_eq!(effect.zones.into_iter().collect::<Vec<_>>(), [(name("z."), Some(7))]);
        assert_eq!(ask(&new, "a.z.", "A"), "no such name");
    }

    #[test]
    fn the_serial_rises_by_one_unless_a_newer_one_is_given() {
        let old = file(&["a 60 A 10.0.0.1"]).unwrap();
        let serial = |changes: Vec<Change>| {
            ChangeSet { changes }.apply(&old).unwrap().0.zone(name("z.").borrow()).unwrap().serial()
        };
        assert_eq!(serial(vec![put("z. a 60 A 10.0.0.2", Origin::File)]), 8);
        assert_eq!(serial(vec![put("z. a 60 A 10.0.0.1", Origin::File)]), 7);
        assert_eq!(serial(plain("z.").into()), 7);
        assert_eq!(serial(vec![put("z. @ 3600 SOA ns host 20 1 1 1 60", Origin::File)]), 20);
        assert_eq!(serial(vec![put("z. @ 3600 SOA ns host 3 1 1 1 99", Origin::File)]), 8);
    }

    #[test]
    fn empty_non_terminals_come_and_go_with_what_is_below_them() {
        let old = file(&["x.y.b 60 A 10.0.0.2", "y.b 60 A 10.0.0.3"]).unwrap();
        let remove = |owner: &str, snapshot: &Snapshot| {
            let (zone, name) = (name("z."), name(owner));
            let change = Change::Remove { zone, name, rtype: RecordType::A, origin: Origin::File };
            ChangeSet { changes: vec![change] }.apply(snapshot).unwrap().0
        };
        let one = remove("y.b.z.", &old);
        assert_eq!(ask(&one, "y.b.z.", "A"), "no data");
        let none = remove("x.y.b.z.", &one);
        assert_eq!(ask(&none, "b.z.", "A"), "no such name");
        assert_eq!(none.zone(name("z.").borrow()).unwrap().len(), 1);
    }

    fn claim(since_secs: u64) -> Origin {
        Origin::Endpoint(Arc::new(super::super::Claim {
            endpoint: "/pe".into(),
            virtual_network: None,
            subscription: "s".into(),
            resource: None,
            source: "arm".into(),
            since_secs,
        }))
    }

    #[test]
    fn an_operators_dname_hides_the_claims_below_it_in_whichever_order_they_come() {
        let (dname, below) = (put("z. a 1 DNAME b.", Origin::Rest), put("z. x.y.a 1 A 10.0.0.1", claim(1)));
        for changes in [[dname.clone(), below.clone()], [below, dname]] {
            let snapshot = with(changes).unwrap();
            for owner in ["x.y.a.z.", "y.a.z.", "other.a.z."] {
                assert_eq!(ask(&snapshot, owner, "A"), "a.z. DNAME b.");
            }
            let change = Change::Remove {
                zone: name("z."),
                name: name("a.z."),
                rtype: RecordType::DNAME,
                origin: Origin::Rest,
            };
            let (freed, _) = ChangeSet { changes: vec![change] }.apply(&snapshot).unwrap();
            assert_eq!(ask(&freed, "x.y.a.z.", "A"), "A 10.0.0.1");
        }
    }

    #[test]
    fn an_operators_cname_hides_a_claim_and_an_empty_private_link_zone_is_not_served() {
        let apex = "privatelink.blob.core.windows.net.";
        let header = ZoneHeader::private_link(name(apex));
        let (empty, _) =
            ChangeSet { changes: vec![Change::SetZone(header)] }.apply(&Snapshot::default()).unwrap();
        let app = name("app.privatelink.blob.core.windows.net.");
        assert!(empty.zone_for(app.borrow(), ViewId::NONE).is_none());
        let changes = vec![
            put(&format!("{apex} app 10 A 10.0.0.1"), claim(1)),
            put(&format!("{apex} app 10 CNAME elsewhere."), Origin::Rest),
        ];
        let (full, _) = ChangeSet { changes }.apply(&empty).unwrap();
        assert_eq!(ask(&full, "app.privatelink.blob.core.windows.net.", "A"), "alias CNAME elsewhere.");
    }

    #[test]
    fn views_see_their_zones_and_a_missing_network_is_an_error() {
        let mut header = ZoneHeader::plain(name("z."));
        header.networks = vec!["hub".into()];
        let soa = put("z. @ 1 SOA a b 1 1 1 1 1", Origin::File);
        let bad = ChangeSet { changes: vec![Change::SetZone(header.clone()), soa.clone()] };
        assert!(matches!(bad.apply(&Snapshot::default()), Err(ZoneError::NoSuchNetwork(..))));
        let hub = super::super::Network { name: "hub".into(), clients: vec![], virtual_networks: vec![] };
        let networks = Change::SetNetworks(Networks::new(vec![hub], vec![]).unwrap().into());
        let good = ChangeSet { changes: vec![Change::SetZone(header), soa, networks] };
        let (snapshot, _) = good.apply(&Snapshot::default()).unwrap();
        assert!(snapshot.zone_for(name("a.z.").borrow(), ViewId::NONE).is_none());
        assert!(snapshot.zone_for(name("a.z.").borrow(), ViewId(1)).is_some());
    }

    fn azure(id: &str, network: &str) -> Origin {
        let link = VirtualNetworkLink { virtual_network: network.into(), on_missing: OnMissing::NxDomain };
        let (id, subscription, source) = (id.into(), "s".into(), "zones".into());
        Origin::AzureZone(Arc::new(AzureZone { id, subscription, links: vec![link], source }))
    }

    #[test]
    fn an_alias_of_azures_zone_gives_way_to_operators_and_endpoints_and_no_change_fails_by_it() {
        let alias = || put("z. a 60 CNAME other.", azure("/zone", "v1"));
        let shown = |changes: Vec<Change>| {
            let snapshot = with(changes).unwrap();
            ["A", "CNAME", "ANY", "TXT"].map(|rtype| ask(&snapshot, "a.z.", rtype))
        };
        let address = ["A 10.0.0.1", "no data", "A 10.0.0.1", "no data"];
        assert_eq!(shown(vec![alias(), put("z. a 60 A 10.0.0.1", claim(0))]), address);
        assert_eq!(shown(vec![put("z. a 60 A 10.0.0.1", Origin::File), alias()]), address);
        assert_eq!(shown(vec![alias()])[0], "alias CNAME other.");
        // What operators say of another name takes no part.
        let operators = put("z. a 60 CNAME file.", Origin::File);
        let both = shown(vec![operators, put("z. a 60 A 10.0.0.1", azure("/zone", "v1"))]);
        assert_eq!(both[..2], ["alias CNAME file.", "CNAME file."]);
        assert!(with([put("z. @ 60 CNAME other.", azure("/zone", "v1"))]).is_ok());
    }

    #[test]
    fn of_an_alias_and_an_address_in_two_of_azures_zones_each_network_is_served_its_own() {
        let of = |name: &str| Network {
            name: name.into(),
            clients: Vec::new(),
            virtual_networks: vec![format!("v-{name}").into()],
        };
        let networks = Networks::new(vec![of("one"), of("two")], Vec::new()).unwrap();
        let changes = [
            put("z. a 60 CNAME other.", azure("/one", "v-one")),
            put("z. a 60 A 10.0.0.2", azure("/two", "v-two")),
        ];
        // The networks may come before or behind.
        for at in [0, 2] {
            let mut changes = changes.to_vec();
            changes.insert(at, Change::SetNetworks(Arc::new(networks.clone())));
            let snapshot = with(changes).unwrap();
            let owner = name("a.z.");
            let zone = snapshot.zone(name("z.").borrow()).unwrap();
            let is_alias = |view| {
                let outcome = zone.lookup(owner.borrow(), RecordType::A, ViewId(view));
                matches!(outcome, Outcome::Alias(_))
            };
            assert_eq!([0, 1, 2].map(is_alias), [false, true, false], "networks at {at}");
        }
    }

    #[test]
    fn a_diff_applied_makes_the_new_state() {
        let old = file(&["a 60 A 10.0.0.1", "b 60 A 10.0.0.2"]).unwrap();
        let withheld = Withheld {
            name: name("p.z."),
            endpoint: "/pe".into(),
            endpoint_name: "pe".into(),
            state: "Pending".into(),
        };
        let new = with([
            put("z. a 60 A 10.0.0.9", Origin::File),
            put("z. c 60 TXT x", Origin::Rest),
            Change::SetWithheld { source: "arm".into(), endpoints: vec![withheld] },
        ])
        .unwrap();
        let (made, _) = ChangeSet::diff(&old, &new).apply(&old).unwrap();
        assert!(ChangeSet::diff(&made, &new).is_empty());
        assert_eq!(made.withheld(name("p.z.").borrow()).unwrap().state, "Pending".into());
        assert!(ChangeSet::diff(&old, &old).is_empty());
    }
}
