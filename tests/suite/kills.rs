//! `kill -9` of the real process, over and over, while clients write: all that was answered is there, and whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::client::PATIENCE;
use crate::support::postgres::{Cluster, Disk};
use crate::support::served::{CLIENTS, Client, NOTHING, Place, Served};

/// How often a process is killed; `PRIVATELINK_DNS_KILLS` says more. Of those that share a database a tenth as often.
const KILLS: usize = 20;
/// Stores that processes are killed over at the same time: most of a round is waiting for a start.
const LANES: usize = 4;
/// Who writes while one is killed.
const WRITERS: usize = 4;

/// What was answered: owner and addresses, which are of one write.
type Answered = BTreeMap<String, [String; 3]>;

pub fn kills() -> usize {
    std::env::var("PRIVATELINK_DNS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

/// Three addresses that only one write has.
fn addresses(round: usize, writer: usize, number: usize) -> [String; 3] {
    [1, 2, 3].map(|last| format!("10.{}.{}.{last}", round % 256, (writer << 6) + number % 64))
}

/// What a client was told, and what it was not told of.
#[derive(Default)]
struct Told {
    new: Answered,
    /// The set that is put again and again: what was answered last, and what was on the way behind it.
    same: Option<[String; 3]>,
    on_the_way: Option<[String; 3]>,
}

/// Writes until the server is gone: now a new record set, now the same one with other addresses.
async fn write(client: Client, round: usize, writer: usize, answered: Arc<AtomicUsize>) -> Told {
    let mut told = Told::default();
    for number in 0.. {
        let is_new = number % 2 == 0;
        let owner = if is_new { format!("r{round}-w{writer}-{number}") } else { format!("same-{writer}") };
        let addresses = addresses(round, writer, number);
        let verb = if is_new { "PUT" } else { "REPLACE" };
        let what = format!("{verb} /zones/corp.internal/record-sets/{owner}/A");
        let body = json!({"ttl": 60, "records": addresses});
        match client.send(&what, Some(&body)).await {
            Some(answer) if answer.status < 300 && is_new => {
                told.new.insert(owner, addresses);
            }
            Some(answer) if answer.status < 300 => (told.same, told.on_the_way) = (Some(addresses), None),
            // A disk that others keep busy too: the next one may go well, and of this one nobody was told anything.
            Some(answer) if answer.status == 503 => {
                if !is_new {
                    told.on_the_way = Some(addresses);
                }
                continue;
            }
            Some(answer) => panic!("{what}: {answer:?}"),
            // It is dead: nobody knows of this one.
            None => {
                if !is_new {
                    told.on_the_way = Some(addresses);
                }
                return told;
            }
        }
        answered.fetch_add(1, Ordering::SeqCst);
    }
    told
}

/// Begins to write, and waits until something was answered; each round something else is under way then.
fn begin_to_write(client: &Client, round: usize) -> JoinSet<(usize, Told)> {
    let answered = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (client, answered) = (client.clone(), Arc::clone(&answered));
        let writing = async move { (writer, write(client, round, writer, answered).await) };
        writers.spawn_on(writing, CLIENTS.handle());
    }
    let enough = 1 + (round * 7) % 40;
    let start = Instant::now();
    while answered.load(Ordering::SeqCst) < enough {
        assert!(start.elapsed() < PATIENCE, "{enough} answers do not come");
        std::thread::sleep(Duration::from_micros(200));
    }
    writers
}

/// Looks whether a server answers what was told; what was told before is in `stored`.
fn check(
    served: &Served,
    told: Vec<(usize, Told)>,
    same: &mut [[String; 3]; WRITERS],
    stored: &mut Answered,
) {
    let asked = |owner: &str| {
        let mut addresses: Vec<String> = served
            .dns(&format!("{owner}.corp.internal."), "A")
            .iter()
            .map(|record| record.rsplit(' ').next().unwrap().to_owned())
            .collect();
        addresses.sort();
        addresses
    };
    for (writer, told) in told {
        for (owner, addresses) in &told.new {
            assert_eq!(asked(owner), *addresses, "{owner} was answered");
        }
        stored.extend(told.new);
        let last = told.same.unwrap_or_else(|| same[writer].clone());
        let found = asked(&format!("same-{writer}"));
        let is_known = found == last || told.on_the_way.as_ref().is_some_and(|it| found == *it);
        assert!(is_known, "same-{writer} is {found:?} after {last:?} and perhaps {:?}", told.on_the_way);
        same[writer] = found.try_into().unwrap();
    }
}

/// Looks whether the lists have all that was ever answered.
fn check_all(served: &Served, stored: &Answered) {
    let mut listed: BTreeMap<String, Value> = BTreeMap::new();
    let mut after = String::new();
    loop {
        let what = format!("GET /zones/corp.internal/record-sets?type=A&limit=1000{after}");
        let (status, page) = served.call(&what, None);
        assert_eq!(status, 200, "{page}");
        for set in page["items"].as_array().unwrap() {
            listed.insert(set["name"].as_str().unwrap().to_owned(), set["records"].clone());
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    for (owner, addresses) in stored {
        assert_eq!(listed.get(owner), Some(&json!(addresses)), "{owner} was answered");
    }
}

fn make_zone(served: &Served) -> [[String; 3]; WRITERS] {
    served.well("POST /zones", json!({"name": "corp.internal"}));
    std::array::from_fn(|writer| {
        let first = addresses(0, writer, 63);
        let what = format!("PUT /zones/corp.internal/record-sets/same-{writer}/A");
        served.well(&what, json!({"ttl": 60, "records": first}));
        first
    })
}

/// Kills processes over one store; answers how many records were told to be stored.
fn kill_alone(rounds: impl Iterator<Item = usize>) -> usize {
    let place = Place::new(NOTHING);
    let mut served = place.serve();
    let mut same = make_zone(&served);
    let mut stored = Answered::new();
    for round in rounds {
        let writers = begin_to_write(&served.client, round);
        served.kill();
        let told = CLIENTS.block_on(writers.join_all());
        served = place.serve();
        check(&served, told, &mut same, &mut stored);
    }
    check_all(&served, &stored);
    stored.len()
}

#[test]
fn what_was_answered_is_there_however_often_the_process_is_killed() {
    let (kills, begun) = (kills(), Instant::now());
    let lanes: Vec<_> = (0..LANES)
        .map(|lane| std::thread::spawn(move || kill_alone((0..kills).filter(|round| round % LANES == lane))))
        .collect();
    let stored: usize = lanes.into_iter().map(|lane| lane.join().unwrap()).sum();
    assert!(stored >= kills);
    println!("{kills} kills, {stored} new record sets answered, {:?}", begun.elapsed());
}

#[test]
fn what_was_answered_is_there_when_one_of_two_that_share_a_database_is_killed() {
    let Some(cluster) = Cluster::start(Disk::Unsynced) else { return };
    let (kills, begun) = ((kills() / 10).max(4), Instant::now());
    let config = format!("{NOTHING}[store]\nurl = \"{}\"\n", cluster.url());
    let places = [Place::new(&config), Place::new(&config)];
    let first = places[0].serve();
    let token = first.client.token.clone();
    let serve = |place: &Place| {
        let mut served = place.serve();
        served.client.token.clone_from(&token);
        served
    };
    let mut served = [first, serve(&places[1])];
    let mut same = make_zone(&served[0]);
    let mut stored = Answered::new();
    for round in 0..kills {
        let dying = round % 2;
        let writers = begin_to_write(&served[dying].client, 2 * round);
        let survivor = served[1 - dying].client.clone();
        // Who writes to the other one at the same time is not disturbed.
        let others = CLIENTS.spawn(async move {
            for number in 0..40 {
                let what = format!("PUT /zones/corp.internal/record-sets/s{round}-{number}/A");
                let body = json!({"ttl": 60, "records": ["10.255.0.1", "10.255.0.2", "10.255.0.3"]});
                let answer = survivor.send(&what, Some(&body)).await.expect("it lives");
                assert_eq!(answer.status / 100, 2, "{what}: {answer:?}");
            }
        });
        let [one, two] = served;
        let (dead, alive) = if dying == 0 { (one, two) } else { (two, one) };
        dead.kill();
        let told = CLIENTS.block_on(writers.join_all());
        CLIENTS.block_on(others).unwrap();
        let reborn = serve(&places[dying]);
        check(&reborn, told, &mut same, &mut stored);
        for number in 0..40 {
            let three = ["10.255.0.1", "10.255.0.2", "10.255.0.3"].map(str::to_owned);
            stored.insert(format!("s{round}-{number}"), three);
        }
        served = if dying == 0 { [reborn, alive] } else { [alive, reborn] };
    }
    served.iter().for_each(|served| check_all(served, &stored));
    let start = Instant::now();
    while served[0].client.exports() != served[1].client.exports() {
        assert!(start.elapsed() < PATIENCE, "two instances serve different zones");
    }
    println!("{kills} kills, {} new record sets answered, {:?}", stored.len(), begun.elapsed());
}
