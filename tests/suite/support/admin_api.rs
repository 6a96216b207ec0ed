//! The admin API on a loopback port, with a book of tokens in memory and a few routes to try things on.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use axum::routing::{get, post, put};
use parking_lot::Mutex;
use privatelink_dns::admin::auth::{Deed, Refusals, RefusedRequest};
use privatelink_dns::admin::{App, Json, Parts, Problem, Running, Settings, Standing, bind};
use privatelink_dns::dns::{Name, RecordType};
use privatelink_dns::ledger::{Identity, KnownToken, Minted, Role, Scope, TokenBook};
use privatelink_dns::persist::Subject;
use privatelink_dns::telemetry::{Families, Numbers, label};
use reqwest::{Client, RequestBuilder, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;

use super::fake_server::FakeServer;

/// The API while a test runs.
pub struct TestApi {
    pub running: Running,
    pub book: Arc<Book>,
    pub world: Arc<FakeServer>,
    pub client: Client,
}

/// Tokens in memory, what was refused, and what was done besides records.
#[derive(Default)]
pub struct Book {
    tokens: Mutex<HashMap<String, KnownToken>>,
    pub used: Mutex<Vec<String>>,
    pub refused: Mutex<Vec<RefusedRequest>>,
    /// `who what`.
    pub deeds: Mutex<Vec<String>>,
}

impl Book {
    /// A token of this role for everything.
    pub fn token(&self, role: Role) -> String {
        self.put(role, Scope::All, |_| {})
    }

    /// A token that is changed before it is kept.
    pub fn put(&self, role: Role, scope: Scope, change: impl FnOnce(&mut KnownToken)) -> String {
        let minted = Minted::new();
        let mut stored = KnownToken {
            id: minted.id.clone(),
            name: format!("test-{role}"),
            secret_sha256: minted.secret_sha256,
            role,
            scope,
            created: SystemTime::now(),
            expires: None,
            revoked: None,
        };
        change(&mut stored);
        self.tokens.lock().insert(minted.id, stored);
        minted.text
    }
}

impl TokenBook for Book {
    fn find(&self, id: &str) -> Option<KnownToken> {
        self.tokens.lock().get(id).cloned()
    }

    fn used(&self, id: &str) {
        self.used.lock().push(id.to_owned());
    }
}

impl Refusals for Book {
    fn refused(&self, refusal: RefusedRequest) {
        self.refused.lock().push(refusal);
    }

    fn done(&self, deed: Deed) {
        self.deeds.lock().push(format!("{} {}", deed.who.name, deed.what));
    }
}

/// What the server says of itself.
fn numbers(server: &Arc<FakeServer>) -> Arc<Numbers> {
    let numbers = Numbers::default();
    numbers.add(Arc::new(Standing(server.clone())));
    numbers.add(Arc::new(|families: &mut Families| {
        let source = label("source", "a \"quoted\"\nname");
        families.gauges("source_age_seconds", "Age of a source", [(source, 1.5)]);
        if families.names_zones() {
            families.gauges("zone_serial", "Serial of a zone", [(label("zone", "corp.internal."), 9.0)]);
        }
    }));
    Arc::new(numbers)
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Echo {
    ttl: u32,
}

fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .route("/test/echo", post(async |Json(echo): Json<Echo>| axum::Json(echo)))
        .route("/test/panic", get(panics))
        .route("/test/names/{zone}/{name}", put(may_change))
        .route("/test/admin", get(async |_: privatelink_dns::admin::Admin| "admin"))
}

async fn panics() -> String {
    panic!("on purpose")
}

async fn may_change(
    identity: Identity,
    axum::extract::Path((zone, name)): axum::extract::Path<(String, String)>,
) -> Result<&'static str, Problem> {
    let name_of = |text: &str| text.parse::<Name>().map_err(|why| Problem::invalid("name", why.to_string()));
    let (zone, name) = (name_of(&zone)?, name_of(&name)?);
    identity.may_change(&Subject::RecordSet { zone, name, rtype: RecordType::A })?;
    Ok("changed")
}

/// Settings for a free port of this host.
pub fn settings() -> Settings {
    Settings { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Settings::default() }
}

impl TestApi {
    pub fn start(settings: Settings) -> TestApi {
        let (book, world) = (Arc::<Book>::default(), Arc::<FakeServer>::default());
        let parts = Parts {
            server: world.clone(),
            numbers: numbers(&world),
            tokens: book.clone(),
            refusals: book.clone(),
            resolver: None,
            more: routes(),
        };
        let running = bind(settings).unwrap().serve(parts).unwrap();
        TestApi { running, book, world, client: Client::builder().no_proxy().build().unwrap() }
    }

    pub fn address(&self) -> SocketAddr {
        self.running.addresses()[0]
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path))
    }

    /// A connection without HTTP.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

/// Status, slug and whole of an answer that is a problem.
pub async fn problem(response: RequestBuilder) -> (u16, String, Value) {
    problem_of(response.send().await.unwrap()).await
}

pub async fn problem_of(response: Response) -> (u16, String, Value) {
    let (status, id) = (response.status().as_u16(), response.headers()["x-request-id"].clone());
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let text = response.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["status"], status, "{body}");
    assert_eq!(body["request_id"].as_str().unwrap(), id, "{body}");
    assert!(!body["detail"].as_str().unwrap().is_empty(), "{body}");
    let slug =
        body["type"].as_str().unwrap().strip_prefix("urn:privatelink-dns:problem:").unwrap().to_owned();
    (status, slug, body)
}

/// A host that serves one document, counts how often, and can be told another answer.
pub struct FakeKeys {
    pub address: SocketAddr,
    state: Arc<Mutex<(u16, String, usize)>>,
}

impl FakeKeys {
    pub fn start(document: String) -> FakeKeys {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new((200, document, 0)));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                    head.push(byte[0]);
                }
                let (status, body) = {
                    let mut state = shared.lock();
                    state.2 += 1;
                    (state.0, state.1.clone())
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                // Whoever goes away early is no fault of a test.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        FakeKeys { address, state }
    }

    pub fn answer(&self, status: u16, document: String) {
        let mut state = self.state.lock();
        (state.0, state.1) = (status, document);
    }

    pub fn asked(&self) -> usize {
        self.state.lock().2
    }
}
