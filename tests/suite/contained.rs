//! The program as it is in a container: without capabilities, and with nothing to be gained by exec.

use std::fs;
use std::process::Command;

use crate::support::served::{NOTHING, Place, Served, command, config, outcome};
use crate::support::skip::{skip, skip_outside_ci};
use crate::support::test_daemon::write;

/// Namespaces as container engines make them, with no capability left (unshare(1), setpriv(1)).
const CONTAINER: &str = "ip link set lo up
echo \"$PORTS_FROM\" > /proc/sys/net/ipv4/ip_unprivileged_port_start
exec setpriv --bounding-set -all --inh-caps -all --no-new-privs \"$@\"";

/// A command within, where ports from this one on are everybody's.
fn within(ports_from: &str, program: &Command) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--net", "sh", "-ec", CONTAINER, "sh"]);
    unshare.arg(program.get_program()).args(program.get_args());
    unshare.env("PORTS_FROM", ports_from).env_remove("RUST_LOG");
    unshare
}

/// Whether there can be such a place here.
fn can_contain() -> bool {
    match within("0", &Command::new("true")).output() {
        Ok(out) if out.status.success() => true,
        Ok(out) => {
            let why = String::from_utf8_lossy(&out.stderr);
            skip(format!("no namespaces can be made here: {}", why.trim()));
            false
        }
        Err(error) => {
            skip(format!("unshare is not installed (util-linux): {error}"));
            false
        }
    }
}

/// A program beside a server; its output, and what it complains of.
fn beside(served: &Served, program: &[&str]) -> (String, String) {
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--target", &served.id().to_string(), "--user", "--net", "--preserve-credentials"]);
    let (_, out, error) = outcome(nsenter.args(program));
    (out, error)
}

/// What a server says of `localhost`, mostly 127.0.0.1; `None` where there is no dig.
fn dig(served: &Served, address: &str, transport: &str) -> Option<String> {
    let at = format!("@{address}");
    let (out, error) = beside(served, &["dig", &at, transport, "+short", "+tries=1", "localhost", "A"]);
    if error.contains("failed to execute dig") {
        skip_outside_ci("dig is not installed (Debian: bind9-dnsutils)");
        return None;
    }
    assert_eq!(error, "");
    Some(out)
}

fn place() -> Place {
    let place = Place::new("");
    let text = config(NOTHING).replacen("127.0.0.1:0", "127.0.0.1:53", 1);
    fs::write(place.config(), text).unwrap();
    place
}

#[test]
fn port_53_is_served_without_any_capability_where_the_engine_opens_low_ports() {
    if !can_contain() {
        return;
    }
    let place = place();
    let served = place.serve_by(within("0", &command(&["serve", "-c", place.config().to_str().unwrap()])));
    let id = served.id().to_string();
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    for line in [
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.contains(line), "{line} is not in {status}");
    }
    for transport in ["+notcp", "+tcp"] {
        let Some(answer) = dig(&served, "127.0.0.1", transport) else { return };
        assert_eq!(answer, "127.0.0.1\n");
    }
    let log = served.terminate();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn where_the_engine_does_not_open_them_the_error_names_the_sysctl() {
    if !can_contain() {
        return;
    }
    let place = place();
    let serve = command(&["serve", "-c", place.config().to_str().unwrap()]);
    let (code, _, error) = outcome(&mut within("1024", &serve));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("in a container the sysctl `net.ipv4.ip_unprivileged_port_start=0`"), "{error}");
}

#[test]
fn an_address_that_comes_later_is_served_from_then_on() {
    if !can_contain() {
        return;
    }
    let place = place();
    let serve = within("0", &command(&["serve", "-c", place.config().to_str().unwrap()]));
    let (served, log) = place.serve_logged_by(&serve);
    let Some(now) = dig(&served, "127.0.0.1", "+notcp") else { return };
    assert_eq!(now, "127.0.0.1\n");
    let both = config(NOTHING).replacen("\"127.0.0.1:0\"", "\"127.0.0.1:53\", \"10.99.0.1:53\"", 1);
    write(place.folder.path(), "config.toml", &both);
    let line = log.line("10.99.0.1:53 (UDP) is no address of this host");
    assert!(line.contains("`listen.freebind = true`"), "{line}");
    write(place.folder.path(), "config.toml", &both.replacen("[listen]", "[listen]\nfreebind = true", 1));
    log.line("Reloaded");
    let (_, error) = beside(&served, &["ip", "address", "add", "10.99.0.1/32", "dev", "lo"]);
    assert_eq!(error, "");
    assert_eq!(dig(&served, "10.99.0.1", "+notcp").unwrap(), "127.0.0.1\n");
    assert_eq!(dig(&served, "10.99.0.1", "+tcp").unwrap(), "127.0.0.1\n");
}
