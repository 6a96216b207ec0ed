//! Zones that the catalogue lacks: told by zone groups, by names, and by config; and what no endpoint can take that way.

use std::path::Path;
use std::process::Command;

use privatelink_dns::admin::{Server, WantedEndpoints};
use privatelink_dns::dns::Rcode;
use serde_json::{Value, json};

use crate::support::client::{answers, ask};
use crate::support::test_daemon::{TestDaemon, write};
use crate::support::upstream::Upstream;

const SUBSCRIPTION: &str = "00000000-0000-4000-8000-0000000000a1";

fn id(name: &str) -> String {
    format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Network/privateEndpoints/{name}"
    )
}

/// An approved endpoint of a service that nobody knows; its interface lists the names.
fn endpoint(name: &str, names: &[(&str, &str)]) -> Vec<Value> {
    let provider = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers");
    let interface = format!("{provider}/Microsoft.Network/networkInterfaces/{name}-nic");
    let configurations = names.iter().map(|(fqdn, address)| {
        json!({"properties": {
            "privateIPAddress": address,
            "privateLinkConnectionProperties": {"groupId": "node", "requiredMemberName": "node", "fqdns": [fqdn]}
        }})
    });
    vec![
        json!({
            "id": id(name), "name": name, "type": "Microsoft.Network/privateEndpoints",
            "properties": {
                "provisioningState": "Succeeded",
                "privateLinkServiceConnections": [{"properties": {
                    "privateLinkServiceId": format!("{provider}/Microsoft.NewService/clusters/{name}"),
                    "groupIds": ["node"],
                    "privateLinkServiceConnectionState": {"status": "Approved"}
                }}],
                "networkInterfaces": [{"id": interface}]
            }
        }),
        json!({
            "id": interface, "name": format!("{name}-nic"), "type": "Microsoft.Network/networkInterfaces",
            "properties": {
                "privateEndpoint": {"id": id(name)},
                "ipConfigurations": configurations.collect::<Vec<_>>()
            }
        }),
    ]
}

/// The same with a zone group that has one record.
fn grouped(name: &str, zone: &str, record: &str, address: &str) -> Vec<Value> {
    let dns = "/subscriptions/s/resourceGroups/dns/providers/Microsoft.Network/privateDnsZones";
    let mut resources = endpoint(name, &[]);
    resources.push(json!({
        "id": format!("{}/privateDnsZoneGroups/default", id(name)), "name": "default",
        "type": "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
        "properties": {"privateDnsZoneConfigs": [{"properties": {
            "privateDnsZoneId": format!("{dns}/{zone}"),
            "recordSets": [{"recordType": "A", "recordSetName": record, "ipAddresses": [address]}]
        }}]}
    }));
    resources
}

fn listed(endpoints: &[Vec<Value>]) -> String {
    json!({"value": endpoints.concat()}).to_string()
}

const SOURCE: &str = "[[sync.source]]\nkind = 'directory'\nname = 'dir'\npath = 'inventory'\n";

fn config(upstream: &Upstream, more: &str) -> String {
    format!("[forward]\nupstreams = ['{}']\n{more}\n{SOURCE}", upstream.address)
}

/// A daemon that has read these endpoints.
fn served(upstream: &Upstream, more: &str, endpoints: &[Vec<Value>]) -> TestDaemon {
    let files = [("inventory/all.json", &*listed(endpoints)), ("partner.zone", PARTNER)];
    TestDaemon::start(&config(upstream, more), &files)
}

const PARTNER: &str = "@ 60 SOA ns host 1 1 1 1 60\nwww 60 A 10.9.9.9\n";

fn a(daemon: &TestDaemon, name: &str) -> Vec<String> {
    answers(&ask(daemon.address, name, "A"))
}

/// What runs of the program print, with its exit status.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_privatelink-dns"));
    command.args(arguments).args(["-c", "config.toml"]).current_dir(folder);
    let output = command.env_remove("PRIVATELINK_DNS_CONFIG").env_remove("RUST_LOG").output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// The zones that the server says the catalogue lacks.
fn derived(daemon: &TestDaemon) -> Vec<String> {
    daemon.ports.sync().sources.remove(0).derived_zones
}

const HSM: &str = "hsm1.contoso-ab12cd.privatelink.newservice.azure.net.";
const CLUSTER: &str = "c1-dns.privatelink.usgovvirginia.cx.newk8s.azure.us.";

fn two() -> [Vec<Value>; 2] {
    [
        grouped("pe-hsm", "privatelink.newservice.azure.net", "hsm1.contoso-ab12cd", "10.1.0.1"),
        endpoint("pe-k8s", &[(CLUSTER.trim_end_matches('.'), "10.1.0.2")]),
    ]
}

#[test]
fn zones_that_groups_and_names_tell_are_served_listed_and_spliced() {
    let public = "hsm1.contoso-ab12cd.newservice.azure.net.";
    let alias = format!("{public} 60 CNAME {HSM}");
    let upstream = Upstream::start(&[
        (&format!("{public} A"), &[&alias, &format!("{HSM} 60 A 20.1.1.1")]),
        (
            "other.privatelink.newservice.azure.net. A",
            &["other.privatelink.newservice.azure.net. 60 A 20.1.1.2"],
        ),
    ]);
    let daemon = served(&upstream, "", &two());
    assert_eq!(a(&daemon, HSM), [format!("{HSM} 10 A 10.1.0.1")]);
    assert_eq!(a(&daemon, CLUSTER), [format!("{CLUSTER} 10 A 10.1.0.2")]);
    assert_eq!(a(&daemon, public), [alias, format!("{HSM} 10 A 10.1.0.1")]);
    // Those of other tenants stay reachable.
    let other = "other.privatelink.newservice.azure.net.";
    assert_eq!(a(&daemon, other), [format!("{other} 60 A 20.1.1.2")]);
    let zones = ["privatelink.newservice.azure.net.", "privatelink.usgovvirginia.cx.newk8s.azure.us."];
    assert_eq!(derived(&daemon), zones);
    let folder = daemon.leave();
    let (code, out) = run(folder.path(), &["check"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains(&format!("2 zones that the catalogue lacks: {}", zones.join(", "))), "{out}");
    let (_, out) = run(folder.path(), &["doctor", "--offline"]);
    assert!(
        out.contains("publishes into 2 zones that the catalogue lacks") && !out.contains("FAIL"),
        "{out}"
    );
    // After a restart without its inventory too.
    write(folder.path(), "inventory/all.json", "{");
    let daemon = TestDaemon::start_in(folder);
    assert_eq!(a(&daemon, HSM), [format!("{HSM} 10 A 10.1.0.1")]);
    assert_eq!(derived(&daemon), zones);
    daemon.stop();
}

/// What each of these endpoints claims is not served, whatever else is.
#[test]
fn no_endpoint_takes_a_name_that_is_not_azures() {
    let login = "login.microsoftonline.com.";
    let partner = "www.partner.example.";
    let upstream = Upstream::start(&[
        ("login.microsoftonline.com. A", &["login.microsoftonline.com. 60 A 20.2.2.2"]),
        ("www.privatelink.example. A", &["www.privatelink.example. 60 A 20.2.2.3"]),
        ("new.example.org. A", &["new.example.org. 60 A 20.2.2.4"]),
    ]);
    let evil = "10.66.6.6";
    let thieves = [
        // Names that endpoints list, without the label.
        endpoint("list", &[("login.microsoftonline.com", evil), ("www.partner.example", evil)]),
        // Zones of zone groups, without the label.
        grouped("group", "microsoftonline.com", "login", evil),
        grouped("apex", "login.microsoftonline.com", "@", evil),
        grouped("other", "example.org", "new", evil),
        // A domain that anybody can register.
        grouped("domain", "privatelink.example", "www", evil),
        endpoint("domain-by-name", &[("www.privatelink.example", evil)]),
        // An operator's own zone, one that lies in it, and one with the label.
        grouped("partner", "partner.example", "www", evil),
        grouped("within", "privatelink.sub.partner.example", "www", evil),
        grouped("marked", "privatelink.own.example", "www", evil),
        endpoint("marked-by-name", &[("api.privatelink.own.example", evil)]),
        // Everybody's names.
        grouped("all", "privatelink.newservice.azure.net", "*", evil),
        grouped("all-below", "*.privatelink.blob.core.windows.net", "@", evil),
        endpoint("all-by-name", &[("*.privatelink.newservice.azure.net", evil)]),
        // A zone below one that others publish into, which would outrank it.
        grouped("zz-nested", "hsm1.contoso-ab12cd.privatelink.newservice.azure.net", "@", evil),
        grouped("zz-below", "victim.privatelink.blob.core.windows.net", "@", evil),
        endpoint("victim", &[("victim.blob.core.windows.net", "10.1.0.9")]),
    ];
    let zones = "[private_link]\nprefer = ['pe-hsm', 'victim']\n[[zone]]\nname = 'partner.example'\nfile = 'partner.zone'\n\
        [[zone]]\nname = 'privatelink.own.example'\nfile = 'partner.zone'";
    let zones = zones.replace("'pe-hsm'", &format!("'{}'", id("pe-hsm")));
    let zones = zones.replace("'victim'", &format!("'{}'", id("victim")));
    let daemon = served(&upstream, &zones, &[&two()[..], &thieves].concat());
    assert_eq!(a(&daemon, login), [format!("{login} 60 A 20.2.2.2")]);
    assert_eq!(a(&daemon, partner), [format!("{partner} 60 A 10.9.9.9")]);
    assert_eq!(a(&daemon, "new.example.org."), ["new.example.org. 60 A 20.2.2.4"]);
    assert_eq!(a(&daemon, "www.privatelink.example."), ["www.privatelink.example. 60 A 20.2.2.3"]);
    assert_eq!(a(&daemon, "www.privatelink.own.example."), ["www.privatelink.own.example. 60 A 10.9.9.9"]);
    for name in [
        "api.privatelink.own.example.",
        "www.privatelink.sub.partner.example.",
        "anything.privatelink.newservice.azure.net.",
        "anything.privatelink.blob.core.windows.net.",
    ] {
        let reply = ask(daemon.address, name, "A");
        assert_eq!((reply.rcode, answers(&reply)), (Rcode::NXDOMAIN, vec![]), "{name}");
    }
    // The preferred claim is served: all of them are claims to one name of one zone.
    assert_eq!(a(&daemon, HSM), [format!("{HSM} 10 A 10.1.0.1")]);
    let victim = "victim.privatelink.blob.core.windows.net.";
    assert_eq!(a(&daemon, victim), [format!("{victim} 10 A 10.1.0.9")]);
    let zones = ["privatelink.newservice.azure.net.", "privatelink.usgovvirginia.cx.newk8s.azure.us."];
    assert_eq!(derived(&daemon), zones);
    // Nor does a hosts file have it.
    let folder = daemon.leave();
    let (_, hosts) = run(folder.path(), &["hosts"]);
    assert!(hosts.contains("10.1.0.1") && !hosts.contains("66.6.6"), "{hosts}");
}

/// A public name is the endpoint's only where the catalogue or config says so.
#[test]
fn a_derived_zone_gives_no_public_name_away() {
    let login = "login.microsoftonline.com.";
    let thief = || {
        let mut thief = grouped("pe", "privatelink.microsoftonline.com", "login", "10.66.6.6");
        let named = endpoint("pe", &[("login.microsoftonline.com", "10.66.6.6")]);
        thief[1] = named[1].clone();
        [thief]
    };
    let upstream = Upstream::start(&[(&format!("{login} A"), &[&format!("{login} 60 A 20.2.2.2")])]);
    for public_names in ["splice", "local"] {
        let settings = format!("[private_link]\npublic_names = '{public_names}'");
        let daemon = served(&upstream, &settings, &thief());
        assert_eq!(a(&daemon, login), [format!("{login} 60 A 20.2.2.2")]);
        assert_eq!(derived(&daemon), ["privatelink.microsoftonline.com."]);
        let folder = daemon.leave();
        let (_, hosts) = run(folder.path(), &["hosts"]);
        assert!(!hosts.contains(" login.microsoftonline.com"), "{hosts}");
        // Upstream is down.
        let text = std::fs::read_to_string(folder.path().join("config.toml")).unwrap();
        let upstream = format!("'{}'", upstream.address);
        write(folder.path(), "config.toml", &text.replace(&upstream, ""));
        let daemon = TestDaemon::start_in(folder);
        let reply = ask(daemon.address, login, "A");
        assert_eq!((reply.rcode, answers(&reply)), (Rcode::SERVFAIL, vec![]));
        daemon.stop();
    }
}

#[test]
fn selected_zones_and_allowed_subscriptions_hold_for_derived_zones_too() {
    let upstream = Upstream::start(&[]);
    let zones = |zones: &str| format!("[private_link]\nzones = [{zones}]");
    let new = ["privatelink.newservice.azure.net."];
    let named = "[private_link]\nzones = ['blob']\n[[zone]]\nname = 'privatelink.newservice.azure.net'\non_missing = 'nxdomain'";
    for (settings, served_zones) in [
        (zones("'blob'"), &[][..]),
        (zones("'blob', 'privatelink.newservice.azure.net'"), &new[..]),
        (named.to_owned(), &new[..]),
        (format!("[sync]\nallow_subscriptions = ['{}']", SUBSCRIPTION.replace("a1", "a2")), &[][..]),
    ] {
        let daemon = served(&upstream, &settings, &two());
        assert_eq!(derived(&daemon), served_zones, "{settings}");
        assert_eq!(a(&daemon, HSM).len(), served_zones.len(), "{settings}");
        daemon.stop();
    }
}

/// The lines in what a command prints, as they are pasted.
fn lines_of(out: &str) -> String {
    let lines = out.lines().skip_while(|line| !line.trim().ends_with("[[private_link.service]]"));
    lines.take(4).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_lines_of_check_doctor_and_the_api_have_the_name_published() {
    let upstream = Upstream::start(&[]);
    let unknown = || {
        [
            endpoint("pe-new", &[("hsm1.newservice.azure.net", "10.1.0.1")]),
            grouped("pe-own", "corp.contoso.example", "hsm2", "10.1.0.2"),
        ]
    };
    let (first, second) = ("hsm1.privatelink.newservice.azure.net.", "hsm2.corp.contoso.example.");
    let daemon = served(&upstream, "", &unknown());
    assert!(a(&daemon, first).is_empty() && a(&daemon, second).is_empty());
    let all = WantedEndpoints {
        name: None,
        state: None,
        subscription: None,
        source: None,
        published: None,
        after: None,
        limit: 100,
    };
    let reports = daemon.ports.endpoints(&all);
    let details = reports.iter().flat_map(|it| &it.names).map(|it| it.why_not.clone().unwrap().detail);
    let of_api: Vec<String> = details.map(|detail| lines_of(&detail)).collect();
    let folder = daemon.leave();
    let (code, doctor) = run(folder.path(), &["doctor", "--offline"]);
    assert_eq!(code, 1, "{doctor}");
    let of_doctor: Vec<String> =
        doctor.split("FAIL").skip(1).map(lines_of).filter(|lines| !lines.is_empty()).collect();
    let (_, check) = run(folder.path(), &["check"]);
    let of_check: Vec<String> =
        check.split("→").skip(1).map(lines_of).filter(|lines| !lines.is_empty()).collect();
    let before = std::fs::read_to_string(folder.path().join("config.toml")).unwrap();
    for lines in [of_api, of_doctor, of_check] {
        assert_eq!(lines.len(), 2, "{lines:?}");
        write(folder.path(), "config.toml", &(before.clone() + &lines.concat()));
        let (code, out) = run(folder.path(), &["check"]);
        assert!(code == 0 && !out.contains("no zone is known"), "{out}");
        let (_, hosts) = run(folder.path(), &["hosts"]);
        assert!(hosts.contains("10.1.0.1 hsm1.newservice.azure.net\n"), "{hosts}");
        assert!(hosts.contains("10.1.0.2 hsm2.corp.contoso.example\n"), "{hosts}");
    }
    let daemon = TestDaemon::start_in(folder);
    assert_eq!(a(&daemon, first), [format!("{first} 10 A 10.1.0.1")]);
    assert_eq!(a(&daemon, second), [format!("{second} 10 A 10.1.0.2")]);
    // And now upstream, which knows nothing, is not needed.
    assert_eq!(derived(&daemon), [""; 0]);
    daemon.stop();
}
