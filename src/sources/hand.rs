//! An operator's hand on sources of every kind: read one, see what that would do, publish it.

use std::sync::Arc;

use super::all::Sources;
use super::instances::{NotTold, Reply, Want};
use super::shared::Shared;
use super::source::{Proposal, Published, Reading};
use crate::sources::{ConfirmError, NoSuchSource, NudgeError};
use crate::sync::state::Confirmation;
use crate::sync::{Fingerprint, StateError};
use crate::zone::{Snapshot, Store, ZoneError};

/// One `[[sync.source]]` by its kind and its place among these: a further kind is one more of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceAt {
    /// In [`Sources::list`].
    Directory(usize),
    /// In [`super::AzureSources::list`].
    Azure(usize),
}

impl Sources {
    /// The sources of every kind.
    pub fn all(&self) -> Vec<SourceAt> {
        let directories = (0..self.list().len()).map(SourceAt::Directory);
        directories.chain((0..self.azure().list().len()).map(SourceAt::Azure)).collect()
    }

    /// What a source's records are said to come from.
    pub fn name(&self, at: SourceAt) -> &str {
        match at {
            SourceAt::Directory(index) => &self.list()[index].settings.name,
            SourceAt::Azure(index) => &self.azure().list()[index].settings.name,
        }
    }

    /// What one source says now, or why nothing is known of it.
    pub async fn read(&self, at: SourceAt, store: &Store) -> Result<Reading, String> {
        match at {
            SourceAt::Directory(index) => self.list()[index].read(self.rules()),
            SourceAt::Azure(index) => self.azure().list()[index].read(store).await,
        }
    }

    /// What publishing that would do.
    pub fn propose(&self, at: SourceAt, reading: &Reading, snapshot: &Snapshot) -> Proposal {
        let older = match at {
            SourceAt::Directory(index) => Arc::clone(&self.list()[index].desired),
            SourceAt::Azure(index) => Arc::clone(&self.azure().list()[index].known().desired),
        };
        self.rules().propose(&reading.desired, &older, &self.name(at).into(), snapshot)
    }

    /// Leaves word for a running server that exactly this plan may pass.
    pub fn confirm(&self, at: SourceAt, plan: Fingerprint) -> Result<(), StateError> {
        self.state_folder().confirm(&Confirmation { source: self.name(at).to_owned(), plan })
    }

    /// Publishes what one source said; what would be held back of it only if it is that plan which was confirmed.
    pub fn publish(
        &mut self,
        at: SourceAt,
        reading: Reading,
        store: &Store,
        confirmed: Option<Fingerprint>,
    ) -> Result<Published, ZoneError> {
        match at {
            SourceAt::Directory(index) => self.publish_directory(index, reading, store, confirmed),
            SourceAt::Azure(index) => {
                let consents = |_: &str, plan| confirmed == Some(plan);
                self.azure().list()[index].publish(reading, store, consents)
            }
        }
    }
}

impl Shared {
    /// Begins a pass of one source, or of all; those of Azure where they are listed. It may block.
    pub(crate) fn nudge(&self, name: Option<&str>) -> Result<Vec<String>, NudgeError> {
        let now = self.now();
        let is_wanted = |own: &str| name.is_none_or(|name| name == own);
        let directories = now.directories.iter().map(|it| &it.settings.name);
        let mut nudged: Vec<String> = directories.filter(|name| is_wanted(name)).cloned().collect();
        if !nudged.is_empty() {
            self.want_folders();
        }
        let azure: Vec<_> = now.azure.iter().filter(|it| is_wanted(&it.settings.name)).collect();
        if !azure.is_empty() && !self.roles().is_listing() {
            let source = name.map(str::to_owned);
            match self.ask(Want::Pass { source })? {
                Reply::Begun => {}
                reply => return Err(not_understood(reply).into()),
            }
        } else {
            azure.iter().for_each(|source| source.want());
        }
        nudged.extend(azure.iter().map(|source| source.settings.name.clone()));
        match (nudged.is_empty(), name) {
            (true, Some(name)) => Err(NoSuchSource(name.to_owned()).into()),
            _ => {
                nudged.sort_unstable();
                Ok(nudged)
            }
        }
    }

    /// Lets one plan pass; the instance that lists the source decides whether it is the one that is held back. It may
    /// block.
    pub(crate) fn confirm(&self, name: &str, plan: Fingerprint) -> Result<(), ConfirmError> {
        let is_azure = self.now().azure.iter().any(|it| it.settings.name == name);
        if !is_azure || self.roles().is_listing() {
            return self.confirm_here(name, plan);
        }
        match self.ask(Want::Confirm { source: name.to_owned(), plan })? {
            Reply::Begun => Ok(()),
            Reply::NothingHeldBack => Err(ConfirmError::NothingHeldBack),
            Reply::OtherPlan { now } => Err(ConfirmError::OtherPlan { now }),
            Reply::NotKept { why } => Err(ConfirmError::NotKept(why)),
            reply @ Reply::NoSuchSource => Err(not_understood(reply).into()),
        }
    }

    /// Lets one plan pass, as `sync --once --confirm` does: word is left in `state_dir`, and the next pass follows it.
    fn confirm_here(&self, name: &str, plan: Fingerprint) -> Result<(), ConfirmError> {
        let now = self.now();
        let azure = now.azure.iter().find(|it| it.settings.name == name);
        let directory = now.directories.iter().find(|it| it.settings.name == name);
        let held_back = match (azure, directory) {
            (Some(source), _) => source.known().held_back().cloned(),
            (None, Some(source)) => source.held_back().cloned(),
            (None, None) => return Err(NoSuchSource(name.to_owned()).into()),
        };
        let held_back = held_back.ok_or(ConfirmError::NothingHeldBack)?;
        if held_back.plan != plan {
            return Err(ConfirmError::OtherPlan { now: held_back.plan });
        }
        let confirmation = Confirmation { source: name.to_owned(), plan };
        now.state.confirm(&confirmation).map_err(|cause| ConfirmError::NotKept(cause.to_string()))?;
        match azure {
            Some(source) => source.nudge(),
            None => self.want_folders(),
        }
        Ok(())
    }

    /// Does what another instance wants of the one that lists.
    pub(super) fn execute(&self, want: Want) -> Reply {
        match want {
            Want::Pass { source } => {
                let now = self.now();
                let is_wanted = |own: &str| source.as_ref().is_none_or(|source| source == own);
                let mut wanted = now.azure.iter().filter(|it| is_wanted(&it.settings.name)).peekable();
                if wanted.peek().is_none() {
                    return Reply::NoSuchSource;
                }
                wanted.for_each(|source| source.want());
                Reply::Begun
            }
            Want::Confirm { source, plan } => match self.confirm_here(&source, plan) {
                Ok(()) => Reply::Begun,
                Err(ConfirmError::NoSuchSource(_)) => Reply::NoSuchSource,
                Err(ConfirmError::NothingHeldBack) => Reply::NothingHeldBack,
                Err(ConfirmError::OtherPlan { now }) => Reply::OtherPlan { now },
                Err(ConfirmError::NotKept(why) | ConfirmError::NotTold(why)) => Reply::NotKept { why },
            },
        }
    }

    /// Asks the instance that lists.
    fn ask(&self, want: Want) -> Result<Reply, NotTold> {
        match self.instances() {
            Some(instances) => instances.ask_blocking(want),
            None => Err(NotTold::stopping()),
        }
    }
}

/// The sources of all instances should be the same.
fn not_understood(reply: Reply) -> NotTold {
    match reply {
        Reply::NoSuchSource => NotTold::because("it has no such source; all instances must have the same"),
        reply => NotTold::because(&format!("it answers {reply:?}")),
    }
}
