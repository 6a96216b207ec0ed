//! What clients ask now, as the API and `top` tell it.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::support::client::ask;
use crate::support::served::{Place, wait_until};
use crate::support::upstream::Upstream;

const ZONE: &str = "@ 60 IN SOA ns hostmaster 7 3600 300 2419200 60\n@ 60 IN NS ns\na 60 IN A 10.0.0.1\n";

#[test]
fn rates_names_and_clients_are_those_of_the_last_seconds() {
    let upstream = Upstream::start(&[("www.example. A", &["www.example. 60 A 192.0.2.7"])]);
    let place = Place::new(&format!(
        "[[zone]]\nname = \"corp.internal\"\nfile = \"corp.zone\"\n[forward]\nupstreams = [\"{}\"]\n",
        upstream.address
    ));
    fs::write(place.folder.path().join("corp.zone"), ZONE).unwrap();
    let served = place.serve();
    // Before anybody looked: told of nowhere.
    ask(served.dns, "early.corp.internal.", "A");
    let is_over = AtomicBool::new(false);
    let ask_on = || {
        while !is_over.load(Ordering::Relaxed) {
            ask(served.dns, "a.corp.internal.", "A");
            ask(served.dns, "A.corp.internal.", "AAAA");
            ask(served.dns, "www.example.", "A");
        }
    };
    let (json, table) = thread::scope(|scope| {
        scope.spawn(ask_on);
        let json = place.program(&served, &["top", "--once", "--every", "1", "-o", "json"]);
        let table = place.program(&served, &["top", "--once", "--every", "1", "--lines", "1"]);
        is_over.store(true, Ordering::Relaxed);
        (json, table)
    });
    assert_eq!((json.0, &*json.2), (0, ""));
    let told: Value = serde_json::from_str(&json.1).unwrap();
    let rate = |value: &Value| value.as_f64().unwrap();
    let of = |list: &str, key: &str| -> Vec<(String, f64)> {
        let items = told[list].as_array().unwrap().iter();
        items.map(|it| (it[key].as_str().unwrap().to_owned(), rate(&it["queries_per_second"]))).collect()
    };
    let names = of("names", "name");
    assert_eq!(names[0].0, "a.corp.internal.");
    assert_eq!(names[1].0, "www.example.");
    assert_eq!(names.len(), 2);
    assert!(names[0].1 > names[1].1 && names[1].1 > 0.0, "{names:?}");
    assert_eq!(of("clients", "address")[0].0, "127.0.0.1");
    let all = rate(&told["queries_per_second"]);
    assert!(all > 0.0 && rate(&told["transports"]["udp"]) == all && rate(&told["transports"]["tcp"]) == 0.0);
    assert_eq!(told["rcodes"].as_object().unwrap().keys().collect::<Vec<_>>(), ["NOERROR"]);
    let paths = told["paths"].as_array().unwrap().iter();
    let paths: Vec<&str> = paths
        .filter(|it| rate(&it["replies_per_second"]) > 0.0 && rate(&it["median_secs"]) > 0.0)
        .map(|it| it["path"].as_str().unwrap())
        .collect();
    assert!(paths.starts_with(&["authoritative", "cached"]), "{paths:?}");
    assert_eq!((table.0, &*table.2), (0, ""));
    let lines: Vec<Vec<&str>> = table.1.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(lines.iter().any(|words| words.first() == Some(&"a.corp.internal.")), "{}", table.1);
    assert!(lines.iter().all(|words| words.first() != Some(&"www.example.")), "{}", table.1);
    // Ten seconds later the last span is one without queries.
    wait_until("nobody asks any more", || {
        let (status, top) = served.call("GET /top", None);
        assert_eq!(status, 200, "{top}");
        top["queries_per_second"] == 0.0 && top["busiest"]["queries"] == 0
    });
}

#[test]
fn who_asks_what_is_told_to_operators_of_everything() {
    let place =
        Place::new("[forward]\nupstreams = []\n[[zone]]\nname = \"privatelink.vaultcore.azure.net\"\n");
    let served = place.serve();
    let as_token = |more: &[&str]| {
        let made = [&["token", "create", "t"], more, &["-o", "json"]].concat();
        let (code, out, error) = place.program(&served, &made);
        assert_eq!(code, 0, "{error}");
        let made: Value = serde_json::from_str(&out).unwrap();
        let file = place.folder.path().join("token");
        fs::write(&file, made["token"].as_str().unwrap()).unwrap();
        let arguments = ["top", "--once", "--every", "1", "--token-file", file.to_str().unwrap()];
        let (code, _, error) = place.program(&served, &arguments);
        let (revoked, _, why) = place.program(&served, &["token", "revoke", made["id"].as_str().unwrap()]);
        assert_eq!(revoked, 0, "{why}");
        (code, error)
    };
    assert_eq!(as_token(&["--role", "operator"]), (0, String::new()));
    let (code, error) = as_token(&["--role", "reader"]);
    assert!(code == 2 && error.contains("operator"), "{error}");
    let (code, error) = as_token(&["--role", "operator", "--zone", "privatelink.vaultcore.azure.net"]);
    assert!(code == 2 && error.contains("you may change some zones only"), "{error}");
    let (code, _, error) = place.program(&served, &["top", "--every", "0"]);
    assert!(code == 2 && error.contains("1..=30"), "{error}");
}
