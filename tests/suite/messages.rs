//! What commands say to operators, word by word where words were wrong before.

use crate::support::served::{NOTHING, Place, config};
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
