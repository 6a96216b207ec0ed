//! Where the store is and how long it remembers.

use std::path::PathBuf;

/// Changes that the audit keeps: a year of one each half a minute, about 1 GB of single-record changes.
const AUDIT_CHANGES_MAX: u64 = 1_000_000;
/// Days that the audit keeps: a yearly review still sees the last one.
const AUDIT_DAYS_MAX: u32 = 400;

/// The store's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `sqlite:FILE` (relative to the state folder) or `postgres://…`.
    pub url: String,
    pub state_dir: PathBuf,
    /// Changes beyond these are forgotten, oldest first; so are those that are too old.
    pub audit_changes_max: u64,
    pub audit_days_max: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            url: "sqlite:records.db".into(),
            state_dir: "/var/lib/privatelink-dns".into(),
            audit_changes_max: AUDIT_CHANGES_MAX,
            audit_days_max: AUDIT_DAYS_MAX,
        }
    }
}
