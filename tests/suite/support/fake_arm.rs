//! A fake Azure: tokens of every kind, subscriptions, the listings of the fixtures page by page, and faults on demand.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use data_encoding::BASE64URL_NOPAD;
use parking_lot::Mutex;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

/// The subscription of the fixtures.
pub const FIRST: &str = "00000000-0000-4000-8000-0000000000a1";
/// Another one with an endpoint of its own.
pub const SECOND: &str = "00000000-0000-4000-8000-0000000000b2";
/// In every token.
pub const TOKEN_MARK: &str = "FAKE.TOKEN";

/// In a body, the token, key or secret that came with the request.
pub const SENT_SECRET: &str = "{sent secret}";

/// The two pages of a listing, as most tests have them.
pub type Pages = [String; 2];

/// Azure on a loopback address; its threads end with the test process.
pub struct FakeArm {
    pub address: SocketAddr,
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
struct World {
    subscriptions: Vec<String>,
    listings: HashMap<(String, String), Vec<String>>,
    faults: HashMap<Place, (Fault, usize)>,
    arc_key: Option<(PathBuf, String)>,
    token_faults: Vec<Fault>,
    /// What every request for a token meets with.
    token_fault: Option<Fault>,
    /// Pages after the first wait while this is held.
    gate: Arc<Mutex<()>>,
    latency: Duration,
    certificate: Option<Certificate>,
    /// What is answered at paths in lower case, before all else.
    answers: HashMap<String, Fault>,
    /// Headers of all pages of listings.
    page_headers: Vec<String>,
    states: HashMap<String, &'static str>,
    /// Listings of which every page leads to another.
    endless: Vec<(String, String)>,
    /// Answers of Resource Graph, one after the other; the last one stays.
    graph: Vec<Fault>,
    refused: Vec<(String, String)>,
    clock: Option<std::time::SystemTime>,
    /// Lists of items by path in lower case, and what is answered instead of a page of them.
    items: HashMap<String, Vec<Value>>,
    item_faults: HashMap<(String, usize), (Fault, usize)>,
    asked: Vec<Asked>,
}

/// Items of a page where [`FakeArm::list_items`] says what there is: that of private DNS.
const ITEMS_A_PAGE: usize = 100;

/// Subscription, type and page from 1; of the list of subscriptions `("", "subscriptions", page)`.
pub type Place = (&'static str, &'static str, usize);

/// What Entra ID knows of a client's certificate.
struct Certificate {
    /// PKCS#1.
    public_key: Vec<u8>,
    thumbprint: String,
    /// Of assertions that were used.
    used: Vec<String>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method, path and query.
    pub line: String,
    /// Header lines, the names in lower case.
    pub headers: Vec<String>,
    pub body: String,
}

/// What is answered instead of a page.
#[derive(Clone, Debug)]
pub enum Fault {
    Answer {
        status: u16,
        headers: Vec<String>,
        body: Vec<u8>,
    },
    /// The connection ends in the middle of the page.
    Cut,
    /// Each page leads to another one that was not asked yet.
    Endless,
    /// These bytes, and the connection ends.
    Raw(Vec<u8>),
    /// No answer, and the connection stays.
    Silence,
}

impl FakeArm {
    /// Serves the first subscription with the fixtures' listings.
    pub fn start() -> FakeArm {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let arm = FakeArm { address, world: Arc::clone(&world) };
        arm.add(FIRST, |text| text);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let world = Arc::clone(&world);
                // Whoever goes away early is no fault of a test.
                thread::spawn(move || serve(stream, address, &world).ok());
            }
        });
        arm
    }

    /// Adds a subscription with the fixtures' listings, changed.
    pub fn add(&self, subscription: &str, change: impl Fn(String) -> String) {
        self.world.lock().subscriptions.push(subscription.to_owned());
        for (resource_type, file) in
            [("privateEndpoints", "private-endpoints"), ("networkInterfaces", "network-interfaces")]
        {
            let page = |number: usize| {
                let text = fixture(&format!("lists/{file}-list-page{number}.json"));
                change(text.replace("https://management.azure.com", &self.url()).replace(FIRST, subscription))
            };
            self.list(subscription, resource_type, [page(1), page(2)]);
        }
    }

    /// Lists other resources.
    pub fn list(&self, subscription: &str, resource_type: &str, pages: impl Into<Vec<String>>) {
        let key = (subscription.to_owned(), resource_type.to_ascii_lowercase());
        self.world.lock().listings.insert(key, pages.into());
    }

    /// Lists no subscription but these.
    pub fn show_only(&self, subscriptions: &[&str]) {
        self.world.lock().subscriptions = subscriptions.iter().map(|id| (*id).to_owned()).collect();
    }

    /// Tells the state of a subscription.
    pub fn state(&self, subscription: &str, state: &'static str) {
        self.world.lock().states.insert(subscription.to_owned(), state);
    }

    /// Answers so at a path.
    pub fn answer_at(&self, path: &str, answer: Fault) {
        self.world.lock().answers.insert(path.to_ascii_lowercase(), answer);
    }

    /// Lists one page after the other, none the last.
    pub fn endless(&self, subscription: &str, resource_type: &str) {
        self.world.lock().endless.push((subscription.to_owned(), resource_type.to_ascii_lowercase()));
    }

    /// Answers with a header on every page of a listing.
    pub fn page_header(&self, header: &str) {
        self.world.lock().page_headers.push(header.to_owned());
    }

    /// Answers so to Resource Graph's questions, one after the other.
    pub fn graph(&self, answers: impl IntoIterator<Item = Fault>) {
        self.world.lock().graph = answers.into_iter().collect();
    }

    /// Takes no client but the one of this certificate, in PEM with its key.
    pub fn register(&self, pem: &str) {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let key = match PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap() {
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap(),
            der => KeyPair::from_der(der.secret_der()).unwrap(),
        };
        let thumbprint = digest::digest(&digest::SHA256, &certificate);
        let thumbprint = BASE64URL_NOPAD.encode(thumbprint.as_ref());
        let public_key = key.public_key().as_ref().to_vec();
        self.world.lock().certificate = Some(Certificate { public_key, thumbprint, used: Vec::new() });
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.world.lock().asked.clear();
    }

    /// Answers a page otherwise, so many times.
    pub fn fault(&self, place: Place, fault: Fault, times: usize) {
        self.world.lock().faults.insert(place, (fault, times));
    }

    /// Lists items at a path, a hundred a page.
    pub fn list_items(&self, path: &str, items: Vec<Value>) {
        self.world.lock().items.insert(path.to_ascii_lowercase(), items);
    }

    /// Answers a page, counted from 1, of these otherwise, so many times.
    pub fn fault_items(&self, path: &str, page: usize, fault: Fault, times: usize) {
        self.world.lock().item_faults.insert((path.to_ascii_lowercase(), page), (fault, times));
    }

    pub fn heal(&self) {
        let mut world = self.world.lock();
        world.faults.clear();
        world.item_faults.clear();
    }

    /// Answers requests for tokens so, before it gives one.
    pub fn refuse_tokens(&self, faults: impl IntoIterator<Item = Fault>) {
        self.world.lock().token_faults.extend(faults);
    }

    /// Answers all requests for tokens so, or none any more.
    pub fn spoil_tokens(&self, fault: Option<Fault>) {
        self.world.lock().token_fault = fault;
    }

    /// Lists other endpoints and interfaces, both at the same moment; of the endpoints some on each page.
    pub fn replace(&self, subscription: &str, endpoints: [Vec<Value>; 2], interfaces: Vec<Value>) {
        let link = format!(
            "{}/subscriptions/{subscription}/providers/Microsoft.Network/privateEndpoints?api-version=2024-05-01&$skiptoken=2",
            self.url()
        );
        let [first, second] = endpoints;
        let first = serde_json::json!({"value": first, "nextLink": link}).to_string();
        let key = |resource_type: &str| (subscription.to_owned(), resource_type.to_owned());
        let mut world = self.world.lock();
        world.listings.insert(key("privateendpoints"), vec![first, list_of(second)]);
        world.listings.insert(key("networkinterfaces"), vec![list_of(interfaces), list_of(Vec::new())]);
    }

    /// While what this gives is locked, pages after the first are not answered.
    pub fn gate(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.world.lock().gate)
    }

    /// Lets each answer take so long.
    pub fn slow(&self, latency: Duration) {
        self.world.lock().latency = latency;
    }

    /// Challenges who asks as Azure Arc's agent does.
    pub fn challenge(&self, key: PathBuf, content: &str) {
        self.world.lock().arc_key = Some((key, content.to_owned()));
    }

    /// Gives the identity no right to an action, such as `Microsoft.Network/privateEndpoints/read`, in a subscription.
    pub fn refuse(&self, subscription: &str, action: &str) {
        self.world.lock().refused.push((subscription.to_owned(), action.to_owned()));
    }

    /// Dates every answer from now on.
    pub fn date(&self, clock: std::time::SystemTime) {
        self.world.lock().clock = Some(clock);
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far whose line contains a text.
    pub fn asked(&self, text: &str) -> Vec<Asked> {
        self.world.lock().asked.iter().filter(|it| it.line.contains(text)).cloned().collect()
    }
}

impl Fault {
    /// The answer of a fixture; what asks for patience asks for more than a pass has.
    pub fn of_fixture(name: &str) -> Fault {
        let exchange: Value = serde_json::from_str(&fixture(name)).unwrap();
        let response = &exchange["response"];
        let headers = response["headers"].as_object().unwrap().iter();
        let headers = headers.map(|(name, value)| match name.as_str() {
            "Retry-After" => "Retry-After: 60".to_owned(),
            _ => format!("{name}: {}", value.as_str().unwrap()),
        });
        let body = match &response["body"] {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        let status = response["status"].as_u64().unwrap() as u16;
        Fault::Answer { status, headers: headers.collect(), body: body.into_bytes() }
    }

    /// A page of one's own.
    pub fn page(body: impl Into<Vec<u8>>) -> Fault {
        Fault::Answer { status: 200, headers: Vec::new(), body: body.into() }
    }
}

/// A last page of these.
pub fn list_of(resources: Vec<Value>) -> String {
    serde_json::json!({"value": resources}).to_string()
}

/// The resources of fixtures, those of lists one by one.
pub fn resources(paths: &[&str]) -> Vec<Value> {
    let files = paths.iter().map(|path| serde_json::from_str::<Value>(&fixture(path)).unwrap());
    files.flat_map(|file| file["value"].as_array().cloned().unwrap_or_else(|| vec![file])).collect()
}

/// An approved endpoint of a storage account, in the network that is called so, with names and their addresses.
pub fn endpoint(subscription: &str, name: &str, network: &str, names: &[(&str, &str)]) -> Value {
    endpoint_of(subscription, (name, name), network, names)
}

/// The endpoints `pe-N` of the accounts `accountN` at 10.0.0.N, in the network `hub`.
pub fn storage_accounts(subscription: &str, numbers: impl IntoIterator<Item = usize>) -> Vec<Value> {
    let endpoint = |number| {
        let (name, account) = (format!("pe-{number}"), format!("account{number}"));
        let (fqdn, ip) = (format!("{account}.blob.core.windows.net"), format!("10.0.0.{number}"));
        endpoint_of(subscription, (&name, &account), "hub", &[(&fqdn, &ip)])
    };
    numbers.into_iter().map(endpoint).collect()
}

fn endpoint_of(
    subscription: &str,
    (name, account): (&str, &str),
    network: &str,
    names: &[(&str, &str)],
) -> Value {
    let group = format!("/subscriptions/{subscription}/resourceGroups/rg/providers");
    let names = names.iter().map(|(fqdn, ip)| serde_json::json!({"fqdn": fqdn, "ipAddresses": [ip]}));
    serde_json::json!({
        "id": format!("{group}/Microsoft.Network/privateEndpoints/{name}"),
        "name": name,
        "type": "Microsoft.Network/privateEndpoints",
        "properties": {
            "provisioningState": "Succeeded",
            "subnet": {"id": format!("{group}/Microsoft.Network/virtualNetworks/{network}/subnets/pe")},
            "privateLinkServiceConnections": [{"properties": {
                "privateLinkServiceId": format!("{group}/Microsoft.Storage/storageAccounts/{account}"),
                "groupIds": ["blob"],
                "privateLinkServiceConnectionState": {"status": "Approved"}
            }}],
            "customDnsConfigs": names.collect::<Vec<_>>(),
            "networkInterfaces": []
        }
    })
}

/// A file of `tests/fixtures/arm`.
pub fn fixture(path: &str) -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/arm");
    std::fs::read_to_string(folder.join(path)).unwrap()
}

fn serve(stream: TcpStream, address: SocketAddr, world: &Mutex<World>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let Some(asked) = read(&mut reader)? else { return Ok(()) };
        let sent = secret_of(&asked);
        let is_later_page = asked.line.contains("skiptoken");
        let (answer, gate, latency) = {
            let mut world = world.lock();
            (world.answer_dated(asked, address), Arc::clone(&world.gate), world.latency)
        };
        thread::sleep(latency);
        if is_later_page {
            drop(gate.lock());
        }
        let stream = reader.get_mut();
        match answer {
            // In one piece: parts of it would wait for the client's delayed acknowledgement.
            Fault::Answer { status, headers, body } => {
                let body = match body.windows(SENT_SECRET.len()).any(|it| it == SENT_SECRET.as_bytes()) {
                    true => String::from_utf8_lossy(&body).replace(SENT_SECRET, &sent).into_bytes(),
                    false => body,
                };
                let mut answer =
                    format!("HTTP/1.1 {status} Fake\r\nContent-Length: {}\r\n", body.len()).into_bytes();
                for header in headers {
                    write!(answer, "{header}\r\n")?;
                }
                answer.extend_from_slice(b"\r\n");
                answer.extend(body);
                stream.write_all(&answer)?;
            }
            Fault::Raw(bytes) => return stream.write_all(&bytes),
            // Until the other side has enough.
            Fault::Silence => return reader.read_exact(&mut [0]),
            _ => return write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{{\"value\": ["),
        }
    }
}

/// The token, key or secret that came with a request.
fn secret_of(asked: &Asked) -> String {
    let header = asked.headers.iter().find_map(|it| it.strip_prefix("authorization: ")?.split(' ').nth(1));
    let mut fields = asked.body.split('&').filter_map(|it| it.split_once('='));
    let field = fields.find(|(name, _)| ["client_secret", "client_assertion"].contains(name));
    header.or(field.map(|(_, value)| value)).unwrap_or_default().to_owned()
}

fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Asked>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let line = head.remove(0);
    let lowered = |line: &String| {
        line.split_once(':')
            .map_or_else(|| line.clone(), |(name, rest)| format!("{}:{rest}", name.to_lowercase()))
    };
    let headers: Vec<String> = head.iter().map(lowered).collect();
    let length = headers.iter().find_map(|it| it.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Some(Asked { line, headers, body: String::from_utf8_lossy(&body).into_owned() }))
}

impl Certificate {
    /// Why Entra ID takes no token request, if so: signature and claims are looked at for real.
    fn refuses(&mut self, body: &str, path: &str, address: SocketAddr) -> Option<&'static str> {
        let field = |name: &str| body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        if field("client_assertion_type")
            != Some("urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer")
        {
            return Some("AADSTS7000216: no assertion");
        }
        let assertion = field("client_assertion").unwrap_or_default();
        let Some((signed, signature)) = assertion.rsplit_once('.') else { return Some("no JWT") };
        let decoded = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap_or_default();
        let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &self.public_key);
        if key.verify(signed.as_bytes(), &decoded(signature)).is_err() {
            return Some("AADSTS700027: the signature is not good");
        }
        let parts: Vec<Value> =
            signed.split('.').filter_map(|part| serde_json::from_slice(&decoded(part)).ok()).collect();
        let [header, claims] = &parts[..] else { return Some("no JWT") };
        if *header != serde_json::json!({"alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint}) {
            return Some("AADSTS700027: the certificate is not registered");
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let (from, until) = (claims["nbf"].as_u64().unwrap_or(u64::MAX), claims["exp"].as_u64().unwrap_or(0));
        let client = field("client_id").unwrap_or_default();
        let audience = format!("http://{address}{path}");
        if claims["aud"] != audience.as_str() || claims["iss"] != client || claims["sub"] != client {
            return Some("AADSTS700023: the claims are another's");
        }
        if now + 300 < from || now > until || until - from > 3600 {
            return Some("AADSTS700024: the assertion is not within its time");
        }
        let id = claims["jti"].as_str().unwrap_or_default().to_owned();
        if id.len() < 16 || self.used.contains(&id) {
            return Some("the assertion was used before");
        }
        self.used.push(id);
        None
    }
}

impl World {
    fn answer_dated(&mut self, asked: Asked, address: SocketAddr) -> Fault {
        let mut answer = self.answer(asked, address);
        if let (Fault::Answer { headers, .. }, Some(clock)) = (&mut answer, self.clock) {
            headers.push(format!("Date: {}", httpdate::fmt_http_date(clock)));
        }
        answer
    }

    /// The answer to who may not do what it asks for.
    fn refusal(&self, path: &str) -> Option<Fault> {
        let (_, action) = self.refused.iter().find(|(subscription, action)| {
            let of = format!("/subscriptions/{subscription}");
            match action.strip_prefix("Microsoft.Network/").and_then(|it| it.strip_suffix("/read")) {
                None => path == of,
                Some(kind) => path == format!("{of}/providers/Microsoft.Network/{kind}"),
            }
        })?;
        let Fault::Answer { status, headers, body } =
            Fault::of_fixture("errors/403-authorization-failed.json")
        else {
            return None;
        };
        let text = String::from_utf8(body).unwrap();
        let body = text.replace("Microsoft.Network/privateEndpoints/read", action).into_bytes();
        Some(Fault::Answer { status, headers, body })
    }

    fn answer(&mut self, asked: Asked, address: SocketAddr) -> Fault {
        let (line, body) = (asked.line.clone(), asked.body.clone());
        let authorization = asked.headers.iter().find_map(|it| it.strip_prefix("authorization: "));
        let authorization = authorization.unwrap_or_default().to_owned();
        self.asked.push(asked);
        let target = line.split(' ').nth(1).unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let number = self.asked.len();
        let token = |lifetime: &str| {
            Fault::page(format!(r#"{{"access_token": "{TOKEN_MARK}.{number}", "expires_in": {lifetime}}}"#))
        };
        if path.ends_with("/token")
            && let Some(fault) = &self.token_fault
        {
            return fault.clone();
        }
        if path.ends_with("/token") && !self.token_faults.is_empty() {
            return self.token_faults.remove(0);
        }
        if path == "/metadata/identity/oauth2/token" {
            return match &self.arc_key {
                Some((_, content)) if authorization == format!("Basic {content}") => token("\"86399\""),
                Some((key, _)) => Fault::Answer {
                    status: 401,
                    headers: vec![format!("WWW-Authenticate: Basic realm={}", key.display())],
                    body: Vec::new(),
                },
                None => token("\"86399\""),
            };
        }
        if path.ends_with("/oauth2/v2.0/token") {
            let refused = self.certificate.as_mut().and_then(|it| it.refuses(&body, path, address));
            return match refused {
                None => token("3599"),
                Some(why) => Fault::Answer {
                    status: 401,
                    headers: Vec::new(),
                    body: format!(r#"{{"error": "invalid_client", "error_description": "{why}"}}"#).into(),
                },
            };
        }
        if !authorization.starts_with(&format!("Bearer {TOKEN_MARK}")) {
            return Fault::of_fixture("errors/401-expired-token.json");
        }
        if let Some(answer) = self.answers.get(&path.to_ascii_lowercase()) {
            return answer.clone();
        }
        if path == "/subscriptions" {
            let page = if query.contains("skiptoken") { 2 } else { 1 };
            if let Some((fault, _)) = self.faults.get(&("", "subscriptions", page)) {
                return fault.clone();
            }
            return self.subscription_page(query, address);
        }
        if path == "/providers/Microsoft.ResourceGraph/resources" {
            assert!(line.starts_with("POST ") && query == "api-version=2022-10-01", "{line}");
            return if self.graph.len() > 1 { self.graph.remove(0) } else { self.graph[0].clone() };
        }
        if let Some(refusal) = self.refusal(path) {
            return refusal;
        }
        if let Some(page) = self.item_page(path, query, address) {
            return page;
        }
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        if let ["subscriptions", id] = parts[..] {
            return match self.subscriptions.iter().any(|known| known == id) {
                true => Fault::page(serde_json::json!({"subscriptionId": id}).to_string()),
                false => Fault::of_fixture("errors/404-subscription-not-found.json"),
            };
        }
        if let ["subscriptions", id, "resourceGroups", group, "providers", _, resource_type] = parts[..] {
            return self.group_page(id, group, resource_type);
        }
        if parts.len() != 5 {
            return Fault::of_fixture("errors/404-resource-not-found.json");
        }
        if self.endless.iter().any(|(id, kind)| id == parts[1] && kind.eq_ignore_ascii_case(parts[4])) {
            let next = format!("http://{address}{path}?skiptoken={number}");
            return Fault::page(serde_json::json!({"value": [], "nextLink": next}).to_string());
        }
        let (subscription, resource_type) = (parts[1].to_owned(), parts[4].to_ascii_lowercase());
        let pages = self.listings.get(&(subscription.clone(), resource_type.clone()));
        // The fixtures' tokens are no numbers, and of their listings there are two pages.
        let page = query.split_once("skiptoken=").map_or(1, |(_, page)| page.parse().unwrap_or(2));
        let page = page.min(pages.map_or(2, Vec::len));
        let place = self.faults.keys().find(|(id, kind, number)| {
            *id == subscription && kind.eq_ignore_ascii_case(&resource_type) && *number == page
        });
        let fault = place.copied().and_then(|place| {
            let (fault, times) = self.faults.get_mut(&place)?;
            *times = times.checked_sub(1)?;
            Some(fault.clone())
        });
        let Some(pages) = pages else { return Fault::of_fixture("errors/404-subscription-not-found.json") };
        match fault {
            None => Fault::Answer {
                status: 200,
                headers: self.page_headers.clone(),
                body: pages[page - 1].clone().into_bytes(),
            },
            Some(Fault::Endless) => {
                let mut body: Value = serde_json::from_str(&pages[page - 1]).unwrap();
                body["nextLink"] = format!("http://{address}{path}?$skiptoken={number}").into();
                Fault::page(body.to_string())
            }
            Some(fault) => fault,
        }
    }

    /// A page of a list of items; `None` for what is no such list.
    fn item_page(&mut self, path: &str, query: &str, address: SocketAddr) -> Option<Fault> {
        let path = path.to_ascii_lowercase();
        let at = query.split_once("skiptoken=").map_or(0, |(_, at)| at.parse::<usize>().unwrap_or(0));
        let fault = self.item_faults.get_mut(&(path.clone(), at / ITEMS_A_PAGE + 1));
        if let Some((fault, times)) = fault.filter(|(_, times)| *times > 0) {
            *times -= 1;
            return Some(fault.clone());
        }
        let Some(items) = self.items.get(&path) else {
            let is_private_dns = path.contains("/privatednszones");
            return is_private_dns.then(|| Fault::of_fixture("errors/404-resource-not-found.json"));
        };
        let next = at + ITEMS_A_PAGE;
        let link = || format!("http://{address}{path}?api-version=2024-06-01&skiptoken={next}");
        let value: Vec<&Value> = items.iter().skip(at).take(ITEMS_A_PAGE).collect();
        let link = (next < items.len()).then(link);
        Some(Fault::page(serde_json::json!({"value": value, "nextLink": link}).to_string()))
    }

    /// The resources of one type in a group, on one page; a group without any is not there.
    fn group_page(&self, subscription: &str, group: &str, resource_type: &str) -> Fault {
        let inside = format!("/subscriptions/{subscription}/resourcegroups/{group}/").to_ascii_lowercase();
        let items = |resource_type: &str| -> Vec<Value> {
            let key = (subscription.to_owned(), resource_type.to_ascii_lowercase());
            let pages = self.listings.get(&key).into_iter().flatten();
            let items = pages.flat_map(|page| {
                let page: Value = serde_json::from_str(page).unwrap();
                page["value"].as_array().unwrap().clone()
            });
            let id = |item: &Value| item["id"].as_str().unwrap().to_ascii_lowercase();
            items.filter(|item| id(item).starts_with(&inside)).collect()
        };
        if items("privateEndpoints").is_empty() && items("networkInterfaces").is_empty() {
            return Fault::of_fixture("errors/404-resource-not-found.json");
        }
        Fault::page(serde_json::json!({"value": items(resource_type)}).to_string())
    }

    /// One subscription a page.
    fn subscription_page(&self, query: &str, address: SocketAddr) -> Fault {
        let at = query.split_once("skiptoken=").map_or(0, |(_, at)| at.parse().unwrap());
        let next = (at + 1 < self.subscriptions.len())
            .then(|| format!("http://{address}/subscriptions?api-version=2022-12-01&skiptoken={}", at + 1));
        let value: Vec<Value> = self
            .subscriptions
            .iter()
            .skip(at)
            .take(1)
            .map(|id| {
                serde_json::json!({"id": format!("/subscriptions/{id}"), "subscriptionId": id,
                "state": self.states.get(id).unwrap_or(&"Enabled")})
            })
            .collect();
        Fault::page(serde_json::json!({"value": value, "nextLink": next}).to_string())
    }
}
