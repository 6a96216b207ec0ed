//! What of Azure is found and listed: resource groups, management groups, zone groups, under throttling; and as whom.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use privatelink_dns::privatelink::{Catalogue, Cloud};
use privatelink_dns::sync::azure::{Azure, AzureError, CredentialSettings, Pass, SecretPlace};
use serde_json::{Value, json};

use crate::azure::{OF_FIRST, World, certificate, empty, names, of_host, other_names, settings};
use crate::support::fake_arm::{FIRST, FakeArm, Fault, SECOND, fixture};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn pass(azure: &Arc<Azure>) -> Result<Pass, AzureError> {
    runtime().block_on(azure.pass())
}

fn answer(status: u16, headers: &[&str], body: &str) -> Fault {
    let headers = headers.iter().map(|header| (*header).to_owned()).collect();
    Fault::Answer { status, headers, body: body.as_bytes().to_vec() }
}

// As whom.

#[test]
fn a_client_certificate_is_read_anew_and_another_one_is_refused() {
    let (first, second) = (certificate("first"), certificate("second"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client.pem");
    let copy = |from| std::fs::copy(from, &file).unwrap();
    let arm = FakeArm::start();
    let credential = CredentialSettings::ClientCertificate {
        tenant_id: "tenant".to_owned(),
        client_id: "client".to_owned(),
        file: file.clone(),
    };
    let azure = Arc::new(Azure::new(settings(&arm, credential), None).unwrap());
    arm.register(&std::fs::read_to_string(&second).unwrap());
    let missing = pass(&azure).unwrap_err().to_string();
    assert!(missing.starts_with("the client certificate cannot be read from "), "{missing}");
    copy(&first);
    let refused = pass(&azure).unwrap_err().to_string();
    assert!(refused.ends_with("401 invalid_client: AADSTS700027: the signature is not good"), "{refused}");
    // An administrator puts the right one in its place.
    copy(&second);
    assert_eq!(pass(&azure).unwrap().listed.len(), 1);
    // Without another token: it is in use for an hour.
    pass(&azure).unwrap();
    assert_eq!(arm.asked("/oauth2/v2.0/token").len(), 2);
}

#[test]
fn an_error_with_a_certificate_tells_nothing_of_its_key() {
    let pem = std::fs::read_to_string(certificate("first")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client.pem");
    // In the middle of the key.
    let (front, _) = pem.split_once("-----END PRIVATE KEY").unwrap();
    let cut = front[..front.len() - 200].to_owned() + "\n-----END PRIVATE KEY-----\n";
    let only_certificate = pem.split_once("-----BEGIN PRIVATE KEY").unwrap().0.to_owned();
    for text in [cut, only_certificate, String::new(), "x".repeat(70_000)] {
        std::fs::write(&file, &text).unwrap();
        let arm = FakeArm::start();
        let credential = CredentialSettings::ClientCertificate {
            tenant_id: "tenant".to_owned(),
            client_id: "client".to_owned(),
            file: file.clone(),
        };
        let error = pass(&Arc::new(Azure::new(settings(&arm, credential), None).unwrap())).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains("client.pem") && arm.asked("").is_empty(), "{told}");
        let line = |line: &str| line.len() > 40 && told.contains(&line[..40]);
        assert!(!pem.lines().filter(|it| !it.starts_with('-')).any(line), "{told}");
    }
}

#[test]
fn a_secret_comes_from_the_environment_when_no_file_has_it() {
    let arm = FakeArm::start();
    let place = |name: &str| SecretPlace::Environment(name.to_owned());
    let credential = |secret| CredentialSettings::ClientSecret {
        tenant_id: "tenant".to_owned(),
        client_id: "client".to_owned(),
        secret,
    };
    let azure = |secret| Arc::new(Azure::new(settings(&arm, credential(secret)), None).unwrap());
    let error = pass(&azure(place("PRIVATELINK_DNS_NO_SUCH_VARIABLE"))).unwrap_err().to_string();
    assert_eq!(error, "the environment variable PRIVATELINK_DNS_NO_SUCH_VARIABLE is not set");
    // A whole server, whose environment is its own.
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    let url = arm.url();
    let text = format!(
        "state_dir = 'state'\n[listen]\ndns = ['127.0.0.1:0']\n[forward]\nupstreams = []\n[[sync.source]]\n\
         kind = 'arm'\ncredential = 'client-secret'\nendpoint = '{url}'\nauthority = '{url}'\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_privatelink-dns"))
        .args(["serve", "--config"])
        .arg(&config)
        .env("AZURE_TENANT_ID", "tenant")
        .env("AZURE_CLIENT_ID", "client")
        .env("AZURE_CLIENT_SECRET", "HUSH&2")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while arm.asked("networkInterfaces").is_empty() && began.elapsed() < Duration::from_secs(30) {
        std::thread::yield_now();
    }
    server.kill().unwrap();
    server.wait().unwrap();
    let asked = arm.asked("POST /tenant/oauth2/v2.0/token");
    assert!(asked[0].body.contains("client_secret=HUSH%262"), "{asked:?}");
    assert!(!arm.asked("networkInterfaces").is_empty());
}

// Resource groups.

#[test]
fn a_resource_group_is_listed_alone_and_one_that_cannot_be_keeps_its_records() {
    let world =
        World::new(&format!("subscriptions = ['{FIRST}']\nresource_groups = ['RG-App', 'rg-states']"));
    world.pass();
    assert_eq!((names(&world.published()), world.why()), (OF_FIRST.to_vec(), "current".to_owned()));
    assert!(world.arm.asked(&format!("GET /subscriptions/{FIRST}/providers")).is_empty());
    let before = world.published();
    for forbidden in ["403-authorization-failed", "404-resource-not-found"] {
        let fault = Fault::of_fixture(&format!("errors/{forbidden}.json"));
        let path = format!("/subscriptions/{FIRST}/resourceGroups/rg-app/providers/Microsoft.Network");
        world.arm.answer_at(&format!("{path}/networkInterfaces"), fault);
        world.pass();
        assert_eq!(world.published(), before);
        assert!(
            world.why().contains(&format!("{FIRST}/resourcegroups/rg-app: Azure says 40")),
            "{}",
            world.why()
        );
    }
    // The other one goes on: its endpoints are gone.
    let path = format!("/subscriptions/{FIRST}/resourceGroups/rg-states/providers/Microsoft.Network");
    world.arm.answer_at(&format!("{path}/privateEndpoints"), Fault::page(empty()));
    world.pass();
    assert_eq!(names(&world.published()), OF_FIRST[..2]);
    assert!(world.parts.store.snapshot().withheld_of("azure").is_empty());
}

#[test]
fn a_resource_group_that_config_no_longer_names_is_let_go() {
    let mut world =
        World::new(&format!("subscriptions = ['{FIRST}']\nresource_groups = ['rg-app', 'rg-states']"));
    let state = tempfile::tempdir().unwrap();
    world.keep_in(state.path());
    world.pass();
    assert_eq!(world.published().len(), 3);
    world.save();
    let id = format!("/subscriptions/{FIRST}/resourceGroups/rg-states");
    let mut other = World::with_arm(world.arm, &format!("resource_groups = ['{id}']"));
    other.keep_in(state.path());
    // Before anything is asked.
    assert_eq!(names(&other.published()), OF_FIRST[2..]);
    other.pass();
    assert_eq!((names(&other.published()), other.why()), (OF_FIRST[2..].to_vec(), "current".to_owned()));
}

#[test]
fn an_interface_in_another_resource_group_is_asked_for_by_its_id() {
    let world = World::new(&format!("subscriptions = ['{FIRST}']\nresource_groups = ['rg-app']"));
    let arm = &world.arm;
    let listed = |kind: &str| -> Vec<Value> {
        let page = |number| fixture(&format!("lists/{kind}-list-page{number}.json"));
        let pages = [1, 2].map(|number| serde_json::from_str::<Value>(&page(number)).unwrap());
        pages.iter().flat_map(|page| page["value"].as_array().unwrap().clone()).collect()
    };
    let of_vault = |it: &Value| it["name"].as_str().unwrap().contains("kv01");
    let vault = listed("private-endpoints").into_iter().find(of_vault).unwrap();
    assert_eq!(vault["properties"]["customDnsConfigs"], json!([]));
    let interface = &listed("network-interfaces").into_iter().find(of_vault).unwrap();
    let elsewhere = |value: &Value| {
        let group =
            |name: &str| format!("/resourceGroups/{name}/providers/Microsoft.Network/networkInterfaces/");
        value.to_string().replace(&group("rg-app"), &group("rg-nics"))
    };
    let page = |body: &str| format!(r#"{{"value": [{body}]}}"#);
    arm.list(FIRST, "privateEndpoints", [page(&elsewhere(&vault)), empty()]);
    arm.list(FIRST, "networkInterfaces", [empty(), empty()]);
    let interface = elsewhere(interface);
    let id = serde_json::from_str::<Value>(&interface).unwrap()["id"].as_str().unwrap().to_owned();
    arm.answer_at(&id, Fault::page(interface.clone()));
    world.pass();
    assert_eq!((names(&world.published()), world.why()), (vec![OF_FIRST[1]], "current".to_owned()));
    // Gone, as it seems: what is published stays.
    let before = world.published();
    arm.answer_at(&id, Fault::of_fixture("errors/404-resource-not-found.json"));
    world.pass();
    assert_eq!((world.published(), world.why()), (before.clone(), "current".to_owned()));
    // Without the right to it the group counts as not listed.
    arm.answer_at(&id, Fault::of_fixture("errors/403-authorization-failed.json"));
    world.pass();
    assert_eq!(world.published(), before);
    assert!(world.why().contains("Azure says 403"), "{}", world.why());
    // Nor is another's interface taken for it.
    arm.answer_at(&id, Fault::page(interface.replace("kv01", "kv02")));
    world.pass();
    assert_eq!(world.published(), before);
    assert!(world.why().contains("which belongs elsewhere"), "{}", world.why());
}

// Subscriptions.

fn graph_page(ids: &[&str], token: Option<&str>, truncated: &str, headers: &[&str]) -> Fault {
    let rows: Vec<Value> = ids.iter().map(|id| json!({"subscriptionId": id, "state": "Enabled"})).collect();
    let mut body = json!({"totalRecords": 2, "count": ids.len(), "resultTruncated": truncated, "data": rows});
    if let Some(token) = token {
        body["$skipToken"] = token.into();
    }
    answer(200, headers, &body.to_string())
}

#[test]
fn a_management_group_is_asked_of_resource_graph_page_by_page() {
    let world = World::new("management_group = 'mg-landing'");
    world.arm.add(SECOND, other_names);
    world.arm.graph([
        Fault::of_fixture("errors/500-internal.json"),
        graph_page(&[FIRST], Some("more=="), "false", &[]),
        graph_page(&[SECOND], None, "false", &[]),
    ]);
    world.pass();
    assert_eq!((world.published().len(), world.why()), (6, "current".to_owned()));
    let asked = world.arm.asked("POST /providers/Microsoft.ResourceGraph/resources");
    let bodies: Vec<Value> = asked.iter().map(|it| serde_json::from_str(&it.body).unwrap()).collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| body["managementGroups"] == json!(["mg-landing"])), "{bodies:?}");
    assert!(bodies[0]["query"].as_str().unwrap().ends_with("order by subscriptionId asc"));
    assert_eq!(
        (&bodies[1]["options"]["$skipToken"], bodies[2]["options"]["$skipToken"].as_str()),
        (&Value::Null, Some("more=="))
    );
    assert!(world.arm.asked("GET /subscriptions?").is_empty());
    // Resource Graph is late: what it does not name is not gone.
    world.arm.graph([graph_page(&[SECOND], None, "false", &[])]);
    world.pass();
    assert_eq!(world.published().len(), 6);
    assert!(world.why().contains(&format!("{FIRST}: the identity no longer sees")), "{}", world.why());
}

#[test]
fn what_resource_graph_tells_in_part_or_without_end_is_not_taken() {
    let world = World::new("management_group = 'mg'");
    world.arm.graph([graph_page(&[FIRST], None, "false", &[])]);
    world.pass();
    let before = world.published();
    assert_eq!(before.len(), 3);
    for (answer, why) in [
        (graph_page(&[], None, "true", &[]), "told in part only"),
        (graph_page(&[], Some("again"), "true", &[]), "leads back"),
        (graph_page(&[], None, "false", &[]), "sees no subscription"),
        (answer(200, &[], r#"{"data": {"columns": [], "rows": []}}"#), "page 1 cannot be read"),
        (answer(200, &[], "<html>"), "page 1 cannot be read"),
        (Fault::of_fixture("errors/429-resource-graph.json"), "wants to be asked again in 60 s"),
        (Fault::of_fixture("errors/403-authorization-failed.json"), "Azure says 403"),
        (
            answer(429, &["x-ms-user-quota-remaining: 0", "x-ms-user-quota-resets-after: 00:01:05"], "{}"),
            "wants to be asked again in 65 s",
        ),
        (
            graph_page(
                &[FIRST],
                Some("more"),
                "true",
                &["x-ms-user-quota-remaining: 0", "x-ms-user-quota-resets-after: 00:00:35"],
            ),
            "wants to be asked again in 35 s",
        ),
    ] {
        world.arm.graph([answer]);
        world.pass();
        assert_eq!(world.published(), before);
        assert!(world.why().contains(why), "{}", world.why());
    }
}

#[test]
fn a_subscription_that_is_said_to_be_deleted_goes_and_a_disabled_one_stays() {
    let world = World::new("");
    world.arm.add(SECOND, other_names);
    world.pass();
    assert_eq!(world.published().len(), 6);
    for state in ["Disabled", "Warned", "PastDue"] {
        world.arm.state(SECOND, state);
        world.pass();
        assert_eq!((world.published().len(), world.why()), (6, "current".to_owned()), "{state}");
    }
    world.arm.state(SECOND, "Deleted");
    world.arm.forget();
    world.pass();
    assert_eq!((names(&world.published()), world.why()), (OF_FIRST.to_vec(), "current".to_owned()));
    assert!(world.arm.asked(SECOND).is_empty());
}

#[test]
fn a_subscription_that_vanished_stays_until_an_operator_lets_it_go() {
    let mut world = World::new("");
    let state = tempfile::tempdir().unwrap();
    world.keep_in(state.path());
    world.arm.add(SECOND, other_names);
    world.pass();
    world.arm.show_only(&[FIRST]);
    world.pass();
    assert_eq!(world.published().len(), 6);
    assert!(world.why().contains("exclude_subscriptions"), "{}", world.why());
    world.save();
    let mut other = World::with_arm(world.arm, &format!("exclude_subscriptions = ['{SECOND}']"));
    other.keep_in(state.path());
    other.pass();
    assert_eq!((names(&other.published()), other.why()), (OF_FIRST.to_vec(), "current".to_owned()));
    // Also when it is seen again.
    other.arm.show_only(&[FIRST, SECOND]);
    other.pass();
    assert_eq!((names(&other.published()), other.why()), (OF_FIRST.to_vec(), "current".to_owned()));
}

// Zone groups.

/// An endpoint with a name that no zone of the catalogue takes.
fn odd_endpoint(number: usize, name: &str) -> Value {
    let group = format!("/subscriptions/{FIRST}/resourceGroups/rg/providers");
    json!({
        "id": format!("{group}/Microsoft.Network/privateEndpoints/pe-{number}"),
        "name": format!("pe-{number}"),
        "type": "Microsoft.Network/privateEndpoints",
        "properties": {
            "provisioningState": "Succeeded",
            "privateLinkServiceConnections": [{"properties": {
                "privateLinkServiceId": format!("{group}/Microsoft.Storage/storageAccounts/account{number}"),
                "groupIds": ["blob"],
                "privateLinkServiceConnectionState": {"status": "Approved"}
            }}],
            "customDnsConfigs": [{"fqdn": name, "ipAddresses": [format!("10.0.1.{number}")]}],
            "networkInterfaces": []
        }
    })
}

fn groups_path(number: usize) -> String {
    let group = format!("/subscriptions/{FIRST}/resourceGroups/rg/providers");
    format!("{group}/Microsoft.Network/privateEndpoints/pe-{number}/privateDnsZoneGroups")
}

fn zone_group(number: usize, zone: &str) -> Fault {
    let body = json!({"value": [{
        "name": "default",
        "id": format!("{}/default", groups_path(number)),
        "type": "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
        "properties": {"privateDnsZoneConfigs": [{"properties": {
            "privateDnsZoneId": format!(
                "/subscriptions/{SECOND}/resourceGroups/rg-dns/providers/Microsoft.Network/privateDnsZones/{zone}"
            ),
            "recordSets": [{"recordType": "A", "recordSetName": format!("odd{number}"),
                "ipAddresses": [format!("10.0.1.{number}")]}]
        }}]}
    }]});
    Fault::page(body.to_string())
}

fn odd_world(endpoints: impl IntoIterator<Item = Value>) -> World {
    let world = World::new("");
    world.arm.list(FIRST, "networkInterfaces", [empty(), empty()]);
    list_odd(&world, endpoints);
    world
}

fn list_odd(world: &World, endpoints: impl IntoIterator<Item = Value>) {
    let page = json!({"value": endpoints.into_iter().collect::<Vec<_>>()}).to_string();
    world.arm.list(FIRST, "privateEndpoints", [page, empty()]);
}

const BLOB: &str = "privatelink.blob.core.windows.net";

#[test]
fn a_zone_group_tells_where_a_name_belongs_that_no_zone_takes() {
    let normal = odd_endpoint(1, "plain.blob.core.windows.net");
    let world = odd_world([normal.clone(), odd_endpoint(2, "odd.example"), odd_endpoint(3, "odd.example")]);
    world.arm.answer_at(&groups_path(2), zone_group(2, BLOB));
    // A group may name any zone, but only the catalogue's are published into.
    world.arm.answer_at(&groups_path(3), zone_group(3, "bank.example"));
    world.pass();
    let told = ["odd2.privatelink.blob.core.windows.net.", "plain.privatelink.blob.core.windows.net."];
    assert_eq!((names(&world.published()), world.why()), (told.to_vec(), "current".to_owned()));
    assert_eq!(world.arm.asked("privateDnsZoneGroups").len(), 2);
}

#[test]
fn an_endpoint_that_looks_as_before_is_not_asked_again_for_its_zone_group() {
    let arm = FakeArm::start();
    let list = |names: [&str; 2]| {
        let endpoints = [odd_endpoint(1, names[0]), odd_endpoint(2, names[1])];
        arm.list(FIRST, "privateEndpoints", [json!({"value": endpoints}).to_string(), empty()]);
    };
    arm.list(FIRST, "networkInterfaces", [empty(), empty()]);
    arm.answer_at(&groups_path(1), zone_group(1, BLOB));
    arm.answer_at(&groups_path(2), zone_group(2, BLOB));
    let azure = with_catalogue(&arm);
    for (names, asked) in [
        (["odd.example", "odd.example"], 2),
        (["odd.example", "odd.example"], 2),
        (["odd.example", "other.example"], 3),
    ] {
        list(names);
        let pass = pass(&azure).unwrap();
        let in_zone = |it: &privatelink_dns::sync::EndpointName| it.zone.is_some();
        let endpoints = pass.listed[FIRST].endpoints();
        assert!(endpoints.iter().all(|it| it.names.iter().any(in_zone)), "{endpoints:?}");
        assert_eq!(arm.asked("privateDnsZoneGroups").len(), asked);
    }
}

fn with_catalogue(arm: &FakeArm) -> Arc<Azure> {
    let azure = Azure::new(settings(arm, CredentialSettings::ManagedIdentity { assigned: None }), None);
    Arc::new(azure.unwrap().with_catalogue(Arc::new(Catalogue::builtin(Cloud::Public))))
}

#[test]
fn a_zone_group_of_another_endpoint_is_not_taken() {
    let world = odd_world([odd_endpoint(1, "odd.example")]);
    world.arm.answer_at(&groups_path(1), zone_group(2, BLOB));
    world.pass();
    assert!(world.published().is_empty());
}

#[test]
fn without_the_right_to_zone_groups_a_subscription_is_listed_and_keeps_what_they_gave() {
    let endpoints = || [odd_endpoint(1, "plain.blob.core.windows.net"), odd_endpoint(2, "odd.example")];
    let world = odd_world(endpoints());
    world.arm.answer_at(&groups_path(2), zone_group(2, BLOB));
    world.pass();
    let before = world.published();
    assert_eq!(before.len(), 2);
    let forbidden = r#"{"error": {"code": "AuthorizationFailed", "message": "The client does not have authorization to perform action 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups/read' over scope 'x'"}}"#;
    for fault in [
        answer(403, &[], forbidden),
        Fault::of_fixture("errors/503-service-unavailable.json"),
        answer(200, &[], "<html>"),
    ] {
        // A pass by itself remembers nothing of those before.
        world.arm.answer_at(&groups_path(2), fault);
        world.pass();
        assert_eq!((world.published(), world.why()), (before.clone(), "current".to_owned()));
    }
    world.arm.answer_at(&groups_path(2), answer(403, &[], forbidden));
    world.pass();
    let warnings = world.parts.sources.list()[0].known().desired.warnings.clone();
    let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert!(
        told.iter()
            .any(|it| it
                .ends_with("the role lacks Microsoft.Network/privateEndpoints/privateDnsZoneGroups/read")),
        "{told:?}"
    );
    assert_eq!(world.parts.sources.list()[0].known().desired.unplaced.len(), 1);
}

#[test]
fn at_most_two_hundred_zone_groups_are_asked_for_in_one_pass_and_the_rest_later() {
    let arm = FakeArm::start();
    let page = |numbers: std::ops::Range<usize>| {
        let endpoints: Vec<Value> = numbers.map(|it| odd_endpoint(it, "odd.example")).collect();
        json!({"value": endpoints}).to_string()
    };
    arm.list(FIRST, "networkInterfaces", [empty(), empty()]);
    arm.list(FIRST, "privateEndpoints", [page(0..230), empty()]);
    (0..230).for_each(|number| arm.answer_at(&groups_path(number), Fault::page(empty())));
    let azure = with_catalogue(&arm);
    for asked in [200, 230, 230] {
        let pass = pass(&azure).unwrap();
        assert_eq!((pass.listed.len(), arm.asked("privateDnsZoneGroups").len()), (1, asked));
    }
}

// Patience.

#[test]
fn a_throttled_subscription_does_not_hold_up_the_others_and_is_due_when_its_rest_ends() {
    let arm = FakeArm::start();
    arm.add(SECOND, other_names);
    let throttled = answer(429, &["Retry-After: 20"], "");
    arm.fault((SECOND, "privateEndpoints", 1), throttled, usize::MAX);
    let azure = of_host(&arm);
    let began = Instant::now();
    let first = pass(&azure).unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "it waited");
    assert!(first.listed.contains_key(FIRST) && first.failed.contains_key(SECOND));
    let again_in = first.again_in.unwrap();
    assert!(again_in > Duration::from_secs(10) && again_in <= Duration::from_secs(20), "{again_in:?}");
    arm.forget();
    let second = pass(&azure).unwrap();
    assert!(second.listed.contains_key(FIRST) && arm.asked(SECOND).is_empty());
    assert_eq!(second.again_in.map(|it| it <= again_in), Some(true));
}

#[test]
fn requests_are_counted_a_pass_and_the_pace_is_slower_when_few_reads_are_left() {
    let arm = FakeArm::start();
    let azure = of_host(&arm);
    let requests = arm.asked("").len();
    let whole = pass(&azure).unwrap();
    // Without the one for the token.
    assert_eq!((whole.requests, whole.again_in), (arm.asked("").len() - requests - 1, None));
    arm.fault((FIRST, "privateEndpoints", 2), Fault::Cut, 1);
    assert_eq!(pass(&azure).unwrap().requests, whole.requests + 1);
    arm.page_header("x-ms-ratelimit-remaining-subscription-reads: 49");
    let began = Instant::now();
    pass(&azure).unwrap();
    // Two pages of each list, the lists side by side.
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
}

// Bodies.

fn failure(arm: &FakeArm) -> String {
    pass(&of_host(arm)).unwrap().failed[FIRST].to_string()
}

#[test]
fn a_listing_without_end_ends_with_an_error() {
    let arm = FakeArm::start();
    // Every page leads to another one.
    arm.endless(FIRST, "privateEndpoints");
    assert_eq!(failure(&arm), "the listing has more than 1000 pages");
}

#[test]
fn an_id_that_is_listed_twice_is_an_error_and_so_is_one_of_elsewhere() {
    let arm = FakeArm::start();
    let page = |endpoint: Value| json!({"value": [endpoint]}).to_string();
    let twice =
        [page(odd_endpoint(1, "a.blob.core.windows.net")), page(odd_endpoint(1, "b.blob.core.windows.net"))];
    let linked = twice[0].replacen("{", &format!(r#"{{"nextLink": "{}/subscriptions/{FIRST}/providers/Microsoft.Network/privateEndpoints?skiptoken=2","#, arm.url()), 1);
    arm.list(FIRST, "privateEndpoints", [linked, twice[1].clone()]);
    let why = failure(&arm);
    assert!(
        why.starts_with("the listing changed while it was read: ") && why.ends_with("pe-1 is there twice"),
        "{why}"
    );
    let elsewhere = page(odd_endpoint(1, "a.blob.core.windows.net")).replace(FIRST, SECOND);
    arm.list(FIRST, "privateEndpoints", [elsewhere, empty()]);
    assert!(failure(&arm).ends_with("which belongs elsewhere"));
}

#[test]
fn a_deep_body_and_a_huge_one_are_errors() {
    for (body, why) in [
        ("{\"value\": [".to_owned() + &"{\"a\": [".repeat(50_000), "page 1 cannot be read"),
        (
            format!(r#"{{"value": [{{"id": "{}"}}]}}"#, "x".repeat(70_000)),
            "page 1 holds a text of more than 65536 bytes",
        ),
        (" ".repeat((64 << 20) + 1), "a page is larger than 67108864 bytes"),
    ] {
        let arm = FakeArm::start();
        arm.fault((FIRST, "networkInterfaces", 1), Fault::page(body), usize::MAX);
        assert_eq!(failure(&arm), why);
    }
}
