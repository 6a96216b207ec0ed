//! Validating resolvers behind us believe what we hand on of signed zones, and what we splice into it.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use privatelink_dns::dns::{Rcode, RecordType, Request};

use crate::support::client::PATIENCE;
use crate::support::message::{AD, Ask, Reply};
use crate::support::running::{Running, unbound};
use crate::support::served::{command, outcome};
use crate::support::skip::{skip, skip_outside_ci};
use crate::support::test_daemon::{TestDaemon, write};

/// Replies of a real server to questions of validators.
const REPLIES: &str = include_str!("../fixtures/signed.hex");

/// The keys that those who validate begin with.
const ANCHORS: [(&str, &str); 2] = [
    (
        "nsec.example.",
        "257 3 13 J+WSWAa/IyVSfHd1jpkva2khuOmyKu807RG49c8gKu+f/UKCshhJW28lNH9geOloSoLZ895jHwObm3YrsswZAg==",
    ),
    (
        "nsec3.example.",
        "257 3 13 ugDIyVD5EEX5rPf9RZyNftbB605CMvgiugfR50t7mYdwJrXN3MS5/fTXuzoUaaUIaC5P554rnR09KxAaNvf1pw==",
    ),
];

const ZONE: &str = "@ 3600 SOA ns hostmaster 1 3600 600 86400 300\n@ 3600 NS ns\napp 10 A 10.1.2.3\n";

/// Says what the signed zones' server said, and REFUSED of other names.
fn signed_upstream() -> SocketAddr {
    let lines = REPLIES.lines().filter(|line| !line.starts_with(';'));
    let replies: HashMap<(String, RecordType), Vec<u8>> = lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let message = data_encoding::HEXLOWER.decode(words[2].as_bytes()).unwrap();
            ((words[0].to_owned(), words[1].parse().unwrap()), message)
        })
        .collect();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let request =
                Request::read(&buffer[..length]).ok().expect("the forwarder asks well formed questions");
            let reply = match replies.get(&(request.name.to_buf().to_string(), request.rtype)) {
                Some(reply) => {
                    let mut reply = reply.clone();
                    // The question is echoed in its own case.
                    reply[12..][..request.question.len()].copy_from_slice(request.question);
                    reply
                }
                None => [&[0, 0, 0x81, 0x85, 0, 1, 0, 0, 0, 0, 0, 0], request.question].concat(),
            };
            let _ = socket.send_to(&[&request.id.to_be_bytes(), &reply[2..]].concat(), from);
        }
    });
    address
}

fn daemon() -> TestDaemon {
    let upstream = signed_upstream();
    let config = format!(
        "[forward]\nupstreams = [\"{upstream}\"]\n\
         [[zone]]\nname = \"privatelink.blob.core.windows.net\"\nfile = \"blob.zone\"\n"
    );
    TestDaemon::start(&config, &[("blob.zone", ZONE)])
}

#[test]
fn delv_validates_what_a_wildcard_made() {
    let daemon = daemon();
    for (zone, key) in ANCHORS {
        let (numbers, key) = key.rsplit_once(' ').unwrap();
        let anchor = format!("trust-anchors {{ \"{zone}\" static-key {numbers} \"{key}\"; }};\n");
        write(daemon.folder.path(), "anchor", &anchor);
        let anchor = daemon.folder.path().join("anchor");
        let port = daemon.address.port().to_string();
        // Twice: upstream's answer, then the one that was kept.
        for question in ["plain A", "a.wild A", "a.wild A", "a.wild AAAA", "none A", "a.alias A", "a.alias A"]
        {
            let (name, rtype) = question.split_once(' ').unwrap();
            let output = Command::new("delv")
                .args(["@127.0.0.1", "-p", &port, "-a"])
                .arg(&anchor)
                .args([&format!("+root={zone}"), &format!("{name}.{zone}"), rtype])
                .output();
            let output = match output {
                Ok(output) => output,
                Err(error) => {
                    return skip_outside_ci(format!(
                        "delv is not installed (Debian: bind9-dnsutils): {error}"
                    ));
                }
            };
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains("fully validated"), "{question} of {zone}: {text}");
            let spliced = "app.privatelink.blob.core.windows.net. 10 IN A 10.1.2.3";
            let words: Vec<&str> = text.split_whitespace().collect();
            assert!(name != "a.alias" || words.join(" ").contains(spliced), "{text}");
        }
    }
    daemon.stop();
}

#[test]
fn explain_tells_of_the_proofs_that_go_with_what_a_wildcard_made() {
    let daemon = daemon();
    let config = daemon.folder.path().join("config.toml");
    let explained = |more: &[&str]| {
        let of = ["explain", "a.wild.nsec.example", "-c", config.to_str().unwrap()];
        outcome(command(&of).args(more)).1
    };
    let (with, without) = (explained(&["--dnssec"]), explained(&[]));
    let proof = "goes with the answer, as a wildcard made a part of it (RFC 4035 §3.1.3.3)";
    assert!(with.contains(&format!("proof: NSEC of *.wild.nsec.example. {proof}")), "{with}");
    assert!(with.contains("    authority: *.wild.nsec.example. "), "{with}");
    assert!(!without.contains("proof: ") && !without.contains("authority: "), "{without}");
    daemon.stop();
}

#[test]
fn unbound_validates_what_a_wildcard_made_and_what_a_splice_left() {
    let daemon = daemon();
    let folder = daemon.folder.path();
    // Not asked of CI: delv validates there.
    let Some((running, unbound)) = start_unbound(folder, daemon.address.port()) else {
        return skip("unbound is not installed");
    };
    for zone in ["nsec.example.", "nsec3.example."] {
        for (name, is_secure, records) in [("plain", true, 1), ("a.wild", true, 1), ("a.alias", false, 2)] {
            let reply = ask(unbound, &format!("{name}.{zone}"));
            let addresses = reply.answer.iter().filter(|line| line.rtype != "RRSIG").count();
            let told = (reply.rcode, reply.flags & AD != 0, addresses);
            assert_eq!(told, (Rcode::NOERROR, is_secure, records), "{name}.{zone}\n{reply}");
        }
    }
    drop(running);
    daemon.stop();
}

/// An Unbound that validates, and its address; none if it is not installed.
fn start_unbound(folder: &Path, upstream: u16) -> Option<(Running, SocketAddr)> {
    let anchors: String =
        ANCHORS.iter().map(|(zone, key)| format!("  trust-anchor: \"{zone} DNSKEY {key}\"\n")).collect();
    let server = format!("  module-config: \"validator iterator\"\n{anchors}");
    let forward = format!("forward-zone:\n  name: \".\"\n  forward-addr: 127.0.0.1@{upstream}\n");
    unbound(folder, &server, &forward)
}

/// Asks until the server is there.
fn ask(server: SocketAddr, name: &str) -> Reply {
    let mut ask = Ask::new(name, RecordType::A);
    ask.flags |= AD;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let (began, mut buffer) = (Instant::now(), [0; 4096]);
    while began.elapsed() < PATIENCE {
        // While nothing listens there, the kernel says so at once.
        if socket.send(&ask.to_bytes()).is_ok()
            && let Ok(length) = socket.recv(&mut buffer)
        {
            return Reply::read(&buffer[..length]).unwrap();
        }
        thread::yield_now();
    }
    panic!("{server} does not answer");
}
