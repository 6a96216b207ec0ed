//! One connection, of TCP or what runs over it: messages in, replies out in whatever order they are ready (RFC 7766
//! §6.2.1.1).

use std::cell::RefCell;
use std::future::ready;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::{JoinError, JoinSet, unconstrained};
use tokio::time::{Instant, sleep_until, timeout};

use super::closing::{Closing, LAST_MESSAGE_TIMEOUT};
use super::counters::{Counters, TcpCounters};
use super::limits::{Admitted, Connections, Leave};
use super::proxy::Proxies;
use super::settings::TcpSettings;
use super::waiting::{NoRoom, Waiting};
use super::{Attempt, Service};
use crate::respond::{Client, Missing};

/// The length field before each message (RFC 1035 §4.2.2).
const LENGTH_SIZE: usize = 2;

/// Room a read is given at least; queries are smaller, so that one read takes several.
const READ_SIZE: usize = 2048;

/// Replies gathered before they are written: a few of the kernel's own send buffers' worth.
const WRITE_SIZE: usize = 64 * 1024;

/// What the buffers may keep while a connection is idle.
const IDLE_CAPACITY_MAX: usize = 4096;

/// How long an ending connection is read after its last reply: unread data would make the kernel reset the
/// connection, and the client lose that reply.
const LINGER_TIMEOUT: Duration = Duration::from_millis(500);

/// What all connections share.
pub struct TcpService<S> {
    pub service: Arc<S>,
    pub settings: TcpSettings,
    pub counters: Arc<Counters>,
    pub connections: Arc<Connections>,
    /// Requests that wait for upstream.
    pub waiting: Arc<Waiting>,
    pub closing: Arc<Closing>,
    pub proxies: Arc<Proxies>,
    /// Connections of proxies whose header has not come.
    pub introductions: Arc<Connections>,
}

/// The state of one connection over a stream of bytes.
pub struct Connection<S, B> {
    stream: B,
    client: Client,
    place: Admitted,
    shared: Arc<TcpService<S>>,
    input: Vec<u8>,
    /// When the message that is half in `input` began.
    message_began: Option<Instant>,
    output: Vec<u8>,
    /// How many replies `output` holds.
    output_replies: u64,
    /// Whether replies were written that the client may not have taken yet.
    has_replied: bool,
    answers: JoinSet<Option<Vec<u8>>>,
    messages: u64,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client closed its side.
    Closed,
    /// Reading or writing failed.
    Failed,
    Idle,
    Evicted,
    MessageTimeout,
    WriteTimeout,
    MessagesMax,
    EmptyMessage,
    Drained,
    Cut,
}

thread_local! {
    /// Where replies are made before they are appended to what is written; used between two awaits only.
    static REPLY: RefCell<Box<[u8]>> = RefCell::new(vec![0; usize::from(u16::MAX)].into());
}

impl<S: Service, B: AsyncRead + AsyncWrite + Unpin> Connection<S, B> {
    pub fn new(stream: B, client: Client, place: Admitted, shared: Arc<TcpService<S>>) -> Connection<S, B> {
        Connection {
            stream,
            client,
            place,
            shared,
            input: Vec::new(),
            message_began: None,
            output: Vec::new(),
            output_replies: 0,
            has_replied: false,
            answers: JoinSet::new(),
            messages: 0,
        }
    }

    /// Serves the connection to its end.
    pub async fn serve(mut self) {
        let end = self.exchange().await;
        let counters = self.counters();
        match end {
            End::Idle => counters.idle_timeouts.add(1),
            End::MessageTimeout => counters.message_timeouts.add(1),
            End::WriteTimeout => counters.write_timeouts.add(1),
            End::MessagesMax => counters.messages_max_reached.add(1),
            End::EmptyMessage => counters.empty_messages.add(1),
            End::Closed | End::Failed | End::Evicted | End::Drained | End::Cut => {}
        }
        let is_ours = matches!(end, End::MessagesMax | End::EmptyMessage | End::Evicted | End::Drained);
        if is_ours && self.has_replied {
            self.linger().await;
        } else if end == End::Idle {
            // TLS says goodbye (RFC 8446 §6.1), and has nothing on its way.
            let _ = timeout(LINGER_TIMEOUT, self.stream.shutdown()).await;
        }
    }

    async fn exchange(&mut self) -> End {
        let shared = self.shared.clone();
        let settings = &shared.settings;
        let mut asked = std::pin::pin!(shared.closing.asked());
        let mut last_message_by = None;
        let mut idle_since = Instant::now();
        let mut timer = std::pin::pin!(sleep_until(idle_since + settings.idle_timeout));
        // Once set, nothing more is read; what was read is still answered.
        let mut ending = None;
        loop {
            self.take_answers();
            if let Some(end) = self.answer_input() {
                ending = ending.or(Some(end));
            }
            if !self.output.is_empty() {
                if let Err(end) = self.flush(settings.write_timeout).await {
                    return end;
                }
                idle_since = Instant::now();
                continue;
            }
            if last_message_by.is_some() && self.messages > 0 && self.message_began.is_none() {
                ending = ending.or(Some(End::Drained));
            }
            if let Some(end) = ending
                && self.answers.is_empty()
            {
                return end;
            }

            let reading = ending.is_none() && self.answers.len() < self.in_flight_max();
            let spare = reading && self.answers.is_empty();
            let idle = spare && self.message_began.is_none();
            let deadline = match self.message_began {
                _ if !reading => None,
                Some(began) => Some((began + settings.message_timeout, End::MessageTimeout)),
                None => idle.then_some((idle_since + settings.idle_timeout, End::Idle)),
            };
            let deadline = match (deadline, last_message_by) {
                (Some((at, _)), Some(by)) if by < at => Some((by, End::Drained)),
                (deadline, _) => deadline,
            };
            if let Some((at, _)) = deadline
                && at < timer.deadline()
            {
                timer.as_mut().reset(at);
            }
            if spare {
                self.place.spare(self.message_began.unwrap_or(idle_since));
            }
            if idle {
                self.shrink();
            }
            if reading {
                self.input.reserve(self.room());
            }
            tokio::select! {
                biased;
                Some(answer) = self.answers.join_next(), if !self.answers.is_empty() => {
                    append(&mut self.output, &mut self.output_replies, &shared.counters.tcp, answer);
                }
                read = self.stream.read_buf(&mut self.input), if reading => match read {
                    Ok(0) => ending = Some(End::Closed),
                    Ok(_) => {
                        self.place.busy();
                        idle_since = Instant::now();
                    }
                    Err(_) => ending = Some(End::Failed),
                },
                () = &mut asked, if last_message_by.is_none() => {
                    last_message_by = Some(Instant::now() + LAST_MESSAGE_TIMEOUT);
                    self.read_what_is_there().await;
                }
                () = shared.closing.cut(), if last_message_by.is_some() => return End::Cut,
                leave = self.place.evicted(), if spare => {
                    if leave == Leave::AtOnce {
                        return End::Cut;
                    }
                    self.read_what_is_there().await;
                    ending = Some(End::Evicted);
                }
                () = &mut timer, if deadline.is_some() => {
                    // The timer is not moved with every message; it may be early.
                    if let Some((at, end)) = deadline {
                        if Instant::now() >= at {
                            return end;
                        }
                        timer.as_mut().reset(at);
                    }
                }
            }
        }
    }

    /// Answers every whole message that was read, as far as limits let it; the reason if one is to be the last.
    fn answer_input(&mut self) -> Option<End> {
        let messages_before = self.messages;
        let end = if first_message(&self.input).is_some() { self.answer_messages() } else { None };
        let half = !self.input.is_empty() && first_message(&self.input).is_none();
        self.message_began = match self.message_began {
            _ if !half => None,
            Some(began) if self.messages == messages_before => Some(began),
            _ => Some(Instant::now()),
        };
        end
    }

    fn answer_messages(&mut self) -> Option<End> {
        let input = std::mem::take(&mut self.input);
        let view = self.shared.service.view();
        let (in_flight_max, messages_max) = (self.in_flight_max(), self.shared.settings.messages_max);
        let had_room = self.answers.len() < in_flight_max;
        let mut position = 0;
        let mut end = None;
        while self.output.len() < WRITE_SIZE
            && let Some(message) = first_message(&input[position..])
        {
            if message.is_empty() {
                end = Some(End::EmptyMessage);
                break;
            }
            if self.answers.len() >= in_flight_max {
                self.counters().in_flight_max_reached.add(had_room.into());
                break;
            }
            position += LENGTH_SIZE + message.len();
            self.messages += 1;
            self.answer(&view, message);
            if self.messages >= messages_max {
                end = Some(End::MessagesMax);
                break;
            }
        }
        self.input = input;
        match end {
            Some(_) => self.input.clear(),
            None => drop(self.input.drain(..position)),
        }
        end
    }

    fn in_flight_max(&self) -> usize {
        self.shared.settings.in_flight_max.max(1)
    }

    fn answer(&mut self, view: &S::View, message: &[u8]) {
        self.counters().queries.add(1);
        let missing =
            self.reply(|service, client, buffer| service.try_answer(view, None, message, client, buffer));
        if let Some(missing) = missing {
            self.wait(view, message, missing);
        }
    }

    /// Appends the reply that `make` makes; what the message must wait for, if it must.
    fn reply(&mut self, make: impl FnOnce(&S, Client, &mut [u8]) -> Attempt) -> Option<Missing> {
        let counters = &self.shared.counters.tcp;
        let (service, client, output) = (&*self.shared.service, self.client, &mut self.output);
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            REPLY.with_borrow_mut(|buffer| {
                let attempt = make(service, client, buffer);
                if let Attempt::Reply(length) = attempt {
                    append_reply(output, &buffer[..length]);
                }
                attempt
            })
        }));
        match attempt {
            Ok(Attempt::Reply(_)) => self.output_replies += 1,
            Ok(Attempt::Drop) => counters.dropped.add(1),
            Ok(Attempt::Wait(missing)) => return Some(missing),
            Err(_) => counters.panics.add(1),
        }
        None
    }

    /// Has a task answer a message that must wait for upstream.
    fn wait(&mut self, view: &S::View, message: &[u8], missing: Missing) {
        let ticket = match self.shared.waiting.admit(self.client, Instant::now()) {
            Ok(ticket) => ticket,
            Err(no_room) => return self.refuse(view, message, missing, no_room),
        };
        let service = self.shared.service.clone();
        let answer = service.answer(message.to_vec(), self.client, ticket.asker(), missing);
        self.answers.spawn(self.shared.closing.tracker.track_future(async move {
            let _ticket = ticket;
            answer.await
        }));
    }

    /// Answers a message that cannot wait.
    fn refuse(&mut self, view: &S::View, message: &[u8], missing: Missing, no_room: NoRoom) {
        let counters = &self.shared.counters.tcp;
        match no_room {
            NoRoom::WaitLimit(..) => counters.wait_limit_reached.add(1),
            NoRoom::Full(_) | NoRoom::Share(_) => counters.waiting_max_reached.add(1),
        }
        let missing = self.reply(|service, client, buffer| {
            service.refuse(view, message, client, missing, no_room.explain(), buffer)
        });
        if missing.is_some() {
            self.counters().dropped.add(1);
        }
    }

    fn take_answers(&mut self) {
        while self.output.len() < WRITE_SIZE
            && let Some(answer) = self.answers.try_join_next()
        {
            append(&mut self.output, &mut self.output_replies, &self.shared.counters.tcp, answer);
        }
    }

    async fn flush(&mut self, write_timeout: Duration) -> Result<(), End> {
        // A client that does not take its replies makes room as one that does not ask.
        self.place.spare(Instant::now());
        let written = tokio::select! {
            biased;
            written = timeout(write_timeout, write(&mut self.stream, &self.output)) => written,
            _ = self.place.evicted() => return Err(End::Cut),
        };
        self.place.busy();
        match written {
            Ok(Ok(())) => self.has_replied = true,
            Ok(Err(_)) => return Err(End::Failed),
            Err(_) => return Err(End::WriteTimeout),
        }
        let replies = std::mem::take(&mut self.output_replies);
        self.counters().replies.add(replies);
        self.output.clear();
        Ok(())
    }

    /// Reads what was received already, without waiting.
    async fn read_what_is_there(&mut self) {
        self.input.reserve(self.room());
        tokio::select! {
            biased;
            // However much this task has done: there is no other time for it.
            _ = unconstrained(self.stream.read_buf(&mut self.input)) => {}
            () = ready(()) => {}
        }
    }

    /// The room to give a read: the rest of the message that has begun, or several small ones.
    fn room(&self) -> usize {
        let rest = message_length(&self.input)
            .map_or(0, |length| (LENGTH_SIZE + length).saturating_sub(self.input.len()));
        // A length may be a lie: room grows with what comes, not with what is announced.
        rest.min(self.input.len().max(READ_SIZE)).max(READ_SIZE)
    }

    fn shrink(&mut self) {
        if self.input.capacity() > IDLE_CAPACITY_MAX {
            self.input = Vec::new();
        }
        if self.output.capacity() > IDLE_CAPACITY_MAX {
            self.output = Vec::new();
        }
    }

    /// Says goodbye, and reads until the client has heard it.
    async fn linger(&mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let shared = self.shared.clone();
        let goodbye = async {
            let mut rest = [0; READ_SIZE];
            while matches!(self.stream.read(&mut rest).await, Ok(1..)) {}
        };
        tokio::select! {
            _ = timeout(LINGER_TIMEOUT, goodbye) => {}
            () = shared.closing.cut() => {}
        }
    }

    fn counters(&self) -> &TcpCounters {
        &self.shared.counters.tcp
    }
}

impl<S, B> Drop for Connection<S, B> {
    fn drop(&mut self) {
        // Their replies find nobody, but others may wait for the same answer.
        self.answers.detach_all();
        self.shared.counters.tcp.connections_closed.add(1);
    }
}

fn append(
    output: &mut Vec<u8>,
    output_replies: &mut u64,
    counters: &TcpCounters,
    answer: Result<Option<Vec<u8>>, JoinError>,
) {
    counters.waited.add(1);
    match answer {
        Ok(Some(reply)) if append_reply(output, &reply) => *output_replies += 1,
        Ok(_) => counters.dropped.add(1),
        Err(_) => counters.panics.add(1),
    }
}

/// Appends a reply behind its length; false if it is longer than a message can be.
fn append_reply(output: &mut Vec<u8>, reply: &[u8]) -> bool {
    let Ok(length) = u16::try_from(reply.len()) else { return false };
    output.extend_from_slice(&length.to_be_bytes());
    output.extend_from_slice(reply);
    true
}

/// Writes all of it; a stream that encrypts may keep some for later until it is flushed.
async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

fn message_length(input: &[u8]) -> Option<usize> {
    let length = input.first_chunk::<LENGTH_SIZE>()?;
    Some(u16::from_be_bytes(*length).into())
}

/// The first message, if it is there to its end.
fn first_message(input: &[u8]) -> Option<&[u8]> {
    let length = message_length(input)?;
    input[LENGTH_SIZE..].get(..length)
}

#[cfg(test)]
mod tests;
