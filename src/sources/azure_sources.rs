//! Live Azure in the background: all sources of it, and the tasks that list them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::all::StateAccess;
use super::azure::AzureSource;
use super::known::Known;
use super::role::Roles;
use super::settings::Settings;
use super::source::Rules;
use super::told::Told;
use crate::sync::{StateFolder, azure};
use crate::zone::Store;

/// All `[[sync.source]]` of kinds `arm` and `private-dns`.
pub struct AzureSources {
    list: Vec<Arc<AzureSource>>,
    running: Vec<JoinHandle<()>>,
    passed: Arc<Notify>,
    roles: Roles,
}

impl AzureSources {
    /// Sources that ask nothing yet.
    pub(super) fn new(
        settings: &Settings,
        access: StateAccess,
        rules: &Rules,
        told: &Told,
        roles: &Roles,
    ) -> AzureSources {
        let passed = Arc::new(Notify::new());
        let new = |own: &azure::Settings| {
            let (own, rules, told) = (own.clone(), rules.clone(), told.clone());
            let (passed, roles) = (Arc::clone(&passed), roles.clone());
            Arc::new(AzureSource::new(own, settings, access, rules, told, passed, roles))
        };
        let list = settings.azure.iter().map(new).collect();
        AzureSources { list, running: Vec::new(), passed, roles: roles.clone() }
    }

    /// Other settings, and nothing runs any more; a source that stays, by its name, keeps what it knows.
    pub(super) fn configure(&mut self, settings: &Settings, access: StateAccess, rules: &Rules, told: &Told) {
        self.retire();
        let roles = self.roles.clone();
        let old = std::mem::replace(self, AzureSources::new(settings, access, rules, told, &roles));
        for source in &self.list {
            if let Some(known) = old.named(&source.settings.name) {
                source.inherit(known);
            }
        }
    }

    pub(super) fn retire(&self) {
        self.running.iter().for_each(JoinHandle::abort);
        // What publishes at this moment is not stopped by that, but waited for.
        self.list.iter().for_each(|source| source.retire());
    }

    /// Begins passes in the background, for as long as this instance lists.
    pub(super) fn start(&mut self, store: &Arc<Store>) {
        let sources = self.list.iter();
        self.running = sources.map(|it| tokio::spawn(Arc::clone(it).run(Arc::clone(store)))).collect();
    }

    /// Begins a pass of each source now; one that is under way is followed by another.
    pub fn nudge(&self) {
        self.list.iter().for_each(|source| source.nudge());
    }

    /// Those sources for which one of these files is a confirmation.
    pub(crate) fn confirmed<'s>(
        &'s self,
        state: &'s StateFolder,
        files: &'s BTreeSet<PathBuf>,
    ) -> impl Iterator<Item = &'s Arc<AzureSource>> {
        self.list.iter().filter(|it| files.contains(&state.confirmation_file(&it.settings.name)))
    }

    /// The sources in the order of config.
    pub fn list(&self) -> &[Arc<AzureSource>] {
        &self.list
    }

    /// What passes have found out so far, in the order of config.
    pub fn known(&self) -> Vec<Arc<Known>> {
        self.list.iter().map(|source| source.known()).collect()
    }

    pub(super) fn named(&self, name: &str) -> Option<&Arc<AzureSource>> {
        self.list.iter().find(|source| source.settings.name == name)
    }

    /// Told when there may be something to keep.
    pub(crate) fn passed(&self) -> &Arc<Notify> {
        &self.passed
    }

    /// Whether something was published since this was last asked.
    pub(super) fn take_unsaved(&self) -> bool {
        self.list.iter().fold(false, |any, source| any | source.take_unsaved())
    }
}

impl Drop for AzureSources {
    fn drop(&mut self) {
        self.retire();
    }
}
