//! The API and its command line as an operator uses them, against the real process.

use std::fs;

use privatelink_dns::admin::{Reason, Server, WantedEndpoints};
use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::served::{NOTHING, Place, command, config};
use crate::support::test_daemon::{TestDaemon, write};
use crate::support::upstream::Upstream;

const BLOB: &str = "privatelink.blob.core.windows.net";

fn a(address: &str) -> Value {
    json!({"ttl": 60, "records": [address]})
}

/// A change of the zone's file, and what operators wrote is in its way.
#[test]
fn a_file_that_contradicts_operators_records_is_read_and_they_are_shown_as_not_served() {
    const SOA: &str = "@ 60 SOA ns host 1 1 1 1 1\n";
    let zone = "[[zone]]\nname = \"corp.internal\"\nfile = \"corp.zone\"\n";
    let place = Place::new(&format!("{NOTHING}{zone}"));
    write(place.folder.path(), "corp.zone", SOA);
    let served = place.serve();
    served.well("PUT /zones/corp.internal/record-sets/www/A", a("10.0.0.4"));
    served.well("PUT /zones/corp.internal/record-sets/api/A", a("10.0.0.5"));
    let read = |text: &str| {
        write(place.folder.path(), "corp.zone", &format!("{SOA}{text}"));
        served.signal("HUP");
    };
    read("www 60 CNAME api\nmore 60 A 10.0.0.6\n");
    served.wait_for("more.corp.internal.", "A", &["more.corp.internal. 60 A 10.0.0.6"]);
    let alias = ["www.corp.internal. 60 CNAME api.corp.internal.", "api.corp.internal. 60 A 10.0.0.5"];
    served.wait_for("www.corp.internal.", "A", &alias);
    let shown = || served.call("GET /zones/corp.internal/record-sets/www/A", None).1;
    let start = std::time::Instant::now();
    let why = "www.corp.internal. has a CNAME record beside other data";
    while !shown()["why_not_served"].as_str().is_some_and(|told| told.contains(why)) {
        assert!(start.elapsed() < crate::support::client::PATIENCE, "{}", shown());
    }
    assert_eq!(shown()["served"], false);
    // The file makes room again.
    read("other 60 A 10.0.0.7\n");
    served.wait_for("other.corp.internal.", "A", &["other.corp.internal. 60 A 10.0.0.7"]);
    served.wait_for("www.corp.internal.", "A", &["www.corp.internal. 60 A 10.0.0.4"]);
    assert_eq!(shown()["served"], true);
    let log = served.terminate();
    let told = log.lines().find(|line| line.contains("WARN") && line.contains("www.corp.internal. A is not"));
    assert!(told.is_some_and(|line| line.contains("delete it, or what it contradicts")), "{log}");
}

#[test]
fn answers_of_the_cache_change_with_the_write() {
    const CHAIN: [&str; 2] = [
        "app.blob.core.windows.net. 300 CNAME app.privatelink.blob.core.windows.net.",
        "app.privatelink.blob.core.windows.net. 300 A 20.60.1.1",
    ];
    let upstream = Upstream::start(&[("app.blob.core.windows.net. A", &CHAIN)]);
    let place = Place::new(&format!("[forward]\nupstreams = [\"{}\"]\n", upstream.address));
    let served = place.serve();
    let (public, private) = ("app.blob.core.windows.net.", format!("app.{BLOB}."));
    assert_eq!(served.dns(public, "A"), CHAIN);
    // Neither is there, and the cache knows that.
    let missing = format!("new.{BLOB}.");
    assert_eq!(served.dns(&missing, "A"), [""; 0]);
    assert_eq!(served.dns("new.corp.example.", "A"), [""; 0]);
    let asked = upstream.asked();

    let path = format!("/zones/{BLOB}/record-sets/app/A");
    served.well(&format!("PUT {path}"), a("10.1.0.5"));
    let spliced = [CHAIN[0].to_owned(), format!("{private} 60 A 10.1.0.5")];
    assert_eq!(served.dns(public, "A"), spliced);
    served.well(&format!("PUT /zones/{BLOB}/record-sets/new/A"), a("10.1.0.6"));
    assert_eq!(served.dns(&missing, "A"), [format!("{missing} 60 A 10.1.0.6")]);
    served.well("POST /zones", json!({"name": "corp.example"}));
    served.well("PUT /zones/corp.example/record-sets/new/A", a("10.1.0.7"));
    assert_eq!(served.dns("new.corp.example.", "A"), ["new.corp.example. 60 A 10.1.0.7"]);
    // What the zone itself denied.
    assert_eq!(served.dns("later.corp.example.", "A"), [""; 0]);
    served.well("PUT /zones/corp.example/record-sets/later/A", a("10.1.0.8"));
    assert_eq!(served.dns("later.corp.example.", "A"), ["later.corp.example. 60 A 10.1.0.8"]);

    assert_eq!(served.call(&format!("DELETE {path}"), None).0, 204);
    assert_eq!(served.dns(public, "A"), CHAIN);
    assert_eq!(upstream.asked(), asked, "all along the answers were in the cache");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zone_is_seen_by_the_networks_that_it_is_linked_to() {
    let api = Api::start().await;
    let zone = json!({"name": "corp.internal", "networks": ["hub"], "on_missing": "nxdomain"});
    let view = api.put("POST /zones", zone).await;
    assert_eq!(view["networks"], json!(["hub"]));
    api.put("PUT /zones/corp.internal/record-sets/www/A", a("10.0.0.4")).await;
    let (hub, spoke, name) = ("10.1.0.9", "10.2.0.9", "www.corp.internal.");
    let is_seen = async |client: &str| api.dns_from(client, name, "A").await == "NOERROR 60 10.0.0.4";
    assert!(is_seen(hub).await && !is_seen(spoke).await);
    let link = async |networks: Value| {
        let call = api.call("PATCH /zones/corp.internal").header("if-match", "*");
        let answer = call.json(&json!({"networks": networks})).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    link(json!(["spoke"])).await;
    assert!(!is_seen(hub).await && is_seen(spoke).await);
    link(json!(["hub", "spoke"])).await;
    assert!(is_seen(hub).await && is_seen(spoke).await);
    link(Value::Null).await;
    assert!(is_seen(hub).await && is_seen("10.10.0.1").await);
    let plan = api.call("PATCH /zones/corp.internal?dry_run=true").header("if-match", "*");
    let plan = plan.json(&json!({"networks": ["spoke"], "on_missing": "ask-public"})).send().await.json();
    assert_eq!((plan["dry_run"].as_bool(), plan["lines_total"].as_u64()), (Some(true), Some(1)));
    assert!(is_seen(hub).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_can_be_made_from_the_description() {
    let api = Api::start().await;
    let spec = api.call("GET /api/openapi.json").nobody().send().await.json();
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in spec["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is two operations");
            for text in ["summary", "description"] {
                assert!(
                    operation[text].as_str().is_some_and(|text| !text.is_empty()),
                    "{method} {path}: {text}"
                );
            }
            let tag = &operation["tags"][0];
            let tags = spec["tags"].as_array().unwrap();
            assert!(tags.iter().any(|it| it["name"] == *tag && it["description"].is_string()), "{tag}");
        }
    }
    // Two types of one name would be one schema.
    let schemas = &spec["components"]["schemas"];
    let to = schemas["RecordSetView"]["properties"]["by_network"]["items"]["$ref"].as_str().unwrap();
    assert!(spec.pointer(to.trim_start_matches('#')).unwrap()["properties"]["network"].is_object(), "{to}");
    assert!(schemas["NetworkView"]["properties"]["clients"].is_object());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_can_be_tried_and_trying_changes_nothing() {
    let api = Api::start().await;
    api.put("POST /zones", json!({"name": "corp.internal"})).await;
    api.put("PUT /zones/corp.internal/record-sets/www/A", a("10.0.0.4")).await;
    api.put("PUT /forwarders/branch.example", json!({"upstreams": ["10.0.0.53"]})).await;
    let token = json!({"name": "deploy", "role": "reader"});
    let id = api.put("POST /tokens", token.clone()).await["id"].as_str().unwrap().to_owned();
    let set = "/zones/corp.internal/record-sets/www/A";
    let changes = json!({"changes": [
        {"action": "delete", "zone": "corp.internal", "name": "www", "type": "A"},
    ]});
    let writes = [
        ("post /zones", "POST /zones".to_owned(), json!({"name": "new.internal"})),
        ("patch /zones/{zone}", "PATCH /zones/corp.internal".into(), json!({"networks": ["hub"]})),
        ("delete /zones/{zone}", "DELETE /zones/corp.internal".into(), Value::Null),
        ("put /zones/{zone}/record-sets/{name}/{type}", format!("PUT {set}"), a("10.0.0.5")),
        ("delete /zones/{zone}/record-sets/{name}/{type}", format!("DELETE {set}"), Value::Null),
        ("post /changes", "POST /changes".into(), changes),
        (
            "post /zones/{zone}/import",
            "POST /zones/corp.internal/import".into(),
            json!("new 60 A 10.0.0.6\n"),
        ),
        (
            "put /forwarders/{domain}",
            "PUT /forwarders/branch.example".into(),
            json!({"upstreams": ["10.0.0.54"]}),
        ),
        ("delete /forwarders/{domain}", "DELETE /forwarders/branch.example".into(), Value::Null),
        ("post /tokens", "POST /tokens".into(), token),
        ("delete /tokens/{id}", format!("DELETE /tokens/{id}"), Value::Null),
    ];
    let revision = async || api.get("/changes?limit=1").await["items"][0]["revision"].clone();
    let before = revision().await;
    for (_, what, body) in &writes {
        let call = api.call(&format!("{what}?dry_run=true"));
        let call = if what.starts_with("POST") { call } else { call.header("if-match", "*") };
        let call = match body {
            Value::Null => call,
            Value::String(text) => call.text("text/dns", text),
            body => call.json(body),
        };
        let answer = call.send().await;
        assert_eq!(answer.status, 200, "{what}: {}", answer.text);
        let plan = answer.json();
        assert_eq!(plan["dry_run"], true, "{what}: {plan}");
        assert!(plan["lines_total"].as_u64().is_some_and(|lines| lines > 0), "{what}: {plan}");
    }
    assert_eq!(revision().await, before);
    assert_eq!(api.dns("www.corp.internal.", "A").await, "NOERROR 60 10.0.0.4");
    // These are all, and each that changes what is there says which state it means.
    let spec = api.call("GET /api/openapi.json").nobody().send().await.json();
    let mut described = std::collections::BTreeSet::new();
    for (path, item) in spec["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let has = |name: &str| {
                let parameters = operation["parameters"].as_array();
                parameters.is_some_and(|all| all.iter().any(|parameter| parameter["name"] == name))
            };
            if has("dry_run") {
                let wanted = if method == "post" { "Idempotency-Key" } else { "If-Match" };
                assert!(has(wanted) || path.ends_with("/tokens/{id}"), "{method} {path} lacks {wanted}");
                described.insert(format!("{method} {}", path.strip_prefix("/api/v1").unwrap()));
            }
        }
    }
    assert_eq!(described, writes.iter().map(|(route, ..)| (*route).to_owned()).collect());
    // And what is sent twice is done once.
    let import = |text: &'static str| {
        let call = api.call("POST /zones/corp.internal/import").header("idempotency-key", "once");
        call.text("text/dns", text).send()
    };
    let first = import("new 60 A 10.0.0.6\n").await;
    assert_eq!(first.status, 200, "{}", first.text);
    let done = revision().await;
    assert_eq!(import("new 60 A 10.0.0.6\n").await.json()["revision"], first.json()["revision"]);
    assert_eq!(revision().await, done);
    assert_eq!(import("new 60 A 10.0.0.7\n").await.fault(), (422, "Idempotency-Key".into()));
}

#[test]
fn a_zone_goes_out_and_comes_in_by_the_command_line() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    let path = |name: &str| place.folder.path().join(name).to_str().unwrap().to_owned();
    let run = |arguments: &[&str]| place.program(&served, arguments);
    let well = |arguments: &[&str]| {
        let (code, out, error) = run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{error}");
        out
    };
    served.well("POST /zones", json!({"name": "corp.internal"}));
    served.well("PUT /zones/corp.internal/record-sets/old/A", a("10.0.0.1"));
    let file = path("new.zone");
    fs::write(&file, "$TTL 60\nwww A 10.0.0.4\nwww A 10.0.0.5\napi CNAME www\n").unwrap();
    let import = ["zones", "import", &file, "--zone", "corp.internal"];
    let with = |more: &[&'static str]| [&import, more].concat();
    let plan = well(&with(&["--dry-run"]));
    assert_eq!(
        plan,
        "+ corp.internal. api 60 CNAME www.corp.internal.\n\
         + corp.internal. www 60 A 10.0.0.4\n\
         + corp.internal. www 60 A 10.0.0.5\n\
         - corp.internal. old 60 A 10.0.0.1\n\
         3 to change; nothing is done yet\n"
    );
    assert_eq!(served.dns("www.corp.internal.", "A"), [""; 0]);
    assert!(well(&with(&["--merge"])).starts_with("imported; revision "));
    assert_eq!(served.dns("www.corp.internal.", "A").len(), 2);
    assert_eq!(served.dns("old.corp.internal.", "A").len(), 1);
    let done: Value = serde_json::from_str(&well(&with(&["-o", "json"]))).unwrap();
    assert!(done["serials"]["corp.internal."].is_u64(), "{done}");
    assert_eq!(served.dns("old.corp.internal.", "A"), [""; 0]);

    let exported = well(&["zones", "export", "corp.internal"]);
    assert!(exported.contains("SOA") && exported.contains("10.0.0.5"), "{exported}");
    let by_rest = well(&["zones", "export", "corp.internal", "--origin", "rest"]);
    assert!(!by_rest.contains("SOA") && by_rest.contains("10.0.0.5"), "{by_rest}");
    fs::write(&file, &exported).unwrap();
    assert_eq!(well(&with(&["--dry-run"])), "0 to change; nothing is done yet\n");

    fs::write(&file, "www 60 A 10.0.0.4\nwww 60 CNAME api\n").unwrap();
    let (code, _, error) = run(&import);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("new.zone is not imported") && error.contains("CNAME"), "{error}");
    fs::write(&file, "www 60 A ten\n").unwrap();
    let (code, _, error) = run(&import);
    assert!(code == 2 && error.contains("[line 1]"), "{error}");
    let (code, _, error) = run(&["zones", "export", "nowhere.internal"]);
    assert!(code == 2 && error.contains("there is no zone nowhere.internal."), "{error}");

    let listed: Value = serde_json::from_str(&well(&["zones", "list", "-o", "json"])).unwrap();
    let zone = listed.as_array().unwrap().iter().find(|zone| zone["name"] == "corp.internal.").unwrap();
    assert_eq!(zone["made_by"], "rest");
    // Without the server the zone is not known, and that is told.
    let local = |more: &[&str]| {
        let mut local = command(&["zones", "list", "-c", place.config().to_str().unwrap()]);
        let output = local.args(more).output().unwrap();
        assert!(output.status.success());
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (out, hint) = local(&[]);
    assert!(!out.contains("corp.internal") && hint.contains("--server http://127.0.0.1:"), "{out}{hint}");
    assert_eq!(serde_json::from_str::<Value>(&local(&["-o", "json"]).0).unwrap(), json!([]));
    // The environment names it as well.
    let mut named = command(&["zones", "list", "-c", place.config().to_str().unwrap()]);
    let named = named.env("PRIVATELINK_DNS_SERVER", &served.client.api).output().unwrap();
    assert!(String::from_utf8(named.stdout).unwrap().contains("corp.internal.  plain  rest"));
}

#[test]
fn a_pass_of_a_running_server_is_waited_for() {
    let source = "[[sync.source]]\nkind = \"directory\"\npath = \"inventory\"\n";
    let place = Place::new(&format!("{NOTHING}{source}"));
    write(place.folder.path(), "inventory/pe.json", &endpoints());
    let served = place.serve();
    let (code, out, error) = place.program(&served, &["sync", "--once"]);
    assert_eq!(code, 0, "{out}{error}");
    assert!(out.contains("inventory  directory  current"), "{out}");
    let (code, out, _) = place.program(&served, &["sync", "-o", "json"]);
    let sources: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, sources[0]["name"].as_str()), (0, Some("inventory")));
    let begun = sources[0]["passes"]["began"].clone();
    let (_, out, _) = place.program(&served, &["sync", "--once", "-o", "json"]);
    assert_ne!(serde_json::from_str::<Value>(&out).unwrap()[0]["passes"]["began"], begun);
    // One that cannot be read is told as the local pass tells it.
    write(place.folder.path(), "inventory/pe.json", "{");
    let (code, _, error) = place.program(&served, &["sync", "--once"]);
    assert_eq!(code, 2);
    assert!(error.contains("source `inventory` stays as it was"), "{error}");
    let (code, _, error) = place.program(&served, &["sync", "--confirm", "inventory"]);
    assert!(code == 2 && error.contains("nothing of a source `inventory` is held back"), "{error}");
}

/// One of a Private Link service, one that waits without a name, and one with a name.
fn endpoints() -> String {
    let one = |name: &str, status: &str, target: &str, group: &str, names: &str| {
        format!(
            r#"{{"id": "/subscriptions/s1/resourceGroups/rg/providers/Microsoft.Network/privateEndpoints/{name}",
            "name": "{name}", "type": "Microsoft.Network/privateEndpoints", "provisioningState": "Succeeded",
            "subnet": {{"id": "/subscriptions/s1/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/hub/subnets/pe"}},
            "manualPrivateLinkServiceConnections": [],
            "privateLinkServiceConnections": [{{
                "privateLinkServiceId": "/subscriptions/s1/resourceGroups/rg/providers/{target}",
                "groupIds": [{group}], "privateLinkServiceConnectionState": {{"status": "{status}"}}}}],
            "customDnsConfigs": [{names}], "networkInterfaces": []}}"#
        )
    };
    let storage = "Microsoft.Storage/storageAccounts/app";
    let all = [
        one("pe-service", "Approved", "Microsoft.Network/privateLinkServices/pls", "", ""),
        one("pe-waiting", "Pending", storage, "\"blob\"", ""),
        one(
            "pe-app",
            "Approved",
            storage,
            "\"blob\"",
            r#"{"fqdn": "app.blob.core.windows.net", "ipAddresses": ["10.1.2.3"]}"#,
        ),
    ];
    format!("[{}]", all.join(","))
}

#[test]
fn endpoints_without_a_name_are_listed_with_the_reason() {
    let source = "[[sync.source]]\nkind = \"directory\"\npath = \"inventory\"\n";
    let daemon = TestDaemon::start(&format!("{NOTHING}{source}"), &[("inventory/pe.json", &endpoints())]);
    let listed = daemon.ports.endpoints(&WantedEndpoints { limit: 10, ..WantedEndpoints::default() });
    let told: Vec<(&str, Option<&str>, Option<Reason>, usize)> = listed
        .iter()
        .map(|it| {
            (it.name.as_str(), it.state.as_deref(), it.why_not.as_ref().map(|why| why.reason), it.names.len())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("pe-app", Some("Approved"), None, 1),
            ("pe-service", Some("Approved"), Some(Reason::NoNames), 0),
            ("pe-waiting", Some("Pending"), Some(Reason::Pending), 0),
        ]
    );
    assert!(listed.iter().all(|it| it.virtual_network.is_some() && it.resource.is_some()), "{listed:?}");
    daemon.stop();
}

#[test]
fn what_keeps_the_command_line_from_the_server_is_told_with_what_to_do() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    let token = place.token_file();
    let fails = |server: &str, more: &[&str]| {
        let mut program = command(&["records", "list", "corp.internal", "--server", server]);
        let output = program.args(more).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let with_token = ["--token-file", token.to_str().unwrap()];
    let error = fails("http://127.0.0.1:1", &with_token);
    assert!(error.contains("Connection refused") && error.contains("is the server running"), "{error}");
    let error = fails(&served.client.api.replace("http:", "https:"), &with_token);
    assert!(error.contains("ask it as http://"), "{error}");
    let error = fails("127.0.0.1:8053", &with_token);
    assert!(error.contains("--server takes a URL"), "{error}");
    // No config here to tell where the token is.
    let error = fails(&served.client.api, &["-c", "/nowhere/config.toml"]);
    assert!(error.contains("--token-file names the file of a token"), "{error}");
    let wrong = place.folder.path().join("wrong.token");
    fs::write(&wrong, "pldns_no").unwrap();
    let error = fails(&served.client.api, &["--token-file", wrong.to_str().unwrap()]);
    assert!(error.contains("does not take the token of") && error.contains("wrong.token"), "{error}");
    assert!(error.ends_with("Who you are is not known: the token is not known, or wrong\n"), "{error}");
}

#[test]
fn a_server_with_a_certificate_of_ones_own_is_asked_by_ca_file() {
    let place = Place::new(NOTHING);
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let path = |name: &str| place.folder.path().join(name);
    fs::write(path("admin.pem"), made.cert.pem()).unwrap();
    fs::write(path("admin.key"), made.signing_key.serialize_pem()).unwrap();
    let tls = "certificate = \"admin.pem\"\nkey = \"admin.key\"\n";
    write(place.folder.path(), "config.toml", &config(&format!("{tls}{NOTHING}")));
    let served = place.serve();
    assert!(served.client.api.starts_with("https://"), "{}", served.client.api);
    let (code, _, error) = place.program(&served, &["token", "list"]);
    assert!(code == 2 && error.contains("--ca-file names the authority"), "{error}");
    let authority = path("admin.pem");
    let (code, out, error) =
        place.program(&served, &["token", "list", "--ca-file", authority.to_str().unwrap()]);
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("admin"), "{out}");
    let (code, _, error) = place.program(&served.at("http"), &["token", "list"]);
    assert!(code == 2 && error.contains("https://"), "{error}");
}

/// Names in the zone that is listed.
const MANY: usize = 100_000;
/// What listing all of it may add to the server's memory: some pages, and what the allocator keeps of them.
const LISTING_BYTES_MAX: u64 = 16 << 20;

#[test]
fn a_hundred_thousand_record_sets_are_listed_in_bounded_memory() {
    let zone = "[[zone]]\nname = \"corp.internal\"\nfile = \"corp.zone\"\n";
    let place = Place::new(&format!("{NOTHING}{zone}"));
    let mut text = "$TTL 60\n@ SOA ns host 1 1 1 1 1\n".to_owned();
    for number in 0..MANY {
        text += &format!("host{number} A 10.{}.{}.{}\n", number >> 16, (number >> 8) & 255, number & 255);
    }
    write(place.folder.path(), "corp.zone", &text);
    let served = place.serve();
    let page = |after: &str| {
        let what = format!("GET /zones/corp.internal/record-sets?type=A&limit=1000{after}");
        let (status, page) = served.call(&what, None);
        assert_eq!(status, 200, "{page}");
        page
    };
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{}/status", served.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    };
    page("");
    // The peak so far is that of reading the zone: from here on it is that of the listing (proc(5), clear_refs).
    fs::write(format!("/proc/{}/clear_refs", served.id()), "5").unwrap();
    let before = peak();
    let mut seen = std::collections::HashSet::new();
    let mut after = String::new();
    loop {
        let page = page(&after);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 1000);
        seen.extend(items.iter().map(|set| set["name"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), MANY);
    let grown = peak() - before;
    assert!(grown <= LISTING_BYTES_MAX, "the listing took {grown} bytes");
}
