//! Reloads beside writes: what was answered is in the next DNS answer, whatever a reload is about at that moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use privatelink_dns::dns::Rcode;
use serde_json::{Value, json};

use crate::support::client::{PATIENCE, answers, ask};
use crate::support::served::{Client, NOTHING, Place, Served, config};
use crate::support::test_daemon::write;
use crate::support::upstream::Upstream;

/// How long is hammered; `PRIVATELINK_DNS_HAMMER_SECS` says more.
const HAMMER_SECS: u64 = 3;
/// The least that each hammer does; a busy machine takes longer for it.
const LEAST: usize = 20;
/// Zones of a file, so that a reload takes a while.
const RECORDS_IN_FILE: usize = 2_000;
const BLOB: &str = "privatelink.blob.core.windows.net";

/// Runs until it is over, and counts its turns.
#[derive(Clone)]
struct Hammer {
    client: Client,
    dns: std::net::SocketAddr,
    is_over: Arc<AtomicBool>,
}

impl Hammer {
    fn spawn(
        &self,
        name: &'static str,
        mut turn: impl FnMut(&Hammer, usize) + Send + 'static,
    ) -> JoinHandle<usize> {
        let hammer = self.clone();
        let run = move || {
            let mut turns = 0;
            while turns < LEAST || !hammer.is_over.load(Ordering::SeqCst) {
                turn(&hammer, turns);
                turns += 1;
            }
            turns
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(run).unwrap()
    }

    /// The answer without lifetimes: what comes from the cache has less of it.
    fn dns(&self, name: &str) -> Vec<String> {
        let records = answers(&ask(self.dns, name, "A"));
        let without_ttl = |record: &String| {
            let words: Vec<&str> = record.split(' ').collect();
            [&words[..1], &words[2..]].concat().join(" ")
        };
        records.iter().map(without_ttl).collect()
    }

    fn rcode(&self, name: &str) -> Rcode {
        ask(self.dns, name, "A").rcode
    }

    fn done(&self, what: &str, body: Option<Value>) {
        self.client.until_done(what, body);
    }
}

/// Puts a record set, changes it and takes it back, in a zone that others make.
fn hammer_records(hammer: &Hammer, zone: &'static str, settings: &'static str) -> JoinHandle<usize> {
    hammer.spawn(zone, move |hammer, turn| {
        let (path, name) =
            (format!("/zones/{zone}/record-sets/n{}/A", turn % 7), format!("n{}.{zone}.", turn % 7));
        for (verb, address) in [("PUT", "10.0.0.1"), ("REPLACE", "10.0.0.2")] {
            hammer.done(&format!("{verb} {path}"), Some(json!({"ttl": 60, "records": [address]})));
            assert_eq!(
                hammer.dns(&name),
                [format!("{name} A {address}")],
                "turn {turn} of {zone} ({settings})"
            );
        }
        hammer.done(&format!("DELETE {path}"), None);
        assert_eq!(hammer.dns(&name), [""; 0], "turn {turn} of {zone} ({settings})");
    })
}

/// Makes a zone, fills it, takes it away.
fn hammer_zones(hammer: &Hammer) -> JoinHandle<usize> {
    hammer.spawn("zones", |hammer, turn| {
        let apex = format!("z{}.internal", turn % 5);
        let name = format!("www.{apex}.");
        hammer.done("POST /zones", Some(json!({"name": apex})));
        assert_eq!(hammer.rcode(&name), Rcode::NXDOMAIN, "turn {turn}: {apex} is made");
        let body = json!({"ttl": 60, "records": ["10.0.0.1"]});
        hammer.done(&format!("PUT /zones/{apex}/record-sets/www/A"), Some(body));
        assert_eq!(hammer.dns(&name), [format!("{name} A 10.0.0.1")], "turn {turn}: {apex} is filled");
        hammer.done(&format!("DELETE /zones/{apex}"), None);
        assert_eq!(hammer.dns(&name), [""; 0], "turn {turn}: {apex} is gone");
    })
}

/// Sets a zone of config, and lets go of it again.
fn hammer_settings(hammer: &Hammer) -> JoinHandle<usize> {
    hammer.spawn("settings", |hammer, turn| {
        // The upstream knows it, the zone does not.
        let name = format!("public.{BLOB}.");
        hammer.done(&format!("PATCH /zones/{BLOB}"), Some(json!({"on_missing": "nxdomain"})));
        assert_eq!(hammer.rcode(&name), Rcode::NXDOMAIN, "turn {turn}: it is set");
        hammer.done(&format!("PATCH /zones/{BLOB}"), Some(json!({"on_missing": "ask-public"})));
        assert_eq!(hammer.dns(&name), [format!("{name} A 192.0.2.9")], "turn {turn}: it is set again");
    })
}

/// Sends a domain elsewhere, and back.
fn hammer_rules(hammer: &Hammer, other: String) -> JoinHandle<usize> {
    hammer.spawn("rules", move |hammer, turn| {
        let name = "www.corp.example.";
        let body = json!({"upstreams": [other]});
        hammer.done("PUT /forwarders/corp.example", Some(body));
        assert_eq!(hammer.dns(name), [format!("{name} A 192.0.2.2")], "turn {turn}: the rule holds");
        assert_eq!(
            hammer.dns("alias.example."),
            ["alias.example. CNAME www.corp.example.", "www.corp.example. A 192.0.2.2"],
            "turn {turn}: the rule holds at the end of a chain"
        );
        hammer.done("DELETE /forwarders/corp.example", None);
        assert_eq!(hammer.dns(name), [format!("{name} A 192.0.2.1")], "turn {turn}: the rule is gone");
        assert_eq!(
            hammer.dns("alias.example."),
            ["alias.example. CNAME www.corp.example.", "www.corp.example. A 192.0.2.1"],
            "turn {turn}: the rule is gone at the end of a chain"
        );
    })
}

/// Two configs that differ in much of what a reload exchanges.
fn configs(upstream: &str) -> [String; 2] {
    let zone = "[[zone]]\nname = \"file.internal\"\nfile = \"file.zone\"\n";
    let forward = format!("[forward]\nupstreams = [\"{upstream}\"]\n");
    [
        config(&format!("{forward}{zone}")),
        config(&format!("{forward}{zone}[private_link]\nttl_secs = 11\n[cache]\nsize_bytes = 1048576\n")),
    ]
}

#[test]
fn what_was_answered_is_in_the_next_answer_while_reloads_go_on() {
    let chain = |address: &str| {
        vec![
            "alias.example. 600 CNAME www.corp.example.".to_owned(),
            format!("www.corp.example. 600 A {address}"),
        ]
    };
    let blob = format!("public.{BLOB}.");
    let start = |address: &str| {
        let www = format!("www.corp.example. 600 A {address}");
        let chain = chain(address);
        let chain: Vec<&str> = chain.iter().map(String::as_str).collect();
        Upstream::start(&[
            ("www.corp.example. A", &[&www]),
            ("alias.example. A", &chain),
            (&format!("{blob} A"), &[&format!("{blob} 600 A 192.0.2.9")]),
        ])
    };
    let (one, other) = (start("192.0.2.1"), start("192.0.2.2"));
    let configs = configs(&one.address.to_string());
    let place = Place::new(NOTHING);
    let folder = place.folder.path();
    let mut file = "@ 60 SOA ns host 1 1 1 1 1\n".to_owned();
    (0..RECORDS_IN_FILE)
        .for_each(|number| file += &format!("f{number} 60 A 10.1.{}.{}\n", number / 250, number % 250));
    write(folder, "file.zone", &file);
    write(folder, "config.toml", &configs[0]);
    let served = place.serve();
    served.well("POST /zones", json!({"name": "corp.internal"}));
    // A private-link zone without a record is as if it were not served.
    let body = json!({"ttl": 60, "records": ["10.0.0.9"]});
    served.well(&format!("PUT /zones/{BLOB}/record-sets/there/A"), body);
    let is_over = Arc::new(AtomicBool::new(false));
    let hammer = Hammer { client: served.client.clone(), dns: served.dns, is_over: Arc::clone(&is_over) };
    let hammers = [
        hammer_records(&hammer, "corp.internal", "made by REST"),
        hammer_records(&hammer, "file.internal", "of a file"),
        hammer_records(&hammer, BLOB, "of config"),
        hammer_zones(&hammer),
        hammer_settings(&hammer),
        hammer_rules(&hammer, other.address.to_string()),
    ];
    let secs = std::env::var("PRIVATELINK_DNS_HAMMER_SECS").ok().and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(secs.unwrap_or(HAMMER_SECS));
    let reloads = AtomicUsize::new(0);
    let is_failed = || hammers.iter().any(JoinHandle::is_finished);
    while (Instant::now() < until || reloads.load(Ordering::SeqCst) < LEAST) && !is_failed() {
        let turn = reloads.fetch_add(1, Ordering::SeqCst);
        write(folder, "config.toml", &configs[turn % 2]);
        write(folder, "file.zone", &format!("{file}turn{turn} 60 A 10.2.0.1\n"));
        served.signal("HUP");
        wait_for_reload(&served, turn);
    }
    is_over.store(true, Ordering::SeqCst);
    let turns: Vec<usize> =
        hammers.into_iter().map(|hammer| hammer.join().expect("no answer is older")).collect();
    println!("{} reloads, turns of the hammers: {turns:?}", reloads.load(Ordering::SeqCst));
    drop(served);
}

fn wait_for_reload(served: &Served, turn: usize) {
    let start = Instant::now();
    while served.dns(&format!("turn{turn}.file.internal."), "A").is_empty() {
        assert!(start.elapsed() < PATIENCE, "turn {turn} is not served");
        std::thread::yield_now();
    }
}
