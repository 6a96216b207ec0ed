//! The real process with its store and its admin API: what it told was stored outlives every death.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Connection;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::azure::accounts;
use crate::support::client::{PATIENCE, answers, ask};
use crate::support::test_daemon::write;
use crate::support::upstream::Upstream;

/// How often the process is killed; `PRIVATELINK_DNS_KILLS` says more.
const KILLS: usize = 20;
/// Who writes while it is killed.
const WRITERS: usize = 4;

/// A folder with a config and what a server keeps there.
struct Place {
    folder: TempDir,
    runtime: Runtime,
    http: reqwest::Client,
}

/// A process that serves; dropping it kills it.
struct Served {
    child: Child,
    dns: SocketAddr,
    api: String,
    token: String,
    log: Option<std::thread::JoinHandle<String>>,
}

fn config(more: &str) -> String {
    format!(
        "state_dir = \"state\"\n[listen]\ndns = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = [\"127.0.0.1:0\"]\n{more}"
    )
}

const NOTHING: &str = "[forward]\nupstreams = []\n";

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_privatelink-dns"));
    command.args(arguments);
    for variable in
        ["PRIVATELINK_DNS_CONFIG", "PRIVATELINK_DNS_SERVER", "PRIVATELINK_DNS_TOKEN_FILE", "RUST_LOG"]
    {
        command.env_remove(variable);
    }
    command
}

impl Place {
    fn new(more: &str) -> Place {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "config.toml", &config(more));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Place { folder, runtime, http }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("state/admin.token")
    }

    fn serve(&self) -> Served {
        let mut serve = command(&["serve", "-c", self.config().to_str().unwrap()]);
        let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || std::io::read_to_string(stderr).unwrap());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let (mut dns, mut api) = (None, None);
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["listening", address, ..] => dns = Some(address.parse().unwrap()),
                ["admin", "API", url] => api = Some(url.to_owned()),
                _ => {}
            }
            if dns.is_some() && api.is_some() {
                break;
            }
        }
        let (Some(dns), Some(api)) = (dns, api) else { panic!("it did not start: {}", log.join().unwrap()) };
        let token = fs::read_to_string(self.token_file()).unwrap().trim().to_owned();
        Served { child, dns, api, token, log: Some(log) }
    }

    /// One request: status and JSON.
    fn call(&self, served: &Served, what: &str, body: Option<Value>) -> (u16, Value) {
        let sent = send(self.http.clone(), served.api.clone(), served.token.clone(), what.to_owned(), body);
        self.runtime.block_on(sent).expect("the server answers")
    }

    /// A page that needs no token.
    fn get(&self, served: &Served, path: &str) -> (u16, String) {
        let url = format!("{}{path}", served.api);
        self.runtime.block_on(async {
            let response = self.http.get(url).send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        })
    }

    fn well(&self, served: &Served, what: &str, body: Value) -> Value {
        let (status, answer) = self.call(served, what, Some(body));
        assert!(status < 300, "{what}: {status} {answer}");
        answer
    }

    /// The program as operators call it: exit code, stdout, stderr.
    fn program(&self, served: &Served, arguments: &[&str]) -> (i32, String, String) {
        let mut program = command(arguments);
        program.args(["--server", &served.api, "-c", self.config().to_str().unwrap()]);
        let Output { status, stdout, stderr } = program.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }
}

async fn send(
    http: reqwest::Client,
    api: String,
    token: String,
    what: String,
    body: Option<Value>,
) -> Option<(u16, Value)> {
    let (method, path) = what.split_once(' ').unwrap();
    let mut request = http.request(method.parse().unwrap(), format!("{api}/api/v1{path}")).bearer_auth(token);
    if let Some(body) = body.filter(|body| !body.is_null()) {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    if method == "DELETE" {
        request = request.header("if-match", "*");
    }
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    let text = response.text().await.ok()?;
    Some((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
}

impl Served {
    /// As the power goes off.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As a service manager does; answers the log.
    fn terminate(mut self) -> String {
        self.signal("TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.log.take().unwrap().join().unwrap()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn dns(&self, name: &str, rtype: &str) -> Vec<String> {
        answers(&ask(self.dns, name, rtype))
    }

    /// Asks until the answer is this one.
    fn wait_for(&self, name: &str, rtype: &str, wanted: &[&str]) {
        let start = Instant::now();
        while self.dns(name, rtype) != wanted {
            assert!(start.elapsed() < PATIENCE, "{name} {rtype} is {:?}", self.dns(name, rtype));
            std::thread::yield_now();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ZONE: &str = "corp.internal";

#[test]
fn what_was_written_is_in_the_next_answer_and_outlives_kill_9() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    let mode = fs::metadata(place.token_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::metadata(place.folder.path().join("state")).unwrap().permissions().mode() & 0o777, 0o700);
    place.well(&served, "POST /zones", json!({"name": ZONE}));
    let body = json!({"ttl": 300, "records": ["10.0.0.4"]});
    place.well(&served, "PUT /zones/corp.internal/record-sets/www/A", body);
    let there = ["www.corp.internal. 300 A 10.0.0.4"];
    assert_eq!(served.dns("www.corp.internal.", "A"), there);
    served.kill();
    let served = place.serve();
    assert_eq!(served.dns("www.corp.internal.", "A"), there);
    let (status, _) = place.call(&served, "DELETE /zones/corp.internal/record-sets/www/A", None);
    assert_eq!(status, 204);
    assert_eq!(served.dns("www.corp.internal.", "A"), [""; 0]);
    let log = served.terminate();
    assert!(log.contains("Stopping"), "{log}");
    // The token of the first start is not made twice, and is not in the log.
    let token = fs::read_to_string(place.token_file()).unwrap();
    assert!(!log.contains(token.trim()));
    fs::remove_file(place.token_file()).unwrap();
    fs::write(place.token_file(), "mine").unwrap();
    drop(place.serve());
    assert_eq!(fs::read_to_string(place.token_file()).unwrap(), "mine");
}

#[test]
fn what_was_answered_is_there_however_often_the_process_is_killed() {
    let kills =
        std::env::var("PRIVATELINK_DNS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let place = Place::new(NOTHING);
    let mut served = place.serve();
    place.well(&served, "POST /zones", json!({"name": ZONE}));
    let mut stored: BTreeMap<String, String> = BTreeMap::new();
    for round in 0..kills {
        let answered = Arc::new(AtomicUsize::new(0));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (http, api, token) = (place.http.clone(), served.api.clone(), served.token.clone());
            let answered = Arc::clone(&answered);
            let writing = async move {
                let mut done = Vec::new();
                for number in 0.. {
                    let name = format!("r{round}-w{writer}-{number}");
                    let address = format!("10.{round}.{writer}.{}", number % 256);
                    let what = format!("PUT /zones/corp.internal/record-sets/{name}/A");
                    let body = json!({"ttl": 60, "records": [address]});
                    match send(http.clone(), api.clone(), token.clone(), what, Some(body)).await {
                        Some((200..300, _)) => done.push((name, address)),
                        Some((status, answer)) => panic!("{name}: {status} {answer}"),
                        // It is dead: nobody knows of this one.
                        None => break,
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                done
            };
            writers.spawn_on(writing, place.runtime.handle());
        }
        // At any moment: after another number of answers each time, in the middle of the next ones.
        let enough = 1 + (round * 7) % 40;
        let start = Instant::now();
        while answered.load(Ordering::SeqCst) < enough {
            assert!(start.elapsed() < PATIENCE, "{enough} answers do not come");
            std::thread::sleep(Duration::from_micros(200));
        }
        served.kill();
        stored.extend(place.runtime.block_on(writers.join_all()).into_iter().flatten());
        served = place.serve();
        let of_round = format!("r{round}-");
        for (name, address) in stored.iter().filter(|(name, _)| name.starts_with(&of_round)) {
            let there = format!("{name}.corp.internal. 60 A {address}");
            assert_eq!(served.dns(&format!("{name}.corp.internal."), "A"), [there], "round {round}");
        }
    }
    // And all of it is still there at the end, in the lists as well.
    let mut listed: BTreeMap<String, String> = BTreeMap::new();
    let mut after = String::new();
    loop {
        let (status, page) = place.call(
            &served,
            &format!("GET /zones/corp.internal/record-sets?type=A&limit=1000{after}"),
            None,
        );
        assert_eq!(status, 200, "{page}");
        for set in page["items"].as_array().unwrap() {
            listed.insert(
                set["name"].as_str().unwrap().to_owned(),
                set["records"][0].as_str().unwrap().to_owned(),
            );
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert!(stored.len() >= kills);
    for (name, address) in &stored {
        assert_eq!(listed.get(name), Some(address), "{name} was answered");
    }
}

#[test]
fn a_reload_keeps_what_operators_wrote() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    place.well(&served, "POST /zones", json!({"name": ZONE}));
    let a = |address: &str| json!({"ttl": 60, "records": [address]});
    place.well(&served, "PUT /zones/corp.internal/record-sets/www/A", a("10.0.0.4"));
    let blob = "privatelink.blob.core.windows.net";
    place.well(&served, &format!("PUT /zones/{blob}/record-sets/app/A"), a("10.0.0.5"));
    write(place.folder.path(), "other.zone", "@ 60 SOA ns host 1 1 1 1 1\nwww 60 A 10.0.0.6\n");
    let zone = "[[zone]]\nname = \"other.internal\"\nfile = \"other.zone\"\n";
    write(place.folder.path(), "config.toml", &config(&format!("{NOTHING}{zone}")));
    served.signal("HUP");
    served.wait_for("www.other.internal.", "A", &["www.other.internal. 60 A 10.0.0.6"]);
    assert_eq!(served.dns("www.corp.internal.", "A"), ["www.corp.internal. 60 A 10.0.0.4"]);
    assert_eq!(served.dns(&format!("app.{blob}."), "A"), [format!("app.{blob}. 60 A 10.0.0.5")]);
    // An operator's override of the file, and its end.
    place.well(&served, "PUT /zones/other.internal/record-sets/new/A", a("10.0.0.7"));
    write(place.folder.path(), "other.zone", "@ 60 SOA ns host 2 1 1 1 1\nwww 60 A 10.0.0.8\n");
    served.signal("HUP");
    served.wait_for("www.other.internal.", "A", &["www.other.internal. 60 A 10.0.0.8"]);
    assert_eq!(served.dns("new.other.internal.", "A"), ["new.other.internal. 60 A 10.0.0.7"]);
    write(place.folder.path(), "config.toml", &config(NOTHING));
    served.signal("HUP");
    served.wait_for("www.other.internal.", "A", &[]);
    assert_eq!(served.dns("www.corp.internal.", "A"), ["www.corp.internal. 60 A 10.0.0.4"]);
    let (_, zone) = place.call(&served, "GET /zones/other.internal", None);
    assert_eq!(zone["served"], false, "{zone}");
    served.terminate();
}

#[test]
fn an_operators_rule_of_forwarding_holds_at_once_and_after_a_restart() {
    let (one, other) = (
        Upstream::start(&[("www.corp.example. A", &["www.corp.example. 600 A 192.0.2.1"])]),
        Upstream::start(&[("www.corp.example. A", &["www.corp.example. 600 A 192.0.2.2"])]),
    );
    let place = Place::new(&format!("[forward]\nupstreams = [\"{}\"]\n", one.address));
    let served = place.serve();
    let (first, second) = (["www.corp.example. 600 A 192.0.2.1"], ["www.corp.example. 600 A 192.0.2.2"]);
    assert_eq!(served.dns("www.corp.example.", "A"), first);
    let body = json!({"upstreams": [other.address.to_string()]});
    place.well(&served, "PUT /forwarders/corp.example", body);
    // What the other one said is forgotten.
    assert_eq!(served.dns("www.corp.example.", "A"), second);
    served.kill();
    let served = place.serve();
    assert_eq!(served.dns("www.corp.example.", "A"), second);
    served.signal("HUP");
    assert_eq!(place.call(&served, "DELETE /forwarders/corp.example", None).0, 204);
    assert_eq!(served.dns("www.corp.example.", "A"), first);
}

#[test]
fn the_command_line_speaks_to_the_running_server() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    place.well(&served, "POST /zones", json!({"name": ZONE}));
    let run = |arguments: &[&str]| place.program(&served, arguments);
    let well = |arguments: &[&str]| {
        let (code, out, error) = run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{error}");
        out
    };
    let out = well(&["records", "put", ZONE, "www", "A", "10.0.0.4", "10.0.0.5", "--ttl", "60"]);
    assert_eq!(
        out,
        "NAME  TTL  TYPE  DATA      ORIGIN\nwww   60   A     10.0.0.4  rest\nwww   60   A     10.0.0.5\n"
    );
    assert_eq!(served.dns("www.corp.internal.", "A").len(), 2);
    // Again: it takes the place of what is there, unless that is not wanted.
    well(&["records", "put", ZONE, "www", "A", "10.0.0.6"]);
    assert_eq!(run(&["records", "put", ZONE, "www", "A", "10.0.0.7", "--new"]).0, 2);
    well(&["records", "put", ZONE, "www", "A", "10.0.0.7", "--dry-run"]);
    assert_eq!(served.dns("www.corp.internal.", "A"), ["www.corp.internal. 300 A 10.0.0.6"]);
    let set: Value =
        serde_json::from_str(&well(&["records", "get", ZONE, "www", "A", "-o", "json"])).unwrap();
    assert_eq!(set["records"], json!(["10.0.0.6"]));
    assert!(well(&["records", "list", ZONE, "--type", "A"]).contains("10.0.0.6"));
    let (code, _, error) = run(&["records", "put", ZONE, "www", "A", "10.0.0.x"]);
    assert_eq!(code, 2);
    assert!(error.contains("422") && error.contains("/records"), "{error}");

    let token = well(&["token", "create", "deploy", "--role", "operator", "--zone", "other.internal"]);
    assert!(token.starts_with("pldns_") && token.lines().count() == 1, "{token}");
    let file = place.folder.path().join("deploy.token");
    fs::write(&file, &token).unwrap();
    let file = file.to_str().unwrap();
    let (code, _, error) = run(&["records", "put", ZONE, "b", "A", "10.0.0.8", "--token-file", file]);
    assert_eq!(code, 2);
    assert!(error.contains("403"), "{error}");
    assert!(well(&["token", "list"]).contains("deploy"));
    well(&["token", "revoke", token.trim().rsplit_once('_').unwrap().0]);
    let (code, _, error) = run(&["records", "list", ZONE, "--token-file", file]);
    assert_eq!(code, 2);
    assert!(error.contains("401") && error.contains("revoked"), "{error}");

    assert_eq!(well(&["cache", "flush", "--all"]), "0 entries are forgotten\n");
    let out = well(&["explain", "www.corp.internal"]);
    assert!(out.contains("answer: NOERROR\n    www.corp.internal. 300 A 10.0.0.6"), "{out}");
    assert!(well(&["zones", "list"]).contains("corp.internal.  plain  rest"));
    assert!(well(&["sync"]).starts_with("SOURCE"));

    well(&["records", "delete", ZONE, "www", "A"]);
    assert_eq!(run(&["records", "get", ZONE, "www", "A"]).0, 1);
    let (code, _, error) = place.program(&served, &["token", "list", "--server", "http://127.0.0.1:1"]);
    assert_eq!(code, 2, "{error}");
}

#[test]
fn a_store_that_cannot_be_opened_is_told() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    // The same state_dir twice.
    let second = command(&["serve", "-c", place.config().to_str().unwrap()]).output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(error.contains("records.db is in use by another process"), "{error}");
    served.terminate();
    // A schema of a newer program.
    let newer = place.folder.path().join("state/records.db");
    let sql = "INSERT INTO schema_version (version) VALUES (99)";
    place.runtime.block_on(async {
        let mut file = sqlx::SqliteConnection::connect(newer.to_str().unwrap()).await.unwrap();
        sqlx::query(sql).execute(&mut file).await.unwrap();
        file.close().await.unwrap();
    });
    let refused = command(&["serve", "-c", place.config().to_str().unwrap()]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(
        error.contains("the store sqlite:records.db cannot be opened") && error.contains("version 99"),
        "{error}"
    );
}

/// With PostgreSQL away all else is served, and the API says when to come again.
#[test]
fn a_database_that_is_away_keeps_nobody_from_dns() {
    let zone = "[[zone]]\nname = \"other.internal\"\nfile = \"other.zone\"\n";
    let store = "[store]\nurl = \"postgres://dns:secret@127.0.0.1:1/dns\"\n";
    let place = Place::new(&format!("{NOTHING}{zone}{store}"));
    write(place.folder.path(), "other.zone", "@ 60 SOA ns host 1 1 1 1 1\nwww 60 A 10.0.0.6\n");
    fs::create_dir(place.folder.path().join("state")).unwrap();
    fs::write(place.token_file(), "pldns_0123456789abcdef_0123456789abcdef").unwrap();
    let served = place.serve();
    assert_eq!(served.dns("www.other.internal.", "A"), ["www.other.internal. 60 A 10.0.0.6"]);
    let (status, problem) = place.call(&served, "POST /zones", Some(json!({"name": ZONE})));
    assert_eq!(status, 503, "{problem}");
    assert_eq!(place.get(&served, "/readyz").0, 503);
    assert_eq!(place.get(&served, "/livez").0, 200);
    let log = served.terminate();
    assert!(log.contains("the store postgres://dns@127.0.0.1:1/dns cannot be opened"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn probes_and_numbers_tell_of_the_running_server() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    served.dns("localhost.", "A");
    assert_eq!(place.get(&served, "/readyz").0, 200);
    let (status, text) = place.get(&served, "/metrics");
    assert_eq!(status, 200);
    assert!(
        text.lines()
            .any(|line| line.starts_with("privatelink_dns") && line.contains("udp") && line.ends_with(" 1")),
        "{text}"
    );
}

#[test]
fn what_files_and_sync_change_is_in_the_audit() {
    let place = Place::new(&format!(
        "{NOTHING}[[zone]]\nname = \"{ZONE}\"\nfile = \"corp.zone\"\n\
         [[sync.source]]\nkind = \"directory\"\nname = \"export\"\npath = \"export\"\n"
    ));
    let zone = |address: &str| {
        let text = format!("@ 300 SOA ns hostmaster 1 2 3 4 5\n@ 300 NS ns\nns 300 A {address}\n");
        write(place.folder.path(), "corp.zone", &text);
    };
    let export = |numbers: &[usize]| {
        let endpoints = accounts(numbers.iter().copied());
        write(place.folder.path(), "export/endpoints.json", &endpoints);
    };
    zone("10.0.0.1");
    fs::create_dir(place.folder.path().join("export")).unwrap();
    export(&[1]);
    let served = place.serve();
    let audit = |query: &str| {
        let (_, found) = place.call(&served, &format!("GET /changes?{query}"), None);
        found["items"].as_array().unwrap().clone()
    };
    let wait = |query: &str, name: &str| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = audit(query);
            let items: Vec<Value> =
                found.iter().flat_map(|change| change["items"].as_array().unwrap().clone()).collect();
            if let Some(item) = items.into_iter().find(|item| item["name"] == name) {
                return (item, found[0]["actor"].clone());
            }
            assert!(Instant::now() < deadline, "it is not in the audit: {found:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let name = "account1.privatelink.blob.core.windows.net.";
    let (item, actor) = wait("source=sync", name);
    assert_eq!((&item["before"], &item["after"]["records"]), (&Value::Null, &json!(["10.0.0.1"])));
    assert_eq!(item["after"]["origin"]["kind"], "endpoint");
    assert_eq!(actor, "export");
    // What was there at the start is no change of the file.
    assert_eq!(audit("source=file"), Vec::<Value>::new());
    zone("10.0.0.2");
    served.signal("HUP");
    let (item, _) = wait("source=file", "ns.corp.internal.");
    assert_eq!(item["before"]["records"], json!(["10.0.0.1"]));
    assert_eq!(item["after"]["records"], json!(["10.0.0.2"]));
    let before = audit("").len();
    served.terminate();
    // Nor is what a restart serves again.
    let served = place.serve();
    let (_, found) = place.call(&served, "GET /changes", None);
    assert_eq!(found["items"].as_array().unwrap().len(), before);
    served.terminate();
}
