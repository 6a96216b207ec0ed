//! The wall clock jumps by a day, ahead and back, under the real process: what lasts, lasts by the other clock.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use privatelink_dns::dns::RecordType;
use serde_json::json;
use tempfile::TempDir;

use crate::support::client::{PATIENCE, answers, ask};
use crate::support::message::{Ask, Reply};
use crate::support::served::{Place, Served, command, wait_until};
use crate::support::skip::skip_outside_ci;
use crate::support::storage::{self, kept};
use crate::support::upstream::Upstream;

const SHIM: &str = include_str!("../fixtures/jump.c");
const DAY: i64 = 86_400;
const TTL_SECS: u32 = 3000;

/// A clock that can be set.
struct Clock {
    folder: TempDir,
}

impl Clock {
    fn new() -> Option<Clock> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("jump.c"), SHIM).unwrap();
        fs::write(folder.path().join("ahead"), 0_i64.to_ne_bytes()).unwrap();
        let made = Command::new("cc")
            .current_dir(folder.path())
            .args(["-shared", "-fPIC", "-O1", "-o", "jump.so", "jump.c"])
            .status();
        if made.is_ok_and(|status| status.success()) {
            return Some(Clock { folder });
        }
        skip_outside_ci("cc makes no library that sets a clock");
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program under this clock.
    fn serve(&self, place: &Place) -> Served {
        let mut serve = command(&["serve", "-c", place.config().to_str().unwrap()]);
        serve.env("LD_PRELOAD", self.path("jump.so")).env("JUMP_FILE", self.path("ahead"));
        place.serve_by(serve)
    }

    /// Is so many seconds ahead from now on.
    fn jump(&self, secs: i64) {
        let file = fs::File::options().write(true).open(self.path("ahead")).unwrap();
        file.write_all_at(&secs.to_ne_bytes(), 0).unwrap();
    }
}

/// Asks from an address that is not let in; answers the text of the reason, and the cookie for the next time.
fn refused(served: &Served, cookie: &[u8]) -> (String, Vec<u8>) {
    let mut ask = Ask::new("www.vendor.com.", RecordType::A);
    ask.edns.as_mut().unwrap().cookie = cookie.to_vec();
    let socket = UdpSocket::bind("127.0.0.9:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(served.dns).unwrap();
    socket.send(&ask.to_bytes()).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    let reply = Reply::read(&buffer[..length]).unwrap();
    (reply.extended_errors[0].1.clone(), reply.cookie.unwrap_or_default())
}

#[test]
fn a_clock_that_jumps_by_a_day_takes_nothing_from_anybody() {
    let Some(clock) = Clock::new() else { return };
    let answer = format!("www.vendor.com. {TTL_SECS} A 192.0.2.7");
    let asked = Arc::new(AtomicU64::new(0));
    let (counted, said) = (Arc::clone(&asked), answer.clone());
    let upstream = Upstream::answering(move |name, _| {
        let is_asked = name.to_string() == "www.vendor.com.";
        counted.fetch_add(u64::from(is_asked), Ordering::SeqCst);
        is_asked.then(|| vec![said.clone()])
    });
    let place = Place::new(&format!(
        "[access]\ndeny = [\"127.0.0.9\"]\n[forward]\nupstreams = [\"{}\"]\n{}",
        upstream.address,
        storage::SOURCE
    ));
    storage::write_inventory(&place, 1);
    let served = clock.serve(&place);
    served.well("POST /zones", json!({"name": "corp.internal"}));
    assert_eq!(answers(&ask(served.dns, "www.vendor.com.", "A")), [answer]);
    let body = json!({"name": "short", "role": "operator", "expires_in_days": 1});
    let mut short = served.client.clone();
    short.token = served.well("POST /tokens", body)["token"].as_str().unwrap().to_owned();
    // One that is not ours has as much room as the new one.
    let (_, mut cookie) = refused(&served, &[7; 24]);
    for (number, jump) in [2 * DAY, -DAY, DAY / 2, -2 * DAY, 0].into_iter().enumerate() {
        clock.jump(jump);
        // Lifetimes run by the other clock.
        let www = ask(served.dns, "www.vendor.com.", "A");
        let ttl_secs = www.answer[0].ttl.secs();
        assert!(
            ttl_secs <= TTL_SECS && u64::from(TTL_SECS - ttl_secs) < PATIENCE.as_secs() * 10,
            "{ttl_secs}"
        );
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{jump}");
        // A cookie of another day is none, and a new one is given (RFC 9018 §4.3).
        let (old, renewed) = refused(&served, &cookie);
        let (new, _) = refused(&served, &renewed);
        assert_eq!((old.as_str(), new.as_str()), ("", "client network not allowed"), "{jump}");
        cookie = renewed;
        // A token ends when the wall clock says so.
        assert_eq!(short.call("GET /zones", None).0, if jump > DAY { 401 } else { 200 }, "{jump}");
        // Writes, and the passes of a source, which are a second apart.
        let what = format!("PUT /zones/corp.internal/record-sets/n{number}/A");
        served.well(&what, json!({"ttl": 60, "records": ["10.1.0.4"]}));
        storage::write_inventory(&place, number + 2);
        wait_until("the pass is done", || storage::published(&served, number + 2));
        wait_until("it is kept", || kept(&place.state()) == number + 2);
        let (status, sync) = served.call("GET /sync", None);
        assert_eq!(status, 200, "{sync}");
    }
    // The newest comes first whatever the clock said.
    let (_, trail) = served.call("GET /changes?limit=100", None);
    let numbers: Vec<u64> =
        trail["items"].as_array().unwrap().iter().filter_map(|item| item["revision"].as_u64()).collect();
    assert!(numbers.len() > 10 && numbers.is_sorted_by(|newer, older| newer >= older), "{numbers:?}");
    // What was kept lies a day ahead after a restart.
    clock.jump(DAY);
    storage::write_inventory(&place, 7);
    wait_until("it is kept", || kept(&place.state()) == 7);
    served.kill();
    clock.jump(0);
    fs::write(place.folder.path().join("inventory/pe.json"), "cut").unwrap();
    let served = clock.serve(&place);
    assert!((1..=7).all(|number| storage::published(&served, number)));
    assert_eq!(served.dns("n4.corp.internal.", "A"), ["n4.corp.internal. 60 A 10.1.0.4"]);
    let log = served.terminate();
    assert!(!log.contains("panicked"), "{log}");
}
