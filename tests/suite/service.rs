//! A server under a service manager: what systemd is told, what feeds its watchdog, and the unit itself.

use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::client::PATIENCE;
use crate::support::served::{Log, NOTHING, Place, Served, command, config, wait_until};
use crate::support::skip::{skip, skip_outside_ci};
use crate::support::test_daemon::write;

/// Times in which a server that runs would feed the watchdog again and again.
const MANY_PAUSES: Duration = Duration::from_secs(1);

/// One who plays systemd's part.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Manager {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket, folder }
    }

    /// Starts the program as a unit with a short `WatchdogSec=` does, and with its log.
    fn serve(&self, place: &Place) -> (Served, Log) {
        let socket = self.folder.path().join("notify");
        let mut serve = command(&["serve", "-c", place.config().to_str().unwrap()]);
        place.serve_logged_by(serve.env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", "40000"))
    }

    /// The next message, line by line.
    fn next(&self) -> io::Result<Vec<String>> {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message)?;
        Ok(String::from_utf8(message[..length].to_vec()).unwrap().lines().map(str::to_owned).collect())
    }

    /// The next message that is no ping.
    fn told(&self) -> Vec<String> {
        loop {
            let told = self.next().expect("the server tells something");
            if told != ["WATCHDOG=1"] {
                return told;
            }
        }
    }

    /// Leaves what has been told alone.
    fn forget(&self) {
        self.socket.set_nonblocking(true).unwrap();
        while self.next().is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
    }

    /// The messages until none comes for long.
    fn pings_of_late(&self) -> usize {
        self.socket.set_read_timeout(Some(MANY_PAUSES)).unwrap();
        let count = std::iter::from_fn(|| self.next().ok()).count();
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        count
    }

    fn pings(&self, count: usize) {
        for _ in 0..count {
            assert_eq!(self.next().expect("a ping"), ["WATCHDOG=1"]);
        }
    }
}

#[test]
fn systemd_is_told_where_the_server_stands_from_start_to_end() {
    let manager = Manager::new();
    let place = Place::new(NOTHING);
    let text = format!("lame_duck_secs = 3600\n{}", config(NOTHING));
    write(place.folder.path(), "config.toml", &text);
    let (served, _) = manager.serve(&place);
    assert_eq!(manager.told(), ["STATUS=Reading zones and sources"]);
    let serving = format!("STATUS=Serving DNS at {}", served.dns);
    assert_eq!(manager.told(), ["READY=1".to_owned(), serving.clone()]);
    manager.pings(3);

    served.signal("HUP");
    let told = manager.told();
    assert_eq!(told[..2], ["RELOADING=1", "STATUS=Reloading"]);
    let at = told[2].strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(at.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.told(), ["READY=1".to_owned(), serving.clone()]);
    write(place.folder.path(), "config.toml", "[listen\n");
    assert_eq!(manager.told()[0], "RELOADING=1");
    let failed = format!("{serving}; the last reload failed, and the log says why");
    assert_eq!(manager.told(), ["READY=1".to_owned(), failed]);

    served.signal("TERM");
    let told = manager.told();
    assert_eq!(told[..2], ["STOPPING=1", "STATUS=Stopping in 3600 seconds, serving until then"]);
    assert_eq!(told[2], "EXTEND_TIMEOUT_USEC=3615000000");
    manager.pings(3);
    served.signal("TERM");
    // It waits for a manager that does not read, and so is not waited for before.
    assert_eq!(manager.told(), ["STOPPING=1", "STATUS=Stopping: answering what has arrived"]);
    served.terminate();
}

#[test]
fn a_server_that_stands_still_feeds_no_watchdog() {
    let manager = Manager::new();
    let place = Place::new(NOTHING);
    let (served, _) = manager.serve(&place);
    while manager.told()[0] != "READY=1" {}
    manager.pings(1);
    served.signal("STOP");
    let state = format!("/proc/{}/stat", served.id());
    wait_until("it stands still", || fs::read_to_string(&state).unwrap().contains(") T "));
    manager.forget();
    assert_eq!(manager.pings_of_late(), 0);
    served.signal("CONT");
    manager.pings(3);
}

/// A thread of another process that stands still while all others run (ptrace(2)).
struct Held(libc::pid_t);

impl Held {
    fn new(thread: libc::pid_t) -> io::Result<Held> {
        ptrace(libc::PTRACE_ATTACH, thread)?;
        // SAFETY: the status is not asked for; the call waits for the thread to stand.
        assert_eq!(unsafe { libc::waitpid(thread, std::ptr::null_mut(), libc::__WALL) }, thread);
        Ok(Held(thread))
    }

    fn release(self) {
        ptrace(libc::PTRACE_DETACH, self.0).unwrap();
    }
}

fn ptrace(request: libc::c_uint, thread: libc::pid_t) -> io::Result<()> {
    // SAFETY: neither request reads or writes memory of ours.
    match unsafe { libc::ptrace(request, thread, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[test]
fn a_server_whose_listener_hangs_while_all_else_runs_feeds_no_watchdog() {
    let manager = Manager::new();
    let place = Place::new(NOTHING);
    let (served, log) = manager.serve(&place);
    while manager.told()[0] != "READY=1" {}
    manager.pings(1);
    let threads = fs::read_dir(format!("/proc/{}/task", served.id())).unwrap().flatten();
    let is_listener =
        |it: &fs::DirEntry| fs::read_to_string(it.path().join("comm")).unwrap().trim() == "udp-0";
    let listener = threads.into_iter().find(is_listener).expect("the config has one worker");
    let held = match Held::new(listener.file_name().to_str().unwrap().parse().unwrap()) {
        Ok(held) => held,
        Err(error) => return skip(format!("a thread cannot be held here: {error}")),
    };
    manager.forget();
    // Of a round that had its answer already.
    assert!(manager.pings_of_late() <= 1);
    log.line("have had no answer for");
    held.release();
    manager.pings(3);
}

/// An access list, limits of rate (of networks), an address of all, and one that is not there yet.
#[test]
fn what_keeps_clients_away_does_not_keep_the_watchdog_hungry() {
    let manager = Manager::new();
    let more = "[access]\nallow = []\n[limits]\nqueries_per_second = 1\nresponses_per_second = 1\nresponses_slip = 0\n";
    let text = config(&format!("{NOTHING}{more}"));
    let listen = "dns = [\"0.0.0.0:0\", \"127.0.2.1:0\", \"192.0.2.1:0\"]\nfreebind = true";
    let place = Place::new("");
    fs::write(place.config(), text.replacen("dns = [\"127.0.0.1:0\"]", listen, 1)).unwrap();
    let (served, _) = manager.serve(&place);
    while manager.told()[0] != "READY=1" {}
    manager.pings(50);
    let (_, metrics) = served.get("/metrics");
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not there: {metrics}")).parse::<f64>().unwrap()
    };
    assert_eq!(value("privatelink_dns_udp_dropped_total"), 0.0);
    assert!(value("privatelink_dns_udp_queries_total") >= 100.0);
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/privatelink-dns.service");
    let text = fs::read_to_string(unit).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("privatelink-dns.service");
    // The program need not be installed.
    let here = text.replace("/usr/bin/privatelink-dns", env!("CARGO_BIN_EXE_privatelink-dns"));
    fs::write(&path, here).unwrap();
    let out = match Command::new("systemd-analyze").arg("verify").arg(&path).output() {
        Ok(out) => out,
        Err(error) => {
            return skip_outside_ci(format!("systemd-analyze is not installed (Debian: systemd): {error}"));
        }
    };
    // A key that it does not know is told, and no reason to fail.
    let told = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success() && !told.contains("privatelink-dns.service"), "{told}");
}

#[test]
fn every_listener_may_have_an_address_that_comes_later() {
    let more = "allow_plaintext = true\n[telemetry]\nlisten = [\"127.0.0.1:0\"]\n[forward]\nupstreams = []\n";
    let texts = ["[listen]\ndns = [", "[admin]\nlisten = [", "[telemetry]\nlisten = ["].map(|list| {
        let text = config(more);
        assert!(text.contains(list), "{text}");
        text.replacen(list, &format!("{list}\"192.0.2.1:0\", "), 1)
    });
    for text in texts {
        let place = Place::new("");
        fs::write(place.config(), &text).unwrap();
        let (code, _, error) = place.run(&["serve"]);
        assert!(
            code == 2 && error.contains("192.0.2.1:0") && error.contains("`listen.freebind = true`"),
            "{error}"
        );
        fs::write(place.config(), text.replacen("[listen]", "[listen]\nfreebind = true", 1)).unwrap();
        place.serve().terminate();
    }
}
