//! Counts the instructions of each kind of answer under callgrind and compares them with bounds:
//! `cargo bench --profile dev --config benches/instructions/profile.toml --bench instructions`.
//!
//! With `-- renew` behind it, it writes the bounds anew: do so where a change makes answers dearer for a good reason, or
//! cheaper, and say which in the commit.

use std::env;
use std::process::ExitCode;

mod bounds;
mod callgrind;
mod contest;
mod misses;
mod work;
#[path = "../support/world.rs"]
mod world;

use bounds::{Bound, Bounds};

/// Set by `profile.toml`: what another profile builds has other numbers.
const PROFILE: &str = "PRIVATELINK_DNS_INSTRUCTIONS";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let asks = |word: &str| words.iter().any(|other| other == word);
    if asks(callgrind::UNDER_VALGRIND) {
        work::run();
        return ExitCode::SUCCESS;
    }
    if env::var_os(PROFILE).is_none() {
        eprintln!("the bounds are for `--profile dev --config benches/instructions/profile.toml`");
        return ExitCode::FAILURE;
    }
    let counts = match callgrind::counts(&work::NAMES) {
        Ok(counts) => counts,
        Err(error) => {
            eprintln!("no counts: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    if asks("renew") {
        Bounds::above(&counts).write().expect("the file of the bounds can be written");
    }
    let bounds = Bounds::read().expect("the file of the bounds is in order");
    println!("| work | own instructions | bound | of glibc | bound |\n|---|---|---|---|---|");
    let mut beyond = Vec::new();
    for (name, count) in work::NAMES.iter().zip(&counts) {
        let Bound { own, library } = bounds.of(name);
        println!("| {name} | {} | {own} | {} | {library} |", count.own, count.library);
        if count.own > own || count.library > library {
            beyond.push(*name);
        }
    }
    if beyond.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("more instructions than benches/instructions/bounds.toml allows: {}", beyond.join(", "));
    ExitCode::FAILURE
}
