//! What operators complain about (facts §6) and sync can heal: each from a listing of Azure to answers on sockets.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use privatelink_dns::dns::{Message, Rcode};
use privatelink_dns::sync;
use privatelink_dns::zone::Snapshot;
use serde_json::Value;

use crate::azure::{other_names, published};
use crate::support::client::{answers, ask, ask_from, ask_tcp};
use crate::support::fake_arm::{FIRST, FakeArm, Fault, SECOND, endpoint, resources};
use crate::support::test_daemon::TestDaemon;
use crate::support::upstream::Upstream;

const BLOB: &str = "privatelink.blob.core.windows.net.";
const CONTOSO: &str = "contosodata01.privatelink.blob.core.windows.net.";

/// A config without `[[sync.source]]` is completed with the fake Azure; `sync` has more keys of `[sync]`.
fn config(arm: &FakeArm, upstream: &Upstream, sync: &str, more: &str) -> String {
    let (url, upstream) = (arm.url(), upstream.address);
    format!(
        "[forward]\nupstreams = ['{upstream}']\n[sync]\ninterval_secs = 3600\n{sync}\n{more}\n[[sync.source]]\nkind = 'arm'\n\
         name = 'live'\nendpoint = '{url}'\nauthority = '{url}'\nidentity_endpoint = '{url}'\n"
    )
}

/// A daemon that has published what the fake lists.
fn synced(arm: &FakeArm, upstream: &Upstream, sync: &str, more: &str) -> TestDaemon {
    let daemon = TestDaemon::start(&config(arm, upstream, sync, more), &[]);
    daemon.wait_for(|snapshot| !published(snapshot).is_empty());
    daemon
}

/// SIGUSR1, which all daemons of this process receive.
fn nudge() {
    let status = Command::new("kill").args(["-USR1", &std::process::id().to_string()]).status();
    assert!(status.unwrap().success());
}

/// The data of the answer section, sorted.
fn data(reply: &Message) -> Vec<String> {
    let mut data: Vec<String> =
        answers(reply).iter().map(|it| it.rsplit(' ').next().unwrap().to_owned()).collect();
    data.sort();
    data
}

fn a(daemon: &TestDaemon, name: &str) -> Vec<String> {
    data(&ask(daemon.address, name, "A"))
}

fn has(snapshot: &Snapshot, text: &str) -> bool {
    published(snapshot).iter().any(|line| line.contains(text))
}

/// Knows nothing.
fn nobody() -> Upstream {
    Upstream::start(&[])
}

/// The public's chain of an account of someone else, and what its private name leads to.
fn partners() -> Upstream {
    Upstream::start(&[
        (
            "partner.blob.core.windows.net. A",
            &[
                "partner.blob.core.windows.net. 60 CNAME partner.privatelink.blob.core.windows.net.",
                "partner.privatelink.blob.core.windows.net. 60 CNAME blob.ams01.store.core.windows.net.",
                "blob.ams01.store.core.windows.net. 60 A 20.60.1.1",
            ],
        ),
        (
            "partner.privatelink.blob.core.windows.net. A",
            &[
                "partner.privatelink.blob.core.windows.net. 60 CNAME blob.ams01.store.core.windows.net.",
                "blob.ams01.store.core.windows.net. 60 A 20.60.1.1",
            ],
        ),
        (
            "contosodata01.privatelink.blob.core.windows.net. A",
            &["contosodata01.privatelink.blob.core.windows.net. 60 A 20.60.1.2"],
        ),
        (
            "contosodata01.blob.core.windows.net. A",
            &[
                "contosodata01.blob.core.windows.net. 600 CNAME contosodata01.privatelink.blob.core.windows.net.",
                "contosodata01.privatelink.blob.core.windows.net. 600 A 20.60.1.2",
            ],
        ),
    ])
}

/// Row 1: "A served zone gives NXDOMAIN for resources whose endpoint is elsewhere".
#[test]
fn a_resource_whose_endpoint_is_elsewhere_stays_reachable() {
    let (arm, upstream) = (FakeArm::start(), partners());
    let daemon = synced(&arm, &upstream, "", "");
    assert_eq!(a(&daemon, CONTOSO), ["10.1.0.5"]);
    for name in ["partner.privatelink.blob.core.windows.net.", "partner.blob.core.windows.net."] {
        assert_eq!(
            answers(&ask(daemon.address, name, "A")).last().unwrap().rsplit(' ').next(),
            Some("20.60.1.1")
        );
    }
    let nowhere = ask(daemon.address, "nowhere.privatelink.blob.core.windows.net.", "A");
    assert_eq!(nowhere.rcode, Rcode::NXDOMAIN);
    daemon.stop();
}

/// Row 2: "anyone able to create an endpoint and link a zone can deny a name to a network".
#[test]
fn a_foreign_subscription_cannot_take_a_name_over() {
    let (arm, upstream) = (FakeArm::start(), partners());
    let victim = "contosodata01.blob.core.windows.net";
    let thief =
        endpoint(SECOND, "aaa", "hub", &[(victim, "10.66.6.6"), ("*.blob.core.windows.net", "10.66.6.7")]);
    arm.add(SECOND, other_names);
    arm.replace(SECOND, [vec![thief.clone()], Vec::new()], Vec::new());
    let daemon = synced(&arm, &upstream, &format!("allow_subscriptions = ['{FIRST}']"), "");
    assert_eq!(a(&daemon, CONTOSO), ["10.1.0.5"]);
    // Nor once the owner's is gone.
    arm.replace(FIRST, [Vec::new(), Vec::new()], Vec::new());
    nudge();
    daemon.wait_for(|snapshot| published(snapshot).is_empty());
    assert_eq!(a(&daemon, CONTOSO), ["20.60.1.2"]);
    assert_eq!(a(&daemon, "nobody.privatelink.blob.core.windows.net."), Vec::<String>::new());
    // Without a list the one that was there first keeps the name, whatever the ids are.
    let owner = endpoint(FIRST, "zzz", "hub", &[(victim, "10.1.0.5")]);
    arm.replace(FIRST, [vec![owner], Vec::new()], Vec::new());
    arm.replace(SECOND, [Vec::new(), Vec::new()], Vec::new());
    daemon.configure(&config(&arm, &upstream, "", ""));
    daemon.wait_for(|snapshot| has(snapshot, "zzz"));
    // First seen a second before: claims are known to the second.
    thread::sleep(Duration::from_millis(1001));
    arm.replace(SECOND, [vec![thief], Vec::new()], Vec::new());
    nudge();
    daemon.wait_for(|snapshot| has(snapshot, "aaa"));
    assert_eq!(a(&daemon, CONTOSO), ["10.1.0.5"]);
    assert_eq!(sync::conflicts(&daemon.snapshot()).len(), 1);
    // And no wildcard of an endpoint stands for all names of a zone.
    assert_eq!(ask(daemon.address, "partner.privatelink.blob.core.windows.net.", "A").answer.len(), 2);
    daemon.stop();
}

/// Row 3: "Zones that are linked but empty break Azure Monitor and Arc".
#[test]
fn a_zone_without_records_forwards() {
    let (arm, upstream) = (FakeArm::start(), partners());
    let more = "[private_link]\non_missing = 'nxdomain'\nzones = ['all']\nregions = ['westeurope']";
    let daemon = synced(&arm, &upstream, "", more);
    let partner = "partner.privatelink.blob.core.windows.net.";
    assert_eq!(ask(daemon.address, partner, "A").rcode, Rcode::NXDOMAIN);
    arm.replace(FIRST, [Vec::new(), Vec::new()], Vec::new());
    nudge();
    daemon.wait_for(|snapshot| published(snapshot).is_empty());
    let reply = ask(daemon.address, partner, "A");
    assert_eq!((reply.rcode, reply.answer.len()), (Rcode::NOERROR, 2), "{reply:?}");
    daemon.stop();
}

/// Row 4: "Fallback-to-internet is off by default, settable only per link, refused on some zones".
#[test]
fn fallback_is_one_switch_for_all_zones_and_one_for_each() {
    let (arm, upstream) = (FakeArm::start(), partners());
    let partner = "partner.privatelink.blob.core.windows.net.";
    let daemon = synced(&arm, &upstream, "", "[private_link]\non_missing = 'nxdomain'");
    assert_eq!(ask(daemon.address, partner, "A").rcode, Rcode::NXDOMAIN);
    let zone = "[[zone]]\nname = 'privatelink.blob.core.windows.net'\non_missing = 'ask-public'";
    daemon.configure(&config(
        &arm,
        &upstream,
        "",
        &format!("[private_link]\non_missing = 'nxdomain'\n{zone}"),
    ));
    let apex: privatelink_dns::dns::Name = BLOB.parse().unwrap();
    let asks = privatelink_dns::zone::OnMissing::AskPublic;
    daemon.wait_for(|snapshot| {
        snapshot.zone(apex.borrow()).is_some_and(|zone| zone.header().on_missing == asks)
    });
    assert_eq!(ask(daemon.address, partner, "A").answer.len(), 2);
    assert_eq!(a(&daemon, CONTOSO), ["10.1.0.5"]);
    daemon.stop();
}

/// Row 6: "All PaaS names depend on the link to Azure".
#[test]
fn the_link_to_azure_is_down() {
    let (arm, upstream) = (FakeArm::start(), nobody());
    let local = "[private_link]\npublic_names = 'local'";
    let daemon = synced(&arm, &upstream, "", local);
    let folder = daemon.leave();
    // Nobody listens there any more: neither Azure nor an upstream.
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let path = folder.path().join("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace(&arm.address.to_string(), &nowhere.to_string());
    std::fs::write(&path, text.replace(&upstream.address.to_string(), &nowhere.to_string())).unwrap();
    let daemon = TestDaemon::start_in(folder);
    assert_eq!(a(&daemon, CONTOSO), ["10.1.0.5"]);
    assert_eq!(
        answers(&ask(daemon.address, "contosodata01.blob.core.windows.net.", "A")).last().unwrap(),
        "contosodata01.privatelink.blob.core.windows.net. 10 A 10.1.0.5"
    );
    nudge();
    assert_eq!(data(&ask_tcp(daemon.address, CONTOSO, "A")), ["10.1.0.5"]);
    daemon.stop();
}

/// Row 7: "First private, then public answers out of caches", and the other way round.
#[test]
fn private_then_public_out_of_caches() {
    let (arm, upstream) = (FakeArm::start(), partners());
    let public = "contosodata01.blob.core.windows.net.";
    let all = |last: &[&str]| -> Vec<String> {
        let alias = "contosodata01.privatelink.blob.core.windows.net.";
        let mut all: Vec<String> = last.iter().map(ToString::to_string).chain([alias.to_owned()]).collect();
        all.sort();
        all
    };
    let daemon = synced(&arm, &upstream, "", "");
    for _ in 0..2 {
        assert_eq!(a(&daemon, public), all(&["10.1.0.5"]));
    }
    arm.replace(FIRST, [Vec::new(), Vec::new()], Vec::new());
    nudge();
    daemon.wait_for(|snapshot| published(snapshot).is_empty());
    assert_eq!(a(&daemon, public), all(&["20.60.1.2"]));
    // What the cache holds for ten minutes is private as soon as there is an endpoint again.
    let again = endpoint(FIRST, "again", "hub", &[("contosodata01.blob.core.windows.net", "10.1.0.9")]);
    arm.replace(FIRST, [vec![again], Vec::new()], Vec::new());
    nudge();
    daemon.wait_for(|snapshot| has(snapshot, "again"));
    assert_eq!(a(&daemon, public), all(&["10.1.0.9"]));
    assert_eq!(a(&daemon, CONTOSO), ["10.1.0.9"]);
    daemon.stop();
}

/// Networks of the fixtures' two regions, each for a client address.
fn two_networks(names: [&str; 2], ids: [&str; 2]) -> String {
    let network = |at: usize| {
        format!(
            "[[network]]\nname = '{}'\nclients = ['127.0.0.{}/32']\nvirtual_networks = ['{}']\n",
            names[at],
            at + 2,
            ids[at]
        )
    };
    network(0) + &network(1)
}

fn network_of(endpoint: &Value) -> String {
    let subnet = endpoint["properties"]["subnet"]["id"].as_str().unwrap();
    subnet.split("/subnets/").next().unwrap().to_owned()
}

fn from(daemon: &TestDaemon, client: u8, name: &str) -> Vec<String> {
    data(&ask_from(Ipv4Addr::new(127, 0, 0, client), daemon.address, name, "A"))
}

/// Row 8: "Two endpoints, records overwritten; deleting one deletes both".
#[test]
fn two_endpoints_and_deleting_one_leaves_the_other() {
    let (arm, upstream) = (FakeArm::start(), nobody());
    let endpoints = resources(&["scenario-conflict/private-endpoints-list.json"]);
    let interfaces = resources(&["scenario-conflict/network-interfaces-list.json"]);
    let networks = two_networks(["one", "two"], [&network_of(&endpoints[0]), &network_of(&endpoints[1])]);
    arm.replace(FIRST, [endpoints[..1].to_vec(), endpoints[1..].to_vec()], interfaces.clone());
    let daemon = synced(&arm, &upstream, "", &networks);
    let name = "contososhared01.privatelink.blob.core.windows.net.";
    assert_eq!(from(&daemon, 2, name), ["10.10.1.5"]);
    assert_eq!(from(&daemon, 3, name), ["10.20.1.5"]);
    let everyone = from(&daemon, 1, name);
    assert_eq!(everyone.len(), 1);
    assert_eq!(sync::conflicts(&daemon.snapshot()).len(), 1);
    for (deleted, left) in [(0, "10.20.1.5"), (1, "10.10.1.5")] {
        arm.replace(FIRST, [vec![endpoints[1 - deleted].clone()], Vec::new()], interfaces.clone());
        nudge();
        daemon.wait_for(|snapshot| published(snapshot).len() == 1 && has(snapshot, left));
        for client in [1, 2, 3] {
            assert_eq!(from(&daemon, client, name), [left], "client {client} without endpoint {deleted}");
        }
        arm.replace(FIRST, [endpoints.clone(), Vec::new()], interfaces.clone());
        nudge();
        daemon.wait_for(|snapshot| published(snapshot).len() == 2);
        assert_eq!(from(&daemon, 2, name), ["10.10.1.5"]);
        assert_eq!(from(&daemon, 3, name), ["10.20.1.5"]);
    }
    daemon.stop();
}

/// Row 9: "Stale records after endpoint deletion"; but a listing that has lost too much is not believed.
#[test]
fn stale_records_after_endpoint_deletion() {
    let (arm, upstream) = (FakeArm::start(), nobody());
    let daemon = synced(&arm, &upstream, "", "");
    let account = |number: usize| {
        let fqdn = format!("account{number}.blob.core.windows.net");
        endpoint(FIRST, &format!("pe{number}"), "hub", &[(&fqdn, &format!("10.0.0.{number}"))])
    };
    arm.replace(FIRST, [(1..20).map(account).collect(), (20..41).map(account).collect()], Vec::new());
    nudge();
    daemon.wait_for(|snapshot| published(snapshot).len() == 40);
    // What was deleted in the portal is gone with the next pass, and what was rejected or disconnected too.
    assert_eq!(ask(daemon.address, CONTOSO, "A").rcode, Rcode::NXDOMAIN);
    let mut left: Vec<Value> = (2..41).map(account).collect();
    for (at, status) in [(0, "Disconnected"), (1, "Rejected")] {
        left[at]["properties"]["privateLinkServiceConnections"][0]["properties"]["privateLinkServiceConnectionState"]
            ["status"] = status.into();
    }
    arm.replace(FIRST, [left, Vec::new()], Vec::new());
    nudge();
    daemon.wait_for(|snapshot| published(snapshot).len() == 37);
    for number in 1..4 {
        let reply = ask(daemon.address, &format!("account{number}.{BLOB}"), "A");
        assert_eq!(reply.rcode, Rcode::NXDOMAIN, "{number}");
    }
    // Half of them at once is no ordinary day.
    arm.replace(FIRST, [(4..20).map(account).collect(), Vec::new()], Vec::new());
    // One pass may be under way, and the next has ended when another one begins.
    for _ in 0..3 {
        let before = arm.asked("GET /subscriptions?").len();
        nudge();
        wait(|| arm.asked("GET /subscriptions?").len() > before);
    }
    assert_eq!(published(&daemon.snapshot()).len(), 37);
    assert_eq!(a(&daemon, &format!("account39.{BLOB}")), ["10.0.0.39"]);
    daemon.stop();
}

/// Waits until it is so.
fn wait(is_so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("that did not come");
}

/// Row 10: "Policy-made records come late or miss changes".
#[test]
fn a_name_that_comes_to_an_old_endpoint_is_served_after_one_nudge() {
    let (arm, upstream) = (FakeArm::start(), nobody());
    let names =
        [("cosmos.blob.core.windows.net", "10.0.0.4"), ("cosmos-eastus.blob.core.windows.net", "10.0.0.5")];
    arm.replace(FIRST, [vec![endpoint(FIRST, "pe", "hub", &names[..1])], Vec::new()], Vec::new());
    let daemon = synced(&arm, &upstream, "", "");
    let late = format!("cosmos-eastus.{BLOB}");
    assert_eq!(ask(daemon.address, &late, "A").rcode, Rcode::NXDOMAIN);
    arm.replace(FIRST, [vec![endpoint(FIRST, "pe", "hub", &names)], Vec::new()], Vec::new());
    nudge();
    daemon.wait_for(|snapshot| published(snapshot).len() == 2);
    assert_eq!(a(&daemon, &late), ["10.0.0.5"]);
    // An address that changes too.
    let moved = [names[0], (names[1].0, "10.0.0.77")];
    arm.replace(FIRST, [vec![endpoint(FIRST, "pe", "hub", &moved)], Vec::new()], Vec::new());
    nudge();
    daemon.wait_for(|snapshot| has(snapshot, " 10.0.0.77;"));
    assert_eq!(a(&daemon, &late), ["10.0.0.77"]);
    daemon.stop();
}

/// What a scenario is expected to publish: name and address.
fn expected(scenario: &str) -> Vec<(String, String)> {
    let table = crate::support::fake_arm::fixture("expected-records.csv");
    let rows = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let rows = rows.filter(|row| row[0] == scenario && row[5] == "yes");
    rows.map(|row| (format!("{}.{}.", row[2], row[1]), row[4].to_owned())).collect()
}

/// Row 11: "Backup with own DNS: names unknown, grow over time, no public CNAME".
#[test]
fn backup_names_grow_over_time_and_follow() {
    let (arm, upstream) = (FakeArm::start(), nobody());
    let mut daemon = None;
    for (stage, count) in [("1-after-create", 8), ("2-after-registration", 10), ("3-after-first-backup", 11)]
    {
        let scenario = format!("scenario-backup-v2/{stage}");
        let of = |file: &str| resources(&[&format!("{scenario}/{file}.json")]);
        arm.replace(FIRST, [of("private-endpoint"), Vec::new()], of("network-interface"));
        let daemon = daemon.get_or_insert_with(|| synced(&arm, &upstream, "", ""));
        nudge();
        daemon.wait_for(|snapshot| published(snapshot).len() == count);
        let expected = expected(&scenario);
        assert_eq!(expected.len(), count);
        for (name, address) in expected {
            assert_eq!(a(daemon, &name), [address], "{stage}: {name}");
        }
    }
    daemon.unwrap().stop();
}

/// Row 8 again, as Site Recovery has it: two endpoints of one vault, the same names, and names that come later.
#[test]
fn site_recovery_gives_each_network_its_own_addresses_and_grows_from_five_names_to_seven() {
    let (arm, upstream) = (FakeArm::start(), nobody());
    let of = |stage: &str, file: &str| resources(&[&format!("scenario-site-recovery/{stage}/{file}.json")]);
    let recovery = resources(&["scenario-site-recovery/3-second-endpoint-recovery-vnet.json"]);
    let source = of("1-before-replication", "private-endpoint");
    let networks = two_networks(["source", "recovery"], [&network_of(&source[0]), &network_of(&recovery[0])]);
    arm.replace(FIRST, [source, Vec::new()], of("1-before-replication", "network-interface"));
    let daemon = synced(&arm, &upstream, "", &networks);
    daemon.wait_for(|snapshot| published(snapshot).len() == 5);
    let grown = of("2-after-replication", "private-endpoint");
    arm.replace(FIRST, [grown, recovery], of("2-after-replication", "network-interface"));
    nudge();
    daemon.wait_for(|snapshot| published(snapshot).len() == 14);
    let expected = expected("scenario-site-recovery/2-after-replication");
    assert_eq!(expected.len(), 7);
    for (name, address) in expected {
        assert_eq!(from(&daemon, 2, &name), [address.as_str()], "{name}");
        assert_eq!(from(&daemon, 3, &name), [address.replace("10.0.2.", "10.1.2.")], "{name}");
        assert_eq!(from(&daemon, 1, &name).len(), 1, "{name}");
    }
    daemon.stop();
}

/// Row 12: "Several hubs, subscriptions, regions; overlapping zones".
#[test]
fn several_subscriptions_in_one_view() {
    let (arm, upstream) = (FakeArm::start(), nobody());
    arm.add(SECOND, other_names);
    let daemon = synced(&arm, &upstream, "", "");
    daemon.wait_for(|snapshot| published(snapshot).len() == 6);
    for name in [CONTOSO, "otherdata01.privatelink.blob.core.windows.net."] {
        assert_eq!(a(&daemon, name), ["10.1.0.5"]);
    }
    // One that cannot be seen any more keeps what it had, while the other changes.
    let forbidden = Fault::of_fixture("errors/403-authorization-failed.json");
    arm.fault((FIRST, "privateEndpoints", 2), forbidden, usize::MAX);
    arm.replace(SECOND, [Vec::new(), Vec::new()], Vec::new());
    nudge();
    daemon.wait_for(|snapshot| published(snapshot).len() == 3);
    assert_eq!(a(&daemon, CONTOSO), ["10.1.0.5"]);
    daemon.stop();
}

/// Row 14: "Partial reads served as truth".
#[test]
fn partial_reads_are_never_served_as_truth() {
    const NAMES: usize = 40;
    let (arm, upstream) = (FakeArm::start(), nobody());
    arm.add(SECOND, other_names);
    let accounts = |net: u8, numbers: std::ops::Range<usize>| -> Vec<Value> {
        let account = |number: usize| {
            let fqdn = format!("account{number}.blob.core.windows.net");
            endpoint(FIRST, &format!("pe{number}"), "hub", &[(&fqdn, &format!("10.0.{net}.{number}"))])
        };
        numbers.map(account).collect()
    };
    let all = |net: u8| [accounts(net, 0..NAMES / 2), accounts(net, NAMES / 2..NAMES)];
    arm.replace(FIRST, all(0), Vec::new());
    let daemon = synced(&arm, &upstream, "", "");
    daemon.wait_for(|snapshot| published(snapshot).len() == NAMES + 3);
    // The first page is new, the second does not come: nothing of the first is believed.
    arm.replace(FIRST, all(1), Vec::new());
    arm.fault((FIRST, "privateEndpoints", 2), Fault::page("{\"value\": ["), usize::MAX);
    arm.replace(SECOND, [Vec::new(), Vec::new()], Vec::new());
    nudge();
    daemon.wait_for(|snapshot| published(snapshot).len() == NAMES);
    assert!(published(&daemon.snapshot()).iter().all(|line| line.contains(" 10.0.0.")));
    // Now it comes, slowly. Who asks meanwhile is told the old of all names, and from one moment on the new of all.
    arm.heal();
    arm.slow(Duration::from_millis(10));
    let revision = daemon.snapshot().revision();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let askers: Vec<_> = (0..2)
            .map(|start| {
                let (daemon, ended) = (&daemon, &ended);
                scope.spawn(move || {
                    let (mut turned, mut asked) = (None, 0);
                    let mut last_round = false;
                    for number in (start * 7..).map(|number| number % NAMES) {
                        let told = a(daemon, &format!("account{number}.{BLOB}"));
                        let (old, new) = (format!("10.0.0.{number}"), format!("10.0.1.{number}"));
                        match (told.as_slice(), turned) {
                            ([one], None) if *one == old => {}
                            ([one], _) if *one == new => turned = turned.or(Some(asked)),
                            other => panic!("account{number}: {other:?}"),
                        }
                        asked += 1;
                        if ended.load(Ordering::SeqCst) && number == 0 {
                            if last_round {
                                break;
                            }
                            last_round = true;
                        }
                    }
                    turned.expect("the new was seen")
                })
            })
            .collect();
        nudge();
        daemon.wait_for(|snapshot| has(snapshot, " 10.0.1."));
        ended.store(true, Ordering::SeqCst);
        let turned: Vec<usize> = askers.into_iter().map(|it| it.join().unwrap()).collect();
        assert!(turned.iter().all(|asked| *asked > 0), "both asked before the turn: {turned:?}");
    });
    // One commit for all of it.
    assert_eq!(daemon.snapshot().revision(), revision + 1);
    daemon.stop();
}

/// Row 15: "AAAA mishandled".
#[test]
fn aaaa_of_an_endpoint_with_ipv4_only_is_no_error_and_ipv6_endpoints_have_it() {
    let (arm, upstream) = (FakeArm::start(), nobody());
    let endpoints =
        resources(&["scenario-ipv6/private-endpoint.json", "scenario-storage-blob/private-endpoint.json"]);
    let interfaces =
        resources(&["scenario-ipv6/network-interface.json", "scenario-storage-blob/network-interface.json"]);
    arm.replace(FIRST, [endpoints, Vec::new()], interfaces);
    let daemon = synced(&arm, &upstream, "", "");
    let table = crate::support::fake_arm::fixture("expected-records.csv");
    let row = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let row = row.into_iter().find(|row| row[0] == "scenario-ipv6" && row[3] == "AAAA").unwrap();
    let reply = ask(daemon.address, &format!("{}.{}.", row[2], row[1]), "AAAA");
    assert_eq!(data(&reply), [row[4]]);
    for rtype in ["AAAA", "HTTPS", "TXT"] {
        let reply = ask(daemon.address, CONTOSO, rtype);
        assert_eq!((reply.rcode, reply.answer.len()), (Rcode::NOERROR, 0), "{rtype}");
        assert_eq!(reply.authority[0].owner.to_string(), BLOB, "{rtype}");
    }
    daemon.stop();
}
