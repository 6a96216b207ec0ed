//! All sources, and what they published kept for the next start.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::ground::{Ground, StateAccess};
use super::known::{Known, SourceState};
use super::listing::Listing;
use super::log::Log;
use super::role::Roles;
use super::rules::Rules;
use super::settings::Settings;
use super::shared::{Now, Shared};
use super::source::Source;
use crate::sync::{self, Desired, Drift, ListedEndpoints, ListedExtent, Saved, StateError, StateFolder};
use crate::zone::{Author, Overlay, Snapshot, Store, ZoneError};

/// Where nothing changes the file is still written this often after listings, so that it tells how old its content
/// really is.
const SAVED_AT_LEAST_EVERY: Duration = Duration::from_secs(15 * 60);

/// All `[[sync.source]]`.
pub struct Sources {
    ground: Ground,
    list: Vec<Arc<Source>>,
    /// What lists live Azure in the background.
    running: Vec<JoinHandle<()>>,
    shared: Shared,
    saved_at: Option<SystemTime>,
    /// What is published is not what was last kept.
    is_unkept: bool,
    /// Names of sources that are no longer configured, whose records may still be there.
    orphans: BTreeSet<String>,
    trouble: Option<String>,
    /// The last attempt to keep it failed.
    is_failing: bool,
}

impl Sources {
    /// Sources that have not been read yet.
    pub fn new(settings: &Settings, access: StateAccess, written: &Arc<dyn Overlay>) -> Sources {
        let ground = Ground {
            rules: Rules::new(settings, written),
            folder: StateFolder::new(&settings.state_dir),
            access,
            log: Log::default(),
            roles: Roles::default(),
            passed: Arc::new(Notify::new()),
        };
        let list = sources(settings, &ground);
        let now = Now { sources: list.clone(), trouble: None, log: ground.log.clone() };
        Sources {
            list,
            running: Vec::new(),
            shared: Shared::new(now, ground.roles.clone()),
            ground,
            saved_at: None,
            is_unkept: false,
            orphans: BTreeSet::new(),
            trouble: None,
            is_failing: false,
        }
    }

    /// What others see of the sources, and ask of them.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Shows others what is so now.
    fn share(&self) {
        let (sources, trouble) = (self.list.clone(), self.trouble.clone());
        self.shared.show(Now { sources, trouble, log: self.ground.log.clone() });
    }

    /// Other settings, and nothing runs any more; a source that stays, by its name, keeps what it knows.
    // Its records are known by its name: elsewhere listed, it has still published them.
    pub fn configure(&mut self, new: &Settings) {
        self.retire();
        let folder = StateFolder::new(&new.state_dir);
        if folder != self.ground.folder {
            self.saved_at = None;
        }
        let rules = Rules::new(new, &self.ground.rules.written);
        self.ground = Ground { rules, folder, ..self.ground.clone() };
        let list = sources(new, &self.ground);
        for before in std::mem::replace(&mut self.list, list) {
            match self.list.iter().find(|source| source.name() == before.name()) {
                Some(source) => source.inherit(&before),
                None => drop(self.orphans.insert(before.name().to_owned())),
            }
        }
        self.orphans.retain(|orphan| !self.list.iter().any(|source| source.name() == orphan));
        self.share();
    }

    /// Has nothing more published; what publishes at this moment is not stopped, but waited for.
    fn retire(&self) {
        self.running.iter().for_each(JoinHandle::abort);
        self.list.iter().for_each(|source| source.retire());
    }

    /// The sources in the order of config, the folders first.
    pub fn list(&self) -> &[Arc<Source>] {
        &self.list
    }

    /// What passes have found out so far, in the same order.
    pub fn known(&self) -> Vec<Arc<Known>> {
        self.list.iter().map(|source| source.known()).collect()
    }

    /// Those that the run loop lists.
    fn folders(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.list.iter().filter(|source| source.live().is_none())
    }

    /// Begins to list Azure in the background, for as long as this instance lists.
    pub fn start(&mut self, store: &Arc<Store>) {
        let live = self.list.iter().filter(|source| source.live().is_some());
        self.running = live.map(|it| tokio::spawn(Arc::clone(it).run(Arc::clone(store)))).collect();
    }

    /// Told when a pass in the background has published: there may be something to keep.
    pub(crate) fn passed(&self) -> &Arc<Notify> {
        &self.ground.passed
    }

    /// Why the last good state could not be read or kept.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Where the last good state is kept.
    pub fn state_folder(&self) -> &StateFolder {
        &self.ground.folder
    }

    /// Publishes what the sources had published before the restart. No fault in that is a reason not to start.
    pub fn restore(&mut self, store: &Store) {
        let folder = &self.ground.folder;
        if self.ground.access == StateAccess::Keep {
            folder.sweep();
        }
        let restored = match folder.load() {
            Ok(restored) => restored,
            Err(cause) => return self.give_up(&cause),
        };
        let (mut failed, is_there) = (None, !restored.is_empty());
        for last in restored {
            let name = Arc::clone(&last.source);
            match self.list.iter().find(|source| source.name() == &*name) {
                Some(source) => failed = source.restore(last, store).err().or(failed),
                None => {
                    info!(source = %name,
                        "What source `{name}` had published is not restored: it is no longer configured");
                    self.is_unkept = true;
                }
            }
        }
        match failed {
            Some(cause) => self.give_up(&cause),
            // What was just read need not be written: a million names take seconds.
            None if is_there && folder.is_writable() => self.saved_at = folder.saved_at(),
            // The first attempt to keep it tells what is wrong.
            None => {}
        }
    }

    /// Tells that the last good state is not to be had, and keeps its file for people to look at.
    fn give_up(&mut self, cause: &dyn Error) {
        let kept = match self.ground.access {
            StateAccess::Look => String::new(),
            StateAccess::Keep => match self.ground.folder.set_aside() {
                Ok(path) => format!("; it is kept as {}", path.display()),
                Err(cause) => format!("; {cause}"),
            },
        };
        let trouble = format!("The last good state is not restored: {cause}{kept}");
        error!("{trouble}");
        self.trouble = Some(trouble);
        self.share();
    }

    /// Reads every folder and publishes what it says. A folder that cannot be read leaves its records as they are.
    pub fn pass(&mut self, store: &Store) -> Result<(), ZoneError> {
        self.publish_all(store)?;
        self.tell(store);
        self.keep();
        Ok(())
    }

    /// The same as far as who asks is answered by it; the rest, [`Sources::tell`] and [`Sources::keep`], can wait.
    pub(crate) fn publish_all(&mut self, store: &Store) -> Result<(), ZoneError> {
        self.folders().try_for_each(|source| source.pass_folder(store))?;
        self.withdraw_orphans(store)
    }

    /// Logs the conflicts and the drift that are new.
    pub(crate) fn tell(&self, store: &Store) {
        self.ground.log.tell_conflicts(&store.load());
        self.tell_drift(store);
    }

    /// Asks Azure no more, and keeps what was published.
    pub fn stop(&mut self) {
        self.retire();
        self.keep();
    }

    /// Where Azure's private DNS zones say otherwise than the endpoints, as far as that is known.
    pub fn drift(&self, snapshot: &Snapshot) -> Vec<Drift> {
        let known = self.known();
        let zones: Vec<_> = known.iter().flat_map(|known| &known.desired.zones).collect();
        if zones.is_empty() {
            return Vec::new();
        }
        let endpoints = self.list.iter().zip(&known).filter(|(source, _)| !source.listing.is_of_zones());
        let endpoints: Vec<_> = endpoints.map(|(_, known)| known).collect();
        let is_current = |state: &SourceState| matches!(state, SourceState::Current { .. });
        let extent = match !endpoints.is_empty() && endpoints.iter().all(|known| is_current(&known.state)) {
            true => ListedExtent::Whole,
            false => ListedExtent::Part,
        };
        let endpoints = ListedEndpoints::of(endpoints.iter().map(|known| &*known.desired), extent);
        sync::drift(zones.into_iter().map(|zone| &**zone), snapshot, &endpoints)
    }

    /// Logs the drift that is new.
    pub(crate) fn tell_drift(&self, store: &Store) {
        self.ground.log.tell_drift(self.drift(&store.load()));
    }

    /// Publishes anew what is published, as other settings want it: what they withdraw, an operator withdrew.
    pub fn republish(&self, store: &Store) -> Result<(), ZoneError> {
        self.list.iter().try_for_each(|source| source.republish(store))
    }

    /// Keeps what is published for the next start.
    pub fn save(&mut self) -> Result<(), StateError> {
        let known: Vec<_> = self.list.iter().map(|source| (source, source.known())).collect();
        let saved: Vec<Saved<'_>> =
            known.iter().filter_map(|(source, known)| known.saved(source.name())).collect();
        self.ground.folder.save(&saved)?;
        known.iter().for_each(|(source, known)| source.set_kept(known.read_at));
        self.saved_at = Some(SystemTime::now());
        Ok(())
    }

    /// Keeps what passes have changed since, if it is time to.
    pub fn keep(&mut self) {
        self.is_unkept = self.list.iter().fold(self.is_unkept, |any, source| any | source.take_unsaved());
        // What lies ahead of a clock that was set back is of no known age.
        let age = |saved_at: SystemTime| saved_at.elapsed().unwrap_or(SAVED_AT_LEAST_EVERY);
        let is_listed_since = || self.list.iter().any(|source| source.known().read_at != source.kept());
        let is_due = || match self.saved_at.map(age) {
            Some(age) => age >= SAVED_AT_LEAST_EVERY && is_listed_since(),
            None => !self.list.is_empty(),
        };
        if self.ground.access == StateAccess::Look || !(self.is_unkept || is_due()) {
            return;
        }
        match self.save() {
            Ok(()) => {
                if self.is_failing {
                    let path = self.ground.folder.path().display();
                    info!("What is published is kept for a restart again, in {path}");
                }
                (self.trouble, self.is_unkept, self.is_failing) = (None, false, false);
            }
            Err(cause) => {
                let trouble = format!(
                    "What is published is not kept for a restart: {cause}; see that state_dir can be written to"
                );
                if self.trouble.as_ref() != Some(&trouble) {
                    warn!("{trouble}");
                }
                (self.trouble, self.is_failing) = (Some(trouble), true);
                // What changed is still to be written.
                self.saved_at = None;
            }
        }
        self.share();
    }

    /// Takes back what sources that are no longer configured had published.
    fn withdraw_orphans(&mut self, store: &Store) -> Result<(), ZoneError> {
        while let Some(orphan) = self.orphans.first() {
            let (nothing, name): (_, Arc<str>) = (Desired::default(), Arc::from(&**orphan));
            let mut had_published = false;
            store.commit_with(Author::Source(Arc::clone(&name)), |snapshot| {
                let changes = self.ground.rules.plan(&nothing, &name, snapshot).changes;
                had_published = !changes.is_empty();
                Ok(changes)
            })?;
            if had_published {
                info!(source = %name, "Withdrew what source `{name}` had published: it is no longer configured");
            }
            // Its line is to go too, if it has nothing but that.
            self.is_unkept = true;
            self.orphans.pop_first();
        }
        Ok(())
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        self.retire();
    }
}

fn sources(settings: &Settings, ground: &Ground) -> Vec<Arc<Source>> {
    Listing::all(settings).map(|listing| Arc::new(Source::new(listing, ground.clone()))).collect()
}
