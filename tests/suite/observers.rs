//! Who is told of queries: a collector of dnstap, and the query log.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::client::{answers, ask, ask_tcp};
use crate::support::served::{Place, command, wait_until};
use crate::support::upstream::Upstream;

const ZONE: &str = "@ 60 IN SOA ns hostmaster 7 3600 300 2419200 60\n@ 60 IN NS ns\na 60 IN A 10.0.0.1\n";

/// A server with a zone, an upstream that answers and one that is silent.
fn place(more: &str) -> (Place, Upstream, UdpSocket) {
    let upstream = Upstream::start(&[("www.example. A", &["www.example. 60 A 192.0.2.7"])]);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let place = Place::new(&forwarding(&upstream, &silent, more));
    fs::write(place.folder.path().join("corp.zone"), ZONE).unwrap();
    (place, upstream, silent)
}

fn forwarding(upstream: &Upstream, silent: &UdpSocket, more: &str) -> String {
    format!(
        "[[zone]]\nname = \"corp.internal\"\nfile = \"corp.zone\"\n[forward]\nupstreams = [\"{}\"]\n[[forward.rule]]\n\
         domain = \"dead.example\"\nupstreams = [\"{}\"]\n{more}",
        upstream.address,
        silent.local_addr().unwrap()
    )
}

/// A program that takes frames until this is dropped.
struct Capture(Child);

impl Capture {
    /// `None`, and a word on it, where the programs are not installed. In CI they must be.
    fn start(socket: &Path, file: &Path) -> Option<Capture> {
        let mut capture = Command::new("fstrm_capture");
        capture.args(["-t", "protobuf:dnstap.Dnstap", "-u"]).arg(socket).arg("-w").arg(file);
        let started = Command::new("dnstap-read").arg("-v").output().and_then(|_| capture.spawn());
        match started {
            Ok(child) => {
                wait_until("the collector listens", || socket.exists());
                Some(Capture(child))
            }
            Err(error) if std::env::var_os("CI").is_some() => {
                panic!("fstrm_capture or dnstap-read is not installed: {error}")
            }
            Err(error) => {
                println!("skipped: fstrm_capture or dnstap-read is not installed: {error}");
                None
            }
        }
    }

    /// Ends it, which writes what it has.
    fn end(mut self) {
        // SAFETY: a signal to a child that was not waited for.
        assert_eq!(unsafe { libc::kill(self.0.id() as libc::pid_t, libc::SIGTERM) }, 0);
        assert!(self.0.wait().unwrap().success());
    }
}

/// What dnstap-read says of a file.
fn read(options: &[&str], file: &Path) -> String {
    let output = Command::new("dnstap-read").args(options).arg(file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

/// Type, protocol and question of each frame.
fn frames(file: &Path) -> Vec<String> {
    let text = read(&[], file).to_lowercase();
    let words = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    words.map(|words| format!("{} {} {}", words[2], words[6], words[8])).collect()
}

#[test]
fn a_collector_of_dnstap_reads_all_questions_and_replies() {
    let (place, _upstream, _silent) =
        place("[telemetry.dnstap]\nsocket = \"tap.sock\"\nidentity = \"dns-1\"\n");
    let (socket, file) = (place.folder.path().join("tap.sock"), place.folder.path().join("frames"));
    let Some(capture) = Capture::start(&socket, &file) else { return };
    let (served, log) = place.serve_logged();
    assert_eq!(answers(&ask(served.dns, "a.corp.internal.", "A")), ["a.corp.internal. 60 A 10.0.0.1"]);
    ask_tcp(served.dns, "a.corp.internal.", "A");
    ask(served.dns, "www.example.", "A");
    ask(served.dns, "www.example.", "A");
    log.line("dnstap goes to");
    served.terminate();
    capture.end();
    let mut frames = frames(&file);
    let mut expected = [
        "aq udp a.corp.internal/in/a",
        "ar udp a.corp.internal/in/a",
        "aq tcp a.corp.internal/in/a",
        "ar tcp a.corp.internal/in/a",
        "cq udp www.example/in/a",
        "cr udp www.example/in/a",
        "fq udp www.example/in/a",
        "fr udp www.example/in/a",
        "cq udp www.example/in/a",
        "cr udp www.example/in/a",
    ];
    frames.sort();
    expected.sort();
    assert_eq!(frames, expected);
    let whole = read(&["-y"], &file);
    for (line, times) in [
        ("identity: dns-1", 10),
        (concat!("version: privatelink-dns ", env!("CARGO_PKG_VERSION")), 10),
        ("  query_zone: corp.internal.", 4),
        ("  query_zone: .", 2),
        ("  response_address: \"127.0.0.1\"", 10),
        ("  - 'a.corp.internal. 60 IN A 10.0.0.1'", 2),
    ] {
        assert_eq!(
            whole.lines().filter(|it| it.trim_start() == line.trim_start()).count(),
            times,
            "{line}: {whole}"
        );
    }
}

#[test]
fn a_collector_that_comes_back_is_found_again_and_nobody_waits_for_it() {
    let (place, _upstream, _silent) = place("[telemetry.dnstap]\nsocket = \"tap.sock\"\n");
    let (socket, file) = (place.folder.path().join("tap.sock"), place.folder.path().join("frames"));
    let (served, log) = place.serve_logged();
    log.line("dnstap does not reach");
    assert_eq!(answers(&ask(served.dns, "a.corp.internal.", "A")), ["a.corp.internal. 60 A 10.0.0.1"]);
    let Some(capture) = Capture::start(&socket, &file) else { return };
    log.line("dnstap goes to");
    ask(served.dns, "b.corp.internal.", "A");
    served.terminate();
    capture.end();
    // What was asked before it came has waited for it.
    let frames = frames(&file);
    for frame in ["aq udp a.corp.internal/in/a", "ar udp b.corp.internal/in/a"] {
        assert!(frames.iter().any(|it| it == frame), "{frame}: {frames:?}");
    }
}

/// Waits until a file has as many lines, and reads them.
fn lines(file: &Path, number: usize) -> Vec<Value> {
    let text = || fs::read_to_string(file).unwrap_or_default();
    wait_until("the lines are written", || text().lines().count() >= number);
    text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What lines say of these.
fn said(lines: &[Value], keys: &[&str]) -> Vec<String> {
    let words = |line: &Value| keys.iter().map(|key| line[key].to_string()).collect::<Vec<_>>().join(" ");
    lines.iter().map(|line| words(line).replace('"', "")).collect()
}

#[test]
fn a_failing_query_can_be_followed_in_the_query_log() {
    let log = "[telemetry.query_log]\nformat = \"json\"\npath = \"queries.log\"\n";
    let (place, upstream, silent) = place(log);
    let served = place.serve();
    let file = place.folder.path().join("queries.log");
    ask(served.dns, "a.corp.internal.", "A");
    ask(served.dns, "www.example.", "A");
    ask_tcp(served.dns, "x.dead.example.", "AAAA");
    let written = lines(&file, 3);
    assert_eq!(
        said(&written, &["transport", "name", "type", "rcode", "path", "upstream"]),
        [
            "udp a.corp.internal. A NOERROR authoritative null".to_owned(),
            format!("udp www.example. A NOERROR forwarded {}", upstream.address),
            "tcp x.dead.example. AAAA SERVFAIL error null".to_owned(),
        ]
    );
    let failing = &written[2];
    assert!(failing["duration_ms"].as_f64().unwrap() > 100.0, "{failing}");
    assert!(failing["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{failing}");
    let [error] = &failing["extended_errors"].as_array().unwrap()[..] else { panic!("{failing}") };
    assert_eq!(error["code"], 22);
    let why = format!("upstream {} times out", silent.local_addr().unwrap());
    assert!(error["text"].as_str().unwrap().starts_with(&why), "{failing}");
}

#[test]
fn the_query_log_is_opened_anew_on_sighup_and_a_reload_changes_what_is_logged() {
    let log = "[telemetry.query_log]\nformat = \"json\"\npath = \"queries.log\"\n";
    let (place, upstream, silent) = place(log);
    let served = place.serve();
    let file = place.folder.path().join("queries.log");
    let renamed: PathBuf = place.folder.path().join("queries.log.1");
    ask(served.dns, "a.corp.internal.", "A");
    assert_eq!(said(&lines(&file, 1), &["name"]), ["a.corp.internal."]);
    fs::rename(&file, &renamed).unwrap();
    ask(served.dns, "b.corp.internal.", "A");
    lines(&renamed, 2);
    served.signal("HUP");
    wait_until("there is a new file", || file.exists());
    ask(served.dns, "c.corp.internal.", "A");
    assert_eq!(said(&lines(&file, 1), &["name"]), ["c.corp.internal."]);
    let filtered = format!("{log}rcodes = [\"NXDOMAIN\"]\nsuffixes = [\"corp.internal\"]\n");
    let beside = place.folder.path().join("new.toml");
    let text = crate::support::served::config(&forwarding(&upstream, &silent, &filtered));
    fs::write(&beside, text).unwrap();
    fs::rename(beside, place.config()).unwrap();
    wait_until("the filter is in force", || {
        ask(served.dns, "d.corp.internal.", "A");
        ask(served.dns, "a.corp.internal.", "A");
        let names = said(&lines(&file, 1), &["name"]);
        names.ends_with(&["d.corp.internal.".to_owned(), "d.corp.internal.".to_owned()])
    });
    served.terminate();
    let names = said(&lines(&file, 3), &["name"]);
    assert_eq!(names.last().unwrap(), "d.corp.internal.");
    assert_eq!(fs::read_to_string(renamed).unwrap().lines().count(), 2);
}

#[test]
fn without_a_path_queries_are_logged_on_standard_output() {
    let (place, _upstream, _silent) = place("[telemetry.query_log]\n");
    let mut serve = command(&["serve", "-c", place.config().to_str().unwrap()]);
    let mut child = serve.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let listening = lines.find(|line| line.starts_with("listening")).unwrap();
    let address = listening.split_whitespace().nth(1).unwrap().parse().unwrap();
    ask(address, "a.corp.internal.", "A");
    let line = lines.find(|line| line.contains("a.corp.internal.") && line.contains(" udp ")).unwrap();
    assert!(line.contains(" udp a.corp.internal. A NOERROR authoritative "), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}
