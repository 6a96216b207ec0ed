//! Backups: taken while a server runs, looked at, put back; and the files of every version that was released.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::served::{CLIENTS, NOTHING, Place, Served, wait_until};

/// A folder of inventories besides what operators write.
const CONFIG: &str = "[forward]\nupstreams = []\n[private_link]\npublic_names = \"local\"\n\
    [[sync.source]]\nkind = \"directory\"\nname = \"azure\"\npath = \"inventory\"\n";

/// What the files of version 0.1.0 hold.
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/state/0.1.0");

fn put(served: &Served, owner: &str, address: &str) {
    let what = format!("PUT /zones/corp.internal/record-sets/{owner}/A");
    served.well(&what, json!({"ttl": 60, "records": [address]}));
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// A place whose last server left the files of version 0.1.0.
fn place_of_0_1_0() -> Place {
    let place = Place::new(CONFIG);
    copy_folder(Path::new(FIXTURE), &place.state());
    place
}

/// Holds what is served against what the writer of 0.1.0 was told.
fn check_0_1_0(served: &Served, has_sources: bool) {
    let two = ["www.corp.internal. 300 A 10.1.0.4", "www.corp.internal. 300 A 10.1.0.5"];
    served.wait_for("www.corp.internal.", "A", &two);
    assert_eq!(served.dns("corp.internal.", "TXT").len(), 1);
    assert_eq!(
        served.dns("_sip._tcp.corp.internal.", "SRV"),
        ["_sip._tcp.corp.internal. 60 SRV 0 5 5061 www.corp.internal."]
    );
    let key_vault = "kv.privatelink.vaultcore.azure.net.";
    assert_eq!(served.dns(key_vault, "A"), [format!("{key_vault} 10 A 10.1.0.9")]);
    if has_sources {
        let blob = "account2.privatelink.blob.core.windows.net.";
        assert_eq!(served.dns(blob, "A"), [format!("{blob} 10 A 10.0.0.2")]);
    }
    let (status, rule) = served.call("GET /forwarders/partner.example", None);
    assert_eq!((status, &rule["upstreams"][0]["address"]), (200, &json!("10.9.0.1")), "{rule}");
    let (_, zone) = served.call("GET /zones/corp.internal", None);
    assert_eq!(zone["serial"], 5, "{zone}");
    let (_, tokens) = served.call("GET /tokens", None);
    assert_eq!(tokens["items"].as_array().unwrap().len(), 2, "{tokens}");
}

#[test]
fn the_files_of_version_0_1_0_are_served_as_they_were_left() {
    let place = place_of_0_1_0();
    let served = place.serve();
    check_0_1_0(&served, true);
    served.kill();
}

#[test]
fn the_files_of_version_0_1_0_are_restored_from_where_they_were_copied_to() {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(Path::new(FIXTURE), copy.path());
    let (folder, database) = (copy.path().to_owned(), copy.path().join("records.db"));
    for (from, has_sources) in [(folder, true), (database, false)] {
        let place = Place::new(CONFIG);
        let (code, out, err) = place.run(&["restore", from.to_str().unwrap()]);
        assert_eq!(code, 0, "{out}{err}");
        fs::copy(format!("{FIXTURE}/admin.token"), place.token_file()).unwrap();
        check_0_1_0(&place.serve(), has_sources);
    }
    let place = Place::new(CONFIG);
    let state = copy.path().join("sync-state.jsonl");
    assert_eq!(place.run(&["restore", state.to_str().unwrap()]).0, 0);
    let blob = "account1.privatelink.blob.core.windows.net.";
    assert_eq!(place.serve().dns(blob, "A"), [format!("{blob} 10 A 10.0.0.1")]);
}

/// A backup in a folder of its own, with what was served when it was taken.
fn backed_up() -> (Place, PathBuf, String) {
    let place = place_of_0_1_0();
    let served = place.serve();
    put(&served, "before", "10.2.0.1");
    let exports = served.client.exports();
    let file = place.folder.path().join("dns.tar.gz");
    let (code, out, err) = place.run(&["backup", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}{err}");
    put(&served, "behind", "10.2.0.2");
    served.terminate();
    (place, file, exports)
}

#[test]
fn a_backup_of_a_running_server_brings_back_all_that_was_there_and_nothing_else() {
    let (place, file, exports) = backed_up();
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let beside = fs::read_dir(place.folder.path()).unwrap();
    let names: Vec<_> = beside.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.contains("tar.gz.")), "{names:?}");

    // Upon what is there, and on a machine that has nothing.
    for is_empty in [false, true] {
        if is_empty {
            fs::remove_dir_all(place.state()).unwrap();
        }
        let (code, out, err) = place.run(&["restore", file.to_str().unwrap()]);
        assert_eq!(code, 0, "{out}{err}");
        assert_eq!(out.contains("kept "), !is_empty, "{out}");
        fs::copy(format!("{FIXTURE}/admin.token"), place.token_file()).unwrap();
        let served = place.serve();
        assert_eq!(served.client.exports(), exports);
        check_0_1_0_but_for_its_serial(&served);
        served.terminate();
    }
}

fn check_0_1_0_but_for_its_serial(served: &Served) {
    assert_eq!(served.dns("before.corp.internal.", "A"), ["before.corp.internal. 60 A 10.2.0.1"]);
    assert_eq!(served.dns("behind.corp.internal.", "A"), [""; 0]);
}

#[test]
fn people_can_look_into_a_backup_with_what_every_system_has() {
    let (place, file, _) = backed_up();
    let look =
        Command::new("tar").arg("-C").arg(place.folder.path()).arg("-xzf").arg(&file).output().unwrap();
    assert!(look.status.success(), "{look:?}");
    let manifest = fs::read_to_string(place.folder.path().join("manifest.json")).unwrap();
    assert!(manifest.contains("\"privatelink_dns_backup\": 1") && manifest.contains("sha256"), "{manifest}");
    let state = fs::read_to_string(place.folder.path().join("sync-state.jsonl")).unwrap();
    assert!(state.contains("account1"), "{state}");
    assert!(fs::read(place.folder.path().join("records.db")).unwrap().starts_with(b"SQLite format 3"));
}

#[test]
fn a_restore_beside_a_server_that_runs_is_refused() {
    let (place, file, exports) = backed_up();
    let served = place.serve();
    for verb in [&["restore", file.to_str().unwrap()][..], &["store", "new"]] {
        let (code, _, err) = place.run(verb);
        assert_eq!(code, 2);
        assert!(err.contains("a server runs over ") && err.contains("stop it first"), "{err}");
    }
    assert_ne!(served.client.exports(), exports, "what was written behind the backup is there");
}

#[test]
fn what_is_damaged_or_of_a_newer_program_changes_nothing() {
    let (place, file, _) = backed_up();
    let before = fs::read(place.state().join("records.db")).unwrap();
    let whole = fs::read(&file).unwrap();
    let newer = place.folder.path().join("newer.db");
    fs::copy(place.state().join("records.db"), &newer).unwrap();
    CLIENTS.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&newer);
        let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::raw_sql("INSERT INTO schema_version VALUES (99)").execute(&mut connection).await.unwrap();
        sqlx::Connection::close(connection).await.unwrap();
    });
    let mut spoilt = vec![("newer", fs::read(&newer).unwrap()), ("cut", whole[..whole.len() / 2].to_vec())];
    for at in [whole.len() / 3, whole.len() / 2, whole.len() - 6] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        spoilt.push(("damaged", damaged));
    }
    let page = fs::read(place.state().join("records.db")).unwrap();
    spoilt.push(("half a database", page[..page.len() / 2].to_vec()));
    spoilt.push(("text", b"nothing of ours".to_vec()));
    for (what, bytes) in spoilt {
        let file = place.folder.path().join("spoilt");
        fs::write(&file, bytes).unwrap();
        let (code, out, err) = place.run(&["restore", file.to_str().unwrap()]);
        assert_eq!(code, 2, "{what}: {out}{err}");
        assert!(err.contains("spoilt"), "{what}: {err}");
        assert_eq!(err.contains("run the newer program"), what == "newer", "{what}: {err}");
        assert_eq!(fs::read(place.state().join("records.db")).unwrap(), before, "{what}");
        assert!(!place.state().join("restore.new").exists());
    }
}

#[test]
fn an_admin_fetches_a_backup_from_where_the_state_folder_cannot_be_read() {
    let place = place_of_0_1_0();
    let served = place.serve();
    let file = place.folder.path().join("fetched.tar.gz");
    let (code, out, err) = place.program(&served, &["backup", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!place.state().join("backup.tar.gz").exists());
    // It is written down behind the answer.
    wait_until("the backup in the audit", || {
        served.call("GET /changes?limit=3", None).1.to_string().contains("took a backup")
    });
    let body = json!({"name": "op", "role": "operator"});
    let mut operator = served.client.clone();
    operator.token = served.well("POST /tokens", body)["token"].as_str().unwrap().to_owned();
    assert_eq!(operator.call("GET /backup", None).0, 403);
    served.terminate();
    fs::remove_dir_all(place.state()).unwrap();
    assert_eq!(place.run(&["restore", file.to_str().unwrap()]).0, 0);
    fs::copy(format!("{FIXTURE}/admin.token"), place.token_file()).unwrap();
    let served = place.serve();
    assert_eq!(served.dns("www.corp.internal.", "A").len(), 2);
    assert_eq!(served.dns("account1.privatelink.blob.core.windows.net.", "A").len(), 1);
}

#[test]
fn with_postgresql_both_say_what_to_use() {
    let place = Place::new(&format!("{NOTHING}[store]\nurl = \"postgres://dns:secret@db.internal/dns\"\n"));
    for verb in ["backup", "restore"] {
        let config = place.config();
        let (code, _, err) = place.run(&[verb, config.to_str().unwrap()]);
        assert_eq!(code, 2);
        assert!(err.contains("pg_dump") && err.contains("dns@db.internal/dns"), "{verb}: {err}");
        assert!(!err.contains("secret"), "{err}");
    }
    let (code, _, err) = place.run(&["store", "new"]);
    assert!(code == 2 && err.contains("its database makes it"), "{err}");
}

#[test]
fn a_new_store_is_made_for_one_that_is_lost_and_never_over_one_in_order() {
    let place = place_of_0_1_0();
    let (code, _, err) = place.run(&["store", "new"]);
    assert!(code == 2 && err.contains("is in order"), "{err}");
    let database = place.state().join("records.db");
    fs::write(&database, "not a database".repeat(1_000)).unwrap();
    // To look at it moves its log into it.
    assert!(!place.state().join("records.db-wal").exists());
    let (code, out, err) = place.run(&["store", "new"]);
    assert_eq!(code, 0, "{err}");
    let kept =
        out.lines().find_map(|line| line.strip_prefix("kept         what was there before, as ")).unwrap();
    assert!(fs::read_to_string(kept).unwrap().starts_with("not a database"));
    let served = place.serve();
    served.well("POST /zones", json!({"name": "new.internal"}));
    assert_eq!(served.dns("www.corp.internal.", "A"), [""; 0]);
}
