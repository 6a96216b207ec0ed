//! Live Azure against a fake one: identities, listings, and that no fault takes a record away.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use privatelink_dns::config::Config;
use privatelink_dns::daemon::Parts;
use privatelink_dns::privatelink::Cloud;
use privatelink_dns::sources::{SourceState, StateAccess};
use privatelink_dns::sync::StateFolder;
use privatelink_dns::sync::azure::{Azure, CredentialSettings, Hosts, SecretPlace, Settings, UserAssigned};
use privatelink_dns::sync::state::Confirmation;
use privatelink_dns::zone::{Origin, Snapshot};

use crate::support::client::{answers, ask};
use crate::support::fake_arm::{FIRST, FakeArm, Fault, SECOND, TOKEN_MARK, list_of, storage_accounts};
use crate::support::test_daemon::TestDaemon;
use crate::support::upstream::Upstream;

/// A retry that tests need not wait for.
pub(crate) const AT_ONCE: Duration = Duration::from_millis(1);

/// In every secret of an identity.
pub(crate) const SECRET_MARK: &str = "HUSH";

pub(crate) fn settings(arm: &FakeArm, credential: CredentialSettings) -> Settings {
    let url = arm.url().parse::<privatelink_dns::sync::azure::Endpoint>().unwrap();
    Settings {
        credential,
        endpoint: url.clone(),
        authority: url.clone(),
        identity_endpoint: url,
        retry: AT_ONCE,
        ..Settings::of_hosts(Hosts::of_cloud(Cloud::Public).unwrap())
    }
}

/// A certificate with its key.
pub(crate) fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/certificate/{name}.pem"))
}

pub(crate) fn of_host(arm: &FakeArm) -> Arc<Azure> {
    let credential = CredentialSettings::ManagedIdentity { assigned: None };
    Arc::new(Azure::new(settings(arm, credential), None).unwrap())
}

/// A server without sockets, whose only source is the fake Azure.
pub(crate) struct World {
    pub arm: FakeArm,
    config: Config,
    pub parts: Parts,
    pub runtime: tokio::runtime::Runtime,
}

impl World {
    pub fn new(more: &str) -> World {
        World::with_arm(FakeArm::start(), more)
    }

    /// The same Azure with other settings.
    pub fn with_arm(arm: FakeArm, more: &str) -> World {
        let url = arm.url();
        let text = format!(
            "[[sync.source]]\nkind = 'arm'\nendpoint = '{url}'\nauthority = '{url}'\nidentity_endpoint = '{url}'\n{more}\n"
        );
        let mut config = Config::parse(&text, Path::new("/nowhere/c.toml")).unwrap();
        config.sync.azure[0].retry = AT_ONCE;
        config.state_dir = "/nowhere/state".into();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let parts = runtime.block_on(async { Parts::load(&config).unwrap() });
        World { arm, config, parts, runtime }
    }

    /// Keeps its state in a folder, and takes up what is there.
    pub fn keep_in(&mut self, state_dir: &Path) {
        self.config.state_dir = state_dir.to_owned();
        self.parts =
            self.runtime.block_on(async { Parts::restore(&self.config, StateAccess::Keep).unwrap() });
    }

    pub fn save(&mut self) {
        self.parts.sources.save().unwrap();
    }

    pub fn pass(&self) {
        self.runtime.block_on(self.parts.sources.list()[0].pass_once(&self.parts.store));
    }

    pub fn published(&self) -> BTreeSet<String> {
        published(&self.parts.store.snapshot())
    }

    fn state(&self) -> SourceState {
        self.parts.sources.list()[0].known().state.clone()
    }

    pub fn why(&self) -> String {
        match self.state() {
            SourceState::Stale { why, .. } => why,
            SourceState::Current { .. } => "current".to_owned(),
            SourceState::HeldBack { would_withdraw, of, .. } => {
                format!("held back: {would_withdraw} of {of}")
            }
        }
    }
}

/// What endpoints publish: each name, its addresses and its claim.
pub(crate) fn published(snapshot: &Snapshot) -> BTreeSet<String> {
    let nodes = snapshot.zones().flat_map(|(_, zone)| zone.nodes());
    let slots = nodes.flat_map(|(name, node)| node.slots().iter().map(move |slot| (name, slot)));
    let offers = slots.flat_map(|(name, slot)| slot.offers().iter().map(move |offer| (name, offer)));
    let offers = offers.filter(|(_, offer)| matches!(offer.origin, Origin::Endpoint(_)));
    offers.map(|(name, offer)| format!("{name} {offer:?}")).collect()
}

pub(crate) fn names(published: &BTreeSet<String>) -> Vec<&str> {
    published.iter().map(|line| line.split(' ').next().unwrap()).collect()
}

/// The second subscription has other names.
pub(crate) fn other_names(text: String) -> String {
    text.replace("contosodata01", "otherdata01")
        .replace("contosokv01", "otherkv01")
        .replace("fabrikam", "other")
}

pub(crate) const OF_FIRST: [&str; 3] = [
    "contosodata01.privatelink.blob.core.windows.net.",
    "contosokv01.privatelink.vaultcore.azure.net.",
    "fabrikamshare.privatelink.blob.core.windows.net.",
];

#[test]
fn every_kind_of_identity_gets_one_token_and_uses_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let key = file("a.key", "HUSHKEY");
    let (tenant_id, client_id) = ("tenant".to_owned(), "client".to_owned());
    let script = format!("#!/bin/sh\necho \"$@\" >> {}\n", folder.path().join("called").display());
    let script =
        script + &format!("echo '{{\"accessToken\": \"{TOKEN_MARK}.CLI\", \"expires_on\": 4102444800}}'\n");
    let command = file("az", &script);
    std::fs::set_permissions(&command, std::fs::Permissions::from_mode(0o755)).unwrap();
    let kinds = [
        (CredentialSettings::ManagedIdentity { assigned: None }, "GET /metadata", "resource=http", 1),
        (
            CredentialSettings::ManagedIdentity {
                assigned: Some(UserAssigned::ClientId("chosen".to_owned())),
            },
            "GET /metadata",
            "client_id=chosen",
            1,
        ),
        (
            CredentialSettings::ManagedIdentity {
                assigned: Some(UserAssigned::ObjectId("object".to_owned())),
            },
            "GET /metadata",
            "object_id=object",
            1,
        ),
        (
            CredentialSettings::ManagedIdentity {
                assigned: Some(UserAssigned::ResourceId("/subscriptions/s/x".to_owned())),
            },
            "GET /metadata",
            "mi_res_id=%2Fsubscriptions%2Fs%2Fx",
            1,
        ),
        (
            CredentialSettings::ClientCertificate {
                tenant_id: tenant_id.clone(),
                client_id: client_id.clone(),
                file: certificate("first"),
            },
            "POST /tenant/oauth2/v2.0/token",
            "client_assertion=ey",
            1,
        ),
        (
            CredentialSettings::AzureArc { key_folder: folder.path().to_owned() },
            "GET /metadata",
            "2019-11-01",
            2,
        ),
        (
            CredentialSettings::WorkloadIdentity {
                tenant_id: tenant_id.clone(),
                client_id: client_id.clone(),
                token_file: file("federated", "HUSHJWT\n"),
            },
            "POST /tenant/oauth2/v2.0/token",
            "client_assertion=HUSHJWT",
            1,
        ),
        (
            CredentialSettings::ClientSecret {
                tenant_id,
                client_id,
                secret: SecretPlace::File(file("s", "HUSH&1\n")),
            },
            "POST /tenant/oauth2/v2.0/token",
            "client_secret=HUSH%261",
            1,
        ),
        (CredentialSettings::AzureCli { command }, "/token", "", 0),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (credential, line, text, requests) in kinds {
        let arm = FakeArm::start();
        if matches!(credential, CredentialSettings::AzureArc { .. }) {
            arm.challenge(key.clone(), "HUSHKEY");
        }
        if let CredentialSettings::ClientCertificate { file, .. } = &credential {
            arm.register(&std::fs::read_to_string(file).unwrap());
        }
        let azure = Arc::new(Azure::new(settings(&arm, credential.clone()), None).unwrap());
        for _ in 0..2 {
            let pass =
                runtime.block_on(azure.pass()).unwrap_or_else(|error| panic!("{credential:?}: {error}"));
            assert_eq!((pass.listed.len(), pass.failed.len()), (1, 0), "{credential:?} {:?}", pass.failed);
        }
        let asked = arm.asked(line);
        assert_eq!(asked.len(), requests, "{credential:?}");
        assert!(asked.iter().all(|it| format!("{} {}", it.line, it.body).contains(text)), "{asked:?}");
        // Subscriptions, two pages of endpoints, two of interfaces; twice.
        assert_eq!(arm.asked("GET /subscriptions").len(), 10, "{credential:?}");
    }
    let called = std::fs::read_to_string(folder.path().join("called")).unwrap();
    assert_eq!(called.lines().count(), 1);
    assert!(called.starts_with("account get-access-token --output json --resource http"), "{called}");
}

#[test]
fn the_metadata_service_is_asked_again_while_it_is_updated_and_not_when_it_says_no() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let arm = FakeArm::start();
    arm.refuse_tokens(
        ["404-updating", "410-updating", "500"]
            .map(|it| Fault::of_fixture(&format!("tokens/imds-{it}.json"))),
    );
    runtime.block_on(of_host(&arm).pass()).unwrap();
    assert_eq!(arm.asked("GET /metadata").len(), 4);
    let arm = FakeArm::start();
    arm.refuse_tokens([Fault::of_fixture("tokens/imds-400-identity-not-found.json")]);
    let error = runtime.block_on(of_host(&arm).pass()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("no token from {}: 400 invalid_request: ", arm.address)), "{error}");
    assert_eq!((arm.asked("GET /metadata").len(), arm.asked("GET /subscriptions").len()), (1, 0));
}

#[test]
fn an_arc_key_that_is_not_one_is_not_sent() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("tokens");
    std::fs::create_dir(&keys).unwrap();
    let outside = folder.path().join("secret.key");
    std::fs::write(&outside, "HUSH").unwrap();
    std::os::unix::fs::symlink(&outside, keys.join("link.key")).unwrap();
    std::fs::write(keys.join("large.key"), "x".repeat(4097)).unwrap();
    std::fs::write(keys.join("other.txt"), "HUSH").unwrap();
    let above = keys.join("../secret.key");
    for key in [outside, above, keys.join("link.key"), keys.join("large.key"), keys.join("other.txt")] {
        let arm = FakeArm::start();
        arm.challenge(key, "HUSH");
        let azure =
            Azure::new(settings(&arm, CredentialSettings::AzureArc { key_folder: keys.clone() }), None);
        runtime.block_on(Arc::new(azure.unwrap()).pass()).unwrap_err();
        assert_eq!(arm.asked("GET /metadata").len(), 1);
    }
}

#[test]
fn a_pass_publishes_what_is_approved_and_the_next_one_changes_nothing() {
    let world = World::new("");
    world.pass();
    assert_eq!(names(&world.published()), OF_FIRST);
    assert_eq!(world.why(), "current");
    let revision = world.parts.store.snapshot().revision();
    world.pass();
    assert_eq!(world.parts.store.snapshot().revision(), revision);
}

#[test]
fn a_subscription_that_cannot_be_seen_keeps_its_records_while_others_change() {
    let world = World::new("");
    world.arm.add(SECOND, other_names);
    world.pass();
    let before = world.published();
    assert_eq!(before.len(), 6, "{before:?}");
    for forbidden in ["403-authorization-failed", "404-subscription-not-found"] {
        let fault = Fault::of_fixture(&format!("errors/{forbidden}.json"));
        world.arm.fault((FIRST, "networkInterfaces", 1), fault, usize::MAX);
    }
    world.arm.list(SECOND, "privateEndpoints", [empty(), empty()]);
    world.pass();
    assert_eq!(names(&world.published()), OF_FIRST);
    let why = world.why();
    assert!(
        why.starts_with(&format!("1 of 2 subscriptions cannot be listed; {FIRST}: Azure says 40")),
        "{why}"
    );
    // One that is no longer shown is not empty either.
    world.arm.heal();
    world.arm.show_only(&[SECOND]);
    world.pass();
    assert_eq!(names(&world.published()), OF_FIRST);
    assert!(world.why().contains("no longer sees"), "{}", world.why());
    world.arm.show_only(&[]);
    world.pass();
    assert_eq!(names(&world.published()), OF_FIRST);
    assert!(world.why().contains("sees no subscription"), "{}", world.why());
}

pub(crate) fn empty() -> String {
    r#"{"value": []}"#.to_owned()
}

#[test]
fn named_subscriptions_are_asked_and_no_others() {
    let world = World::new(&format!("subscriptions = ['{SECOND}']"));
    world.arm.add(SECOND, other_names);
    world.pass();
    assert_eq!(world.published().len(), 3);
    assert!(names(&world.published()).iter().all(|name| name.starts_with("other")));
    assert!(world.arm.asked(FIRST).is_empty());
    assert_eq!(world.arm.asked("GET /subscriptions").len(), 4);
}

#[test]
fn endpoints_that_are_gone_are_withdrawn() {
    let world = World::new("");
    world.pass();
    world.arm.list(FIRST, "privateEndpoints", [empty(), empty()]);
    world.pass();
    assert!(world.published().is_empty() && world.parts.store.snapshot().withheld_of("azure").is_empty());
    assert_eq!(world.why(), "current");
}

#[test]
fn passing_faults_are_waited_out_and_long_waits_left_to_later_passes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let arm = FakeArm::start();
    arm.add(SECOND, other_names);
    let soon = Fault::Answer { status: 429, headers: vec!["Retry-After: 1".to_owned()], body: Vec::new() };
    arm.fault((FIRST, "privateEndpoints", 2), soon, 1);
    arm.fault((FIRST, "networkInterfaces", 1), Fault::Cut, 2);
    let later = Fault::of_fixture("errors/503-service-unavailable.json");
    arm.fault((SECOND, "privateEndpoints", 1), later, 1);
    let azure = of_host(&arm);
    let pass = runtime.block_on(azure.pass()).unwrap();
    assert!(pass.listed.contains_key(FIRST), "{:?}", pass.failed);
    assert_eq!(
        pass.failed[SECOND].to_string(),
        "Azure says 503 ServiceUnavailable and wants to be asked again in 60 s"
    );
    let asked = arm.asked(SECOND).len();
    let again = runtime.block_on(azure.pass()).unwrap();
    assert!(again.listed.contains_key(FIRST) && again.failed.contains_key(SECOND));
    // It is left alone for as long as it wants.
    assert_eq!(arm.asked(SECOND).len(), asked);
}

#[test]
fn a_refused_token_is_renewed_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let arm = FakeArm::start();
    arm.fault((FIRST, "privateEndpoints", 2), Fault::of_fixture("errors/401-expired-token.json"), 1);
    let pass = runtime.block_on(of_host(&arm).pass()).unwrap();
    assert_eq!((pass.listed.len(), arm.asked("GET /metadata").len()), (1, 2));
}

#[test]
fn a_packed_page_is_unpacked() {
    const EMPTY_LIST: [u8; 33] = [
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 42, 75, 204, 41, 77, 85, 178, 82, 136, 142, 173, 5, 0, 215,
        253, 23, 73, 13, 0, 0, 0,
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let arm = FakeArm::start();
    let headers = vec!["Content-Encoding: gzip".to_owned()];
    let packed = Fault::Answer { status: 200, headers, body: EMPTY_LIST.to_vec() };
    arm.fault((FIRST, "privateEndpoints", 1), packed, 1);
    let pass = runtime.block_on(of_host(&arm).pass()).unwrap();
    assert_eq!(pass.listed[FIRST].endpoints().len(), 0);
    let asked = &arm.asked("privateEndpoints")[0];
    assert!(asked.headers.contains(&"accept-encoding: gzip".to_owned()), "{asked:?}");
}

/// A log that can be read.
#[derive(Clone, Default)]
pub(crate) struct Log(pub Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_token_and_no_secret_is_in_a_log_or_an_error() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), SECRET_MARK).unwrap();
    let mut errors = String::new();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("the log is read");
        let echo =
            |status, body: String| Fault::Answer { status, headers: Vec::new(), body: body.into_bytes() };
        for round in 0..3 {
            let arm = FakeArm::start();
            match round {
                // Services that repeat what they were sent.
                0 => arm.refuse_tokens([echo(
                    401,
                    format!(r#"{{"error": "{SECRET_MARK}", "error_description": "not {SECRET_MARK}"}}"#),
                )]),
                1 => arm.refuse_tokens([echo(
                    200,
                    format!(r#"{{"access_token": "{TOKEN_MARK}", "expires_in": []"#),
                )]),
                _ => {
                    let text = format!(r#"{{"error": {{"code": "x", "message": "not {TOKEN_MARK}.1"}}}}"#);
                    arm.fault((FIRST, "privateEndpoints", 1), echo(403, text), usize::MAX);
                }
            }
            let place = SecretPlace::File(secret.path().to_owned());
            let credential = CredentialSettings::ClientSecret {
                tenant_id: "t".into(),
                client_id: "c".into(),
                secret: place,
            };
            let azure = Arc::new(Azure::new(settings(&arm, credential), None).unwrap());
            match runtime.block_on(azure.pass()) {
                Ok(pass) => errors += &format!("{pass:?} {}\n", pass.failed[FIRST]),
                Err(error) => errors += &format!("{error:?} {error}\n"),
            }
        }
    });
    let text = String::from_utf8(log.0.lock().clone()).unwrap() + &errors;
    assert!(text.contains("the log is read") && errors.lines().count() == 3, "{text}");
    for hidden in [TOKEN_MARK, SECRET_MARK] {
        assert!(!text.contains(hidden), "{text}");
    }
}

#[test]
fn a_daemon_syncs_in_the_background_and_again_when_nudged() {
    let arm = FakeArm::start();
    let config = config_of(&arm);
    let daemon = TestDaemon::start(&config, &[]);
    daemon.wait_for(|snapshot| published(snapshot).len() == 3);
    let reply = ask(daemon.address, "contosodata01.privatelink.blob.core.windows.net.", "A");
    assert_eq!(answers(&reply), ["contosodata01.privatelink.blob.core.windows.net. 10 A 10.1.0.5"]);
    arm.list(FIRST, "privateEndpoints", [empty(), empty()]);
    let status = Command::new("kill").args(["-USR1", &std::process::id().to_string()]).status();
    assert!(status.unwrap().success());
    daemon.wait_for(|snapshot| published(snapshot).is_empty());
    // A source that is no longer configured goes with its records.
    arm.add(SECOND, other_names);
    daemon.configure(&config.replace("interval_secs = 3600", "interval_secs = 3601"));
    daemon.wait_for(|snapshot| published(snapshot).len() == 3);
    daemon.configure("[forward]\nupstreams = []\n");
    daemon.wait_for(|snapshot| published(snapshot).is_empty());
    daemon.stop();
}

/// A page of so many storage accounts' endpoints.
pub(crate) fn accounts(numbers: impl IntoIterator<Item = usize>) -> String {
    list_of(storage_accounts(FIRST, numbers))
}

fn config_of(arm: &FakeArm) -> String {
    let url = arm.url();
    format!(
        "[forward]\nupstreams = []\n[sync]\ninterval_secs = 3600\n[[sync.source]]\nkind = 'arm'\nname = 'live'\n\
         endpoint = '{url}'\nauthority = '{url}'\nidentity_endpoint = '{url}'\n"
    )
}

#[test]
fn a_listing_that_withdraws_too_much_is_held_back_until_that_plan_is_confirmed() {
    let mut world = World::new("");
    let state = tempfile::tempdir().unwrap();
    world.config.state_dir = state.path().to_owned();
    world.parts = world.runtime.block_on(async { Parts::restore(&world.config, StateAccess::Keep).unwrap() });
    let list = |numbers: std::ops::Range<usize>| {
        world.arm.list(FIRST, "networkInterfaces", [empty(), empty()]);
        world.arm.list(FIRST, "privateEndpoints", [accounts(numbers), empty()]);
    };
    list(1..41);
    world.pass();
    let before = world.published();
    assert_eq!((before.len(), world.why()), (40, "current".to_owned()));
    // 13 of 40 are more than 30 %, and one would come.
    list(14..42);
    world.pass();
    // What waits is as it was, and what came is there.
    let now = world.published();
    assert!(now.is_superset(&before));
    assert_eq!((now.len(), world.why()), (41, "held back: 13 of 40".to_owned()));
    let before = now;
    let plan_of = |world: &World| world.parts.sources.list()[0].known().held_back().unwrap().plan;
    let folder = StateFolder::new(state.path());
    let confirm = |plan| folder.confirm(&Confirmation { source: "azure".to_owned(), plan }).unwrap();
    let plan = plan_of(&world);
    // A yes to that plan is none to another, and is not left lying.
    confirm(plan);
    list(21..42);
    world.pass();
    assert_eq!((world.published(), world.why()), (before.clone(), "held back: 20 of 41".to_owned()));
    assert!(folder.confirmation_files().is_empty());
    list(14..42);
    world.pass();
    assert_eq!(world.published(), before);
    // Nor does a restart forget what waits, or that it does.
    world.save();
    world.parts = world.runtime.block_on(async { Parts::restore(&world.config, StateAccess::Keep).unwrap() });
    assert_eq!((world.published(), plan_of(&world)), (before.clone(), plan));
    world.pass();
    assert_eq!((world.published(), plan_of(&world)), (before.clone(), plan));
    confirm(plan);
    world.pass();
    assert_eq!((world.published().len(), world.why()), (28, "current".to_owned()));
    assert!(folder.confirmation_files().is_empty());
}

#[test]
fn a_restart_without_azure_serves_what_was_published_last() {
    let arm = FakeArm::start();
    let config = config_of(&arm);
    let daemon = TestDaemon::start(&config, &[]);
    daemon.wait_for(|snapshot| published(snapshot).len() == 3);
    let (before, withheld) = (published(&daemon.snapshot()), daemon.snapshot().withheld_of("live").to_vec());
    let folder = daemon.leave();
    // Nobody listens there any more.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let path = folder.path().join("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(&arm.address.to_string(), &nowhere.to_string())).unwrap();
    for _ in 0..2 {
        let config = Config::load(&path).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // Before anything is asked, and so before the sockets answer.
        let parts = runtime.block_on(async { Parts::load(&config).unwrap() });
        assert_eq!(published(&parts.store.snapshot()), before);
    }
    let daemon = TestDaemon::start_in(folder);
    assert_eq!(published(&daemon.snapshot()), before);
    assert_eq!(daemon.snapshot().withheld_of("live"), withheld);
    let reply = ask(daemon.address, "contosodata01.privatelink.blob.core.windows.net.", "A");
    assert_eq!(answers(&reply), ["contosodata01.privatelink.blob.core.windows.net. 10 A 10.1.0.5"]);
    let folder = daemon.leave();
    let last = StateFolder::new(&folder.path().join("state")).load().unwrap();
    assert_eq!((&*last[0].source, last[0].desired.publications.len()), ("live", 3));
}

#[test]
fn our_own_look_ups_go_to_the_upstreams_and_past_our_zones() {
    // Nothing listens there, so that the look-up is all there is to see.
    let upstream = Upstream::start(&[("arm.test. A", &["arm.test. 60 A 127.0.0.1"])]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("test.zone"), "@ 60 SOA ns host 1 60 60 60 60\narm 60 A 192.0.2.1\n")
        .unwrap();
    let text = format!(
        "[forward]\nupstreams = ['{}']\n[[zone]]\nname = 'test'\nfile = 'test.zone'\n[[sync.source]]\nkind = 'arm'\n\
         credential = 'client-secret'\ntenant_id = 't'\nclient_id = 'c'\nclient_secret_file = 'test.zone'\n\
         endpoint = 'https://arm.test:1'\nauthority = 'https://arm.test:1'\n",
        upstream.address
    );
    let mut config = Config::parse(&text, &folder.path().join("c.toml")).unwrap();
    config.sync.azure[0].retry = AT_ONCE;
    config.state_dir = folder.path().join("state");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let parts = Parts::load(&config).unwrap();
        parts.sources.list()[0].pass_once(&parts.store).await;
        let known = parts.sources.list()[0].known();
        let SourceState::Stale { why, .. } = &known.state else { panic!() };
        assert!(why.starts_with("arm.test:1 cannot be reached: "), "{why}");
    });
    assert!(upstream.asked() > 0);
}
