//! What a running server tells of reloads and of what is well again: the words in its log.

use std::fs;
use std::net::UdpSocket;

use crate::support::served::{NOTHING, Place, config, wait_until};
use crate::support::storage::{SOURCE, published, write_inventory};
use crate::support::test_daemon::write;

#[test]
fn a_reload_tells_what_changed_and_logs_as_the_new_config_wants() {
    // Nobody is there.
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let forward = format!("[forward]\nupstreams = [\"{upstream}\"]\n");
    let place = Place::new(&forward);
    let (served, log) = place.serve_logged();
    let folder = place.folder.path();
    let more = "[cache]\nsize_bytes = 1000000\n[telemetry]\nlog_level = \"debug\"\n";
    let text = config(&format!("{forward}{more}"));
    write(folder, "config.toml", &text.replace("workers = 1", "workers = 2"));
    let line = log.line("Reloaded");
    let words = "config.toml: cache.size_bytes 268435456 → 1000000; listen.workers 1 → 2; telemetry.log_level \
                 \"info\" → \"debug\"";
    assert!(line.ends_with(words), "{line}");
    // Details of the server's own, which the old level left out.
    served.dns("a.example.", "A");
    log.line("DEBUG No upstream answers");

    write(folder, "config.toml", &config(&format!("{forward}[telemetry]\nlog_format = \"json\"\n")));
    let line = log.line("telemetry.log_format");
    assert!(line.starts_with("20"), "it is told as it was logged before: {line}");
    served.signal("HUP");
    let line = log.line("nothing in it has changed");
    assert!(line.starts_with('{') && line.contains("\"level\":\"INFO\""), "{line}");

    // A level that leaves out what is told of its coming.
    write(folder, "config.toml", &config(&format!("{forward}[telemetry]\nlog_level = \"error\"\n")));
    log.line("→ \\\"error\\\"");
    let before = log.text();
    served.signal("HUP");
    write(folder, "config.toml", "[telemetry]\nlog_level = \"verbose\"\n");
    let line = log.line("Nothing was changed by the reload");
    assert!(line.contains("did you mean `debug`?"), "{line}");
    assert!(!log.text()[before.len()..].contains("INFO"), "{}", log.text());
    drop(served);
}

#[test]
fn what_only_a_restart_changes_is_named_so() {
    let place = Place::new(NOTHING);
    let (_served, log) = place.serve_logged();
    write(place.folder.path(), "config.toml", &config(NOTHING).replace("\"state\"", "\"elsewhere\""));
    let line = log.line("Reloaded");
    assert!(line.ends_with("state_dir \"state\" → \"elsewhere\" (with a restart)"), "{line}");
    log.line("state_dir changes with a restart only");
}

#[test]
fn an_inventory_that_is_mended_says_so_once() {
    let place = Place::new(&format!("{NOTHING}{SOURCE}"));
    write_inventory(&place, 2);
    let (served, log) = place.serve_logged();
    wait_until("it is published", || published(&served, 2));
    fs::write(place.folder.path().join("inventory/pe.json"), "[{").unwrap();
    log.line("Inventory `azure` stays as it was");
    assert_eq!(log.count("is read again"), 0, "{}", log.text());
    write_inventory(&place, 2);
    let line = log.line("is read again");
    assert!(line.contains("Inventory `azure` is read again: 2 names"), "{line}");
    write_inventory(&place, 3);
    wait_until("it is published", || published(&served, 3));
    assert_eq!(log.count("is read again"), 1, "{}", log.text());
}
