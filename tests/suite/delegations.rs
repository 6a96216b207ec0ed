//! Zones with `follow_delegations` in front of real name servers, which are where name servers are: at port 53.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use privatelink_dns::dns::{ExtendedError, Rcode};

use crate::support::client::{PATIENCE, answers, ask, ask_tcp};
use crate::support::running::Running;
use crate::support::served::{command, outcome};
use crate::support::skip::{skip, skip_outside_ci};
use crate::support::test_daemon::{TestDaemon, write};

const CHILD: &str = "127.53.7.2";
const GRANDCHILD: &str = "127.53.7.3";
/// Nothing is there.
const NOBODY: &str = "127.53.7.4";

const CONFIG: &str = "[forward]\nupstreams = []\n\
    [[zone]]\nname = \"corp.test\"\nfile = \"corp.zone\"\nfollow_delegations = true\n\
    [[zone]]\nname = \"plain.test\"\nfile = \"corp.zone\"\n";

/// Knot at an address, with one zone.
fn knot(folder: &Path, address: &str, zone: &str, text: &str) -> Option<Running> {
    let folder = folder.join(address);
    write(&folder, "zone", text);
    let config = format!(
        "server:\n  listen: {address}@53\n  rundir: {folder}\ndatabase:\n  storage: {folder}/db\n\
         control:\n  listen: {folder}/control\nlog:\n  - target: stderr\n    any: error\n\
         zone:\n  - domain: {zone}\n    file: {folder}/zone\n",
        folder = folder.display()
    );
    write(&folder, "knot.conf", &config);
    let started = Command::new("knotd").arg("-c").arg(folder.join("knot.conf")).stdout(Stdio::null()).spawn();
    let running = Running(started.ok()?);
    let server = SocketAddr::new(address.parse().unwrap(), 53);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    let query = crate::support::client::packet(&format!("{zone}."), "SOA");
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "knotd does not answer at {server}");
        let mut reply = [0; 512];
        // NOERROR: it has loaded the zone.
        if socket.send(&query).is_ok() && socket.recv(&mut reply).is_ok() && reply[3] & 0x0F == 0 {
            return Some(running);
        }
    }
}

#[test]
fn names_below_a_cut_are_answered_by_the_servers_that_have_them() {
    if let Err(error) = UdpSocket::bind((CHILD, 53)) {
        // Also in CI: a server that others ask at port 53 cannot be had without the right to it.
        return skip(format!("port 53 of {CHILD} cannot be taken: {error}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(250);
    let texts: String = (0..10).map(|n| format!("long TXT \"{n}{long}\"\n")).collect();
    let child = format!(
        "$ORIGIN sub.corp.test.\n$TTL 60\n@ SOA ns host 1 1 1 1 60\n@ NS ns\nns A {CHILD}\na A 10.9.0.1\n\
         *.wild A 10.9.0.2\nalias CNAME www.corp.test.\nold DNAME new.sub.corp.test.\na.new A 10.9.0.3\n\
         deep NS ns.deep\nns.deep A {GRANDCHILD}\n{texts}"
    );
    let Some(_child) = knot(folder.path(), CHILD, "sub.corp.test", &child) else {
        return skip_outside_ci("knotd is not installed (Debian: knot)");
    };
    let grandchild = "$ORIGIN deep.sub.corp.test.\n$TTL 60\n@ SOA ns host 1 1 1 1 60\n@ NS ns\nns A 127.53.7.3\nx A 10.9.0.4\n";
    let running = knot(folder.path(), GRANDCHILD, "deep.sub.corp.test", grandchild);
    let zone = format!(
        "$TTL 60\n@ SOA ns host 1 1 1 1 60\nsub NS ns.sub\nns.sub A {CHILD}\nwww A 10.0.0.7\n\
         lame NS ns.lame\nns.lame A {CHILD}\ngone NS ns.gone\nns.gone A {NOBODY}\n"
    );
    let daemon = TestDaemon::start(CONFIG, &[("corp.zone", &zone)]);
    let told = |name: &str, rtype: &str| answers(&ask(daemon.address, name, rtype));
    for (name, expected) in [
        ("a.sub.corp.test.", &["a.sub.corp.test. 60 A 10.9.0.1"][..]),
        ("b.wild.sub.corp.test.", &["b.wild.sub.corp.test. 60 A 10.9.0.2"]),
        (
            "alias.sub.corp.test.",
            &["alias.sub.corp.test. 60 CNAME www.corp.test.", "www.corp.test. 60 A 10.0.0.7"],
        ),
        (
            "a.old.sub.corp.test.",
            &[
                "old.sub.corp.test. 60 DNAME new.sub.corp.test.",
                "a.old.sub.corp.test. 60 CNAME a.new.sub.corp.test.",
                "a.new.sub.corp.test. 60 A 10.9.0.3",
            ],
        ),
        ("x.deep.sub.corp.test.", &["x.deep.sub.corp.test. 60 A 10.9.0.4"]),
    ] {
        assert_eq!(told(name, "A"), expected);
    }
    // Ten strings of 251 bytes come over TCP alone.
    assert_eq!(ask_tcp(daemon.address, "long.sub.corp.test.", "TXT").answer.len(), 10);
    let none = ask(daemon.address, "none.sub.corp.test.", "A");
    assert_eq!((none.rcode, none.authority.len()), (Rcode::NXDOMAIN, 1));
    let config = daemon.folder.path().join("config.toml");
    let run = |arguments: &[&str]| outcome(command(arguments).args(["-c", config.to_str().unwrap()]));
    let (_, explained, error) = run(&["explain", "x.deep.sub.corp.test"]);
    for step in [
        "delegation: x.deep.sub.corp.test. is asked of the servers of sub.corp.test. (ns.sub.corp.test. 127.53.7.2), \
         which zone corp.test. names",
        "upstream: 127.53.7.3 answers; 127.53.7.2 refers to the name servers of deep.sub.corp.test.",
    ] {
        assert!(explained.contains(step), "{explained}{error}");
    }
    let (code, looked, error) = run(&["doctor"]);
    for finding in [
        "the servers of sub.corp.test., which zone corp.test. delegates, answer",
        "zone corp.test. delegates gone.corp.test., and its servers do not answer: SERVFAIL, name servers of gone.corp.test.",
        "zone plain.test. delegates sub.plain.test., and no rule forwards it: clients are referred to its servers",
    ] {
        assert!(looked.contains(finding), "{looked}{error}");
    }
    assert_eq!((code, looked.contains("delegates sub.corp.test., and no rule")), (1, false));
    // A server that does not have the domain, and none at all.
    for (name, words) in [
        ("a.lame.corp.test.", "name servers of lame.corp.test.: upstream 127.53.7.2 answered REFUSED"),
        ("a.gone.corp.test.", "name servers of gone.corp.test.: upstream 127.53.7.4 "),
    ] {
        let reply = ask(daemon.address, name, "A");
        let (code, text) = reply.extended_error.expect("a failure has a reason");
        assert_eq!(reply.rcode, Rcode::SERVFAIL);
        assert!(code != ExtendedError::NOT_READY && text.contains(words), "{text}");
    }
    // The servers further down move; what is remembered of them is no good.
    drop(running);
    let failed = ask(daemon.address, "y.deep.sub.corp.test.", "A");
    assert_eq!(failed.rcode, Rcode::SERVFAIL);
    let moved = format!("{grandchild}z A 10.9.0.5\n");
    let _running = knot(folder.path(), GRANDCHILD, "deep.sub.corp.test", &moved);
    let began = Instant::now();
    while told("z.deep.sub.corp.test.", "A") != ["z.deep.sub.corp.test. 60 A 10.9.0.5"] {
        assert!(began.elapsed() < PATIENCE, "the servers are back");
    }
    // Without the setting clients are referred.
    let referral = ask(daemon.address, "a.sub.plain.test.", "A");
    assert_eq!((referral.rcode, referral.answer.len(), referral.authority.len()), (Rcode::NOERROR, 0, 1));
    daemon.stop();
}
