//! Tests that cannot be done here: they say so at once, and `tests/summary.rs` says it again when all are over.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::process::parent_id;
use std::path::Path;
use std::thread;

/// Says that the test that calls is skipped, in CI too.
pub fn skip(why: impl Display) {
    println!("skipped: {why}");
    // One file for one run of cargo, whose last target reads it.
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("skipped-{}", parent_id()));
    let line = format!("{}: {why}\n", thread::current().name().unwrap_or("a test"));
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the target folder can be written");
}

/// The same for what CI must have: there the test fails.
pub fn skip_outside_ci(why: impl Display) {
    assert!(std::env::var_os("CI").is_none(), "CI needs this: {why}");
    skip(why);
}
