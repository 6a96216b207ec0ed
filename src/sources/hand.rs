//! An operator's hand on the sources: a pass begun, a plan let pass, here or where the sources are listed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::all::Sources;
use super::error::{ConfirmError, NoSuchSource, NudgeError};
use super::instances::{NotTold, Reply, Want};
use super::shared::Shared;
use super::source::Source;
use crate::sync::Fingerprint;

impl Sources {
    /// Begins a pass over all of Azure, here or where it is listed.
    pub fn nudge(&self) {
        match self.shared().listed_elsewhere() {
            None => self.list().iter().filter_map(|source| source.live()).for_each(|live| live.nudge()),
            Some(instances) => instances.pass_on(Want::Pass { source: None }, || {}),
        }
    }

    /// Begins passes over Azure for which these files are confirmations, or has them followed where it is listed.
    pub(crate) fn follow_confirmations(&self, files: &BTreeSet<PathBuf>) {
        let (folder, listed_elsewhere) = (self.state_folder(), self.shared().listed_elsewhere());
        for source in self.list().iter().filter(|it| files.contains(&folder.confirmation_file(it.name()))) {
            let Some(live) = source.live() else { continue };
            match (&listed_elsewhere, folder.confirmed(source.name())) {
                // A file that waits is followed by the first pass after a restart or when this instance lists.
                (Some(instances), Ok(Some(plan))) => {
                    let own = Arc::clone(source);
                    let forget = move || {
                        own.ground.forget_confirmation(own.name());
                    };
                    instances.pass_on(Want::Confirm { source: source.name().to_owned(), plan }, forget);
                }
                _ => live.nudge(),
            }
        }
    }
}

impl Shared {
    /// Begins a pass of one source, or of all; those of Azure where they are listed. It may block.
    pub(crate) fn nudge(&self, name: Option<&str>) -> Result<Vec<String>, NudgeError> {
        let now = self.now();
        let is_wanted = |source: &Source| name.is_none_or(|name| name == source.name());
        let wanted: Vec<&Arc<Source>> = now.sources.iter().filter(|it| is_wanted(it)).collect();
        let (here, elsewhere): (Vec<&Arc<Source>>, Vec<_>) =
            wanted.iter().partition(|source| source.is_listed_here());
        for source in here {
            source.live().map_or_else(|| self.want_folders(), |live| live.want());
        }
        if !elsewhere.is_empty() {
            match self.ask(Want::Pass { source: name.map(str::to_owned) })? {
                Reply::Begun => {}
                reply => return Err(not_understood(reply).into()),
            }
        }
        match name {
            Some(name) if wanted.is_empty() => Err(NoSuchSource(name.to_owned()).into()),
            _ => {
                let mut names: Vec<String> = wanted.iter().map(|source| source.name().to_owned()).collect();
                names.sort_unstable();
                Ok(names)
            }
        }
    }

    /// Lets one plan pass; the instance that lists the source decides whether it is the one that is held back. It may
    /// block.
    pub(crate) fn confirm(&self, name: &str, plan: Fingerprint) -> Result<(), ConfirmError> {
        if self.now().named(name).is_none_or(|source| source.is_listed_here()) {
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

    /// Lets one plan pass, as `sync --once --confirm` does: a message is left in `state_dir`, and the next pass follows it.
    fn confirm_here(&self, name: &str, plan: Fingerprint) -> Result<(), ConfirmError> {
        let now = self.now();
        let source = now.named(name).ok_or_else(|| NoSuchSource(name.to_owned()))?;
        let known = source.known();
        let held_back = known.held_back().ok_or(ConfirmError::NothingHeldBack)?;
        if held_back.plan != plan {
            return Err(ConfirmError::OtherPlan { now: held_back.plan });
        }
        source.confirm(plan).map_err(|cause| ConfirmError::NotKept(cause.to_string()))?;
        source.live().map_or_else(|| self.want_folders(), |live| live.nudge());
        Ok(())
    }

    /// Does what another instance wants of the one that lists.
    pub(super) fn execute(&self, want: Want) -> Reply {
        match want {
            Want::Pass { source: name } => {
                let now = self.now();
                let is_wanted = |source: &Source| name.as_ref().is_none_or(|name| name == source.name());
                let mut wanted = now.live().filter(|(source, _)| is_wanted(source)).peekable();
                if wanted.peek().is_none() {
                    return Reply::NoSuchSource;
                }
                wanted.for_each(|(_, live)| live.want());
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
