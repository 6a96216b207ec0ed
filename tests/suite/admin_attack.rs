//! The admin API against those who mean it ill: other roles, other zones, other sites, slow and greedy clients.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use privatelink_dns::admin::{Limits, Settings};
use privatelink_dns::ledger::{Role, Scope};
use serde_json::{Value, json};

use crate::support::admin_api::{TestApi, problem, settings};
use crate::support::api::{Answer, Api, Call};

/// A route of the description, with its examples filled in.
struct Route {
    method: String,
    /// As the description has it, below `/api/v1`.
    template: String,
    path: String,
    body: Option<(String, String)>,
}

/// All routes that lie behind the door.
async fn routes(api: &Api, ids: &[(&str, &str)]) -> Vec<Route> {
    let spec = api.call("GET /api/openapi.json").nobody().send().await.json();
    let mut routes = Vec::new();
    for (template, operations) in spec["paths"].as_object().unwrap() {
        let Some(template) = template.strip_prefix("/api/v1") else { continue };
        for (method, operation) in operations.as_object().unwrap() {
            let mut path = template.to_owned();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let known = ids.iter().find(|(own, _)| *own == name).map(|(_, id)| (*id).to_owned());
                let example = || known.unwrap_or_else(|| text(&parameter["example"]));
                match parameter["in"].as_str().unwrap() {
                    "path" => path = path.replace(&format!("{{{name}}}"), &example()),
                    "query" if parameter["required"] == true => path += &format!("?{name}={}", example()),
                    _ => {}
                }
            }
            let content = operation["requestBody"]["content"].as_object();
            let body = content.and_then(|content| content.iter().next()).map(|(media_type, content)| {
                (media_type.clone(), {
                    let example = &content["example"];
                    example.as_str().map_or_else(|| example.to_string(), str::to_owned)
                })
            });
            let (method, template) = (method.to_uppercase(), template.to_owned());
            routes.push(Route { method, template, path, body });
        }
    }
    routes
}

impl Route {
    fn call<'a>(&self, api: &'a Api) -> Call<'a> {
        let call = api.call(&format!("{} {}", self.method, self.path));
        let call = if self.method == "DELETE" || self.method == "PATCH" || self.method == "PUT" {
            call.header("if-match", "*")
        } else {
            call
        };
        match &self.body {
            Some((media_type, body)) => call.text(media_type, body),
            None => call,
        }
    }

    async fn with(&self, api: &Api, token: &str) -> Answer {
        self.call(api).token(token).send().await
    }

    fn is(&self, what: &str) -> bool {
        format!("{} {}", self.method, self.template) == what
    }

    /// The role that the design gives it.
    fn role(&self) -> &'static str {
        match (self.template.as_str(), self.method.as_str()) {
            (tokens, _) if tokens.starts_with("/tokens") => "admin",
            ("/backup", _) => "admin",
            // The handshake of Event Grid is for who may send events.
            ("/events", _) => "operator",
            // It tells which client asks for which name.
            ("/top", _) => "operator",
            (_, "GET" | "HEAD" | "OPTIONS") => "reader",
            _ => "operator",
        }
    }

    /// Whether it changes something of one zone, or of the server.
    fn is_scoped(&self) -> bool {
        let for_all = ["POST /sync", "DELETE /cache", "POST /events", "OPTIONS /events"];
        self.role() != "reader" && !for_all.iter().any(|it| self.is(it))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_route_of_the_description_is_shut_for_each_role_and_scope_below_it() {
    let api = Api::start().await;
    api.put("POST /zones", json!({"name": "corp.internal"})).await;
    api.put("PUT /zones/corp.internal/record-sets/www/A", json!({"ttl": 1, "records": ["10.0.0.1"]})).await;
    api.put("PUT /forwarders/corp.example.com", json!({"upstreams": ["10.1.0.4"]})).await;
    let victim = api.token("admin", &["*"]).await;
    let id = victim.split('_').nth(1).unwrap();
    let routes = routes(&api, &[("id", id), ("domain", "corp.example.com"), ("type", "A")]).await;
    assert!(routes.len() > 25, "{} routes", routes.len());
    let (reader, operator) = (api.token("reader", &["*"]).await, api.token("operator", &["*"]).await);
    let elsewhere = [
        api.token("operator", &["elsewhere.example"]).await,
        api.token("admin", &["elsewhere.example", "web-*.corp.internal", "*.sub.corp.internal"]).await,
    ];
    let mut refused = 0;
    for route in &routes {
        let what = format!("{} {}", route.method, route.path);
        assert_eq!(route.call(&api).nobody().send().await.status, 401, "{what} without a token");
        if route.role() != "reader" {
            assert_eq!(route.with(&api, &reader).await.status, 403, "{what} by a reader");
            refused += 1;
        }
        if route.role() == "admin" {
            assert_eq!(route.with(&api, &operator).await.status, 403, "{what} by an operator");
            refused += 1;
        }
        for token in elsewhere.iter().filter(|_| route.is_scoped()) {
            assert_eq!(route.with(&api, token).await.status, 403, "{what} by one of another zone");
            refused += 1;
        }
    }
    assert_eq!(api.call("GET /whoami").token(&victim).send().await.status, 200, "it was not revoked");
    // Each of them is in the audit.
    let start = Instant::now();
    loop {
        let page = api.get("/changes?limit=1000").await;
        let items = page["items"].as_array().unwrap().iter().flat_map(|it| it["items"].as_array().unwrap());
        let told = items.filter(|it| it["after"]["attempt"].is_string()).count();
        if told == refused {
            break;
        }
        assert!(start.elapsed().as_secs() < 20, "{told} of {refused} refusals are in the audit");
        tokio::task::yield_now().await;
    }
    for route in &routes {
        let role = [("reader", &reader), ("operator", &operator), ("admin", &api.admin)];
        let (_, token) = role.iter().find(|(role, _)| *role == route.role()).unwrap();
        let status = route.with(&api, token).await.status;
        assert!(![401, 403].contains(&status), "{} {} by who may: {status}", route.method, route.path);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_change_one_zone_may_not_forget_the_whole_cache() {
    let api = Api::start().await;
    let scoped = api.token("operator", &["corp.internal"]).await;
    let operator = api.token("operator", &["*"]).await;
    for everything in ["", "?name=.", "?name=com", "?name=COM."] {
        let flush = async |token: &str| {
            api.call(&format!("DELETE /cache{everything}")).token(token).send().await.status
        };
        assert_eq!(flush(&scoped).await, 403, "{everything}");
        assert_eq!(flush(&operator).await, 200, "{everything}");
    }
    let one = api.call("DELETE /cache?name=contoso.vault.azure.net").token(&scoped).send().await;
    assert_eq!(one.status, 200, "{}", one.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_in_a_loop_does_not_fill_the_audit() {
    let api = Api::start().await;
    let (reader, other) = (api.token("reader", &["*"]).await, api.token("reader", &["*"]).await);
    let try_it = async |token: &str, id: &str| {
        let call = api.call("DELETE /zones/corp.internal").token(token).header("x-request-id", id);
        assert_eq!(call.send().await.status, 403);
    };
    for _ in 0..150 {
        try_it(&reader, "loop").await;
    }
    try_it(&other, "other").await;
    let start = Instant::now();
    loop {
        let page = api.get("/changes?limit=1000").await;
        let count =
            |id: &str| page["items"].as_array().unwrap().iter().filter(|it| it["request_id"] == id).count();
        if count("other") == 1 {
            assert_eq!(count("loop"), 100);
            break;
        }
        assert!(start.elapsed().as_secs() < 20, "it is not in the audit");
        tokio::task::yield_now().await;
    }
}

/// A token of a page as nobody gave it.
fn forged(filter: &[Option<&str>], key: &str) -> String {
    let filter = privatelink_dns::admin::page::filter_id(filter);
    let bytes = [&[1], &filter.to_be_bytes()[..], key.as_bytes()].concat();
    data_encoding::BASE64URL_NOPAD.encode(&bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_pages_that_nobody_gave_do_no_harm() {
    let api = Api::start().await;
    for key in [u64::MAX, u64::MAX - 1, 1 << 63, i64::MAX as u64] {
        let after = forged(&[Some("items"), Some("1")], &key.to_string());
        assert_eq!(api.get(&format!("/changes/1?after={after}")).await["items"], json!([]), "{key}");
        let filter = [Some("changes"), None, None, None, None, None, None];
        api.get(&format!("/changes?after={}", forged(&filter, &key.to_string()))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_revoked_while_its_request_comes_changes_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let api = Api::start().await;
    api.put("POST /zones", json!({"name": "corp.internal"})).await;
    let stolen = api.token("admin", &["*"]).await;
    let body = json!({"name": "mine for ever", "role": "admin"}).to_string();
    let mut slow = tokio::net::TcpStream::connect(api.address()).await.unwrap();
    let head = format!(
        "POST /api/v1/tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stolen}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut line = [0; 25];
    slow.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n", "it is let in");
    let id = stolen.split('_').nth(1).unwrap();
    assert_eq!(api.call(&format!("DELETE /tokens/{id}")).send().await.status, 204);
    slow.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_change_names_of_a_form_takes_nothing_below_them() {
    let api = Api::start().await;
    api.put("POST /zones", json!({"name": "corp.internal"})).await;
    api.put("PUT /zones/corp.internal/record-sets/db.web-1/A", json!({"ttl": 1, "records": ["10.0.0.1"]}))
        .await;
    let web = api.token("operator", &["web-*.corp.internal"]).await;
    let below = api.token("operator", &["web-2.corp.internal"]).await;
    let put = async |token: &str, what: &str, record: &str| {
        let call = api.call(&format!("PUT /zones/corp.internal/record-sets/{what}")).token(token);
        call.json(&json!({"ttl": 1, "records": [record]})).send().await.status
    };
    assert_eq!(put(&web, "web-1/TXT", "a").await, 201);
    assert_eq!(put(&web, "web-1/NS", "ns.example.").await, 403, "it would hide db.web-1");
    assert_eq!(put(&web, "web-3/DNAME", "example.").await, 403);
    assert_eq!(put(&below, "web-2/NS", "ns.example.").await, 201, "all below is its own");
    assert_eq!(api.dns("db.web-1.corp.internal.", "A").await, "NOERROR 1 10.0.0.1");
}

/// A token for a name alone makes those above it exist, empty: that must not silence what answered for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_change_a_deep_name_hides_no_wildcard_above_it() {
    let api = Api::start().await;
    let a = |address: &str| json!({"ttl": 1, "records": [address]});
    for zone in [json!({"name": "corp.internal"}), json!({"name": "windows.net", "on_missing": "ask-public"})]
    {
        api.put("POST /zones", zone).await;
    }
    api.put("PUT /zones/corp.internal/record-sets/*/A", a("10.0.0.9")).await;
    let deep = api.token("operator", &["a.deep.corp.internal", "a.deep.windows.net"]).await;
    let whole = api.token("operator", &["deep.corp.internal"]).await;
    let put = async |token: &str, what: &str| {
        let call = api.call(&format!("PUT /zones/{what}/A")).token(token);
        call.json(&a("10.0.0.1")).send().await.status
    };
    assert_eq!(put(&deep, "corp.internal/record-sets/a.deep").await, 403);
    let change = json!({"action": "put", "zone": "corp.internal", "name": "a.deep", "type": "A", "ttl": 1, "records": ["10.0.0.1"]});
    let changes = api.call("POST /changes").token(&deep).json(&json!({"changes": [change]})).send().await;
    assert_eq!(changes.status, 403, "{}", changes.text);
    assert!(changes.text.contains("*.corp.internal. answers for it"), "{}", changes.text);
    assert_eq!(
        put(&deep, "windows.net/record-sets/a.deep").await,
        403,
        "others own the public deep.windows.net"
    );
    for name in ["deep.corp.internal.", "x.deep.corp.internal."] {
        assert_eq!(api.dns(name, "A").await, "NOERROR 1 10.0.0.9");
    }
    assert_eq!(put(&whole, "corp.internal/record-sets/b.deep").await, 201, "what it hides is its own");
    assert_eq!(put(&deep, "corp.internal/record-sets/a.deep").await, 201, "now it hides nothing more");
    api.put("POST /zones", json!({"name": "plain.internal"})).await;
    let plain = api.token("operator", &["a.deep.plain.internal"]).await;
    assert_eq!(put(&plain, "plain.internal/record-sets/a.deep").await, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_for_people_have_nothing_hidden() {
    let api = Api::start().await;
    api.put("POST /zones", json!({"name": "corp.internal"})).await;
    for hidden in ["\u{0}", "\u{1b}[2J", "\u{202e}", "\u{2028}", "\u{feff}", "\u{9b}31m"] {
        let token = json!({"name": format!("a{hidden}b"), "role": "reader"});
        let refused = api.call("POST /tokens").json(&token).send().await;
        assert_eq!(refused.fault(), (422, "/name".into()), "{hidden:?}");
        let one = json!({"action": "put", "zone": "corp.internal", "name": "a", "type": "A", "ttl": 1, "records": ["10.0.0.1"]});
        let changes = json!({"comment": format!("a{hidden}b"), "changes": [one]});
        let refused = api.call("POST /changes").json(&changes).send().await;
        assert_eq!(refused.fault(), (422, "/comment".into()), "{hidden:?}");
        assert!(!refused.text.contains(hidden));
    }
    let token = json!({"name": "Zoë – 東京", "role": "reader"});
    assert_eq!(api.call("POST /tokens").json(&token).send().await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zones_above_azure_s_names_do_not_make_them_vanish() {
    let api = Api::start().await;
    for apex in ["com", "net", "windows.net", "core.windows.net", "blob.core.windows.net"] {
        let refused = api.call("POST /zones").json(&json!({"name": apex})).send().await;
        assert_eq!(refused.fault(), (422, "/on_missing".into()), "{apex}");
    }
    let asks = json!({"name": "windows.net", "on_missing": "ask-public"});
    assert_eq!(api.call("POST /zones").json(&asks).send().await.status, 201);
    for (header, body) in [("*", json!({"on_missing": "nxdomain"})), ("*", json!({"on_missing": null}))] {
        let refused =
            api.call("PATCH /zones/windows.net").header("if-match", header).json(&body).send().await;
        assert_eq!(refused.fault(), (422, "/on_missing".into()));
    }
    for apex in ["ws.net", "example.com", "core.windows.net.corp.internal"] {
        assert_eq!(api.call("POST /zones").json(&json!({"name": apex})).send().await.status, 201, "{apex}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_unpack_are_not_taken_and_nothing_is_for_other_sites() {
    let api = Api::start().await;
    let call = api.call("POST /changes").header("content-encoding", "gzip").text("application/json", "x");
    assert_eq!(call.send().await.fault(), (415, "Content-Encoding".into()));
    let url = format!("http://{}/metrics", api.address());
    let response = reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap();
    assert_eq!(response.headers()["cross-origin-resource-policy"], "same-origin");
}

#[tokio::test]
async fn pages_whose_name_points_here_are_of_another_server() {
    let named = Settings { hosts: vec!["dns.corp.example".into()], ..settings() };
    let api = TestApi::start(named);
    let port = api.address().port();
    let get = |host: String, path: &str| api.get(path).header("host", host);
    for path in ["/metrics", "/readyz", "/api/openapi.json", "/api/v1/whoami"] {
        let (status, slug, _) = problem(get(format!("evil.example:{port}"), path)).await;
        assert_eq!((status, slug.as_str()), (421, "wrong-host"), "{path}");
    }
    for own in
        [format!("localhost:{port}"), format!("127.0.0.1:{port}"), "dns.corp.example".into(), "dns1".into()]
    {
        assert_eq!(get(own.clone(), "/metrics").send().await.unwrap().status(), 200, "{own}");
    }
    let raw = |head: &'static str| {
        let mut stream = api.connect();
        tokio::task::spawn_blocking(move || {
            stream.write_all(head.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer[..12].to_owned()
        })
    };
    let two = raw("GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n");
    assert_eq!(two.await.unwrap(), "HTTP/1.1 400");
    let absolute = raw("GET http://evil.example/livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(absolute.await.unwrap(), "HTTP/1.1 421");
}

#[tokio::test]
async fn pings_do_not_hold_a_connection_whose_answers_are_not_read() {
    let limits = Limits { idle: Duration::from_millis(200), ..Limits::default() };
    let api = TestApi::start(Settings { limits, ..settings() });
    let mut stream = api.connect();
    let ended = tokio::task::spawn_blocking(move || {
        let frame = |kind: u8, flags: u8, id: u8, payload: &[u8]| {
            [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, id], payload].concat()
        };
        // RFC 9113 §6.5.2: the client takes no byte of any answer; §6.2: GET /livez, as RFC 7541 writes it.
        let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
        let head = [&[0x82, 0x86, 0x04, 6], &b"/livez"[..], &[0x41, 1], b"x"].concat();
        let begin = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings, &frame(1, 5, 1, &head)].concat();
        stream.write_all(&begin).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (start, mut bytes) = (Instant::now(), [0; 4096]);
        while start.elapsed() < Duration::from_secs(10) {
            match stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return true,
            }
            if stream.write_all(&frame(6, 0, 0, b"01234567")).is_err() {
                return true;
            }
        }
        false
    });
    assert!(ended.await.unwrap(), "it is still open");
}

#[tokio::test]
async fn tokens_that_are_over_are_slowed_and_their_neighbours_are_not() {
    let limits = Limits { failed_attempts: 3, failed_attempt: Duration::from_secs(600), ..Limits::default() };
    let api = TestApi::start(Settings { limits, ..settings() });
    let over = api.book.put(Role::Admin, Scope::All, |token| token.revoked = Some(std::time::UNIX_EPOCH));
    let good = api.book.token(Role::Reader);
    let ask = async |token: &str| api.get("/api/v1/whoami").bearer_auth(token).send().await.unwrap().status();
    for _ in 0..3 {
        assert_eq!(ask(&over).await, 401);
    }
    assert_eq!(ask(&over).await, 429);
    let basic = api.get("/api/v1/whoami").basic_auth("a", Some("b")).send().await.unwrap();
    assert_eq!(basic.status(), 429);
    assert_eq!(ask(&good).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admins_who_revoke_each_other_leave_one() {
    let api = Api::start().await;
    for _ in 0..10 {
        let other = api.token("admin", &["*"]).await;
        let page = api.get("/tokens").await;
        let items = page["items"].as_array().unwrap().iter();
        let ids = items.filter(|it| it["revoked"].is_null()).map(|it| it["id"].as_str().unwrap().to_owned());
        let ids: Vec<String> = ids.collect();
        let revoke = async |id: &str, token: &str| {
            api.call(&format!("DELETE /tokens/{id}")).token(token).send().await.status
        };
        let [one, two] = &ids[..] else { panic!("{ids:?}") };
        let statuses = tokio::join!(revoke(one, &api.admin), revoke(two, &api.admin));
        assert!((statuses.0 == 204) != (statuses.1 == 204), "{statuses:?}");
        if api.call("GET /whoami").send().await.status != 200 {
            assert_eq!(api.call("GET /whoami").token(&other).send().await.status, 200);
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_problem_is_no_echo_of_a_large_request() {
    let api = Api::start().await;
    let long = "k".repeat(500_000);
    for body in
        [json!({long.as_str(): 1}), json!({"name": "a", "role": long}), json!({"name": [long], "role": 1})]
    {
        let refused = api.call("POST /tokens").json(&body).send().await;
        assert!(
            refused.status == 422 && refused.text.len() < 3000,
            "{} {}",
            refused.status,
            refused.text.len()
        );
    }
}
