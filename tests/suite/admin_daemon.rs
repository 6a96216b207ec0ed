//! The real process with its store and its admin API: what it told was stored outlives every death.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Connection;

use crate::azure::accounts;
use crate::support::client::PATIENCE;
use crate::support::served::{CLIENTS, NOTHING, Place, command, config};
use crate::support::test_daemon::write;
use crate::support::upstream::Upstream;

const ZONE: &str = "corp.internal";

#[test]
fn what_was_written_is_in_the_next_answer_and_outlives_kill_9() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    let mode = fs::metadata(place.token_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::metadata(place.folder.path().join("state")).unwrap().permissions().mode() & 0o777, 0o700);
    served.well("POST /zones", json!({"name": ZONE}));
    let body = json!({"ttl": 300, "records": ["10.0.0.4"]});
    served.well("PUT /zones/corp.internal/record-sets/www/A", body);
    let there = ["www.corp.internal. 300 A 10.0.0.4"];
    assert_eq!(served.dns("www.corp.internal.", "A"), there);
    served.kill();
    let served = place.serve();
    assert_eq!(served.dns("www.corp.internal.", "A"), there);
    let (status, _) = served.call("DELETE /zones/corp.internal/record-sets/www/A", None);
    assert_eq!(status, 204);
    assert_eq!(served.dns("www.corp.internal.", "A"), [""; 0]);
    let log = served.terminate();
    assert!(log.contains("Stopping"), "{log}");
    // The token of the first start is not made twice, and is not in the log.
    let token = fs::read_to_string(place.token_file()).unwrap();
    assert!(!log.contains(token.trim()));
    fs::remove_file(place.token_file()).unwrap();
    fs::write(place.token_file(), "mine").unwrap();
    drop(place.serve());
    assert_eq!(fs::read_to_string(place.token_file()).unwrap(), "mine");
}

#[test]
fn a_reload_keeps_what_operators_wrote() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    served.well("POST /zones", json!({"name": ZONE}));
    let a = |address: &str| json!({"ttl": 60, "records": [address]});
    served.well("PUT /zones/corp.internal/record-sets/www/A", a("10.0.0.4"));
    let blob = "privatelink.blob.core.windows.net";
    served.well(&format!("PUT /zones/{blob}/record-sets/app/A"), a("10.0.0.5"));
    write(place.folder.path(), "other.zone", "@ 60 SOA ns host 1 1 1 1 1\nwww 60 A 10.0.0.6\n");
    let zone = "[[zone]]\nname = \"other.internal\"\nfile = \"other.zone\"\n";
    write(place.folder.path(), "config.toml", &config(&format!("{NOTHING}{zone}")));
    served.signal("HUP");
    served.wait_for("www.other.internal.", "A", &["www.other.internal. 60 A 10.0.0.6"]);
    assert_eq!(served.dns("www.corp.internal.", "A"), ["www.corp.internal. 60 A 10.0.0.4"]);
    assert_eq!(served.dns(&format!("app.{blob}."), "A"), [format!("app.{blob}. 60 A 10.0.0.5")]);
    // An operator's override of the file, and its end.
    served.well("PUT /zones/other.internal/record-sets/new/A", a("10.0.0.7"));
    write(place.folder.path(), "other.zone", "@ 60 SOA ns host 2 1 1 1 1\nwww 60 A 10.0.0.8\n");
    served.signal("HUP");
    served.wait_for("www.other.internal.", "A", &["www.other.internal. 60 A 10.0.0.8"]);
    assert_eq!(served.dns("new.other.internal.", "A"), ["new.other.internal. 60 A 10.0.0.7"]);
    write(place.folder.path(), "config.toml", &config(NOTHING));
    served.signal("HUP");
    served.wait_for("www.other.internal.", "A", &[]);
    assert_eq!(served.dns("www.corp.internal.", "A"), ["www.corp.internal. 60 A 10.0.0.4"]);
    let (_, zone) = served.call("GET /zones/other.internal", None);
    assert_eq!(zone["served"], false, "{zone}");
    served.terminate();
}

#[test]
fn an_operators_rule_of_forwarding_holds_at_once_and_after_a_restart() {
    let (one, other) = (
        Upstream::start(&[("www.corp.example. A", &["www.corp.example. 600 A 192.0.2.1"])]),
        Upstream::start(&[("www.corp.example. A", &["www.corp.example. 600 A 192.0.2.2"])]),
    );
    let place = Place::new(&format!("[forward]\nupstreams = [\"{}\"]\n", one.address));
    let served = place.serve();
    let (first, second) = (["www.corp.example. 600 A 192.0.2.1"], ["www.corp.example. 600 A 192.0.2.2"]);
    assert_eq!(served.dns("www.corp.example.", "A"), first);
    let body = json!({"upstreams": [other.address.to_string()]});
    served.well("PUT /forwarders/corp.example", body);
    // What the other one said is forgotten.
    assert_eq!(served.dns("www.corp.example.", "A"), second);
    served.kill();
    let served = place.serve();
    assert_eq!(served.dns("www.corp.example.", "A"), second);
    served.signal("HUP");
    assert_eq!(served.call("DELETE /forwarders/corp.example", None).0, 204);
    assert_eq!(served.dns("www.corp.example.", "A"), first);
}

#[test]
fn the_command_line_speaks_to_the_running_server() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    served.well("POST /zones", json!({"name": ZONE}));
    let run = |arguments: &[&str]| place.program(&served, arguments);
    let well = |arguments: &[&str]| {
        let (code, out, error) = run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{error}");
        out
    };
    let out = well(&["records", "put", ZONE, "www", "A", "10.0.0.4", "10.0.0.5", "--ttl", "60"]);
    assert_eq!(
        out,
        "NAME  TTL  TYPE  DATA      ORIGIN\nwww   60   A     10.0.0.4  rest\nwww   60   A     10.0.0.5\n"
    );
    assert_eq!(served.dns("www.corp.internal.", "A").len(), 2);
    // Again: it takes the place of what is there, unless that is not wanted.
    well(&["records", "put", ZONE, "www", "A", "10.0.0.6"]);
    assert_eq!(run(&["records", "put", ZONE, "www", "A", "10.0.0.7", "--new"]).0, 2);
    well(&["records", "put", ZONE, "www", "A", "10.0.0.7", "--dry-run"]);
    assert_eq!(served.dns("www.corp.internal.", "A"), ["www.corp.internal. 300 A 10.0.0.6"]);
    let set: Value =
        serde_json::from_str(&well(&["records", "get", ZONE, "www", "A", "-o", "json"])).unwrap();
    assert_eq!(set["records"], json!(["10.0.0.6"]));
    assert!(well(&["records", "list", ZONE, "--type", "A"]).contains("10.0.0.6"));
    let (code, _, error) = run(&["records", "put", ZONE, "www", "A", "10.0.0.x"]);
    assert_eq!(code, 2);
    assert!(error.contains("A value is wrong") && error.contains("[record 1]"), "{error}");

    let token = well(&["token", "create", "deploy", "--role", "operator", "--zone", "other.internal"]);
    assert!(token.starts_with("pldns_") && token.lines().count() == 1, "{token}");
    let file = place.folder.path().join("deploy.token");
    fs::write(&file, &token).unwrap();
    let file = file.to_str().unwrap();
    let (code, _, error) = run(&["records", "put", ZONE, "b", "A", "10.0.0.8", "--token-file", file]);
    assert_eq!(code, 2);
    assert!(error.contains("You may not do this to this name"), "{error}");
    assert!(well(&["token", "list"]).contains("deploy"));
    well(&["token", "revoke", token.trim().rsplit_once('_').unwrap().0]);
    let (code, _, error) = run(&["records", "list", ZONE, "--token-file", file]);
    assert_eq!(code, 2);
    assert!(error.contains("does not take the token") && error.contains("revoked"), "{error}");

    assert_eq!(well(&["cache", "flush", "--all"]), "0 entries are forgotten\n");
    let out = well(&["explain", "www.corp.internal"]);
    assert!(out.contains("answer: NOERROR\n    www.corp.internal. 300 A 10.0.0.6"), "{out}");
    assert!(well(&["zones", "list"]).contains("corp.internal.  plain  rest"));
    assert!(well(&["sync"]).starts_with("SOURCE"));

    well(&["records", "delete", ZONE, "www", "A"]);
    assert_eq!(run(&["records", "get", ZONE, "www", "A"]).0, 1);
    let (code, _, error) = place.program(&served, &["token", "list", "--server", "http://127.0.0.1:1"]);
    assert_eq!(code, 2, "{error}");
}

#[test]
fn a_store_that_cannot_be_opened_is_told() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    // The same state_dir twice.
    let second = command(&["serve", "-c", place.config().to_str().unwrap()]).output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(error.contains("records.db is in use by another process"), "{error}");
    served.terminate();
    // A schema of a newer program.
    let newer = place.folder.path().join("state/records.db");
    let sql = "INSERT INTO schema_version (version) VALUES (99)";
    CLIENTS.block_on(async {
        let mut file = sqlx::SqliteConnection::connect(newer.to_str().unwrap()).await.unwrap();
        sqlx::query(sql).execute(&mut file).await.unwrap();
        file.close().await.unwrap();
    });
    let refused = command(&["serve", "-c", place.config().to_str().unwrap()]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(
        error.contains("the store sqlite:records.db cannot be opened") && error.contains("version 99"),
        "{error}"
    );
}

/// With PostgreSQL away all else is served, and the API says when to come again.
#[test]
fn a_database_that_is_away_keeps_nobody_from_dns() {
    let zone = "[[zone]]\nname = \"other.internal\"\nfile = \"other.zone\"\n";
    let store = "[store]\nurl = \"postgres://dns:secret@127.0.0.1:1/dns\"\n";
    let place = Place::new(&format!("{NOTHING}{zone}{store}"));
    write(place.folder.path(), "other.zone", "@ 60 SOA ns host 1 1 1 1 1\nwww 60 A 10.0.0.6\n");
    fs::create_dir(place.folder.path().join("state")).unwrap();
    fs::write(place.token_file(), "pldns_0123456789abcdef_0123456789abcdef").unwrap();
    let served = place.serve();
    assert_eq!(served.dns("www.other.internal.", "A"), ["www.other.internal. 60 A 10.0.0.6"]);
    let (status, problem) = served.call("POST /zones", Some(json!({"name": ZONE})));
    assert_eq!(status, 503, "{problem}");
    let (status, text) = served.get("/readyz");
    assert!(
        status == 200 && text.contains(r#""status":"degraded""#) && text.contains("store-away"),
        "{text}"
    );
    assert_eq!(served.get("/livez").0, 200);
    let log = served.terminate();
    assert!(log.contains("the store postgres://dns@127.0.0.1:1/dns cannot be opened"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn probes_and_numbers_tell_of_the_running_server() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    served.dns("localhost.", "A");
    assert_eq!(served.get("/readyz").0, 200);
    let (status, text) = served.get("/metrics");
    assert_eq!(status, 200);
    assert!(
        text.lines()
            .any(|line| line.starts_with("privatelink_dns") && line.contains("udp") && line.ends_with(" 1")),
        "{text}"
    );
}

#[test]
fn what_files_and_sync_change_is_in_the_audit() {
    let place = Place::new(&format!(
        "{NOTHING}[[zone]]\nname = \"{ZONE}\"\nfile = \"corp.zone\"\n\
         [[sync.source]]\nkind = \"directory\"\nname = \"export\"\npath = \"export\"\n"
    ));
    let zone = |address: &str| {
        let text = format!("@ 300 SOA ns hostmaster 1 2 3 4 5\n@ 300 NS ns\nns 300 A {address}\n");
        write(place.folder.path(), "corp.zone", &text);
    };
    let export = |numbers: &[usize]| {
        let endpoints = accounts(numbers.iter().copied());
        write(place.folder.path(), "export/endpoints.json", &endpoints);
    };
    zone("10.0.0.1");
    fs::create_dir(place.folder.path().join("export")).unwrap();
    export(&[1]);
    let served = place.serve();
    let audit = |query: &str| {
        let (_, found) = served.call(&format!("GET /changes?{query}"), None);
        found["items"].as_array().unwrap().clone()
    };
    let wait = |query: &str, name: &str| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = audit(query);
            let items: Vec<Value> =
                found.iter().flat_map(|change| change["items"].as_array().unwrap().clone()).collect();
            if let Some(item) = items.into_iter().find(|item| item["name"] == name) {
                return (item, found[0]["actor"].clone());
            }
            assert!(Instant::now() < deadline, "it is not in the audit: {found:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let name = "account1.privatelink.blob.core.windows.net.";
    let (item, actor) = wait("source=sync", name);
    assert_eq!((&item["before"], &item["after"]["records"]), (&Value::Null, &json!(["10.0.0.1"])));
    assert_eq!(item["after"]["origin"]["kind"], "endpoint");
    assert_eq!(actor, "export");
    // What was there at the start is no change of the file.
    assert_eq!(audit("source=file"), Vec::<Value>::new());
    zone("10.0.0.2");
    served.signal("HUP");
    let (item, _) = wait("source=file", "ns.corp.internal.");
    assert_eq!(item["before"]["records"], json!(["10.0.0.1"]));
    assert_eq!(item["after"]["records"], json!(["10.0.0.2"]));
    let before = audit("").len();
    served.terminate();
    // Nor is what a restart serves again.
    let served = place.serve();
    let (_, found) = served.call("GET /changes", None);
    assert_eq!(found["items"].as_array().unwrap().len(), before);
    served.terminate();
}

#[test]
fn who_has_no_token_left_makes_one_in_the_store() {
    let place = Place::new(NOTHING);
    let rescue = || command(&["token", "rescue", "-c", place.config().to_str().unwrap()]).output().unwrap();
    let served = place.serve();
    let refused = rescue();
    assert_eq!(refused.status.code(), Some(2));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("in use by another process"), "{error}");
    served.terminate();
    let made = rescue();
    assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
    fs::write(place.token_file(), made.stdout).unwrap();
    let served = place.serve();
    let (status, audit) = served.call("GET /changes?actor=token+rescue", None);
    assert_eq!((status, audit["items"].as_array().unwrap().len()), (200, 1), "{audit}");
    served.terminate();
}
