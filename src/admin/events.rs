//! The door for Azure Event Grid: who may bring events, which are new, and how many passes they begin.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;

/// The shortest secret: shorter ones can be guessed.
const SECRET_CHARS_MIN: usize = 16;
/// Events that are remembered: those of ten minutes in which a hundred resources a second are written, about 4 MiB.
const SEEN_MAX: usize = 65_536;
/// Events of a burst that come this long after its first begin one pass together.
const BURST: Duration = Duration::from_millis(200);

/// What an operator can say about events.
#[derive(Clone, Debug, PartialEq)]
pub struct EventSettings {
    /// What Event Grid sends to be let in; without it only bearer tokens are.
    pub secret: Option<EventSecret>,
    /// Older events change nothing: what was recorded cannot be played again, and passes by the clock have seen it.
    pub age_max: Duration,
}

impl Default for EventSettings {
    fn default() -> EventSettings {
        EventSettings { secret: None, age_max: Duration::from_secs(600) }
    }
}

/// A secret, kept as its hash.
#[derive(Clone, PartialEq)]
pub struct EventSecret([u8; 32]);

/// A secret that can be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret for events has fewer than {SECRET_CHARS_MIN} characters")]
pub struct ShortSecret;

impl EventSecret {
    /// The secret of a text; blanks around it, as files have, are none of it.
    pub fn new(text: &str) -> Result<EventSecret, ShortSecret> {
        let text = text.trim();
        match text.chars().count() >= SECRET_CHARS_MIN {
            true => Ok(EventSecret(sha256(&[text]))),
            false => Err(ShortSecret),
        }
    }

    // Hashes have one length, so that the time tells nothing of the secret's.
    fn is(&self, text: &str) -> bool {
        verify_slices_are_equal(&self.0, &sha256(&[text])).is_ok()
    }
}

impl fmt::Debug for EventSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("EventSecret")
    }
}

fn sha256(parts: &[&str]) -> [u8; 32] {
    digest(&SHA256, parts.join("\n").as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The door.
pub struct EventDoor {
    settings: ArcSwap<EventSettings>,
    seen: Mutex<Seen>,
    /// Whether a nudge is under way.
    is_nudging: AtomicBool,
}

/// What an event is known by.
pub(super) struct Event<'e> {
    pub source: &'e str,
    pub id: &'e str,
    pub time: Option<SystemTime>,
}

/// Events by hash, the oldest first.
#[derive(Default)]
struct Seen {
    ids: HashSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl EventDoor {
    pub(super) fn new(settings: EventSettings) -> EventDoor {
        EventDoor {
            settings: ArcSwap::from_pointee(settings),
            seen: Mutex::default(),
            is_nudging: AtomicBool::new(false),
        }
    }

    /// Goes on with other settings; what was seen stays seen.
    pub(super) fn adopt(&self, settings: EventSettings) {
        self.settings.store(Arc::new(settings));
    }

    /// Whether this is the secret; without one nothing is.
    pub(super) fn is_secret(&self, text: &str) -> bool {
        self.settings.load().secret.as_ref().is_some_and(|secret| secret.is(text))
    }

    /// Whether an event is of now and was not here before.
    // One without a time is told by its id alone: CloudEvents need not have one.
    pub(super) fn is_news(&self, event: &Event<'_>, now: SystemTime) -> bool {
        let age_max = self.settings.load().age_max;
        let distance = |time: SystemTime| now.duration_since(time).unwrap_or_else(|ahead| ahead.duration());
        if event.time.is_some_and(|time| distance(time) > age_max) {
            return false;
        }
        self.seen.lock().add(sha256(&[event.source, event.id]))
    }

    /// Begins a pass soon, as `begin` does; those who ask until then are served by the same.
    pub(super) fn nudge(self: &Arc<EventDoor>, begin: impl FnOnce() + Send + 'static) {
        if self.is_nudging.swap(true, Ordering::AcqRel) {
            return;
        }
        let door = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(BURST).await;
            // Before the pass: an event that comes while it begins may tell of what it does not see.
            door.is_nudging.store(false, Ordering::Release);
            begin();
        });
    }
}

impl Seen {
    /// Answers whether it is new.
    fn add(&mut self, id: [u8; 32]) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_news_once_and_only_while_it_is_young() {
        let door = EventDoor::new(EventSettings::default());
        let now = SystemTime::now();
        let ago = |secs| now - Duration::from_secs(secs);
        let is_news = |id, time| door.is_news(&Event { source: "s", id, time }, now);
        assert!(is_news("a", Some(ago(1))) && !is_news("a", Some(ago(1))));
        assert!(!is_news("b", Some(ago(601))) && !is_news("b", Some(now + Duration::from_secs(601))));
        assert!(is_news("b", Some(ago(600))));
        assert!(is_news("c", None) && !is_news("c", None));
        assert!(door.is_news(&Event { source: "other", id: "a", time: None }, now));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut seen = Seen::default();
        for number in 0..=SEEN_MAX {
            assert!(seen.add(sha256(&[&number.to_string()])));
        }
        assert_eq!((seen.ids.len(), seen.order.len()), (SEEN_MAX, SEEN_MAX));
        assert!(!seen.add(sha256(&["1"])));
        assert!(seen.add(sha256(&["0"])), "the oldest is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_begins_one_pass_and_what_comes_later_another() {
        let door = Arc::new(EventDoor::new(EventSettings::default()));
        let (begun, mut passes) = tokio::sync::mpsc::unbounded_channel();
        let nudge = || {
            let begun = begun.clone();
            door.nudge(move || begun.send(tokio::time::Instant::now()).unwrap());
        };
        let start = tokio::time::Instant::now();
        (0..100).for_each(|_| nudge());
        assert_eq!(passes.recv().await.unwrap() - start, BURST);
        assert!(passes.try_recv().is_err());
        nudge();
        passes.recv().await.unwrap();
        assert!(passes.try_recv().is_err());
    }

    #[test]
    fn only_the_secret_is_the_secret() {
        let door = EventDoor::new(EventSettings::default());
        assert!(!door.is_secret("") && !door.is_secret("0123456789abcdef"));
        let secret = EventSecret::new("0123456789abcdef\n").unwrap();
        assert!(!format!("{secret:?}").contains("0123"));
        door.adopt(EventSettings { secret: Some(secret), ..EventSettings::default() });
        assert!(door.is_secret("0123456789abcdef") && !door.is_secret("0123456789abcdeF"));
        assert_eq!(EventSecret::new(" 0123456789abcde "), Err(ShortSecret));
    }
}
