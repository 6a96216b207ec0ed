//! The bounds, as they stand beside this file.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::callgrind::Count;
use crate::work;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/bounds.toml");

const HEAD: &str = "\
# Most instructions that one piece of work may take: a tenth above what was measured in this program, twice what was
# measured in glibc, whose functions differ between processors. `cargo bench --profile dev
# --config benches/instructions/profile.toml --bench instructions -- renew` writes this file.
";

/// The bounds of one work.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    pub own: u64,
    pub library: u64,
}

/// The bounds of all work, by its name.
pub struct Bounds(BTreeMap<String, Bound>);

impl Bounds {
    pub fn read() -> anyhow::Result<Bounds> {
        let text = fs::read_to_string(FILE).context(FILE)?;
        let bounds: BTreeMap<String, Bound> = toml::from_str(&text).context(FILE)?;
        for name in work::NAMES {
            anyhow::ensure!(bounds.contains_key(name), "{FILE} has no bound of `{name}`");
        }
        Ok(Bounds(bounds))
    }

    /// Bounds a little above what was counted.
    pub fn above(counts: &[Count]) -> Bounds {
        let above = |count: &Count| Bound { own: count.own * 11 / 10 + 1, library: count.library * 2 };
        Bounds(work::NAMES.iter().map(|name| (*name).to_owned()).zip(counts.iter().map(above)).collect())
    }

    pub fn write(&self) -> io::Result<()> {
        let text = toml::to_string(&self.0).map_err(io::Error::other)?;
        fs::write(FILE, format!("{HEAD}\n{text}"))
    }

    pub fn of(&self, name: &str) -> Bound {
        self.0[name]
    }
}
