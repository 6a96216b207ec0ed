//! What the system around a server allows, and where its log goes: the real process under odd circumstances.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::support::client::PATIENCE;
use crate::support::served::{NOTHING, Place, command, config, wait_until};
use crate::support::skip::skip;

/// The program under a limit of the shell's.
fn limited(place: &Place, limit: &str) -> String {
    let program = command(&["serve", "-c"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit {limit}; exec \"$@\""), "sh"]);
    shell.arg(program.get_program()).args(program.get_args()).arg(place.config()).env_remove("RUST_LOG");
    let served = place.serve_by(shell);
    assert_eq!(served.dns("localhost.", "A"), ["localhost. 10800 A 127.0.0.1"]);
    served.terminate()
}

#[test]
fn limits_that_are_too_low_are_told_at_the_start() {
    let place = Place::new(NOTHING);
    let log = limited(&place, "-n 48");
    assert!(log.contains("File descriptors are too few: 48, and"), "{log}");
    let log = limited(&place, "-v 1200000");
    assert!(log.contains("The address space is limited to 1171 MiB, and this config may take"), "{log}");
    let log = limited(&place, "-n 1024");
    assert!(!log.contains("too few") && !log.contains("address space"), "{log}");
}

/// All that is logged about a watched folder would be a change of it.
#[test]
fn a_log_in_a_watched_folder_does_not_feed_on_itself() {
    let place = Place::new(NOTHING);
    let log = place.folder.path().join("log");
    let mut serve = command(&["serve", "-c", place.config().to_str().unwrap()]);
    let serve = serve.env("RUST_LOG", "trace,notify=trace").stdout(Stdio::null());
    let mut serve = serve.stderr(File::create(&log).unwrap()).spawn().unwrap();
    let text = || fs::read_to_string(&log).unwrap_or_default();
    wait_until("it serves", || text().contains("The admin API is at"));
    fs::write(place.config(), config(&format!("{NOTHING}[cache]\nsize_bytes = 1000000\n"))).unwrap();
    wait_until("it reloads", || text().contains("Reloaded"));
    // SAFETY: the child is ours and not waited for yet.
    assert_eq!(unsafe { libc::kill(i32::try_from(serve.id()).unwrap(), libc::SIGTERM) }, 0);
    let begun = Instant::now();
    while serve.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        std::thread::yield_now();
    }
    let text = text();
    assert!(!text.contains("inotify event") && text.len() < 4 << 20, "{} bytes: {text:.2000}", text.len());
}

/// What `/proc` says of each thread of a process under this key.
fn of_threads(id: u32, key: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let value = |text: String| text.lines().find_map(|line| Some(line.strip_prefix(key)?.trim().to_owned()));
    // A thread may end meanwhile.
    threads
        .flatten()
        .filter_map(|it| fs::read_to_string(it.path().join("status")).ok())
        .filter_map(value)
        .collect()
}

#[test]
fn root_becomes_the_user_that_is_named_and_keeps_low_ports() {
    // SAFETY: it only asks.
    if unsafe { libc::geteuid() } != 0 {
        return skip("only root can become another user");
    }
    let place = Place::new(NOTHING);
    let folder = place.folder.path();
    let open = |path: &std::path::Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    open(folder);
    let text = |workers: usize| {
        let own = config(NOTHING).replace("workers = 1", &format!("workers = {workers}"));
        format!("user = \"nobody\"\n{own}")
    };
    fs::write(place.config(), text(1)).unwrap();
    let served = place.serve();
    let nobody = fs::metadata(place.state()).unwrap().uid();
    assert_ne!(nobody, 0, "a new state folder is the user's");
    served.well("POST /zones", serde_json::json!({"name": "corp.internal"}));
    // Sockets of threads that come with a reload are bound as well.
    fs::write(place.config(), text(3)).unwrap();
    served.signal("HUP");
    let id = served.id();
    wait_until("it reloads", || of_threads(id, "Uid:").len() > 5);
    assert_eq!(served.dns("localhost.", "A"), ["localhost. 10800 A 127.0.0.1"]);
    let all_four = [nobody; 4].map(|id| id.to_string()).join("\t");
    for (key, wanted) in [
        ("Uid:", &*all_four),
        ("CapEff:", "0000000000000400"),
        ("CapPrm:", "0000000000000400"),
        ("CapInh:", "0000000000000000"),
        ("CapAmb:", "0000000000000000"),
    ] {
        let found = of_threads(id, key);
        assert!(!found.is_empty() && found.iter().all(|it| it == wanted), "{key} {found:?}");
    }
    assert!(of_threads(id, "Groups:").iter().all(|it| !it.split_whitespace().any(|group| group == "0")));
    let log = served.terminate();
    assert!(log.contains("The server is user `nobody` now"), "{log}");

    // What root left there is not the user's, and nobody takes it from root.
    std::os::unix::fs::chown(place.state(), Some(0), Some(0)).unwrap();
    let (code, _, error) = place.run(&["serve"]);
    assert_eq!(code, 2);
    assert!(
        error.contains("`chown -R nobody: ") && error.contains("/state` gives it to this user"),
        "{error}"
    );
    fs::write(place.config(), text(1).replace("nobody", "no-such-user")).unwrap();
    let (code, _, error) = place.run(&["serve"]);
    assert!(code == 2 && error.contains("there is no user `no-such-user`"), "{error}");
}
