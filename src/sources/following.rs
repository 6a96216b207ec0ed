//! One source among instances: what who lists it gives the others, and what a following one makes of it.

use tracing::{error, info};

use super::known::Known;
use super::role::Role;
use super::source::Source;
use super::spare;
use super::status::{Mark, Status};
use crate::sync::LastGood;
use crate::sync::state::{DocumentError, document, read_document};
use crate::telemetry::in_full;
use crate::zone::{Author, Store, ZoneError};

/// What a document did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is served.
    Served,
    /// It is what this instance gave itself, or has served already.
    Known,
    /// This instance lists, and has published since: the others are to have its own instead.
    Overruled,
}

impl Source {
    /// Notes that a pass was published.
    pub(super) fn note_published(&self) {
        if let Role::Listing { term } = self.ground.roles.now() {
            self.share().published_in = Some(term);
        }
    }

    /// Has the others told that a pass has ended, whatever came of it.
    pub(super) fn tell_ended(&self) {
        let Role::Listing { term } = self.ground.roles.now() else { return };
        {
            let mut share = self.share();
            // Others serve what this instance does after its first pass, also if that found no change.
            share.is_unshared |= share.ended_in != Some(term);
            share.ended_in = Some(term);
            share.is_untold = true;
        }
        self.ground.roles.announce();
    }

    /// What is published, packed for the others; `None` when there is nothing yet. It takes long.
    pub(super) fn packed(&self) -> Option<std::io::Result<Vec<u8>>> {
        let known = self.known();
        let saved = known.saved(&self.name)?;
        Some(document(&saved))
    }

    /// Serves at the start what others shared, if that is newer than what was kept here.
    pub(super) fn begin_with(&self, packed: &[u8], store: &Store) {
        let name = &self.name;
        match read_document(name, packed) {
            Ok(last) if self.is_older_than(&last) => {
                if let Err(cause) = self.serve(last, Mark::of(packed), store) {
                    error!(source = %name, "What was shared of `{name}` is not served: {}", in_full(&cause));
                }
            }
            Ok(_) => {}
            Err(cause) => self.distrust(unusable(&cause)),
        }
    }

    /// Has the same document taken again.
    pub(super) fn forget_document(&self) {
        let mut share = self.share();
        (share.document, share.offered) = (None, None);
    }

    /// Serves what another instance shared. It takes long. What cannot be read changes nothing.
    pub(super) fn take(&self, packed: &[u8], store: &Store) -> Result<Taken, String> {
        let mark = Mark::of(packed);
        if self.has_document(mark) {
            // It may be there again after one that could not be used.
            let was_in_trouble = self.share().trouble.take().is_some();
            if was_in_trouble {
                self.follow();
            }
            return Ok(Taken::Known);
        }
        if self.has_published() {
            return Ok(Taken::Overruled);
        }
        let last = match read_document(&self.name, packed) {
            Ok(last) => last,
            Err(cause) => {
                let why = unusable(&cause);
                self.distrust(why.clone());
                return Err(why);
            }
        };
        let Some(turn) = self.turn() else { return Ok(Taken::Known) };
        if self.has_published() {
            return Ok(Taken::Overruled);
        }
        // Before its first pass what a listing one has may be newer: it may have listed while the store was away.
        if self.is_listed_here() && !self.is_older_than(&last) {
            return Ok(Taken::Known);
        }
        let served = self.serve(last, mark, store);
        drop(turn);
        served.map_err(|cause| in_full(&cause))?;
        self.follow();
        spare::give_back(self.known().desired.publications.len());
        Ok(Taken::Served)
    }

    fn has_document(&self, mark: Mark) -> bool {
        let share = self.share();
        [share.document, share.offered].contains(&Some(mark))
    }

    fn is_older_than(&self, last: &LastGood) -> bool {
        self.known().read_at.is_none_or(|read_at| read_at < last.read_at)
    }

    /// Whether it has published since it lists.
    pub(super) fn has_published(&self) -> bool {
        match self.ground.roles.now() {
            Role::Listing { term } => self.share().published_in == Some(term),
            Role::Following => false,
        }
    }

    /// Serves a document; call it while nothing else publishes.
    fn serve(&self, last: LastGood, mark: Mark, store: &Store) -> Result<(), ZoneError> {
        let before = self.known();
        let is_same = last.desired.publishes_as(&before.desired);
        self.set_known(before.with(last.desired, last.read_at));
        // The one that listed it has it in the audit.
        if let Err(cause) = self.republish_by(Author::Audited, store) {
            self.set_known(before);
            return Err(cause);
        }
        self.forget_last();
        if !is_same {
            let (name, names) = (&self.name, self.known().names());
            info!(source = %name, names, "Source `{name}` is served as another instance lists it: {names} names");
            self.mark_unsaved();
        }
        {
            let mut share = self.share();
            (share.document, share.trouble, share.is_unshared) = (Some(mark), None, false);
        }
        self.tell_published(store);
        Ok(())
    }

    /// Tells that what others share is not to be had; what is served stays.
    fn distrust(&self, why: String) {
        let name = &self.name;
        let before = self.share().trouble.replace(why.clone());
        if before.as_ref() != Some(&why) {
            error!(source = %name, "Source `{name}` stays as it was: {why}");
        }
        self.follow();
    }

    /// Takes in what the instance that lists tells.
    pub(super) fn receive(&self, status: Status) {
        self.share().status = Some(status);
        self.follow();
    }

    /// Nobody who lists can be heard.
    pub(super) fn cut_off(&self, why: &str) {
        if let Some(_turn) = self.turn().filter(|_| !self.is_listed_here()) {
            self.change_known(|known| known.state = known.state.failed(why.to_owned()));
        }
    }

    /// Shows where the source stands as the instance that lists told it, as far as that is true of what is served here.
    fn follow(&self) {
        let Some(_turn) = self.turn().filter(|_| !self.is_listed_here()) else { return };
        let share = self.share().clone();
        let mut known = Known::clone(&self.known());
        if let Some(status) = &share.status {
            let is_served = status.document.is_some() && status.document == share.document;
            status.show_in(&mut known, is_served);
            self.change_times(|times| *times = status.times());
        }
        if let Some(trouble) = share.trouble {
            known.state = known.state.failed(trouble);
        }
        self.set_known(known);
    }

    /// Where it stands, for the others.
    pub(super) fn status(&self, host: &str) -> Status {
        let document = self.share().document;
        Status::new(&self.name, host, &self.known(), self.times(), document)
    }

    /// Whether it is this instance that lists it: all but one follow Azure, and each reads its own folders.
    pub(crate) fn is_listed_here(&self) -> bool {
        self.live().is_none() || self.ground.roles.is_listing()
    }

    /// The other instance that lists it, if one has been heard from, and how much of it that one cannot list.
    pub(crate) fn listed_by(&self) -> Option<(String, usize)> {
        if self.is_listed_here() {
            return None;
        }
        self.share().status.as_ref().map(|status| (status.host.clone(), status.failing_count))
    }
}

fn unusable(cause: &DocumentError) -> String {
    format!("what the instance that lists has shared cannot be used: {}", in_full(cause))
}
