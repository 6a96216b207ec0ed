use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::arm::ItemPage;
use super::super::desired::Desired;
use super::super::drift::{ListedEndpoints, ListedExtent, drift};
use super::super::extent::Extent;
use super::super::inventory::ConnectionState;
use super::super::publication::{Publication, Withheld};
use super::super::reconcile::{Plan, plan, sources_of};
use super::super::{Difference, PublishSettings, subscriptions_of};
use super::*;
use crate::dns::rdata;
use crate::privatelink::{Catalogue, Cloud};
use crate::zone::{Change, ChangeSet, Claim, Network, Networks, Outcome, Snapshot, ViewId, ZoneHeader};

const SUBSCRIPTION: &str = "00000000-0000-4000-8000-0000000000b2";
const HUB: &str = "/subscriptions/00000000-0000-4000-8000-0000000000b2/resourcegroups/rg-net/providers/microsoft.network/virtualnetworks/vnet-hub";

fn fixture(path: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/fixtures/arm/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn page(text: &str) -> ItemPage {
    ItemPage::read(text.as_bytes()).unwrap()
}

fn listed(items: &[Value]) -> ItemPage {
    page(&json!({ "value": items }).to_string())
}

/// The blob zone of the fixtures, with more record sets, and links unless others are given.
fn blob_zone(more: &[&str], links: Option<&[Value]>) -> PrivateZone {
    let zones = page(&fixture("private-dns/zones-list-subscription.json"));
    let mut reader = ZoneReader::new(&zones.items[0], &"zones".into()).unwrap();
    for number in 1..=2 {
        let page = page(&fixture(&format!("private-dns/record-sets-all-page{number}.json")));
        page.items.iter().for_each(|item| reader.record_set(item).unwrap());
    }
    for file in more {
        let item: Value = serde_json::from_str(&fixture(file)).unwrap();
        reader.record_set(&listed(&[item]).items[0]).unwrap();
    }
    let links = match links {
        None => page(&fixture("private-dns/virtual-network-links-list.json")),
        Some(links) => listed(links),
    };
    links.items.iter().for_each(|item| reader.link(item).unwrap());
    reader.finish()
}

/// `corp.internal` in a resource group, with record sets `name type key-and-records`.
fn corp(group: &str, sets: &[(&str, &str, Value)], network: Option<&str>) -> PrivateZone {
    let id = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.Network/privateDnsZones/corp.internal"
    );
    let zone = json!({"id": id, "name": "corp.internal", "type": "Microsoft.Network/privateDnsZones"});
    let mut reader = ZoneReader::new(&listed(&[zone]).items[0], &"zones".into()).unwrap();
    for (number, (name, rtype, properties)) in sets.iter().enumerate() {
        let mut item = json!({
            "id": format!("{id}/{rtype}/{number}"), "name": name, "properties": properties,
            "type": format!("Microsoft.Network/privateDnsZones/{rtype}")
        });
        item["properties"]["ttl"] = 300.into();
        reader.record_set(&listed(&[item]).items[0]).unwrap();
    }
    if let Some(network) = network {
        let link = json!({"id": format!("{id}/virtualNetworkLinks/l"), "properties": {
            "virtualNetwork": {"id": network}, "resolutionPolicy": "Default"}});
        reader.link(&listed(&[link]).items[0]).unwrap();
    }
    reader.finish()
}

fn a(address: &str) -> Value {
    json!({"aRecords": [{"ipv4Address": address}]})
}

fn desired(zones: impl IntoIterator<Item = PrivateZone>) -> Desired {
    let mut desired = Desired::default();
    desired.import(zones.into_iter().map(Arc::new), &[]);
    desired
}

fn planned_as(desired: &Desired, settings: &PublishSettings, snapshot: &Snapshot) -> (Plan, Snapshot) {
    let catalogue = Catalogue::builtin(Cloud::Public);
    let plan = plan(desired, &"zones".into(), settings, &catalogue, snapshot);
    let (after, _) = plan.changes.apply(snapshot).unwrap();
    (plan, after)
}

fn planned(desired: &Desired, snapshot: &Snapshot) -> (Plan, Snapshot) {
    planned_as(desired, &PublishSettings::default(), snapshot)
}

fn counts(plan: &Plan) -> (usize, usize, usize, usize) {
    (plan.published, plan.added, plan.replaced, plan.withdrawn)
}

fn ask(snapshot: &Snapshot, name: &str, rtype: RecordType, view: u16) -> String {
    let (name, view) = (name.parse::<Name>().unwrap(), ViewId(view));
    let Some(zone) = snapshot.zone_for(name.borrow(), view) else { return "no zone".to_owned() };
    match zone.lookup(name.borrow(), rtype, view) {
        Outcome::Hit(offer) | Outcome::Alias(offer) => {
            let data: Vec<String> =
                offer.set.records().map(|data| rdata::to_text(offer.set.rtype, data)).collect();
            data.join(" ")
        }
        outcome => format!("{outcome:?}"),
    }
}

fn with_networks(list: &[(&str, &[&str])]) -> Snapshot {
    let of = |(name, ids): &(&str, &[&str])| Network {
        name: (*name).into(),
        clients: Vec::new(),
        virtual_networks: ids.iter().map(|id| (*id).into()).collect(),
    };
    let networks = Networks::new(list.iter().map(of).collect(), Vec::new()).unwrap();
    let changes = vec![Change::SetNetworks(Arc::new(networks))];
    ChangeSet { changes }.apply(&Snapshot::default()).unwrap().0
}

fn zone_of<'s>(snapshot: &'s Snapshot, apex: &str) -> Option<&'s Arc<crate::zone::Zone>> {
    snapshot.zone(apex.parse::<Name>().unwrap().borrow())
}

const BLOB: &str = "privatelink.blob.core.windows.net.";

#[test]
fn the_zone_of_the_fixtures_is_imported_and_a_second_pass_does_nothing() {
    let wanted = desired([blob_zone(&["private-dns/record-set-aaaa-get.json"], None)]);
    assert_eq!(wanted.zones[0].record_sets.len(), 131);
    let (first, after) = planned(&wanted, &Snapshot::default());
    assert_eq!(counts(&first), (0, 131, 0, 0));
    let zone = zone_of(&after, BLOB).unwrap();
    // The links differ in their policy.
    assert_eq!(zone.header(), &ZoneHeader::private_link(BLOB.parse().unwrap()));
    assert_eq!(first.remarks.len(), 1);
    assert_eq!(ask(&after, &format!("acct128.{BLOB}"), RecordType::A, 0), "10.50.0.132");
    assert_eq!(ask(&after, &format!("contosov6.{BLOB}"), RecordType::AAAA, 0), "fd00:db8:1::5");
    let serial = zone.serial();
    let (second, same) = planned(&wanted, &after);
    assert!(second.changes.is_empty() && counts(&second) == (131, 0, 0, 0));
    assert_eq!(zone_of(&same, BLOB).unwrap().serial(), serial);
    assert_eq!(sources_of(&after), BTreeSet::from([Arc::from("zones")]));
    assert_eq!(subscriptions_of(&after, "zones"), BTreeSet::from([Arc::from(SUBSCRIPTION)]));
}

#[test]
fn a_zone_that_is_gone_is_withdrawn_and_its_settings_with_it() {
    let link = json!({"id": "", "properties": {"virtualNetwork": {"id": HUB}}});
    let mut link = link;
    link["id"] = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-dns/providers/Microsoft.Network/privateDnsZones/privatelink.blob.core.windows.net/virtualNetworkLinks/l").into();
    let both = desired([blob_zone(&[], Some(&[link])), corp("g", &[("x", "A", a("10.0.0.1"))], None)]);
    let (_, after) = planned(&both, &Snapshot::default());
    assert_eq!(zone_of(&after, BLOB).unwrap().header().on_missing, OnMissing::NxDomain);
    assert_eq!(ask(&after, "x.corp.internal.", RecordType::A, 0), "10.0.0.1");
    let (gone, left) = planned(&Desired::default(), &after);
    assert_eq!(counts(&gone), (131, 0, 0, 131));
    assert!(zone_of(&left, "corp.internal.").is_none());
    assert_eq!(zone_of(&left, BLOB).unwrap().header(), &ZoneHeader::private_link(BLOB.parse().unwrap()));
    assert!(zone_of(&left, BLOB).unwrap().is_empty());
    let told = Difference::all(&gone, &after, &Desired::default());
    assert_eq!(told.len(), 131);
    assert!(told[0].to_string().ends_with("(the private DNS zone is not listed any more)"), "{}", told[0]);
}

#[test]
fn an_empty_plain_zone_is_served_and_goes_again() {
    let wanted = desired([corp("g", &[], None)]);
    let (plan, after) = planned(&wanted, &Snapshot::default());
    assert_eq!(counts(&plan), (0, 0, 0, 0));
    assert_eq!(zone_of(&after, "corp.internal.").unwrap().serial(), 1);
    assert_eq!(ask(&after, "x.corp.internal.", RecordType::A, 0), "NoSuchName");
    assert!(planned(&wanted, &after).0.changes.is_empty());
    assert!(zone_of(&planned(&Desired::default(), &after).1, "corp.internal.").is_none());
}

#[test]
fn what_operators_put_into_an_imported_zone_stays_when_the_import_goes() {
    let (_, after) = planned(&desired([corp("g", &[("x", "A", a("10.0.0.1"))], None)]), &Snapshot::default());
    let apex: Name = "corp.internal.".parse().unwrap();
    let own = Change::Put {
        zone: apex.clone(),
        name: "own.corp.internal.".parse().unwrap(),
        offer: crate::zone::Offer {
            set: after
                .zone(apex.borrow())
                .unwrap()
                .node("x.corp.internal.".parse::<Name>().unwrap().borrow())
                .unwrap()
                .slots()[0]
                .offers()[0]
                .set
                .clone(),
            origin: crate::zone::Origin::Rest,
        },
    };
    let (with_own, _) = ChangeSet { changes: vec![own] }.apply(&after).unwrap();
    let (_, left) = planned(&Desired::default(), &with_own);
    assert_eq!(ask(&left, "own.corp.internal.", RecordType::A, 0), "10.0.0.1");
    assert_eq!(ask(&left, "x.corp.internal.", RecordType::A, 0), "NoSuchName");
}

#[test]
fn two_zones_of_one_apex_serve_each_network_its_own_and_one_going_leaves_the_other() {
    let snapshot = with_networks(&[("one", &["/v1"]), ("two", &["/v2"])]);
    let one = || {
        corp(
            "g1",
            &[("x", "A", a("10.0.0.1")), ("y", "CNAME", json!({"cnameRecord": {"cname": "y.test"}}))],
            Some("/V1"),
        )
    };
    let two = || corp("g2", &[("x", "A", a("10.0.0.2")), ("y", "A", a("10.0.0.3"))], Some("/V2"));
    let (plan, after) = planned(&desired([one(), two()]), &snapshot);
    assert_eq!(counts(&plan), (0, 4, 0, 0));
    let asked =
        |view| ["x", "y"].map(|name| ask(&after, &format!("{name}.corp.internal."), RecordType::A, view));
    assert_eq!(asked(1), ["10.0.0.1", "y.test."]);
    assert_eq!(asked(2), ["10.0.0.2", "10.0.0.3"]);
    assert!(zone_of(&after, "corp.internal.").unwrap().header().networks.is_empty());
    let (_, left) = planned(&desired([two()]), &after);
    assert_eq!(zone_of(&left, "corp.internal.").unwrap().header().networks, [Arc::from("two")]);
    assert_eq!(ask(&left, "x.corp.internal.", RecordType::A, 2), "10.0.0.2");
    assert_eq!(ask(&left, "x.corp.internal.", RecordType::A, 1), "no zone");
}

#[test]
fn a_zone_of_no_network_of_ours_is_not_imported_and_told() {
    let snapshot = with_networks(&[("one", &["/v1"])]);
    let (plan, after) = planned(&desired([corp("g", &[("x", "A", a("10.0.0.1"))], Some("/v2"))]), &snapshot);
    assert!(plan.changes.is_empty() && zone_of(&after, "corp.internal.").is_none());
    let told: Vec<String> = plan.remarks.iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("corp.internal. is not imported from /subscriptions/"), "{told:?}");
    // A link to one of ours brings it in.
    let linked = desired([corp("g", &[("x", "A", a("10.0.0.1"))], Some("/v1"))]);
    let (_, after) = planned(&linked, &after);
    assert_eq!(ask(&after, "x.corp.internal.", RecordType::A, 1), "10.0.0.1");
    let (plan, after) = planned(&desired([corp("g", &[("x", "A", a("10.0.0.1"))], Some("/v2"))]), &after);
    assert_eq!(counts(&plan), (1, 0, 0, 1));
    assert!(zone_of(&after, "corp.internal.").is_none());
}

#[test]
fn config_outranks_links_and_leaves_zones_out() {
    let header = ZoneHeader {
        on_missing: OnMissing::AskPublic,
        ..ZoneHeader::plain("corp.internal.".parse().unwrap())
    };
    let settings = PublishSettings {
        configured: [(header.apex.clone(), header.clone())].into(),
        zones: vec!["vault".to_owned()],
        ..PublishSettings::default()
    };
    let wanted = desired([blob_zone(&[], None), corp("g", &[], Some("/v1"))]);
    let (plan, after) = planned_as(&wanted, &settings, &Snapshot::default());
    assert_eq!(zone_of(&after, "corp.internal.").unwrap().header(), &header);
    assert!(zone_of(&after, BLOB).is_none());
    assert!(plan.remarks.iter().any(|it| matches!(it, Remark::NotSelected { .. })));
}

#[test]
fn what_is_not_told_of_a_zone_stays() {
    let (_, after) = planned(&desired([corp("g", &[("x", "A", a("10.0.0.1"))], None)]), &Snapshot::default());
    let id = Arc::clone(&zone_of(&after, "corp.internal.").unwrap().azure_zones().next().unwrap().id);
    let unsettled = Desired { unsettled: vec![id], ..Desired::default() };
    let elsewhere = Desired { extent: Extent::Only(BTreeSet::new()), ..Desired::default() };
    for desired in [unsettled, elsewhere] {
        assert!(planned(&desired, &after).0.changes.is_empty());
    }
}

#[test]
fn changed_records_and_links_are_put_anew() {
    let before = desired([corp("g", &[("x", "A", a("10.0.0.1")), ("y", "A", a("10.0.0.2"))], None)]);
    let (_, after) = planned(&before, &Snapshot::default());
    let serial = zone_of(&after, "corp.internal.").unwrap().serial();
    let changed = desired([corp("g", &[("x", "A", a("10.0.0.9")), ("y", "A", a("10.0.0.2"))], None)]);
    let (plan, after) = planned(&changed, &after);
    assert_eq!((counts(&plan), plan.changes.changes.len()), ((2, 0, 1, 0), 1));
    assert_eq!(zone_of(&after, "corp.internal.").unwrap().serial(), serial + 1);
    let linked = desired([corp("g", &[("x", "A", a("10.0.0.9")), ("y", "A", a("10.0.0.2"))], Some("/v1"))]);
    let (plan, after) = planned(&linked, &after);
    assert_eq!(counts(&plan), (2, 0, 2, 0));
    assert!(planned(&linked, &after).0.changes.is_empty());
}

#[test]
fn hostile_record_sets_are_left_out_and_the_rest_is_imported() {
    let zone = corp(
        "g",
        &[
            ("good", "A", a("10.0.0.1")),
            ("bad name", "A", a("10.0.0.2")),
            ("elsewhere.example.", "A", a("10.0.0.3")),
            ("alias", "CNAME", json!({"cnameRecord": {"cname": "x.test"}})),
            ("alias", "A", a("10.0.0.4")),
            ("@", "CNAME", json!({"cnameRecord": {"cname": "x.test"}})),
            ("shape", "A", json!({"aRecords": 5})),
            ("empty", "A", json!({})),
        ],
        None,
    );
    assert_eq!((zone.record_sets.len(), zone.warnings.len()), (2, 5));
    let (_, after) = planned(&desired([zone]), &Snapshot::default());
    assert_eq!(ask(&after, "good.corp.internal.", RecordType::A, 0), "10.0.0.1");
    assert_eq!(ask(&after, "alias.corp.internal.", RecordType::A, 0), "10.0.0.4");
}

#[test]
fn a_listing_that_tells_of_others_or_of_one_twice_is_refused() {
    let zones = page(&fixture("private-dns/zones-list-subscription.json"));
    let sets = page(&fixture("private-dns/record-sets-all-page2.json"));
    let mut other = ZoneReader::new(&zones.items[1], &"zones".into()).unwrap();
    assert!(matches!(other.record_set(&sets.items[0]), Err(PrivateZoneError::Stranger { .. })));
    let mut own = ZoneReader::new(&zones.items[0], &"zones".into()).unwrap();
    own.record_set(&sets.items[0]).unwrap();
    assert!(matches!(own.record_set(&sets.items[0]), Err(PrivateZoneError::Duplicate { .. })));
    for name in ["", ".", "a b", "a\\.b", "@"] {
        let id = format!("{}x", zones.items[0].id.as_str());
        let item = json!({"id": id, "name": name});
        assert!(ZoneReader::new(&listed(&[item]).items[0], &"zones".into()).is_err(), "{name}");
    }
}

fn publication(endpoint: &str, name: &str, address: [u8; 4]) -> Publication {
    let claim = Claim {
        endpoint: format!("/subscriptions/s/{endpoint}").into(),
        virtual_network: None,
        subscription: "s".into(),
        resource: None,
        source: "arm".into(),
        since_secs: 100,
    };
    Publication {
        zone: BLOB.parse().unwrap(),
        name: format!("{name}.{BLOB}").parse().unwrap(),
        ipv4: vec![address.into()],
        ipv6: Vec::new(),
        public_names: Vec::new(),
        claim: Arc::new(claim),
    }
}

#[test]
fn drift_is_a_wrong_address_a_deleted_endpoint_or_a_stale_record() {
    let zone = blob_zone(
        &[
            "private-dns/record-set-a-get.json",
            "private-dns/record-set-a-manual-get.json",
            "scenario-conflict/record-set-last-writer.json",
        ],
        None,
    );
    let wanted = desired([zone]);
    let (_, snapshot) = planned(&wanted, &Snapshot::default());
    // All 130 of the pages are written for endpoints that are listed, and agree; but for three.
    let mut endpoints = Desired::default();
    for number in 0..130_u8 {
        let name = format!("acct{number:03}");
        let publication = |address| publication(&format!("pe-{name}"), &name, address);
        match number {
            0 => {}
            1 => endpoints.publications.push(publication([10, 99, 0, 1])),
            2 => endpoints.withheld.push(Withheld {
                zone: BLOB.parse().unwrap(),
                name: format!("{name}.{BLOB}").parse().unwrap(),
                public_names: Vec::new(),
                endpoint: "/subscriptions/s/pe-acct002".into(),
                endpoint_name: "PE-acct002".into(),
                state: ConnectionState::Disconnected,
            }),
            _ => endpoints.publications.push(publication([10, 50, 0, number + 4])),
        }
    }
    endpoints.publications.push(publication("pe-contosodata01-blob", "contosodata01", [10, 1, 0, 5]));
    // Two endpoints share a name: the record is the last writer's.
    endpoints.publications.push(publication("pe-shared01-blob", "contososhared01", [10, 10, 1, 5]));
    endpoints.publications.push(publication("pe-shared01-blob-spoke2", "contososhared01", [10, 20, 1, 5]));
    let catalogue = Catalogue::builtin(Cloud::Public);
    let changes = plan(&endpoints, &"arm".into(), &PublishSettings::default(), &catalogue, &snapshot).changes;
    let (snapshot, _) = changes.apply(&snapshot).unwrap();
    assert_eq!(ask(&snapshot, &format!("acct001.{BLOB}"), RecordType::A, 0), "10.99.0.1");
    let found = |extent| {
        let listed = ListedEndpoints::of([&endpoints].into_iter(), extent);
        let drifts = drift(wanted.zones.iter().map(|zone| &**zone), &snapshot, &listed);
        let told = drifts.iter().map(|drift| {
            let text = drift.to_string();
            let (name, rest) = text.split_once('.').unwrap();
            format!("{name}: {}", rest.split_once(": ").unwrap().1)
        });
        told.collect::<Vec<_>>()
    };
    let deleted = "acct000: deleted endpoint, it was written for pe-acct000, which no source lists";
    let rest = [
        "acct001: wrong address, private endpoint /subscriptions/s/pe-acct001 has 10.99.0.1",
        "acct002: stale record, private endpoint pe-acct002 is Disconnected",
    ];
    assert_eq!(found(ListedExtent::Whole), [&[deleted], &rest[..]].concat());
    // Who has not seen all endpoints does not know that one is gone.
    assert_eq!(found(ListedExtent::Part), rest);
}
