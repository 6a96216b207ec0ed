//! Those who want to know, and the thread that reads the tap for them.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use super::busiest::{Busiest, Counting};
use super::counters::{Counters, FrameCounters, LineCounters};
use super::dnstap;
use super::moment::Moment;
use super::query_log::{self, QueryLog};
use super::tap::{Batch, Tap};
use crate::dns::{Name, NameRef};

/// The time between two looks at the tap.
const PAUSE: Duration = Duration::from_millis(50);

/// How long writers may take for what is left, at the end.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// The zone that answers for a name to a client.
pub type Zones = dyn Fn(NameRef<'_>, IpAddr) -> Option<Name> + Send + Sync;

/// Who wants to know.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Settings {
    pub dnstap: Option<dnstap::Settings>,
    pub query_log: Option<query_log::Settings>,
}

/// All that is done with events.
pub struct Observers {
    shared: Arc<Shared>,
    runtime: Handle,
    /// What writes.
    writers: TaskTracker,
    /// Has those give up that cannot write.
    given_up: CancellationToken,
}

struct Shared {
    tap: Arc<Tap>,
    zones: Arc<Zones>,
    counters: Counters,
    frames: Arc<FrameCounters>,
    lines: Arc<LineCounters>,
    reading: Mutex<Reading>,
}

/// What the reader works with.
#[derive(Default)]
struct Reading {
    dnstap: Option<dnstap::Sender>,
    query_log: Option<QueryLog>,
    counting: Option<Counting>,
    spare: Batch,
    has_reader: bool,
}

impl Observers {
    /// Nobody, yet; call it inside a runtime, where connections will be kept.
    pub fn new(tap: Arc<Tap>, zones: Arc<Zones>) -> Observers {
        Observers {
            shared: Arc::new(Shared {
                tap,
                zones,
                counters: Counters::default(),
                frames: Arc::default(),
                lines: Arc::default(),
                reading: Mutex::default(),
            }),
            runtime: Handle::current(),
            writers: TaskTracker::new(),
            given_up: CancellationToken::new(),
        }
    }

    /// Goes on with other settings; what has them already goes on as it is.
    pub fn configure(&self, settings: &Settings) {
        let mut reading = self.shared.reading.lock();
        // What was seen before is for those who wanted it.
        self.shared.read(&mut reading);
        let Reading { dnstap, query_log, .. } = &mut *reading;
        let Shared { frames, lines, .. } = &*self.shared;
        if dnstap.as_ref().map(|sender| &sender.settings) != settings.dnstap.as_ref() {
            *dnstap = settings.dnstap.clone().map(|settings| {
                let zones = Arc::clone(&self.shared.zones);
                let ends = (&self.writers, self.given_up.clone());
                dnstap::Sender::new(settings, zones, Arc::clone(frames) as _, &self.runtime, ends)
            });
        }
        if query_log.as_ref().map(|log| &log.settings) != settings.query_log.as_ref() {
            // The one before ends first: both may write to one file.
            *query_log = None;
            let begun = settings
                .query_log
                .clone()
                .map(|settings| QueryLog::new(settings, Arc::clone(lines) as _, &self.writers));
            *query_log = begun.transpose().unwrap_or_else(|error| {
                error!("There is no query log: its thread cannot be started: {error}");
                None
            });
        }
        self.shared.begin(&mut reading);
    }

    /// Opens files anew, which may have been renamed.
    pub fn reopen(&self) {
        if let Some(log) = &self.shared.reading.lock().query_log {
            log.reopen();
        }
    }

    /// The names and clients that most queries are of. They are counted from the first look on, as long as looks follow.
    pub fn busiest(&self) -> Busiest {
        let mut reading = self.shared.reading.lock();
        self.shared.read(&mut reading);
        let now = Instant::now();
        let busiest = reading.counting.get_or_insert_with(|| Counting::new(now)).look(now);
        self.shared.begin(&mut reading);
        busiest
    }

    /// What the reader did not keep up with.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// What became of the frames of dnstap.
    pub fn frames(&self) -> &Arc<FrameCounters> {
        &self.shared.frames
    }

    /// What became of the lines of the query log.
    pub fn lines(&self) -> &Arc<LineCounters> {
        &self.shared.lines
    }

    /// Ends, once what was seen is written, or cannot be.
    pub async fn stop(&self) {
        self.configure(&Settings::default());
        self.writers.close();
        if tokio::time::timeout(END_PATIENCE, self.writers.wait()).await.is_err() {
            self.given_up.cancel();
        }
    }
}

impl Shared {
    /// Reads what was left in the tap, for all who want it.
    fn read(&self, reading: &mut Reading) {
        let Reading { dnstap, query_log, counting, spare, .. } = reading;
        let moment = Moment::now();
        self.tap.take(spare, |batch| {
            self.counters.lost.add(batch.lost());
            for seen in batch.iter() {
                if let Some(dnstap) = dnstap {
                    dnstap.take(seen, &moment);
                }
                if let Some(query_log) = query_log {
                    query_log.take(seen, &moment);
                }
                if let Some(counting) = counting {
                    counting.take(seen);
                }
            }
        });
        dnstap.iter_mut().for_each(dnstap::Sender::flush);
        query_log.iter_mut().for_each(QueryLog::flush);
        let now = Instant::now();
        counting.iter_mut().for_each(|counting| counting.turn(now));
        if counting.as_ref().is_some_and(|counting| !counting.is_wanted(now)) {
            *counting = None;
        }
    }

    /// Has events taken and read, if anybody wants them.
    fn begin(self: &Arc<Shared>, reading: &mut Reading) {
        self.tap.turn(reading.is_wanted());
        if !reading.is_wanted() || reading.has_reader {
            return;
        }
        let shared = Arc::clone(self);
        let reader = thread::Builder::new().name("observer".to_owned()).spawn(move || shared.read_on());
        match reader {
            Ok(reader) => {
                reading.has_reader = true;
                self.tap.read_by(reader.thread().clone());
            }
            Err(error) => {
                self.tap.turn(false);
                error!("Queries are not observed: the thread that reads them cannot be started: {error}");
            }
        }
    }

    /// Reads as long as anybody wants to know.
    fn read_on(&self) {
        loop {
            thread::park_timeout(PAUSE);
            let mut reading = self.reading.lock();
            self.read(&mut reading);
            if !reading.is_wanted() {
                self.tap.turn(false);
                self.tap.give_back();
                (reading.has_reader, reading.spare) = (false, Batch::default());
                return;
            }
        }
    }
}

impl Reading {
    fn is_wanted(&self) -> bool {
        self.dnstap.is_some() || self.query_log.is_some() || self.counting.is_some()
    }
}

#[cfg(test)]
mod tests;
