//! What instances say to each other by nudges. Nothing of it is stored: who is not reachable misses it, and asks again.

use serde::{Deserialize, Serialize};

use crate::persist::NUDGE_BYTES_MAX;
use crate::sources::status::Status;
use crate::sync::Fingerprint;

/// Characters of a reason that is told again, shorter, as it was too long with all its escapes.
const WHY_CHARS_MIN: usize = 80;

/// A message and who sends it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Letter {
    /// Another one with each start.
    pub from: u64,
    // Instances of other versions know it by this name.
    #[serde(rename = "word")]
    pub message: Message,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Message {
    /// Who lists tells where its sources stand.
    Tell,
    Status(Box<Status>),
    Ask {
        /// What the answer is known by.
        id: u64,
        want: Want,
    },
    Answer {
        id: u64,
        reply: Reply,
    },
}

/// What is wanted of the instance that lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Want {
    /// A pass of one source, or of all.
    Pass { source: Option<String> },
    /// That exactly this plan of a source may pass.
    Confirm { source: String, plan: Fingerprint },
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    Begun,
    NoSuchSource,
    NothingHeldBack,
    OtherPlan { now: Fingerprint },
    NotKept { why: String },
}

impl Letter {
    /// As a nudge carries it.
    pub fn text(mut self) -> String {
        let text = self.json();
        if text.len() <= NUDGE_BYTES_MAX {
            return text;
        }
        match &mut self.message {
            Message::Status(status) => {
                status.failing.clear();
                status.why = status.why.as_deref().map(shorter);
                status.host = shorter(&status.host);
            }
            Message::Answer { reply: Reply::NotKept { why }, .. } => *why = shorter(why),
            // What is too long all the same is refused by the store, and nobody is told.
            _ => {}
        }
        self.json()
    }

    pub fn read(text: &str) -> Option<Letter> {
        serde_json::from_str(text).ok()
    }

    fn json(&self) -> String {
        serde_json::to_string(self).expect("messages have no keys but texts")
    }
}

fn shorter(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(WHY_CHARS_MIN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::status::StateWord;

    #[test]
    fn the_longest_status_fits_into_a_nudge() {
        let long = "\u{1}".repeat(300);
        let status = Status {
            source: "azure".into(),
            host: long.clone(),
            state: StateWord::Stale,
            since_ms: u64::MAX,
            why: Some(long.clone()),
            asked: true,
            read_at_ms: Some(u64::MAX),
            held_back: None,
            failing_count: usize::MAX,
            failing: vec![(long.clone(), u64::MAX, long.clone()); 3],
            began_ms: Some(u64::MAX),
            ended_ms: Some(u64::MAX),
            next_ms: Some(u64::MAX),
            document: None,
        };
        let short =
            Status { host: "h".into(), why: Some("é".repeat(300)), failing: Vec::new(), ..status.clone() };
        for (status, failing) in [(status, 0), (short, 0)] {
            let text = Letter { from: 1, message: Message::Status(Box::new(status)) }.text();
            assert!(text.len() <= NUDGE_BYTES_MAX, "{}", text.len());
            let Some(Letter { message: Message::Status(read), .. }) = Letter::read(&text) else {
                panic!("{text}")
            };
            assert_eq!(read.failing.len(), failing);
        }
    }

    #[test]
    fn words_are_read_as_they_are_written_and_others_are_none_of_ours() {
        let plan = "0f".parse().unwrap();
        for message in [
            Message::Tell,
            Message::Ask { id: 7, want: Want::Pass { source: None } },
            Message::Ask { id: 7, want: Want::Confirm { source: "azure".into(), plan } },
            Message::Answer { id: 7, reply: Reply::OtherPlan { now: plan } },
            Message::Answer { id: 7, reply: Reply::Begun },
        ] {
            let letter = Letter { from: u64::MAX, message };
            let json = letter.json();
            assert_eq!(Letter::read(&letter.text()), Letter::read(&json));
            assert!(Letter::read(&json).is_some());
        }
        for other in ["sync", "{}", "{\"from\": 1, \"word\": \"sing\"}"] {
            assert_eq!(Letter::read(other), None);
        }
    }
}
