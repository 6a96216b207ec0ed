//! The last good state: over restarts, held back, confirmed; by the daemon and by `sync --once` beside it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use privatelink_dns::config::Config;
use privatelink_dns::daemon::Parts;
use privatelink_dns::dns::{Rcode, RecordType};
use privatelink_dns::sources::{SourceState, StateAccess};
use privatelink_dns::sync::{Saved, StateFolder, subscriptions_of};
use privatelink_dns::zone::Snapshot;
use tempfile::TempDir;

use crate::support::client::{answers, ask};
use crate::support::served::{NOTHING, Place, config};
use crate::support::test_daemon::{TestDaemon, write};

const CONFIG: &str = "[forward]\nupstreams = []\n[private_link]\npublic_names = \"local\"\n\
    [[sync.source]]\nkind = \"directory\"\nname = \"azure\"\npath = \"inventory\"\n";
const A1: &str = "00000000-0000-4000-8000-0000000000a1";
const FOREIGN: &str = "00000000-0000-4000-8000-0000000000ff";

/// An endpoint of a storage account, as `az network private-endpoint list` prints it.
fn endpoint(subscription: &str, number: usize, account: &str, status: &str) -> String {
    let group = format!("/subscriptions/{subscription}/resourceGroups/rg/providers");
    format!(
        r#"{{"id": "{group}/Microsoft.Network/privateEndpoints/pe-{number}", "name": "pe-{number}",
            "type": "Microsoft.Network/privateEndpoints", "provisioningState": "Succeeded",
            "subnet": {{"id": "{group}/Microsoft.Network/virtualNetworks/hub/subnets/pe"}},
            "privateLinkServiceConnections": [{{
                "privateLinkServiceId": "{group}/Microsoft.Storage/storageAccounts/{account}",
                "groupIds": ["blob"], "privateLinkServiceConnectionState": {{"status": "{status}"}}}}],
            "customDnsConfigs": [{{"fqdn": "{account}.blob.core.windows.net", "ipAddresses": ["10.0.0.{number}"]}}],
            "networkInterfaces": []}}"#
    )
}

fn inventory(numbers: impl IntoIterator<Item = usize>) -> String {
    let endpoints: Vec<String> = numbers
        .into_iter()
        .map(|number| endpoint(A1, number, &format!("account{number}"), "Approved"))
        .collect();
    format!("[{}]", endpoints.join(","))
}

fn served(snapshot: &Snapshot) -> usize {
    let zone = "privatelink.blob.core.windows.net.".parse::<privatelink_dns::dns::Name>().unwrap();
    snapshot.zone(zone.borrow()).map_or(0, |zone| zone.content())
}

/// A folder with a config and an inventory, without a server.
fn folder(config: &str, inventory: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("state_dir = \"state\"\n{config}\n[listen]\ndns = [\"127.0.0.1:0\"]\nworkers = 2\n");
    write(folder.path(), "config.toml", &text);
    write(folder.path(), "inventory/pe.json", inventory);
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let config = folder.join("config.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_privatelink-dns"));
    command.args(arguments).arg("-c").arg(config).output().unwrap()
}

fn sync(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = run(folder, &[&["sync", "--once"], arguments].concat());
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), text)
}

fn loaded(folder: &Path) -> Parts {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let config = Config::load(&folder.join("config.toml")).unwrap();
    Parts::load(&config).unwrap_or_else(|error| panic!("{error}"))
}

fn lines(text: &str, sign: char) -> usize {
    text.lines().filter(|line| line.starts_with(&format!("{sign} "))).count()
}

#[test]
fn a_restart_with_an_unreadable_inventory_serves_the_last_good_state_and_tells_its_age() {
    let daemon = TestDaemon::start(CONFIG, &[("inventory/pe.json", &inventory(1..4))]);
    let folder = daemon.leave();
    write(folder.path(), "inventory/pe.json", "{\"value\": [");
    let daemon = TestDaemon::start_in(folder);
    let reply = ask(daemon.address, "account2.blob.core.windows.net.", "A");
    assert_eq!(answers(&reply)[1], "account2.privatelink.blob.core.windows.net. 10 A 10.0.0.2");
    let check = run(daemon.folder.path(), &["check"]);
    assert_eq!(check.status.code(), Some(0));
    let text = String::from_utf8(check.stdout).unwrap();
    assert!(text.contains("azure: stale, 3 names of 3 private endpoints from "), "{text}");
    assert!(text.contains(" ago: "), "{text}");
    let doctor = String::from_utf8(run(daemon.folder.path(), &["doctor"]).stdout).unwrap();
    assert!(
        doctor.contains("3 names of 3 private endpoints from ") && doctor.contains("ago stay published"),
        "{doctor}"
    );
    assert!(doctor.contains("the last good state is kept in "), "{doctor}");
    daemon.stop();
}

#[test]
fn what_was_withheld_is_told_after_a_restart_too() {
    let pending = format!("[{}]", endpoint(A1, 1, "account1", "Pending"));
    let folder = TestDaemon::start(CONFIG, &[("inventory/pe.json", &pending)]).leave();
    fs::remove_dir_all(folder.path().join("inventory")).unwrap();
    let daemon = TestDaemon::start_in(folder);
    let reply = ask(daemon.address, "account1.privatelink.blob.core.windows.net.", "A");
    assert!(reply.extended_error.unwrap().1.contains("private endpoint pe-1 is Pending"));
    daemon.stop();
}

#[test]
fn a_damaged_state_file_is_set_aside_and_the_server_starts() {
    let folder = TestDaemon::start(CONFIG, &[("inventory/pe.json", &inventory(1..4))]).leave();
    let path = folder.path().join("state/sync-state.jsonl");
    let damaged = fs::read(&path).unwrap().split_last().unwrap().1.to_vec();
    fs::write(&path, &damaged).unwrap();
    let doctor = String::from_utf8(run(folder.path(), &["doctor"]).stdout).unwrap();
    assert!(doctor.contains("FAIL  The last good state is not restored: "), "{doctor}");
    let daemon = TestDaemon::start_in(folder);
    assert_eq!(served(&daemon.snapshot()), 3);
    let folder = daemon.leave();
    let kept: Vec<_> = fs::read_dir(folder.path().join("state"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".corrupt-"))
        .collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(fs::read(&kept[0]).unwrap(), damaged);
    assert_eq!(
        StateFolder::new(&folder.path().join("state")).load().unwrap()[0].desired.publications.len(),
        3
    );
}

#[test]
fn a_state_folder_that_cannot_be_written_keeps_nothing_but_the_server_serves() {
    let folder = folder(CONFIG, &inventory(1..4));
    write(folder.path(), "state", "a file where the folder should be");
    let daemon = TestDaemon::start_in(folder);
    assert_eq!(served(&daemon.snapshot()), 3);
    daemon.write("inventory/pe.json", &inventory(1..6));
    daemon.wait_for(|snapshot| served(snapshot) == 5);
    daemon.stop();
}

#[test]
fn the_oldest_claim_still_wins_after_a_restart() {
    let first = format!("[{}]", endpoint(A1, 9, "shared", "Approved"));
    let folder = TestDaemon::start(CONFIG, &[("inventory/pe.json", &first)]).leave();
    let state = folder.path().join("state");
    let kept = StateFolder::new(&state);
    // It was there a day before the other one came, whose id sorts first.
    let mut last = kept.load().unwrap().remove(0);
    let claim = Arc::make_mut(&mut last.desired.publications[0].claim);
    claim.since_secs -= 86_400;
    let since_secs = claim.since_secs;
    let (source, read_at, desired) = ("azure", last.read_at, &last.desired);
    kept.save(&[Saved { source, read_at, desired }]).unwrap();
    let both =
        format!("[{},{}]", endpoint(A1, 1, "shared", "Approved"), endpoint(A1, 9, "shared", "Approved"));
    write(folder.path(), "inventory/pe.json", &both);
    for _ in 0..2 {
        let parts = loaded(folder.path());
        let [conflict] = &privatelink_dns::sync::conflicts(&parts.store.load())[..] else { panic!() };
        let (claim, addresses) = &conflict.claims[0];
        assert_eq!((addresses[0].to_string(), claim.since_secs), ("10.0.0.9".to_owned(), since_secs));
        // And again from what that pass has kept.
        assert_eq!(sync(folder.path(), &[]).0, 0);
    }
}

#[test]
fn what_withdraws_too_much_waits_while_the_rest_of_a_pass_is_done() {
    let daemon = TestDaemon::start(CONFIG, &[("inventory/pe.json", &inventory(1..41))]);
    // 13 of 40 would go, and one would come.
    let less = inventory((14..41).chain([99]));
    daemon.write("inventory/pe.json", &less);
    daemon.wait_for(|snapshot| served(snapshot) == 41);
    let (status, plan) = sync(daemon.folder.path(), &["--dry-run"]);
    let held = plan.lines().filter(|line| line.starts_with("- ") && line.ends_with("  held-back")).count();
    assert_eq!((status, lines(&plan, '-'), held), (1, 13, 13), "{plan}");
    assert!(plan.contains("held-back: 13 of 4"), "{plan}");
    assert!(plan.contains("(the private endpoint is not listed any more)"), "{plan}");
    let doctor = String::from_utf8(run(daemon.folder.path(), &["doctor"]).stdout).unwrap();
    assert!(doctor.contains("it would withdraw 13 of 4"), "{doctor}");
    assert!(doctor.contains("sync --once --confirm azure"), "{doctor}");
    assert_eq!(sync(daemon.folder.path(), &[]).0, 1);
    assert_eq!(served(&daemon.snapshot()), 41);
    let (status, done) = sync(daemon.folder.path(), &["--confirm", "azure"]);
    assert_eq!(status, 0, "{done}");
    assert!(!done.contains("held-back") && !done.contains("would be"), "{done}");
    daemon.wait_for(|snapshot| served(snapshot) == 28);
    let folder = daemon.leave();
    // What was confirmed is used up, and what it did is kept.
    assert!(StateFolder::new(&folder.path().join("state")).confirmation_files().is_empty());
    let (status, nothing) = sync(folder.path(), &["--dry-run"]);
    assert_eq!((status, lines(&nothing, '-')), (0, 0), "{nothing}");
}

#[test]
fn a_confirmation_is_for_the_plan_that_was_shown_and_for_no_later_one() {
    let folder = TestDaemon::start(CONFIG, &[("inventory/pe.json", &inventory(1..41))]).leave();
    write(folder.path(), "inventory/pe.json", &inventory(21..41));
    let kept = fs::read(folder.path().join("state/sync-state.jsonl")).unwrap();
    assert_eq!(sync(folder.path(), &["--confirm", "azure"]).0, 0);
    // As if a server had been running: it has not withdrawn anything yet.
    fs::write(folder.path().join("state/sync-state.jsonl"), kept).unwrap();
    write(folder.path(), "inventory/pe.json", &inventory(22..41));
    let daemon = TestDaemon::start_in(folder);
    assert_eq!(served(&daemon.snapshot()), 40);
    // Nor does it wait for the day when the plan is that one again.
    assert!(StateFolder::new(&daemon.folder.path().join("state")).confirmation_files().is_empty());
    let folder = daemon.leave();
    write(folder.path(), "inventory/pe.json", &inventory(21..41));
    let daemon = TestDaemon::start_in(folder);
    assert_eq!(served(&daemon.snapshot()), 40);
    daemon.stop();
}

#[test]
fn a_confirmation_of_the_version_before_confirms_nothing_and_goes() {
    let folder = TestDaemon::start(CONFIG, &[("inventory/pe.json", &inventory(1..41))]).leave();
    write(folder.path(), "inventory/pe.json", &inventory(21..41));
    let state = StateFolder::new(&folder.path().join("state"));
    let old = "{\"source\":\"azure\",\"plan\":\"000000000000000000000000000000ff\"}\n";
    fs::write(state.confirmation_file("azure"), old).unwrap();
    let daemon = TestDaemon::start_in(folder);
    daemon.wait_for(|snapshot| served(snapshot) == 40 && state.confirmation_files().is_empty());
    daemon.stop();
}

#[test]
fn a_held_back_pass_stays_held_back_over_a_restart() {
    let folder = TestDaemon::start(CONFIG, &[("inventory/pe.json", &inventory(1..41))]).leave();
    write(folder.path(), "inventory/pe.json", "[]");
    let daemon = TestDaemon::start_in(folder);
    assert_eq!(served(&daemon.snapshot()), 40);
    let parts = loaded(daemon.folder.path());
    let state = parts.sources.list()[0].known().state.clone();
    assert!(matches!(state, SourceState::HeldBack { would_withdraw: 40, of: 40, .. }), "{state:?}");
    // Once everything is listed again nothing is held back any more.
    daemon.write("inventory/pe.json", &inventory(1..42));
    daemon.wait_for(|snapshot| served(snapshot) == 41);
    daemon.stop();
}

#[test]
fn a_few_withdrawals_and_those_within_the_share_are_done_at_once() {
    for (before, after) in [(1..11, 11..11), (1..101, 31..101)] {
        let daemon = TestDaemon::start(CONFIG, &[("inventory/pe.json", &inventory(before))]);
        let left = after.len();
        daemon.write("inventory/pe.json", &inventory(after));
        daemon.wait_for(|snapshot| served(snapshot) == left);
        daemon.stop();
    }
}

#[test]
fn a_sync_prints_what_it_does_and_does_it_once() {
    let folder = folder(CONFIG, &inventory(1..3));
    let (status, plan) = sync(folder.path(), &["--dry-run"]);
    assert_eq!((status, lines(&plan, '+')), (0, 2), "{plan}");
    assert!(!folder.path().join("state").exists());
    let (_, done) = sync(folder.path(), &[]);
    assert_eq!(done, plan);
    assert_eq!(
        sync(folder.path(), &[]),
        (0, "# azure: no change\n# azure: 2 names of 2 private endpoints\n".to_owned())
    );
    // One moves, one is rejected, one comes.
    let moved = endpoint(A1, 1, "account1", "Approved").replace("10.0.0.1\"", "10.0.0.77\"");
    let rejected = endpoint(A1, 2, "account2", "Rejected");
    let new = endpoint(A1, 3, "account3", "Approved");
    write(folder.path(), "inventory/pe.json", &format!("[{moved},{rejected},{new}]"));
    let id = |number| {
        format!(
            "/subscriptions/{A1}/resourcegroups/rg/providers/microsoft.network/privateendpoints/pe-{number}"
        )
    };
    let zone = "privatelink.blob.core.windows.net.";
    let expected = format!(
        "~ {zone} account1 10 A 10.0.0.1 → 10.0.0.77  {}  (its address is another one)\n\
         - {zone} account2 10 A 10.0.0.2  {}  (the connection is Rejected)\n\
         + {zone} account3 10 A 10.0.0.3  {}  (a new private endpoint)\n\
         # azure: 1 record set added, 1 replaced, 1 withdrawn\n# azure: 2 names of 2 private endpoints\n",
        id(1),
        id(2),
        id(3)
    );
    assert_eq!(sync(folder.path(), &["--dry-run"]), (0, expected.clone()));
    assert_eq!(sync(folder.path(), &[]), (0, expected));
}

#[test]
fn a_sync_that_cannot_read_a_source_is_an_error_and_keeps_its_state() {
    let folder = folder(CONFIG, &inventory(1..3));
    assert_eq!(sync(folder.path(), &[]).0, 0);
    let state = StateFolder::new(&folder.path().join("state"));
    let before = state.load().unwrap();
    write(folder.path(), "inventory/pe.json", "[{");
    let (status, text) = sync(folder.path(), &[]);
    assert_eq!(status, 2, "{text}");
    assert!(text.contains("error: source `azure` stays as it was: "), "{text}");
    assert_eq!(state.load().unwrap(), before);
    assert_eq!(sync(folder.path(), &["--confirm", "no-such-source"]).0, 2);
    assert_eq!(run(folder.path(), &["sync"]).status.code(), Some(2));
}

#[test]
fn an_endpoint_of_a_subscription_that_is_not_allowed_takes_no_name_over() {
    let mine = endpoint(A1, 1, "shared", "Approved");
    let config = format!("{CONFIG}[sync]\nallow_subscriptions = [\"{}\"]\n", A1.to_uppercase());
    let folder = folder(&config, &format!("[{},{mine}]", endpoint(FOREIGN, 2, "shared", "Approved")));
    // Not even once the claim that was there is gone.
    for (inventory, expected) in
        [(None, vec!["10.0.0.1"]), (Some(endpoint(FOREIGN, 2, "shared", "Approved")), vec![])]
    {
        if let Some(inventory) = inventory {
            write(folder.path(), "inventory/pe.json", &format!("[{inventory}]"));
        }
        let parts = loaded(folder.path());
        let source = parts.sources.list()[0].known();
        let published: Vec<String> =
            source.desired.publications.iter().map(|it| it.ipv4[0].to_string()).collect();
        assert_eq!(published, expected);
        assert_eq!(served(&parts.store.load()), expected.len());
        assert_eq!(source.desired.foreign.len(), 1);
    }
    let doctor = String::from_utf8(run(folder.path(), &["doctor"]).stdout).unwrap();
    assert!(doctor.contains("sync.allow_subscriptions leaves out their subscriptions"), "{doctor}");
}

#[test]
fn a_subscription_that_is_no_longer_allowed_withdraws_at_once() {
    let daemon = TestDaemon::start(CONFIG, &[("inventory/pe.json", &inventory(1..41))]);
    // What an operator configures is no bad listing: nothing is held back.
    let config = format!("{CONFIG}[sync]\nallow_subscriptions = [\"{FOREIGN}\"]\n");
    daemon.configure(&config);
    daemon.wait_for(|snapshot| served(snapshot) == 0);
    let reply = ask(daemon.address, "account2.privatelink.blob.core.windows.net.", "A");
    assert_ne!(reply.rcode, Rcode::NOERROR);
    daemon.stop();
}

#[test]
fn a_source_that_is_read_elsewhere_keeps_what_it_published_until_it_is_read() {
    let daemon = TestDaemon::start(CONFIG, &[("inventory/pe.json", &inventory(1..4))]);
    let elsewhere = "[[network]]\nname = \"n\"\nclients = [\"10.0.0.0/8\"]\n";
    daemon.configure(&format!("{}{elsewhere}", CONFIG.replace("\"inventory\"", "\"elsewhere\"")));
    daemon.wait_for(|snapshot| snapshot.networks().view_named("n").is_some());
    assert_eq!(served(&daemon.snapshot()), 3);
    daemon.write("elsewhere/pe.json", &inventory(1..6));
    daemon.write("config.toml", &fs::read_to_string(daemon.folder.path().join("config.toml")).unwrap());
    daemon.wait_for(|snapshot| served(snapshot) == 5);
    daemon.stop();
}

/// An Azure that is not there.
const NOWHERE: &str = "[forward]\nupstreams = []\n[[sync.source]]\nkind = \"arm\"\nname = \"live\"\n\
    endpoint = \"http://127.0.0.1:9\"\nauthority = \"http://127.0.0.1:9\"\n\
    identity_endpoint = \"http://127.0.0.1:9\"\n";

/// A folder whose state of source `live` was listed and written a day ago; answers also when that was listed.
fn yesterday(config: &str) -> (TempDir, SystemTime) {
    let folder = TestDaemon::start(CONFIG, &[("inventory/pe.json", &inventory(1..4))]).leave();
    let state = StateFolder::new(&folder.path().join("state"));
    let mut last = state.load().unwrap().remove(0);
    for publication in &mut last.desired.publications {
        Arc::make_mut(&mut publication.claim).source = "live".into();
    }
    let read_at = last.read_at - Duration::from_secs(86_400);
    state.save(&[Saved { source: "live", read_at, desired: &last.desired }]).unwrap();
    let file = fs::File::options().write(true).open(folder.path().join("state/sync-state.jsonl")).unwrap();
    file.set_modified(read_at).unwrap();
    let text =
        format!("state_dir = \"state\"\n{config}[admin]\nlisten = []\n[listen]\ndns = [\"127.0.0.1:0\"]\n");
    write(folder.path(), "config.toml", &text);
    (folder, read_at)
}

/// What tells whether a file was written again.
fn stamp(folder: &Path) -> (u64, SystemTime) {
    let file = fs::metadata(folder.join("state/sync-state.jsonl")).unwrap();
    (file.ino(), file.modified().unwrap())
}

#[test]
fn a_start_that_restores_all_writes_nothing_and_tells_the_true_age() {
    let (folder, read_at) = yesterday(NOWHERE);
    let before = stamp(folder.path());
    let daemon = TestDaemon::start_in(folder);
    assert_eq!(served(&daemon.snapshot()), 3);
    assert_eq!(stamp(daemon.folder.path()), before);
    let check = String::from_utf8(run(daemon.folder.path(), &["check"]).stdout).unwrap();
    assert!(
        check.contains("live: 3 names of 3 private endpoints from 24 hours ago; not listed yet"),
        "{check}"
    );
    let folder = daemon.leave();
    assert_eq!(stamp(folder.path()), before);
    assert_eq!(StateFolder::new(&folder.path().join("state")).load().unwrap()[0].read_at, read_at);
}

#[test]
fn a_start_that_restores_less_keeps_just_that() {
    let config = format!("[sync]\nallow_subscriptions = [\"{FOREIGN}\"]\n{NOWHERE}");
    let (folder, read_at) = yesterday(&config);
    let daemon = TestDaemon::start_in(folder);
    assert_eq!(served(&daemon.snapshot()), 0);
    let state = StateFolder::new(&daemon.folder.path().join("state"));
    let last = state.load().unwrap().remove(0);
    assert_eq!((last.desired.publications.len(), last.read_at), (0, read_at));
    daemon.stop();
    // So does one without the source whose state it is.
    let (folder, _) = yesterday(&NOWHERE.replace("\"live\"", "\"other\""));
    let folder = TestDaemon::start_in(folder).leave();
    let kept = StateFolder::new(&folder.path().join("state")).load().unwrap();
    assert!(kept.is_empty(), "{kept:?}");
}

#[test]
fn a_folder_that_was_read_again_is_kept_with_its_new_age_once_that_is_due() {
    let folder = TestDaemon::start(CONFIG, &[("inventory/pe.json", &inventory(1..4))]).leave();
    let (state, path) = (folder.path().join("state"), folder.path().join("state/sync-state.jsonl"));
    let read_at = |state: &Path| StateFolder::new(state).load().unwrap()[0].read_at;
    // What was written just now need not be written again.
    let before = stamp(folder.path());
    let folder = TestDaemon::start_in(folder).leave();
    assert_eq!(stamp(folder.path()), before);
    let last = StateFolder::new(&state).load().unwrap().remove(0);
    let (mut folder, day) = (folder, Duration::from_secs(86_400));
    // A day ago, and by a clock that was a day ahead and was set back.
    for other in [last.read_at - day, last.read_at + day] {
        let saved = Saved { source: "azure", read_at: other, desired: &last.desired };
        StateFolder::new(&state).save(&[saved]).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(other).unwrap();
        assert_eq!(read_at(&state), other);
        folder = TestDaemon::start_in(folder).leave();
        assert!((last.read_at..=SystemTime::now()).contains(&read_at(&state)));
    }
}

#[test]
fn a_source_that_is_no_longer_configured_is_withdrawn_and_no_longer_kept() {
    let daemon = TestDaemon::start(CONFIG, &[("inventory/pe.json", &inventory(1..4))]);
    daemon.configure(&CONFIG.replace("name = \"azure\"", "name = \"renamed\""));
    // The new one claims the same names.
    daemon.wait_for(|snapshot| {
        let claims = |source: &str| !subscriptions_of(snapshot, source).is_empty();
        claims("renamed") && !claims("azure")
    });
    let folder = daemon.leave();
    let kept = StateFolder::new(&folder.path().join("state")).load().unwrap();
    let sources: Vec<&str> = kept.iter().map(|last| &*last.source).collect();
    assert_eq!(sources, ["renamed"]);
}

/// All that is served and why, but for when claims were first seen.
fn content(snapshot: &Snapshot) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (_, zone) in snapshot.zones() {
        lines.insert(format!("{:?} {}", zone.header(), zone.content()));
        for (owner, node) in zone.nodes() {
            for offer in node.slots().iter().flat_map(|slot| slot.offers()) {
                // How often a zone changed is told by its serial.
                if offer.set.rtype != RecordType::SOA {
                    lines.insert(format!("{owner} {:?} {}", offer.set, offer.origin));
                }
            }
        }
    }
    for (source, withheld) in snapshot.withheld_by_source() {
        lines.extend(withheld.iter().map(|it| format!("withheld by {source}: {it:?}")));
    }
    lines
}

#[test]
fn what_is_restored_is_what_a_pass_publishes_whatever_config_says_by_then() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let source =
        |name: &str| format!("[[sync.source]]\nkind = \"directory\"\nname = \"{name}\"\npath = \"{name}\"\n");
    let both = source("one") + &source("two");
    let zone = "[[zone]]\nname = \"privatelink.blob.core.windows.net\"\non_missing = \"nxdomain\"\n";
    let operators = "[[zone]]\nname = \"privatelink.file.core.windows.net\"\nfile = \"file.zone\"\n";
    let configs = [
        both.clone(),
        source("two"),
        format!("{both}[sync]\nallow_subscriptions = [\"{A1}\"]\n"),
        format!("{both}{zone}"),
        format!("{both}{operators}"),
        format!("[private_link]\nzones = [\"privatelink.file.core.windows.net\"]\nttl_secs = 20\n{both}"),
    ];
    for seed in 0..8_usize {
        let folder = tempfile::tempdir().unwrap();
        // Some accounts are claimed by endpoints of both sources.
        for (name, step) in [("one", 3), ("two", 5)] {
            let endpoints: Vec<String> = (0..30)
                .map(|number| {
                    let dice = (number * step + seed) * 7919 % 1009;
                    let subscription = if dice % 3 == 0 { FOREIGN } else { A1 };
                    let status = ["Approved", "Approved", "Pending"][dice % 7 % 3];
                    let text =
                        endpoint(subscription, number + step, &format!("account{}", dice % 25), status);
                    if dice % 4 == 0 { text.replace("blob", "file") } else { text }
                })
                .collect();
            write(folder.path(), &format!("{name}/pe.json"), &format!("[{}]", endpoints.join(",")));
        }
        write(folder.path(), "file.zone", "@ 60 SOA ns host 1 60 60 60 60\naccount1 60 A 192.0.2.1\n");
        let config_of = |text: &str, state: &str| {
            let text = format!("state_dir = \"{state}\"\n{text}[forward]\nupstreams = []\n");
            Config::parse(&text, &folder.path().join("config.toml")).unwrap()
        };
        let mut first = Parts::load(&config_of(&both, "kept")).unwrap();
        StateFolder::new(&folder.path().join("kept")).create().unwrap();
        first.sources.save().unwrap();
        for text in &configs {
            let published = Parts::load(&config_of(text, "none")).unwrap();
            let restored = Parts::restore(&config_of(text, "kept"), StateAccess::Look).unwrap();
            let (published, restored) =
                (content(&published.store.snapshot()), content(&restored.store.snapshot()));
            let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| -> Vec<String> {
                let only = one.difference(other);
                // What is withheld of a subscription that may not publish stays told of until a pass.
                only.filter(|it| !it.starts_with("withheld") || !it.contains(FOREIGN)).cloned().collect()
            };
            assert_eq!(only(&restored, &published), [""; 0], "{seed}: {text}");
            assert_eq!(only(&published, &restored), [""; 0], "{seed}: {text}");
            assert!(published.len() > 10, "{published:?}");
        }
    }
}

#[test]
fn another_state_dir_is_for_the_next_start_and_said_once() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    served.well("POST /zones", serde_json::json!({"name": "corp.internal"}));
    let other = place.folder.path().join("other");
    for (turn, state) in ["other", "other", "state", "state", "other"].into_iter().enumerate() {
        let name = format!("turn{turn}.internal");
        let zone = format!("@ 60 SOA ns host 1 1 1 1 1\n@ 60 A 10.0.0.{}\n", turn + 1);
        write(place.folder.path(), &format!("{name}.zone"), &zone);
        let zone = format!("{NOTHING}[[zone]]\nname = \"{name}\"\nfile = \"{name}.zone\"\n");
        let text = config(&zone).replace("state_dir = \"state\"", &format!("state_dir = \"{state}\""));
        write(place.folder.path(), "config.toml", &text);
        served.signal("HUP");
        served.wait_for(&format!("{name}."), "A", &[&format!("{name}. 60 A 10.0.0.{}", turn + 1)]);
    }
    assert!(!other.exists(), "nothing of it goes to the other folder");
    let log = served.terminate();
    let told = log.lines().filter(|line| line.contains("WARN")).collect::<Vec<_>>();
    assert_eq!(told.len(), 2, "once each time that it is asked for: {told:?}");
    assert!(told.iter().all(|line| line.contains("state_dir changes with a restart only")), "{told:?}");
}
