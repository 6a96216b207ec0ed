//! `kill -9` while files are written: the state of sources, backups, and what is restored of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kills::kills;
use crate::support::client::PATIENCE;
use crate::support::served::{NOTHING, Place, Served, command, wait_until};
use crate::support::storage::{self, kept, published};

/// Runs a program and kills it after a part of the time that it takes whole; answers whether it was still running.
fn run_in_part(mut program: Command, whole: Duration, part: f64) -> bool {
    let mut child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while begun.elapsed() < whole.mul_f64(part) {
        std::thread::sleep(Duration::from_micros(200));
    }
    let is_running = child.try_wait().unwrap().is_none();
    let _ = child.kill();
    child.wait().unwrap();
    is_running
}

/// A command at a place.
fn at(place: &Place, arguments: &[&str]) -> Command {
    let mut program = command(arguments);
    program.arg("-c").arg(place.config());
    program
}

/// A place whose store has two records of this address, with many others behind them.
fn stored(address: &str) -> Place {
    let place = Place::new(NOTHING);
    let served = place.serve();
    served.well("POST /zones", json!({"name": "corp.internal"}));
    let changes: Vec<_> = (0..300)
        .map(|number| {
            json!({"action": "put", "zone": "corp.internal", "name": format!("n{number:03}"), "type": "A", "ttl": 60, "records": [address]})
        })
        .collect();
    for change in changes.chunks(100) {
        served.well("POST /changes", json!({"changes": change}));
    }
    served.terminate();
    place
}

/// The address that all records of a store have.
fn address_of(served: &Served) -> String {
    let of = |owner: &str| {
        let found = served.dns(&format!("{owner}.corp.internal."), "A");
        assert_eq!(found.len(), 1, "{owner}: {found:?}");
        found[0].rsplit(' ').next().unwrap().to_owned()
    };
    let (first, last) = (of("n000"), of("n299"));
    assert_eq!(first, last);
    first
}

fn backup(place: &Place, file: &Path) -> Duration {
    let begun = Instant::now();
    let (code, out, err) = place.run(&["backup", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}{err}");
    begun.elapsed()
}

#[test]
fn a_backup_that_is_killed_is_none_or_whole() {
    let place = stored("10.1.0.4");
    let whole = backup(&place, &place.folder.path().join("first.tar.gz"));
    let kills = kills();
    let mut killed = 0;
    for round in 0..kills {
        let file = place.folder.path().join(format!("{round}.tar.gz"));
        let part = 1.2 * (round as f64 + 0.5) / kills as f64;
        killed += usize::from(run_in_part(at(&place, &["backup", file.to_str().unwrap()]), whole, part));
        if file.exists() {
            let other = Place::new(NOTHING);
            let (code, out, err) = other.run(&["restore", file.to_str().unwrap()]);
            assert_eq!(code, 0, "round {round}: {out}{err}");
        }
    }
    assert!(killed > 0);
    // What was left of those keeps nobody from the next.
    backup(&place, &place.folder.path().join("last.tar.gz"));
    assert_eq!(address_of(&place.serve()), "10.1.0.4");
}

#[test]
fn a_restore_that_is_killed_leaves_the_old_or_the_new_and_goes_well_the_next_time() {
    let [one, other] = ["10.1.0.4", "10.1.0.5"].map(|address| {
        let place = stored(address);
        let file: PathBuf = place.folder.path().join("dns.tar.gz");
        backup(&place, &file);
        (address, place, file)
    });
    let place = Place::new(NOTHING);
    let begun = Instant::now();
    assert_eq!(place.run(&["restore", one.2.to_str().unwrap()]).0, 0);
    let whole = begun.elapsed();
    let (kills, mut is, mut killed) = (kills(), one.0, 0);
    for round in 0..kills {
        let next = if is == one.0 { &other } else { &one };
        let part = 1.2 * (round as f64 + 0.5) / kills as f64;
        killed += usize::from(run_in_part(at(&place, &["restore", next.2.to_str().unwrap()]), whole, part));
        let served = place.serve();
        let found = address_of(&served);
        assert!(found == is || found == next.0, "round {round}: {found}");
        served.kill();
        let (code, out, err) = place.run(&["restore", next.2.to_str().unwrap()]);
        assert_eq!(code, 0, "round {round}: {out}{err}");
        is = next.0;
    }
    assert!(killed > 0);
    assert_eq!(address_of(&place.serve()), is);
}

#[test]
fn the_state_of_sources_is_whole_however_often_the_process_is_killed() {
    let place = Place::new(&format!("[forward]\nupstreams = []\n{}", storage::SOURCE));
    let mut count = 1;
    storage::write_inventory(&place, count);
    for round in 0..kills() {
        let served = place.serve();
        wait_until("it is kept", || kept(&place.state()) >= count);
        // Written again and again, now longer and now shorter, until it dies.
        let (begun, before) = (Instant::now(), count);
        let mut seen = 0;
        while seen < 2 + round % 3 {
            assert!(begun.elapsed() < PATIENCE, "nothing is kept");
            count = if count >= 40 { 1 } else { count + 13 };
            storage::write_inventory(&place, count);
            wait_until("the pass is done", || published(&served, count));
            seen += 1;
        }
        served.kill();
        let known = kept(&place.state());
        assert!(known >= 1, "round {round}, after {before}");
        // What is kept is what a start without an inventory serves: all of it, and nothing half.
        fs::write(place.folder.path().join("inventory/pe.json"), "cut").unwrap();
        let served = place.serve();
        assert!((1..=known).all(|number| published(&served, number)), "round {round}: {known}");
        assert!(!published(&served, known + 1), "round {round}: {known}");
        let log = served.terminate();
        assert!(!log.contains("damaged"), "{log}");
        storage::write_inventory(&place, count);
    }
}
