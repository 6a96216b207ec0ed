//! What lies around every route of the admin API, on real sockets.

use std::io::{Read, Write};
use std::time::Duration;

use privatelink_dns::admin::{Degraded, DegradedReason, Limits, NotReady, Settings, StartError, bind};
use privatelink_dns::ledger::Role;
use serde_json::{Value, json};

use super::support::admin_api::{TestApi, problem, settings};

/// All that comes until the connection ends.
fn read_all(stream: &mut std::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn probes_and_numbers_need_no_token() {
    let api = TestApi::start(settings());
    let live = api.get("/livez").send().await.unwrap();
    assert_eq!(
        (live.status(), live.headers()["x-content-type-options"].as_bytes()),
        (200.try_into().unwrap(), &b"nosniff"[..])
    );
    assert!(!live.headers().keys().any(|name| name.as_str().starts_with("access-control")));
    let ready = async || {
        let answer = api.get("/readyz").send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let numbers = async || api.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert_eq!(ready().await, (200, json!({"status": "ok"})));
    let stale = Degraded::new(DegradedReason::SourceStale, "sync/azure", "it cannot be read");
    api.world.readiness.lock().degraded.push(stale);
    let reasons = json!([{"reason": "source-stale", "part": "sync/azure", "detail": "it cannot be read"}]);
    assert_eq!(ready().await, (200, json!({"status": "degraded", "reasons": reasons})));
    let text = numbers().await;
    for line in ["_ready 1", "_degraded{reason=\"source-stale\"} 1", "_degraded{reason=\"store-away\"} 0"] {
        assert!(text.contains(&format!("\nprivatelink_dns{line}\n")), "{line} in {text}");
    }
    let ending = NotReady { part: "server".into(), waits_for: "its end".into() };
    api.world.readiness.lock().not_ready.push(ending);
    let (status, slug, body) = problem(api.get("/readyz")).await;
    assert_eq!((status, slug.as_str()), (503, "not-ready"));
    assert_eq!(body["not_ready"], json!([{"part": "server", "waits_for": "its end"}]));
}

#[tokio::test]
async fn a_body_of_json_ends_its_line() {
    let api = TestApi::start(settings());
    let token = api.book.token(Role::Admin);
    for (path, is_well) in
        [("/livez", true), ("/api/v1/whoami", true), ("/api/v1/none", false), ("/api/openapi.json", true)]
    {
        let answer = api.get(path).bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status().is_success(), is_well, "{path}");
        let announced = answer.content_length();
        let text = answer.text().await.unwrap();
        assert!(text.ends_with("}\n") && announced == Some(text.len() as u64), "{path}: {text}");
        serde_json::from_str::<Value>(&text).unwrap();
    }
}

#[tokio::test]
async fn numbers_are_open_metrics() {
    let api = TestApi::start(settings());
    api.get("/api/v1/none").send().await.unwrap();
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let token = api.book.token(Role::Reader);
    let response = api.get("/metrics").header("accept", accept).bearer_auth(token).send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = response.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let mut types = std::collections::HashMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(types.insert(name, kind), None, "{name} comes twice");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            let name = series.split('{').next().unwrap();
            let is_of = |(family, kind): (&&str, &&str)| match *kind {
                "counter" => name.strip_suffix("_total") == Some(family),
                "histogram" => {
                    ["_sum", "_count", "_bucket"].iter().any(|it| name.strip_suffix(it) == Some(family))
                }
                _ => name == *family,
            };
            assert!(types.iter().any(|(family, kind)| is_of((family, kind))), "{line} has no type");
        }
    }
    for line in [
        "privatelink_dns_source_age_seconds{source=\"a \\\"quoted\\\"\\nname\"} 1.5",
        "privatelink_dns_zone_serial{zone=\"corp.internal.\"} 9.0",
        "privatelink_dns_admin_requests_total{method=\"GET\",status=\"401\"} 1",
        "privatelink_dns_admin_unauthenticated_total 1",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn names_of_zones_are_for_who_may_read_them() {
    let api = TestApi::start(settings());
    let page = api.get("/metrics").send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(!page.text().await.unwrap().contains("corp.internal"));
    let (status, slug, _) = problem(api.get("/metrics").bearer_auth("nonsense")).await;
    assert_eq!((status, slug.as_str()), (401, "unauthenticated"));
    let token = api.book.token(Role::Reader);
    let page = api.get("/metrics").bearer_auth(token).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("privatelink_dns_zone_serial{zone=\"corp.internal.\"} 9\n"), "{page}");
}

#[tokio::test]
async fn axum_s_own_refusals_are_problems_as_well() {
    let api = TestApi::start(settings());
    let token = api.book.token(Role::Operator);
    let refused = async |request: reqwest::RequestBuilder| {
        let (status, slug, body) = problem(request.bearer_auth(&token)).await;
        (status, slug, body["field"].as_str().unwrap_or_default().to_owned())
    };
    let of = |status, slug: &str, field: &str| (status, slug.to_owned(), field.to_owned());
    let echo = || api.post("/api/v1/test/echo").header("content-type", "application/json");
    assert_eq!(refused(api.get("/nowhere")).await, of(404, "no-such-route", ""));
    assert_eq!(refused(api.get("/api/v1/nowhere")).await, of(404, "no-such-route", ""));
    assert_eq!(refused(api.post("/livez")).await, of(405, "method-not-allowed", ""));
    assert_eq!(refused(echo().body("{")).await, of(400, "malformed-json", ""));
    assert_eq!(refused(echo().body("{\"ttl\": 1, \"tl\": 2}")).await, of(422, "unknown-field", "/tl"));
    assert_eq!(refused(echo().body("{\"ttl\": \"x\"}")).await, of(422, "invalid", "/ttl"));
    let plain = api.post("/api/v1/test/echo").body("{\"ttl\": 1}");
    assert_eq!(refused(plain).await, of(415, "unsupported-media-type", "Content-Type"));
    assert_eq!(refused(api.get("/api/v1/test/panic")).await, of(500, "internal", ""));
    let large = echo().body(vec![b' '; 2 << 20]);
    assert_eq!(refused(large).await, of(413, "body-too-large", ""));
    let chunked = api.post("/livez").send().await.unwrap();
    assert_eq!(chunked.headers()["allow"], "GET,HEAD");
    let good = echo().bearer_auth(&token).body("{\"ttl\": 1}").send().await.unwrap();
    assert_eq!((good.status().as_u16(), good.headers()["cache-control"].as_bytes()), (200, &b"no-store"[..]));
    assert_eq!(good.json::<Value>().await.unwrap(), json!({"ttl": 1}));
}

#[tokio::test]
async fn a_client_whose_body_was_not_read_is_told_that_the_connection_ends() {
    let api = TestApi::start(settings());
    let token = api.book.token(Role::Operator);
    let echo = |body: Vec<u8>| {
        let request = api.post("/api/v1/test/echo").bearer_auth(&token);
        request.header("content-type", "application/json").body(body).send()
    };
    let large = echo(vec![b' '; 2 << 20]).await.unwrap();
    assert_eq!((large.status().as_u16(), &large.headers()["connection"].as_bytes()), (413, &&b"close"[..]));
    let plain = api.post("/api/v1/test/echo").bearer_auth(&token).body("{}").send().await.unwrap();
    assert_eq!((plain.status().as_u16(), &plain.headers()["connection"].as_bytes()), (415, &&b"close"[..]));
    let read = echo(b"{".to_vec()).await.unwrap();
    assert_eq!((read.status().as_u16(), read.headers().get("connection")), (400, None));
}

#[tokio::test]
async fn request_ids_are_echoed_if_they_are_sane() {
    let api = TestApi::start(settings());
    let id = async |sent: &str| {
        let response = api.get("/livez").header("X-Request-Id", sent).send().await.unwrap();
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id("deploy-7.1").await, "deploy-7.1");
    assert_eq!(id("a\" onload=b").await.len(), 32);
}

#[tokio::test]
async fn the_description_and_its_page_come_from_the_binary() {
    let api = TestApi::start(settings());
    let spec: Value = api.get("/api/openapi.json").send().await.unwrap().json().await.unwrap();
    assert_eq!(spec["openapi"], "3.1.0");
    let whoami = &spec["paths"]["/api/v1/whoami"]["get"];
    let problem = "#/components/schemas/Problem";
    assert_eq!(
        whoami["responses"]["default"]["content"]["application/problem+json"]["schema"]["$ref"],
        problem
    );
    assert_eq!(spec["security"], json!([{"bearer": []}]));
    assert_eq!(spec["paths"]["/livez"]["get"]["security"], json!([{}]));
    assert!(spec["paths"]["/metrics"]["get"].is_object());
    for schema in ["Problem", "Identity", "Role", "Scope", "How"] {
        assert!(spec["components"]["schemas"][schema].is_object(), "{schema} is not described");
    }
    let page = api.get("/api/docs").send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let page = page.text().await.unwrap();
    for other in ["src=\"http", "href=\"http", "src=\"//", "href=\"//"] {
        assert!(!page.contains(other), "the page asks others");
    }
    // It is whole without its script.
    for part in
        ["/livez", "urn:privatelink-dns:problem:precondition-required", "curl &quot;$SERVER/api/v1/whoami"]
    {
        assert!(page.contains(part), "{part} is not on the page");
    }
    for asset in ["/api/docs/page.js", "/api/docs/page.css"] {
        assert!(page.contains(asset));
        assert_eq!(api.get(asset).send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let api = TestApi::start(settings());
    let token = api.book.token(Role::Admin);
    let post = api.post("/api/v1/test/echo").bearer_auth(token).header("origin", "https://evil.example");
    let (status, slug, _) = problem(post.json(&json!({"ttl": 1}))).await;
    assert_eq!((status, slug.as_str()), (403, "cross-site"));
}

#[test]
fn without_tls_only_loopback_is_served_unless_it_is_asked_for() {
    let everywhere = || Settings { listen: vec!["0.0.0.0:0".parse().unwrap()], ..Settings::default() };
    let refused = bind(everywhere()).unwrap_err();
    assert!(matches!(refused, StartError::Plaintext { .. }), "{refused}");
    assert!(refused.to_string().contains("allow_plaintext"), "{refused}");
    assert_eq!(bind(Settings { allow_plaintext: true, ..everywhere() }).unwrap().addresses().len(), 1);
    let taken = bind(settings()).unwrap();
    let again = bind(Settings { listen: taken.addresses(), ..settings() }).unwrap_err();
    assert!(matches!(again, StartError::Bind { .. }), "{again}");
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_given_up() {
    let limits = Limits { head: Duration::from_millis(200), ..Limits::default() };
    let api = TestApi::start(Settings { limits, ..settings() });
    let mut slow = api.connect();
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ").unwrap();
    let mut silent = api.connect();
    let ended =
        tokio::task::spawn_blocking(move || (read_all(&mut slow), read_all(&mut silent))).await.unwrap();
    assert!(!ended.0.contains("200 OK") && ended.1.is_empty(), "{ended:?}");
    assert_eq!(api.get("/livez").send().await.unwrap().status(), 200, "others are served");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let api = TestApi::start(settings());
    let large = api.get("/livez").header("x-large", "x".repeat(64 << 10)).send().await;
    assert!(large.is_err() || large.unwrap().status() == 431);
    let mut many = api.get("/livez");
    for number in 0..100 {
        many = many.header(format!("x-{number}"), "x");
    }
    assert_eq!(many.send().await.unwrap().status(), 431);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let limits = Limits { idle: Duration::from_millis(200), ..Limits::default() };
    let api = TestApi::start(Settings { limits, ..settings() });
    let mut stream = api.connect();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let all = tokio::task::spawn_blocking(move || read_all(&mut stream)).await.unwrap();
    assert!(all.starts_with("HTTP/1.1 200 OK"), "{all}");
}

#[tokio::test]
async fn one_client_cannot_take_all_connections() {
    let limits = Limits { connections_per_client: 2, ..Limits::default() };
    let api = TestApi::start(Settings { limits, ..settings() });
    let answer = |mut stream: std::net::TcpStream| {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok();
        tokio::task::spawn_blocking(move || read_all(&mut stream))
    };
    let held = [api.connect(), api.connect()];
    assert_eq!(answer(api.connect()).await.unwrap(), "");
    let [one, _other] = held;
    assert!(answer(one).await.unwrap().contains("200 OK"));
}

#[tokio::test]
async fn draining_lets_requests_end_and_takes_no_more() {
    let api = TestApi::start(settings());
    let idle = api.connect();
    let token = api.book.token(Role::Operator);
    let mut slow = api.connect();
    let head = format!(
        "POST /api/v1/test/echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).unwrap();
    // The handler waits for the body once it says so.
    let mut line = [0; 25];
    let (mut slow, line) = tokio::task::spawn_blocking(move || {
        slow.read_exact(&mut line).unwrap();
        (slow, line)
    })
    .await
    .unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    let address = api.address();
    let finish = tokio::task::spawn_blocking(move || {
        slow.write_all(b"{\"ttl\":").unwrap();
        // The accepting socket is gone first.
        while std::net::TcpStream::connect(address).is_ok() {
            std::thread::yield_now();
        }
        slow.write_all(b"1}").ok();
        read_all(&mut slow)
    });
    api.running.drain(Duration::from_secs(20)).await;
    assert!(finish.await.unwrap().contains("200 OK"));
    drop(idle);
}
