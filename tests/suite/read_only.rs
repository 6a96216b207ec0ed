//! A state folder that cannot be written, from the start or from some time on, under the real process.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::client::{answers, ask};
use crate::support::served::{Place, Served, command, outcome, wait_until};
use crate::support::skip::skip_outside_ci;
use crate::support::storage::{self, kept, published};

/// Makes the state folder a mount that is only read, and becomes the server.
const MOUNT: &str = "mount --bind state state && mount -o remount,ro,bind state && exec \"$@\"";

/// Nobody: the user that a folder of others is closed to.
const NOBODY: u32 = 65_534;

fn config() -> String {
    format!("[forward]\nupstreams = []\n{}", storage::SOURCE)
}

/// A program in front of which these words are put.
fn behind(words: &[&str], place: &Place) -> Command {
    let program = command(&["serve", "-c"]);
    let mut serve = Command::new(words[0]);
    serve.current_dir(place.folder.path()).args(&words[1..]).arg(program.get_program());
    serve.args(program.get_args()).arg(place.config()).env_remove("RUST_LOG");
    serve
}

/// Words that give a command mounts of its own; `None`, and a word of why, where that cannot be done.
fn mounted() -> Option<Vec<&'static str>> {
    let find = |flags: &&str| {
        let tried = Command::new("unshare").args([flags, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    let flags = ["-m", "-Urm"].into_iter().find(|flags| find(flags));
    if flags.is_none() {
        skip_outside_ci("`unshare` may give no mounts of our own here");
    }
    Some(vec!["unshare", flags?, "sh", "-c", MOUNT, "sh"])
}

fn write(served: &Served, owner: &str) -> (u16, String) {
    let what = format!("PUT /zones/corp.internal/record-sets/{owner}/A");
    let (status, answer) = served.call(&what, Some(json!({"ttl": 60, "records": ["10.1.0.5"]})));
    (status, answer.to_string())
}

#[test]
fn on_a_disk_that_is_only_read_what_was_last_known_is_served_and_writes_are_refused() {
    let Some(words) = mounted() else { return };
    let place = Place::new(&config());
    storage::write_inventory(&place, 3);
    let served = place.serve();
    served.well("POST /zones", json!({"name": "corp.internal"}));
    let what = "PUT /zones/corp.internal/record-sets/www/A";
    served.well(what, json!({"ttl": 60, "records": ["10.1.0.4"]}));
    wait_until("3 names are kept", || kept(&place.state()) == 3);
    let copy = place.state().join("records-copy.jsonl");
    wait_until("the copy is there", || fs::read_to_string(&copy).is_ok_and(|text| text.contains("10.1.0.4")));
    let token = served.client.token.clone();
    served.terminate();
    // Its inventory cannot be read either: what is kept is all there is.
    fs::write(place.folder.path().join("inventory/pe.json"), "cut").unwrap();
    let mut served = place.serve_by(behind(&words, &place));
    served.client.token = token;
    assert!((1..=3).all(|number| published(&served, number)));
    let www = ask(served.dns, "www.corp.internal.", "A");
    assert!(answers(&www)[0].ends_with(" A 10.1.0.4"), "{:?}", www.answer);
    let (status, answer) = write(&served, "new");
    assert_eq!(status, 503, "{answer}");
    // An inventory that can be read again is published, though it cannot be kept.
    storage::write_inventory(&place, 5);
    wait_until("5 names are served", || published(&served, 5));
    assert_eq!(kept(&place.state()), 3);
    let log = served.terminate();
    assert!(!log.contains("panicked"), "{log}");
    let served = place.serve();
    served.wait_for("www.corp.internal.", "A", &["www.corp.internal. 60 A 10.1.0.4"]);
    wait_until("5 names are kept", || kept(&place.state()) == 5);
}

#[test]
fn a_first_start_that_cannot_make_its_store_says_why_and_does_not_begin() {
    let Some(words) = mounted() else { return };
    let place = Place::new(&config());
    fs::create_dir(place.state()).unwrap();
    storage::write_inventory(&place, 2);
    let (code, _, error) = outcome(&mut behind(&words, &place));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("records.db: Read-only file system"), "{error}");
    assert_eq!(fs::read_dir(place.state()).unwrap().count(), 0);
}

/// Whether files of ours are closed to us, as they are not to root.
fn is_root() -> bool {
    // SAFETY: it takes nothing and changes nothing.
    unsafe { libc::geteuid() == 0 }
}

/// Gives a folder and all in it to nobody, if that is needed to be somebody whom permissions hold for.
fn give_away(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            give_away(&path);
        }
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
}

#[test]
fn a_folder_that_is_closed_while_the_server_runs_is_written_again_when_it_is_open() {
    let place = Place::new(&config());
    fs::create_dir(place.state()).unwrap();
    storage::write_inventory(&place, 1);
    let mut words = vec!["env"];
    if is_root() {
        give_away(place.folder.path());
        words = vec!["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        let program = [env!("CARGO_BIN_EXE_privatelink-dns"), "--version"];
        let tried = Command::new(words[0]).args(&words[1..]).args(program).output();
        if !tried.is_ok_and(|tried| tried.status.success()) {
            return skip_outside_ci("the program cannot be run as nobody");
        }
    }
    let served = place.serve_by(behind(&words, &place));
    served.well("POST /zones", json!({"name": "corp.internal"}));
    wait_until("a name is kept", || kept(&place.state()) == 1);
    let close = |mode| fs::set_permissions(place.state(), fs::Permissions::from_mode(mode)).unwrap();
    close(0o555);
    storage::write_inventory(&place, 4);
    wait_until("4 names are served", || published(&served, 4));
    // The log of the store is open already; what is refused says so, and what is not is stored.
    let told: Vec<(u16, String)> = (0..20).map(|number| write(&served, &format!("n{number}"))).collect();
    assert!(told.iter().all(|(status, _)| matches!(status, 201 | 503)), "{told:?}");
    assert_eq!(kept(&place.state()), 1);
    close(0o755);
    wait_until("4 names are kept", || kept(&place.state()) == 4);
    wait_until("writes go well", || write(&served, "late").0 < 300);
    served.kill();
    let served = place.serve_by(behind(&words, &place));
    for (number, (status, _)) in told.iter().enumerate() {
        let found = served.dns(&format!("n{number}.corp.internal."), "A").len();
        assert_eq!(found, usize::from(*status == 201), "n{number}");
    }
    assert_eq!(served.dns("late.corp.internal.", "A").len(), 1);
    let log = served.terminate();
    assert!(!log.contains("panicked"), "{log}");
}
