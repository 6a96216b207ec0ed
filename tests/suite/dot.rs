//! DNS over TLS as real clients speak it, and what is said of certificates that cannot be used.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use privatelink_dns::dns::{Flags, Message, Rcode};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::Value;

use crate::support::client::{answers, ask, ask_tcp, packet};
use crate::support::running::unbound;
use crate::support::served::{Place, command, outcome, wait_until};
use crate::support::skip::skip_outside_ci;
use crate::support::test_daemon::TestDaemon;

const ZONE: &str = "@ 60 IN SOA ns hostmaster 7 3600 300 2419200 60\n@ 60 IN NS ns\na 60 IN A 10.0.0.1\n";
const CONFIG: &str =
    "# over TLS\n[forward]\nupstreams = []\n[[zone]]\nname = \"corp.internal\"\nfile = \"corp.zone\"\n";

/// Certificate and key (PEM) for names and addresses.
fn pair(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn daemon(more: &str) -> (TestDaemon, SocketAddr) {
    let (certificate, key) = pair(&["dns.example", "127.0.0.1"]);
    let files = [("corp.zone", ZONE), ("tls.crt", certificate.as_str()), ("tls.key", key.as_str())];
    let daemon = TestDaemon::start(&format!("{CONFIG}{more}"), &files);
    let tls = daemon.tls.unwrap();
    (daemon, tls)
}

/// What a program prints; `None`, and a word on it, where it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(output) => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Some(text(&output.stdout) + &text(&output.stderr))
        }
        Err(error) => {
            skip_outside_ci(format!("{program} is not installed: {error}"));
            None
        }
    }
}

#[test]
fn kdig_asks_over_tls_whether_it_knows_our_name_or_not() {
    let (daemon, tls) = daemon("[telemetry.query_log]\nformat = \"json\"\npath = \"queries.log\"\n");
    let (port, ca) = (tls.port().to_string(), daemon.folder.path().join("tls.crt"));
    let ca = format!("+tls-ca={}", ca.display());
    let log = daemon.folder.path().join("queries.log");
    for more in [vec!["+tls"], vec!["+tls", &ca, "+tls-hostname=dns.example"]] {
        let asked = ["@127.0.0.1", "-p", &port, "a.corp.internal.", "A"];
        let Some(text) = run("kdig", &[&asked, &more[..]].concat()) else { return daemon.stop() };
        assert!(text.contains("TLS session (TLS1.3)") && text.contains("status: NOERROR"), "{text}");
        assert!(text.contains("a.corp.internal.    \t60\tIN\tA\t10.0.0.1"), "{text}");
        assert!(text.contains("PADDING: ") && text.contains("Received 468 B"), "{text}");
    }
    let wrong = ["@127.0.0.1", "-p", &port, "a.corp.internal.", "+tls", &ca, "+tls-hostname=other.example"];
    let text = run("kdig", &wrong).unwrap();
    assert!(!text.contains("10.0.0.1") && text.contains("WARNING"), "{text}");
    wait_until("the queries are logged", || {
        let lines = fs::read_to_string(&log).unwrap_or_default();
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["transport"] == "tls").count() == 2
    });
    daemon.stop();
}

/// Speaks through `openssl s_client`: one question, whose reply is read before its standard input ends.
fn through_openssl(tls: SocketAddr, arguments: &[&str]) -> Option<(Message, String)> {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &tls.to_string(), "-noservername", "-quiet"]).args(arguments);
    let spawned = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut client = match spawned {
        Ok(client) => client,
        Err(error) => {
            skip_outside_ci(format!("openssl is not installed: {error}"));
            return None;
        }
    };
    let question = packet("a.corp.internal.", "A");
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(&(question.len() as u16).to_be_bytes()).unwrap();
    stdin.write_all(&question).unwrap();
    stdin.flush().unwrap();
    let mut stdout = client.stdout.take().unwrap();
    let mut length = [0; 2];
    stdout.read_exact(&mut length).unwrap();
    let mut reply = vec![0; u16::from_be_bytes(length).into()];
    stdout.read_exact(&mut reply).unwrap();
    drop(stdin);
    let _ = client.kill();
    let told = client.wait_with_output().unwrap();
    Some((Message::read(&reply).unwrap(), String::from_utf8_lossy(&told.stderr).into_owned()))
}

#[test]
fn openssl_needs_neither_name_nor_protocol_and_resumes_its_session() {
    let (daemon, tls) = daemon("");
    let session = daemon.folder.path().join("session");
    let session = session.to_str().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let _ = fs::remove_file(session);
        let Some((reply, _)) = through_openssl(tls, &[version, "-sess_out", session]) else { break };
        assert_eq!(answers(&reply), ["a.corp.internal. 60 A 10.0.0.1"]);
        let text = run("openssl", &["s_client", "-connect", &tls.to_string(), version, "-sess_in", session])
            .unwrap();
        assert!(text.contains("Reused, TLSv1."), "{version}: {text}");
    }
    let offers = |protocol| run("openssl", &["s_client", "-connect", &tls.to_string(), "-alpn", protocol]);
    if let (Some(dot), Some(other)) = (offers("dot"), offers("h2")) {
        assert!(dot.contains("ALPN protocol: dot"), "{dot}");
        assert!(other.contains("alert no application protocol"), "{other}");
    }
    if let Some(old) = run("openssl", &["s_client", "-connect", &tls.to_string(), "-tls1_1"]) {
        assert!(old.contains("Cipher is (NONE)"), "{old}");
    }
    daemon.stop();
}

#[test]
fn unbound_forwards_to_us_over_tls() {
    let (daemon, tls) = daemon("");
    let folder = daemon.folder.path();
    let server = format!("  tls-cert-bundle: \"{}\"\n", folder.join("tls.crt").display());
    for name in ["#dns.example", ""] {
        let forward = format!(
            "forward-zone:\n  name: \".\"\n  forward-tls-upstream: yes\n  forward-addr: 127.0.0.1@{}{name}\n",
            tls.port()
        );
        let Some((running, address)) = unbound(folder, &server, &forward) else {
            skip_outside_ci("unbound is not installed");
            break;
        };
        assert_eq!(answers(&ask(address, "a.corp.internal.", "A")), ["a.corp.internal. 60 A 10.0.0.1"]);
        drop(running);
    }
    let asked = daemon.responder.totals();
    let over_tls =
        asked.requests().filter(|([transport, _], ..)| *transport == "tls").map(|(.., count)| count);
    let is_unbound_here = run("unbound", &["-V"]).is_some();
    assert!(over_tls.sum::<u64>() >= 2 || !is_unbound_here);
    daemon.stop();
}

/// A place whose config names a certificate and a key.
fn place(certificate: &str, key: &str) -> Place {
    let listen = "[listen]\ntls = [\"127.0.0.1:0\"]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"\ndns = [\"127.0.0.1:0\"]\n\
                  [[listen.identity]]\ncertificate = \"other.crt\"\nkey = \"other.key\"\n";
    let place = Place::new("");
    let config = format!("state_dir = \"state\"\n{listen}[admin]\nlisten = []\n[forward]\nupstreams = []\n");
    fs::write(place.config(), config).unwrap();
    let folder = place.folder.path();
    let other = pair(&["other.example"]);
    let files =
        [("tls.crt", certificate), ("tls.key", key), ("other.crt", &other.0), ("other.key", &other.1)];
    files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).unwrap());
    place
}

#[test]
fn check_and_serve_tell_what_is_wrong_with_a_certificate_before_they_bind() {
    let (certificate, key) = pair(&["dns.example"]);
    let mut params = CertificateParams::new(vec!["dns.example".to_owned()]).unwrap();
    params.not_after = date_time_ymd(2020, 2, 1);
    let own = KeyPair::generate().unwrap();
    let ended = params.self_signed(&own).unwrap().pem();
    let place = place(&certificate, &key);
    let (folder, config) = (place.folder.path(), place.config());
    let config = config.to_str().unwrap();
    let is_said_by = |verb: &str, expected: &str| {
        let (code, _, error) = outcome(command(&[verb, "-c", config]).stdin(Stdio::null()));
        assert!(code != 0 && error.contains(expected), "{verb}: {error}");
        let secret = key.lines().nth(1).unwrap();
        assert!(!error.contains(secret) && !error.contains(own.serialize_pem().lines().nth(1).unwrap()));
    };
    let both = |expected: &str| ["check", "serve"].iter().for_each(|verb| is_said_by(verb, expected));
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    let at = |place: &str, name: &str| format!("config.toml:{place} {}", folder.join(name).display());
    write("tls.crt", &ended);
    write("tls.key", &own.serialize_pem());
    both(&(at("4: listen.certificate: the certificate in", "tls.crt") + " has expired on 2020-02-01"));
    write("tls.crt", &certificate);
    both(&(at("5: listen.key:", "tls.key") + " is not the key of the certificate in"));
    write("tls.key", "nonsense");
    both(&(at("5: listen.key:", "tls.key") + " holds no PEM private key"));
    fs::remove_file(folder.join("tls.key")).unwrap();
    both(&(at("5: listen.key:", "tls.key") + " cannot be read: No such file"));
    write("tls.key", &key);
    write("other.crt", &certificate);
    let of_other = (at("9: listen.identity[0].key:", "other.key")) + " is not the key of the certificate in";
    both(&of_other);
    let text = fs::read_to_string(config).unwrap();
    fs::write(config, text.replace("tls = [", "ddr_name = \"a.example\"\ntls = [")).unwrap();
    let made = pair(&["b.example"]);
    write("other.crt", &made.0);
    write("other.key", &made.1);
    both(
        "config.toml:3: listen.ddr_name: no certificate is for a.example., and clients would not believe it",
    );
    fs::write(config, text).unwrap();
    write("other.crt", "");
    both(&(at("8: listen.identity[0].certificate:", "other.crt") + " holds no PEM certificate"));
}

/// Whether a server shows a certificate now.
fn shows(tls: SocketAddr, certificate: &Path) -> bool {
    let ca = certificate.to_str().unwrap();
    let connect = ["s_client", "-connect", &tls.to_string(), "-CAfile", ca, "-verify_return_error"];
    run("openssl", &connect).is_some_and(|text| text.contains("Verify return code: 0 (ok)"))
}

#[test]
fn a_reload_takes_what_is_right_and_keeps_the_old_where_it_is_wrong() {
    let (daemon, tls) = daemon("");
    let folder = daemon.folder.path();
    if run("openssl", &["version"]).is_none() {
        return daemon.stop();
    }
    let old = folder.join("old.crt");
    fs::copy(folder.join("tls.crt"), &old).unwrap();
    assert!(shows(tls, &old));
    // One file of two is new, and zones go on to be read: a certificate keeps nobody from that.
    let (certificate, key) = pair(&["dns.example"]);
    daemon.write("tls.crt", &certificate);
    daemon.write("corp.zone", &format!("{ZONE}b 60 IN A 10.0.0.2\n"));
    wait_until("the zone is read", || !ask(daemon.address, "b.corp.internal.", "A").answer.is_empty());
    assert!(shows(tls, &old));
    daemon.write("tls.key", &key);
    wait_until("the new certificate is shown", || shows(tls, &folder.join("tls.crt")));
    // What cannot be listened on changes nothing, and neither does a certificate that is not there.
    let other = CONFIG.replace("# over TLS", "# over TLS\nlame_duck_secs = 1");
    daemon.write("tls.key", "nonsense");
    daemon.configure(&other);
    daemon.write("corp.zone", &format!("{ZONE}c 60 IN A 10.0.0.3\n"));
    wait_until("the zone is read", || !ask(daemon.address, "c.corp.internal.", "A").answer.is_empty());
    assert!(shows(tls, &folder.join("tls.crt")));
    daemon.stop();
}

#[test]
fn a_certificate_made_here_serves_and_nothing_is_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("made/here");
    let make = |names: &[&str], more: &[&str]| {
        let arguments = [&["cert", "--self-signed"], names, &["--out", out.to_str().unwrap()], more].concat();
        outcome(&mut command(&arguments))
    };
    for (names, more, expected) in [
        (&["a b"][..], &[][..], "`a b` is no address, no name and no wildcard"),
        (&["a..example"], &[], "is no address, no name"),
        (&["a.example"], &["--days", "0"], "0 is not in 1..=3650"),
    ] {
        let (code, _, error) = make(names, more);
        assert!(code == 2 && error.contains(expected) && !out.exists(), "{error}");
    }
    let (code, told, error) = make(&["dns.example", "*.dns.example", "127.0.0.1"], &["--days", "30"]);
    assert!(code == 0 && told.contains("for dns.example, *.dns.example, 127.0.0.1"), "{told}{error}");
    let (certificate, key) = (out.join("certificate.pem"), out.join("key.pem"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&key), mode(&certificate) & 0o444), (0o600, 0o444));
    let secret = fs::read_to_string(&key).unwrap();
    assert!(!told.contains(secret.lines().nth(1).unwrap()));
    let (code, _, error) = make(&["other.example"], &[]);
    assert!(code == 2 && error.contains("is there already: nothing was written"), "{error}");
    assert_eq!(fs::read_to_string(&key).unwrap(), secret);
    let certificate = fs::read_to_string(certificate).unwrap();
    let files = [("corp.zone", ZONE), ("tls.crt", certificate.as_str()), ("tls.key", secret.as_str())];
    let daemon = TestDaemon::start(CONFIG, &files);
    let port = daemon.tls.unwrap().port().to_string();
    let ca = format!("+tls-ca={}", daemon.folder.path().join("tls.crt").display());
    for name in ["dns.example", "a.dns.example"] {
        let name = format!("+tls-hostname={name}");
        let asked = ["@127.0.0.1", "-p", &port, "a.corp.internal.", "+tls", &ca, &name];
        let Some(text) = run("kdig", &asked) else { break };
        assert!(text.contains("10.0.0.1"), "{text}");
    }
    daemon.stop();
}

/// What a client is told of encrypted transports, over UDP, over TCP, and by explain.
fn designated(daemon: &TestDaemon, server: SocketAddr) -> Vec<String> {
    let name = "_dns.resolver.arpa.";
    let (udp, tcp) = (ask(server, name, "SVCB"), ask_tcp(server, name, "SVCB"));
    assert_eq!((udp.rcode, &udp.answer, &udp.additional), (tcp.rcode, &tcp.answer, &tcp.additional));
    assert_eq!(udp.rcode, Rcode::NOERROR);
    assert!(udp.answer.is_empty() != udp.authority.is_empty(), "{udp:?}");
    assert!(ask(daemon.address, name, "A").answer.is_empty());
    udp.answer.iter().chain(&udp.additional).map(ToString::to_string).collect()
}

/// Whether anything is told, which may change at any moment.
fn is_told(daemon: &TestDaemon) -> bool {
    !ask(daemon.address, "_dns.resolver.arpa.", "SVCB").answer.is_empty()
}

#[test]
fn who_asks_is_told_of_tls_where_a_certificate_is_for_name_and_address() {
    let name = "# over TLS\n";
    let config = |ddr: &str| CONFIG.replace(name, &format!("{name}# ddr {ddr}\n"));
    let (certificate, key) = pair(&["dns.example", "127.0.0.1"]);
    let files = [("corp.zone", ZONE), ("tls.crt", certificate.as_str()), ("tls.key", key.as_str())];
    let daemon = TestDaemon::start(&config("dns.example"), &files);
    let port = daemon.tls.unwrap().port();
    let told = format!("_dns.resolver.arpa. 300 SVCB 1 dns.example. alpn=dot port={port} ipv4hint=127.0.0.1");
    assert_eq!(designated(&daemon, daemon.address), [&told, "dns.example. 300 A 127.0.0.1"]);
    // A certificate without the address: clients would not believe it.
    let (certificate, key) = pair(&["dns.example"]);
    daemon.write("tls.key", &key);
    daemon.write("tls.crt", &certificate);
    wait_until("nothing is told", || !is_told(&daemon));
    assert_eq!(designated(&daemon, daemon.address), [""; 0]);
    let (certificate, key) = pair(&["dns.example", "127.0.0.1"]);
    daemon.write("tls.key", &key);
    daemon.write("tls.crt", &certificate);
    wait_until("it is told again", || is_told(&daemon));
    // A zone of ours goes first.
    let zone = "[[zone]]\nname = \"resolver.arpa\"\nfile = \"corp.zone\"\n";
    daemon.configure(&format!("{}{zone}", config("dns.example")));
    wait_until("the zone is served", || {
        let reply = ask(daemon.address, "_dns.resolver.arpa.", "SVCB");
        reply.rcode == Rcode::NXDOMAIN && reply.flags.has(Flags::AA)
    });
    daemon.configure(&config("dns.example"));
    wait_until("it is told again", || is_told(&daemon));
    daemon.configure(CONFIG);
    wait_until("nothing is told", || !is_told(&daemon));
    assert_eq!(designated(&daemon, daemon.address), [""; 0]);
    daemon.stop();
}

#[test]
fn the_address_that_was_asked_is_the_one_that_is_told() {
    let (certificate, key) = pair(&["dns.example", "127.0.0.1", "127.0.0.2"]);
    let files = [("corp.zone", ZONE), ("tls.crt", certificate.as_str()), ("tls.key", key.as_str())];
    let config = CONFIG.replace("# over TLS", "# over TLS everywhere\n# ddr dns.example");
    let daemon = TestDaemon::start(&config, &files);
    let port = daemon.tls.unwrap().port();
    for (last, is_told) in [(1, true), (2, true), (3, false)] {
        let address = SocketAddr::from(([127, 0, 0, last], daemon.address.port()));
        let expected = vec![
            format!(
                "_dns.resolver.arpa. 300 SVCB 1 dns.example. alpn=dot port={port} ipv4hint=127.0.0.{last}"
            ),
            format!("dns.example. 300 A 127.0.0.{last}"),
        ];
        assert_eq!(designated(&daemon, address), if is_told { expected } else { Vec::new() });
    }
    daemon.stop();
}
