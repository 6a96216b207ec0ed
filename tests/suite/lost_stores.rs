//! Stores that are damaged, closed to us or away when a server starts: what else it knows is served, and what operators
//! wrote as it was last known.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use privatelink_dns::dns::{Message, Rcode};
use serde_json::json;

use crate::support::client::{answers, ask};
use crate::support::postgres::{Cluster, Disk};
use crate::support::served::{CLIENTS, NOTHING, Place, Served, wait_until};

/// A zone of a file besides what operators write.
const CONFIG: &str = "[forward]\nupstreams = []\n[[zone]]\nname = \"file.internal\"\nfile = \"file.zone\"\n";
const STALE_ANSWER: u16 = 3;
/// Never 14, at which systemd-resolved leaves.
const NO_REACHABLE_AUTHORITY: u16 = 22;
const STALE_NXDOMAIN: u16 = 19;

/// A place with what an operator wrote there, and a server of it.
fn written(more: &str) -> (Place, Served) {
    let place = Place::new(&format!("{CONFIG}{more}"));
    fs::write(place.folder.path().join("file.zone"), "@ 60 SOA ns host 1 1 1 1 1\n@ 60 A 10.9.9.9\n")
        .unwrap();
    let served = place.serve();
    served.well("POST /zones", json!({"name": "corp.internal"}));
    served.well("POST /zones", json!({"name": "open.internal", "on_missing": "ask-public"}));
    for zone in ["corp.internal", "open.internal"] {
        let what = format!("PUT /zones/{zone}/record-sets/www/A");
        served.well(&what, json!({"ttl": 300, "records": ["10.1.0.4"]}));
    }
    (place, served)
}

/// Waits for the copy to have all of it.
fn copied(place: &Place) -> PathBuf {
    let copy = place.state().join("records-copy.jsonl");
    wait_until("the copy is there", || {
        let text = fs::read_to_string(&copy).unwrap_or_default();
        text.matches("10.1.0.4").count() == 2
    });
    copy
}

fn code(message: &Message) -> Option<u16> {
    message.extended_error.as_ref().map(|(code, _)| *code)
}

/// Holds what is served without the store against what was last known.
fn check_stale(served: &Served) {
    assert_eq!(served.dns("file.internal.", "A"), ["file.internal. 60 A 10.9.9.9"]);
    let www = ask(served.dns, "www.corp.internal.", "A");
    assert_eq!(
        (answers(&www), code(&www)),
        (vec!["www.corp.internal. 30 A 10.1.0.4".to_owned()], Some(STALE_ANSWER))
    );
    let none = ask(served.dns, "none.corp.internal.", "A");
    assert_eq!((none.rcode, code(&none)), (Rcode::NXDOMAIN, Some(STALE_NXDOMAIN)));
    // It may be there by now, and no upstream is asked for it.
    let none = ask(served.dns, "none.open.internal.", "A");
    assert_eq!((none.rcode, code(&none)), (Rcode::SERVFAIL, Some(NO_REACHABLE_AUTHORITY)));
}

fn put(served: &Served, owner: &str) -> (u16, String) {
    // Whether it is there already or not.
    let what = match served.call(&format!("GET /zones/corp.internal/record-sets/{owner}/A"), None).0 {
        200 => format!("REPLACE /zones/corp.internal/record-sets/{owner}/A"),
        _ => format!("PUT /zones/corp.internal/record-sets/{owner}/A"),
    };
    let (status, answer) = served.call(&what, Some(json!({"ttl": 60, "records": ["10.1.0.9"]})));
    (status, answer.to_string())
}

fn check_refused(served: &Served) {
    let (status, answer) = put(served, "late");
    assert_eq!(status, 503, "{answer}");
    assert!(
        answer.contains("privatelink-dns restore FILE") && answer.contains("privatelink-dns store new"),
        "{answer}"
    );
}

/// All is as it was written, and more can be.
fn check_back(served: &Served) {
    served.wait_for("www.corp.internal.", "A", &["www.corp.internal. 300 A 10.1.0.4"]);
    wait_until("nothing is stale", || code(&ask(served.dns, "www.corp.internal.", "A")).is_none());
    wait_until("writes are taken", || put(served, "late").0 < 300);
    served.wait_for("late.corp.internal.", "A", &["late.corp.internal. 60 A 10.1.0.9"]);
}

fn with_token(mut served: Served, token: &str) -> Served {
    served.client.token = token.to_owned();
    served
}

#[test]
fn a_damaged_store_is_renamed_and_all_else_is_served_until_a_backup_is_restored() {
    let (place, served) = written("");
    let token = served.client.token.clone();
    let backup = place.folder.path().join("dns.tar.gz");
    assert_eq!(place.run(&["backup", backup.to_str().unwrap()]).0, 0);
    let mode = fs::metadata(copied(&place)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    served.terminate();
    let copy = fs::read_to_string(place.state().join("records-copy.jsonl")).unwrap();
    assert!(!copy.contains("token"), "{copy}");
    let database = place.state().join("records.db");
    let mut bytes = fs::read(&database).unwrap();
    let end = bytes.len();
    bytes[100..end].fill(0x55);
    fs::write(&database, &bytes).unwrap();
    // Also the second start makes no new one.
    for _ in 0..2 {
        let served = with_token(place.serve(), &token);
        check_stale(&served);
        check_refused(&served);
        assert!(!database.exists());
        let names =
            fs::read_dir(place.state()).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
        let kept: Vec<String> =
            names.filter(|name| name.starts_with("records.db.damaged-") && !name.ends_with("-wal")).collect();
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(fs::read(place.state().join(&kept[0])).unwrap(), bytes);
        served.terminate();
    }
    let served = with_token(place.serve(), &token);
    check_stale(&served);
    let (code, out, err) = place.run(&["restore", backup.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}{err}");
    check_back(&served);
    served.terminate();
    check_back(&with_token(place.serve(), &token));
}

#[test]
fn a_store_that_is_gone_is_not_made_anew_before_somebody_says_so() {
    let (place, served) = written("");
    copied(&place);
    served.terminate();
    fs::remove_file(place.state().join("records.db")).unwrap();
    let served = place.serve();
    check_stale(&served);
    check_refused(&served);
    assert_eq!(place.run(&["store", "new"]).0, 0);
    wait_until("the zone is gone", || ask(served.dns, "www.corp.internal.", "A").answer.is_empty());
    wait_until("there is a token", || {
        let token = fs::read_to_string(place.token_file()).unwrap_or_default();
        let mut client = served.client.clone();
        client.token = token.trim().to_owned();
        client.call("POST /zones", Some(json!({"name": "new.internal"}))).0 == 201
    });
}

#[test]
fn a_store_that_cannot_be_opened_stays_where_it_is_and_is_used_when_it_can() {
    let (place, served) = written("");
    let token = served.client.token.clone();
    copied(&place);
    served.terminate();
    // A tool or a script locks the database, and no server.
    let database = place.state().join("records.db");
    let connection = CLIENTS.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database);
        let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::raw_sql("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
            .execute(&mut connection)
            .await
            .unwrap();
        connection
    });
    let served = with_token(place.serve(), &token);
    check_stale(&served);
    check_refused(&served);
    assert!(database.exists());
    CLIENTS.block_on(sqlx::Connection::close(connection)).unwrap();
    check_back(&served);
    served.terminate();
    // Something else lies there.
    let moved = place.folder.path().join("records.db");
    fs::rename(&database, &moved).unwrap();
    fs::create_dir(&database).unwrap();
    let served = with_token(place.serve(), &token);
    check_stale(&served);
    assert!(database.is_dir());
    fs::remove_dir(&database).unwrap();
    fs::rename(&moved, &database).unwrap();
    check_back(&served);
}

#[test]
fn with_a_damaged_copy_too_names_of_known_zones_fail_and_are_asked_of_nobody() {
    let (place, served) = written("");
    let copy = copied(&place);
    served.terminate();
    fs::remove_file(place.state().join("records.db")).unwrap();
    let text = fs::read_to_string(&copy).unwrap();
    fs::write(&copy, text.replace("10.1.0.4", "10.1.0.5")).unwrap();
    let served = place.serve();
    for name in ["www.corp.internal.", "none.corp.internal.", "www.open.internal.", "none.open.internal."] {
        let reply = ask(served.dns, name, "A");
        assert_eq!((reply.rcode, code(&reply)), (Rcode::SERVFAIL, Some(NO_REACHABLE_AUTHORITY)), "{name}");
    }
    assert_eq!(served.dns("file.internal.", "A"), ["file.internal. 60 A 10.9.9.9"]);
}

#[test]
fn while_postgresql_is_away_at_the_start_what_was_last_known_is_served() {
    let Some(cluster) = Cluster::start(Disk::Unsynced) else { return };
    let (place, served) = written(&format!("[store]\nurl = \"{}\"\n", cluster.url()));
    let token = served.client.token.clone();
    copied(&place);
    served.terminate();
    cluster.kill();
    let served = with_token(place.serve(), &token);
    check_stale(&served);
    let (status, answer) = put(&served, "late");
    assert_eq!(status, 503, "{answer}");
    cluster.run_again();
    check_back(&served);
}

#[test]
fn what_was_never_written_is_not_missed() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    served.well("POST /zones", json!({"name": "corp.internal"}));
    assert_eq!(put(&served, "www").0, 201);
}
