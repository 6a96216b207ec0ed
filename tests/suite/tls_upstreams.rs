//! Upstreams over TLS: our own server and Unbound are asked, and what is wrong with one is told in words.

use std::fs;
use std::net::TcpListener;

use privatelink_dns::dns::Name;
use privatelink_dns::forward::UpstreamAddress;
use privatelink_dns::sync::azure::{HostServer, Resolver, ResolverSettings};
use privatelink_dns::tls::Trust;
use rcgen::KeyPair;

use crate::support::client::{PATIENCE, answers, ask};
use crate::support::running::unbound;
use crate::support::served::{Place, command, outcome, wait_until};
use crate::support::skip::skip_outside_ci;
use crate::support::test_daemon::TestDaemon;

const ZONE: &str = "@ 60 IN SOA ns hostmaster 7 3600 300 2419200 60\n@ 60 IN NS ns\na 60 IN A 10.0.0.1\n\
                    b 60 IN A 10.0.0.2\nc 60 IN A 10.0.0.3\n";
const HOLDER: &str =
    "# over TLS\n[forward]\nupstreams = []\n[[zone]]\nname = \"corp.internal\"\nfile = \"corp.zone\"\n";

/// Certificate and key (PEM) for `dns.example`.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["dns.example".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A server of ours that holds `corp.internal` and serves it over TLS.
fn holder(certificate: &str, key: &str) -> TestDaemon {
    TestDaemon::start(HOLDER, &[("corp.zone", ZONE), ("tls.crt", certificate), ("tls.key", key)])
}

/// A place whose server asks an upstream for `corp.internal`, with a certificate as the authority.
fn asker(upstream: &str, certificate: &str) -> Place {
    let place = Place::new(&format!(
        "[forward]\nupstreams = []\nca_file = \"ca.pem\"\n[[forward.rule]]\ndomain = \"corp.internal\"\nupstreams = [\"{upstream}\"]\n"
    ));
    fs::write(place.folder.path().join("ca.pem"), certificate).unwrap();
    place
}

#[test]
fn our_own_server_is_asked_over_tls_and_explain_doctor_and_lists_tell_of_it() {
    let (certificate, key) = pair();
    let holder = holder(&certificate, &key);
    let tls = holder.tls.unwrap();
    let upstream = format!("tls://{tls}#dns.example");
    let place = asker(&upstream, &certificate);
    let served = place.serve();
    assert_eq!(served.dns("a.corp.internal.", "A"), ["a.corp.internal. 60 A 10.0.0.1"]);
    let (status, rule) = served.client.call("GET /forwarders/corp.internal", None);
    let text = rule.to_string();
    let told = &rule["upstreams"][0];
    assert_eq!(
        (status, &told["address"], &told["transport"]),
        (200, &upstream.as_str().into(), &"tls".into())
    );
    let connection = &told["connection"];
    assert_eq!(connection["certificate"]["names"], "dns.example", "{text}");
    assert!(connection["open"] == 1 && connection["handshake_ms"].is_u64(), "{text}");
    assert!(connection["problem"].is_null() && connection["certificate"]["not_after"].is_string(), "{text}");
    let (_, metrics) = served.client.get("/metrics");
    assert!(metrics.contains(&format!("upstream_up{{upstream=\"{upstream}\"}} 1")), "{metrics}");
    // An operator's rule for another name of it, by a wrong name and by a pin.
    let pin = connection["certificate"]["pin"].as_str().unwrap();
    let put = |upstream: &str| place.program(&served, &["forwarders", "put", "corp.internal", upstream]);
    let (code, _, error) = put(&format!("tls://{tls}"));
    assert!(code != 0 && error.contains("who the server must prove to be"), "{error}");
    put(&format!("tls://{tls}#other.example"));
    assert!(served.dns("b.corp.internal.", "A").is_empty());
    let (_, list, _) = place.program(&served, &["forwarders", "list"]);
    assert!(list.contains("its certificate is for dns.example, not for other.example"), "{list}");
    put(&format!("tls://{tls}?pin={pin}"));
    assert_eq!(served.dns("c.corp.internal.", "A"), ["c.corp.internal. 60 A 10.0.0.3"]);
    served.terminate();

    let (_, steps, _) = place.run(&["explain", "a.corp.internal"]);
    assert!(
        steps
            .contains(&format!("transport: {upstream} is asked over TLS alone: certificate for dns.example"))
    );
    assert!(steps.contains("connected in ") && steps.contains("10.0.0.1"), "{steps}");
    let (_, findings, _) = place.run(&["doctor"]);
    assert!(findings.contains(&format!("upstream {upstream} ")), "{findings}");
    let text = fs::read_to_string(place.config()).unwrap();
    fs::write(place.config(), text.replace("#dns.example", "#other.example")).unwrap();
    let (_, findings, _) = place.run(&["doctor"]);
    assert!(findings.contains("its certificate is for dns.example, not for other.example"), "{findings}");
    assert!(findings.contains(&format!("key {pin}")) && findings.contains("forward.ca_file"), "{findings}");
    let (_, steps, _) = place.run(&["explain", "a.corp.internal"]);
    assert!(steps.contains("not for other.example") && steps.contains("SERVFAIL"), "{steps}");
    holder.stop();
}

#[test]
fn connections_stay_where_the_upstream_stays_and_the_authorities_are_read_again_when_they_change() {
    let (certificate, key) = pair();
    let holder = holder(&certificate, &key);
    let upstream = format!("tls://{}#dns.example", holder.tls.unwrap());
    let config = |more: &str| {
        format!(
            "[forward]\nupstreams = []\nca_file = \"ca.pem\"\n[[forward.rule]]\ndomain = \"corp.internal\"\nupstreams = [\"{upstream}\"{more}]\n"
        )
    };
    let asker = TestDaemon::start(&config(""), &[("ca.pem", certificate.as_str())]);
    assert_eq!(answers(&ask(asker.address, "a.corp.internal.", "A")), ["a.corp.internal. 60 A 10.0.0.1"]);
    asker.configure(&config(", \"127.0.0.1:9\""));
    asker.wait_for_serving(|serving| serving.forwarder.health().len() == 2);
    assert_eq!(answers(&ask(asker.address, "b.corp.internal.", "A")), ["b.corp.internal. 60 A 10.0.0.2"]);
    assert_eq!(asker.serving().forwarder.counters.counts().connections_opened, 1);
    // Nothing of a file that cannot be read is taken over.
    asker.write("ca.pem", "nonsense");
    asker.write("ca.pem", &pair().0);
    let mut names = 0..;
    wait_until("others are trusted", || {
        let name = format!("n{}.corp.internal.", names.next().unwrap());
        let reply = ask(asker.address, &name, "A");
        reply.extended_error.is_some_and(|(_, why)| why.contains("unknown issuer"))
    });
    asker.stop();
    holder.stop();
}

#[test]
fn hosts_of_azure_are_looked_up_over_tls_where_upstreams_are_asked_so() {
    let (certificate, key) = pair();
    let holder = holder(&certificate, &key);
    let ca = holder.folder.path().join("tls.crt");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let look_up = |name: &str| {
        let upstream: UpstreamAddress = format!("tls://{}#{name}", holder.tls.unwrap()).parse().unwrap();
        let server = HostServer { socket: upstream.socket(), peer: upstream.peer().cloned() };
        let (rules, trust) = (vec![(Name::root(), vec![server])], Trust::read(&ca).unwrap());
        let resolver = Resolver::of(&ResolverSettings { rules, trust, timeout: PATIENCE }).unwrap();
        runtime
            .block_on(resolver.resolve("a.corp.internal".parse().unwrap()))
            .map(Iterator::collect::<Vec<_>>)
    };
    assert_eq!(look_up("dns.example").unwrap(), ["10.0.0.1:0".parse().unwrap()]);
    assert!(look_up("other.example").is_err());
    holder.stop();
}

#[test]
fn unbound_is_asked_over_tls() {
    let (certificate, key) = pair();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = format!(
        "  interface: 127.0.0.1@{port}\n  tls-port: {port}\n  tls-service-pem: \"{}\"\n  tls-service-key: \"{}\"\n  \
         local-zone: \"corp.internal.\" static\n  local-data: \"a.corp.internal. 60 A 10.0.0.1\"\n",
        file("tls.crt", &certificate),
        file("tls.key", &key)
    );
    let Some((running, _)) = unbound(folder.path(), &server, "") else {
        return skip_outside_ci("unbound is not installed");
    };
    let asker = asker(&format!("tls://127.0.0.1:{port}#dns.example"), &certificate);
    let served = asker.serve();
    assert_eq!(served.dns("a.corp.internal.", "A"), ["a.corp.internal. 60 A 10.0.0.1"]);
    drop(running);
    served.terminate();
}

#[test]
fn a_config_says_what_is_wrong_with_upstreams_over_tls() {
    let place = Place::new("");
    let config = place.config();
    let says = |lines: &str, expected: &str| {
        fs::write(&config, format!("state_dir = \"state\"\n[forward]\n{lines}\n")).unwrap();
        let (code, _, error) = outcome(&mut command(&["check", "-c", config.to_str().unwrap()]));
        assert!(code != 0 && error.contains(expected), "{lines}: {error}");
    };
    says(
        "upstreams = [\"tls://10.1.0.5\"]",
        "config.toml:3: forward.upstreams[0]: `tls://10.1.0.5` does not say who",
    );
    says(
        "upstreams = [\"quic://10.1.0.5#a.example\"]",
        "config.toml:3: forward.upstreams[0]: `quic://10.1.0.5#a.example`",
    );
    says("upstreams = [\"tls://10.1.0.5?pin=sha256:AA\"]", "`sha256:AA` is no pin");
    says("upstreams = []\nca_file = \"missing.pem\"", "config.toml:4: forward.ca_file:");
    let key = KeyPair::generate().unwrap().serialize_pem();
    fs::write(place.folder.path().join("key.pem"), &key).unwrap();
    says("upstreams = []\nca_file = \"key.pem\"", "key.pem holds no PEM certificate");
}
