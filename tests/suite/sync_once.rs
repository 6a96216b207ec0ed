//! An operator's hand on live Azure: shown, confirmed and looked into by the real program.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use privatelink_dns::sync::StateFolder;
use privatelink_dns::zone::Snapshot;
use tempfile::TempDir;

use crate::support::fake_arm::{
    FIRST, FakeArm, Pages, SECOND, TOKEN_MARK, endpoint, list_of, storage_accounts,
};
use crate::support::test_daemon::{TestDaemon, write};

/// A config with one source of live Azure.
fn config(arm: &FakeArm) -> String {
    let url = arm.url();
    format!(
        "[forward]\nupstreams = []\n[private_link]\npublic_names = 'local'\n[sync]\ninterval_secs = 3600\n\
         [[sync.source]]\nkind = 'arm'\nname = 'live'\nendpoint = '{url}'\nauthority = '{url}'\n\
         identity_endpoint = '{url}'\n"
    )
}

/// A folder with a config, without a server.
fn folder(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("state_dir = 'state'\n{config}\n[listen]\ndns = ['127.0.0.1:0']\nworkers = 2\n");
    write(folder.path(), "config.toml", &text);
    folder
}

/// Exit status, stdout and stderr of the program.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_privatelink-dns"));
    command.args(arguments).arg("-c").arg(folder.join("config.toml"));
    let Output { status, stdout, stderr } = command.env_remove("RUST_LOG").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, error) = (text(stdout), text(stderr));
    assert!(!format!("{out}{error}").contains(TOKEN_MARK), "{out}{error}");
    (status.code().unwrap(), out, error)
}

fn sync(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    run(folder, &[&["sync", "--once"], arguments].concat())
}

fn doctor(folder: &Path) -> String {
    let (_, out, error) = run(folder, &["doctor"]);
    assert_eq!(error, "");
    out
}

fn lines(text: &str, sign: char) -> usize {
    text.lines().filter(|line| line.starts_with(&format!("{sign} "))).count()
}

/// A listing of one page with an endpoint for each storage account.
fn accounts(subscription: &str, numbers: impl IntoIterator<Item = usize>) -> Pages {
    [list_of(storage_accounts(subscription, numbers)), list_of(Vec::new())]
}

fn list(arm: &FakeArm, subscription: &str, numbers: impl IntoIterator<Item = usize>) {
    arm.list(subscription, "networkInterfaces", accounts(subscription, []));
    arm.list(subscription, "privateEndpoints", accounts(subscription, numbers));
}

/// An Azure with so many accounts in the first subscription.
fn arm_with(numbers: impl IntoIterator<Item = usize>) -> FakeArm {
    let arm = FakeArm::start();
    list(&arm, FIRST, numbers);
    arm
}

fn served(snapshot: &Snapshot) -> usize {
    let zone = "privatelink.blob.core.windows.net.".parse::<privatelink_dns::dns::Name>().unwrap();
    snapshot.zone(zone.borrow()).map_or(0, |zone| zone.content())
}

/// Names in the last good state.
fn kept(folder: &Path) -> usize {
    let last = StateFolder::new(&folder.join("state")).load().unwrap();
    last.iter().map(|last| last.desired.publications.len()).sum()
}

/// The same config for an Azure that is not there.
fn lose(folder: &Path, arm: &FakeArm) {
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let path = folder.join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(&arm.address.to_string(), &nowhere.to_string())).unwrap();
}

#[test]
fn a_dry_run_shows_what_a_sync_does_and_changes_nothing() {
    let arm = arm_with(1..3);
    let folder = folder(&config(&arm));
    let (status, plan, error) = sync(folder.path(), &["--dry-run"]);
    // No terminal, no progress.
    assert_eq!((status, lines(&plan, '+'), error.as_str()), (0, 2, ""), "{plan}");
    assert!(!folder.path().join("state").exists());
    assert_eq!(sync(folder.path(), &[]), (0, plan, String::new()));
    assert_eq!(kept(folder.path()), 2);
    let nothing =
        (0, "# live: no change\n# live: 2 names of 2 private endpoints\n".to_owned(), String::new());
    assert_eq!(sync(folder.path(), &[]), nothing);
    // One goes and one comes.
    list(&arm, FIRST, 2..4);
    let id = |number| {
        format!(
            "/subscriptions/{FIRST}/resourcegroups/rg/providers/microsoft.network/privateendpoints/pe-{number}"
        )
    };
    let zone = "privatelink.blob.core.windows.net.";
    let expected = format!(
        "- {zone} account1 10 A 10.0.0.1  {}  (the private endpoint is not listed any more)\n\
         + {zone} account3 10 A 10.0.0.3  {}  (a new private endpoint)\n\
         # live: 1 record set added, 0 replaced, 1 withdrawn\n# live: 2 names of 2 private endpoints\n",
        id(1),
        id(3)
    );
    assert_eq!(sync(folder.path(), &["--dry-run"]).1, expected);
    assert_eq!(sync(folder.path(), &[]), (0, expected, String::new()));
    assert_eq!(sync(folder.path(), &[]), nothing);
}

#[test]
fn a_terminal_is_told_how_far_a_listing_is_and_left_clean() {
    let arm = arm_with(1..3);
    let folder = folder(&config(&arm));
    let (mut ours, mut theirs) = (0, 0);
    let none = std::ptr::null_mut();
    // SAFETY: the two places outlive the call, and nothing else is asked for.
    assert_eq!(unsafe { libc::openpty(&mut ours, &mut theirs, none, none.cast(), none.cast()) }, 0);
    // SAFETY: both were opened above, and nobody else has them.
    let (mut ours, theirs) = unsafe { (fs::File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    let mut command = Command::new(env!("CARGO_BIN_EXE_privatelink-dns"));
    command.args(["sync", "--once", "--dry-run", "-c"]).arg(folder.path().join("config.toml"));
    let out = command.stderr(theirs).output().unwrap().stdout;
    // Our copy of the terminal's other end goes with the command: then reading ends.
    drop(command);
    let mut shown = Vec::new();
    let ended = ours.read_to_end(&mut shown);
    assert!(ended.is_ok() || ended.is_err_and(|error| error.raw_os_error() == Some(libc::EIO)));
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.starts_with("\r\x1b[Klive: asking which subscriptions there are"), "{shown:?}");
    assert!(shown.ends_with("\r\x1b[K") && !shown.contains('\n'), "{shown:?}");
    assert_eq!(lines(&String::from_utf8(out).unwrap(), '+'), 2);
}

#[test]
fn what_is_held_back_is_shown_and_confirmed_in_one_call() {
    let arm = arm_with(1..41);
    let folder = folder(&config(&arm));
    assert_eq!(sync(folder.path(), &[]).0, 0);
    list(&arm, FIRST, 14..42);
    let (status, out, error) = sync(folder.path(), &[]);
    assert_eq!((status, error.as_str()), (1, ""), "{out}");
    assert!(out.contains("# live: held-back: 13 of 40 record sets would be withdrawn, 1 added"), "{out}");
    assert!(
        out.contains(&format!("# live: 13 of 40 of subscription {FIRST} would be withdrawn, and wait")),
        "{out}"
    );
    assert!(out.contains("`privatelink-dns sync --once --confirm live -c /"), "{out}");
    assert_eq!((lines(&out, '+'), kept(folder.path())), (1, 41));
    let found = doctor(folder.path());
    assert!(
        found.contains("FAIL  source live is held back: it would withdraw 13 of 41 record sets: 13 of 41 of subscription "),
        "{found}"
    );
    assert!(found.contains("`privatelink-dns sync --once --confirm live -c /"), "{found}");
    assert_eq!(sync(folder.path(), &["--confirm", "another"]).0, 2);
    let (status, out, _) = sync(folder.path(), &["--confirm", "live"]);
    assert_eq!((status, lines(&out, '-')), (0, 13), "{out}");
    assert!(out.contains("# live: 0 record sets added, 0 replaced, 13 withdrawn"), "{out}");
    assert!(!out.contains("held-back") && !out.contains("would be"), "{out}");
    assert_eq!(kept(folder.path()), 28);
    assert_eq!(sync(folder.path(), &[]).1, "# live: no change\n# live: 28 names of 28 private endpoints\n");
}

#[test]
fn one_subscription_that_lists_too_little_holds_up_no_other() {
    let arm = arm_with(1..41);
    arm.add(SECOND, |text| text);
    list(&arm, SECOND, 101..121);
    let folder = folder(&config(&arm));
    assert_eq!(sync(folder.path(), &[]).0, 0);
    // Of the first half is gone and one comes; of the second one goes, one comes, one moves.
    list(&arm, FIRST, 21..42);
    let second = accounts(SECOND, 102..122).map(|page| page.replace("\"10.0.0.110\"", "\"10.0.0.222\""));
    arm.list(SECOND, "privateEndpoints", second);
    for arguments in [&["--dry-run"][..], &[]] {
        let (status, out, error) = sync(folder.path(), arguments);
        let held = out.lines().filter(|line| line.ends_with("  held-back")).count();
        assert_eq!((status, held, error.as_str()), (1, 20, ""), "{out}");
        assert_eq!((lines(&out, '+'), lines(&out, '~'), lines(&out, '-')), (2, 1, 21), "{out}");
        assert!(
            out.contains(&format!("# live: 20 of 40 of subscription {FIRST} would be withdrawn")),
            "{out}"
        );
        assert!(!out.contains(&format!("of subscription {SECOND}")), "{out}");
    }
    assert_eq!(kept(folder.path()), 61);
    // Without Azure all of that is still there, and known to wait.
    lose(folder.path(), &arm);
    let (_, check, _) = run(folder.path(), &["check"]);
    assert!(check.contains(&format!("20 of 40 of subscription {FIRST} would go")), "{check}");
    let (_, hosts, _) = run(folder.path(), &["hosts"]);
    assert!(
        hosts.contains("10.0.0.1 account1.blob") && hosts.contains("10.0.0.222 account110.blob"),
        "{hosts}"
    );
    let (_, found, _) = run(folder.path(), &["doctor", "--offline"]);
    assert!(found.contains("FAIL  source live is held back"), "{found}");
}

#[test]
fn who_claims_what_is_not_its_resources_name_loses_it_whatever_came_first() {
    let arm = arm_with([]);
    arm.add(SECOND, |text| text);
    list(&arm, SECOND, []);
    let evil = endpoint(SECOND, "evil", "hub", &[("account1.blob.core.windows.net", "10.6.6.6")]);
    arm.list(SECOND, "privateEndpoints", [list_of(vec![evil]), list_of(Vec::new())]);
    let own =
        format!("/subscriptions/{SECOND}/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/hub");
    let network =
        format!("[[network]]\nname = 'hub'\nclients = ['127.0.0.0/8']\nvirtual_networks = ['{own}']\n");
    let folder = folder(&(config(&arm) + &network));
    let explained = || run(folder.path(), &["explain", "account1.privatelink.blob.core.windows.net"]).1;
    // It came first, and lies in the client's own network.
    assert_eq!(sync(folder.path(), &[]).0, 0);
    assert!(explained().contains("A 10.6.6.6 from private endpoint"), "{}", explained());
    list(&arm, FIRST, 1..3);
    let is_right = || {
        let told = explained();
        assert!(told.contains(": A 10.0.0.1 from private endpoint"), "{told}");
        let loser = "not served: A 10.6.6.6 from private endpoint";
        let line = told.lines().find(|line| line.contains(loser)).unwrap_or_else(|| panic!("{told}"));
        assert!(line.contains("/privateendpoints/evil"), "{line}");
        assert!(line.ends_with("as the name does not fit the resource behind it as well"), "{line}");
    };
    assert_eq!(sync(folder.path(), &[]).0, 0);
    is_right();
    // The same without a memory of what came first, and while its owner's subscription cannot be listed.
    fs::remove_dir_all(folder.path().join("state")).unwrap();
    assert_eq!(sync(folder.path(), &[]).0, 0);
    is_right();
    arm.refuse(FIRST, "Microsoft.Network/privateEndpoints/read");
    assert_eq!(sync(folder.path(), &[]).0, 2);
    is_right();
}

#[test]
fn addresses_that_config_leaves_out_and_public_ones_are_told() {
    let arm = arm_with(1..2);
    let strange = |name: &str, ip: &str| {
        endpoint(FIRST, name, "hub", &[(&format!("{name}.blob.core.windows.net"), ip)])
    };
    let all =
        vec![strange("public", "8.8.8.8"), strange("platform", "168.63.129.16"), strange("own", "10.0.0.9")];
    arm.list(FIRST, "privateEndpoints", [list_of(all), list_of(Vec::new())]);
    let folder = folder(&config(&arm));
    assert_eq!(sync(folder.path(), &[]).0, 0);
    let hosts = || run(folder.path(), &["hosts"]).1;
    let (found, check) = (doctor(folder.path()), run(folder.path(), &["check"]).1);
    assert!(hosts().contains("8.8.8.8 public.blob") && !hosts().contains("168.63"), "{}", hosts());
    assert!(
        found.contains(
            "note  public.privatelink.blob.core.windows.net. at 8.8.8.8 is published, and is no private"
        ),
        "{found}"
    );
    assert!(
        check.contains("public.privatelink.blob.core.windows.net. at 8.8.8.8 is no private address"),
        "{check}"
    );
    let path = folder.path().join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("[private_link]\n", "[private_link]\naddresses = ['10.0.0.0/8']\n"))
        .unwrap();
    let (found, check) = (doctor(folder.path()), run(folder.path(), &["check"]).1);
    assert_eq!(hosts().lines().skip(1).collect::<Vec<_>>(), ["10.0.0.9 own.blob.core.windows.net"]);
    assert!(found.contains("at 8.8.8.8 is not published: private_link.addresses leaves it out"), "{found}");
    assert!(check.contains("at 8.8.8.8 is left out by private_link.addresses"), "{check}");
}

#[test]
fn a_running_server_follows_a_confirmation_for_azure_within_its_pass() {
    let arm = arm_with(1..41);
    let daemon = TestDaemon::start(&config(&arm), &[("inventory/pe.json", "[]")]);
    daemon.wait_for(|snapshot| served(snapshot) == 40);
    list(&arm, FIRST, 14..42);
    // The interval is an hour: what happens now is due to the confirmation.
    let (status, out, _) = sync(daemon.folder.path(), &[]);
    assert_eq!((status, served(&daemon.snapshot())), (1, 40), "{out}");
    let (status, out, _) = sync(daemon.folder.path(), &["--confirm", "live"]);
    assert_eq!(status, 0, "{out}");
    daemon.wait_for(|snapshot| served(snapshot) == 28);
    let folder = daemon.leave();
    assert!(StateFolder::new(&folder.path().join("state")).confirmation_files().is_empty());
    assert_eq!(kept(folder.path()), 28);
}

#[test]
fn a_subscription_that_fails_is_told_and_the_others_are_done() {
    let arm = arm_with(1..3);
    arm.add(SECOND, |text| text);
    list(&arm, SECOND, 11..13);
    let folder = folder(&config(&arm));
    assert_eq!(sync(folder.path(), &[]).0, 0);
    list(&arm, FIRST, 1..2);
    list(&arm, SECOND, 11..14);
    arm.refuse(FIRST, "Microsoft.Network/networkInterfaces/read");
    let (status, out, error) = sync(folder.path(), &[]);
    assert_eq!((status, lines(&out, '+'), lines(&out, '-')), (2, 1, 0), "{out}");
    assert!(
        out.contains(&format!(
            "# live: subscription {FIRST} stays as it was: Azure says 403 AuthorizationFailed"
        )),
        "{out}"
    );
    assert_eq!(error, "error: 1 subscription of source `live` cannot be listed\n");
    assert_eq!(kept(folder.path()), 5);
}

#[test]
fn an_azure_that_cannot_be_reached_is_an_error_and_other_sources_are_done() {
    let arm = arm_with(1..3);
    let directory = "[[sync.source]]\nkind = 'directory'\npath = 'inventory'\n";
    let folder = folder(&(config(&arm) + directory));
    write(folder.path(), "inventory/pe.json", "[]");
    assert_eq!(sync(folder.path(), &[]).0, 0);
    lose(folder.path(), &arm);
    let (status, out, error) = sync(folder.path(), &[]);
    assert_eq!(
        (status, out.as_str()),
        (2, "# inventory: no change\n# inventory: 0 names of 0 private endpoints\n")
    );
    assert!(error.starts_with("error: source `live` stays as it was: "), "{error}");
    assert_eq!(kept(folder.path()), 2);
}

#[test]
fn check_hosts_and_explain_know_the_names_of_the_last_good_state() {
    let arm = arm_with(1..3);
    let folder = folder(&config(&arm));
    let (_, check, _) = run(folder.path(), &["check"]);
    assert!(
        check.ends_with(
            "until live Azure is listed: live: Azure was not listed yet, and nothing is kept from before.\n"
        ),
        "{check}"
    );
    assert_eq!(sync(folder.path(), &[]).0, 0);
    let (_, check, _) = run(folder.path(), &["check"]);
    assert!(check.contains("azure        live: 2 names of 2 private endpoints from "), "{check}");
    let last = check.lines().last().unwrap();
    assert!(
        last.starts_with("The config can be served; until live Azure is listed: live: 2 names of 2 private endpoints as Azure"),
        "{last}"
    );
    let (status, hosts, _) = run(folder.path(), &["hosts"]);
    let mut hosts = hosts.lines();
    assert!(hosts.next().unwrap().starts_with("# live: 2 names of 2 private endpoints as Azure was listed "));
    assert_eq!(status, 0);
    assert_eq!(
        hosts.collect::<Vec<_>>(),
        ["10.0.0.1 account1.blob.core.windows.net", "10.0.0.2 account2.blob.core.windows.net"]
    );
    let (status, out, _) = run(folder.path(), &["explain", "account2.blob.core.windows.net"]);
    assert_eq!(status, 0, "{out}");
    assert!(
        out.contains("(live: 2 names of 2 private endpoints as Azure was listed ")
            && out.contains("10.0.0.2"),
        "{out}"
    );
}

#[test]
fn doctor_names_the_identity_and_every_missing_action_at_once() {
    let arm = arm_with(1..3);
    arm.add(SECOND, |text| text);
    list(&arm, SECOND, 11..13);
    let folder = folder(&config(&arm));
    assert_eq!(sync(folder.path(), &[]).0, 0);
    let found = doctor(folder.path());
    let identity = format!(
        "ok    source live is the machine's managed identity, with a token of {} that ends in 23 hours\n",
        arm.address
    );
    assert!(found.contains(&identity), "{found}");
    assert!(
        found.contains("ok    source live was listed whole: 4 names of 4 private endpoints\n"),
        "{found}"
    );
    assert!(found.contains("ok    4 published names answered with their private addresses"), "{found}");
    for kind in ["privateEndpoints", "networkInterfaces"] {
        arm.refuse(SECOND, &format!("Microsoft.Network/{kind}/read"));
    }
    let found = doctor(folder.path());
    let lacks = format!(
        "FAIL  the identity of source live lacks Microsoft.Network/privateEndpoints/read and \
         Microsoft.Network/networkInterfaces/read on subscription {SECOND}; 2 names of it from "
    );
    assert!(found.contains(&lacks), "{found}");
    assert!(found.contains(&format!("--scope /subscriptions/{SECOND}`")), "{found}");
    assert!(found.contains("ok    4 published names answered"), "{found}");
}

#[test]
fn doctor_notes_a_right_that_is_missing_and_not_needed() {
    let arm = arm_with(1..3);
    let folder = folder(&format!("{}subscriptions = ['{FIRST}']\n", config(&arm)));
    arm.refuse(FIRST, "Microsoft.Resources/subscriptions/read");
    let found = doctor(folder.path());
    let lacks = format!(
        "note  the identity of source live lacks Microsoft.Resources/subscriptions/read on subscription {FIRST}\n"
    );
    assert!(found.contains(&lacks) && found.contains("was listed whole: 2 names"), "{found}");
}

#[test]
fn doctor_measures_the_clock_against_azures() {
    let arm = arm_with(1..3);
    let folder = folder(&config(&arm));
    let now = SystemTime::now;
    arm.date(now());
    assert!(doctor(folder.path()).contains("ok    this machine's clock is that of Azure (source live)\n"));
    arm.date(now() + Duration::from_secs(120));
    let found = doctor(folder.path());
    assert!(
        found.contains("note  this machine's clock is 1") && found.contains(" s behind Azure's"),
        "{found}"
    );
    arm.date(now() - Duration::from_secs(400));
    let found = doctor(folder.path());
    assert!(found.contains("FAIL  this machine's clock is 40"), "{found}");
    assert!(
        found.contains(" s ahead of Azure's (source live): tokens and certificates do not hold"),
        "{found}"
    );
}

#[test]
fn doctor_looks_at_the_last_good_names_while_azure_cannot_be_reached() {
    let arm = arm_with(1..3);
    let folder = folder(&config(&arm));
    assert_eq!(sync(folder.path(), &[]).0, 0);
    lose(folder.path(), &arm);
    let found = doctor(folder.path());
    assert!(found.contains("FAIL  the identity of source live does not work: 127.0.0.1:"), "{found}");
    assert!(
        found.contains("; 2 names of 2 private endpoints from ") && found.contains(" ago stay published\n"),
        "{found}"
    );
    assert!(found.contains("ok    2 published names"), "{found}");
    let (status, found, _) = run(folder.path(), &["doctor", "--offline"]);
    assert_eq!(status, 0, "{found}");
    assert!(
        found.contains("ok    source live is not asked: 2 names of 2 private endpoints from "),
        "{found}"
    );
}

#[test]
fn doctor_says_of_contested_names_which_claim_may_be_gone() {
    let arm = arm_with(1..3);
    arm.add(SECOND, |text| text);
    list(&arm, SECOND, 1..2);
    let moved = accounts(SECOND, 1..2).map(|page| page.replace("\"10.0.0.1\"", "\"10.0.0.99\""));
    arm.list(SECOND, "privateEndpoints", moved);
    let folder = folder(&config(&arm));
    assert_eq!(sync(folder.path(), &[]).0, 0);
    let found = doctor(folder.path());
    assert!(found.contains("note  more than one private endpoint claims account1.privatelink."), "{found}");
    assert!(!found.contains("may be gone"), "{found}");
    arm.refuse(SECOND, "Microsoft.Network/privateEndpoints/read");
    let found = doctor(folder.path());
    let gone = format!("; pe-1 is of subscription {SECOND}, which cannot be listed: it may be gone");
    assert!(found.contains(&gone), "{found}");
}
