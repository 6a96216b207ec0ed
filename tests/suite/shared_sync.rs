//! Real processes on one PostgreSQL and one Azure: one of them lists, all answer the same, and whoever dies is replaced.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use privatelink_dns::persist::{
    self, Audit, Commit, Entry, LeaseAnswer, Persist, Source, Stored, StoredChange, StoredDocument,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::client::{PATIENCE, answers, ask};
use crate::support::fake_arm::{FIRST, FakeArm, endpoint};
use crate::support::postgres::{Cluster, Disk};
use crate::support::served::{addresses, command};
use crate::support::test_daemon::write;

/// What is promised of a holder that dies.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(10);

/// What instances have in common.
struct World {
    cluster: Cluster,
    arm: FakeArm,
    runtime: Runtime,
    http: reqwest::Client,
    /// Of the first instance: tokens are in the store.
    token: Mutex<String>,
}

/// A process that serves; dropping it kills it.
struct Instance {
    folder: TempDir,
    child: Child,
    dns: SocketAddr,
    api: String,
    log: Arc<Mutex<String>>,
}

/// Endpoints of accounts by number, all with an address of this network.
fn accounts(net: u8, numbers: std::ops::Range<usize>) -> Vec<Value> {
    let account = |number: usize| {
        let fqdn = format!("account{number}.blob.core.windows.net");
        endpoint(FIRST, &format!("pe{number}"), "hub", &[(&fqdn, &format!("10.0.{net}.{number}"))])
    };
    numbers.map(account).collect()
}

fn wait(what: &str, within: Duration, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < within, "this did not come: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl World {
    /// `None` without PostgreSQL, which says so; in CI that fails.
    fn new() -> Option<World> {
        let cluster = Cluster::start(Disk::Unsynced)?;
        let arm = FakeArm::start();
        arm.replace(FIRST, [accounts(0, 0..20), accounts(0, 20..40)], Vec::new());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Some(World { cluster, arm, runtime, http, token: Mutex::default() })
    }

    fn config(&self, azure: &str) -> String {
        format!(
            "state_dir = 'state'\n[listen]\ndns = ['127.0.0.1:0']\nworkers = 1\n[admin]\nlisten = ['127.0.0.1:0']\n\
             [store]\nurl = '{}'\n[forward]\nupstreams = []\n[sync]\ninterval_secs = 3600\n[[sync.source]]\n\
             kind = 'arm'\nname = 'live'\nendpoint = '{azure}'\nauthority = '{azure}'\nidentity_endpoint = '{azure}'\n",
            self.cluster.url()
        )
    }

    fn start(&self) -> Instance {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "config.toml", &self.config(&self.arm.url()));
        self.start_in(folder)
    }

    fn start_in(&self, folder: TempDir) -> Instance {
        let mut serve = command(&["serve", "-c", folder.path().join("config.toml").to_str().unwrap()]);
        let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stderr, log) = (child.stderr.take().unwrap(), Arc::<Mutex<String>>::default());
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = lines.lock();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let Some((dns, api)) = addresses(&mut child) else { panic!("it did not start: {}", log.lock()) };
        if let Ok(token) = std::fs::read_to_string(folder.path().join("state/admin.token")) {
            *self.token.lock() = token.trim().to_owned();
        }
        Instance { folder, child, dns, api, log }
    }

    /// Two instances, the first of which lists.
    fn start_two(&self) -> (Instance, Instance) {
        let one = self.start();
        one.wait_for("account0", 0);
        let two = self.start();
        two.wait_for("account0", 0);
        self.wait_for_source(&two, "it follows one that is current", |source| {
            source["role"] == "following" && source["state"] == "current"
        });
        (one, two)
    }

    /// One request: status and JSON.
    fn call(&self, instance: &Instance, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}{path}", instance.api);
        let mut request = self.http.request(method.parse().unwrap(), url).bearer_auth(&*self.token.lock());
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        self.runtime.block_on(async {
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let text = response.text().await.unwrap();
            (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
        })
    }

    /// Where the one source stands.
    fn source(&self, instance: &Instance) -> Value {
        let (status, report) = self.call(instance, "GET", "/api/v1/sync", None);
        assert_eq!(status, 200, "{report}");
        report["items"][0].clone()
    }

    fn wait_for_source(&self, instance: &Instance, what: &str, is_so: impl Fn(&Value) -> bool) {
        let begun = Instant::now();
        loop {
            let source = self.source(instance);
            if is_so(&source) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {source:#}\n{}", instance.log.lock());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Wants a pass; answers the status.
    fn nudge(&self, instance: &Instance) -> u16 {
        self.call(instance, "POST", "/api/v1/sync", Some(json!({"source": "live"}))).0
    }

    fn passes(&self) -> usize {
        self.arm.asked("GET /subscriptions?").len()
    }

    fn list(&self, net: u8) {
        self.arm.replace(FIRST, [accounts(net, 0..20), accounts(net, 20..40)], Vec::new());
    }

    /// The store as a program beside the instances sees it.
    fn with_store<T>(&self, work: impl AsyncFnOnce(Persist) -> T) -> T {
        let settings = persist::Settings { url: self.cluster.url(), ..persist::Settings::default() };
        self.runtime.block_on(async {
            let persist = Persist::open(&settings).await.unwrap();
            let done = work(persist.clone()).await;
            persist.close().await;
            done
        })
    }

    fn documents(&self) -> Vec<StoredDocument> {
        let Stored { entries, .. } = self.with_store(async |persist| persist.load().await.unwrap());
        let documents = entries.into_iter().filter_map(|(entry, _)| match entry {
            Entry::Document(document) if document.name.starts_with("sync/") => Some(document),
            _ => None,
        });
        documents.collect()
    }

    fn spoil_document(&self) {
        let body: Arc<[u8]> = b"no document".as_slice().into();
        let change = StoredChange::Put(Entry::Document(StoredDocument { name: "sync/live".into(), body }));
        let audit = Audit {
            source: Source::Sync,
            actor: "test".into(),
            remote: None,
            request_id: None,
            comment: None,
        };
        let commit = Commit { changes: vec![change], ..Commit::by(audit) };
        self.with_store(async |persist| persist.commit(commit).await.unwrap());
    }
}

impl Instance {
    /// What it answers for an account's private name.
    fn address_of(&self, account: &str) -> Vec<String> {
        answers(&ask(self.dns, &format!("{account}.privatelink.blob.core.windows.net."), "A"))
    }

    fn serves(&self, account: &str, net: u8) -> bool {
        let number = account.trim_start_matches("account");
        self.address_of(account)
            == [format!("{account}.privatelink.blob.core.windows.net. 10 A 10.0.{net}.{number}")]
    }

    fn wait_for(&self, account: &str, net: u8) {
        let begun = Instant::now();
        while !self.serves(account, net) {
            assert!(
                begun.elapsed() < PATIENCE,
                "{account} is {:?}, not of {net}: {}",
                self.address_of(account),
                self.log.lock()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// As the power goes off.
    fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    /// As a service manager does.
    fn terminate(mut self) -> TempDir {
        self.signal("TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.log.lock());
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    fn wait_for_log(&self, text: &str) {
        self.wait_until(text, || self.log.lock().contains(text));
    }

    /// Shows the log if it does not come.
    fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "this did not come: {what}\n{}", self.log.lock());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn who_asks_for_a_lease_learns_whether_another_has_it() {
    let Some(cluster) = Cluster::start(Disk::Unsynced) else { return };
    let settings = persist::Settings { url: cluster.url(), ..persist::Settings::default() };
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let (one, two) = (Persist::open(&settings).await.unwrap(), Persist::open(&settings).await.unwrap());
        let (mut one, mut two) = (one.candidate("sync"), two.candidate("sync"));
        let LeaseAnswer::Taken(lease) = one.ask().await else { panic!("it is free") };
        assert!(lease.look().await && lease.is_held());
        assert!(matches!(two.ask().await, LeaseAnswer::HeldByAnother));
        cluster.kill();
        // It finds out when it looks, not only by the clock.
        assert!(!lease.look().await && !lease.is_held());
        assert!(matches!(two.ask().await, LeaseAnswer::Unreachable));
        cluster.run_again();
        let LeaseAnswer::Taken(_lease) = two.ask().await else { panic!("it is free again") };
        assert!(matches!(one.ask().await, LeaseAnswer::HeldByAnother));
    });
}

#[test]
fn one_of_two_lists_and_what_operators_want_of_the_other_reaches_it() {
    let Some(world) = World::new() else { return };
    let (one, two) = world.start_two();
    assert_eq!(world.passes(), 1);
    let (listing, following) = (world.source(&one), world.source(&two));
    assert_eq!(listing["role"], "listing");
    assert!(listing["listed_by"].is_null() && following["listed_by"].is_string(), "{following:#}");
    for key in ["read_at", "names", "state"] {
        assert_eq!(following[key], listing[key], "{key}");
    }
    for (instance, is_listing) in [(&one, 1), (&two, 0)] {
        assert_eq!(world.call(instance, "GET", "/readyz", None).0, 200);
        let (_, metrics) = world.call(instance, "GET", "/metrics", None);
        assert!(metrics.as_str().unwrap().contains(&format!("sync_listing {is_listing}")), "{metrics}");
    }
    // A change in Azure, seen by a pass that is wanted of the instance that does not list.
    world.list(1);
    assert_eq!(world.nudge(&two), 202);
    two.wait_for("account39", 1);
    one.wait_for("account39", 1);
    assert_eq!(world.passes(), 2);
    world.list(2);
    two.signal("USR1");
    two.wait_for("account7", 2);
    assert_eq!(world.passes(), 3);
    let (status, problem) = world.call(&two, "POST", "/api/v1/sync", Some(json!({"source": "other"})));
    assert_eq!(status, 422, "{problem}");
    // What is held back is seen on both, and confirmed on the one that does not list.
    world.arm.replace(FIRST, [accounts(2, 0..10), accounts(2, 10..20)], Vec::new());
    assert_eq!(world.nudge(&two), 202);
    world.wait_for_source(&two, "it is held back", |source| source["state"] == "held-back");
    let (listing, following) = (world.source(&one), world.source(&two));
    assert_eq!(following["held_back"], listing["held_back"]);
    assert_eq!(following["held_back"]["would_withdraw"], 20);
    assert!(one.serves("account39", 2) && two.serves("account39", 2));
    let confirm = |plan: &Value| {
        let body = json!({"confirm": {"source": "live", "plan": plan}});
        world.call(&two, "POST", "/api/v1/sync", Some(body))
    };
    let (status, problem) = confirm(&json!("0123456789abcdef0123456789abcdef"));
    assert_eq!((status, &problem["now"]), (409, &following["held_back"]["plan"]), "{problem}");
    let (status, begun) = confirm(&following["held_back"]["plan"]);
    assert_eq!(status, 202, "{begun}");
    for instance in [&one, &two] {
        wait("they are withdrawn", PATIENCE, || instance.address_of("account39").is_empty());
        instance.wait_for("account19", 2);
    }
    world.wait_for_source(&two, "it is current", |source| source["state"] == "current");
    assert_eq!(confirm(&following["held_back"]["plan"]).0, 409);
    // The file of a confirmation is seen as well, and may be worth a pass of its own.
    assert!((5..=6).contains(&world.passes()));
}

#[test]
fn a_holder_that_is_killed_is_replaced_and_what_it_published_guards_the_first_pass() {
    let Some(world) = World::new() else { return };
    let (one, two) = world.start_two();
    // Most of it is gone when the other one looks for the first time.
    world.arm.replace(FIRST, [accounts(0, 0..10), Vec::new()], Vec::new());
    let folder = one.kill();
    wait("another one lists", TAKEN_OVER_WITHIN, || world.source(&two)["role"] == "listing");
    world.wait_for_source(&two, "it is held back", |source| source["state"] == "held-back");
    assert!(two.serves("account39", 0));
    // A change that is not too much.
    world.list(1);
    assert_eq!(world.nudge(&two), 202);
    two.wait_for("account39", 1);
    let one = world.start_in(folder);
    one.wait_for("account39", 1);
    assert_eq!(world.source(&one)["role"], "following");
    // One that stops by itself gives the lease away.
    world.list(2);
    drop(two.terminate());
    wait("the first one lists again", TAKEN_OVER_WITHIN, || world.source(&one)["role"] == "listing");
    one.wait_for("account39", 2);
}

#[test]
fn without_the_database_both_answer_and_the_one_that_lists_goes_on() {
    let Some(world) = World::new() else { return };
    let (one, two) = world.start_two();
    world.cluster.kill();
    assert!(one.serves("account3", 0) && two.serves("account3", 0));
    world.list(1);
    let begun = Instant::now();
    while world.nudge(&one) != 202 {
        assert!(begun.elapsed() < PATIENCE);
    }
    one.wait_for("account3", 1);
    assert_eq!((world.nudge(&two), world.passes()), (503, 2));
    let plan = "0123456789abcdef0123456789abcdef";
    let (status, problem) =
        world.call(&two, "POST", "/api/v1/sync", Some(json!({"confirm": {"source": "live", "plan": plan}})));
    assert_eq!(status, 503, "{problem}");
    world.wait_for_source(&two, "it knows that it is cut off", |source| source["state"] == "stale");
    assert!(two.serves("account3", 0));
    world.cluster.run_again();
    two.wait_for("account3", 1);
    world.wait_for_source(&two, "it follows again", |source| {
        source["role"] == "following" && source["state"] == "current"
    });
    // The one that went on listing still does, and nobody else has asked Azure anything.
    assert_eq!((world.source(&one)["role"].as_str(), world.passes()), (Some("listing"), 2));
    world.list(2);
    assert_eq!(world.nudge(&two), 202);
    two.wait_for("account3", 2);
    one.wait_for("account3", 2);
}

#[test]
fn what_is_shared_serves_who_starts_without_azure_and_what_is_broken_changes_nothing() {
    let Some(world) = World::new() else { return };
    let (one, two) = world.start_two();
    let folder = two.terminate();
    // Nothing of its own, and an Azure where nobody listens.
    std::fs::remove_dir_all(folder.path().join("state")).unwrap();
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    write(folder.path(), "config.toml", &world.config(&format!("http://{nowhere}")));
    let two = world.start_in(folder);
    assert!(two.serves("account5", 0), "the first answer is whole: {}", two.log.lock());
    world.wait_for_source(&two, "it follows", |source| source["state"] == "current");
    let whole = world.documents();
    assert_eq!(whole.len(), 1);
    // A document that nobody can read: who follows tells so, who lists replaces it.
    world.spoil_document();
    two.wait_for_log("cannot be used");
    wait("it is replaced", PATIENCE, || {
        world.documents().iter().all(|document| document.body.starts_with(&[0x1f, 0x8b]))
    });
    world.wait_for_source(&two, "it is current again", |source| source["state"] == "current");
    assert!(one.serves("account5", 0) && two.serves("account5", 0));
    // The same with nobody who lists, over a restart: what was kept here is served.
    drop(one.terminate());
    let folder = two.terminate();
    world.spoil_document();
    let two = world.start_in(folder);
    assert!(two.serves("account5", 0));
    two.wait_for_log("cannot be used");
    assert!(two.serves("account5", 0));
    assert!(Path::new(&two.folder.path().join("state/sync-state.jsonl")).is_file());
}

#[test]
fn who_starts_without_the_database_and_knows_nothing_lists_for_itself() {
    let Some(world) = World::new() else { return };
    world.cluster.kill();
    let one = world.start();
    one.wait_for("account0", 0);
    assert_eq!(world.passes(), 1);
    world.cluster.run_again();
    let token = one.folder.path().join("state/admin.token");
    one.wait_for_log("The token of the first admin");
    *world.token.lock() = std::fs::read_to_string(token).unwrap().trim().to_owned();
    wait("the token is known", PATIENCE, || world.call(&one, "GET", "/api/v1/sync", None).0 == 200);
    assert_eq!(world.source(&one)["role"], "listing");
    one.wait_until("it is shared", || world.documents().len() == 1);
    let two = world.start();
    assert!(two.serves("account0", 0));
    world.wait_for_source(&two, "it follows", |source| {
        source["role"] == "following" && source["state"] == "current"
    });
    assert_eq!(world.passes(), 1);
}
