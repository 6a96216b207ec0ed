//! Where a source stands, as the instance that lists it tells the others.

use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::known::{Known, PassTimes, SourceState};
use crate::sync::HeldBack;

/// Characters of a reason that other instances are told; who lists has it whole in its log.
const WHY_CHARS_MAX: usize = 300;
/// Subscriptions and zones that cannot be listed or wait, of which others are told more than the number.
const FAILING_TOLD_MAX: usize = 3;

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

impl Status {
    /// Of what is known here, in the words of this host.
    pub fn new(source: &str, host: &str, known: &Known, times: PassTimes, document: Option<Mark>) -> Status {
        let (state, since, why) = match &known.state {
            SourceState::Current { since } => (StateWord::Current, since, None),
            SourceState::Stale { since, why } => (StateWord::Stale, since, Some(cut(why))),
            SourceState::HeldBack { since, .. } => (StateWord::HeldBack, since, None),
        };
        let failing = known.failing.iter().take(FAILING_TOLD_MAX);
        Status {
            source: source.to_owned(),
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
            document,
        }
    }

    /// Shows it as what is known here, as far as that is true of what is served; `is_served` tells whether that is the
    /// document of the instance that lists.
    pub fn show_in(&self, known: &mut Known, is_served: bool) {
        known.asked |= self.asked;
        if is_served || self.state != StateWord::Current {
            known.state = self.state();
        } else if self.document.is_none() && self.read_at_ms.is_some() {
            let why = "the instance that lists it has not shared what it publishes";
            known.state = known.state.failed(why.to_owned());
        }
        if is_served {
            known.read_at = self.read_at_ms.map(time_of_ms).or(known.read_at);
        }
        let failing = self.failing.iter();
        let failing = failing.map(|(id, since, why)| (Arc::from(&**id), (time_of_ms(*since), why.clone())));
        known.failing = failing.collect();
        // What is served here names all parts of it.
        let served = known.desired.held_back.as_ref();
        let is_told = |served: &&HeldBack| self.held_back.as_ref().is_some_and(|it| it.plan == served.plan);
        known.held_back = served.filter(is_told).or(self.held_back.as_ref()).cloned();
    }

    pub fn times(&self) -> PassTimes {
        PassTimes {
            began: self.began_ms.map(time_of_ms),
            ended: self.ended_ms.map(time_of_ms),
            next: self.next_ms.map(time_of_ms),
        }
    }

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

impl Mark {
    pub fn of(document: &[u8]) -> Mark {
        let mut hasher = SipHasher13::new();
        hasher.write(document);
        Mark(hasher.finish128().as_u128())
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
