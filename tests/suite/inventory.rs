//! From exported JSON to what should be published, for every fixture.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use privatelink_dns::dns::Name;
use privatelink_dns::privatelink::{Catalogue, Cloud};
use privatelink_dns::sync::arm::Body;
use privatelink_dns::sync::directory::{self, DirectoryError, Settings};
use privatelink_dns::sync::{ConnectionState, Desired, Inventory, desired};
use serde_json::{Value, json};

/// One line of `expected-records.csv`.
struct Expected {
    zone: Name,
    name: Name,
    address: String,
    publish: String,
    reason: String,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn read(path: &Path) -> Result<Inventory, DirectoryError> {
    directory::read(&Settings { name: "test".to_owned(), path: path.to_owned() })
}

/// Reads a folder, or a single file as a folder of its own.
fn read_scenario(path: &Path) -> Inventory {
    if path.is_dir() {
        return read(path).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(path, folder.path().join("only.json")).unwrap();
    read(folder.path()).unwrap()
}

fn desired_of(inventory: &Inventory) -> Desired {
    desired_in(Cloud::Public, inventory)
}

fn desired_in(cloud: Cloud, inventory: &Inventory) -> Desired {
    desired(inventory, &Catalogue::builtin(cloud), &"test".into(), &[], |_| 0)
}

/// Zone, name and address of all that is published.
fn published(desired: &Desired) -> BTreeSet<(String, String, String)> {
    let records = desired.publications.iter().flat_map(|it| {
        let ipv4 = it.ipv4.iter().map(ToString::to_string);
        ipv4.chain(it.ipv6.iter().map(ToString::to_string)).map(|address| (&it.zone, &it.name, address))
    });
    records.map(|(zone, name, address)| (zone.to_string(), name.to_string(), address)).collect()
}

fn expected_records() -> BTreeMap<String, Vec<Expected>> {
    let text = std::fs::read_to_string(fixtures().join("arm/expected-records.csv")).unwrap();
    let mut expected = BTreeMap::<String, Vec<Expected>>::new();
    for line in text.lines().skip(1) {
        // Only the last column, the reason, is quoted and may hold commas.
        let columns: Vec<&str> = line.splitn(7, ',').collect();
        let [fixture, zone, record, _, address, publish, reason] = columns[..] else { panic!("{line}") };
        let zone = name(zone);
        expected.entry(fixture.to_owned()).or_default().push(Expected {
            name: Name::parse(record, zone.borrow()).unwrap(),
            zone,
            address: address.to_owned(),
            publish: publish.to_owned(),
            reason: reason.to_owned(),
        });
    }
    expected
}

#[test]
fn every_fixture_publishes_what_the_table_of_expected_records_says() {
    let expected = expected_records();
    assert_eq!(expected.values().map(Vec::len).sum::<usize>(), 110);
    for (fixture, rows) in expected {
        let desired = desired_of(&read_scenario(&fixtures().join("arm").join(&fixture)));
        let mut wanted = BTreeSet::new();
        for row in &rows {
            match &*row.publish {
                // Both claims of a conflict are kept; which one is served is decided later. Uncertain is a partitioned
                // storage account of Backup, whose zone the sources do not agree on: the catalogue takes the blob zone.
                "yes" | "conflict" | "uncertain" => {
                    wanted.insert((row.zone.to_string(), row.name.to_string(), row.address.clone()));
                }
                "no" => {
                    let withheld = desired.withheld.iter().find(|it| it.name == row.name);
                    let state = withheld.map(|it| it.state.as_str());
                    // Without an address Azure has not told the name either.
                    let told = (!row.address.is_empty()).then_some(&*row.reason);
                    assert_eq!(state, told, "{fixture}: {}", row.name);
                }
                other => panic!("{fixture}: {other}"),
            }
        }
        assert_eq!(published(&desired), wanted, "{fixture}");
        let conflicts = rows.iter().filter(|row| row.publish == "conflict").count();
        assert!(conflicts == 0 || desired.publications.len() == conflicts, "{fixture}");
        assert!(desired.unplaced.is_empty(), "{fixture}: {:?}", desired.unplaced);
        assert!(desired.warnings.is_empty(), "{fixture}: {:?}", desired.warnings);
    }
}

#[test]
fn services_of_every_kind_publish_what_recorded_azure_data_say() {
    let text = std::fs::read_to_string(fixtures().join("services/expected-records.csv")).unwrap();
    let mut expected = BTreeMap::<Cloud, BTreeSet<[String; 4]>>::new();
    let mut types = BTreeSet::new();
    for line in text.lines().skip(1) {
        let [cloud, endpoint, resource_type, zone, record, address] = line.split(',').collect::<Vec<_>>()[..]
        else {
            panic!("{line}")
        };
        let zone = name(zone);
        let record = Name::parse(record, zone.borrow()).unwrap().to_string();
        let row = [endpoint.to_owned(), zone.to_string(), record, address.to_owned()];
        expected.entry(cloud.parse().unwrap()).or_default().insert(row);
        types.insert(resource_type);
    }
    assert!(types.len() >= 20 && expected.len() == 3, "{types:?}");
    for (cloud, rows) in expected {
        let desired = desired_in(cloud, &read(&fixtures().join("services").join(cloud.as_str())).unwrap());
        let published: BTreeSet<[String; 4]> = desired
            .publications
            .iter()
            .map(|it| {
                let endpoint = it.claim.endpoint.rsplit('/').next().unwrap().to_owned();
                [endpoint, it.zone.to_string(), it.name.to_string(), it.ipv4[0].to_string()]
            })
            .collect();
        assert_eq!(published, rows, "{cloud}");
        assert_eq!((desired.unplaced, desired.warnings), (vec![], vec![]), "{cloud}");
        assert!(desired.unsettled.is_empty() && desired.nameless.is_empty(), "{cloud}");
    }
}

#[test]
fn an_endpoint_without_a_name_publishes_nothing() {
    let path = fixtures().join("arm/scenario-states/approved-privatelinkservice-no-fqdn.json");
    let inventory = read_scenario(&path);
    assert_eq!(inventory.endpoints()[0].state, ConnectionState::Approved);
    let desired = desired_of(&inventory);
    assert!(desired.publications.is_empty() && desired.unplaced.is_empty());
}

#[test]
fn an_endpoint_that_is_still_updating_keeps_what_it_had() {
    let inventory = read_scenario(&fixtures().join("arm/scenario-states/provisioning-updating.json"));
    assert_eq!(desired_of(&inventory).unsettled, [inventory.endpoints()[0].id.clone()]);
}

#[test]
fn backup_of_the_classic_experience_is_three_endpoints_in_three_zones() {
    let desired = desired_of(&read_scenario(&fixtures().join("arm/scenario-backup-v1")));
    let zones: BTreeSet<&Name> = desired.publications.iter().map(|it| &it.zone).collect();
    assert_eq!((desired.publications.len(), zones.len(), desired.unplaced.len()), (7, 3, 0));
}

#[test]
fn pages_are_one_listing_and_a_missing_one_is_none() {
    let inventory = read(&fixtures().join("arm/lists")).unwrap();
    assert!(inventory.endpoints().len() > 3);
    for missing in ["private-endpoints-list-page2.json", "network-interfaces-list-page2.json"] {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(fixtures().join("arm/lists")).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap();
            // The empty list is another answer to the same question, not a page.
            if file != missing && file != "private-endpoints-list-empty.json" {
                std::fs::copy(&path, folder.path().join(file)).unwrap();
            }
        }
        let error = read(folder.path()).unwrap_err();
        let DirectoryError::Incomplete { path, .. } = &error else { panic!("{error}") };
        assert!(path.ends_with(missing.replace('2', "1")), "{error}");
    }
}

#[test]
fn an_answer_that_is_no_listing_is_no_inventory() {
    for (file, place) in
        [("200-truncated-json", (1, 39)), ("502-html-body", (1, 1)), ("403-authorization-failed", (1, 1))]
    {
        let text = std::fs::read_to_string(fixtures().join(format!("arm/errors/{file}.json"))).unwrap();
        let exchange: serde_json::Value = serde_json::from_str(&text).unwrap();
        let body = match &exchange["response"]["body"] {
            serde_json::Value::String(body) => body.clone(),
            body => body.to_string(),
        };
        let folder = tempfile::tempdir().unwrap();
        let good = fixtures().join("arm/scenario-storage-blob/private-endpoint.json");
        std::fs::copy(good, folder.path().join("good.json")).unwrap();
        std::fs::write(folder.path().join("bad.json"), &body).unwrap();
        let error = read(folder.path()).unwrap_err();
        let DirectoryError::File { path, line, column, .. } = &error else { panic!("{file}: {error}") };
        assert_eq!((path, (*line, *column)), (&folder.path().join("bad.json"), place), "{file}");
    }
}

#[test]
fn a_body_that_is_cut_anywhere_is_refused() {
    for file in ["arm/scenario-ipv6/private-endpoint.json", "arm/scenario-ipv6/private-dns-zone-groups.json"]
    {
        let bytes = std::fs::read(fixtures().join(file)).unwrap();
        let whole = bytes.trim_ascii_end();
        assert!(Body::read(whole).is_ok());
        for end in 0..whole.len() {
            assert!(Body::read(&whole[..end]).is_err(), "{file} cut at {end}");
        }
    }
}

#[test]
fn what_the_az_command_line_prints_reads_like_the_answers_of_arm() {
    let arm = read(&fixtures().join("az-cli/arm")).unwrap();
    assert_eq!(arm.endpoints().len(), 7);
    assert_eq!(read(&fixtures().join("az-cli/az")).unwrap(), arm);
    assert_eq!(read(&fixtures().join("az-cli/az-older")).unwrap(), arm);
}

#[test]
fn the_sample_inventory_shows_what_the_quickstart_promises() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/sample-inventory");
    let inventory = read(&sample).unwrap();
    let desired = desired_of(&inventory);
    assert_eq!(desired.warnings, []);
    assert_eq!(desired.unplaced, []);
    assert_eq!(desired.unsettled, Vec::<std::sync::Arc<str>>::new());
    let states: Vec<&str> = desired.withheld.iter().map(|it| it.state.as_str()).collect();
    assert_eq!(
        states.iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([&"Pending", &"Rejected", &"Disconnected"])
    );
    assert_eq!(states.len(), 3);
    let subscriptions: BTreeSet<&str> = inventory.endpoints().iter().map(|it| &*it.subscription).collect();
    assert_eq!(subscriptions.len(), 2);

    let records_in = |suffix: &str| {
        let zone = name(suffix);
        desired.publications.iter().filter(|it| it.zone.is_within(&zone)).count()
    };
    for (zone, count) in [
        ("privatelink.wcus.backup.windowsazure.com", 8),
        ("privatelink.queue.core.windows.net", 1),
        ("privatelink.prod.migration.windowsazure.com", 3),
        ("privatelink.vaultcore.azure.net", 2),
        ("privatelink.azurecr.io", 3),
        ("privatelink.documents.azure.com", 3),
        ("privatelink.database.windows.net", 1),
        ("privatelink.eastus.azmk8s.io", 1),
        ("privatelink.azurewebsites.net", 2),
    ] {
        assert_eq!(records_in(zone), count, "{zone}");
    }
    let claims_to = |owner: &str| {
        let owner = name(owner);
        let claims = desired.publications.iter().filter(|it| it.name == owner);
        claims.map(|it| it.claim.virtual_network.clone()).collect::<BTreeSet<_>>().len()
    };
    assert_eq!(claims_to("contososhared01.privatelink.blob.core.windows.net"), 2);
    assert_eq!(
        claims_to("6310475829361047582-asr-pod01-srs1.scus.privatelink.siterecovery.windowsazure.com"),
        2
    );
    assert!(desired.publications.iter().any(|it| it.ipv4.is_empty() && it.ipv6.len() == 1));
}

/// An endpoint and its interface in ARM's shape, which tells of no name but those in `custom_dns`.
fn in_state(state: &str, provisioning: &str, resource: &str, group: &str, custom_dns: Value) -> Desired {
    let provider = "/subscriptions/00000000-0000-4000-8000-0000000000a1/resourceGroups/rg/providers";
    let (endpoint, interface) = (
        format!("{provider}/Microsoft.Network/privateEndpoints/pe"),
        format!("{provider}/Microsoft.Network/networkInterfaces/pe.nic"),
    );
    let list = json!({"value": [
        {
            "id": endpoint, "name": "pe", "type": "Microsoft.Network/privateEndpoints",
            "properties": {
                "provisioningState": provisioning,
                "privateLinkServiceConnections": [{"properties": {
                    "privateLinkServiceId": format!("{provider}/{resource}"),
                    "groupIds": [group],
                    "privateLinkServiceConnectionState": {"status": state, "actionsRequired": "None"}
                }}],
                "manualPrivateLinkServiceConnections": [],
                "customDnsConfigs": custom_dns,
                "networkInterfaces": [{"id": interface}]
            }
        },
        {
            "id": interface, "name": "pe.nic", "type": "Microsoft.Network/networkInterfaces",
            "properties": {
                "privateEndpoint": {"id": endpoint},
                "ipConfigurations": [{"properties": {
                    "privateIPAddress": "10.1.0.7",
                    "privateLinkConnectionProperties": {"groupId": group, "requiredMemberName": group}
                }}]
            }
        }
    ]});
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("all.json"), list.to_string()).unwrap();
    desired_of(&read(folder.path()).unwrap())
}

const WORKSPACE: &str = "Microsoft.Databricks/workspaces/adb";

#[test]
fn endpoints_that_are_not_approved_list_no_names_and_are_told_of_with_their_state() {
    for state in ["Pending", "Rejected", "Disconnected"] {
        let desired = in_state(state, "Succeeded", WORKSPACE, "databricks_ui_api", json!([]));
        assert_eq!((desired.publications.len(), desired.unsettled.len()), (0, 0), "{state}");
        let told: Vec<&str> = desired.nameless.iter().map(|it| it.state.as_str()).collect();
        assert_eq!(told, [state]);
    }
}

#[test]
fn a_new_endpoint_is_approved_and_updating_and_has_no_names_yet() {
    let desired = in_state("Approved", "Updating", WORKSPACE, "databricks_ui_api", json!([]));
    assert_eq!((desired.unsettled.len(), desired.nameless.len(), desired.warnings.len()), (1, 0, 0));
}

#[test]
fn an_interface_of_databricks_may_lack_names_that_the_endpoint_lists() {
    let custom_dns =
        json!([{"fqdn": "adb-4242424242424242.2.azuredatabricks.net", "ipAddresses": ["10.1.0.7"]}]);
    let desired = in_state("Approved", "Succeeded", WORKSPACE, "databricks_ui_api", custom_dns);
    let zone = "privatelink.azuredatabricks.net.";
    let record = (zone.to_owned(), format!("adb-4242424242424242.2.{zone}"), "10.1.0.7".to_owned());
    assert_eq!(published(&desired), BTreeSet::from([record]));
    assert!(desired.unplaced.is_empty() && desired.warnings.is_empty());
}
