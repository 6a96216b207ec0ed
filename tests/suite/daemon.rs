//! The real daemon on real sockets: answers, reloads, inventories that change, upstreams.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use privatelink_dns::config::Config;
use privatelink_dns::daemon::Parts;
use privatelink_dns::dns::{Flags, Rcode};
use privatelink_dns::sources::SourceState;
use privatelink_dns::zone::Snapshot;

use crate::support::client::{answers, ask, ask_from, ask_tcp};
use crate::support::test_daemon::TestDaemon;
use crate::support::upstream::Upstream;

const APP: &str = "app.blob.core.windows.net.";
const APP_PRIVATE: &str = "app.privatelink.blob.core.windows.net.";

/// One approved or pending blob endpoint, as `az network private-endpoint list` prints it.
fn endpoint(status: &str, address: &str) -> String {
    format!(
        r#"[{{"id": "/subscriptions/s1/resourceGroups/rg/providers/Microsoft.Network/privateEndpoints/pe-app",
            "name": "pe-app", "type": "Microsoft.Network/privateEndpoints", "provisioningState": "Succeeded",
            "subnet": {{"id": "/subscriptions/s1/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/hub/subnets/pe"}},
            "manualPrivateLinkServiceConnections": [],
            "privateLinkServiceConnections": [{{
                "privateLinkServiceId": "/subscriptions/s1/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/app",
                "groupIds": ["blob"], "privateLinkServiceConnectionState": {{"status": "{status}"}}}}],
            "customDnsConfigs": [{{"fqdn": "app.blob.core.windows.net", "ipAddresses": ["{address}"]}}],
            "networkInterfaces": []}}]"#
    )
}

fn config(upstream: &Upstream) -> String {
    format!(
        "[forward]\nupstreams = [\"{}\"]\n[[sync.source]]\nkind = \"directory\"\npath = \"inventory\"\n",
        upstream.address
    )
}

fn public_upstream() -> Upstream {
    const CHAIN: [&str; 3] = [
        "app.blob.core.windows.net. 300 CNAME app.privatelink.blob.core.windows.net.",
        "app.privatelink.blob.core.windows.net. 300 CNAME blob.cluster.store.core.windows.net.",
        "blob.cluster.store.core.windows.net. 300 A 20.60.1.1",
    ];
    Upstream::start(&[
        ("app.blob.core.windows.net. A", &CHAIN),
        ("www.example. A", &["www.example. 60 A 192.0.2.1"]),
    ])
}

fn serves_app(snapshot: &Snapshot) -> bool {
    let zone = "privatelink.blob.core.windows.net.".parse::<privatelink_dns::dns::Name>().unwrap();
    let name = APP_PRIVATE.parse::<privatelink_dns::dns::Name>().unwrap();
    snapshot.zone(zone.borrow()).is_some_and(|zone| zone.node(name.borrow()).is_some())
}

#[test]
fn a_cached_public_answer_turns_private_when_the_endpoint_is_approved_and_back_when_it_is_withdrawn() {
    let upstream = public_upstream();
    let pending = endpoint("Pending", "10.1.2.3");
    let daemon = TestDaemon::start(&config(&upstream), &[("inventory/pe.json", &pending)]);
    let public = ask(daemon.address, APP, "A");
    assert_eq!(
        public.answer.last().unwrap().to_string(),
        "blob.cluster.store.core.windows.net. 300 A 20.60.1.1"
    );
    assert_eq!(public.extended_error, Some((0, "private endpoint pe-app is Pending".to_owned())));

    daemon.write("inventory/pe.json", &endpoint("Approved", "10.1.2.3"));
    daemon.wait_for(serves_app);
    for reply in [ask(daemon.address, APP, "A"), ask_tcp(daemon.address, APP, "A")] {
        assert_eq!(
            answers(&reply)[1..],
            ["app.privatelink.blob.core.windows.net. 10 A 10.1.2.3".to_owned()],
            "{reply:?}"
        );
        assert!(!reply.flags.has(Flags::AA));
    }

    daemon.write("inventory/pe.json", &endpoint("Rejected", "10.1.2.3"));
    daemon.wait_for(|snapshot| !serves_app(snapshot));
    let public = ask(daemon.address, APP, "A");
    assert_eq!(public.answer.len(), 3);
    // All along the answer was in the cache.
    assert_eq!(upstream.asked(), 1);
    daemon.stop();
}

#[test]
fn a_broken_inventory_leaves_the_last_good_one_in_force() {
    let upstream = public_upstream();
    let approved = endpoint("Approved", "10.1.2.3");
    let daemon = TestDaemon::start(&config(&upstream), &[("inventory/pe.json", &approved)]);
    daemon.write("inventory/pe.json", &approved[..approved.len() / 2]);
    // A second good file beside the broken one must not be taken in alone; then both are good.
    daemon.write("inventory/other.json", "{\"value\": []}");
    assert_eq!(answers(&ask(daemon.address, APP_PRIVATE, "A")), [format!("{APP_PRIVATE} 10 A 10.1.2.3")]);
    daemon.write("inventory/pe.json", &endpoint("Approved", "10.1.2.4"));
    daemon.wait_for(|snapshot| snapshot.revision() > 2 && serves_app(snapshot));
    assert_eq!(answers(&ask(daemon.address, APP_PRIVATE, "A")), [format!("{APP_PRIVATE} 10 A 10.1.2.4")]);
    daemon.stop();
}

#[test]
fn why_an_inventory_is_stale_is_told_with_its_place_and_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("inventory/pe.json");
    std::fs::create_dir(broken.parent().unwrap()).unwrap();
    std::fs::write(&broken, "[{\n").unwrap();
    let config = folder.path().join("config.toml");
    let source = "[[sync.source]]\nkind = \"directory\"\npath = \"inventory\"\n";
    std::fs::write(&config, format!("[forward]\nupstreams = []\n{source}")).unwrap();
    let config = Config::load(&config).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let parts = runtime.block_on(async { Parts::load(&config).unwrap() });
    let SourceState::Stale { why, .. } = &parts.sources.list()[0].known().state else {
        panic!("it is broken")
    };
    let (place, cause) = why.split_once(": ").unwrap();
    assert!(place.starts_with(&format!("{}:2:", broken.display())), "{why}");
    assert!(cause.contains("EOF"), "{why}");
}

const ZONE: &str = "@ 60 SOA ns host 1 60 60 60 60\nwww 60 A 10.9.9.";
const ZONE_CONFIG: &str =
    "[forward]\nupstreams = []\n[[zone]]\nname = \"corp.internal\"\nfile = \"corp.zone\"\n";

fn www(snapshot: &Snapshot) -> String {
    let zone = "corp.internal.".parse::<privatelink_dns::dns::Name>().unwrap();
    let name = "www.corp.internal.".parse::<privatelink_dns::dns::Name>().unwrap();
    let zone = snapshot.zone(zone.borrow()).expect("the zone is there");
    format!("{:?}", zone.node(name.borrow()).expect("the name is there").slots())
}

#[test]
fn a_zone_file_is_read_again_and_a_bad_one_changes_nothing() {
    let daemon = TestDaemon::start(ZONE_CONFIG, &[("corp.zone", &format!("{ZONE}1\n"))]);
    assert_eq!(
        answers(&ask(daemon.address, "www.corp.internal.", "A")),
        ["www.corp.internal. 60 A 10.9.9.1"]
    );
    daemon.write("corp.zone", &format!("{ZONE}x\n"));
    daemon.write("corp.zone", &format!("{ZONE}2\n"));
    daemon.wait_for(|snapshot| www(snapshot).contains("10.9.9.2"));
    assert_eq!(
        answers(&ask(daemon.address, "www.corp.internal.", "A")),
        ["www.corp.internal. 60 A 10.9.9.2"]
    );
    daemon.stop();
}

#[test]
fn a_zone_that_loses_its_file_loses_what_the_file_said() {
    const ZONE: &str = "[forward]\nupstreams = []\n[[zone]]\nname = \"privatelink.blob.core.windows.net\"\n";
    let network = "[[network]]\nname = \"here\"\nclients = [\"127.0.0.0/8\"]\n";
    let with_file = format!("{ZONE}file = \"blob.zone\"\nnetworks = [\"here\"]\n{network}");
    let daemon = TestDaemon::start(&with_file, &[("blob.zone", "app 60 A 10.9.9.1\n")]);
    assert_eq!(answers(&ask(daemon.address, APP_PRIVATE, "A")), [format!("{APP_PRIVATE} 60 A 10.9.9.1")]);
    daemon.configure(ZONE);
    daemon.wait_for(|snapshot| !serves_app(snapshot));
    // Likewise when nothing speaks of the zone any more.
    daemon.configure(&with_file);
    daemon.wait_for(serves_app);
    daemon.configure("[private_link]\nzones = [\"vault\"]\n[forward]\nupstreams = []\n");
    daemon.wait_for(|snapshot| !serves_app(snapshot));
    daemon.stop();
}

#[test]
fn a_zone_file_that_makes_no_zone_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.zone"), "@ 60 SOA ns host 1 60 60 60 60\n").unwrap();
    std::fs::write(folder.path().join("b.zone"), "www 60 A 10.9.9.1\n").unwrap();
    let config = folder.path().join("config.toml");
    std::fs::write(
        &config,
        "[[zone]]\nname = \"a.internal\"\nfile = \"a.zone\"\n[[zone]]\nname = \"b.internal\"\nfile = \"b.zone\"\n",
    )
    .unwrap();
    let config = Config::load(&config).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fault = runtime.block_on(async { Parts::load(&config).err().expect("the zone has no SOA") });
    let file = folder.path().join("b.zone");
    assert_eq!(
        fault.to_string(),
        format!("zone file {}: zone b.internal. has no SOA record", file.display())
    );
}

#[test]
fn a_bad_config_changes_nothing_and_a_good_one_afterwards_is_taken() {
    let daemon = TestDaemon::start(
        ZONE_CONFIG,
        &[("corp.zone", &format!("{ZONE}1\n")), ("b.zone", &format!("{ZONE}2\n"))],
    );
    daemon.write("config.toml", "[forward]\nupstreams = [\"not an address\"]\n");
    daemon.configure(&format!("{ZONE_CONFIG}[[zone]]\nname = \"b.internal\"\nfile = \"b.zone\"\n"));
    let second = "b.internal.".parse::<privatelink_dns::dns::Name>().unwrap();
    daemon.wait_for(|snapshot| snapshot.zone(second.borrow()).is_some());
    assert_eq!(answers(&ask(daemon.address, "www.b.internal.", "A")), ["www.b.internal. 60 A 10.9.9.2"]);
    assert_eq!(
        answers(&ask(daemon.address, "www.corp.internal.", "A")),
        ["www.corp.internal. 60 A 10.9.9.1"]
    );
    daemon.configure(ZONE_CONFIG);
    daemon.wait_for(|snapshot| snapshot.zone(second.borrow()).is_none());
    daemon.stop();
}

#[test]
fn no_query_is_lost_while_config_is_reloaded() {
    let daemon = TestDaemon::start(ZONE_CONFIG, &[("corp.zone", &format!("{ZONE}1\n"))]);
    let (address, done) = (daemon.address, Arc::new(AtomicBool::new(false)));
    let asking = thread::spawn({
        let done = Arc::clone(&done);
        move || {
            let mut count = 0_u32;
            while !done.load(Ordering::Relaxed) {
                // `ask` panics when no reply comes.
                assert_eq!(ask(address, "www.corp.internal.", "A").rcode, Rcode::NOERROR);
                count += 1;
            }
            count
        }
    });
    for round in 0..5 {
        // Another number of workers, so that sockets come and go.
        let workers = 1 + round % 3;
        daemon.write(
            "config.toml",
            &format!(
                "state_dir = \"state\"\n{ZONE_CONFIG}[listen]\ndns = [\"{address}\"]\nworkers = {workers}\n\
                 [[network]]\nname = \"n{round}\"\nclients = [\"10.0.{round}.0/24\"]\n"
            ),
        );
        let name = format!("n{round}");
        daemon.wait_for(|snapshot| snapshot.networks().view_named(&name).is_some());
    }
    done.store(true, Ordering::Relaxed);
    assert!(asking.join().unwrap() > 0);
    daemon.stop();
}

#[test]
fn each_network_is_answered_from_its_view() {
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/sample-inventory");
    let hub = "/subscriptions/00000000-0000-4000-8000-0000000000a1/resourceGroups/rg-net/providers/Microsoft.Network/virtualNetworks/vnet-source";
    let config = format!(
        "[forward]\nupstreams = []\n[[sync.source]]\nkind = \"directory\"\npath = \"{}\"\n\
         [[network]]\nname = \"source\"\nclients = [\"127.0.0.2/32\"]\nvirtual_networks = [\"{hub}\"]\n",
        quickstart.display()
    );
    let daemon = TestDaemon::start(&config, &[]);
    let name = "6310475829361047582-asr-pod01-rcm1.cus.privatelink.siterecovery.windowsazure.com.";
    let source = ask_from(Ipv4Addr::new(127, 0, 0, 2), daemon.address, name, "A");
    assert_eq!(answers(&source), [format!("{name} 10 A 10.0.2.10")]);
    daemon.stop();
}

#[test]
fn what_no_zone_holds_is_forwarded_and_nothing_is_forwarded_without_an_upstream() {
    let upstream = public_upstream();
    let forwarding = TestDaemon::start(&format!("[forward]\nupstreams = [\"{}\"]\n", upstream.address), &[]);
    assert_eq!(answers(&ask(forwarding.address, "www.example.", "A")), ["www.example. 60 A 192.0.2.1"]);
    assert_eq!(ask(forwarding.address, "nowhere.example.", "A").rcode, Rcode::NXDOMAIN);
    forwarding.stop();
    let alone = TestDaemon::start("[forward]\nupstreams = []\n", &[]);
    let reply = ask(alone.address, "www.example.", "A");
    assert!(reply.extended_error.is_some(), "{reply:?}");
    assert_ne!(reply.rcode, Rcode::NOERROR);
    alone.stop();
}

#[test]
fn a_large_answer_is_truncated_over_udp_and_whole_over_tcp() {
    let records: String = (0..100).map(|last| format!("many 60 A 10.9.9.{last}\n")).collect();
    let daemon = TestDaemon::start(ZONE_CONFIG, &[("corp.zone", &format!("{ZONE}1\n{records}"))]);
    let udp = ask(daemon.address, "many.corp.internal.", "A");
    assert!(udp.flags.has(Flags::TC) && udp.answer.is_empty());
    let tcp = ask_tcp(daemon.address, "many.corp.internal.", "A");
    assert!(!tcp.flags.has(Flags::TC));
    assert_eq!(tcp.answer.len(), 100);
    daemon.stop();
}

#[test]
fn an_included_file_that_changes_is_read_again_and_upstream_stays_known() {
    let upstream = public_upstream();
    let config = format!("{}[[zone]]\nname = \"corp.internal\"\nfile = \"corp.zone\"\n", config(&upstream));
    let zone = "@ 60 SOA ns host 1 60 60 60 60\n$INCLUDE hosts.inc\n";
    let files =
        [("corp.zone", zone), ("hosts.inc", "www 60 A 10.9.9.1\n"), ("inventory/pe.json", "{\"value\": []}")];
    let daemon = TestDaemon::start(&config, &files);
    assert_eq!(ask(daemon.address, "www.example.", "A").rcode, Rcode::NOERROR);
    daemon.write("hosts.inc", "www 60 A 10.9.9.22\n");
    daemon.wait_for(|snapshot| www(snapshot).contains("10.9.9.22"));
    // The cache outlived the reload.
    assert_eq!(ask(daemon.address, "www.example.", "A").rcode, Rcode::NOERROR);
    assert_eq!(upstream.asked(), 1);
    daemon.stop();
}

#[test]
fn a_reload_of_rules_and_cache_keeps_what_upstreams_said_and_goes_on_counting() {
    let start = |address: &str| {
        let record = format!("www.corp.example. 600 A {address}");
        Upstream::start(&[
            ("www.example. A", &["www.example. 600 A 192.0.2.1"]),
            ("www.corp.example. A", &[&record]),
        ])
    };
    let (one, other, third) = (start("192.0.2.1"), start("192.0.2.2"), start("192.0.2.3"));
    let config = |rule: &Upstream, cache: &str| {
        format!(
            "[forward]\nupstreams = [\"{}\"]\n[[forward.rule]]\ndomain = \"corp.example\"\nupstreams = [\"{}\"]\n\
             [cache]\n{cache}\n",
            one.address, rule.address
        )
    };
    let daemon = TestDaemon::start(&config(&other, ""), &[]);
    let address =
        |name: &str| answers(&ask(daemon.address, name, "A"))[0].rsplit(' ').next().unwrap().to_owned();
    assert_eq!(
        (address("www.example."), address("www.corp.example.")),
        ("192.0.2.1".into(), "192.0.2.2".into())
    );
    let counted = || {
        let serving = daemon.serving();
        let cache = serving.cache.counters();
        (cache.misses.value(), serving.forwarder.counters.queries.value())
    };
    let before = counted();
    assert!(before.0 >= 2 && before.1 >= 2, "{before:?}");
    daemon.configure(&config(&third, "size_bytes = 2000000\nserve_stale_secs = 60"));
    daemon.wait_for_serving(|serving| serving.cache.settings().size_bytes == 2_000_000);
    let after = counted();
    assert!(after.0 >= before.0 && after.1 >= before.1, "{before:?} {after:?}");
    assert_eq!((address("www.example."), one.asked()), ("192.0.2.1".into(), 1), "it is cached");
    assert_eq!(address("www.corp.example."), "192.0.2.3", "others are asked now");
    daemon.stop();
}
