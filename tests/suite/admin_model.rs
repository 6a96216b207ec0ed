//! Whatever is asked of the API, in whatever order: what is served is what a model holds, restarts included.

use std::collections::{BTreeMap, BTreeSet};

use privatelink_dns::dns::{Name, rdata};
use privatelink_dns::zone::Origin;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::api::Api;

const ZONES: [&str; 3] = ["a.test.", "b.a.test.", "c.test."];
const NAMES: [&str; 5] = ["@", "x", "y", "*.y", "z.x"];
const TYPES: [&str; 3] = ["A", "TXT", "CNAME"];

#[derive(Clone, Debug)]
enum Step {
    MakeZone(usize),
    DropZone(usize),
    Put(Set),
    Delete(Set),
    /// `true` = put.
    Changes(Vec<(bool, Set)>),
    Restart,
}

#[derive(Clone, Debug)]
struct Set {
    zone: usize,
    name: usize,
    rtype: usize,
    data: u8,
}

/// Zone, then owner and type, then TTL and data.
type Model = BTreeMap<String, BTreeMap<(String, String), (u32, Vec<String>)>>;

impl Set {
    fn key(&self) -> (String, String) {
        let zone: Name = ZONES[self.zone].parse().unwrap();
        (Name::parse(NAMES[self.name], zone.borrow()).unwrap().to_string(), TYPES[self.rtype].to_owned())
    }

    fn data(&self) -> String {
        match TYPES[self.rtype] {
            "A" => format!("10.0.0.{}", self.data),
            "TXT" => format!("\"t{}\"", self.data),
            _ => format!("t{}.test.", self.data),
        }
    }

    fn path(&self) -> String {
        format!("/zones/{}/record-sets/{}/{}", ZONES[self.zone], NAMES[self.name], TYPES[self.rtype])
    }

    fn is_in(&self, model: &Model) -> bool {
        model.get(ZONES[self.zone]).is_some_and(|sets| sets.contains_key(&self.key()))
    }
}

/// RFC 1034 §3.6.2; at the apex there is a SOA record always.
fn is_right(model: &Model) -> bool {
    model.iter().all(|(zone, sets)| {
        sets.keys()
            .filter(|(_, rtype)| rtype == "CNAME")
            .all(|(name, _)| name != zone && sets.keys().filter(|(other, _)| other == name).count() == 1)
    })
}

/// The model after changes, if they are right.
fn changed(model: &Model, changes: &[(bool, &Set)]) -> Option<Model> {
    let mut new = model.clone();
    let mut seen = BTreeSet::new();
    for (is_put, set) in changes {
        if !seen.insert((set.zone, set.key())) {
            return None;
        }
        let sets = new.get_mut(ZONES[set.zone])?;
        if *is_put {
            sets.insert(set.key(), (60, vec![set.data()]));
        } else {
            sets.remove(&set.key())?;
        }
    }
    is_right(&new).then_some(new)
}

fn set() -> impl Strategy<Value = Set> {
    (0..ZONES.len(), 0..NAMES.len(), 0..TYPES.len(), 1..4_u8).prop_map(|(zone, name, rtype, data)| Set {
        zone,
        name,
        rtype,
        data,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..ZONES.len()).prop_map(Step::MakeZone),
        1 => (0..ZONES.len()).prop_map(Step::DropZone),
        6 => set().prop_map(Step::Put),
        3 => set().prop_map(Step::Delete),
        4 => prop::collection::vec((any::<bool>(), set()), 1..5).prop_map(Step::Changes),
        1 => Just(Step::Restart),
    ]
}

fn change(is_put: bool, set: &Set) -> Value {
    let (zone, name, rtype) = (ZONES[set.zone], NAMES[set.name], TYPES[set.rtype]);
    match is_put {
        true => {
            json!({"action": "put", "zone": zone, "name": name, "type": rtype, "ttl": 60, "records": [set.data()]})
        }
        false => json!({"action": "delete", "zone": zone, "name": name, "type": rtype}),
    }
}

/// What operators' records are served.
fn served(api: &Api) -> Model {
    let snapshot = api.world.store.snapshot();
    let zones = snapshot.zones().map(|(apex, zone)| {
        let sets = zone.nodes().flat_map(|(name, node)| {
            node.slots()
                .iter()
                .flat_map(|slot| slot.offers())
                .filter(|offer| offer.origin == Origin::Rest)
                .map(move |offer| {
                    let data =
                        offer.set.records().map(|data| rdata::to_text(offer.set.rtype, data)).collect();
                    ((name.to_string(), offer.set.rtype.to_string()), (offer.set.ttl.secs(), data))
                })
        });
        (apex.to_string(), sets.collect())
    });
    zones.collect()
}

async fn run(steps: Vec<Step>) {
    let mut api = Api::start().await;
    let mut model = Model::new();
    for step in steps.into_iter().chain([Step::Restart]) {
        let (status, new) = match &step {
            Step::MakeZone(zone) => {
                let answer = api.call("POST /zones").json(&json!({"name": ZONES[*zone]})).send().await;
                let is_new = !model.contains_key(ZONES[*zone]);
                (
                    answer.status,
                    is_new.then(|| {
                        let mut new = model.clone();
                        new.insert(ZONES[*zone].to_owned(), BTreeMap::new());
                        new
                    }),
                )
            }
            Step::DropZone(zone) => {
                let call = api.call(&format!("DELETE /zones/{}", ZONES[*zone])).header("if-match", "*");
                let mut new = model.clone();
                let gone = new.remove(ZONES[*zone]);
                (call.send().await.status, gone.map(|_| new))
            }
            Step::Put(set) => {
                let condition = if set.is_in(&model) { "if-match" } else { "if-none-match" };
                let call = api.call(&format!("PUT {}", set.path())).header(condition, "*");
                let answer = call.json(&json!({"ttl": 60, "records": [set.data()]})).send().await;
                (answer.status, changed(&model, &[(true, set)]))
            }
            Step::Delete(set) => {
                let call = api.call(&format!("DELETE {}", set.path())).header("if-match", "*");
                (call.send().await.status, changed(&model, &[(false, set)]))
            }
            Step::Changes(sets) => {
                let body: Vec<Value> = sets.iter().map(|(is_put, set)| change(*is_put, set)).collect();
                let answer = api.call("POST /changes").json(&json!({ "changes": body })).send().await;
                let sets: Vec<(bool, &Set)> = sets.iter().map(|(is_put, set)| (*is_put, set)).collect();
                (answer.status, changed(&model, &sets))
            }
            Step::Restart => {
                api = api.restart(|_| {}).await;
                (200, Some(model.clone()))
            }
        };
        assert_eq!(status < 300, new.is_some(), "{step:?} is answered {status}, with {model:#?}");
        assert!((200..500).contains(&status), "{step:?} is answered {status}");
        model = new.unwrap_or(model);
        assert_eq!(served(&api), model, "after {step:?}");
    }
    assert_eq!(api.ledger.written().refused_count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 60, ..ProptestConfig::default() })]
    #[test]
    fn what_is_served_is_what_a_model_holds(steps in prop::collection::vec(step(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
