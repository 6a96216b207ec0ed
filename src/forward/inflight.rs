//! Each question is in flight once; all who ask it meanwhile wait for the same reply.

use std::hash::BuildHasher;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::asker::Asker;
use super::holdings::Holdings;
use super::pool::Pool;
use super::settings::Asked;
use super::shares::{NoPlace, Shares};
use super::{Outcome, Upstream, case};

/// Sent questions remembered for one flight: more than one flight sends.
const SENT_MAX: usize = 16;

/// Bytes of a question section that are kept with the flight: one for most names.
const QUESTION_BYTES_USUAL: usize = 64;

/// The questions being asked.
pub struct Inflight {
    hasher: RandomState,
    table: Mutex<Table>,
    waiters_max: usize,
}

/// Flights, and who has how many.
struct Table {
    /// By what is asked. Each flight knows its hash, so that this is reckoned once.
    flights: HashTable<Arc<Flight>>,
    shares: Shares,
}

/// One question being asked.
pub struct Flight {
    pub asked: Asked,
    hash: u64,
    /// The last that was said to those who wait.
    outcome: Mutex<Said>,
    /// Wakes those who wait when there is something new.
    told: Notify,
    waiters: AtomicUsize,
    /// How many of each asker wait beside the one that began it.
    followers: Mutex<Holdings>,
    /// Whose place it has: the rule's number, and the asker.
    place: (usize, Asker),
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
    Questions(NoPlace),
    Waiters,
}

/// One who waits; dropped, it no longer counts.
pub struct Waiter {
    pub flight: Arc<Flight>,
    /// None for the one who began it.
    follows_for: Option<Asker>,
}

impl Inflight {
    /// None in flight yet, of so many rules.
    pub fn new(questions_max: usize, waiters_max: usize, rules: usize) -> Inflight {
        let table = Table { flights: HashTable::new(), shares: Shares::new(questions_max, rules) };
        Inflight { hasher: RandomState::default(), table: Mutex::new(table), waiters_max }
    }

    /// Takes part in a question's flight, or begins it if its rule and asker may have one more.
    pub fn join(&self, asked: Asked, rule: usize, asker: Asker) -> Result<Joined, Full> {
        let hash = self.hasher.hash_one(&asked);
        let mut table = self.table.lock();
        if let Some(flight) = table.find(hash, &asked) {
            return Ok(Joined::Follows(flight.follow(asker, self.waiters_max).ok_or(Full::Waiters)?));
        }
        let begun = table.begin((hash, asked), rule, asker, Instant::now());
        let (waiter, sender) = begun.map_err(Full::Questions)?;
        Ok(Joined::Leads(waiter, sender))
    }

    /// Begins a flight for a question that nobody asks, if there may be one more.
    pub fn lead(&self, asked: Asked, rule: usize, asker: Asker, now: Instant) -> Option<(Waiter, Sender)> {
        let hash = self.hasher.hash_one(&asked);
        let mut table = self.table.lock();
        if table.find(hash, &asked).is_some() {
            return None;
        }
        table.begin((hash, asked), rule, asker, now).ok()
    }

    /// Takes a question out of those in flight.
    pub fn settle(&self, flight: &Flight) {
        let mut table = self.table.lock();
        let entry = table.flights.find_entry(flight.hash, |other| std::ptr::eq(&**other, flight));
        if let Ok(entry) = entry {
            entry.remove();
            let (rule, asker) = flight.place;
            table.shares.give_back(rule, asker);
        }
    }

    pub fn find(&self, asked: &Asked) -> Option<Arc<Flight>> {
        self.table.lock().find(self.hasher.hash_one(asked), asked).cloned()
    }

    pub fn len(&self) -> usize {
        self.table.lock().flights.len()
    }

    /// Ends a flight when what is answered is dropped, however that comes about.
    pub fn settlement<'i>(&'i self, flight: &'i Flight) -> Settlement<'i> {
        Settlement { inflight: self, flight }
    }
}

impl Table {
    fn find(&self, hash: u64, asked: &Asked) -> Option<&Arc<Flight>> {
        self.flights.find(hash, |flight| flight.asked == *asked)
    }

    /// Begins a flight for a question, of this hash, that has none.
    fn begin(
        &mut self,
        (hash, asked): (u64, Asked),
        rule: usize,
        asker: Asker,
        now: Instant,
    ) -> Result<(Waiter, Sender), NoPlace> {
        self.shares.take(rule, asker)?;
        let flight = Arc::new(Flight::new((hash, asked), (rule, asker), now));
        self.flights.insert_unique(hash, flight.clone(), |flight| flight.hash);
        Ok((Waiter { flight: flight.clone(), follows_for: None }, Sender(flight)))
    }
}

/// Takes a question out of those in flight.
pub struct Settlement<'i> {
    inflight: &'i Inflight,
    flight: &'i Flight,
}

impl Drop for Settlement<'_> {
    fn drop(&mut self) {
        self.inflight.settle(self.flight);
    }
}

impl Flight {
    /// A flight that one waits for: who begins it.
    fn new((hash, asked): (u64, Asked), place: (usize, Asker), started: Instant) -> Flight {
        Flight {
            asked,
            hash,
            outcome: Mutex::default(),
            told: Notify::new(),
            waiters: AtomicUsize::new(1),
            followers: Mutex::default(),
            place,
            started,
            guessed: AtomicBool::new(false),
            sent: Mutex::default(),
        }
    }

    /// Waits with the others, if there may be one more of this asker.
    fn follow(self: &Arc<Self>, asker: Asker, waiters_max: usize) -> Option<Waiter> {
        let mut followers = self.followers.lock();
        let all = Pool { max: waiters_max, taken: self.waiters.load(Ordering::Relaxed) };
        if !followers.take(asker, all) {
            return None;
        }
        self.waiters.fetch_add(1, Ordering::Relaxed);
        Some(Waiter { flight: self.clone(), follows_for: Some(asker) })
    }

    /// For whom it was begun.
    pub fn asker(&self) -> Asker {
        self.place.1
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
        if let Some(asker) = self.follows_for {
            self.flight.followers.lock().give_back(asker);
        }
    }
}
