//! Zones and records by REST: stored, served at once, and refused with a reason.

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::world;
use privatelink_dns::dns::{Name, RecordType};
use privatelink_dns::zone::{Change, ChangeSet, Claim, Offer, Origin, Store, ZoneHeader};

const BLOB: &str = "privatelink.blob.core.windows.net.";

fn zone_body() -> Value {
    json!({"name": "corp.internal"})
}

fn a(address: &str) -> Value {
    json!({"ttl": 300, "records": [address]})
}

async fn with_zone() -> Api {
    let api = Api::start().await;
    api.put("POST /zones", zone_body()).await;
    api
}

/// What sync and files put there.
fn endpoints(store: &Store) {
    let apex: Name = BLOB.parse().unwrap();
    let claim = |name: &str, address: &str, vnet: &str| {
        let set = world::set(RecordType::A, 10, &[address], apex.borrow()).unwrap();
        let origin = Origin::Endpoint(
            Claim {
                endpoint: world::endpoint_id(&format!("pe-{address}")),
                virtual_network: Some(format!("/vnets/{vnet}").into()),
                subscription: "s".into(),
                resource: None,
                source: "arm".into(),
                since_secs: 1_700_000_000,
            }
            .into(),
        );
        let name = Name::parse(name, apex.borrow()).unwrap();
        Change::Put { zone: apex.clone(), name, offer: Offer { set, origin } }
    };
    let changes = vec![
        Change::SetZone(ZoneHeader::private_link(apex.clone())),
        claim("app", "10.1.0.4", "hub"),
        claim("app", "10.2.0.4", "spoke"),
        claim("other", "10.1.0.5", "hub"),
    ];
    store.commit(ChangeSet { changes }).unwrap();
}

async fn with_endpoints() -> Api {
    Api::start().await.restart(endpoints).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_served_when_it_is_answered_and_after_a_restart() {
    let api = with_zone().await;
    assert_eq!(api.dns("www.corp.internal.", "A").await, "NXDOMAIN");
    let answer = api.call("PUT /zones/corp.internal/record-sets/www/A").json(&a("10.0.0.4")).send().await;
    assert_eq!((answer.status, answer.json()["fqdn"].as_str()), (201, Some("www.corp.internal.")));
    assert_eq!(api.dns("www.corp.internal.", "A").await, "NOERROR 300 10.0.0.4");
    let etag = answer.etag.unwrap();
    let put = |etag: String, address: &str| {
        api.call("PUT /zones/corp.internal/record-sets/www/A")
            .header("if-match", &etag)
            .json(&a(address))
            .send()
    };
    let answer = put(etag.clone(), "10.0.0.5").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_ne!(answer.etag, Some(etag.clone()));
    assert_eq!(api.dns("www.corp.internal.", "A").await, "NOERROR 300 10.0.0.5");
    assert_eq!(put(etag, "10.0.0.6").await.status, 412);
    let serial = api.get("/zones/corp.internal").await["serial"].as_u64().unwrap();

    let api = api.restart(|_| {}).await;
    assert_eq!(api.dns("www.corp.internal.", "A").await, "NOERROR 300 10.0.0.5");
    assert_eq!(api.get("/zones/corp.internal").await["serial"].as_u64(), Some(serial));
    let gone = api.call("DELETE /zones/corp.internal/record-sets/www/A").header("if-match", "*").send().await;
    assert_eq!(gone.status, 204);
    assert_eq!(api.dns("www.corp.internal.", "A").await, "NXDOMAIN");
    assert!(api.get("/zones/corp.internal").await["serial"].as_u64() > Some(serial));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_changed_only_by_who_says_which_state() {
    let api = with_zone().await;
    let path = "/zones/corp.internal/record-sets/www/A";
    let create = || api.call(&format!("PUT {path}")).header("if-none-match", "*").json(&a("10.0.0.4")).send();
    assert_eq!(create().await.status, 201);
    assert_eq!(create().await.fault(), (412, "If-None-Match".into()));
    assert_eq!(
        api.call(&format!("PUT {path}")).json(&a("10.0.0.9")).send().await.fault(),
        (428, "If-Match".into())
    );
    assert_eq!(api.call(&format!("DELETE {path}")).send().await.status, 428);
    assert_eq!(api.call("DELETE /zones/corp.internal").send().await.status, 428);
    let patch = json!({"on_missing": "ask-public"});
    assert_eq!(api.call("PATCH /zones/corp.internal").json(&patch).send().await.status, 428);
    let etag = api.call(&format!("GET {path}")).send().await.etag.unwrap();
    let seen = api.call(&format!("GET {path}")).header("if-none-match", &etag).send().await;
    assert_eq!((seen.status, seen.text.as_str()), (304, ""));
    assert_eq!(api.dns("www.corp.internal.", "A").await, "NOERROR 300 10.0.0.4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_with_its_field_and_nothing_is_stored() {
    let api = with_zone().await;
    let set = "/zones/corp.internal/record-sets";
    api.put(&format!("PUT {set}/alias/CNAME"), json!({"ttl": 60, "records": ["www"]})).await;
    api.put(&format!("PUT {set}/www/A"), a("10.0.0.4")).await;
    let before = api.get("/changes?limit=1").await["items"][0]["revision"].clone();
    let long = "a".repeat(64);
    for (what, body, field) in [
        ("PUT /www/A", json!({"ttl": -1, "records": ["10.0.0.1"]}), "/ttl"),
        ("PUT /www/A", json!({"ttl": 2_147_483_648_u64, "records": ["10.0.0.1"]}), "/ttl"),
        ("PUT /www/A", json!({"ttl": "1h", "records": ["10.0.0.1"]}), "/ttl"),
        ("PUT /www/A", json!({"ttl": 60, "records": ["10.0.0.400"]}), "/records/0"),
        ("PUT /www/A", json!({"ttl": 60, "records": ["10.0.0.1", "::1"]}), "/records/1"),
        ("PUT /www/A", json!({"ttl": 60, "records": []}), "/records"),
        ("PUT /www/A", json!({"ttl": 60, "records": [1]}), "/records/0"),
        ("PUT /www/A", json!({"ttl": 60, "records": ["10.0.0.1"], "tll": 1}), "/tll"),
        ("PUT /www/A", json!({"records": ["10.0.0.1"]}), ""),
        ("PUT /www/AAAA", a("10.0.0.1"), "/records/0"),
        ("PUT /www/MX", json!({"ttl": 60, "records": ["mail"]}), "/records/0"),
        ("PUT /www/A", a("10.0.0.1 ; web"), "/records/0"),
        ("PUT /www/MX", json!({"ttl": 60, "records": ["10 mail;x"]}), "/records/0"),
        ("PUT /www/CAA", json!({"ttl": 60, "records": ["0 issue ca.example; accounturi=x"]}), "/records/0"),
        ("PUT /www/TXT", json!({"ttl": 60, "records": ["\"v=DMARC1\"; p=none"]}), "/records/0"),
        ("PUT /www/TXT", json!({"ttl": 60, "records": ["v=DMARC1\\; p=none"]}), "/records/0"),
        ("PUT /www/ALIAS", a("web"), "type"),
        ("PUT /@/DS", json!({"ttl": 60, "records": ["1 8 2 aabb"]}), "type"),
        ("PUT /www/TYPE65280", json!({"ttl": 60, "records": ["\\# 2 abcd ef"]}), "/records/0"),
        ("PUT /www/BOGUS", a("10.0.0.1"), "type"),
        ("PUT /www/ANY", a("10.0.0.1"), "type"),
        ("PUT /a..b/A", a("10.0.0.1"), "name"),
        (&format!("PUT /{long}/A"), a("10.0.0.1"), "name"),
        ("PUT /www.other.example./A", a("10.0.0.1"), "name"),
        ("PUT /www.corp.internal/A", a("10.0.0.1"), "name"),
        ("PUT /www/CNAME", json!({"ttl": 60, "records": ["web"]}), "type"),
        ("PUT /alias/A", a("10.0.0.1"), "type"),
        ("PUT /one/CNAME", json!({"ttl": 60, "records": ["a", "b"]}), "/records"),
        ("PUT /www/SOA", json!({"ttl": 60, "records": ["a b 1 1 1 1 1"]}), "type"),
        ("PUT /*.x/NS", json!({"ttl": 60, "records": ["ns"]}), "type"),
    ] {
        let (method, path) = what.split_once(' ').unwrap();
        let answer =
            api.call(&format!("{method} {set}{path}")).header("if-match", "*").json(&body).send().await;
        // What is not there cannot have a state; the value is what is asked about.
        let answer = if answer.status == 412 {
            api.call(&format!("{method} {set}{path}")).json(&body).send().await
        } else {
            answer
        };
        assert_eq!(answer.fault(), (422, field.to_owned()), "{what} {body}: {}", answer.text);
        assert!(answer.json()["detail"].as_str().unwrap().len() > 10);
    }
    for (body, field) in [
        (json!({"name": "a..b"}), "/name"),
        (json!({"name": "."}), "/name"),
        (json!({"name": "*.a"}), "/name"),
        (json!({"name": "new.internal", "networks": ["nowhere"]}), "/networks"),
        (json!({"name": "new.internal", "networks": ["hub", "hub"]}), "/networks/1"),
        (json!({"name": "new.internal", "on_missing": "perhaps"}), "/on_missing"),
        (json!({"name": "new.internal", "color": "red"}), "/color"),
        (json!({"name": "blob.core.windows.net"}), "/on_missing"),
    ] {
        let answer = api.call("POST /zones").json(&body).send().await;
        assert_eq!(answer.fault(), (422, field.to_owned()), "{body}: {}", answer.text);
    }
    assert_eq!(api.call("POST /zones").json(&zone_body()).send().await.fault(), (409, "/name".into()));
    assert_eq!(
        api.call("PUT /zones/none.internal/record-sets/www/A").json(&a("10.0.0.1")).send().await.status,
        404
    );
    assert_eq!(api.call(&format!("GET {set}?nam=x")).send().await.fault(), (422, "nam".into()));
    assert_eq!(api.call(&format!("GET {set}?limit=1001")).send().await.fault(), (422, "limit".into()));
    let forwarder = |body: Value| api.call("PUT /forwarders/a.example").json(&body).send();
    assert_eq!(forwarder(json!({"upstreams": []})).await.fault(), (422, "/upstreams".into()));
    assert_eq!(forwarder(json!({"upstreams": ["x"]})).await.fault(), (422, "/upstreams/0".into()));
    let token = |body: Value| api.call("POST /tokens").json(&body).send();
    assert_eq!(token(json!({"name": "", "role": "admin"})).await.fault(), (422, "/name".into()));
    assert_eq!(token(json!({"name": "x", "role": "king"})).await.fault(), (422, "/role".into()));
    assert_eq!(token(json!({"name": "x", "role": "reader", "zones": ["a", "b*c.*"]})).await.status, 422);
    assert_eq!(api.get("/changes?limit=1").await["items"][0]["revision"], before, "nothing is stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_is_served_as_it_was_written() {
    let api = with_zone().await;
    let set = "/zones/corp.internal/record-sets";
    let long = "v=DKIM1; p=".to_owned() + &"A".repeat(300);
    for (name, text, served) in [
        ("_dmarc", "v=DMARC1; p=none", "\"v=DMARC1; p=none\"".to_owned()),
        ("spf", "v=spf1 include:x -all", "\"v=spf1 include:x -all\"".to_owned()),
        ("quoted", "\"a; b\" \"c\"", "\"a; b\" \"c\"".to_owned()),
        ("long", &long, format!("\"{}\" \"{}\"", &long[..255], &long[255..])),
    ] {
        let body = json!({"ttl": 60, "records": [text]});
        let shown = api.put(&format!("PUT {set}/{name}/TXT"), body).await;
        assert_eq!(shown["records"], json!([served]), "{text}");
        assert_eq!(api.dns(&format!("{name}.corp.internal."), "TXT").await, format!("NOERROR 60 {served}"));
    }
    // A master file is RFC 1035's: words are strings, and `;` begins a comment.
    let file = "t 60 IN TXT a b ; c\n";
    let import =
        |file: &str| api.call("POST /zones/corp.internal/import?mode=merge").text("text/dns", file).send();
    assert_eq!(import(file).await.status, 200);
    assert_eq!(api.dns("t.corp.internal.", "TXT").await, "NOERROR 60 \"a\" \"b\"");
    // Of a file all errors are listed, each with its line.
    let file = "a 60 A x\nb 60 TXT ok\nc 60 ALIAS d\n";
    let answer = import(file).await;
    let fields: Vec<Value> =
        answer.json()["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert_eq!((answer.status, fields), (422, vec![json!("line 1"), json!("line 3")]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_and_callers_that_do_not_fit_are_refused() {
    let api = with_zone().await;
    let path = "PUT /zones/corp.internal/record-sets/www/A";
    let large = format!("{{\"ttl\": 1, \"records\": [\"{}\"]}}", "x".repeat(2 << 20));
    assert_eq!(api.call(path).text("application/json", &large).send().await.status, 413);
    assert_eq!(api.call(path).text("text/plain", "{}").send().await.status, 415);
    assert_eq!(api.call(path).text("application/json", "{").send().await.status, 400);
    assert_eq!(api.call("POST /zones/corp.internal/import").json(&json!({})).send().await.status, 415);
    assert_eq!(api.call(path).nobody().json(&a("10.0.0.1")).send().await.status, 401);
    assert_eq!(api.call(path).token("pldns_ab_cd").json(&a("10.0.0.1")).send().await.status, 401);
    let reader = api.token("reader", &["*"]).await;
    assert_eq!(api.call(path).token(&reader).json(&a("10.0.0.1")).send().await.status, 403);
    assert_eq!(api.call("GET /tokens").token(&reader).send().await.status, 403);
    assert_eq!(api.call("GET /zones").token(&reader).send().await.status, 200);
    assert_eq!(api.dns("www.corp.internal.", "A").await, "NXDOMAIN");
    // The attempts are in the audit.
    let mut refused = Vec::new();
    while refused.len() < 2 {
        tokio::task::yield_now().await;
        let changes = api.get("/changes").await;
        refused = changes["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["comment"] == "refused")
            .cloned()
            .collect();
    }
    assert_eq!(refused[1]["actor"], "a reader");
    assert_eq!(refused[1]["items"][0]["zone"], "corp.internal.");
    assert!(refused[1]["items"][0]["after"]["attempt"].as_str().unwrap().starts_with("PUT /api/v1/zones/"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_is_held_for_each_name() {
    let api = with_zone().await;
    api.put("POST /zones", json!({"name": "other.internal"})).await;
    let token = api.token("operator", &["web.corp.internal", "other.internal"]).await;
    let put = |path: &str| api.call(&format!("PUT /zones/{path}")).token(&token).json(&a("10.0.0.1")).send();
    assert_eq!(put("corp.internal/record-sets/a.web/A").await.status, 201);
    assert_eq!(put("corp.internal/record-sets/www/A").await.status, 403);
    let put = |zone: &str, name: &str| json!({"action": "put", "zone": zone, "name": name, "type": "A", "ttl": 1, "records": ["10.0.0.2"]});
    let changes = json!({"changes": [put("other.internal", "a"), put("corp.internal", "www")]});
    assert_eq!(api.call("POST /changes").token(&token).json(&changes).send().await.status, 403);
    assert_eq!(api.dns("a.other.internal.", "A").await, "NXDOMAIN");
    let delete =
        |zone: &str| api.call(&format!("DELETE /zones/{zone}")).token(&token).header("if-match", "*").send();
    assert_eq!(delete("corp.internal").await.status, 403);
    assert_eq!(delete("other.internal").await.status, 204);
    assert_eq!(
        api.call("PUT /forwarders/x.example")
            .token(&token)
            .json(&json!({"upstreams": ["10.0.0.1"]}))
            .send()
            .await
            .status,
        403
    );
    assert_eq!(
        api.call("POST /zones").token(&token).json(&json!({"name": "new.internal"})).send().await.status,
        403
    );
    let import =
        api.call("POST /zones/corp.internal/import").token(&token).text("text/dns", "x 1 A 10.0.0.1");
    assert_eq!(import.send().await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_override_goes_before_a_claim_until_it_is_taken_back() {
    let api = with_endpoints().await;
    let path = format!("/zones/{BLOB}/record-sets/app/A");
    let name = format!("app.{BLOB}");
    let view = api.get(&path).await;
    assert_eq!(
        (view["origin"]["kind"].as_str(), view["records"][0].as_str()),
        (Some("endpoint"), Some("10.1.0.4"))
    );
    assert_eq!(view["by_network"][0]["network"], "spoke");
    assert_eq!(view["by_network"][0]["records"][0], "10.2.0.4");
    assert_eq!(api.dns_from("10.2.0.9", &name, "A").await, "NOERROR 10 10.2.0.4");

    let delete = || api.call(&format!("DELETE {path}")).header("if-match", "*").send();
    let refused = delete().await;
    assert_eq!(refused.fault(), (409, "name".into()));
    assert!(refused.json()["detail"].as_str().unwrap().contains("PUT a record set of your own"));
    assert_eq!(api.call(&format!("PUT {path}")).json(&a("10.9.9.9")).send().await.status, 428);
    let etag = view["etag"].as_str().unwrap();
    let answer = api.call(&format!("PUT {path}")).header("if-match", etag).json(&a("10.9.9.9")).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let view = answer.json();
    assert_eq!(
        (view["origin"]["kind"].as_str(), view["overrides"].as_array().unwrap().len()),
        (Some("rest"), 2)
    );
    for client in ["10.1.0.9", "10.2.0.9", "192.0.2.1"] {
        let client = if client == "192.0.2.1" { "10.10.0.1" } else { client };
        assert_eq!(api.dns_from(client, &name, "A").await, "NOERROR 300 10.9.9.9");
    }
    let plan = api.call(&format!("DELETE {path}?dry_run=true")).header("if-match", "*").send().await.json();
    assert_eq!(
        (plan["dry_run"].as_bool(), plan["lines"][0]["action"].as_str()),
        (Some(true), Some("change"))
    );
    assert_eq!(plan["lines"][0]["after"]["origin"]["kind"], "endpoint");
    let back = delete().await;
    assert_eq!((back.status, back.json()["records"][0].as_str()), (200, Some("10.1.0.4")));
    assert_eq!(api.dns_from("10.2.0.9", &name, "A").await, "NOERROR 10 10.2.0.4");
    // An operator's CNAME hides what endpoints claim at the name.
    api.put(&format!("PUT /zones/{BLOB}/record-sets/other/CNAME"), json!({"ttl": 5, "records": ["app"]}))
        .await;
    let hidden = api.get(&format!("/zones/{BLOB}/record-sets/other/A")).await;
    assert_eq!(hidden["served"], false);
    assert!(api.dns(&format!("other.{BLOB}"), "A").await.contains("10.1.0.4"));
    let zone = api.get(&format!("/zones/{BLOB}")).await;
    assert_eq!((zone["origins"]["endpoint"].as_u64(), zone["origins"]["rest"].as_u64()), (Some(3), Some(1)));
    assert_eq!(zone["made_by"], "config");
    assert_eq!(api.call(&format!("DELETE /zones/{BLOB}")).header("if-match", "*").send().await.status, 409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_a_zone_of_config_lie_over_its_own_and_are_taken_back() {
    let api = with_endpoints().await;
    let patch =
        |body: Value| api.call(&format!("PATCH /zones/{BLOB}")).header("if-match", "*").json(&body).send();
    let missing = format!("none.{BLOB}");
    let answer = patch(json!({"on_missing": "nxdomain", "networks": ["hub"]})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(api.dns_from("10.1.0.1", &missing, "A").await, "NXDOMAIN");
    let api = api.restart(endpoints).await;
    assert_eq!(api.dns_from("10.1.0.1", &missing, "A").await, "NXDOMAIN");
    let patch =
        |body: Value| api.call(&format!("PATCH /zones/{BLOB}")).header("if-match", "*").json(&body).send();
    let view = patch(json!({"on_missing": null, "networks": null})).await.json();
    assert_eq!(
        (view["on_missing"].as_str(), view["networks"].as_array().unwrap().len()),
        (Some("ask-public"), 0)
    );
    assert_eq!(view["settings"], json!({"on_missing": null, "networks": null}));
    let refused = patch(json!({"networks": ["nowhere"]})).await;
    assert_eq!(refused.fault(), (422, "/networks".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_done_all_or_none_with_all_faults_told() {
    let api = with_zone().await;
    api.put("POST /zones", json!({"name": "other.internal"})).await;
    let put = |zone: &str, name: &str, rtype: &str, data: &str| json!({"action": "put", "zone": zone, "name": name, "type": rtype, "ttl": 60, "records": [data]});
    let body = json!({"comment": "first", "changes": [
        put("corp.internal", "a", "A", "10.0.0.1"), put("other.internal", "b", "A", "10.0.0.2"),
        put("corp.internal", "c", "CNAME", "a"),
    ]});
    let plan = api.put("POST /changes?dry_run=true", body.clone()).await;
    assert_eq!((plan["dry_run"].as_bool(), plan["lines_total"].as_u64()), (Some(true), Some(3)));
    assert_eq!(api.dns("a.corp.internal.", "A").await, "NXDOMAIN");
    let done = api.put("POST /changes", body).await;
    let serial = api.get("/zones/corp.internal").await["serial"].clone();
    assert_eq!(done["serials"]["corp.internal."], serial);
    assert_eq!(api.dns("b.other.internal.", "A").await, "NOERROR 60 10.0.0.2");
    let audit = api.get("/changes?limit=1").await["items"][0].clone();
    assert_eq!(
        (&audit["revision"], &audit["comment"], &audit["actor"]),
        (&done["revision"], &json!("first"), &json!("admin"))
    );
    assert_eq!(audit["remote"], "127.0.0.1");

    let body = json!({"changes": [
        put("corp.internal", "x", "A", "10.0.0.1"), put("corp.internal", "y", "A", "nonsense"),
        put("none.internal", "x", "A", "10.0.0.1"), put("corp.internal", "x", "BOGUS", "10.0.0.1"),
    ]});
    let answer = api.call("POST /changes").json(&body).send().await;
    assert_eq!(answer.status, 422);
    let errors = answer.json()["errors"].clone();
    let fields: Vec<&str> =
        errors.as_array().unwrap().iter().map(|it| it["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["/changes/1/records/0", "/changes/3/type"]);
    let body = json!({"changes": [
        put("corp.internal", "x", "A", "10.0.0.1"), put("corp.internal", "c", "A", "10.0.0.1"),
        put("none.internal", "x", "A", "10.0.0.1"), put("corp.internal", "x", "A", "10.0.0.9"),
        {"action": "delete", "zone": "corp.internal", "name": "nothing", "type": "A"},
    ]});
    let answer = api.call("POST /changes").json(&body).send().await;
    let errors = answer.json()["errors"].clone();
    let fields: Vec<&str> =
        errors.as_array().unwrap().iter().map(|it| it["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["/changes/2/zone", "/changes/3/name", "/changes/4/name"]);
    // Two names that the zones refuse are both told.
    let body = json!({"changes": [
        put("corp.internal", "x", "A", "10.0.0.1"), put("corp.internal", "c", "A", "10.0.0.1"),
        put("corp.internal", "a", "CNAME", "c"),
    ]});
    let answer = api.call("POST /changes").json(&body).send().await;
    let errors = answer.json()["errors"].clone();
    let mut fields: Vec<&str> =
        errors.as_array().unwrap().iter().map(|it| it["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["/changes/1/type", "/changes/2/type"]);
    assert_eq!(api.dns("x.corp.internal.", "A").await, "NXDOMAIN");
    // An alias gives way to an address in one step.
    let body = json!({"changes": [
        {"action": "delete", "zone": "corp.internal", "name": "c", "type": "CNAME"},
        put("corp.internal", "c", "A", "10.0.0.3"),
    ]});
    api.put("POST /changes", body).await;
    assert_eq!(api.dns("c.corp.internal.", "A").await, "NOERROR 60 10.0.0.3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_is_done_once() {
    let api = with_zone().await;
    let body = json!({"changes": [
        {"action": "put", "zone": "corp.internal", "name": "a", "type": "A", "ttl": 60, "records": ["10.0.0.1"]},
    ]});
    let send =
        |body: Value| api.call("POST /changes").header("idempotency-key", "\"k-1\"").json(&body).send();
    let first = send(body.clone()).await.json();
    let other = json!({"changes": [{"action": "delete", "zone": "corp.internal", "name": "a", "type": "A"}]});
    api.put("POST /changes", other.clone()).await;
    assert_eq!(send(body).await.json(), first);
    assert_eq!(api.dns("a.corp.internal.", "A").await, "NXDOMAIN");
    assert_eq!(send(other).await.fault(), (422, "Idempotency-Key".into()));
    let zone = || {
        api.call("POST /zones").header("idempotency-key", "k-2").json(&json!({"name": "new.internal"})).send()
    };
    assert_eq!((zone().await.status, zone().await.status), (201, 201));
    let token = || {
        api.call("POST /tokens")
            .header("idempotency-key", "k-3")
            .json(&json!({"name": "t", "role": "reader"}))
            .send()
    };
    let (first, again) = (token().await.json(), token().await.json());
    assert_eq!((&first["id"], again.get("token")), (&again["id"], None));
    assert!(first["token"].as_str().unwrap().starts_with("pldns_"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_read_page_by_page_and_filtered() {
    let api = with_zone().await;
    let changes: Vec<Value> = (0..250)
        .map(|number| {
            json!({"action": "put", "zone": "corp.internal", "name": format!("n{number:03}"), "type": if number % 2 == 0 { "A" } else { "TXT" },
                   "ttl": 60, "records": [if number % 2 == 0 { "10.0.0.1" } else { "text" }]})
        })
        .collect();
    api.put("POST /changes", json!({ "changes": changes })).await;
    let mut names = Vec::new();
    let mut path = "/zones/corp.internal/record-sets?limit=33".to_owned();
    loop {
        let page = api.get(&path).await;
        names.extend(
            page["items"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/zones/corp.internal/record-sets?limit=33&after={next}");
    }
    assert_eq!(
        (names.len(), names[0].as_str(), names[1].as_str(), names[250].as_str()),
        (251, "@", "n000", "n249")
    );
    let count = async |query: &str| {
        let page = api.get(&format!("/zones/corp.internal/record-sets?limit=1000&{query}")).await;
        page["items"].as_array().unwrap().len()
    };
    assert_eq!(count("type=TXT").await, 125);
    assert_eq!(count("name=n00*").await, 10);
    assert_eq!(count("name=n007").await, 1);
    assert_eq!(count("origin=built-in").await, 1);
    assert_eq!(count("origin=rest&name=*1&type=A").await, 0);
    let page = api.get("/zones/corp.internal/record-sets?limit=5&type=TXT").await;
    let next = page["next"].as_str().unwrap();
    let strange = api.call(&format!("GET /zones/corp.internal/record-sets?after={next}")).send().await;
    assert_eq!(strange.fault(), (422, "after".into()));
    let zones = api.get("/zones?name=*internal").await;
    assert_eq!(zones["items"][0]["record_sets_by_rest"], 250);
    let audit = api.get("/changes?zone=corp.internal&name=n007&type=TXT").await;
    assert_eq!(
        (audit["items"].as_array().unwrap().len(), audit["items"][0]["items_total"].as_u64()),
        (1, Some(250))
    );
    let revision = &audit["items"][0]["revision"];
    let page = api.get(&format!("/changes/{revision}?limit=200")).await;
    let rest =
        api.get(&format!("/changes/{revision}?limit=200&after={}", page["next"].as_str().unwrap())).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zone_is_exported_and_imported_whole_or_not_at_all() {
    let api = with_zone().await;
    let import = |query: &str, text: &str| {
        api.call(&format!("POST /zones/corp.internal/import{query}")).text("text/dns", text).send()
    };
    let text = "$TTL 300\nwww A 10.0.0.4\n    A 10.0.0.5\napi CNAME www\n@ MX 10 mail\n";
    let plan = import("?dry_run=true", text).await.json();
    assert_eq!(plan["lines_total"], 3);
    assert_eq!(import("", text).await.status, 200);
    assert_eq!(api.dns("www.corp.internal.", "A").await, "NOERROR 300 10.0.0.4, 300 10.0.0.5");
    let exported = api.call("GET /zones/corp.internal/export").send().await;
    assert_eq!(exported.media_type, "text/dns");
    assert!(exported.text.contains("SOA"), "{}", exported.text);
    // Its own export changes nothing.
    let plan = import("?dry_run=true", &exported.text).await.json();
    assert_eq!(plan["lines_total"], 0, "{plan}");
    assert_eq!(import("", "x 60 A 10.0.0.1\ny 60 A bad\n").await.fault(), (422, "line 2".into()));
    assert_eq!(import("", "x 60 A 10.0.0.1\nx 60 CNAME y\n").await.status, 422);
    assert_eq!(import("", "x.other. 60 A 10.0.0.1\n").await.fault(), (422, "line 1".into()));
    assert_eq!(api.dns("x.corp.internal.", "A").await, "NXDOMAIN");
    assert_eq!(import("?mode=merge", "new 60 A 10.0.0.1\n").await.status, 200);
    assert_eq!(api.dns("www.corp.internal.", "A").await, "NOERROR 300 10.0.0.4, 300 10.0.0.5");
    assert_eq!(import("", "new 60 A 10.0.0.1\n").await.status, 200);
    assert_eq!(api.dns("www.corp.internal.", "A").await, "NXDOMAIN");
    let api = api.restart(endpoints).await;
    // What endpoints serve is left to them.
    let exported = api.call(&format!("GET /zones/{BLOB}/export")).send().await.text;
    let imported = api.call(&format!("POST /zones/{BLOB}/import")).text("text/dns", &exported).send().await;
    assert_eq!(imported.status, 200, "{}", imported.text);
    assert_eq!(api.get(&format!("/zones/{BLOB}")).await["record_sets_by_rest"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwarders_hold_when_they_are_answered_and_go_before_those_of_config() {
    let api = Api::start().await;
    let rules = |api: &Api| {
        let rules = api.neighbours.rules.lock().unwrap();
        rules.iter().map(|rule| format!("{} {:?}", rule.domain, rule.upstreams)).collect::<Vec<_>>()
    };
    api.put("PUT /forwarders/a.example", json!({"upstreams": ["10.1.0.4", "10.1.0.5:5353"]})).await;
    assert_eq!(rules(&api), ["a.example. [10.1.0.4, 10.1.0.5:5353]"]);
    let over = api.put("PUT /forwarders/corp.example", json!({"upstreams": ["10.1.0.6"]})).await;
    assert_eq!(over["overrides"], json!(["10.9.0.1"]));
    let list = api.get("/forwarders").await;
    let shown: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|it| it["domain"].as_str().unwrap()).collect();
    assert_eq!(shown, ["a.example.", "corp.example."]);
    let api = api.restart(|_| {}).await;
    assert_eq!(rules(&api).len(), 2);
    let delete =
        |domain: &str| api.call(&format!("DELETE /forwarders/{domain}")).header("if-match", "*").send();
    assert_eq!(delete("a.example").await.status, 204);
    let back = delete("corp.example").await;
    assert_eq!((back.status, back.json()["made_by"].as_str()), (200, Some("config")));
    assert_eq!(delete("corp.example").await.status, 409);
    assert_eq!(delete("none.example").await.status, 404);
    assert!(rules(&api).is_empty());
    api.put("PUT /forwarders/@", json!({"upstreams": ["10.1.0.6"]})).await;
    assert_eq!(rules(&api), [". [10.1.0.6]"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_opens_nothing_and_the_last_admin_stays() {
    let api = Api::start().await;
    let token = api.token("operator", &["*"]).await;
    let id = token.split('_').nth(1).unwrap().to_owned();
    assert_eq!(api.call("GET /zones").token(&token).send().await.status, 200);
    assert!(api.get(&format!("/tokens/{id}")).await["last_used"].is_string());
    assert_eq!(api.call(&format!("DELETE /tokens/{id}")).send().await.status, 204);
    assert_eq!(api.call("GET /zones").token(&token).send().await.status, 401);
    assert!(!api.get("/changes").await.to_string().contains(token.split('_').nth(2).unwrap()));
    let own = api.admin.split('_').nth(1).unwrap().to_owned();
    assert_eq!(api.call(&format!("DELETE /tokens/{own}")).send().await.status, 409);
    let api = api.restart(|_| {}).await;
    assert_eq!(api.call("GET /zones").token(&token).send().await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_serving_goes_on_and_writes_are_told_when_to_come_again() {
    let api = with_zone().await;
    api.put("PUT /zones/corp.internal/record-sets/www/A", a("10.0.0.4")).await;
    api.persist.close().await;
    let answer = api.call("PUT /zones/corp.internal/record-sets/new/A").json(&a("10.0.0.5")).send().await;
    assert_eq!((answer.status, answer.retry_after.is_some()), (503, true), "{}", answer.text);
    assert_eq!(api.dns("www.corp.internal.", "A").await, "NOERROR 300 10.0.0.4");
    assert_eq!(api.dns("new.corp.internal.", "A").await, "NXDOMAIN");
    assert_eq!(api.get("/zones/corp.internal/record-sets").await["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_writers_at_one_name_all_are_answered_truly() {
    let api = with_zone().await;
    // A name is an alias or has addresses, whoever comes first.
    let calls = (0..24).map(|number| {
        let (rtype, data) = if number % 2 == 0 { ("A", format!("10.0.0.{number}")) } else { ("CNAME", format!("t{number}")) };
        let body = json!({"changes": [{"action": "put", "zone": "corp.internal", "name": "n", "type": rtype, "ttl": 1, "records": [data]}]});
        let api = &api;
        async move { api.call("POST /changes").json(&body).send().await }
    });
    let answers = futures(calls).await;
    let is_alias = !api.dns("n.corp.internal.", "CNAME").await.ends_with("NOERROR");
    for (number, answer) in answers.iter().enumerate() {
        let expected = if (number % 2 == 1) == is_alias { 200 } else { 422 };
        assert_eq!(answer.status, expected, "{number}: {}", answer.text);
    }
    assert_eq!(api.ledger.written().refused_count(), 0);
}

/// Awaits all at once.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_ready = true;
        for (one, output) in &mut all {
            if output.is_none() {
                match one.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => is_ready = false,
                }
            }
        }
        if is_ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    all.into_iter().map(|(_, output)| output.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_zones_refuse_is_kept_shown_and_served_when_there_is_room() {
    let api = with_zone().await;
    api.put("PUT /zones/corp.internal/record-sets/www/A", a("10.0.0.4")).await;
    let apex: Name = "corp.internal".parse().unwrap();
    // Config makes a zone of this name with an alias at that name before what operators wrote is served.
    let file_soa = |store: &Store| {
        let put = |name: &str, rtype: RecordType, data: &str| {
            let set = world::set(rtype, 60, &[data], apex.borrow()).unwrap();
            world::put(&apex, Name::parse(name, apex.borrow()).unwrap(), set, Origin::File)
        };
        let changes = vec![
            Change::SetZone(ZoneHeader::plain(apex.clone())),
            put("@", RecordType::SOA, "ns host 1 1 1 1 60"),
            put("www", RecordType::CNAME, "file"),
        ];
        store.commit(ChangeSet { changes }).unwrap();
    };
    let api = api.restart(file_soa).await;
    let view = api.get("/zones/corp.internal/record-sets/www/A").await;
    assert_eq!((view["served"].as_bool(), view["records"][0].as_str()), (Some(false), Some("10.0.0.4")));
    assert!(view["why_not_served"].as_str().unwrap().contains("CNAME"));
    let listed = api.get("/zones/corp.internal/record-sets?origin=rest").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let name = Name::parse("www", apex.borrow()).unwrap();
    let gone = Change::Remove { zone: apex.clone(), name, rtype: RecordType::CNAME, origin: Origin::File };
    api.world.commit(vec![gone]);
    while api.dns("www.corp.internal.", "A").await != "NOERROR 300 10.0.0.4" {
        tokio::task::yield_now().await;
    }
    assert_eq!(api.get("/zones/corp.internal/record-sets/www/A").await["served"], true);
}
