//! The last target of `cargo test`: tells in one place what was skipped and why, as tests that pass are silent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::parent_id;
use std::path::Path;

fn main() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("skipped-{}", parent_id()));
    let Ok(text) = fs::read_to_string(&path) else { return };
    fs::remove_file(&path).expect("the target folder can be written");
    let mut tests: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (test, why) in text.lines().filter_map(|line| line.split_once(": ")) {
        let names = tests.entry(why).or_default();
        if !names.contains(&test) {
            names.push(test);
        }
    }
    let count = tests.values().flatten().collect::<BTreeSet<_>>().len();
    println!("\n{count} tests were skipped:");
    for (why, names) in tests {
        println!("  {why}\n    {}", names.join("\n    "));
    }
}
