//! One connection to an upstream: many queries at once, and replies in any order (RFC 7766 §6.2.1.1).

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::dial::Dial;
use crate::dns::header::HEADER_BYTES;
use crate::forward::{Counters, ExchangeError, Judgement, Query};

/// Queries that wait on a connection at once: as many questions as may be in flight by default, asked twice.
const QUERIES_MAX: usize = 8192;

/// How long a connection without a question is kept. Servers close theirs after 10 s and more.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// How long a connection may be silent on a question before others are asked on another: a little less than the patience
/// with which a question is asked again.
const SILENCE: Duration = Duration::from_millis(300);

/// The same while it is made, which takes three ways there and back, and authorities to be read.
const DIAL_SILENCE: Duration = Duration::from_secs(1);

/// How long it may be silent before it is given up.
const SILENCE_MAX: Duration = Duration::from_secs(6);

/// The time between two looks whether it is of use.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// What is read and written at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// Room that a reply has before it is there: one that promises much and sends little costs little.
const REPLY_BYTES_USUAL: usize = 4096;

/// A connection; its task ends it.
pub(super) struct Connection {
    begun: Instant,
    frames: mpsc::Sender<Frame>,
    queries: Mutex<Queries>,
    /// Tells the task that nobody asks by it any more.
    left: Notify,
}

#[derive(Default)]
struct Queries {
    waiting: HashMap<u16, Waiting>,
    /// How many were ever sent.
    sent: u64,
    is_open: bool,
    has_answered: bool,
    is_left: bool,
    /// When the first query was sent since something came.
    unheard: Option<Instant>,
    /// When the last one came or went.
    used: Option<Instant>,
    ended: Option<End>,
}

struct Waiting {
    query: Query,
    number: u64,
    reply: oneshot::Sender<Result<Vec<u8>, End>>,
}

/// What a query waits for.
type Reply = oneshot::Receiver<Result<Vec<u8>, End>>;

/// A query on its way.
struct Frame {
    id: u16,
    number: u64,
    bytes: Vec<u8>,
}

/// How a connection ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    why: Why,
    /// Whether it had come about.
    pub was_open: bool,
    /// Whether any query was answered on it.
    pub has_answered: bool,
}

#[derive(Clone, Debug)]
enum Why {
    Network(Option<i32>, io::ErrorKind),
    Tls(Arc<str>),
    TooManySockets,
}

/// A query's place on a connection; dropped, nobody waits for it.
struct Place<'c> {
    connection: &'c Connection,
    id: u16,
    number: u64,
}

impl Connection {
    /// One that is made from now on, and takes queries at once.
    pub fn open(
        to: SocketAddr,
        dial: &Arc<Dial>,
        counters: &Arc<Counters>,
        permit: OwnedSemaphorePermit,
        now: Instant,
    ) -> Arc<Connection> {
        let (frames, sent) = mpsc::channel(QUERIES_MAX);
        let (queries, left) = Default::default();
        let connection = Arc::new(Connection { begun: now, frames, queries, left });
        let (made, dial, counters) = (Arc::clone(&connection), Arc::clone(dial), Arc::clone(counters));
        tokio::spawn(async move {
            let why = match made.run(to, &dial, &counters, sent).await {
                Ok(()) => io::Error::from(io::ErrorKind::ConnectionReset).into(),
                Err(error) => error,
            };
            // From here on another one may be made.
            drop(permit);
            made.end(Why::from(why));
        });
        connection
    }

    /// Whether other questions had better be asked on another one.
    pub fn is_silent(&self, now: Instant) -> bool {
        let queries = self.queries.lock();
        match (queries.is_open, queries.unheard) {
            (true, unheard) => unheard.is_some_and(|since| since + SILENCE <= now),
            (false, _) => self.begun + DIAL_SILENCE <= now,
        }
    }

    pub fn is_open(&self) -> bool {
        let queries = self.queries.lock();
        queries.is_open && queries.ended.is_none()
    }

    pub fn has_ended(&self) -> bool {
        self.queries.lock().ended.is_some()
    }

    /// Ends it once nobody waits.
    pub fn leave(&self) {
        self.queries.lock().is_left = true;
        self.left.notify_one();
    }

    /// Asks a query; the connection may end before it is answered.
    pub async fn ask(&self, query: &mut Query) -> Result<Result<Vec<u8>, End>, ExchangeError> {
        let (place, reply) = match self.enlist(query)? {
            Ok(enlisted) => enlisted,
            Err(end) => return Ok(Err(end)),
        };
        let received = reply.await;
        drop(place);
        // The task is gone without a word: the runtime shuts down.
        received.map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted).into())
    }

    /// A place for a query, whose id is made one of its own here; the end if the connection takes none any more.
    fn enlist(&self, query: &mut Query) -> Result<Result<(Place<'_>, Reply), End>, ExchangeError> {
        let mut queries = self.queries.lock();
        if let Some(end) = &queries.ended {
            return Ok(Err(end.clone()));
        }
        if queries.waiting.len() >= QUERIES_MAX {
            return Err(ExchangeError::TooManyQueries);
        }
        while queries.waiting.contains_key(&query.id()) {
            query.renew_id();
        }
        queries.sent += 1;
        let (id, number, message) = (query.id(), queries.sent, query.as_bytes());
        let mut bytes = Vec::with_capacity(message.len() + 2);
        bytes.extend((message.len() as u16).to_be_bytes());
        bytes.extend_from_slice(message);
        self.frames.try_send(Frame { id, number, bytes }).map_err(|_| ExchangeError::TooManyQueries)?;
        let (sender, reply) = oneshot::channel();
        queries.waiting.insert(id, Waiting { query: query.clone(), number, reply: sender });
        let now = Instant::now();
        queries.unheard.get_or_insert(now);
        queries.used = Some(now);
        Ok(Ok((Place { connection: self, id, number }, reply)))
    }

    async fn run(
        &self,
        to: SocketAddr,
        dial: &Dial,
        counters: &Counters,
        frames: mpsc::Receiver<Frame>,
    ) -> Result<(), ExchangeError> {
        let stream = dial.connect(to).await?;
        {
            let mut queries = self.queries.lock();
            queries.is_open = true;
            // What waited for the handshake is sent now.
            let now = Instant::now();
            queries.unheard = queries.unheard.map(|_| now);
        }
        let (reader, mut writer) = tokio::io::split(stream);
        let ended = tokio::select! {
            ended = self.read(reader, counters) => ended,
            ended = self.write(&mut writer, frames) => ended,
            () = self.grow_old() => {
                // RFC 8446 §6.1: the other end is told, as far as it can be at once.
                let _ = tokio::time::timeout(LOOK_PAUSE, writer.shutdown()).await;
                Ok(())
            }
        };
        ended.map_err(ExchangeError::from)
    }

    async fn read(&self, reader: impl AsyncRead + Unpin, counters: &Counters) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(CHUNK_BYTES, reader);
        loop {
            let length = usize::from(reader.read_u16().await?);
            if length < HEADER_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut reply = Vec::with_capacity(length.min(REPLY_BYTES_USUAL));
            (&mut reader).take(length as u64).read_to_end(&mut reply).await?;
            if reply.len() < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.take(reply, counters);
        }
    }

    /// Hands a reply to who waits for it.
    fn take(&self, reply: Vec<u8>, counters: &Counters) {
        let id = u16::from_be_bytes([reply[0], reply[1]]);
        let mut queries = self.queries.lock();
        let now = Instant::now();
        (queries.unheard, queries.used) = (None, Some(now));
        match queries.waiting.get(&id).map(|waiting| waiting.query.judge(&reply)) {
            None => counters.late_replies.add(1),
            Some(Judgement::Stranger) => counters.near_misses.add(1),
            Some(_) => {
                queries.has_answered = true;
                if let Some(waiting) = queries.waiting.remove(&id) {
                    // A caller that is gone needs no reply.
                    let _ = waiting.reply.send(Ok(reply));
                }
            }
        }
    }

    async fn write(
        &self,
        writer: &mut (impl AsyncWrite + Unpin),
        mut frames: mpsc::Receiver<Frame>,
    ) -> io::Result<()> {
        let mut chunk = Vec::new();
        while let Some(frame) = frames.recv().await {
            chunk.clear();
            let mut next = Some(frame);
            while let Some(frame) = next {
                if self.is_awaited(&frame) {
                    chunk.extend_from_slice(&frame.bytes);
                }
                next = if chunk.len() < CHUNK_BYTES { frames.try_recv().ok() } else { None };
            }
            writer.write_all(&chunk).await?;
            writer.flush().await?;
        }
        Ok(())
    }

    fn is_awaited(&self, frame: &Frame) -> bool {
        let queries = self.queries.lock();
        queries.waiting.get(&frame.id).is_some_and(|waiting| waiting.number == frame.number)
    }

    /// Ends when the connection is of no more use; nobody is enlisted on it then.
    async fn grow_old(&self) {
        loop {
            tokio::select! {
                () = sleep(LOOK_PAUSE) => {}
                () = self.left.notified() => {}
            }
            let now = Instant::now();
            let mut queries = self.queries.lock();
            let is_idle = queries.waiting.is_empty()
                && (queries.is_left || queries.used.is_none_or(|used| used + IDLE_MAX <= now));
            let is_dead = queries.unheard.is_some_and(|since| since + SILENCE_MAX <= now);
            if is_idle || is_dead {
                queries.end(Why::Network(None, io::ErrorKind::TimedOut));
                return;
            }
        }
    }

    fn end(&self, why: Why) {
        self.queries.lock().end(why);
    }
}

impl Queries {
    /// Takes no more queries, and tells those who wait.
    fn end(&mut self, why: Why) {
        if self.ended.is_some() {
            return;
        }
        let end = End { why, was_open: self.is_open, has_answered: self.has_answered };
        for (_, waiting) in self.waiting.drain() {
            let _ = waiting.reply.send(Err(end.clone()));
        }
        self.ended = Some(end);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut queries = self.connection.queries.lock();
        if queries.waiting.get(&self.id).is_some_and(|waiting| waiting.number == self.number) {
            queries.waiting.remove(&self.id);
            queries.used = Some(Instant::now());
        }
    }
}

impl From<ExchangeError> for Why {
    fn from(error: ExchangeError) -> Why {
        match error {
            ExchangeError::Network(error) => Why::Network(error.raw_os_error(), error.kind()),
            ExchangeError::Tls(why) => Why::Tls(why),
            _ => Why::TooManySockets,
        }
    }
}

impl From<End> for ExchangeError {
    fn from(end: End) -> ExchangeError {
        match end.why {
            Why::Network(Some(code), _) => io::Error::from_raw_os_error(code).into(),
            Why::Network(None, kind) => io::Error::from(kind).into(),
            Why::Tls(why) => ExchangeError::Tls(why),
            Why::TooManySockets => ExchangeError::TooManySockets,
        }
    }
}
