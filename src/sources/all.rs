//! All sources that inventories are read from, and what they published kept for the next start.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{error, info, warn};

use super::azure_sources::AzureSources;
use super::role::Roles;
use super::settings::Settings;
use super::shared::{Now, Shared};
use super::source::{self, Published, Reading, Restored, Rules, Source, SourceState, forget_confirmation};
use super::told::Told;
use crate::sync::azure::Subject;
use crate::sync::{
    self, Desired, Drift, Fingerprint, ListedEndpoints, ListedExtent, Saved, StateError, StateFolder,
};
use crate::zone::{Author, Overlay, Snapshot, Store, ZoneError};

/// Where nothing changes the file is still written this often after listings, so that it tells how old its content
/// really is.
const SAVED_AT_LEAST_EVERY: Duration = Duration::from_secs(15 * 60);

/// All `[[sync.source]]`: the folders, and live Azure beside them.
pub struct Sources {
    rules: Rules,
    list: Vec<Source>,
    azure: AzureSources,
    told: Told,
    shared: Shared,
    state: StateFolder,
    access: StateAccess,
    saved_at: Option<SystemTime>,
    /// What is published is not what was last kept.
    is_unkept: bool,
    /// Names of sources that are no longer configured, whose records may still be there.
    orphans: BTreeSet<String>,
    trouble: Option<String>,
    /// The last attempt to keep it failed.
    is_failing: bool,
}

/// What may be done in `state_dir`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateAccess {
    /// What is published is kept there: by the server, and by `sync --once`.
    Keep,
    /// It is only read: by those who want to know what a server would serve.
    Look,
}

impl StateAccess {
    /// What an operator confirmed for a source; what cannot be read confirms nothing, and who only looks follows nothing.
    pub(super) fn confirmed(self, state: &StateFolder, name: &str) -> Option<Fingerprint> {
        if self == StateAccess::Look {
            return None;
        }
        state.confirmed(name).unwrap_or_else(|cause| {
            error!(source = %name, "The confirmation for source `{name}` is not followed: {cause}");
            if matches!(cause, StateError::OtherConfirmation { .. }) {
                forget_confirmation(state, name);
            }
            None
        })
    }
}

impl Sources {
    /// Sources that have not been read yet.
    pub fn new(settings: &Settings, access: StateAccess, written: &Arc<dyn Overlay>) -> Sources {
        let list = settings.directories.iter().map(|settings| Source::new(settings.clone())).collect();
        let state = StateFolder::new(&settings.state_dir);
        let (told, rules) = (Told::default(), Rules::new(settings, written));
        let roles = Roles::default();
        let azure = AzureSources::new(settings, access, &rules, &told, &roles);
        let shared = Shared::new(&state, roles);
        let sources = Sources {
            rules,
            list,
            azure,
            told,
            shared,
            state,
            access,
            saved_at: None,
            is_unkept: false,
            orphans: BTreeSet::new(),
            trouble: None,
            is_failing: false,
        };
        sources.share();
        sources
    }

    /// What others see of the sources, and ask of them.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Shows others what is so now.
    fn share(&self) {
        self.shared.show(Now {
            directories: self.list.clone(),
            azure: self.azure.list().to_vec(),
            state: self.state.clone(),
            trouble: self.trouble.clone(),
            told: self.told.clone(),
        });
    }

    /// Other settings; a source that stays keeps what it knows.
    pub fn configure(&mut self, new: &Settings) {
        let before: Vec<String> = self.names().collect();
        self.orphans.extend(before);
        let mut old = std::mem::take(&mut self.list);
        for settings in &new.directories {
            // Its records are known by its name: elsewhere read, it has still published them.
            let known = old.iter().position(|source| source.settings.name == settings.name);
            self.list.push(match known {
                Some(index) => Source { settings: settings.clone(), ..old.swap_remove(index) },
                None => Source::new(settings.clone()),
            });
        }
        self.rules = Rules::new(new, &self.rules.written);
        self.azure.configure(new, self.access, &self.rules, &self.told);
        let configured: BTreeSet<String> = self.names().collect();
        self.orphans.retain(|name| !configured.contains(name));
        let state = StateFolder::new(&new.state_dir);
        if state != self.state {
            (self.state, self.saved_at) = (state, None);
        }
        self.share();
    }

    /// The folders in the order of config.
    pub fn list(&self) -> &[Source] {
        &self.list
    }

    /// Live Azure.
    pub fn azure(&self) -> &AzureSources {
        &self.azure
    }

    /// Begins to ask Azure in the background.
    pub fn start(&mut self, store: &Arc<Store>) {
        self.azure.start(store);
    }

    /// Why the last good state could not be read or kept.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Where the last good state is kept.
    pub fn state_folder(&self) -> &StateFolder {
        &self.state
    }

    /// Publishes what the sources had published before the restart. No fault in that is a reason not to start.
    pub fn restore(&mut self, store: &Store) {
        if self.access == StateAccess::Keep {
            self.state.sweep();
        }
        let restored = match self.state.load() {
            Ok(restored) => restored,
            Err(cause) => return self.give_up(&cause),
        };
        let mut failed = None;
        let is_there = !restored.is_empty();
        for last in restored {
            let name = Arc::clone(&last.source);
            let of_list = self.list.iter_mut().find(|source| source.settings.name == *name);
            let restored = match (self.azure.named(&name), of_list) {
                (Some(azure), _) => azure.restore(last, store),
                (None, Some(source)) => source.restore(last, store, &self.rules),
                (None, None) => {
                    info!(source = %name,
                        "What source `{name}` had published is not restored: it is no longer configured");
                    Ok(Restored::Less)
                }
            };
            match restored {
                Ok(restored) => self.is_unkept |= restored == Restored::Less,
                Err(cause) => failed = Some(cause),
            }
        }
        match failed {
            Some(cause) => self.give_up(&cause),
            // What was just read need not be written: a million names take seconds.
            None if is_there && self.state.is_writable() => self.saved_at = self.state.saved_at(),
            // The first attempt to keep it tells what is wrong.
            None => {}
        }
        self.share();
    }

    /// Tells that the last good state is not to be had, and keeps its file for people to look at.
    fn give_up(&mut self, cause: &dyn Error) {
        let kept = match self.access {
            StateAccess::Look => String::new(),
            StateAccess::Keep => match self.state.set_aside() {
                Ok(path) => format!("; it is kept as {}", path.display()),
                Err(cause) => format!("; {cause}"),
            },
        };
        let trouble = format!("The last good state is not restored: {cause}{kept}");
        error!("{trouble}");
        self.trouble = Some(trouble);
        self.share();
    }

    /// Reads every source and publishes what it says. A source that cannot be read leaves its records as they are.
    pub fn pass(&mut self, store: &Store) -> Result<(), ZoneError> {
        self.publish_all(store)?;
        self.tell(store);
        self.keep();
        Ok(())
    }

    /// The same as far as who asks is answered by it; the rest, [`Sources::tell`] and [`Sources::keep`], can wait.
    pub(crate) fn publish_all(&mut self, store: &Store) -> Result<(), ZoneError> {
        for index in 0..self.list.len() {
            // What is confirmed comes first: the inventory read afterwards is not older than that the operator saw.
            let confirmed = self.access.confirmed(&self.state, &self.list[index].settings.name);
            let source = &mut self.list[index];
            source.passed_at = Some(SystemTime::now());
            match source.read(&self.rules) {
                Ok(reading) => {
                    let state = &self.state;
                    let consents =
                        |source: &str, plan| confirmed == Some(plan) && forget_confirmation(state, source);
                    let published = source.publish(reading, store, &self.rules, consents)?;
                    self.is_unkept |= published.is_changed;
                    if confirmed.is_some() {
                        source::tell_unused_confirmation(&source.settings.name, &self.state, published);
                    }
                }
                Err(why) => source.is_stale(why),
            }
        }
        self.withdraw_orphans(store)?;
        self.share();
        Ok(())
    }

    /// Logs the conflicts and the drift that are new.
    pub(crate) fn tell(&self, store: &Store) {
        self.told.tell(&store.load());
        self.tell_drift(store);
    }

    /// Asks Azure no more, and keeps what was published.
    pub fn stop(&mut self) {
        // A pass that publishes at this moment is waited for.
        self.azure.retire();
        self.keep();
    }

    /// Where Azure's private DNS zones say otherwise than the endpoints, as far as that is known.
    pub fn drift(&self, snapshot: &Snapshot) -> Vec<Drift> {
        let known = self.azure.known();
        let zones: Vec<_> = known.iter().flat_map(|known| &known.desired.zones).collect();
        if zones.is_empty() {
            return Vec::new();
        }
        let azure = self.azure.list().iter().zip(&known);
        let azure = azure.filter(|(source, _)| source.settings.subject == Subject::Endpoints);
        let azure: Vec<_> = azure.map(|(_, known)| (&known.state, &*known.desired)).collect();
        let sources = self.list.iter().map(|source| (&source.state, &*source.desired));
        let sources: Vec<_> = sources.chain(azure).collect();
        let is_current = |(state, _): &(&SourceState, &Desired)| matches!(state, SourceState::Current { .. });
        let extent = match !sources.is_empty() && sources.iter().all(is_current) {
            true => ListedExtent::Whole,
            false => ListedExtent::Part,
        };
        let endpoints = ListedEndpoints::of(sources.iter().map(|(_, desired)| *desired), extent);
        sync::drift(zones.into_iter().map(|zone| &**zone), snapshot, &endpoints)
    }

    /// Logs the drift that is new.
    pub(crate) fn tell_drift(&self, store: &Store) {
        self.told.tell_drift(self.drift(&store.load()));
    }

    /// Keeps what passes have changed since.
    pub fn keep(&mut self) {
        self.is_unkept |= self.azure.take_unsaved();
        self.save_if_wanted();
        self.share();
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn publish_directory(
        &mut self,
        index: usize,
        reading: Reading,
        store: &Store,
        confirmed: Option<Fingerprint>,
    ) -> Result<Published, ZoneError> {
        self.list[index].publish(reading, store, &self.rules, |_, plan| confirmed == Some(plan))
    }

    /// Publishes anew what is published, as other settings want it: what they withdraw, an operator withdrew.
    pub fn republish(&mut self, store: &Store) -> Result<(), ZoneError> {
        for source in &mut self.list {
            self.is_unkept |= source.republish(store, &self.rules)? == Restored::Less;
        }
        self.azure.list().iter().try_for_each(|source| source.republish(store))?;
        self.share();
        Ok(())
    }

    /// Keeps what is published for the next start.
    pub fn save(&mut self) -> Result<(), sync::StateError> {
        let azure: Vec<_> = self.azure.list().iter().map(|source| (source, source.known())).collect();
        let mut saved: Vec<Saved<'_>> = self.list.iter().filter_map(Source::saved).collect();
        saved.extend(azure.iter().filter_map(|(source, known)| known.saved(&source.settings.name)));
        self.state.save(&saved)?;
        azure.iter().for_each(|(source, known)| source.is_kept(known.read_at));
        self.saved_at = Some(SystemTime::now());
        self.list.iter_mut().for_each(|source| source.kept = source.read_at);
        Ok(())
    }

    fn save_if_wanted(&mut self) {
        // What lies ahead of a clock that was set back is of no known age.
        let age = |saved_at: SystemTime| saved_at.elapsed().unwrap_or(SAVED_AT_LEAST_EVERY);
        let is_due = || match self.saved_at.map(age) {
            Some(age) => age >= SAVED_AT_LEAST_EVERY && self.is_listed_since(),
            None => !self.list.is_empty() || !self.azure.list().is_empty(),
        };
        if self.access == StateAccess::Look || !(self.is_unkept || is_due()) {
            return;
        }
        match self.save() {
            Ok(()) => {
                if self.is_failing {
                    info!(
                        "What is published is kept for a restart again, in {}",
                        self.state.path().display()
                    );
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
    }

    /// Whether some source was listed since that was listed which is kept.
    fn is_listed_since(&self) -> bool {
        self.list.iter().any(|source| source.read_at != source.kept)
            || self.azure.list().iter().any(|source| source.known().read_at != source.kept())
    }

    /// The names of all that are configured.
    fn names(&self) -> impl Iterator<Item = String> {
        let of_azure = self.azure.list().iter().map(|source| &source.settings.name);
        self.list.iter().map(|source| &source.settings.name).chain(of_azure).cloned()
    }

    /// Takes back what sources that are no longer configured had published.
    fn withdraw_orphans(&mut self, store: &Store) -> Result<(), ZoneError> {
        while let Some(orphan) = self.orphans.first() {
            let (nothing, name): (_, Arc<str>) = (Desired::default(), Arc::from(&**orphan));
            let mut had_published = false;
            store.commit_with(Author::Source(Arc::clone(&name)), |snapshot| {
                let changes = self.rules.plan(&nothing, &name, snapshot).changes;
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
