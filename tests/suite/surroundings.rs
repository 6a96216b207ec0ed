//! What the system around a server allows, and where its log goes: the real process under odd circumstances.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::support::client::PATIENCE;
use crate::support::served::{NOTHING, Place, command, config, wait_until};

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
