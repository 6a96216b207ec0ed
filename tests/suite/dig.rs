//! Answers as dig and kdig read them, over UDP and TCP.

use std::net::SocketAddr;
use std::process::Command;

use crate::support::skip::skip_outside_ci;
use crate::support::test_daemon::TestDaemon;
use crate::support::upstream::Upstream;

const ZONE: &str = r#"
@       3600 IN SOA ns hostmaster 7 3600 300 2419200 60
@       3600 IN NS ns
ns      3600 IN A 10.0.0.53
a         60 IN A 10.0.0.1
a         60 IN AAAA fd00::1
alias     60 IN CNAME a
text      60 IN TXT "one two" "three"
mail      60 IN MX 10 a
_sip._tcp 60 IN SRV 0 5 5060 a
web       60 IN HTTPS 1 . alpn=h2,h3 ipv4hint=10.0.0.1
ca        60 IN CAA 0 issue "example.net"
odd       60 IN TYPE65280 \# 3 abcdef
*.wild    60 IN A 10.0.0.9
sub       60 IN NS ns.sub
ns.sub    60 IN A 10.0.0.54
"#;

/// Runs a client; `None`, and a word on it, where it is not installed. In CI it must be.
fn run(program: &str, server: SocketAddr, arguments: &[&str]) -> Option<String> {
    let port = server.port().to_string();
    let address = format!("@{}", server.ip());
    let output = Command::new(program).args([&address, "-p", &port]).args(arguments).output();
    match output {
        Ok(output) => {
            assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
            Some(String::from_utf8(output.stdout).expect("it prints text"))
        }
        Err(error) => {
            skip_outside_ci(format!("{program} is not installed: {error}"));
            None
        }
    }
}

fn daemon() -> TestDaemon {
    TestDaemon::start(
        "[forward]\nupstreams = []\n[[zone]]\nname = \"corp.internal\"\nfile = \"corp.zone\"\n",
        &[("corp.zone", ZONE)],
    )
}

#[test]
fn dig_and_kdig_read_every_type() {
    let daemon = daemon();
    for (question, expected) in [
        ("a A", "10.0.0.1"),
        ("a AAAA", "fd00::1"),
        ("alias A", "a.corp.internal.\n10.0.0.1"),
        ("text TXT", "\"one two\" \"three\""),
        ("mail MX", "10 a.corp.internal."),
        ("_sip._tcp SRV", "0 5 5060 a.corp.internal."),
        ("web HTTPS", "1 . alpn=\"h2,h3\" ipv4hint=10.0.0.1"),
        ("ca CAA", "0 issue \"example.net\""),
        ("odd TYPE65280", "\\# 3 ABCDEF"),
        ("x.wild A", "10.0.0.9"),
    ] {
        let (owner, rtype) = question.split_once(' ').unwrap();
        let name = format!("{owner}.corp.internal.");
        for program in ["dig", "kdig"] {
            for transport in ["+notcp", "+tcp"] {
                let Some(text) = run(program, daemon.address, &[&name, rtype, "+short", transport]) else {
                    continue;
                };
                // kdig writes lists without quotes.
                let plain = |text: &str| text.trim().replace("alpn=\"h2,h3\"", "alpn=h2,h3").to_lowercase();
                assert_eq!(plain(&text), plain(expected), "{program} {question} {transport}");
            }
        }
    }
    daemon.stop();
}

#[test]
fn dig_sees_flags_codes_cookies_and_referrals() {
    let daemon = daemon();
    let ask = |arguments: &[&str]| run("dig", daemon.address, arguments);
    let Some(missing) = ask(&["nowhere.corp.internal.", "A"]) else { return daemon.stop() };
    assert!(missing.contains("status: NXDOMAIN") && missing.contains("flags: qr aa rd ra;"), "{missing}");
    assert!(missing.contains("(good)"), "dig checks the cookie: {missing}");
    assert!(missing.contains("corp.internal.\t\t60\tIN\tSOA"), "{missing}");
    let referral = ask(&["x.sub.corp.internal.", "A"]).unwrap();
    assert!(referral.contains("ns.sub.corp.internal.\t60\tIN\tA\t10.0.0.54"), "{referral}");
    assert!(!referral.contains("flags: qr aa"), "{referral}");
    let no_recursion = ask(&["www.example.", "A", "+norecurse"]).unwrap();
    assert!(no_recursion.contains("status: REFUSED"), "{no_recursion}");
    let version = ask(&["a.corp.internal.", "A", "+edns=1", "+noednsneg"]).unwrap();
    assert!(version.contains("status: BADVERS"), "{version}");
    let chaos = ask(&["version.bind.", "TXT", "CH"]).unwrap();
    assert!(chaos.contains("status: REFUSED"), "{chaos}");
    daemon.stop();
}

#[test]
fn nsupdate_is_told_that_updates_are_not_served() {
    let daemon = daemon();
    let script = daemon.folder.path().join("update");
    let text = format!(
        "server {} {}\nzone corp.internal.\nupdate add new.corp.internal. 60 A 10.0.0.7\nsend\n",
        daemon.address.ip(),
        daemon.address.port()
    );
    std::fs::write(&script, text).unwrap();
    match Command::new("nsupdate").arg(&script).output() {
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && told.contains("NOTIMP"), "{output:?}");
        }
        Err(error) => skip_outside_ci(format!("nsupdate is not installed: {error}")),
    }
    daemon.stop();
}

#[test]
fn dig_sees_a_spliced_answer_from_a_real_upstream() {
    let upstream = Upstream::start(&[(
        "app.blob.core.windows.net. A",
        &[
            "app.blob.core.windows.net. 300 CNAME app.privatelink.blob.core.windows.net.",
            "app.privatelink.blob.core.windows.net. 300 CNAME blob.cluster.store.core.windows.net.",
            "blob.cluster.store.core.windows.net. 300 A 20.60.1.1",
        ],
    )]);
    let zone = "@ 3600 SOA ns host 1 1 1 1 10\napp 10 A 10.1.2.3\n";
    let config = format!(
        "[forward]\nupstreams = [\"{}\"]\n[[zone]]\nname = \"privatelink.blob.core.windows.net\"\nfile = \"blob.zone\"\n",
        upstream.address
    );
    let daemon = TestDaemon::start(&config, &[("blob.zone", zone)]);
    for transport in ["+notcp", "+tcp"] {
        let arguments = ["app.blob.core.windows.net.", "A", "+short", transport];
        let Some(text) = run("dig", daemon.address, &arguments) else { break };
        assert_eq!(text.trim(), "app.privatelink.blob.core.windows.net.\n10.1.2.3");
    }
    daemon.stop();
}
