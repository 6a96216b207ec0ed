//! The program as operators call it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use privatelink_dns::dns::{Message, Name, QueryFlags, RecordType, message};
use privatelink_dns::privatelink::{Catalogue, Cloud};

use crate::support::upstream::Upstream;

const QUICKSTART: &str = "config/quickstart.toml";
const HUB: &str = "/subscriptions/00000000-0000-4000-8000-0000000000a1/resourcegroups/rg-app/providers/microsoft.network/privateendpoints/pe-contosodata01-blob";

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_privatelink-dns"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env_remove("PRIVATELINK_DNS_CONFIG").env_remove("RUST_LOG");
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().expect("it ends by itself"), text(stdout), text(stderr))
}

/// What it prints; it must end well.
fn well(arguments: &[&str]) -> String {
    let (code, out, error) = run(arguments);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    out
}

fn quickstart(arguments: &[&str]) -> String {
    well(&[arguments, &["--config", QUICKSTART]].concat())
}

/// A folder with the quickstart's files, to be changed.
pub fn copied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config"), folder.path());
    // Each copy keeps its own state.
    changed(&folder, "../target/quickstart-state", "state");
    // Tests run at the same time, and none of these asks the API.
    let path = folder.path().join("quickstart.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text + "\n[admin]\nlisten = []\n").unwrap();
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to)
        } else {
            fs::copy(entry.path(), to).map(drop).unwrap()
        }
    }
}

fn changed(folder: &tempfile::TempDir, from: &str, to: &str) -> PathBuf {
    let path = folder.path().join("quickstart.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    fs::write(&path, text.replace(from, to)).unwrap();
    path
}

#[test]
fn check_prints_what_would_be_served() {
    let out = quickstart(&["check"]);
    for line in [
        "             corp.internal. with 6 record sets",
        "withheld     pe-disconnected-kv (Disconnected), pe-fabrikam-reports-blob (Pending), pe-rejected-sql (Rejected)",
        "upstream     none for other names: they are answered SERVFAIL",
        "The config can be served.",
    ] {
        assert!(out.lines().any(|other| other == line), "no line {line}\n{out}");
    }
}

#[test]
fn check_prints_every_error_with_its_place_and_ends_with_2() {
    let folder = copied();
    let path = changed(&folder, "clients = [\"127.0.0.2\"]", "clients = [\"127.0.0.0/8\"]");
    changed(&folder, "regions = [\"westcentralus\"]", "regions = [\"westcentral\"]");
    let (code, out, error) = run(&["check", "-c", path.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (2, ""));
    let error = error.replace(path.to_str().unwrap(), "c.toml");
    assert_eq!(
        error,
        "error: c.toml:22: network[1].clients[0]: range 127.0.0.0/8 belongs to network `source` already\n\
         error: c.toml:31: private_link.regions[0]: the catalogue knows no region `westcentral`; did you mean \
         `westcentralus`?\n"
    );
}

#[test]
fn check_and_doctor_tell_of_rules_that_are_never_asked_and_of_delegations_that_none_forwards() {
    let folder = tempfile::tempdir().unwrap();
    let zone = "$TTL 60\n@ SOA ns host 1 1 1 1 1\nsub NS ns.sub\nns.sub A 10.0.0.53\nknown NS ns.sub\nours NS ns.sub\n";
    fs::write(folder.path().join("corp.zone"), zone).unwrap();
    fs::write(folder.path().join("ours.zone"), "$TTL 60\n@ SOA ns host 1 1 1 1 1\n").unwrap();
    let rules = ["lost.corp.test", "known.corp.test", "a.sub.corp.test", "x.open.test"];
    let rules: String = rules
        .iter()
        .map(|domain| format!("[[forward.rule]]\ndomain = \"{domain}\"\nupstreams = [\"127.0.0.1:9\"]\n"))
        .collect();
    let zones = "[[zone]]\nname = \"corp.test\"\nfile = \"corp.zone\"\n\
                 [[zone]]\nname = \"ours.corp.test\"\nfile = \"ours.zone\"\n\
                 [[zone]]\nname = \"follows.test\"\nfile = \"corp.zone\"\nfollow_delegations = true\n\
                 [[zone]]\nname = \"open.test\"\nfile = \"ours.zone\"\non_missing = \"ask-public\"\n";
    let path = folder.path().join("config.toml");
    fs::write(&path, format!("state_dir = \"state\"\n[forward]\nupstreams = []\n{rules}{zones}")).unwrap();
    let told = [
        "the forwarding rule for lost.corp.test. is never asked: zone corp.test. answers for all its names",
        "zone corp.test. delegates sub.corp.test., and no rule forwards it: clients are referred to its servers",
    ];
    for command in [&["check"][..], &["doctor", "--offline"]] {
        let (_, out, error) = run(&[command, &["-c", path.to_str().unwrap()]].concat());
        for line in told {
            assert!(out.contains(line), "{command:?} does not say {line}\n{out}{error}");
        }
        let misfits = ["is never asked", "are referred to"].map(|words| out.matches(words).count());
        assert_eq!(misfits, [1, 1], "{out}");
    }
}

#[test]
fn check_names_the_line_of_a_bad_zone_file() {
    let folder = copied();
    fs::write(
        folder.path().join("zones/corp.internal.zone"),
        "$TTL 60\n@ SOA ns host 1 1 1 1 1\na A 10.0.0.x\n",
    )
    .unwrap();
    let path = folder.path().join("quickstart.toml");
    let (code, _, error) = run(&["check", "-c", path.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(
        error.ends_with("zones/corp.internal.zone:3: `10.0.0.x` is not an IPv4 address of A\n"),
        "{error}"
    );
}

#[test]
fn a_broken_inventory_is_told_with_its_place_and_stops_only_the_doctor() {
    let folder = copied();
    fs::write(folder.path().join("sample-inventory/broken.json"), "{\"value\": [").unwrap();
    let path = folder.path().join("quickstart.toml");
    let (code, out, _) = run(&["check", "-c", path.to_str().unwrap()]);
    assert_eq!(code, 0);
    assert!(
        out.contains("sample-inventory: stale") && out.contains("sample-inventory/broken.json:1:11"),
        "{out}"
    );
    let (code, out, _) = run(&["doctor", "-c", path.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(out.contains("FAIL  inventory sample-inventory cannot be read"), "{out}");
}

#[test]
fn explain_tells_the_steps_and_the_view_decides() {
    let name = "6310475829361047582-asr-pod01-rcm1.cus.privatelink.siterecovery.windowsazure.com";
    for (client, network, address) in
        [("127.0.0.1", "source", "10.0.2.10"), ("127.0.0.2", "recovery", "10.1.2.10")]
    {
        let out = quickstart(&["explain", name, "--client", client]);
        assert!(out.contains(&format!("{client} belongs to network `{network}`")), "{out}");
        assert!(out.contains("from private endpoint /subscriptions/"), "{out}");
        assert!(out.trim_end().ends_with(&format!("{name}. 10 A {address}")), "{out}");
    }
    let out = quickstart(&["explain", "contosodata01.blob.core.windows.net", "--offline"]);
    assert!(out.contains(HUB), "{out}");
    let (code, out, _) = run(&["explain", "www.example.com", "TXT", "-c", QUICKSTART]);
    assert_eq!(code, 1);
    assert!(out.contains("answer: SERVFAIL"), "{out}");
    let (code, out, _) = run(&["explain", "www.example.com", "--client", "192.0.2.1", "-c", QUICKSTART]);
    assert_eq!(code, 1);
    assert!(out.contains("extended error 18: client network not allowed"), "{out}");
    let brief = "over UDP without a cookie of this server's (RFC 7873) the reply is brief: code 18 goes without its text";
    assert!(out.contains(brief) && out.contains("answer: REFUSED"), "{out}");
    let (_, out, _) = run(&["explain", "www.example.com", "MAILB", "-c", QUICKSTART]);
    assert!(
        out.contains("extended error 21: this type cannot be asked for") && !out.contains("brief"),
        "{out}"
    );
}

#[test]
fn catalogue_needs_no_config() {
    let out = well(&["catalogue", "contoso.vault.azure.net"]);
    assert!(out.contains("private name  contoso.privatelink.vaultcore.azure.net."), "{out}");
    let out = well(&["catalogue", "contoso.blob.core.usgovcloudapi.net"]);
    assert!(out.contains("(cloud usgov)"), "{out}");
    let (code, out, _) = run(&["catalogue", "www.example.com"]);
    assert_eq!((code, out.as_str()), (1, "www.example.com. is unknown (cloud public)\n"));
}

#[test]
fn hosts_prints_public_names_of_the_view() {
    let out = quickstart(&["hosts"]);
    for line in [
        "10.1.0.5 contosodata01.blob.core.windows.net",
        "fd00:db8:1::5 contosov6.blob.core.windows.net",
        "10.12.0.15 4829104736205518342-ab-pod01-fc1.privatelink.wcus.backup.windowsazure.com",
    ] {
        assert!(out.lines().any(|other| other == line), "no line {line}\n{out}");
    }
    assert!(!out.contains("contososql02"), "a rejected endpoint is not published");
    assert!(
        quickstart(&["hosts", "--client", "127.0.0.2"])
            .contains("10.1.2.10 6310475829361047582-asr-pod01-rcm1")
    );
}

#[test]
fn zones_are_listed_exported_and_imported() {
    let folder = copied();
    let config = folder.path().join("quickstart.toml");
    let config = config.to_str().unwrap();
    let list = well(&["zones", "list", "-c", config]);
    let row = list.lines().find(|line| line.starts_with("corp.internal.")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells, ["corp.internal.", "plain", "1", "7", "6", "nxdomain", "all"]);
    assert!(!list.contains("privatelink.openai.azure.com."));
    assert!(well(&["zones", "list", "--all", "-c", config]).contains("privatelink.openai.azure.com."));

    let exported = well(&["zones", "export", "corp.internal", "-c", config]);
    let new = folder.path().join("new.zone");
    fs::write(&new, exported.replace("10.0.10.20", "10.0.10.21")).unwrap();
    let import = ["zones", "import", new.to_str().unwrap(), "--zone", "corp.internal", "-c", config];
    let zone = folder.path().join("zones/corp.internal.zone");
    let before = fs::read_to_string(&zone).unwrap();
    let out = well(&import);
    assert!(
        out.starts_with(
            "- *.apps.corp.internal. 300 A 10.0.10.20\n+ *.apps.corp.internal. 300 A 10.0.10.21\n1 out, 1 in;"
        ),
        "{out}"
    );
    assert_eq!(fs::read_to_string(&zone).unwrap(), before);
    let write = [&import[..], &["--write"]].concat();
    well(&write);
    assert_eq!(fs::read_to_string(&zone).unwrap(), fs::read_to_string(&new).unwrap());
    assert!(well(&write).contains("has the same records already"));
    assert_eq!(fs::read_dir(folder.path().join("zones")).unwrap().count(), 1);

    fs::write(&new, "@ 60 SOA a b 1 1 1 1 1\nx 60 CNAME y\nx 60 A 10.0.0.1\n").unwrap();
    let (code, _, error) = run(&write);
    assert_eq!(code, 2);
    assert!(error.contains("new.zone:2: x.corp.internal. has a CNAME record beside other data"), "{error}");
    let (code, _, error) = run(&["zones", "export", "nowhere.internal", "-c", config]);
    assert_eq!(code, 2);
    assert!(error.contains("there is no zone nowhere.internal."), "{error}");
}

#[test]
fn doctor_asks_for_every_published_name() {
    let out = quickstart(&["doctor"]);
    assert!(out.contains("published names answered with their private addresses to 127.0.0.1"), "{out}");
    assert!(out.contains("the owner of the resource must approve the connection"), "{out}");
    assert!(out.contains("0 wrong"), "{out}");
}

#[test]
fn doctor_tells_of_an_upstream_that_is_down() {
    let folder = copied();
    // A port that is taken, and whose owner never answers.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let upstreams = format!("upstreams = [\"{}\"]", silent.local_addr().unwrap());
    let path = changed(&folder, "upstreams = []", &upstreams);
    let (code, out, _) = run(&["doctor", "-c", path.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(
        out.contains(&format!("FAIL  upstream {} does not answer", silent.local_addr().unwrap())),
        "{out}"
    );
}

/// What public DNS says of Azure's names: a public name is an alias of its private one, which leads on to the public
/// address; of Backup, Site Recovery, Migrate and private AKS clusters it knows nothing.
fn public_dns(name: &Name, rtype: RecordType) -> Option<Vec<String>> {
    const UNKNOWN: [&str; 4] = [
        "backup.windowsazure.com",
        "siterecovery.windowsazure.com",
        "prod.migration.windowsazure.com",
        "azmk8s.io",
    ];
    if name.borrow().is_root() {
        return Some(vec![". 60 NS a.root.example.".into()]);
    }
    if UNKNOWN.iter().any(|end| name.to_string().ends_with(&format!(".{end}."))) {
        return None;
    }
    let places = Catalogue::builtin(Cloud::Public).private_names(name.borrow());
    let private = places.first().map(|place| place.record.to_name());
    let alias = private.as_ref().map(|private| format!("{name} 60 CNAME {private}"));
    let end = private.as_ref().unwrap_or(name);
    let address = (rtype == RecordType::A).then(|| format!("{end} 60 A 20.60.1.1"));
    Some(alias.into_iter().chain(address).collect())
}

#[test]
fn doctor_is_well_with_public_dns_in_a_hub_with_backup_site_recovery_migrate_and_aks() {
    let folder = copied();
    let upstream = Upstream::answering(public_dns);
    changed(&folder, "public_names = \"local\"", "public_names = \"splice\"");
    let path = changed(&folder, "upstreams = []", &format!("upstreams = [\"{}\"]", upstream.address));
    let (code, out, _) = run(&["doctor", "-c", path.to_str().unwrap()]);
    assert!(code == 0 && out.contains("0 wrong"), "{out}");
    assert!(!out.contains("FAIL"), "{out}");
    assert!(upstream.asked() > 0);
}

#[test]
fn hosts_prints_only_the_private_name_where_there_is_no_public_one() {
    let out = quickstart(&["hosts"]);
    for name in [
        "-ab-pod01-fc1.{}wcus.backup.windowsazure.com",
        "-asr-pod01-rcm1.cus.{}siterecovery.windowsazure.com",
        "-isv.cus.hub.{}prod.migration.windowsazure.com",
    ] {
        assert!(out.contains(&name.replace("{}", "privatelink.")), "{name}: {out}");
        assert!(!out.contains(&name.replace("{}", "")), "{name}: {out}");
    }
    assert!(out.contains(" contosodata01.blob.core.windows.net\n"), "{out}");
    assert!(!out.contains("contosodata01.privatelink.blob"), "{out}");
}

#[test]
fn serve_prints_what_it_serves_and_ends_on_sigterm() {
    let folder = copied();
    let (mut serve, mut lines, address) = serve(&folder);
    let trials: Vec<String> = lines.by_ref().skip_while(|line| line != "Try:").skip(1).take(3).collect();
    assert_eq!(trials.len(), 3);
    for trial in trials {
        let words: Vec<&str> = trial.split_whitespace().collect();
        let ["dig", "@127.0.0.1", "-p", port, name, rtype] = words[..] else { panic!("{trial}") };
        assert_eq!(port, address.port().to_string());
        let name: privatelink_dns::dns::Name = name.parse().unwrap();
        let rtype: RecordType = rtype.parse().unwrap();
        let reply = ask(address, &message::query(7, name.borrow(), rtype, QueryFlags::default(), true));
        assert!(reply.answer.iter().any(|record| record.rtype == rtype), "{trial}: {reply:?}");
    }
    signal(&serve, "TERM");
    let mut log = String::new();
    serve.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(serve.wait().unwrap().code(), Some(0), "{log}");
}

#[test]
fn sighup_reads_everything_again_and_a_bad_config_changes_nothing() {
    let folder = copied();
    let (mut serve, _lines, address) = serve(&folder);
    let mut log = BufReader::new(serve.stderr.take().unwrap()).lines().map(Result::unwrap);
    signal(&serve, "HUP");
    assert!(log.any(|line| line.contains("Reloaded")));
    let path = folder.path().join("quickstart.toml");
    // Whole at once: half a file may be a good config.
    fs::write(folder.path().join("new"), "[forward]\nupstreams = [\"nowhere\"]\n").unwrap();
    fs::rename(folder.path().join("new"), &path).unwrap();
    signal(&serve, "HUP");
    let refused = log.find(|line| line.contains("Nothing was changed")).expect("the log tells");
    assert!(
        refused.contains("quickstart.toml:2: forward.upstreams[0]: `nowhere` is not an IP address"),
        "{refused}"
    );
    // As an editor leaves it that writes in place.
    fs::write(&path, "").unwrap();
    signal(&serve, "HUP");
    assert!(log.any(|line| line.contains("Nothing was changed") && line.contains("is empty")));
    let name: privatelink_dns::dns::Name = "contosodata01.blob.core.windows.net.".parse().unwrap();
    let query = message::query(7, name.borrow(), RecordType::A, QueryFlags::default(), true);
    assert_eq!(ask(address, &query).answer.len(), 2);
    signal(&serve, "TERM");
    assert_eq!(serve.wait().unwrap().code(), Some(0));
}

/// The program serving the quickstart on a free port, the rest of what it prints, and its address.
fn serve(folder: &tempfile::TempDir) -> (Child, impl Iterator<Item = String>, SocketAddr) {
    let path = changed(folder, "127.0.0.1:5300", "127.0.0.1:0");
    let mut serve = command(&["serve", "-c", path.to_str().unwrap()]);
    let mut serve = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(serve.stdout.take().unwrap()).lines().map(Result::unwrap);
    let listening =
        lines.by_ref().find(|line| line.starts_with("listening")).expect("it tells where it listens");
    let address = listening.split_whitespace().nth(1).unwrap().parse().unwrap();
    (serve, lines, address)
}

fn signal(serve: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &serve.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn ask(server: SocketAddr, query: &[u8]) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.send_to(query, server).unwrap();
    let mut buffer = [0; 1500];
    let length = socket.recv(&mut buffer).unwrap();
    Message::read(&buffer[..length]).unwrap()
}

#[test]
fn serve_tells_what_to_do_when_a_port_is_taken() {
    let folder = copied();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let path = changed(&folder, "127.0.0.1:5300", &address.to_string());
    let (code, _, error) = run(&["serve", "-c", path.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(error.contains(&format!("{address} (UDP) is in use by another process")), "{error}");
}

#[test]
fn help_has_examples_and_a_reader_that_leaves_early_is_no_error() {
    for verb in [
        "serve",
        "check",
        "explain",
        "doctor",
        "sync",
        "zones",
        "hosts",
        "catalogue",
        "records",
        "forwarders",
        "networks",
        "token",
        "cache",
    ] {
        assert!(well(&[verb, "--help"]).contains("Examples:"), "{verb}");
    }
    let mut hosts = command(&["hosts", "-c", QUICKSTART]);
    let mut hosts = hosts.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(hosts.stdout.take());
    let mut error = String::new();
    hosts.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!((hosts.wait().unwrap().code(), error.as_str()), (Some(0), ""));
}
