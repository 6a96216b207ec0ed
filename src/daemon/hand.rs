//! An operator's hand on sources of every kind: read one, see what that would do, publish it.

use std::sync::Arc;

use super::source::{Proposal, Published, Reading};
use super::sources::Sources;
use crate::sync::state::Confirmation;
use crate::sync::{Fingerprint, StateError};
use crate::zone::{CommitError, Snapshot, Store};

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
    ) -> Result<Published, CommitError> {
        match at {
            SourceAt::Directory(index) => self.publish_directory(index, reading, store, confirmed),
            SourceAt::Azure(index) => {
                let consents = |_: &str, plan| confirmed == Some(plan);
                self.azure().list()[index].publish(reading, store, consents)
            }
        }
    }
}
