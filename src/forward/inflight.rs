//! Each question is in flight once; all who ask it meanwhile wait for the same reply.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use foldhash::quality::RandomState;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::settings::Asked;
use super::{Outcome, Upstream, case};

/// Sent questions remembered for one flight: more than one flight sends.
const SENT_MAX: usize = 16;

/// Bytes of a question section that are kept with the flight: one for most names.
const QUESTION_BYTES_USUAL: usize = 64;

/// The questions being asked.
pub struct Inflight {
    flights: Mutex<HashMap<Asked, Arc<Flight>, RandomState>>,
    questions_max: usize,
    waiters_max: usize,
}

/// One question being asked.
pub struct Flight {
    pub asked: Asked,
    /// The last that was said to those who wait.
    outcome: Mutex<Said>,
    /// Wakes those who wait when there is something new.
    told: Notify,
    waiters: AtomicUsize,
    pub started: Instant,
    /// Whether someone asked in a case that is neither ours nor plain: who may guess often hits in the end.
    guessed: AtomicBool,
    /// The question sections sent, case and all, and to whom.
    sent: Mutex<SmallVec<[Sent; 1]>>,
}

/// What those who wait hear.
#[derive(Default)]
struct Said {
    outcome: Option<Outcome>,
    /// Nothing more comes.
    ended: bool,
}

/// A question section, and who it was sent to.
type Sent = (SmallVec<[u8; QUESTION_BYTES_USUAL]>, Arc<Upstream>);

/// How one takes part in a flight.
pub enum Joined {
    /// As the one who must ask; the outcome goes to the sender.
    Leads(Waiter, Sender),
    Follows(Waiter),
}

/// Tells all who wait for a flight; dropped, it ends the flight.
pub struct Sender(Arc<Flight>);

/// Why one cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Questions,
    Waiters,
}

/// One who waits; dropped, it no longer counts.
pub struct Waiter {
    pub flight: Arc<Flight>,
}

impl Inflight {
    pub fn new(questions_max: usize, waiters_max: usize) -> Inflight {
        Inflight { flights: Mutex::default(), questions_max, waiters_max }
    }

    pub fn join(&self, asked: Asked) -> Result<Joined, Full> {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&asked) {
            if flight.waiters.load(Ordering::Relaxed) >= self.waiters_max {
                return Err(Full::Waiters);
            }
            return Ok(Joined::Follows(Waiter::new(flight.clone())));
        }
        if flights.len() >= self.questions_max {
            return Err(Full::Questions);
        }
        let (flight, sender) = Flight::new(asked.clone(), Instant::now());
        flights.insert(asked, flight.clone());
        Ok(Joined::Leads(Waiter::new(flight), sender))
    }

    /// Begins a flight for a question that nobody asks, if there may be one more.
    pub fn lead(&self, asked: Asked, now: Instant) -> Option<(Waiter, Sender)> {
        let mut flights = self.flights.lock();
        if flights.len() >= self.questions_max {
            return None;
        }
        let Entry::Vacant(place) = flights.entry(asked) else { return None };
        let (flight, sender) = Flight::new(place.key().clone(), now);
        place.insert(flight.clone());
        Some((Waiter::new(flight), sender))
    }

    /// Takes a question out of those in flight.
    pub fn land(&self, asked: &Asked) {
        self.flights.lock().remove(asked);
    }

    pub fn find(&self, asked: &Asked) -> Option<Arc<Flight>> {
        self.flights.lock().get(asked).cloned()
    }

    pub fn len(&self) -> usize {
        self.flights.lock().len()
    }

    /// Ends a flight when what is answered is dropped, however that comes about.
    pub fn landing<'i>(&'i self, flight: &'i Flight) -> Landing<'i> {
        Landing { inflight: self, asked: &flight.asked }
    }
}

/// Takes a question out of those in flight.
pub struct Landing<'i> {
    inflight: &'i Inflight,
    asked: &'i Asked,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.inflight.land(self.asked);
    }
}

impl Flight {
    fn new(asked: Asked, started: Instant) -> (Arc<Flight>, Sender) {
        let flight = Arc::new(Flight {
            asked,
            outcome: Mutex::default(),
            told: Notify::new(),
            waiters: AtomicUsize::new(0),
            started,
            guessed: AtomicBool::new(false),
            sent: Mutex::default(),
        });
        (flight.clone(), Sender(flight))
    }

    /// Notes a question section that goes to an upstream.
    pub fn note_sent(&self, question: &[u8], upstream: &Arc<Upstream>) {
        let mut sent = self.sent.lock();
        if sent.len() < SENT_MAX {
            sent.push((SmallVec::from_slice(question), upstream.clone()));
        }
    }

    /// The upstream that exactly these bytes went to, if nobody else would have written them.
    pub fn sender_of(&self, question: &[u8]) -> Option<Arc<Upstream>> {
        if !case::is_recognisable(question) {
            return None;
        }
        let sent = self.sent.lock();
        let sender =
            sent.iter().find(|(bytes, _)| **bytes == *question).map(|(_, upstream)| upstream.clone());
        match sender {
            Some(upstream) => (!self.guessed.load(Ordering::Relaxed)).then_some(upstream),
            None => {
                self.guessed.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    /// Upstreams that were sent a question which we would not recognise if it came back.
    pub fn unrecognisable(&self) -> Vec<Arc<Upstream>> {
        let guessed = self.guessed.load(Ordering::Relaxed);
        let sent = self.sent.lock();
        let plain = sent.iter().filter(|(bytes, _)| guessed || !case::is_recognisable(bytes));
        plain.map(|(_, upstream)| upstream.clone()).collect()
    }
}

impl Waiter {
    fn new(flight: Arc<Flight>) -> Waiter {
        flight.waiters.fetch_add(1, Ordering::Relaxed);
        Waiter { flight }
    }

    /// Whether others wait, too.
    pub fn is_followed(&self) -> bool {
        self.flight.waiters.load(Ordering::Relaxed) > 1
    }

    /// Waits for the outcome; none when the flight ended without one.
    pub async fn outcome(self) -> Option<Outcome> {
        loop {
            // Enlisted before the look, so that nothing is missed between the two.
            let mut told = pin!(self.flight.told.notified());
            told.as_mut().enable();
            {
                let said = self.flight.outcome.lock();
                if said.outcome.is_some() || said.ended {
                    return said.outcome.clone();
                }
            }
            told.await;
        }
    }
}

impl Sender {
    /// Tells all who wait, and those who come while the flight goes on.
    pub fn send(&self, outcome: Outcome) {
        self.0.outcome.lock().outcome = Some(outcome);
        self.0.told.notify_waiters();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.outcome.lock().ended = true;
        self.0.told.notify_waiters();
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.flight.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}
