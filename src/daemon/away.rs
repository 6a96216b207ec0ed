//! A start without the store of what operators write: what was last known of it is served as stale.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::dns::{Name, Ttl};
use crate::ledger::Written;
use crate::persist::{self, Entry, LocalCopy, Made, PersistError, Stored, read_copy, write_copy};
use crate::sync::StateFolder;
use crate::sync::state::{RECORDS_COPY, free_name};
use crate::telemetry::{command, in_full};
use crate::zone::{StaleStanding, StaleZones};

/// RFC 8767 §5: stale records are not kept for longer.
const TTL_SECS_MAX: u32 = 30;
/// How soon a change is in the copy: bursts of them are written once.
const SETTLED: Duration = Duration::from_secs(1);
/// Writing a copy takes at most a share of the time: one of a million records takes a second.
const PAUSE: u32 = 20;
/// What clients of the DNS are told.
const WHY: &str = "the store of operators' records is not available: as last known";

/// A store that is away, and what was last known of it.
pub(super) struct Away {
    /// For operators: what is wrong and what to do.
    pub why: String,
    pub stored: Stored,
    pub zones: Arc<StaleZones>,
}

/// Where the copy is, and what brings a store back.
pub(super) struct LastKnown<'s> {
    pub settings: &'s persist::Settings,
    pub state: StateFolder,
}

impl LastKnown<'_> {
    /// Why the file of a store must not be made anew: there was one.
    pub fn lost(&self) -> Option<String> {
        let file = self.settings.file()?;
        let size = file.metadata().map_or(0, |file| file.len());
        if size > 0 {
            return None;
        }
        if let Some(kept) = self.settings.damaged() {
            return Some(self.help(&format!(
                "{} was damaged and is kept as {}",
                file.display(),
                kept.display()
            )));
        }
        // A file without a byte is one that was about to be made, or one that was lost.
        let has_content = |stored: &Stored| !stored.entries.is_empty();
        let is_copied = match self.copy()? {
            LocalCopy::Whole(stored) => has_content(&stored),
            LocalCopy::Names { .. } => true,
        };
        let what = if file.exists() { "is empty" } else { "is gone" };
        is_copied.then(|| self.help(&format!("{} {what}", file.display())))
    }

    /// Why a store cannot be used that was there; an error that is a reason not to start is given back. A damaged one is
    /// kept under another name.
    pub fn unusable(&self, cause: PersistError) -> Result<String, PersistError> {
        let Some(file) = self.settings.file() else {
            let why = format!("the store {} cannot be opened: {}", self.settings.shown(), in_full(&cause));
            return if cause.is_passing() { Ok(why) } else { Err(cause) };
        };
        if cause.is_damage() {
            let kept = free_name(&file, persist::DAMAGED);
            let moved = self.settings.idle().and_then(|idle| idle.set_aside(&kept));
            let what = match moved {
                Ok(()) => format!("is kept as {}", kept.display()),
                Err(error) => format!("cannot be renamed ({})", in_full(&error)),
            };
            let cause = in_full(&cause);
            return Ok(self.help(&format!("{} is damaged and {what} ({cause})", file.display())));
        }
        let is_closed = cause.is_passing() || matches!(cause, PersistError::File { .. });
        if is_closed && file.metadata().is_ok_and(|file| file.len() > 0) {
            return Ok(self.help(&format!("{} cannot be opened: {}", file.display(), in_full(&cause))));
        }
        Err(cause)
    }

    fn help(&self, what: &str) -> String {
        format!(
            "the store {what}; {} puts a backup in its place, {} begins with an empty one",
            command("restore FILE"),
            command("store new")
        )
    }

    /// A store that is away, with all that is known of it.
    pub fn away(&self, why: String) -> Away {
        let (stored, standing) = match self.copy() {
            None => (Stored::default(), StaleStanding::Stale),
            Some(LocalCopy::Whole(stored)) => (stored, StaleStanding::Stale),
            Some(LocalCopy::Names { stored, why }) => {
                error!("The copy of operators' records is not served, only their zones are known: {why}");
                (stored, StaleStanding::Unknown)
            }
        };
        let zones: BTreeMap<Name, StaleStanding> = zones_of(&stored).map(|apex| (apex, standing)).collect();
        let (records, count) = (stored.entries.len(), zones.len());
        error!(
            "Changes are refused, and {records} entries in {count} zones of operators are served as last known: {why}"
        );
        let zones = Arc::new(StaleZones { zones, why: WHY.into() });
        Away { why, stored: short_lived(stored), zones }
    }

    fn copy(&self) -> Option<LocalCopy> {
        match self.state.read_file(RECORDS_COPY) {
            Ok(bytes) => Some(read_copy(&bytes?)),
            Err(cause) => {
                error!("{cause}");
                None
            }
        }
    }
}

impl Away {
    /// What operators wrote, as far as it is known.
    pub fn written(&self) -> Written {
        Written::last_known(self.stored.clone(), &self.why)
    }
}

/// The zones that operators made or wrote records of.
fn zones_of(stored: &Stored) -> impl Iterator<Item = Name> {
    stored.entries.iter().filter_map(|(entry, _)| match entry {
        Entry::Zone(zone) if matches!(zone.made, Made::ByRest(_)) => Some(zone.apex.clone()),
        Entry::RecordSet { zone, .. } => Some(zone.clone()),
        _ => None,
    })
}

fn short_lived(mut stored: Stored) -> Stored {
    for (entry, _) in &mut stored.entries {
        if let Entry::RecordSet { set, .. } = entry {
            let most = Ttl::from_secs(TTL_SECS_MAX).expect("half a minute is a lifetime");
            set.ttl = set.ttl.min(most);
        }
    }
    stored
}

/// Keeps the copy as what is applied is, from now on.
pub(super) async fn keep_copy(written: Arc<Written>, state: StateFolder, mut applied: watch::Receiver<u64>) {
    let mut is_failing = false;
    applied.mark_changed();
    while applied.changed().await.is_ok() {
        sleep(SETTLED).await;
        applied.borrow_and_update();
        let begun = Instant::now();
        let (from, to) = (Arc::clone(&written), state.clone());
        let kept = tokio::task::spawn_blocking(move || keep(&from, &to)).await;
        match kept {
            Ok(Ok(())) => {
                if std::mem::replace(&mut is_failing, false) {
                    info!("What operators wrote is copied for a start without the store again");
                }
            }
            Ok(Err(cause)) => {
                if !std::mem::replace(&mut is_failing, true) {
                    warn!("What operators wrote is not copied for a start without the store: {cause}");
                }
                applied.mark_changed();
            }
            Err(cause) => error!("What operators wrote cannot be copied: {cause}"),
        }
        sleep(begun.elapsed() * PAUSE).await;
    }
}

/// Writes the copy, unless the store is away: then it is all that there is.
pub(super) fn keep(written: &Written, state: &StateFolder) -> Result<(), crate::sync::StateError> {
    let stored = written.to_keep();
    if stored.revision == 0 {
        return Ok(());
    }
    state.write_file(RECORDS_COPY, |out| write_copy(&stored, out))
}
