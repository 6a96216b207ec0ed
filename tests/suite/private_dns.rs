//! Azure's private DNS zones imported: what is answered out of them, what outranks them, and that no fault takes them away.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use privatelink_dns::config::Config;
use privatelink_dns::daemon::Parts;
use privatelink_dns::dns::{Flags, Name, Rcode};
use privatelink_dns::ledger::Written;
use privatelink_dns::persist::{Entry, Made, Stored, StoredZone};
use privatelink_dns::sources::StateAccess;
use privatelink_dns::zone::{OnMissing, Snapshot, Unwitnessed};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{answers, ask, ask_from};
use crate::support::fake_arm::{FIRST, FakeArm, Fault, SECOND, fixture};
use crate::support::test_daemon::{TestDaemon, write};

pub(crate) const BLOB: &str = "privatelink.blob.core.windows.net";

/// The fake Azure with private DNS zones in its second subscription.
pub(crate) struct Azure {
    pub arm: FakeArm,
}

/// One zone of it.
#[derive(Clone)]
pub(crate) struct Zone {
    id: String,
    name: String,
    sets: Vec<Value>,
    links: Vec<Value>,
}

impl Zone {
    pub(crate) fn new(group: &str, name: &str) -> Zone {
        let id = format!(
            "/subscriptions/{SECOND}/resourceGroups/{group}/providers/Microsoft.Network/privateDnsZones/{name}"
        );
        let soa = json!({
            "host": "azureprivatedns.net", "email": "azureprivatedns-host.microsoft.com", "serialNumber": 1,
            "refreshTime": 3600, "retryTime": 300, "expireTime": 2419200, "minimumTtl": 10
        });
        let zone = Zone { id, name: name.to_owned(), sets: Vec::new(), links: Vec::new() };
        zone.with("@", "SOA", json!({ "soaRecord": soa }))
    }

    /// The blob zone of the fixtures with all 130 accounts, and the record sets that are there one by one.
    fn of_fixtures() -> Zone {
        let mut zone = Zone::new("rg-dns", BLOB);
        zone.sets.clear();
        for number in 1..=2 {
            let page: Value =
                serde_json::from_str(&fixture(&format!("private-dns/record-sets-all-page{number}.json")))
                    .unwrap();
            zone.sets.extend(page["value"].as_array().unwrap().iter().cloned());
        }
        for file in ["a", "a-manual", "a-multi", "aaaa"] {
            let text = fixture(&format!("private-dns/record-set-{file}-get.json"));
            zone.sets.push(serde_json::from_str(&text).unwrap());
        }
        zone
    }

    fn with(mut self, owner: &str, rtype: &str, records: Value) -> Zone {
        let mut set = json!({
            "id": format!("{}/{rtype}/{owner}", self.id), "name": owner, "etag": "e",
            "type": format!("Microsoft.Network/privateDnsZones/{rtype}"), "properties": records
        });
        set["properties"]["ttl"] = 300.into();
        self.sets.push(set);
        self
    }

    pub(crate) fn with_address(self, owner: &str, address: &str) -> Zone {
        self.with(owner, "A", json!({"aRecords": [{"ipv4Address": address}]}))
    }

    /// With an address that a zone group wrote.
    fn with_group_address(self, owner: &str, address: &str, endpoint: &str) -> Zone {
        let creator = format!(
            "created by private endpoint {endpoint} with resource guid 08ff5f5d-8eb5-52ff-99f2-a55952684311"
        );
        self.with(
            owner,
            "A",
            json!({"aRecords": [{"ipv4Address": address}], "metadata": {"creator": creator}}),
        )
    }

    pub(crate) fn linked(mut self, network: &str, policy: &str) -> Zone {
        self.links.push(json!({
            "id": format!("{}/virtualNetworkLinks/link-{network}", self.id), "name": format!("link-{network}"),
            "properties": {"resolutionPolicy": policy, "virtualNetwork": {"id": network_id(network)}}
        }));
        self
    }
}

fn network_id(name: &str) -> String {
    format!("/subscriptions/{FIRST}/resourceGroups/rg-net/providers/Microsoft.Network/virtualNetworks/{name}")
}

impl Azure {
    pub(crate) fn with(zones: &[Zone]) -> Azure {
        let azure = Azure { arm: FakeArm::start() };
        azure.arm.add(SECOND, |text| text);
        for subscription in [FIRST, SECOND] {
            azure.list_endpoints(subscription, &[]);
            azure.arm.list_items(&list_path(subscription), Vec::new());
        }
        azure.list(zones);
        azure
    }

    pub(crate) fn list(&self, zones: &[Zone]) {
        let items = zones.iter().map(|zone| {
            json!({"id": zone.id, "name": zone.name, "type": "Microsoft.Network/privateDnsZones", "location": "global"})
        });
        self.arm.list_items(&list_path(SECOND), items.collect());
        for zone in zones {
            self.arm.list_items(&format!("{}/ALL", zone.id), zone.sets.clone());
            self.arm.list_items(&format!("{}/virtualNetworkLinks", zone.id), zone.links.clone());
        }
    }

    /// Lists endpoints `name`, for the storage account, in a virtual network, with an address.
    fn list_endpoints(&self, subscription: &str, endpoints: &[(&str, &str, &str)]) {
        let group = format!("/subscriptions/{subscription}/resourceGroups/rg/providers");
        let items: Vec<Value> = endpoints
            .iter()
            .map(|(name, account, address)| {
                json!({
                    "id": format!("{group}/Microsoft.Network/privateEndpoints/{name}"),
                    "name": name,
                    "type": "Microsoft.Network/privateEndpoints",
                    "properties": {
                        "provisioningState": "Succeeded",
                        "subnet": {"id": format!("{}/subnets/pe", network_id("hub"))},
                        "privateLinkServiceConnections": [{"properties": {
                            "privateLinkServiceId": format!("{group}/Microsoft.Storage/storageAccounts/{account}"),
                            "groupIds": ["blob"],
                            "privateLinkServiceConnectionState": {"status": "Approved"}
                        }}],
                        "customDnsConfigs": [{
                            "fqdn": format!("{account}.blob.core.windows.net"), "ipAddresses": [address]
                        }],
                        "networkInterfaces": []
                    }
                })
            })
            .collect();
        let empty = || json!({"value": []}).to_string();
        self.arm.list(subscription, "networkInterfaces", [empty(), empty()]);
        self.arm.list(subscription, "privateEndpoints", [json!({ "value": items }).to_string(), empty()]);
    }

    pub(crate) fn source(&self, kind: &str) -> String {
        let url = self.arm.url();
        format!(
            "[[sync.source]]\nkind = '{kind}'\nendpoint = '{url}'\nauthority = '{url}'\nidentity_endpoint = '{url}'\n"
        )
    }

    /// A config that imports, and asks for endpoints too.
    fn config(&self, more: &str) -> String {
        format!(
            "[forward]\nupstreams = []\n{more}\n[sync]\ninterval_secs = 3600\n{}{}",
            self.source("private-dns"),
            self.source("arm")
        )
    }
}

fn list_path(subscription: &str) -> String {
    format!("/subscriptions/{subscription}/providers/Microsoft.Network/privateDnsZones")
}

pub(crate) fn holds(snapshot: &Snapshot, name: &str) -> bool {
    let name: Name = name.parse().unwrap();
    let zone = snapshot.zones().find(|(apex, _)| name.is_within(apex)).map(|(_, zone)| zone);
    zone.is_some_and(|zone| zone.node(name.borrow()).is_some_and(|node| !node.slots().is_empty()))
}

fn nudge() {
    let status = Command::new("kill").args(["-USR1", &std::process::id().to_string()]).status();
    assert!(status.unwrap().success());
}

/// Parts without sockets, so that passes can be made one by one.
struct World {
    folder: TempDir,
    azure: Azure,
    config: Config,
    parts: Parts,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new(zones: &[Zone], more: &str) -> World {
        World::with_azure(Azure::with(zones), more)
    }

    fn with_azure(azure: Azure, more: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        let zone = "@ 60 SOA ns host 5 60 60 60 60\nsix 60 A 10.7.0.1\nalias 60 A 10.7.0.2\n";
        write(folder.path(), "corp.zone", zone);
        let config = read(&azure.config(more), folder.path());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let parts = runtime.block_on(async { Parts::load(&config).unwrap() });
        let world = World { folder, azure, config, parts, runtime };
        world.pass();
        world
    }

    fn pass(&self) {
        for source in self.parts.sources.list() {
            self.runtime.block_on(source.pass_once(&self.parts.store));
        }
    }

    fn reload(&mut self, more: &str) {
        let new = read(&self.azure.config(more), self.folder.path());
        self.runtime.block_on(async { self.parts.reload(&new).unwrap() });
        self.config = new;
    }

    fn state(&self) -> String {
        let list = self.parts.sources.list().iter();
        let zones = list.filter(|source| source.listing.is_of_zones());
        let states: Vec<String> = zones.map(|source| format!("{:?}", source.known().state)).collect();
        states.join(" ")
    }

    fn drift(&self) -> Vec<String> {
        let drift = self.parts.sources.drift(&self.parts.store.snapshot());
        drift.iter().map(ToString::to_string).collect()
    }

    fn header(&self, apex: &str) -> Option<String> {
        let snapshot = self.parts.store.snapshot();
        let zone = snapshot.zone(apex.parse::<Name>().unwrap().borrow())?;
        let header = zone.header();
        Some(format!("{:?} {:?} {:?}", header.kind, header.on_missing, header.networks))
    }

    /// What a view is served.
    fn ask(&self, name: &str, view: u16) -> String {
        let name: Name = name.parse().unwrap();
        let snapshot = self.parts.store.snapshot();
        let view = privatelink_dns::zone::ViewId(view);
        let Some(zone) = snapshot.zone_for(name.borrow(), view) else { return "no zone".to_owned() };
        match zone.lookup(name.borrow(), privatelink_dns::dns::RecordType::A, view) {
            privatelink_dns::zone::Outcome::Hit(offer) => {
                let data = offer.set.records().next().unwrap();
                privatelink_dns::dns::rdata::address(data).unwrap().to_string()
            }
            other => format!("{other:?}"),
        }
    }
}

/// A config that nothing is kept for.
fn read(text: &str, folder: &Path) -> Config {
    let config = Config::parse(text, &folder.join("c.toml"));
    let mut config = config.unwrap_or_else(|errors| panic!("{errors}"));
    config.state_dir = "/nowhere/state".into();
    config.sync.azure.iter_mut().for_each(|source| source.retry = Duration::from_millis(1));
    config
}

/// A plain zone with a record of each type.
fn corp() -> Zone {
    Zone::new("rg-dns", "corp.internal")
        .with("@", "A", json!({"aRecords": [{"ipv4Address": "10.9.0.1"}, {"ipv4Address": "10.9.0.2"}]}))
        .with("six", "AAAA", json!({"aaaaRecords": [{"ipv6Address": "fd00::9"}]}))
        .with("alias", "CNAME", json!({"cnameRecord": {"cname": "six.corp.internal"}}))
        .with("mail", "MX", json!({"mxRecords": [{"preference": 10, "exchange": "mx.example.com"}]}))
        .with("ptr", "PTR", json!({"ptrRecords": [{"ptrdname": "host.example.com"}]}))
        .with(
            "_ldap._tcp",
            "SRV",
            json!({"srvRecords": [{"priority": 1, "weight": 2, "port": 389, "target": "dc.corp.internal"}]}),
        )
        .with("text", "TXT", json!({"txtRecords": [{"value": ["v=1", "two"]}]}))
        .with("*.wild", "A", json!({"aRecords": [{"ipv4Address": "10.9.0.3"}]}))
}

#[test]
fn records_of_every_type_are_answered_and_misses_with_the_zones_own_soa() {
    let azure = Azure::with(&[corp().linked("hub", "Default"), Zone::of_fixtures().linked("hub", "Default")]);
    let daemon = TestDaemon::start(&azure.config(""), &[]);
    daemon.wait_for(|snapshot| {
        holds(snapshot, "text.corp.internal.") && holds(snapshot, &format!("acct129.{BLOB}."))
    });
    let asked = |name: &str, rtype: &str| {
        let reply = ask(daemon.address, name, rtype);
        assert!(reply.flags.has(Flags::AA), "{name} {rtype}");
        (reply.rcode, answers(&reply).join(" | "))
    };
    let good = |name: &str, rtype: &str| {
        let (rcode, text) = asked(name, rtype);
        assert_eq!(rcode, Rcode::NOERROR, "{name} {rtype}");
        text
    };
    let mut addresses: Vec<String> = good("corp.internal.", "A").split(" | ").map(str::to_owned).collect();
    addresses.sort();
    assert_eq!(addresses, ["corp.internal. 300 A 10.9.0.1", "corp.internal. 300 A 10.9.0.2"]);
    assert_eq!(good("SIX.corp.internal.", "AAAA"), "six.corp.internal. 300 AAAA fd00::9");
    assert_eq!(
        good("alias.corp.internal.", "AAAA"),
        "alias.corp.internal. 300 CNAME six.corp.internal. | six.corp.internal. 300 AAAA fd00::9"
    );
    assert_eq!(good("mail.corp.internal.", "MX"), "mail.corp.internal. 300 MX 10 mx.example.com.");
    assert_eq!(good("ptr.corp.internal.", "PTR"), "ptr.corp.internal. 300 PTR host.example.com.");
    assert_eq!(
        good("_ldap._tcp.corp.internal.", "SRV"),
        "_ldap._tcp.corp.internal. 300 SRV 1 2 389 dc.corp.internal."
    );
    assert_eq!(good("text.corp.internal.", "TXT"), "text.corp.internal. 300 TXT \"v=1\" \"two\"");
    assert_eq!(good("any.wild.corp.internal.", "A"), "any.wild.corp.internal. 300 A 10.9.0.3");
    assert_eq!(
        good(&format!("contosov6.{BLOB}."), "AAAA"),
        format!("contosov6.{BLOB}. 10 AAAA fd00:db8:1::5")
    );
    // The last of three pages.
    assert_eq!(good(&format!("acct129.{BLOB}."), "A"), format!("acct129.{BLOB}. 10 A 10.50.0.133"));
    // Our own SOA, with whole names and a serial that counts.
    let soa = good("corp.internal.", "SOA");
    assert!(
        soa.starts_with("corp.internal. 3600 SOA azureprivatedns.net. azureprivatedns-host.microsoft.com. "),
        "{soa}"
    );
    assert_eq!(good("six.corp.internal.", "A"), "");
    let missing = ask(daemon.address, "no.corp.internal.", "A");
    assert_eq!(missing.rcode, Rcode::NXDOMAIN);
    assert!(missing.authority[0].to_string().starts_with("corp.internal. "), "{missing:?}");
    let soa = |text: &str| text.split(' ').nth(5).unwrap().parse::<u32>().unwrap();
    let before = soa(&good("corp.internal.", "SOA"));
    let blob = Zone::of_fixtures().linked("hub", "Default");
    azure.list(&[corp().with_address("new", "10.9.0.9").linked("hub", "Default"), blob]);
    nudge();
    daemon.wait_for(|snapshot| holds(snapshot, "new.corp.internal."));
    assert_eq!(soa(&good("corp.internal.", "SOA")), before + 1);
    daemon.stop();
}

#[test]
fn links_decide_what_a_miss_means_and_config_outranks_them() {
    let blob = |policy| Zone::new("rg-dns", BLOB).with_address("x", "10.1.0.1").linked("hub", policy);
    let mut world = World::new(&[blob("Default"), corp().linked("hub", "Default")], "");
    assert_eq!(world.header(BLOB).unwrap(), "PrivateLink NxDomain []");
    assert_eq!(world.header("corp.internal").unwrap(), "Plain NxDomain []");
    // A reload leaves what is imported as it is.
    let revision = |world: &World| {
        world.parts.store.snapshot().zone(BLOB.parse::<Name>().unwrap().borrow()).unwrap().serial()
    };
    let before = revision(&world);
    world.reload("[private_link]\nttl_secs = 11");
    assert_eq!(world.header(BLOB).unwrap(), "PrivateLink NxDomain []");
    assert_eq!((revision(&world), world.ask("six.corp.internal.", 0)), (before, "NoData".to_owned()));
    world.reload(&format!(
        "[[zone]]\nname = '{BLOB}'\non_missing = 'ask-public'\n[[zone]]\nname = 'corp.internal'\non_missing = 'ask-public'"
    ));
    assert_eq!(world.header(BLOB).unwrap(), "PrivateLink AskPublic []");
    assert_eq!(world.header("corp.internal").unwrap(), "Plain AskPublic []");
    world.pass();
    assert_eq!(world.header(BLOB).unwrap(), "PrivateLink AskPublic []");
    assert_eq!(world.header("corp.internal").unwrap(), "Plain AskPublic []");
    world.reload("");
    assert_eq!(world.header(BLOB).unwrap(), "PrivateLink NxDomain []");
    assert_eq!(world.header("corp.internal").unwrap(), "Plain NxDomain []");
    world.azure.list(&[blob("NxDomainRedirect")]);
    world.pass();
    assert_eq!(world.header(BLOB).unwrap(), "PrivateLink AskPublic []");
    assert_eq!(world.header("corp.internal"), None);
    world.azure.list(&[blob("Default")]);
    world.pass();
    world.azure.list(&[]);
    world.pass();
    // What config says of the zone comes back.
    assert_eq!(world.header(BLOB).unwrap(), "PrivateLink AskPublic []");
    assert_eq!(world.ask(&format!("x.{BLOB}."), 0), "no zone");
}

const TWO_NETWORKS: &str = "
[[network]]
name = 'one'
clients = ['127.0.1.0/24']
virtual_networks = ['/subscriptions/00000000-0000-4000-8000-0000000000a1/resourceGroups/rg-net/providers/Microsoft.Network/virtualNetworks/one']
[[network]]
name = 'two'
clients = ['127.0.2.0/24']
virtual_networks = ['/subscriptions/00000000-0000-4000-8000-0000000000a1/resourceGroups/rg-net/providers/Microsoft.Network/virtualNetworks/two']
";

#[test]
fn what_operators_set_of_a_zone_goes_before_its_links_and_no_pass_takes_it_back() {
    let azure =
        Azure::with(&[Zone::new("rg-dns", BLOB).with_address("x", "10.1.0.1").linked("hub", "Default")]);
    let folder = tempfile::tempdir().unwrap();
    let config = read(&azure.config(""), folder.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let on_missing = Some(OnMissing::AskPublic);
    let zone = StoredZone { apex: BLOB.parse().unwrap(), made: Made::Elsewhere, on_missing, networks: None };
    let stored = Stored { revision: 1, entries: vec![(Entry::Zone(zone), 1)], serials: Vec::new() };
    let written = Arc::new(Written::of(&stored));
    let parts = runtime.block_on(async {
        Parts::restore_under(&config, StateAccess::Look, written, Box::new(Unwitnessed)).unwrap()
    });
    let world = World { folder, azure, config, parts, runtime };
    world.pass();
    let state = || (world.header(BLOB).unwrap(), world.parts.store.load().revision());
    let before = state();
    assert_eq!(before.0, "PrivateLink AskPublic []");
    world.pass();
    assert_eq!(state(), before);
}

#[test]
fn each_network_is_served_the_zone_that_is_linked_to_it() {
    let azure = Azure::with(&[
        Zone::new("g1", "corp.internal").with_address("x", "10.0.0.1").linked("one", "Default"),
        Zone::new("g2", "corp.internal").with_address("x", "10.0.0.2").linked("two", "Default"),
        Zone::new("g1", "one.internal").with_address("x", "10.0.0.3").linked("one", "Default"),
        Zone::new("g1", "elsewhere.internal").with_address("x", "10.0.0.4").linked("other", "Default"),
    ]);
    let daemon = TestDaemon::start(&azure.config(TWO_NETWORKS), &[]);
    daemon.wait_for(|snapshot| holds(snapshot, "x.one.internal."));
    let asked = |last: u8, name: &str| {
        let reply = ask_from(Ipv4Addr::new(127, 0, last, 1), daemon.address, name, "A");
        (reply.rcode, answers(&reply).join(" | "))
    };
    let good = |text: &str| (Rcode::NOERROR, text.to_owned());
    assert_eq!(asked(1, "x.corp.internal."), good("x.corp.internal. 300 A 10.0.0.1"));
    assert_eq!(asked(2, "x.corp.internal."), good("x.corp.internal. 300 A 10.0.0.2"));
    assert_eq!(asked(1, "x.one.internal."), good("x.one.internal. 300 A 10.0.0.3"));
    // To the other network the zone is not there, and there is no upstream to ask.
    assert_eq!(asked(2, "x.one.internal.").0, Rcode::SERVFAIL);
    assert_eq!(asked(1, "x.elsewhere.internal.").0, Rcode::SERVFAIL);
    assert!(!holds(&daemon.snapshot(), "x.elsewhere.internal."));
    // Other networks let another zone in.
    daemon.configure(&azure.config(&TWO_NETWORKS.replace("virtualNetworks/two", "virtualNetworks/other")));
    daemon.wait_for(|snapshot| holds(snapshot, "x.elsewhere.internal."));
    assert_eq!(asked(2, "x.elsewhere.internal."), good("x.elsewhere.internal. 300 A 10.0.0.4"));
    assert_eq!(asked(2, "x.corp.internal.").0, Rcode::SERVFAIL);
    daemon.stop();
}

#[test]
fn an_endpoint_outranks_the_zone_and_the_zone_is_served_again_without_it() {
    let zone = Zone::new("rg-dns", BLOB)
        .with_group_address("moved", "10.1.0.99", "pe-moved")
        .with_group_address("same", "10.1.0.7", "pe-same")
        .with_group_address("gone", "10.1.0.8", "pe-gone")
        .with_address("hand", "10.1.0.9")
        .linked("hub", "NxDomainRedirect");
    let azure = Azure::with(&[zone]);
    azure.list_endpoints(FIRST, &[("pe-moved", "moved", "10.1.0.5"), ("pe-same", "same", "10.1.0.7")]);
    let world = World::with_azure(azure, "");
    let asked = |world: &World| {
        ["moved", "same", "gone", "hand"].map(|name| world.ask(&format!("{name}.{BLOB}."), 0))
    };
    assert_eq!(asked(&world), ["10.1.0.5", "10.1.0.7", "10.1.0.8", "10.1.0.9"]);
    let drift = world.drift();
    assert_eq!(drift.len(), 2, "{drift:?}");
    assert!(drift[0].contains("deleted endpoint, it was written for pe-gone"), "{drift:?}");
    assert!(drift[1].contains("wrong address") && drift[1].ends_with("has 10.1.0.5"), "{drift:?}");
    // The endpoint is deleted, its record is left behind.
    world.azure.list_endpoints(FIRST, &[("pe-same", "same", "10.1.0.7")]);
    world.pass();
    assert_eq!(asked(&world), ["10.1.0.99", "10.1.0.7", "10.1.0.8", "10.1.0.9"]);
    let drift = world.drift();
    assert_eq!(drift.len(), 2, "{drift:?}");
    assert!(drift[1].contains("deleted endpoint, it was written for pe-moved"), "{drift:?}");
    // Who cannot see all endpoints does not say that one is deleted.
    let forbidden = Fault::of_fixture("errors/403-authorization-failed.json");
    world.azure.arm.fault((SECOND, "privateEndpoints", 1), forbidden, usize::MAX);
    world.pass();
    assert!(world.drift().is_empty(), "{:?}", world.drift());
}

#[test]
fn an_operators_record_outranks_both() {
    let file = "[[zone]]\nname = 'corp.internal'\nfile = 'corp.zone'";
    let mut world = World::new(&[corp().linked("hub", "Default")], file);
    assert_eq!(world.ask("six.corp.internal.", 0), "10.7.0.1");
    // An alias in Azure gives way.
    assert_eq!(world.ask("alias.corp.internal.", 0), "10.7.0.2");
    assert_eq!(world.ask("x.wild.corp.internal.", 0), "10.9.0.3");
    world.reload("");
    assert_eq!(world.ask("six.corp.internal.", 0), "NoData");
    assert_eq!(world.ask("x.wild.corp.internal.", 0), "10.9.0.3");
    world.reload(file);
    world.azure.list(&[]);
    world.pass();
    assert_eq!(world.ask("six.corp.internal.", 0), "10.7.0.1");
    assert_eq!(world.ask("x.wild.corp.internal.", 0), "NoSuchName");
}

#[test]
fn no_fault_of_a_page_takes_a_record_away_and_other_zones_change() {
    let blob = Zone::of_fixtures().linked("hub", "Default");
    let world = World::new(&[blob.clone(), corp().linked("hub", "Default")], "");
    assert!(world.state().starts_with("Current"), "{}", world.state());
    let mut changed = blob.clone();
    changed.sets.truncate(1);
    changed.links.clear();
    let all = [format!("{}/ALL", blob.id), format!("{}/virtualNetworkLinks", blob.id)];
    let faults = [
        Fault::of_fixture("errors/403-authorization-failed.json"),
        Fault::of_fixture("errors/404-resource-not-found.json"),
        Fault::of_fixture("errors/502-html-body.json"),
        Fault::page("{\"value\": [{"),
        Fault::page("<html>"),
        Fault::page(json!({"value": [{"id": "/subscriptions/x/elsewhere"}]}).to_string()),
        Fault::page(json!({"value": [], "nextLink": "https://example.com/next"}).to_string()),
        Fault::page(json!({"value": [{"id": blob.id.clone() + "/A/" + &"x".repeat(70_000)}]}).to_string()),
        Fault::Cut,
    ];
    for (round, fault) in faults.iter().enumerate() {
        for path in &all {
            world.azure.list(&[
                changed.clone(),
                corp().with_address("round", &format!("10.9.1.{round}")).linked("hub", "Default"),
            ]);
            world.azure.arm.fault_items(path, 1, fault.clone(), usize::MAX);
            world.pass();
            assert_eq!(world.ask(&format!("acct077.{BLOB}."), 0), "10.50.0.81", "{fault:?} {path}");
            assert_eq!(world.header(BLOB).unwrap(), "PrivateLink NxDomain []");
            assert_eq!(world.ask("round.corp.internal.", 0), format!("10.9.1.{round}"));
            let state = world.state();
            assert!(state.starts_with("Stale") && state.contains("privatednszones"), "{state}");
            world.azure.arm.heal();
        }
    }
    // The second page, and a list of zones that cannot be read or is cut short.
    world.azure.list(&[blob.clone(), corp().linked("hub", "Default")]);
    for (path, page) in [(all[0].clone(), 2), (list_path(SECOND), 1)] {
        world.azure.arm.fault_items(&path, page, Fault::Cut, usize::MAX);
        world.pass();
        assert_eq!(world.ask(&format!("acct129.{BLOB}."), 0), "10.50.0.133");
        assert!(world.state().starts_with("Stale"), "{}", world.state());
        world.azure.arm.heal();
    }
    world.pass();
    assert!(world.state().starts_with("Current"), "{}", world.state());
    // A subscription that is seen no more is not empty.
    world.azure.arm.show_only(&[FIRST]);
    world.pass();
    assert_eq!(world.ask(&format!("acct129.{BLOB}."), 0), "10.50.0.133");
}

#[test]
fn a_throttled_subscription_is_left_alone_for_as_long_as_it_wants() {
    let world = World::new(&[corp().linked("hub", "Default")], "");
    let later = || Fault::of_fixture("errors/429-subscription-requests-throttled.json");
    world.azure.arm.fault_items(&format!("{}/ALL", corp().id), 1, later(), 1);
    let more: Vec<Zone> = (0..20).map(|number| Zone::new("g", &format!("z{number}.internal"))).collect();
    world.azure.list(&[&[corp().linked("hub", "Default")], &more[..]].concat());
    world.pass();
    assert_eq!(world.ask("x.wild.corp.internal.", 0), "10.9.0.3");
    assert!(world.state().starts_with("Stale"), "{}", world.state());
    // It is asked for nothing more while it rests.
    let source = &world.parts.sources.list()[0];
    let azure = source.live().unwrap().azure().unwrap();
    world.azure.arm.fault_items(&format!("{}/ALL", corp().id), 1, later(), 1);
    let pass = || world.runtime.block_on(source.pass_with(&azure, &world.parts.store));
    let asked = || {
        world
            .azure
            .arm
            .asked(SECOND)
            .iter()
            .filter(|it| it.line.to_lowercase().contains("privatednszones"))
            .count()
    };
    pass();
    let before = asked();
    pass();
    assert_eq!(asked(), before);
    assert_eq!(world.ask("x.wild.corp.internal.", 0), "10.9.0.3");
}

#[test]
fn a_listing_that_lacks_too_much_waits_for_an_operator() {
    let azure = Azure::with(&[Zone::of_fixtures().linked("hub", "Default")]);
    let daemon = TestDaemon::start(&azure.config(""), &[]);
    daemon.wait_for(|snapshot| holds(snapshot, &format!("acct000.{BLOB}.")));
    azure.list(&[]);
    nudge();
    let path = daemon.folder.path().join("config.toml");
    let run = |arguments: &[&str]| {
        let program =
            Command::new(env!("CARGO_BIN_EXE_privatelink-dns")).args(arguments).arg("-c").arg(&path).output();
        let output = program.unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, out) = run(&["sync", "--once", "--dry-run"]);
    assert_eq!(status, 1, "{out}");
    assert!(out.contains("# private-dns: held-back: 134 of 134 record sets would be withdrawn"), "{out}");
    assert!(holds(&daemon.snapshot(), &format!("acct000.{BLOB}.")));
    let (status, out) = run(&["sync", "--once", "--confirm", "private-dns"]);
    assert_eq!(status, 0, "{out}");
    daemon.wait_for(|snapshot| !holds(snapshot, &format!("acct000.{BLOB}.")));
    daemon.stop();
}

#[test]
fn a_restart_without_azure_serves_what_was_imported_last() {
    let azure = Azure::with(&[corp().linked("hub", "Default"), Zone::of_fixtures().linked("hub", "Default")]);
    let daemon = TestDaemon::start(&azure.config(""), &[]);
    daemon.wait_for(|snapshot| {
        holds(snapshot, "text.corp.internal.") && holds(snapshot, &format!("acct129.{BLOB}."))
    });
    let folder = daemon.leave();
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let path = folder.path().join("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(&azure.arm.address.to_string(), &nowhere.to_string())).unwrap();
    let daemon = TestDaemon::start_in(folder);
    let header = |apex: &str| {
        let snapshot = daemon.snapshot();
        format!("{:?}", snapshot.zone(apex.parse::<Name>().unwrap().borrow()).unwrap().header().on_missing)
    };
    assert_eq!([header(BLOB), header("corp.internal")], ["NxDomain", "NxDomain"]);
    let reply = ask(daemon.address, "text.corp.internal.", "TXT");
    assert_eq!(answers(&reply), ["text.corp.internal. 300 TXT \"v=1\" \"two\""]);
    let reply = ask(daemon.address, &format!("acct129.{BLOB}."), "A");
    assert_eq!(answers(&reply), [format!("acct129.{BLOB}. 10 A 10.50.0.133")]);
    daemon.stop();
}

#[test]
fn zones_of_other_subscriptions_import_nothing() {
    let allow = |id: &str| format!("allow_subscriptions = ['{id}']\n");
    let azure = Azure::with(&[corp().linked("hub", "Default")]);
    let text = azure.config("").replace("[sync]\n", &format!("[sync]\n{}", allow(FIRST)));
    let config = read(&text, Path::new("/nowhere"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut parts = runtime.block_on(async { Parts::load(&config).unwrap() });
    let pass = |parts: &Parts| {
        runtime.block_on(parts.sources.list()[0].pass_once(&parts.store));
        holds(&parts.store.snapshot(), "x.wild.corp.internal.")
            || holds(&parts.store.snapshot(), "text.corp.internal.")
    };
    assert!(!pass(&parts));
    assert_eq!(parts.sources.list()[0].known().desired.foreign.len(), 1);
    for (id, is_imported) in [(SECOND, true), (FIRST, false)] {
        let new = read(&text.replace(&allow(FIRST), &allow(id)), Path::new("/nowhere"));
        runtime.block_on(async { parts.reload(&new).unwrap() });
        assert_eq!(pass(&parts), is_imported);
    }
}

#[test]
fn sync_once_shows_what_is_imported_and_the_drift_and_doctor_says_what_to_do() {
    let zone = Zone::new("rg-dns", BLOB)
        .with_group_address("moved", "10.1.0.99", "pe-moved")
        .with("bad name", "A", json!({"aRecords": [{"ipv4Address": "10.1.0.1"}]}))
        .linked("hub", "NxDomainRedirect");
    let azure = Azure::with(&[zone]);
    azure.list_endpoints(FIRST, &[("pe-moved", "moved", "10.1.0.5")]);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "config.toml", &format!("state_dir = 'state'\n{}", azure.config("")));
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_privatelink-dns"));
        let output =
            command.args(arguments).arg("-c").arg(folder.path().join("config.toml")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for arguments in [&["sync", "--once", "--dry-run"][..], &["sync", "--once"]] {
        let out = run(arguments);
        assert!(out.contains(&format!("+ {BLOB}. moved 300 A 10.1.0.99  /subscriptions/")), "{out}");
        assert!(out.contains("(a record set of the private DNS zone)"), "{out}");
        assert!(out.contains("# drift: 1 record set of private DNS zones"), "{out}");
        assert!(out.contains(&format!("! moved.{BLOB}. A 10.1.0.99 in /subscriptions/")), "{out}");
    }
    assert!(!folder.path().join("state/sync-state.jsonl.new").exists());
    let out = run(&["doctor"]);
    assert!(out.contains("note  drift: moved."), "{out}");
    assert!(out.contains("bad name") && out.contains("left out"), "{out}");
    assert!(
        out.contains("source private-dns was listed whole: 1 private DNS zone with 1 record set"),
        "{out}"
    );
    let out = run(&["explain", &format!("moved.{BLOB}"), "--offline"]);
    assert!(out.contains("from private endpoint"), "{out}");
}
