//! The routes of what the running server knows: over real sockets, on a fake server for their shapes and on a real
//! daemon before a fake Azure from end to end.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use privatelink_dns::admin::{
    self, EndpointNameReport, EndpointReport, EventSecret, EventSettings, Extent, HeldBackReport,
    LimitMetReport, LimitWord, PassesReport, Reason, Running, Server, Settings, SourceKind, SourceReport,
    SourceRole, SourceStateWord, WhyNot, bind,
};
use privatelink_dns::cache::{End, UpstreamReply};
use privatelink_dns::dns::{QueryFlags, Question, Rcode, RecordType};
use privatelink_dns::ledger::{Role, Scope};
use privatelink_dns::telemetry::when::rfc3339;
use privatelink_dns::zone::{Change, ChangeSet, Network, Networks};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;

use crate::azure::{accounts, empty};
use crate::support::admin_api::Book;
use crate::support::api::Api;
use crate::support::client::{PATIENCE, answers, ask, record};
use crate::support::fake_arm::{FIRST, FakeArm};
use crate::support::fake_server::FakeServer;
use crate::support::test_daemon::TestDaemon;

const SECRET: &str = "a secret that nobody guesses";
const PLAN: &str = "7d0c6a0b2f3e4d5c8b9a0f1e2d3c4b5a";

/// The API of a server, with a token a role.
struct Reads {
    runtime: Runtime,
    running: Running,
    client: reqwest::Client,
    book: Arc<Book>,
    /// Each with the name of its bearer.
    tokens: Vec<(&'static str, String)>,
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

impl Reads {
    fn of(server: Arc<dyn Server>) -> Reads {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let book = Arc::<Book>::default();
        let zone = Scope::Only(vec!["privatelink.blob.core.windows.net".parse().unwrap()]);
        let kinds = [
            ("reader", Role::Reader, Scope::All),
            ("operator", Role::Operator, Scope::All),
            ("scoped", Role::Operator, zone),
        ];
        let tokens = kinds
            .map(|(name, role, scope)| (name, book.put(role, scope, |token| token.name = name.to_owned())));
        let settings = Settings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            events: EventSettings {
                secret: Some(EventSecret::new(SECRET).unwrap()),
                ..EventSettings::default()
            },
            ..Settings::default()
        };
        let parts = admin::Parts {
            server,
            numbers: Arc::default(),
            tokens: book.clone(),
            refusals: book.clone(),
            resolver: None,
            more: OpenApiRouter::new(),
        };
        let entered = runtime.enter();
        let running = bind(settings).unwrap().serve(parts).unwrap();
        drop(entered);
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Reads { runtime, running, client, book, tokens: tokens.to_vec() }
    }

    fn request(&self, what: &str) -> reqwest::RequestBuilder {
        let (method, path) = what.split_once(' ').unwrap();
        let path = if path.starts_with("/api/") { path.to_owned() } else { format!("/api/v1{path}") };
        let url = format!("http://{}{path}", self.running.addresses()[0]);
        self.client.request(method.parse().unwrap(), url)
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        self.runtime.block_on(answer_of(request))
    }

    fn call_as(&self, who: &str, what: &str, body: Option<Value>) -> Answer {
        let (_, token) = self.tokens.iter().find(|(name, _)| *name == who).unwrap();
        let request = self.request(what).bearer_auth(token);
        self.send(match body {
            Some(body) => with_json(request, &body),
            None => request,
        })
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.call_as("reader", &format!("GET {path}"), None);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    /// Sends events with the secret.
    fn events(&self, events: &Value) -> Answer {
        let request = self.request(&format!("POST /events?secret={}", SECRET.replace(' ', "%20")));
        self.send(with_json(request, events))
    }

    /// Asks until what is answered is as wanted.
    fn until(&self, path: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let value = self.get(path);
            if is_wanted(&value) {
                return value;
            }
            assert!(start.elapsed() < PATIENCE, "{path} stays {value}");
        }
    }
}

fn with_json(request: reqwest::RequestBuilder, body: &Value) -> reqwest::RequestBuilder {
    request.header("content-type", "application/json").body(body.to_string())
}

async fn answer_of(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") };
    Answer { status, headers, body }
}

fn source(name: &str) -> SourceReport {
    SourceReport {
        name: name.to_owned(),
        kind: SourceKind::Arm,
        role: SourceRole::Listing,
        listed_by: None,
        state: SourceStateWord::Current,
        since: "2026-07-01T12:01:09Z".to_owned(),
        why: None,
        read_at: None,
        age_secs: None,
        names: 3,
        names_not_served: 0,
        derived_zones: Vec::new(),
        failing_count: 0,
        failing: Vec::new(),
        held_back: None,
        passes: PassesReport::default(),
    }
}

fn endpoint(number: usize, state: &str) -> EndpointReport {
    let is_published = state == "Approved";
    let name = EndpointNameReport {
        name: format!("sql{number}.privatelink.database.windows.net."),
        zone: Some("privatelink.database.windows.net.".to_owned()),
        addresses: vec![Ipv4Addr::new(10, 0, 0, 1).into()],
        public_names: vec![format!("sql{number}.database.windows.net.")],
        is_published,
        why_not: (!is_published)
            .then(|| WhyNot { reason: Reason::Pending, detail: "it is Pending".to_owned() }),
        conflicts: Vec::new(),
    };
    EndpointReport {
        id: format!(
            "/subscriptions/{FIRST}/resourcegroups/rg/providers/microsoft.network/privateendpoints/pe-{number:03}"
        ),
        name: format!("pe-{number:03}"),
        source: "azure".to_owned(),
        subscription: FIRST.to_owned(),
        virtual_network: None,
        resource: None,
        state: Some(state.to_owned()),
        published: if is_published { Extent::All } else { Extent::None },
        why_not: None,
        names: vec![name],
    }
}

fn fake() -> FakeServer {
    let held_back =
        HeldBackReport { would_withdraw: 13, of: 40, plan: PLAN.to_owned(), subscriptions: Vec::new() };
    let sources = vec![
        source("azure"),
        SourceReport { held_back: Some(held_back), state: SourceStateWord::HeldBack, ..source("held") },
        source("more"),
    ];
    let endpoints =
        (0..250).map(|number| endpoint(number, if number % 50 == 0 { "Pending" } else { "Approved" }));
    let fake = FakeServer { sources, endpoints: endpoints.collect(), ..FakeServer::default() };
    let network = |name: &str, clients: &str| Network {
        name: name.into(),
        clients: vec![clients.parse().unwrap()],
        virtual_networks: vec![format!("/vnets/{name}").into()],
    };
    let networks = vec![network("spoke", "10.2.0.0/16"), network("hub", "10.1.0.0/16")];
    let networks = Arc::new(Networks::new(networks, Vec::new()).unwrap());
    fake.store.commit(ChangeSet { changes: vec![Change::SetNetworks(networks)] }).unwrap();
    for name in ["b.test.", "a.test.", "x.a.test.", "other."] {
        let reply = UpstreamReply {
            rcode: Rcode::NOERROR,
            authenticated: false,
            answer: vec![record(&format!("{name} 60 A 192.0.2.1"))],
            authority: Vec::new(),
            end: End::Data,
            extended_error: None,
        };
        let question = Question { name: name.parse().unwrap(), rtype: RecordType::A };
        fake.cache.put(&question, QueryFlags::default(), Arc::new(reply), tokio::time::Instant::now());
    }
    fake
}

fn event(id: &str, time: SystemTime) -> Value {
    json!({
        "id": id,
        "topic": format!("/subscriptions/{FIRST}"),
        "subject": format!("/subscriptions/{FIRST}/resourceGroups/rg/providers/Microsoft.Network/privateEndpoints/pe"),
        "eventType": "Microsoft.Resources.ResourceWriteSuccess",
        "eventTime": rfc3339(time),
        "data": {"status": "Succeeded"},
        "dataVersion": "2",
    })
}

#[test]
fn every_example_of_the_description_works() {
    let reads = Reads::of(Arc::new(fake()));
    let spec = reads.send(reads.request("GET /api/openapi.json")).body;
    let tags = ["sync", "networks", "catalogue", "answers"];
    let mut sent = BTreeSet::new();
    for (path, operations) in spec["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let tag = operation["tags"][0].as_str().unwrap();
            if !tags.contains(&tag) {
                continue;
            }
            let mut query = Vec::new();
            let mut request = None;
            for _ in 0..2 {
                // First what must be sent, then all that may be.
                let url = format!("{} {path}?{}", method.to_uppercase(), query.join("&"));
                let (_, token) = &reads.tokens[1];
                let mut call = reads.request(&url).bearer_auth(token);
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    let (name, example) = (parameter["name"].as_str().unwrap(), &parameter["example"]);
                    let text = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
                    match parameter["in"].as_str().unwrap() {
                        "header" => call = call.header(name, text),
                        _ if !example.is_null() => query.push(format!("{name}={text}")),
                        _ => {}
                    }
                }
                if let Some(contents) = operation["requestBody"]["content"].as_object() {
                    let (media_type, content) = contents.iter().next().unwrap();
                    assert!(!content["example"].is_null(), "{method} {path} has no example of its body");
                    call = call.header("content-type", media_type).body(content["example"].to_string());
                }
                request = Some(call);
            }
            let answer = reads.send(request.unwrap());
            assert!(answer.status < 300, "{method} {path}?{query:?}: {} {}", answer.status, answer.body);
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.contains_key(&answer.status.to_string()), "{method} {path}: {}", answer.status);
            sent.insert(format!("{method} {}", path.strip_prefix("/api/v1").unwrap()));
        }
    }
    let routes = [
        "delete /cache",
        "get /cache",
        "get /catalogue",
        "get /endpoints",
        "get /explain",
        "get /limits",
        "get /networks",
        "get /sync",
        "get /top",
        "options /events",
        "post /events",
        "post /sync",
    ];
    assert_eq!(sent, routes.map(str::to_owned).into());
}

#[test]
fn endpoints_come_in_pages_and_by_filters() {
    let reads = Reads::of(Arc::new(fake()));
    let (mut path, mut ids) = ("/endpoints?limit=99".to_owned(), Vec::new());
    loop {
        let answer = reads.call_as("reader", &format!("GET {path}"), None);
        let items = answer.body["items"].as_array().unwrap();
        assert!(items.len() <= 99);
        ids.extend(items.iter().map(|it| it["id"].as_str().unwrap().to_owned()));
        let Some(next) = answer.body["next"].as_str() else { break };
        assert!(answer.headers["link"].to_str().unwrap().contains(next));
        path = format!("/endpoints?limit=99&after={next}");
    }
    assert_eq!(ids.len(), 250);
    assert!(ids.is_sorted());
    let count =
        |query: &str| reads.get(&format!("/endpoints?limit=1000&{query}"))["items"].as_array().unwrap().len();
    assert_eq!((count("state=pending"), count("published=none"), count("published=some")), (5, 5, 0));
    assert_eq!((count("name=sql7.database.windows.net"), count("name=*sql7*")), (1, 11));
    assert_eq!(
        (count("name=PE-007"), count(&format!("subscription={FIRST}")), count("source=other")),
        (1, 250, 0)
    );
    let pending = &reads.get("/endpoints?state=Pending")["items"][0];
    assert_eq!(pending["names"][0]["why_not"]["reason"], "pending");
    // A token goes with its filter only.
    let next = reads.get("/endpoints?limit=9")["next"].as_str().unwrap().to_owned();
    let other = reads.call_as("reader", &format!("GET /endpoints?state=Pending&after={next}"), None);
    assert_eq!((other.status, &other.body["field"]), (422, &json!("after")));
    for wrong in ["limit=0", "published=maybe", "nam=x"] {
        assert_eq!(reads.call_as("reader", &format!("GET /endpoints?{wrong}"), None).status, 422, "{wrong}");
    }
}

#[test]
fn sync_is_begun_and_a_plan_confirmed_by_those_who_may() {
    let fake = Arc::new(fake());
    let reads = Reads::of(fake.clone());
    let view = reads.get("/sync?limit=2");
    assert_eq!(view["items"][1]["held_back"]["plan"], PLAN);
    let next = view["next"].as_str().unwrap();
    assert_eq!(reads.get(&format!("/sync?after={next}"))["items"][0]["name"], "more");
    let post = |who, body| {
        let answer = reads.call_as(who, "POST /sync", body);
        (answer.status, answer.body)
    };
    assert_eq!(post("operator", None), (202, json!({"sources": ["azure", "held", "more"]})));
    assert_eq!(post("scoped", Some(json!({"source": "azure"}))), (202, json!({"sources": ["azure"]})));
    let confirm = |source: &str, plan: &str| Some(json!({"confirm": {"source": source, "plan": plan}}));
    let (status, problem) = post("operator", confirm("held", "0"));
    assert_eq!((status, &problem["now"], &problem["field"]), (409, &json!(PLAN), &json!("/confirm/plan")));
    assert_eq!(post("operator", confirm("azure", PLAN)).0, 409);
    assert_eq!(post("operator", confirm("nobody", PLAN)).0, 422);
    assert_eq!(post("operator", confirm("held", "no plan")).1["field"], "/confirm/plan");
    assert_eq!(post("operator", Some(json!({"source": "nobody"}))).1["field"], "/source");
    assert_eq!(post("operator", Some(json!({"sorce": "azure"}))).1["field"], "/sorce");
    assert_eq!(post("reader", None).0, 403);
    assert_eq!(post("scoped", confirm("held", PLAN)).0, 403);
    assert_eq!(post("operator", confirm("held", PLAN)), (202, json!({"sources": ["held"]})));
    let asked = fake.asked.lock().unwrap().clone();
    assert_eq!(asked, ["nudge all", "nudge azure", &format!("confirm held {PLAN}")]);
    let deeds = reads.book.deeds.lock().clone();
    assert_eq!(deeds, [format!("operator confirmed plan {PLAN} of source held")]);
}

#[test]
fn the_cache_is_shown_in_order_and_forgotten_below_a_name() {
    let fake = Arc::new(fake());
    let reads = Reads::of(fake.clone());
    let names = |view: &Value| -> Vec<String> {
        view["items"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = reads.get("/cache?name=test&limit=2");
    assert_eq!(names(&first), ["a.test.", "x.a.test."]);
    assert_eq!(first["items"][0]["answer"][0]["data"], "192.0.2.1");
    let next = first["next"].as_str().unwrap();
    assert_eq!(names(&reads.get(&format!("/cache?name=test&limit=2&after={next}"))), ["b.test."]);
    let delete = |who, query: &str| reads.call_as(who, &format!("DELETE /cache{query}"), None);
    assert_eq!(delete("reader", "?name=a.test").status, 403);
    assert_eq!(delete("operator", "?nme=a.test").status, 422);
    assert_eq!(delete("scoped", "").status, 403);
    assert_eq!(fake.cache.len(), 4);
    assert_eq!(delete("scoped", "?name=a.test").body, json!({"entries": 2}));
    assert_eq!(delete("operator", "").body, json!({"entries": 2}));
    assert_eq!(reads.book.deeds.lock().len(), 2);
}

#[test]
fn client_networks_that_met_a_limit_are_told() {
    let limits_met = vec![LimitMetReport {
        network: "10.1.2.0/24".to_owned(),
        limit: LimitWord::WaitLimit,
        queries: 17,
        last: "2026-07-01T12:01:09Z".to_owned(),
    }];
    let reads = Reads::of(Arc::new(FakeServer { limits_met, ..fake() }));
    let met = json!({"network": "10.1.2.0/24", "limit": "wait-limit", "queries": 17, "last": "2026-07-01T12:01:09Z"});
    assert_eq!(reads.get("/limits"), json!({"met": [met]}));
}

#[test]
fn networks_names_and_explanations_are_told() {
    let fake = Arc::new(FakeServer { explaining: Arc::new(Semaphore::new(0)), ..fake() });
    let reads = Reads::of(fake.clone());
    let networks = reads.get("/networks");
    assert_eq!(
        networks["items"][0],
        json!({"name": "hub", "clients": ["10.1.0.0/16"], "virtual_networks": ["/vnets/hub"]})
    );
    let known = reads.get("/catalogue?name=contoso.vault.azure.net");
    assert_eq!(
        (&known["kind"], &known["places"][0]["zone"]),
        (&json!("public"), &json!("privatelink.vaultcore.azure.net."))
    );
    assert_eq!(reads.get("/catalogue?name=example.org")["kind"], "unknown");
    for wrong in
        ["/catalogue", "/catalogue?name=a..b", "/explain?name=a&type=%23", "/explain?name=a&client=b"]
    {
        assert_eq!(reads.call_as("reader", &format!("GET {wrong}"), None).status, 422, "{wrong}");
    }
    // As many as there are places wait; one more is sent away, and the others are answered.
    let (_, token) = &reads.tokens[0];
    let explain =
        || answer_of(reads.request("GET /explain?name=a.test&type=TXT&client=10.1.0.1").bearer_auth(token));
    let waiting: Vec<_> = (0..9).map(|_| reads.runtime.spawn(explain())).collect();
    let statuses = reads.runtime.block_on(async {
        let mut statuses = Vec::new();
        let mut waiting = futures_util::stream::FuturesUnordered::from_iter(waiting);
        while let Some(answer) = futures_util::StreamExt::next(&mut waiting).await {
            let answer = answer.unwrap();
            if answer.status == 503 {
                assert_eq!(answer.headers["retry-after"], "2");
                fake.explaining.add_permits(8);
            } else {
                assert_eq!(answer.body["steps"], json!(["10.1.0.1 asks a.test. TXT"]));
                assert_eq!(answer.body["rcode"], "NXDOMAIN");
            }
            statuses.push(answer.status);
        }
        statuses
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 8, "{statuses:?}");
}

#[test]
fn events_are_let_in_by_secret_or_token_and_each_counts_once() {
    let fake = Arc::new(fake());
    let reads = Reads::of(fake.clone());
    let now = SystemTime::now();
    let validation = json!([{
        "id": "1", "topic": "t", "subject": "", "eventTime": "2018-01-25T22:12:19.4556811Z", "dataVersion": "1",
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": {"validationCode": "512d38b6", "validationUrl": "https://example.org/"},
    }]);
    let answer = reads.events(&validation);
    assert_eq!((answer.status, answer.body), (200, json!({"validationResponse": "512d38b6"})));
    let ahead = |request: reqwest::RequestBuilder| {
        let request = request.header("WebHook-Request-Origin", "eventgrid.azure.net");
        let answer = reads.send(request);
        (
            answer.status,
            answer.headers.get("webhook-allowed-origin").map(|it| it.to_str().unwrap().to_owned()),
        )
    };
    let origin = Some("eventgrid.azure.net".to_owned());
    assert_eq!(ahead(reads.request("OPTIONS /events").header("X-Event-Secret", SECRET)), (200, origin));
    assert_eq!(ahead(reads.request("OPTIONS /events")), (401, None));
    // Nobody, a wrong secret, one who may only read, one who may write.
    let one = json!([event("by token", now)]);
    assert_eq!(reads.send(with_json(reads.request("POST /events"), &one)).status, 401);
    assert_eq!(reads.send(with_json(reads.request("POST /events?secret=wrong"), &one)).status, 401);
    assert_eq!(reads.call_as("reader", "POST /events", Some(one.clone())).status, 403);
    assert!(fake.asked.lock().unwrap().is_empty());
    assert_eq!(
        reads.call_as("operator", "POST /events", Some(one.clone())).body,
        json!({"taken": 1, "ignored": 0})
    );
    // Once and young.
    let old = now - Duration::from_secs(700);
    let mixed = json!([event("by token", now), event("old", old), event("new", now), event("new", now)]);
    assert_eq!(reads.events(&mixed).body, json!({"taken": 1, "ignored": 3}));
    let cloud = json!({"specversion": "1.0", "id": "c", "source": "s", "type": "t", "time": rfc3339(now)});
    let structured = |body: &Value, media_type: &str| {
        let request =
            reads.request("POST /events").header("X-Event-Secret", SECRET).header("content-type", media_type);
        let answer = reads.send(request.body(body.to_string()));
        (answer.status, answer.body)
    };
    let taken = |taken: usize, ignored: usize| (200, json!({"taken": taken, "ignored": ignored}));
    assert_eq!(structured(&cloud, "application/cloudevents+json; charset=utf-8"), taken(1, 0));
    assert_eq!(structured(&json!([cloud]), "application/cloudevents-batch+json"), taken(0, 1));
    assert_eq!(structured(&json!("text"), "application/json").0, 422);
    assert_eq!(
        structured(&json!([{"id": "x", "eventTime": "today"}]), "application/json").1["field"],
        "/0/eventTime"
    );
    assert_eq!(structured(&cloud, "text/plain").0, 415);
    assert_eq!(structured(&json!("x".repeat(1 << 20)), "application/json").0, 413);
    let start = Instant::now();
    while fake.asked.lock().unwrap().is_empty() {
        assert!(start.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    assert!(fake.asked.lock().unwrap().iter().all(|asked| asked == "nudge all"));
}

#[test]
fn wrong_secrets_are_slowed_and_the_right_one_never_is() {
    let reads = Reads::of(Arc::new(fake()));
    let one = json!([event("1", SystemTime::now())]);
    let guess = |secret: &str| {
        reads.send(with_json(reads.request("POST /events").header("X-Event-Secret", secret), &one)).status
    };
    let statuses: Vec<u16> = (0..20).map(|number| guess(&number.to_string())).collect();
    assert_eq!((statuses[0], statuses[19]), (401, 429), "{statuses:?}");
    // Others send from the same addresses of Event Grid: they lock nobody out.
    assert_eq!(guess(SECRET), 200);
    assert_eq!(guess("wrong"), 429);
    assert_eq!(reads.call_as("operator", "POST /events", Some(one.clone())).status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_besides_records_is_in_the_audit() {
    let api = Api::start().await;
    assert_eq!(api.call("DELETE /cache?name=a.test").send().await.status, 200);
    let start = Instant::now();
    loop {
        let changes = api.get("/changes").await;
        let comments = changes["items"].as_array().unwrap().iter().map(|it| it["comment"].clone());
        if comments.into_iter().any(|it| it == "forgot 0 cached replies at and below a.test.") {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{changes}");
    }
}

#[test]
fn an_event_leads_to_a_pass_and_to_another_answer() {
    let arm = FakeArm::start();
    let url = arm.url();
    let config = format!(
        "[forward]\nupstreams = []\n[sync]\ninterval_secs = 3600\n[[sync.source]]\nkind = 'arm'\nname = 'live'\n\
         endpoint = '{url}'\nauthority = '{url}'\nidentity_endpoint = '{url}'\n\
         [[sync.source]]\nkind = 'directory'\nname = 'exports'\npath = 'exports/'\n\
         [[network]]\nname = 'hub'\nclients = ['127.0.0.0/8']\n"
    );
    let daemon = TestDaemon::start(&config, &[("exports/none.json", "[]")]);
    let reads = Reads::of(Arc::new(daemon.ports.clone()));
    let name = "contosodata01.privatelink.blob.core.windows.net.";
    let address = || answers(&ask(daemon.address, name, "A"));
    let current = |name: &'static str, state: &'static str| {
        move |view: &Value| {
            let sources = view["items"].as_array().unwrap();
            sources
                .iter()
                .any(|it| it["name"] == name && it["state"] == state && it["passes"]["is_under_way"] == false)
        }
    };
    reads.until("/sync", current("live", "current"));
    assert_eq!(address(), [format!("{name} 10 A 10.1.0.5")]);
    let shown = reads.get("/endpoints?name=contosodata01.blob.core.windows.net");
    let shown = &shown["items"][0];
    assert_eq!(
        (&shown["published"], &shown["state"], &shown["source"]),
        (&json!("all"), &json!("Approved"), &json!("live"))
    );
    assert_eq!(shown["names"][0]["addresses"], json!(["10.1.0.5"]));
    let withheld = reads.get("/endpoints?published=none");
    let withheld = withheld["items"].as_array().unwrap();
    assert!(withheld.iter().any(|it| it["names"][0]["why_not"]["reason"] == "pending"), "{withheld:?}");
    // The endpoints are gone, others are there, and an event tells of it.
    arm.list(FIRST, "networkInterfaces", [empty(), empty()]);
    arm.list(FIRST, "privateEndpoints", [accounts(1..41), empty()]);
    let sent = SystemTime::now();
    assert_eq!(reads.events(&json!([event("1", sent)])).body, json!({"taken": 1, "ignored": 0}));
    let account = "account1.privatelink.blob.core.windows.net.";
    let apex = "privatelink.blob.core.windows.net.".parse::<privatelink_dns::dns::Name>().unwrap();
    daemon.wait_for(|snapshot| {
        let zone = snapshot.zone(apex.borrow());
        let name: privatelink_dns::dns::Name = account.parse().unwrap();
        zone.is_some_and(|zone| zone.node(name.borrow()).is_some())
    });
    assert_eq!(answers(&ask(daemon.address, account, "A")), [format!("{account} 10 A 10.0.0.1")]);
    assert_ne!(address(), [format!("{name} 10 A 10.1.0.5")]);
    // A second is promised; a machine that tests in parallel may take longer.
    assert!(sent.elapsed().unwrap() < Duration::from_secs(10));
    // A bad listing is held back until exactly its plan is confirmed.
    reads.until("/sync", current("live", "current"));
    arm.list(FIRST, "privateEndpoints", [accounts(14..42), empty()]);
    assert_eq!(reads.call_as("operator", "POST /sync", Some(json!({"source": "live"}))).status, 202);
    let view = reads.until("/sync", current("live", "held-back"));
    let live = view["items"].as_array().unwrap().iter().find(|it| it["name"] == "live").unwrap();
    assert_eq!((&live["held_back"]["would_withdraw"], &live["held_back"]["of"]), (&json!(13), &json!(40)));
    let plan = live["held_back"]["plan"].as_str().unwrap();
    let confirm = |plan: &str| {
        let body = json!({"confirm": {"source": "live", "plan": plan}});
        reads.call_as("operator", "POST /sync", Some(body)).status
    };
    assert_eq!((confirm("00"), confirm(plan)), (409, 202));
    daemon.wait_for(|snapshot| {
        let name: privatelink_dns::dns::Name = account.parse().unwrap();
        snapshot.zone(apex.borrow()).is_some_and(|zone| zone.node(name.borrow()).is_none())
    });
    reads.until("/sync", current("live", "current"));
    assert_eq!(confirm(plan), 409);
    // Folders are read when they are wanted.
    let began = |view: &Value| {
        let exports = view["items"].as_array().unwrap().iter().find(|it| it["name"] == "exports").unwrap();
        exports["passes"]["began"].clone()
    };
    let before = began(&reads.get("/sync"));
    assert_eq!(reads.call_as("operator", "POST /sync", Some(json!({"source": "exports"}))).status, 202);
    reads.until("/sync", |view| began(view) != before);
    let explained = reads.get("/explain?name=account20.privatelink.blob.core.windows.net");
    assert_eq!(explained["steps"][0], "view: 127.0.0.1 belongs to network `hub`");
    assert_eq!(explained["answer"][0]["data"], "10.0.0.20");
    assert_eq!(reads.get("/networks")["items"][0]["name"], "hub");
    daemon.stop();
}
