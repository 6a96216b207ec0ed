//! What instances tell each other of one source, and what a following one makes of it.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};
use tracing::{error, info};

use super::azure::{AzureSource, PassTimes};
use super::known::Known;
use super::role::Role;
use super::source::{Published, SourceState};
use super::spare;
use crate::sync::state::{DocumentError, document, read_document};
use crate::sync::{HeldBack, LastGood};
use crate::telemetry::in_full;
use crate::zone::{Author, Store, ZoneError};

/// Characters of a reason that other instances are told; who lists has it whole in its log.
const WHY_CHARS_MAX: usize = 300;
/// Subscriptions and zones that cannot be listed or wait, of which others are told more than the number.
const FAILING_TOLD_MAX: usize = 3;

/// What instances have told each other of a source.
#[derive(Clone, Default)]
pub(super) struct Share {
    /// What is published is in no document yet.
    pub is_unshared: bool,
    /// A pass has ended of which the others do not know.
    pub is_untold: bool,
    /// The term in which a pass of ours was last published.
    published_in: Option<u64>,
    /// The term in which one last ended, whatever came of it.
    ended_in: Option<u64>,
    /// The document that was last taken from the others, or given to them.
    pub document: Option<Mark>,
    /// The document that is being given to them.
    pub offered: Option<Mark>,
    /// Why the document of the others is not served.
    pub trouble: Option<String>,
    /// What the instance that lists said last.
    pub told: Option<Status>,
}

/// Tells one document from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Mark(u128);

/// Where a source stands with the instance that lists it; times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Status {
    pub source: String,
    /// The host that lists it.
    pub host: String,
    pub state: StateWord,
    pub since_ms: u64,
    pub why: Option<String>,
    pub asked: bool,
    pub read_at_ms: Option<u64>,
    pub held_back: Option<HeldBack>,
    pub failing_count: usize,
    /// The first of them: id, since when, why.
    pub failing: Vec<(String, u64, String)>,
    pub began_ms: Option<u64>,
    pub ended_ms: Option<u64>,
    pub next_ms: Option<u64>,
    /// What the others should be serving by now.
    pub document: Option<Mark>,
}

/// The state without what goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StateWord {
    Current,
    Stale,
    HeldBack,
}

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

impl Mark {
    pub fn of(document: &[u8]) -> Mark {
        let mut hasher = SipHasher13::new();
        hasher.write(document);
        Mark(hasher.finish128().as_u128())
    }
}

impl AzureSource {
    /// Notes that a pass was published.
    pub(super) fn pass_published(&self, published: &Result<Published, ZoneError>) {
        if let (Ok(_), Role::Listing { term }) = (published, self.roles.now()) {
            self.share.lock().published_in = Some(term);
        }
    }

    /// Notes that a pass has ended, whatever came of it.
    pub(super) fn pass_ended(&self) {
        let Role::Listing { term } = self.roles.now() else { return };
        let mut share = self.share.lock();
        // Others serve what this instance does after its first pass, also if that found no change.
        share.is_unshared |= share.ended_in != Some(term);
        share.ended_in = Some(term);
        share.is_untold = true;
        drop(share);
        self.roles.has_news();
    }

    /// What is published, packed for the others; `None` when there is nothing yet. It takes long.
    pub(super) fn packed(&self) -> Option<std::io::Result<Vec<u8>>> {
        let known = self.known();
        let saved = known.saved(&self.settings.name)?;
        Some(document(&saved))
    }

    /// Serves at the start what others shared, if that is newer than what was kept here.
    pub(super) fn begin_with(&self, packed: &[u8], store: &Store) {
        let name = &self.settings.name;
        match read_document(name, packed) {
            Ok(last) if self.known().read_at.is_none_or(|read_at| read_at < last.read_at) => {
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
        let mut share = self.share.lock();
        (share.document, share.offered) = (None, None);
    }

    /// Serves what another instance shared. It takes long. What cannot be read changes nothing.
    pub(super) fn take(&self, packed: &[u8], store: &Store) -> Result<Taken, String> {
        let mark = Mark::of(packed);
        if self.knows(mark) {
            // It may be there again after one that could not be used.
            if self.share.lock().trouble.take().is_some() {
                self.settle();
            }
            return Ok(Taken::Known);
        }
        if self.has_published() {
            return Ok(Taken::Overruled);
        }
        let last = match read_document(&self.settings.name, packed) {
            Ok(last) => last,
            Err(cause) => {
                let why = unusable(&cause);
                self.distrust(why.clone());
                return Err(why);
            }
        };
        let retired = self.retired.lock();
        if *retired {
            return Ok(Taken::Known);
        }
        if self.has_published() {
            return Ok(Taken::Overruled);
        }
        // Before its first pass what a listing one has may be newer: it may have listed while the store was away.
        let is_newer = || self.known().read_at.is_none_or(|read_at| read_at < last.read_at);
        if self.roles.is_listing() && !is_newer() {
            return Ok(Taken::Known);
        }
        let served = self.serve(last, mark, store);
        drop(retired);
        served.map_err(|cause| in_full(&cause))?;
        self.settle();
        spare::give_back(self.known().desired.publications.len());
        Ok(Taken::Served)
    }

    fn knows(&self, mark: Mark) -> bool {
        let share = self.share.lock();
        [share.document, share.offered].contains(&Some(mark))
    }

    /// Whether it has published since it lists.
    pub(super) fn has_published(&self) -> bool {
        match self.roles.now() {
            Role::Listing { term } => self.share.lock().published_in == Some(term),
            Role::Following => false,
        }
    }

    /// Serves a document; call it while nothing else publishes.
    fn serve(&self, last: LastGood, mark: Mark, store: &Store) -> Result<(), ZoneError> {
        let (before, read_at) = (self.known(), last.read_at);
        let is_same = last.desired.publishes_as(&before.desired);
        let (held_back, desired) = (last.desired.held_back.clone(), Arc::new(last.desired));
        self.known.store(Arc::new(Known {
            desired,
            read_at: Some(read_at),
            held_back,
            ..Known::clone(&before)
        }));
        // The one that listed it has it in the audit.
        if let Err(cause) = self.republish_by(Author::Audited, store) {
            self.known.store(before);
            return Err(cause);
        }
        self.forget_last();
        if !is_same {
            let (name, names) = (&self.settings.name, self.known().desired.names());
            info!(source = %name, names, "Source `{name}` is served as another instance lists it: {names} names");
            self.has_changed();
        }
        let mut share = self.share.lock();
        (share.document, share.trouble, share.is_unshared) = (Some(mark), None, false);
        drop(share);
        self.told.tell(&store.load());
        self.passed.notify_one();
        Ok(())
    }

    /// Tells that what others share is not to be had; what is served stays.
    fn distrust(&self, why: String) {
        let name = &self.settings.name;
        if self.share.lock().trouble.as_ref() != Some(&why) {
            error!(source = %name, "Source `{name}` stays as it was: {why}");
        }
        self.share.lock().trouble = Some(why);
        self.settle();
    }

    /// Hears from the instance that lists.
    pub(super) fn hear(&self, status: Status) {
        self.share.lock().told = Some(status);
        self.settle();
    }

    /// Nobody who lists is heard of.
    pub(super) fn is_cut_off(&self, why: &str) {
        let retired = self.retired.lock();
        if *retired || self.roles.is_listing() {
            return;
        }
        let mut known = Known::clone(&self.known());
        known.state = known.state.failed(why.to_owned());
        self.known.store(Arc::new(known));
    }

    /// Shows where the source stands as the instance that lists told it, as far as that is true of what is served here.
    pub(super) fn settle(&self) {
        let retired = self.retired.lock();
        if *retired || self.roles.is_listing() {
            return;
        }
        let share = self.share.lock().clone();
        let mut known = Known::clone(&self.known());
        if let Some(told) = &share.told {
            let is_served = told.document.is_some() && told.document == share.document;
            known.asked |= told.asked;
            if is_served || told.state != StateWord::Current {
                known.state = told.state();
            } else if told.document.is_none() && told.read_at_ms.is_some() {
                let why = "the instance that lists it has not shared what it publishes";
                known.state = known.state.failed(why.to_owned());
            }
            if is_served {
                known.read_at = told.read_at_ms.map(time_of_ms).or(known.read_at);
            }
            let failing = told.failing.iter();
            let failing =
                failing.map(|(id, since, why)| (Arc::from(&**id), (time_of_ms(*since), why.clone())));
            known.failing = failing.collect::<BTreeMap<_, _>>();
            // What is served here names all parts of it.
            let served = known.desired.held_back.as_ref();
            let is_told =
                |served: &&HeldBack| told.held_back.as_ref().is_some_and(|it| it.plan == served.plan);
            known.held_back = served.filter(is_told).or(told.held_back.as_ref()).cloned();
            *self.times.lock() = PassTimes {
                began: told.began_ms.map(time_of_ms),
                ended: told.ended_ms.map(time_of_ms),
                next: told.next_ms.map(time_of_ms),
            };
        }
        if let Some(trouble) = share.trouble {
            known.state = known.state.failed(trouble);
        }
        self.known.store(Arc::new(known));
    }

    /// Where it stands, for the others.
    pub(super) fn status(&self, host: &str) -> Status {
        let (known, times) = (self.known(), self.times());
        let (state, since, why) = match &known.state {
            SourceState::Current { since } => (StateWord::Current, since, None),
            SourceState::Stale { since, why } => (StateWord::Stale, since, Some(cut(why))),
            SourceState::HeldBack { since, .. } => (StateWord::HeldBack, since, None),
        };
        let failing = known.failing.iter().take(FAILING_TOLD_MAX);
        Status {
            source: self.settings.name.clone(),
            host: cut(host),
            state,
            since_ms: unix_ms(*since),
            why,
            asked: known.asked,
            read_at_ms: known.read_at.map(unix_ms),
            held_back: known.held_back().cloned().map(|mut held_back| {
                held_back.parts.truncate(FAILING_TOLD_MAX);
                held_back
            }),
            failing_count: known.failing.len(),
            failing: failing.map(|(id, (since, why))| (cut(id), unix_ms(*since), cut(why))).collect(),
            began_ms: times.began.map(unix_ms),
            ended_ms: times.ended.map(unix_ms),
            next_ms: times.next.map(unix_ms),
            document: self.share.lock().document,
        }
    }

    /// Whether it is this instance that lists it.
    pub(crate) fn is_listed_here(&self) -> bool {
        self.roles.is_listing()
    }

    /// Who lists it, if that is another instance that was heard of, and how much of it that cannot list.
    pub(crate) fn listed_by(&self) -> Option<(String, usize)> {
        if self.roles.is_listing() {
            return None;
        }
        self.share.lock().told.as_ref().map(|told| (told.host.clone(), told.failing_count))
    }
}

impl Status {
    fn state(&self) -> SourceState {
        let since = time_of_ms(self.since_ms);
        match (self.state, &self.held_back) {
            (StateWord::Current, _) => SourceState::Current { since },
            (StateWord::HeldBack, Some(held_back)) => {
                SourceState::HeldBack { since, would_withdraw: held_back.would_withdraw, of: held_back.of }
            }
            _ => SourceState::Stale { since, why: self.why.clone().unwrap_or_default() },
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

impl From<Mark> for String {
    fn from(mark: Mark) -> String {
        mark.to_string()
    }
}

impl TryFrom<String> for Mark {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Mark, std::num::ParseIntError> {
        u128::from_str_radix(&text, 16).map(Mark)
    }
}

fn unusable(cause: &DocumentError) -> String {
    format!("what the instance that lists has shared cannot be used: {}", in_full(cause))
}

fn cut(text: &str) -> String {
    text.chars().take(WHY_CHARS_MAX).collect()
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A time beyond what the system can tell is 1970.
fn time_of_ms(ms: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(UNIX_EPOCH)
}
