//! The admin API on a real socket: a store in a folder of its own, real zones, and a responder that serves them.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use privatelink_dns::admin::{self, Attempts, Running, Settings, bind, owned_routes};
use privatelink_dns::dns::RecordType;
use privatelink_dns::forward::{RuleSettings, UpstreamHealth};
use privatelink_dns::ledger::{Applier, Bases, Following, Ledger, Minted, Neighbours, Written};
use privatelink_dns::persist::{
    self, Audit, Commit, Entry, Persist, Role, Source, StoredChange, StoredToken,
};
use privatelink_dns::privatelink::{Catalogue, Cloud};
use privatelink_dns::respond::Transport;
use privatelink_dns::zone::{Network, Store};
use serde_json::Value;
use tempfile::TempDir;

use super::fake_server::FakeServer;
use super::message::Ask;
use super::world::{Setup, World};

/// A server that runs.
pub struct Api {
    pub world: World,
    pub persist: Persist,
    pub ledger: Arc<Ledger>,
    pub neighbours: Arc<Around>,
    pub admin: String,
    folder: Arc<TempDir>,
    _following: Following,
    running: Running,
    client: reqwest::Client,
    spec: tokio::sync::OnceCell<Value>,
}

/// A rule for this domain is one that the server panics at.
pub const PANICS: &str = "panics.example.";

/// What stands around the API in tests.
#[derive(Default)]
pub struct Around {
    pub configured: Vec<RuleSettings>,
    pub rules: Mutex<Vec<RuleSettings>>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub etag: Option<String>,
    pub retry_after: Option<String>,
    pub media_type: String,
    pub text: String,
}

/// A request in the making.
pub struct Call<'a> {
    api: &'a Api,
    request: reqwest::RequestBuilder,
    has_token: bool,
}

impl Neighbours for Around {
    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::new(Catalogue::builtin(Cloud::Public))
    }

    fn configured_rules(&self) -> Vec<RuleSettings> {
        self.configured.clone()
    }

    fn upstreams(&self) -> Vec<UpstreamHealth> {
        Vec::new()
    }

    fn set_rules(&self, rules: Vec<RuleSettings>) {
        assert!(!rules.iter().any(|rule| rule.domain.to_string() == PANICS), "on purpose");
        *self.rules.lock().unwrap() = rules;
    }
}

impl Api {
    pub async fn start() -> Api {
        let folder = Arc::new(TempDir::new().unwrap());
        let admin = first_token(folder.path()).await;
        Api::start_in(folder, admin, |_| {}).await
    }

    /// Starts on the same folder; `prepare` is what config and sync do before.
    pub async fn start_in(folder: Arc<TempDir>, admin: String, prepare: impl FnOnce(&Store)) -> Api {
        let networks = ["hub", "spoke"].map(|name| Network {
            name: name.into(),
            clients: vec![if name == "hub" { "10.1.0.0/16" } else { "10.2.0.0/16" }.parse().unwrap()],
            virtual_networks: vec![format!("/vnets/{name}").into()],
        });
        let world = World::new(Setup { networks: networks.into(), ..Setup::default() }, Arc::default());
        prepare(&world.store);
        let persist = open(folder.path()).await;
        let stored = persist.load().await.unwrap();
        let written = Arc::new(Written::of(&stored));
        let configured = vec![RuleSettings {
            domain: "corp.example.".parse().unwrap(),
            upstreams: vec!["10.9.0.1".parse().unwrap()],
            queries_per_second_max: None,
        }];
        let neighbours = Arc::new(Around { configured, ..Around::default() });
        let applier = Applier::new(world.store.clone(), written.clone(), neighbours.clone());
        applier.rebase(Bases::default());
        let following = applier.start(persist.changes(stored.revision));
        let ledger = Ledger::new(persist.clone(), applier);
        let settings = Settings { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Settings::default() };
        let parts = admin::Parts {
            server: Arc::new(FakeServer::default()),
            numbers: Arc::default(),
            tokens: written,
            refusals: Attempts::new(persist.clone()),
            resolver: None,
            more: owned_routes(ledger.clone()),
        };
        let running = bind(settings).unwrap().serve(parts).unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        let spec = tokio::sync::OnceCell::new();
        Api {
            world,
            persist,
            ledger,
            neighbours,
            admin,
            folder,
            _following: following,
            running,
            client,
            spec,
        }
    }

    /// Ends it and starts another on what it has stored.
    pub async fn restart(self, prepare: impl FnOnce(&Store)) -> Api {
        let Api { folder, admin, persist, running, .. } = self;
        running.drain(Duration::from_secs(5)).await;
        persist.close().await;
        drop((persist, running));
        Api::start_in(folder, admin, prepare).await
    }

    /// `PUT /zones/…`, below `/api/v1`; a path that begins with `/api/` stands as it is.
    pub fn call(&self, what: &str) -> Call<'_> {
        let (method, path) = what.split_once(' ').expect("a method and a path");
        let path = if path.starts_with("/api/") { path.to_owned() } else { format!("/api/v1{path}") };
        let url = format!("http://{}{path}", self.running.addresses()[0]);
        let request = self.client.request(method.parse().unwrap(), url);
        Call { api: self, request, has_token: false }
    }

    /// That the description knows this answer.
    async fn check_described(&self, method: &str, path: &str, status: u16) {
        let read = async || {
            let url = format!("http://{}/api/openapi.json", self.running.addresses()[0]);
            let text = self.client.get(url).send().await.unwrap().text().await.unwrap();
            serde_json::from_str::<Value>(&text).unwrap()
        };
        let spec = self.spec.get_or_init(read).await;
        let is_like = |template: &str| {
            let (template, path) = (template.split('/'), path.split('/'));
            template.clone().count() == path.clone().count()
                && template.zip(path).all(|(wanted, is)| wanted.starts_with('{') || wanted == is)
        };
        let paths = spec["paths"].as_object().unwrap();
        let Some((template, item)) = paths.iter().find(|(template, _)| is_like(template)) else { return };
        let responses = &item[method.to_ascii_lowercase()]["responses"];
        assert!(
            responses.is_null() || responses[status.to_string()].is_object(),
            "{method} {template} does not tell of {status}"
        );
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.running.addresses()[0]
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.call(&format!("GET {path}")).send().await;
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text);
        answer.json()
    }

    /// Does what must go well.
    pub async fn put(&self, what: &str, body: Value) -> Value {
        let answer = self.call(what).json(&body).send().await;
        assert!(answer.status < 300, "{what}: {} {}", answer.status, answer.text);
        answer.json()
    }

    /// What the DNS says: rcode and the last set's data, sorted.
    pub async fn dns(&self, name: &str, rtype: &str) -> String {
        self.dns_from("10.10.0.5", name, rtype).await
    }

    pub async fn dns_from(&self, client: &str, name: &str, rtype: &str) -> String {
        let rtype: RecordType = rtype.parse().unwrap();
        let ask = Ask { from: client.parse().unwrap(), ..Ask::new(name, rtype) };
        let reply = self.world.ask(&ask, Transport::Tcp).await.unwrap().expect("a reply");
        let mut data: Vec<String> =
            reply.answer.into_iter().map(|line| format!("{} {}", line.ttl_secs, line.data)).collect();
        data.sort();
        format!("{} {}", reply.rcode, data.join(", ")).trim_end().to_owned()
    }

    /// Makes a token, by the API.
    pub async fn token(&self, role: &str, zones: &[&str]) -> String {
        let body = serde_json::json!({"name": format!("a {role}"), "role": role, "zones": zones});
        self.put("POST /tokens", body).await["token"].as_str().unwrap().to_owned()
    }
}

impl Call<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn token(mut self, token: &str) -> Self {
        self.request = self.request.header("authorization", format!("Bearer {token}"));
        self.has_token = true;
        self
    }

    pub fn nobody(mut self) -> Self {
        self.has_token = true;
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.text("application/json", &body.to_string())
    }

    pub fn text(mut self, media_type: &str, body: &str) -> Self {
        self.request = self.request.header("content-type", media_type).body(body.to_owned());
        self
    }

    pub async fn send(self) -> Answer {
        let admin = self.api.admin.clone();
        let this = if self.has_token { self } else { self.token(&admin) };
        let api = this.api;
        let (client, request) = this.request.build_split();
        let request = request.unwrap();
        let (method, path) = (request.method().to_string(), request.url().path().to_owned());
        let response = client.execute(request).await.unwrap();
        let header = |name: &str| Some(response.headers().get(name)?.to_str().unwrap().to_owned());
        let (etag, retry_after) = (header("etag"), header("retry-after"));
        let media_type = header("content-type").unwrap_or_default();
        let status = response.status().as_u16();
        api.check_described(&method, &path, status).await;
        Answer { status, etag, retry_after, media_type, text: response.text().await.unwrap() }
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        if self.text.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Status and field at fault.
    pub fn fault(&self) -> (u16, String) {
        assert_eq!(self.media_type, "application/problem+json", "{self:?}");
        (self.status, self.json()["field"].as_str().unwrap_or_default().to_owned())
    }
}

async fn open(folder: &Path) -> Persist {
    let settings = persist::Settings { state_dir: folder.to_owned(), ..persist::Settings::default() };
    Persist::open(&settings).await.unwrap()
}

/// The admin's token that a first start makes.
async fn first_token(folder: &Path) -> String {
    let persist = open(folder).await;
    let minted = Minted::new();
    let token = StoredToken {
        id: minted.id.as_str().into(),
        name: "admin".into(),
        hash: minted.secret_sha256.into(),
        role: Role::Admin,
        zones: Vec::new(),
        created_secs: SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs(),
        expires_secs: None,
        revoked_secs: None,
    };
    let audit = Audit {
        source: Source::Rest,
        actor: "first start".into(),
        remote: None,
        request_id: None,
        comment: None,
    };
    let changes = vec![StoredChange::Put(Entry::Token(token))];
    persist.commit(Commit { changes, ..Commit::by(audit) }).await.unwrap();
    persist.close().await;
    minted.text
}
