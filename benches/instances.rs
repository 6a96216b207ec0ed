//! How long after a write on one instance another one answers it: real processes on a PostgreSQL of their own,
//! `cargo bench --bench instances`.

use std::time::{Duration, Instant};

use serde_json::json;

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/suite/support/client.rs"]
mod client;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/suite/support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/suite/support/served.rs"]
mod served;
#[path = "../tests/suite/support/skip.rs"]
mod skip;

use postgres::{Cluster, Disk};
use served::{NOTHING, Place};

const WRITES: usize = 1_000;

fn main() {
    let Some(cluster) = Cluster::start(Disk::Synced) else { return };
    let config = format!("{NOTHING}[store]\nurl = \"{}\"\n", cluster.url());
    let places = [Place::new(&config), Place::new(&config)];
    let [one, two] = places.each_ref().map(Place::serve);
    one.well("POST /zones", json!({"name": "corp.internal"}));
    let (mut writing, mut between) = (Vec::new(), Vec::new());
    for number in 0..WRITES {
        let name = format!("n{number}.corp.internal.");
        let address = format!("10.0.{}.{}", number / 256, number % 256);
        let what = format!("PUT /zones/corp.internal/record-sets/n{number}/A");
        let body = json!({"ttl": 60, "records": [address]});
        let begun = Instant::now();
        one.well(&what, body);
        let answered = Instant::now();
        writing.push(answered - begun);
        two.wait_for(&name, "A", &[&format!("{name} 60 A {address}")]);
        between.push(answered.elapsed());
    }
    tell("write on one, until it answers 2xx", writing);
    tell("from then until another answers it by DNS", between);
}

fn tell(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let (median, late) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("{what}: {median:?} at the median, {late:?} at the 99th percentile of {}", took.len());
}
