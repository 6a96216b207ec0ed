//! Several real processes on one PostgreSQL: what one is told all answer, whatever dies or stands still meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::client::PATIENCE;
use crate::support::postgres::{Cluster, Disk};
use crate::support::served::{Answer, CLIENTS, Client, NOTHING, Place, Served};

/// Writes that the delay is measured over.
const MEASURED: usize = 200;

/// Processes that share a database.
struct Instances {
    served: Vec<Served>,
    // Behind the processes: they go first.
    _places: Vec<Place>,
    cluster: Cluster,
}

impl Instances {
    /// Starts as many, with this in `[store]` besides its address; `None` without PostgreSQL.
    fn start(count: usize, store: &str) -> Option<Instances> {
        let cluster = Cluster::start(Disk::Unsynced)?;
        let config = format!("{NOTHING}[store]\nurl = \"{}\"\n{store}", cluster.url());
        let places: Vec<Place> = (0..count).map(|_| Place::new(&config)).collect();
        let mut served: Vec<Served> = places.iter().map(Place::serve).collect();
        // The first one has made the first token, for all.
        let token = served[0].client.token.clone();
        served.iter_mut().for_each(|served| served.client.token.clone_from(&token));
        let instances = Instances { served, _places: places, cluster };
        instances.served[0].well("POST /zones", json!({"name": "corp.internal"}));
        for served in &instances.served {
            wait_until("the zone is there", || served.call("GET /zones/corp.internal", None).0 == 200);
        }
        Some(instances)
    }

    /// Runs SQL beside the instances; answers the numbers in its first column.
    fn sql(&self, sql: &'static str) -> Vec<i64> {
        CLIENTS.block_on(async {
            let mut connection =
                <sqlx::PgConnection as sqlx::Connection>::connect(&self.cluster.url()).await.unwrap();
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        })
    }

    /// Waits until all serve the same, byte for byte.
    fn settle(&self) -> String {
        let start = Instant::now();
        loop {
            let exports: Vec<String> = self.served.iter().map(|served| served.client.exports()).collect();
            if exports.iter().all(|export| *export == exports[0]) {
                return exports.into_iter().next().unwrap();
            }
            let is_other = |(one, other): &(&str, &str)| one != other;
            let first = |export: &String| {
                exports[0]
                    .lines()
                    .zip(export.lines())
                    .find(is_other)
                    .map(|(one, other)| format!("{one} | {other}"))
            };
            let others: Vec<_> = exports[1..].iter().filter_map(first).collect();
            assert!(start.elapsed() < PATIENCE, "they serve different zones: {others:?}");
        }
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    // Hundreds of writes on a busy machine.
    let patience = 4 * PATIENCE;
    while !is_so() {
        assert!(start.elapsed() < patience, "{what}: not so after {patience:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn put(owner: &str) -> String {
    format!("PUT /zones/corp.internal/record-sets/{owner}/A")
}

fn address(number: usize) -> String {
    format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255)
}

/// What many writes were answered, by owner: its address and the answer.
type Answers = BTreeMap<String, (String, Answer)>;

/// Writes new record sets over one API until it is enough.
fn write(
    client: &Client,
    mark: &str,
    is_over: &Arc<AtomicBool>,
    done: &Arc<AtomicUsize>,
) -> JoinHandle<Answers> {
    let (client, mark) = (client.clone(), mark.to_owned());
    let (is_over, done) = (Arc::clone(is_over), Arc::clone(done));
    CLIENTS.spawn(async move {
        let mut answers = Answers::new();
        for number in 0.. {
            if is_over.load(Ordering::SeqCst) {
                break;
            }
            let (owner, address) = (format!("{mark}-{number}"), address(number));
            let body = json!({"ttl": 60, "records": [address]});
            let answer = client.send(&put(&owner), Some(&body)).await.expect("the API answers");
            if answer.status >= 300 {
                // As the answer says, but sooner.
                tokio::time::sleep(Duration::from_millis(20)).await;
            } else {
                done.fetch_add(1, Ordering::SeqCst);
            }
            answers.insert(owner, (address, answer));
        }
        answers
    })
}

/// Holds what all serve against what was answered.
fn check(instances: &Instances, answers: &Answers) -> [usize; 3] {
    let served = instances.settle();
    let there: BTreeMap<&str, &str> = served
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let at = words.iter().position(|word| *word == "A")?;
            Some((*words.first()?, *words.get(at + 1)?))
        })
        .collect();
    let mut counts = [0; 3];
    for (owner, (address, answer)) in answers {
        let found = there.get(owner.as_str()).copied();
        match (answer.status, answer.problem().as_str()) {
            (200..300, _) => {
                counts[0] += 1;
                assert_eq!(found, Some(address.as_str()), "{owner} was answered");
            }
            (503, "unavailable") => {
                counts[1] += 1;
                assert!(answer.text.contains("nothing was stored"), "{answer:?}");
                assert_eq!(found, None, "{owner} was refused");
            }
            (503, "unsettled") => {
                counts[2] += 1;
                assert!(found.is_none_or(|found| found == address), "{owner} is {found:?}");
            }
            _ => panic!("{owner}: {answer:?}"),
        }
        if answer.status == 503 {
            assert!(answer.retry_after.is_some(), "{answer:?}");
        }
    }
    counts
}

#[test]
fn what_one_instance_is_told_the_others_answer() {
    let Some(instances) = Instances::start(3, "") else { return };
    let [one, two, three] = &instances.served[..] else { unreachable!() };
    let mut took = Vec::new();
    for number in 0..MEASURED {
        let (owner, name) = (format!("n{number}"), format!("n{number}.corp.internal."));
        let there = format!("{name} 60 A {}", address(number));
        one.well(&put(&owner), json!({"ttl": 60, "records": [address(number)]}));
        let answered = Instant::now();
        // The one that was told answers at once.
        assert_eq!(one.dns(&name, "A"), [there.as_str()]);
        two.wait_for(&name, "A", &[&there]);
        took.push(answered.elapsed());
        three.wait_for(&name, "A", &[&there]);
    }
    took.sort();
    println!(
        "written on one, answered by another: {:?} at the median, {:?} at the 99th percentile of {MEASURED}",
        took[MEASURED / 2],
        took[MEASURED * 99 / 100]
    );
    assert!(took[MEASURED / 2] < Duration::from_secs(2));
    // In every direction, and what is taken back is gone.
    three.well("POST /zones", json!({"name": "other.internal"}));
    three.well("PUT /zones/other.internal/record-sets/www/A", json!({"ttl": 60, "records": ["10.1.1.1"]}));
    for served in [one, two] {
        served.wait_for("www.other.internal.", "A", &["www.other.internal. 60 A 10.1.1.1"]);
    }
    assert_eq!(two.call("DELETE /zones/corp.internal/record-sets/n0/A", None).0, 204);
    one.wait_for("n0.corp.internal.", "A", &[]);
    three.wait_for("n0.corp.internal.", "A", &[]);
    instances.settle();
}

/// One request, twice: by way of either instance it is done once.
#[test]
fn a_repeated_request_is_done_once_whichever_instance_is_asked() {
    let Some(instances) = Instances::start(2, "") else { return };
    let body = json!({"changes": [{
        "action": "put", "zone": "corp.internal", "name": "once", "type": "A", "ttl": 60, "records": ["10.0.0.1"]
    }]});
    let send = |served: &Served| {
        let client = served.client.clone();
        let body = body.clone();
        CLIENTS.spawn(async move { client.send_once("POST /changes", "key-1", &body).await.unwrap() })
    };
    // At the same time, then one after the other.
    let at_once: Vec<JoinHandle<Answer>> = (0..8).map(|number| send(&instances.served[number % 2])).collect();
    let mut revisions: Vec<_> = at_once
        .into_iter()
        .map(|sent| CLIENTS.block_on(sent).unwrap())
        .chain(instances.served.iter().map(|served| CLIENTS.block_on(send(served)).unwrap()))
        .map(|answer| {
            assert_eq!(answer.status / 100, 2, "{answer:?}");
            answer.json()["revision"].as_u64().unwrap()
        })
        .collect();
    revisions.dedup();
    assert_eq!(revisions.len(), 1, "{revisions:?}");
}

#[test]
fn a_database_that_dies_takes_nothing_with_it_and_dns_goes_on() {
    let Some(instances) = Instances::start(2, "") else { return };
    let kept = json!({"ttl": 60, "records": ["10.9.9.9"]});
    instances.served[0].well(&put("kept"), kept);
    let there = ["kept.corp.internal. 60 A 10.9.9.9"];
    instances.served[1].wait_for("kept.corp.internal.", "A", &there);
    let (is_over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writers: Vec<_> = (0..8)
        .map(|writer| write(&instances.served[writer % 2].client, &format!("w{writer}"), &is_over, &done))
        .collect();
    for _ in 0..3 {
        let enough = done.load(Ordering::SeqCst) + 60;
        wait_until("writes are answered", || done.load(Ordering::SeqCst) >= enough);
        instances.cluster.kill();
        for served in &instances.served {
            let begun = Instant::now();
            let body = json!({"ttl": 60, "records": ["10.0.0.1"]});
            let refused = CLIENTS.block_on(served.client.send(&put("down"), Some(&body))).unwrap();
            assert_eq!((refused.status, refused.problem().as_str()), (503, "unavailable"), "{refused:?}");
            assert!(refused.retry_after.is_some() && begun.elapsed() < Duration::from_secs(10));
            assert_eq!(served.dns("kept.corp.internal.", "A"), there);
            let (status, set) = served.call("GET /zones/corp.internal/record-sets/kept/A", None);
            assert_eq!((status, &set["records"][0]), (200, &json!("10.9.9.9")));
            assert_eq!(served.call("GET /zones/corp.internal/record-sets?limit=10", None).0, 200);
        }
        instances.cluster.run_again();
    }
    let enough = done.load(Ordering::SeqCst) + 60;
    wait_until("writes are answered again", || done.load(Ordering::SeqCst) >= enough);
    is_over.store(true, Ordering::SeqCst);
    let mut answers = Answers::new();
    writers.into_iter().for_each(|writer| answers.extend(CLIENTS.block_on(writer).unwrap()));
    let [stored, refused, unsettled] = check(&instances, &answers);
    println!("{stored} stored, {refused} refused, {unsettled} of which nobody knew");
    assert!(stored > 200 && refused > 0);
}

#[test]
fn connections_that_are_cut_over_and_over_lose_nothing() {
    let Some(instances) = Instances::start(2, "") else { return };
    let (is_over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writers: Vec<_> = (0..4)
        .map(|writer| write(&instances.served[writer % 2].client, &format!("w{writer}"), &is_over, &done))
        .collect();
    for round in 0..10 {
        let enough = done.load(Ordering::SeqCst) + 40;
        wait_until("writes are answered", || done.load(Ordering::SeqCst) >= enough);
        // Now those that listen, now all.
        let cut = if round % 3 == 2 {
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'privatelink-dns'"
        } else {
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE application_name = 'privatelink-dns' AND query ILIKE 'LISTEN%'"
        };
        assert!(instances.sql(cut)[0] > 0, "nobody listens");
        wait_until("both listen again", || {
            let listening = "SELECT count(*) FROM pg_stat_activity \
                             WHERE application_name = 'privatelink-dns' AND query ILIKE 'LISTEN%'";
            instances.sql(listening)[0] >= 2
        });
    }
    is_over.store(true, Ordering::SeqCst);
    let mut answers = Answers::new();
    writers.into_iter().for_each(|writer| answers.extend(CLIENTS.block_on(writer).unwrap()));
    let [stored, refused, unsettled] = check(&instances, &answers);
    println!("{stored} stored, {refused} refused, {unsettled} of which nobody knew");
}

/// What happened while it stood still is forgotten by the audit: it reads everything anew.
#[test]
fn an_instance_that_stood_still_for_too_long_serves_the_same_again() {
    let Some(instances) = Instances::start(2, "audit_changes_max = 50\n") else { return };
    let [one, two] = &instances.served[..] else { unreachable!() };
    let a = |address: &str| json!({"ttl": 60, "records": [address]});
    for apex in ["gone.internal", "again.internal", "set.internal", "still.internal"] {
        one.well("POST /zones", json!({"name": apex}));
        one.well(&format!("PUT /zones/{apex}/record-sets/old/A"), a("10.0.0.1"));
        one.well(&format!("PUT /zones/{apex}/record-sets/kept/A"), a("10.0.0.2"));
    }
    let blob = "privatelink.blob.core.windows.net";
    one.well(&format!("PUT /zones/{blob}/record-sets/app/A"), a("10.0.0.3"));
    one.well("PUT /forwarders/corp.example", json!({"upstreams": ["127.0.0.1:9"]}));
    two.wait_for(&format!("app.{blob}."), "A", &[&format!("app.{blob}. 60 A 10.0.0.3")]);
    instances.settle();
    two.signal("STOP");
    let taken = |what: &str| assert_eq!(one.call(what, None).0, 204, "{what}");
    taken("DELETE /zones/gone.internal");
    taken("DELETE /zones/again.internal");
    one.well("POST /zones", json!({"name": "again.internal"}));
    one.well("PUT /zones/again.internal/record-sets/new/A", a("10.0.0.4"));
    one.well("POST /zones", json!({"name": "new.internal"}));
    one.well("PATCH /zones/set.internal", json!({"on_missing": "ask-public"}));
    one.well(&format!("PATCH /zones/{blob}"), json!({"on_missing": "nxdomain"}));
    one.well("REPLACE /zones/set.internal/record-sets/kept/A", a("10.0.0.5"));
    taken("DELETE /zones/set.internal/record-sets/old/A");
    taken(&format!("DELETE /zones/{blob}/record-sets/app/A"));
    taken("DELETE /forwarders/corp.example");
    one.well("PUT /forwarders/other.example", json!({"upstreams": ["127.0.0.1:9"]}));
    // More than are kept, and enough that they are forgotten.
    let (is_over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writers: Vec<_> =
        (0..16).map(|writer| write(&one.client, &format!("w{writer}"), &is_over, &done)).collect();
    wait_until("enough is written", || done.load(Ordering::SeqCst) >= 600);
    is_over.store(true, Ordering::SeqCst);
    let mut answers = Answers::new();
    writers.into_iter().for_each(|writer| answers.extend(CLIENTS.block_on(writer).unwrap()));
    assert!(instances.sql("SELECT min(revision) FROM changes")[0] > 50);
    two.signal("CONT");
    check(&instances, &answers);
    let rules = |served: &Served| served.call("GET /forwarders", None).1["items"].clone();
    let domains = |served: &Served| {
        rules(served).as_array().unwrap().iter().map(|rule| rule["domain"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(domains(one), domains(two));
    for (name, wanted) in [
        ("old.gone.internal.", None),
        ("old.again.internal.", None),
        ("new.again.internal.", Some("10.0.0.4")),
        ("kept.set.internal.", Some("10.0.0.5")),
        ("old.set.internal.", None),
        ("old.still.internal.", Some("10.0.0.1")),
    ] {
        let wanted: Vec<String> = wanted.iter().map(|address| format!("{name} 60 A {address}")).collect();
        assert_eq!((one.dns(name, "A"), two.dns(name, "A")), (wanted.clone(), wanted), "{name}");
    }
    // And it goes on from there.
    two.well(&put("after"), a("10.0.0.6"));
    one.wait_for("after.corp.internal.", "A", &["after.corp.internal. 60 A 10.0.0.6"]);
    instances.settle();
    let Instances { mut served, .. } = instances;
    let log = served.pop().unwrap().terminate();
    assert!(log.contains("The store is read anew"), "{log}");
}
