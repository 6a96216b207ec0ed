//! What commands say to operators, word by word where words were wrong before.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::cli::copied;
use crate::support::served::{NOTHING, Place, command, config, outcome};
use crate::support::storage::{SOURCE, write_inventory};
use crate::support::test_daemon::write;

#[test]
fn check_lists_what_is_wrong_with_config_zone_files_and_inventories_at_once() {
    let place = Place::new("");
    let folder = place.folder.path();
    let zone = "[[zone]]\nname = \"corp.internal\"\nfile = \"corp.zone\"\n[[zone]]\nname = \"b.internal\"\nfile = \"none.zone\"\n";
    let source = "[[sync.source]]\nkind = \"directory\"\npath = \"inventory\"\n";
    let wrong = "[telemetry]\nlog_levle = \"info\"\n[cache]\nsize_bytes = \"1 GiB\"\n";
    write(folder, "config.toml", &config(&format!("{NOTHING}{wrong}{zone}{source}")));
    write(folder, "corp.zone", "@ 60 SOA ns host 1 60 60 60 60\nwww 60 A 10.0.0\n");
    write(folder, "inventory/a.json", "[{");
    write(folder, "inventory/b.json", "{\"value\": 1}");
    let (code, out, error) = place.run(&["check"]);
    assert_eq!((code, &*out), (2, ""), "{error}");
    let expected = [
        ("config.toml:10: telemetry.log_levle: unknown key `log_levle`", "; did you mean `log_level`?"),
        ("config.toml:12: cache.size_bytes: wrong type: string \"1 GiB\", expected a whole number", "from 0"),
        ("config.toml:18: zone[1].file: cannot read", "none.zone: No such file or directory (os error 2)"),
        ("corp.zone:2: ", "`10.0.0`"),
        ("inventory `inventory`: ", "a.json:1:2: "),
        ("inventory `inventory`: ", "b.json:1:"),
    ];
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{error}");
    for (line, (begin, end)) in lines.iter().zip(expected) {
        assert!(line.starts_with("error: ") && line.contains(begin) && line.contains(end), "{line}");
    }

    // A server that starts without an inventory still forwards: its faults are no errors, and all are told.
    write(folder, "config.toml", &config(&format!("{NOTHING}{source}")));
    let (code, out, error) = place.run(&["check"]);
    assert_eq!((code, &*error), (0, ""), "{out}");
    assert_eq!(
        out.lines().filter(|line| line.starts_with("warning: inventory `inventory`: ")).count(),
        2,
        "{out}"
    );
}

#[test]
fn a_config_that_lets_nobody_ask_is_noted_wherever_it_is_looked_at() {
    let place = Place::new(&format!("{NOTHING}[access]\nallow = []\n"));
    let words = "nobody may ask: no range of access.allow is left, and every query is REFUSED";
    let (code, out, error) = place.run(&["check"]);
    assert!(code == 0 && out.contains(&format!("access       {words}\n")), "{out}{error}");
    let (code, out, error) = place.run(&["doctor", "--offline"]);
    assert!(code == 1 && out.contains(&format!("FAIL  {words}\n      → name the ranges")), "{out}{error}");
    let (served, log) = place.serve_logged();
    log.line("WARN Nobody may ask");
    drop(served);
    let (_, out, _) = Place::new(NOTHING).run(&["check"]);
    assert!(!out.contains("nobody may ask"), "{out}");
}

/// The quickstart in a folder of its own: exit code, stdout, stderr of a command on it.
fn on_quickstart(folder: &tempfile::TempDir, arguments: &[&str]) -> (i32, String, String) {
    outcome(command(arguments).arg("-c").arg(folder.path().join("quickstart.toml")))
}

#[test]
fn the_quickstart_tells_of_a_conflict_once_for_all_names_of_its_endpoints() {
    let folder = copied();
    let path = folder.path().join("quickstart.toml");
    let text = fs::read_to_string(&path).unwrap().replace("127.0.0.1:5300", "127.0.0.1:0");
    fs::write(&path, text).unwrap();
    let mut serve = command(&["serve", "-c", path.to_str().unwrap()]);
    let mut serve = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(serve.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "Try:"));
    // SAFETY: the child is ours and not waited for yet.
    assert_eq!(unsafe { libc::kill(i32::try_from(serve.id()).unwrap(), libc::SIGTERM) }, 0);
    let log = std::io::read_to_string(serve.stderr.take().unwrap()).unwrap();
    assert_eq!(serve.wait().unwrap().code(), Some(0), "{log}");
    let warned: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    let doctor = format!("`privatelink-dns doctor -c {}` says which is served", path.display());
    assert!(warned.len() == 2 && warned.iter().all(|line| line.contains(&doctor)), "{log}");
    assert!(
        warned[0].contains(
            "More than one private endpoint claims \
             6310475829361047582-asr-pod01-id1.cus.privatelink.siterecovery.windowsazure.com. and 6 more names: \
             pe-asr-source and pe-asr-recovery;"
        ),
        "{log}"
    );
    assert!(!log.contains("/subscriptions/"), "{log}");
}

#[test]
fn names_are_counted_alike_wherever_they_are_told() {
    let folder = copied();
    let words = "42 names of 19 private endpoints";
    for arguments in [&["check"][..], &["doctor", "--offline"], &["sync", "--once", "--dry-run"]] {
        let (_, out, error) = on_quickstart(&folder, arguments);
        assert_eq!(out.matches(words).count(), 1, "{arguments:?}: {out}{error}");
        assert!(!out.contains("50 names"), "{out}");
    }
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/sample-inventory");
    let source = format!("[[sync.source]]\nkind = \"directory\"\npath = \"{}\"\n", sample.display());
    let place = Place::new(&format!("{NOTHING}{source}"));
    let served = place.serve();
    let (code, out, error) = place.program(&served, &["sync"]);
    assert!(code == 0 && out.contains(" 42 "), "{out}{error}");
}

#[test]
fn who_has_a_damaged_state_is_not_told_that_there_is_none() {
    let source = "[[sync.source]]\nkind = \"arm\"\nname = \"live\"\nsubscriptions = \
                  [\"00000000-0000-4000-8000-0000000000a1\"]\n";
    let place = Place::new(&format!("{NOTHING}{source}"));
    let (_, out, error) = place.run(&["hosts"]);
    assert_eq!(out, "# live: Azure was not listed yet, and nothing is kept from before\n", "{error}");
    write(&place.state(), "sync-state.jsonl", "{\"half\": ");
    for arguments in [&["hosts"][..], &["check"], &["explain", "a.example"], &["doctor", "--offline"]] {
        let (_, out, error) = place.run(arguments);
        assert!(!out.contains("nothing is kept") && !out.contains("nothing of it is kept"), "{out}{error}");
        assert!(
            out.contains("The last good state is not restored: ") && out.contains("is damaged"),
            "{out}{error}"
        );
    }
}

#[test]
fn a_dry_run_that_cannot_read_the_state_says_that_it_compares_with_nothing() {
    let place = Place::new(&format!("{NOTHING}{SOURCE}"));
    write_inventory(&place, 2);
    let (_, out, error) = place.run(&["sync", "--once"]);
    assert!(out.contains("# azure: 2 record sets added"), "{out}{error}");
    let (_, out, _) = place.run(&["sync", "--once", "--dry-run"]);
    assert!(out.contains("# azure: no change") && !out.contains("compared with nothing"), "{out}");
    // As for one who may not read it.
    fs::remove_file(place.state().join("sync-state.jsonl")).unwrap();
    fs::create_dir(place.state().join("sync-state.jsonl")).unwrap();
    let (_, out, error) = place.run(&["sync", "--once", "--dry-run"]);
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("# The last good state is not restored: cannot read"), "{out}{error}");
    assert_eq!(lines[1], "# What follows is compared with nothing: all that is listed looks new");
}

#[test]
fn commands_that_are_advised_read_the_same_config() {
    let place = Place::new(&format!(
        "{NOTHING}{}",
        SOURCE.replace("withdraw_max_percent = 100", "withdraw_max_percent = 1")
    ));
    write_inventory(&place, 30);
    place.run(&["sync", "--once"]);
    write_inventory(&place, 1);
    let option = format!("-c {}", place.config().display());
    for arguments in [&["check"][..], &["doctor", "--offline"], &["sync", "--once", "--dry-run"]] {
        let (_, out, error) = place.run(arguments);
        let confirm = format!("`privatelink-dns sync --once --confirm azure {option}`");
        assert!(out.contains(&confirm), "{arguments:?}: {out}{error}");
    }
    let (served, log) = place.serve_logged();
    let line = log.line("these are held back");
    assert!(line.contains(&format!("`privatelink-dns sync --once --dry-run {option}`")), "{line}");
    drop(served);
}

#[test]
fn who_revokes_a_token_is_told_what_was_revoked() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    let (_, _, told) = place.program(&served, &["token", "create", "deploy"]);
    let id = told.split_whitespace().nth(1).unwrap();
    let (code, out, error) = place.program(&served, &["token", "revoke", id]);
    let words = format!("token {id} of `deploy`, reader, is revoked: it opens nothing any more\n");
    assert_eq!((code, &*out, &*error), (0, &*words, ""));
    let (code, out, _) = place.program(&served, &["token", "revoke", id]);
    assert!(
        code == 0 && out.starts_with(&format!("token {id} of `deploy`, reader, was revoked already, at 20")),
        "{out}"
    );
    let (code, out, error) = place.program(&served, &["token", "revoke", "none"]);
    assert_eq!((code, &*out), (2, ""));
    assert_eq!(error, "error: There is no such thing: there is no token with this id [id]\n");
}

#[test]
fn words_of_one_record_that_a_shell_took_apart_are_put_together() {
    let place = Place::new(NOTHING);
    let served = place.serve();
    place.program(&served, &["zones", "create", "corp.internal"]);
    let put = |arguments: &[&str]| {
        place.program(&served, &[&["records", "put", "corp.internal", "@"], arguments].concat())
    };
    let (code, _, error) = put(&["MX", "10", "mail"]);
    assert_eq!(code, 2);
    let note = "note: these are 2 records, one a word; is one meant? A record with blanks in it is written in quotes: '10 mail'\n";
    assert!(error.starts_with(note), "{error}");
    assert!(error.contains("\n  record 1: "), "{error}");
    let (code, _, error) = put(&["TXT", "v=spf1", "include:spf.example", "~all"]);
    assert!(code == 0 && error.ends_with("'v=spf1 include:spf.example ~all'\n"), "{error}");
    let (code, out, error) = put(&["MX", "10 mail", "20 mail2"]);
    assert_eq!((code, &*error), (0, ""), "{out}");
}

#[test]
fn refusals_are_told_in_the_words_of_the_command_line() {
    let zone = "[[zone]]\nname = \"file.internal\"\nfile = \"file.zone\"\n";
    let place = Place::new(&format!("{NOTHING}{zone}"));
    write(place.folder.path(), "file.zone", "@ 60 SOA ns host 1 60 60 60 60\nwww 60 A 10.0.0.1\n");
    let served = place.serve();
    for (arguments, words) in [
        (
            &["records", "delete", "file.internal", "www", "A"][..],
            "error: This goes against what is there: it stands in the zone's master file: take it out there, or write \
             one of your own with `records put`, which goes before it [name]\n",
        ),
        (
            &["records", "put", "none.internal", "www", "A", "10.0.0.1"],
            "; `zones list --all` shows them, `zones create` makes one [zone]\n",
        ),
        (&["zones", "create", "file.internal"], "zone file.internal. is there already [name]\n"),
        (
            &["zones", "delete", "file.internal"],
            "`records delete` takes back what operators wrote in it [zone]\n",
        ),
    ] {
        let (code, out, error) = place.program(&served, arguments);
        assert_eq!(&*out, "", "{arguments:?}");
        assert!(code > 0 && error.ends_with(words), "{arguments:?}: {error}");
        for word in ["GET", "PUT", "POST", "PATCH", "DELETE", "/api/", "(4"] {
            assert!(!error.contains(word), "{arguments:?}: {error}");
        }
    }
}

#[test]
fn zones_are_made_and_taken_away_by_commands() {
    let place = Place::new(&format!("{NOTHING}[[network]]\nname = \"hub\"\nclients = [\"127.0.0.0/8\"]\n"));
    let served = place.serve();
    let run = |arguments: &[&str]| {
        let (code, out, error) = place.program(&served, arguments);
        assert_eq!((code, &*error), (0, ""), "{arguments:?}: {out}");
        out
    };
    let plan = run(&["zones", "create", "lab.internal", "--dry-run"]);
    assert!(plan.ends_with("1 to change; nothing is done yet\n"), "{plan}");
    let made = run(&["zones", "create", "lab.internal", "--network", "hub", "--on-missing", "ask-public"]);
    let row: Vec<&str> = made.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["lab.internal.", "plain", "ask-public", "hub"]);
    run(&["records", "put", "lab.internal", "www", "A", "10.0.0.1"]);
    served.wait_for("www.lab.internal.", "A", &["www.lab.internal. 300 A 10.0.0.1"]);
    let plan = run(&["zones", "delete", "lab.internal", "--dry-run"]);
    assert!(plan.contains("- lab.internal. www") && plan.ends_with("nothing is done yet\n"), "{plan}");
    assert_eq!(run(&["zones", "delete", "lab.internal"]), "zone lab.internal is gone\n");
    served.wait_for("www.lab.internal.", "A", &[]);
    assert!(!run(&["zones", "list"]).contains("lab.internal"));
}

#[test]
fn rules_are_listed_set_and_taken_back_by_commands_and_networks_listed() {
    let network = "[[network]]\nname = \"hub\"\nclients = [\"10.10.0.0/16\", \"fd00::/8\"]\n";
    let rule = "[[forward.rule]]\ndomain = \"a.example\"\nupstreams = [\"10.1.0.4\"]\n";
    let place = Place::new(&format!("{NOTHING}{rule}{network}"));
    let served = place.serve();
    let run = |arguments: &[&str]| place.program(&served, arguments);
    let rows = |out: &str| {
        let rows = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        rows.collect::<Vec<_>>()
    };
    let headings = "DOMAIN UPSTREAM HEALTH PER-SECOND MADE-BY";
    let (_, out, error) = run(&["forwarders", "list"]);
    assert_eq!(rows(&out), [headings, "a.example. 10.1.0.4 unknown - config"], "{error}");
    let (_, plan, _) = run(&["forwarders", "put", "a.example", "10.1.0.5", "--dry-run"]);
    assert!(plan.ends_with("nothing is done yet\n"), "{plan}");
    let put =
        ["forwarders", "put", "a.example", "10.1.0.5", "10.1.0.6:5353", "--queries-per-second-max", "7"];
    // Setting it again takes the place of what is there.
    for _ in 0..2 {
        let (code, out, error) = run(&put);
        let first = "a.example. 10.1.0.5 unknown 7 rest, before config's 10.1.0.4";
        assert_eq!(
            (code, rows(&out)),
            (0, vec![headings.into(), first.into(), "10.1.0.6:5353 unknown".into()]),
            "{error}"
        );
    }
    let (_, out, _) = run(&["forwarders", "delete", "a.example"]);
    assert!(out.starts_with("the rule for a.example is gone, and that of config holds again:\n"), "{out}");
    run(&["forwarders", "put", "b.example", "10.1.0.7"]);
    let (_, out, _) = run(&["forwarders", "delete", "b.example"]);
    assert_eq!(out, "the rule for b.example is gone\n");
    let (code, out, error) = run(&["forwarders", "delete", "b.example"]);
    assert_eq!(
        (code, &*out, &*error),
        (1, "", "There is no such thing: there is no rule for b.example. [domain]\n")
    );
    let (code, _, error) = run(&["forwarders", "delete", "a.example"]);
    assert!(code == 2 && error.contains("or set one of your own with `forwarders put`"), "{error}");
    let (_, out, error) = run(&["networks", "list"]);
    assert_eq!(rows(&out), ["NETWORK CLIENTS VIRTUAL-NETWORKS", "hub 10.10.0.0/16 fd00::/8 -"], "{error}");
    let (_, out, _) = run(&["networks", "list", "-o", "json"]);
    assert!(out.contains("\"virtual_networks\": []"), "{out}");
}
