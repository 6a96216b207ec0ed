//! A disk that is full, really: a small tmpfs in a mount namespace of the server's own.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::served::{Place, Served, command, wait_until};
use crate::support::skip::skip;
use crate::support::storage::{self, kept, published, write_inventory};

fn config() -> String {
    format!("[forward]\nupstreams = []\n{}", storage::SOURCE)
}

/// Mounts what is to be the state folder, and becomes the server.
const MOUNT: &str = "mkdir -p state && mount -t tmpfs -o size=6m,mode=0700 tmpfs state && exec \"$@\"";

/// Words in front of a command that give it mounts of its own; `None`, and a word of why, where that cannot be done.
fn namespace() -> Option<Vec<&'static str>> {
    for flags in ["-m", "-Urm"] {
        let tried = Command::new("unshare").args([flags, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
        if tried.is_ok_and(|tried| tried.status.success()) {
            return Some(vec![flags, "sh", "-c", MOUNT, "sh"]);
        }
    }
    skip("`unshare` may give no mounts of our own here");
    None
}

/// A server whose state folder is a disk of 6 MiB.
fn serve_small(place: &Place) -> Option<(Served, PathBuf)> {
    let program = command(&["serve", "-c"]);
    let mut serve = Command::new("unshare");
    serve
        .current_dir(place.folder.path())
        .args(namespace()?)
        .arg(program.get_program())
        .args(program.get_args());
    serve.arg(place.config()).env_remove("RUST_LOG");
    let mut served = place.serve_by(serve);
    let state = PathBuf::from(format!("/proc/{}/root{}", served.id(), place.state().display()));
    served.client.token = fs::read_to_string(state.join("admin.token")).unwrap().trim().to_owned();
    Some((served, state))
}

/// Fills a disk to its last byte.
fn fill(state: &Path) -> PathBuf {
    let path = state.join("fill");
    let mut file = fs::File::options().create(true).append(true).open(&path).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
    path
}

#[test]
fn what_is_published_on_a_full_disk_is_kept_as_soon_as_there_is_room() {
    let place = Place::new(&config());
    write_inventory(&place, 6);
    let Some((served, state)) = serve_small(&place) else { return };
    wait_until("6 names are kept", || kept(&state) == 6);
    let filled = fill(&state);
    write_inventory(&place, 13);
    wait_until("13 names are served", || published(&served, 13));
    // What was kept stays whole, and nothing half lies about.
    wait_until("the attempt is over", || kept(&state) == 6 && unfinished(&state).is_empty());
    fs::remove_file(filled).unwrap();
    // Nothing changes any more: it is kept all the same.
    wait_until("13 names are kept", || kept(&state) == 13);
    assert_eq!(unfinished(&state), [""; 0]);
    // As after a `kill -9`.
    let next = Place::new(&config());
    fs::create_dir_all(next.state()).unwrap();
    fs::copy(state.join("sync-state.jsonl"), next.state().join("sync-state.jsonl")).unwrap();
    served.kill();
    assert!(published(&next.serve(), 13));
}

fn unfinished(state: &Path) -> Vec<String> {
    let names = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".new")).collect()
}

/// Some kilobytes of TXT data.
fn text(of: char) -> String {
    vec![format!("\"{}\"", of.to_string().repeat(250)); 16].join(" ")
}

#[test]
fn writes_on_a_full_disk_are_refused_with_the_reason_until_there_is_room() {
    let place = Place::new(&config());
    write_inventory(&place, 1);
    let Some((served, state)) = serve_small(&place) else { return };
    served.well("POST /zones", json!({"name": "corp.internal"}));
    let filled = fill(&state);
    let token = place.folder.path().join("token");
    fs::write(&token, &served.client.token).unwrap();
    // What was allocated before takes some more.
    let refused = (0..2_000).find_map(|number| {
        let what = format!("PUT /zones/corp.internal/record-sets/n{number}/TXT");
        let (status, answer) = served.call(&what, Some(json!({"ttl": 60, "records": [text('x')]})));
        (status >= 300).then_some((status, answer))
    });
    let (status, answer) = refused.expect("a full disk takes no more");
    assert_eq!(status, 503, "{answer}");
    // The log may have been moved to its place, and left some room.
    fill(&state);
    let put = [
        "records",
        "put",
        "corp.internal",
        "late",
        "TXT",
        &"y".repeat(200),
        "--token-file",
        token.to_str().unwrap(),
    ];
    let (code, _, err) = place.program(&served, &put);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("the disk of the store is full, nothing was stored"), "{err}");
    assert_eq!(served.dns("late.corp.internal.", "TXT"), [""; 0]);
    // What only reads is no sign that the disk takes something again.
    assert_eq!(served.call("GET /zones/corp.internal?", None).0, 200);
    served.call("DELETE /zones/nothing.internal", None);
    let (status, ready) = served.get("/readyz");
    assert!(status == 200 && ready.contains("store-full"), "{ready}");
    fs::remove_file(filled).unwrap();
    let (code, out, err) = place.program(&served, &put);
    assert_eq!(code, 0, "{out}{err}");
    assert!(!served.get("/readyz").1.contains("store-full"));
    let log = served.terminate();
    let told: Vec<&str> =
        log.lines().filter(|line| line.contains("store") && !line.contains("schema")).collect();
    let position = |what: &str| told.iter().position(|line| line.contains(what));
    let (down, up) = (position("Changes are refused until"), position("The store is available again"));
    assert!(down.is_some() && down < up, "{log}");
    for debug in ["Some(", "SqliteError", "Database(", "Unavailable {", "Err("] {
        assert!(!log.contains(debug), "{debug} in {log}");
    }
}
