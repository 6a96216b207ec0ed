//! Laws of change sets, over random zones.

use std::collections::BTreeMap;
use std::sync::Arc;

use privatelink_dns::dns::{Name, RecordSet, RecordType, Ttl, rdata};
use privatelink_dns::zone::{
    Change, ChangeSet, Claim, Network, Networks, Offer, Origin, Outcome, Snapshot, ViewId, ZoneHeader,
};
use proptest::prelude::*;

/// One offer: zone, owner, type, origin, address; the origin's high bits are a claim's age.
type Row = (u8, u8, u8, u8, u8);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn offer(row: &Row) -> (Name, Name, Offer) {
    let (zone, owner, rtype, origin, last) = *row;
    let zone = name(["a.test-zone.", "b.test-zone.", "sub.a.test-zone."][usize::from(zone % 3)]);
    let owners = ["x", "y", "z.y", "w.z.y", "*", "*.y"];
    let owner = Name::parse(owners[usize::from(owner) % owners.len()], zone.borrow()).unwrap();
    let (rtype, text) = match rtype % 3 {
        0 => (RecordType::A, format!("10.0.0.{last}")),
        1 => (RecordType::AAAA, format!("fd00::{last:x}")),
        _ => (RecordType::TXT, format!("\"t{last}\"")),
    };
    let origin_age = origin / 5 % 3;
    let origin = match origin % 5 {
        0 => Origin::File,
        1 => Origin::Rest,
        number => Origin::Endpoint(Arc::new(Claim {
            endpoint: format!("/pe-{number}").into(),
            virtual_network: Some(format!("/vnet-{number}").into()),
            subscription: "s".into(),
            resource: None,
            source: "arm".into(),
            since_secs: 1000 - u64::from(number) - 10 * u64::from(origin_age),
        })),
    };
    let data = rdata::from_text(rtype, &text, zone.borrow()).unwrap();
    let set = RecordSet::new(rtype, Ttl::from_secs(60).unwrap(), [data]).unwrap();
    (zone, owner, Offer { set, origin })
}

fn networks() -> Arc<Networks> {
    let network = |number: u8| Network {
        name: format!("net{number}").into(),
        clients: vec![format!("10.{number}.0.0/16").parse().unwrap()],
        virtual_networks: vec![format!("/vnet-{number}").into()],
    };
    Arc::new(Networks::new((2..5).map(network).collect(), Vec::new()).unwrap())
}

fn state(rows: &[Row]) -> Snapshot {
    let mut changes = vec![Change::SetNetworks(networks())];
    let soa = rdata::from_text(RecordType::SOA, "a. b. 1 1 1 1 1", name(".").borrow()).unwrap();
    for (zone, name, offer) in rows.iter().map(offer) {
        let set = RecordSet::new(RecordType::SOA, Ttl::from_secs(60).unwrap(), [&soa]).unwrap();
        changes.push(Change::SetZone(ZoneHeader::plain(zone.clone())));
        let soa = Offer { set, origin: Origin::BuiltIn };
        changes.push(Change::Put { zone: zone.clone(), name: zone.clone(), offer: soa });
        changes.push(Change::Put { zone, name, offer });
    }
    ChangeSet { changes }.apply(&Snapshot::default()).unwrap().0
}

/// What the last row of each (zone, owner, type, origin) says, kept apart from the code under test.
fn model(rows: &[Row]) -> BTreeMap<(Name, Name, RecordType), Vec<Offer>> {
    let mut model: BTreeMap<_, Vec<Offer>> = BTreeMap::new();
    for (zone, name, mut offer) in rows.iter().map(offer) {
        let offers = model.entry((zone, name, offer.set.rtype)).or_default();
        if let Some(at) = offers.iter().position(|other| other.origin.replaces(&offer.origin)) {
            let before = offers.remove(at);
            // A claim keeps the time when it was first seen.
            if let (Origin::Endpoint(old), Origin::Endpoint(new)) = (before.origin, &mut offer.origin) {
                Arc::make_mut(new).since_secs = old.since_secs.min(new.since_secs);
            }
        }
        offers.push(offer);
    }
    model
}

fn rank(offer: &Offer, view: ViewId) -> (u8, bool, u64) {
    match &offer.origin {
        Origin::Rest => (0, false, 0),
        Origin::File => (1, false, 0),
        Origin::Endpoint(claim) => {
            let own =
                Some(format!("/vnet-{}", view.0 + 1)) == claim.virtual_network.as_deref().map(str::to_owned);
            (2, !(own && view != ViewId::NONE), claim.since_secs)
        }
        other => panic!("{other:?} is not in the model"),
    }
}

proptest! {
    #[test]
    fn a_diff_applied_to_the_old_state_makes_the_new(
        old in prop::collection::vec(any::<Row>(), 0..30),
        new in prop::collection::vec(any::<Row>(), 0..30),
    ) {
        let (old, new) = (state(&old), state(&new));
        let (made, _) = ChangeSet::diff(&old, &new).apply(&old).unwrap();
        prop_assert_eq!(ChangeSet::diff(&made, &new), ChangeSet::default());
        // The serial went on counting; nothing else may differ.
        let back = ChangeSet::diff(&new, &made).changes;
        let is_soa = |change: &Change| matches!(change, Change::Put { offer, .. } if offer.set.rtype == RecordType::SOA);
        prop_assert!(back.iter().all(is_soa), "{:?}", back);
        for (apex, zone) in new.zones() {
            let other = made.zone(apex.borrow()).unwrap();
            prop_assert_eq!(zone.len(), other.len());
            prop_assert_eq!(zone.content(), other.content());
        }
    }

    #[test]
    fn every_view_is_served_what_the_model_says(rows in prop::collection::vec(any::<Row>(), 1..30)) {
        let snapshot = state(&rows);
        for ((zone, owner, rtype), offers) in model(&rows) {
            for view in (0..4).map(ViewId) {
                let best = offers.iter().min_by_key(|offer| rank(offer, view)).unwrap();
                let served = snapshot.zone(zone.borrow()).unwrap();
                match served.lookup(owner.borrow(), rtype, view) {
                    Outcome::Hit(hit) => prop_assert_eq!(&hit.set, &best.set, "{} in {:?}", owner, view),
                    other => prop_assert!(false, "{owner} {rtype}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn taking_all_back_leaves_an_empty_zone(rows in prop::collection::vec(any::<Row>(), 1..30)) {
        let full = state(&rows);
        let removals = rows.iter().map(offer).map(|(zone, name, offer)| Change::Remove {
            zone, name, rtype: offer.set.rtype, origin: offer.origin,
        });
        let (empty, _) = ChangeSet { changes: removals.collect() }.apply(&full).unwrap();
        for (_, zone) in empty.zones() {
            prop_assert_eq!((zone.len(), zone.content()), (1, 0));
        }
    }
}
