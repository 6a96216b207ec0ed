//! When passes are made, and that each ends whole whatever comes in between: nudges, reloads, stops, kills.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use privatelink_dns::config::Config;
use privatelink_dns::daemon::Parts;
use privatelink_dns::sources::StateAccess;
use privatelink_dns::zone::{Change, ChangeSet, Origin};
use serde_json::Value;

use crate::azure::{World, published};
use crate::support::fake_arm::{FIRST, FakeArm, Fault, TOKEN_MARK, endpoint};
use crate::support::test_daemon::TestDaemon;

/// Endpoints with an address of this network each.
fn accounts(net: u8, numbers: std::ops::Range<usize>) -> Vec<Value> {
    let account = |number: usize| {
        let fqdn = format!("account{number}.blob.core.windows.net");
        endpoint(FIRST, &format!("pe{number}"), "hub", &[(&fqdn, &format!("10.0.{net}.{number}"))])
    };
    numbers.map(account).collect()
}

fn wait(is_so: impl Fn() -> bool) {
    for _ in 0..4000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
    panic!("that did not come");
}

#[test]
fn passes_do_not_overlap_and_nudges_during_one_lead_to_exactly_one_more() {
    let mut world = World::new("");
    let list = |net| world.arm.replace(FIRST, [accounts(net, 0..5), accounts(net, 5..10)], Vec::new());
    list(0);
    let gate = world.arm.gate();
    let passes = || world.arm.asked("GET /subscriptions?").len();
    let later_pages = || world.arm.asked("skiptoken").len();
    let held = gate.lock();
    let entered = world.runtime.enter();
    world.parts.sources.start(&world.parts.store);
    drop(entered);
    wait(|| later_pages() == 1);
    for _ in 0..5 {
        world.parts.sources.nudge();
    }
    // The loop has had many turns by now.
    world.runtime.block_on(async {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(passes(), 1);
    list(1);
    drop(held);
    let serves = |net: u8| {
        published(&world.parts.store.snapshot())
            .iter()
            .filter(|it| it.contains(&format!("10.0.{net}.")))
            .count()
    };
    wait(|| serves(1) == 10 && passes() == 2);
    wait(|| world.parts.sources.list()[0].known().read_at.is_some());
    list(2);
    world.parts.sources.nudge();
    wait(|| serves(2) == 10);
    assert_eq!(passes(), 3);
    // One after the other: each pass asks for its last page before the next one asks at all.
    let lines: Vec<String> = world.arm.asked("GET /subscriptions").into_iter().map(|it| it.line).collect();
    let starts: Vec<usize> =
        (0..lines.len()).filter(|at| lines[*at].starts_with("GET /subscriptions?")).collect();
    assert_eq!(starts, [0, 4, 8], "{lines:#?}");
}

#[test]
fn servers_that_start_together_do_not_ask_together() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    // A command that is not there fails without waiting for anything, so that the clock is all there is.
    let text = "[sync]\ninterval_secs = 60\n[[sync.source]]\nkind = 'arm'\ncredential = 'azure-cli'\n";
    let mut config = Config::parse(text, Path::new("/nowhere/c.toml")).unwrap();
    config.state_dir = "/nowhere/state".into();
    config.sync.azure[0].credential =
        privatelink_dns::sync::azure::CredentialSettings::AzureCli { command: "/nowhere/az".into() };
    let waits = runtime.block_on(async {
        let mut parts = Parts::restore(&config, StateAccess::Look).unwrap();
        parts.sources.start(&parts.store);
        let source = Arc::clone(&parts.sources.list()[0]);
        let (mut known, mut waits) = (source.known(), Vec::new());
        let mut last = tokio::time::Instant::now();
        while waits.len() < 60 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = source.known();
            if !Arc::ptr_eq(&known, &now) {
                waits.push(last.elapsed().as_millis());
                (known, last) = (now, tokio::time::Instant::now());
            }
        }
        waits
    });
    let waits = &waits[1..];
    assert!(waits.iter().all(|wait| (53_900..=66_100).contains(wait)), "{waits:?}");
    assert!(waits.iter().max().unwrap() - waits.iter().min().unwrap() > 4_000, "{waits:?}");
}

fn config_of(arm: &FakeArm, more: &str) -> String {
    let url = arm.url();
    format!(
        "[forward]\nupstreams = []\n[sync]\ninterval_secs = 3600\n{more}[[sync.source]]\nkind = 'arm'\nname = 'live'\n\
         endpoint = '{url}'\nauthority = '{url}'\nidentity_endpoint = '{url}'\n"
    )
}

#[test]
fn a_pass_in_flight_when_config_reloads_or_the_server_stops_changes_nothing() {
    let arm = FakeArm::start();
    arm.replace(FIRST, [accounts(0, 0..20), accounts(0, 20..40)], Vec::new());
    let daemon = TestDaemon::start(&config_of(&arm, ""), &[]);
    daemon.wait_for(|snapshot| published(snapshot).len() == 40);
    let before = published(&daemon.snapshot());
    let gate = arm.gate();
    let pages = || arm.asked("privateEndpoints").len();
    // A reload gives the pass up, and the one that follows it is made under the new settings.
    let held = gate.lock();
    arm.replace(FIRST, [accounts(1, 0..20), accounts(1, 20..40)], Vec::new());
    let asked = pages();
    daemon.configure(&config_of(&arm, "[private_link]\nttl_secs = 20\n"));
    wait(|| pages() >= asked + 2);
    let published_now = published(&daemon.snapshot());
    let ttl_changed = before.iter().map(|line| line.replace(" 10 ", " 20 ")).collect::<BTreeSet<_>>();
    let addresses = |lines: &BTreeSet<String>| lines.iter().filter(|it| it.contains("10.0.0.")).count();
    assert_eq!(addresses(&published_now), 40, "{ttl_changed:?}");
    daemon.configure(&config_of(&arm, "[private_link]\nttl_secs = 30\n"));
    wait(|| pages() >= asked + 4);
    assert_eq!(addresses(&published(&daemon.snapshot())), 40);
    drop(held);
    daemon.wait_for(|snapshot| published(snapshot).iter().filter(|it| it.contains("10.0.1.")).count() == 40);
    // A stop does too, at once, and the next start begins with what was served.
    let held = gate.lock();
    arm.replace(FIRST, [accounts(2, 0..20), accounts(2, 20..40)], Vec::new());
    let asked = pages();
    assert!(
        Command::new("kill").args(["-USR1", &std::process::id().to_string()]).status().unwrap().success()
    );
    wait(|| pages() >= asked + 2);
    let last = published(&daemon.snapshot());
    let began = std::time::Instant::now();
    let folder = daemon.leave();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let daemon = TestDaemon::start_in(folder);
    assert_eq!(published(&daemon.snapshot()), last);
    drop(held);
    daemon.wait_for(|snapshot| published(snapshot).iter().filter(|it| it.contains("10.0.2.")).count() == 40);
    daemon.stop();
}

/// Addresses by name, as a server that starts without Azure serves them.
fn restored(path: &Path) -> BTreeSet<String> {
    let config = Config::load(path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let parts = runtime.block_on(async { Parts::restore(&config, StateAccess::Look).unwrap() });
    assert_eq!(parts.sources.trouble(), None);
    published(&parts.store.snapshot())
}

#[test]
fn a_server_that_is_killed_while_it_writes_its_state_restarts_with_a_whole_one() {
    const KILLS: u64 = 20;
    const NAMES: usize = 100;
    let arm = FakeArm::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let listen = "[listen]\ndns = ['127.0.0.1:0']\nworkers = 1\n";
    // The store of the admin API keeps files of its own beside.
    let admin = "[admin]\nlisten = []\n";
    std::fs::write(&path, format!("state_dir = 'state'\n{}{listen}{admin}", config_of(&arm, ""))).unwrap();
    let last_pages = || arm.asked("privateEndpoints?api-version=2024-05-01&$skiptoken").len();
    let (mut seen, mut log) = (BTreeSet::new(), String::new());
    for round in 0..KILLS {
        let net = |at: u64| (round * 2 + at) as u8;
        let before = last_pages();
        arm.replace(FIRST, [accounts(net(0), 0..NAMES), Vec::new()], Vec::new());
        let mut serve = Command::new(env!("CARGO_BIN_EXE_privatelink-dns"));
        let serve = serve.args(["serve", "-c", path.to_str().unwrap()]).env("RUST_LOG", "trace");
        let mut serve = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = serve.stderr.take().unwrap();
        let reader = thread::spawn(move || {
            let mut text = Vec::new();
            errors.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut lines = BufReader::new(serve.stdout.take().unwrap()).lines().map(Result::unwrap);
        lines.by_ref().find(|line| line.starts_with("listening")).expect("it tells where it listens");
        // Each pass changes all, and is written; the kill comes somewhere in the second one.
        wait(|| last_pages() > before);
        arm.replace(FIRST, [accounts(net(1), 0..NAMES), Vec::new()], Vec::new());
        let nudged = Command::new("kill").args(["-USR1", &serve.id().to_string()]).status().unwrap();
        assert!(nudged.success());
        wait(|| last_pages() > before + 1);
        thread::sleep(Duration::from_millis(round * 3));
        serve.kill().unwrap();
        serve.wait().unwrap();
        log += &reader.join().unwrap();
        let state = restored(&path);
        let nets: BTreeSet<&str> =
            state.iter().map(|line| line.split("10.0.").nth(1).unwrap().split('.').next().unwrap()).collect();
        // All of one pass, or of none before the first was kept.
        assert!(nets.len() <= 1 && [0, NAMES].contains(&state.len()), "{nets:?}, {} names", state.len());
        seen.extend(nets.into_iter().map(str::to_owned));
    }
    assert!(seen.len() > 3, "passes were kept: {seen:?}");
    assert!(log.contains("Synced source") && !log.contains(TOKEN_MARK), "a token is in the log");
    let left = std::fs::read_dir(folder.path().join("state")).unwrap().count();
    assert!(left <= 3, "files of killed servers are left lying: {left}");
}

#[test]
fn a_pass_that_finds_all_as_it_was_notes_the_time_and_plans_nothing() {
    let world = World::new("");
    let known = || world.parts.sources.list()[0].known();
    world.pass();
    let (first, revision) = (known(), world.parts.store.load().revision());
    world.pass();
    let second = known();
    assert!(Arc::ptr_eq(&first.desired, &second.desired));
    assert!(second.read_at > first.read_at);
    assert_eq!(world.parts.store.load().revision(), revision);
    // What is listed otherwise is seen, and so is what is listed as before again.
    let before = world.published();
    world.arm.replace(FIRST, [accounts(0, 0..5), accounts(0, 5..10)], Vec::new());
    world.pass();
    assert_eq!(world.published().len(), before.len() + 7);
    world.pass();
    assert!(!Arc::ptr_eq(&known().desired, &second.desired));
}

#[test]
fn what_somebody_else_took_away_is_back_after_a_pass_though_azure_says_the_same() {
    let world = World::new("");
    world.pass();
    let before = world.published();
    for _ in 0..2 {
        let snapshot = world.parts.store.snapshot();
        let nodes = snapshot.zones().flat_map(|(apex, zone)| zone.nodes().map(move |it| (apex, it)));
        let change = nodes.flat_map(|(apex, (owner, node))| {
            let offers = node.slots().iter().flat_map(|slot| slot.offers());
            let own = offers.filter(|offer| matches!(offer.origin, Origin::Endpoint(_)));
            own.map(move |offer| Change::Remove {
                zone: apex.clone(),
                name: owner.to_name(),
                rtype: offer.set.rtype,
                origin: offer.origin.clone(),
            })
        });
        let changes = change.take(1).collect();
        world.parts.store.commit(ChangeSet { changes }).unwrap();
        assert_eq!(world.published().len(), before.len() - 1);
        world.pass();
        assert_eq!(world.published(), before);
    }
}

#[test]
fn a_subscription_that_cannot_be_listed_is_told_between_passes_that_are_alike() {
    let world = World::new("");
    world.pass();
    let before = world.published();
    world.pass();
    world.arm.fault((FIRST, "privateEndpoints", 2), Fault::page("<html>"), 1);
    world.pass();
    assert!(world.why().contains("cannot be listed"), "{}", world.why());
    world.pass();
    assert_eq!((world.why().as_str(), world.published()), ("current", before));
}
