//! What a reload changed, in the log; level and format of the log change with it.

use std::collections::BTreeSet;

use tracing::{Level, error, info, warn};

use super::files::Stamp;
use crate::config::Config;
use crate::telemetry::{Quoted, in_full, logging};

/// Changes that one line tells: a screen full.
const CHANGES_MAX: usize = 20;

/// Tells what is in force now, and from here on logs as the new config wants.
pub(super) fn reloaded(old: &Config, new: &Config, (before, now): (&BTreeSet<Stamp>, &BTreeSet<Stamp>)) {
    let (file, what) = (new.file.display(), changes(old, new, before, now));
    // By the old level or by the new one, whichever lets it pass.
    let is_told = tracing::enabled!(Level::INFO);
    if is_told {
        info!("Reloaded {file}: {what}");
    }
    if old.telemetry != new.telemetry
        && let Err(cause) = logging::reload(&new.telemetry)
    {
        error!("The log goes on as it was: {}", in_full(&cause));
    }
    if !is_told {
        info!("Reloaded {file}: {what}");
    }
    if old.access != new.access {
        nobody_may_ask(new);
    }
    if old.telemetry.log_level != new.telemetry.log_level && logging::is_outranked() {
        warn!("telemetry.log_level changes nothing: RUST_LOG outranks it");
    }
}

/// Tells that a config lets nobody ask: it may be meant, and more often is not.
pub(super) fn nobody_may_ask(config: &Config) {
    if config.access.refuses_all() {
        warn!("Nobody may ask: no range of access.allow is left, and every query is REFUSED");
    }
}

fn changes(old: &Config, new: &Config, before: &BTreeSet<Stamp>, now: &BTreeSet<Stamp>) -> String {
    let mut changes = old.said.changes_to(&new.said);
    let files: BTreeSet<_> = now.difference(before).map(|file| &file.path).collect();
    let others = files.into_iter().filter(|path| **path != new.file);
    changes.extend(others.map(|path| format!("{} is another", Quoted(&path.display().to_string()))));
    if changes.is_empty() {
        return "nothing in it has changed".to_owned();
    }
    let more = changes.len().saturating_sub(CHANGES_MAX);
    changes.truncate(CHANGES_MAX);
    if more > 0 {
        changes.push(format!("and {more} more"));
    }
    changes.join("; ")
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn config(text: &str) -> Config {
        let text = format!("[listen]\ndns = ['127.0.0.1:0']\n{text}");
        Config::parse(&text, Path::new("c.toml")).unwrap()
    }

    fn stamps(files: &[(&str, u64)]) -> BTreeSet<Stamp> {
        let stamp = |(file, length): &(&str, u64)| Stamp {
            path: PathBuf::from(file),
            length: Some(*length),
            ..Stamp::default()
        };
        files.iter().map(stamp).collect()
    }

    #[test]
    fn keys_and_files_are_told_and_so_is_that_there_are_none() {
        let old = config("[cache]\nsize_bytes = 1\n");
        let new = config("[cache]\nsize_bytes = 2\n");
        let (before, now) =
            (stamps(&[("c.toml", 1), ("a.zone", 1)]), stamps(&[("c.toml", 2), ("a.zone", 2), ("b.zone", 1)]));
        assert_eq!(
            changes(&old, &new, &before, &now),
            "cache.size_bytes 1 → 2; a.zone is another; b.zone is another"
        );
        assert_eq!(changes(&old, &old, &before, &before), "nothing in it has changed");
        let rule =
            |number| format!("[[forward.rule]]\ndomain = 'd{number}.example'\nupstreams = ['10.0.0.1']\n");
        let many = config(&(10..35).map(rule).collect::<String>());
        let told = changes(&config(""), &many, &before, &before);
        assert!(
            told.starts_with("forward.rule[d10.example] is new; ") && told.ends_with("; and 5 more"),
            "{told}"
        );
    }
}
