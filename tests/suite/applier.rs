//! The stream of stored changes goes on whatever goes wrong with one of them, and who wrote it is told.

use std::sync::Arc;
use std::time::Duration;

use privatelink_dns::dns::{Name, RecordSet, RecordType, Ttl};
use privatelink_dns::forward::{RuleSettings, UpstreamHealth};
use privatelink_dns::ledger::{Applier, Bases, Neighbours, Written};
use privatelink_dns::persist::{
    Audit, Commit, Entry, Made, Persist, Settings, Source, StoredChange, StoredZone,
};
use privatelink_dns::privatelink::{Catalogue, Cloud};
use privatelink_dns::zone::{Author, Change, ChangeSet, Snapshot, Store, Witness, ZoneKind};
use serde_json::json;

use crate::support::api::{Api, PANICS};
use crate::support::client::PATIENCE;

/// A witness that panics at one name, and neighbours that say nothing.
struct Mistaken;

impl Witness for Mistaken {
    fn see(&mut self, _: &Author, _: &Arc<Snapshot>, changes: &Arc<ChangeSet>) {
        let is_bad = |change: &Change| matches!(change, Change::Put { name, .. } if name.to_string().starts_with("bad"));
        assert!(!changes.changes.iter().any(is_bad), "on purpose");
    }
}

impl Neighbours for Mistaken {
    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::new(Catalogue::builtin(Cloud::Public))
    }

    fn configured_rules(&self) -> Vec<RuleSettings> {
        Vec::new()
    }

    fn upstreams(&self) -> Vec<UpstreamHealth> {
        Vec::new()
    }

    fn set_rules(&self, _: Vec<RuleSettings>) {}
}

fn commit(changes: Vec<StoredChange>) -> Commit {
    let (source, actor) = (Source::Rest, "ops".into());
    Commit { changes, ..Commit::by(Audit { source, actor, remote: None, request_id: None, comment: None }) }
}

fn put(owner: &str) -> StoredChange {
    put_in("corp.internal.", owner)
}

fn put_in(zone: &str, owner: &str) -> StoredChange {
    let zone: Name = zone.parse().unwrap();
    let name = Name::parse(owner, zone.borrow()).unwrap();
    let set = RecordSet::new(RecordType::A, Ttl::from_secs(60).unwrap(), [[10, 0, 0, 1]]).unwrap();
    StoredChange::Put(Entry::RecordSet { zone, name, set })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_the_zones_panic_at_is_left_out_and_all_others_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { state_dir: folder.path().into(), ..Settings::default() };
    let persist = Persist::open(&settings).await.unwrap();
    let (store, written) = (Arc::new(Store::new(Box::new(Mistaken))), Arc::<Written>::default());
    let applier = Applier::new(store.clone(), written.clone(), Arc::new(Mistaken));
    applier.rebase(Bases::default());
    let _following = applier.start(persist.changes(0));
    let apex: Name = "corp.internal.".parse().unwrap();
    let made = Made::ByRest(ZoneKind::Plain);
    let zone = StoredZone { apex: apex.clone(), made, on_missing: None, networks: None };
    persist.commit(commit(vec![StoredChange::Put(Entry::Zone(zone))])).await.unwrap();
    persist.commit(commit(vec![put("a"), put("bad"), put("b")])).await.unwrap();
    // Enough for a thread of its own.
    let many = (0..1_500).map(|number| put(&format!("many{number}"))).chain([put("bad2")]).collect();
    persist.commit(commit(many)).await.unwrap();
    let last = persist.commit(commit(vec![put("last")])).await.unwrap().revision;
    let mut applied = applier.applied();
    let served = applied.wait_for(|applied| *applied >= last);
    tokio::time::timeout(PATIENCE, served).await.expect("the stream goes on").unwrap();
    let snapshot = store.snapshot();
    let zone = snapshot.zone(apex.borrow()).unwrap();
    let holds = |owner: &str| zone.node(Name::parse(owner, apex.borrow()).unwrap().borrow()).is_some();
    assert!(["a", "b", "many0", "many1499", "last"].into_iter().all(holds));
    assert!(!holds("bad") && !holds("bad2"));
    assert_eq!(written.refused_count(), 2);
    persist.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_in_a_zone_that_an_endpoint_made_outlives_the_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { state_dir: folder.path().into(), ..Settings::default() };
    let persist = Persist::open(&settings).await.unwrap();
    // After a restart: the endpoint is gone, and nobody makes its zone.
    let (store, written) = (Arc::new(Store::new(Box::new(Mistaken))), Arc::<Written>::default());
    let applier = Applier::new(store.clone(), written.clone(), Arc::new(Mistaken));
    applier.rebase(Bases::default());
    let _following = applier.start(persist.changes(0));
    let zones = ["privatelink.newservice.azure.net.", "gone.example."];
    let changes = zones.map(|zone| put_in(zone, "own")).to_vec();
    let last = persist.commit(commit(changes)).await.unwrap().revision;
    let mut applied = applier.applied();
    let served = applied.wait_for(|applied| *applied >= last);
    tokio::time::timeout(PATIENCE, served).await.expect("the stream goes on").unwrap();
    let snapshot = store.snapshot();
    let [derived, other] = zones.map(|zone| snapshot.zone(zone.parse::<Name>().unwrap().borrow()));
    let own: Name = "own.privatelink.newservice.azure.net.".parse().unwrap();
    assert!(derived.unwrap().node(own.borrow()).is_some());
    assert!(other.is_none());
    persist.close().await;
}

#[tokio::test]
async fn a_rule_that_the_server_panics_at_is_told_and_the_next_ones_hold() {
    let api = Api::start().await;
    let body = json!({"upstreams": ["10.0.0.1"]});
    let what = format!("PUT /forwarders/{}", PANICS.trim_end_matches('.'));
    let answer = tokio::time::timeout(Duration::from_secs(5), api.call(&what).json(&body).send());
    let answer = answer.await.expect("nobody is left waiting");
    assert_eq!(answer.status, 500, "{answer:?}");
    assert!(answer.text.contains("but not in force"), "{answer:?}");
    api.put("POST /zones", json!({"name": "corp.internal"})).await;
    let taken = api.call(&what.replace("PUT", "DELETE")).header("if-match", "*").send().await;
    assert_eq!(taken.status, 204, "{taken:?}");
    api.put("PUT /forwarders/good.example", body).await;
    let domains: Vec<String> =
        api.neighbours.rules.lock().unwrap().iter().map(|rule| rule.domain.to_string()).collect();
    assert_eq!(domains, ["good.example."]);
}
