//! Runs this program under callgrind and reads what it counted.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, ensure};

use crate::work::TIMES;

/// The word that tells this program that it is the one that is counted.
pub const UNDER_VALGRIND: &str = "under-valgrind";

/// The function that is counted, all that it calls included.
const COUNTED: &str = "privatelink_dns_counted";

/// The function that ends a work; what was counted up to there is that of the work.
const ENDED: &str = "privatelink_dns_ended";

/// Instructions that one work takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Of this program: ours, the crates' and Rust's own.
    pub own: u64,
    /// Of glibc, which copies and keeps the heap; it has other functions for other processors.
    pub library: u64,
}

/// The counts of all works in their order.
pub fn counts(names: &[&str]) -> anyhow::Result<Vec<Count>> {
    let program = env::current_exe().context("this program")?;
    let folder = tempfile::tempdir().context("a folder")?;
    let out = folder.path().join("out");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--dump-after={ENDED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(&program)
        .arg(UNDER_VALGRIND)
        .status()
        .context("valgrind, which Debian has a package of")?;
    ensure!(status.success(), "valgrind: {status}");
    // The dumps are numbered from one; what comes after has no number.
    let dump = |number: usize| folder.path().join(format!("out.{number}"));
    ensure!(!dump(names.len() + 1).exists(), "more was counted than has names");
    (1..=names.len()).map(|number| read(&dump(number), &program)).collect()
}

/// Adds up a dump by the file that the instructions lie in.
/// The format: <https://valgrind.org/docs/manual/cl-format.html>.
fn read(dump: &Path, program: &Path) -> anyhow::Result<Count> {
    let text = fs::read_to_string(dump).with_context(|| format!("{}", dump.display()))?;
    let mut files: BTreeMap<&str, bool> = BTreeMap::new();
    let (mut is_own, mut is_call) = (false, false);
    let mut count = Count::default();
    for line in text.lines() {
        if let Some((kind, file)) = line.split_once('=').filter(|(kind, _)| matches!(*kind, "ob" | "cob")) {
            // The first time with its path, then by its number alone.
            let (number, path) = file.split_once(' ').unwrap_or((file, ""));
            let is_program = *files.entry(number).or_insert(Path::new(path) == program);
            if kind == "ob" {
                is_own = is_program;
            }
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            // The line behind a call has what the callee took, which stands with the callee too.
            if !std::mem::take(&mut is_call) {
                let cost = line.split(' ').nth(1).context("a line without a cost")?;
                let cost: u64 = cost.parse().with_context(|| format!("cost `{cost}`"))?;
                *(if is_own { &mut count.own } else { &mut count.library }) += cost;
            }
        }
    }
    ensure!(count.own > 0, "{} counts nothing of {}", dump.display(), program.display());
    Ok(Count { own: count.own / TIMES, library: count.library / TIMES })
}
