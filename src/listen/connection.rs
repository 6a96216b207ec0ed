//! One TCP connection: messages in, replies out in whatever order they are ready (RFC 7766 §6.2.1.1).

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::counters::TcpCounters;
use super::limits::Admitted;
use super::tcp::TcpService;
use super::{Attempt, Service};
use crate::respond::Client;

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

/// How long an ending connection may take to send a message it has begun, or its first.
const LAST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(1);

/// The state of one connection.
pub struct Connection<S> {
    stream: TcpStream,
    client: Client,
    place: Admitted,
    shared: Arc<TcpService<S>>,
    input: Vec<u8>,
    /// When the message that is half in `input` began.
    message_began: Option<Instant>,
    output: Vec<u8>,
    /// How many replies `output` holds.
    output_replies: u64,
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

impl<S: Service> Connection<S> {
    pub fn new(
        stream: TcpStream,
        client: Client,
        place: Admitted,
        shared: Arc<TcpService<S>>,
    ) -> Connection<S> {
        Connection {
            stream,
            client,
            place,
            shared,
            input: Vec::new(),
            message_began: None,
            output: Vec::new(),
            output_replies: 0,
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
        if matches!(end, End::MessagesMax | End::EmptyMessage | End::Evicted | End::Drained) {
            self.linger().await;
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
            let idle = reading && self.answers.is_empty() && self.message_began.is_none();
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
            if idle {
                self.place.idle(idle_since);
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
                    self.read_what_is_there();
                }
                () = shared.closing.cut(), if last_message_by.is_some() => return End::Cut,
                () = self.place.evicted(), if idle => {
                    self.read_what_is_there();
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
        let counters = &self.shared.counters.tcp;
        counters.queries.add(1);
        let service = &self.shared.service;
        let (client, output) = (self.client, &mut self.output);
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            REPLY.with_borrow_mut(|buffer| {
                let attempt = service.try_answer(view, message, client, buffer);
                if let Attempt::Reply(length) = attempt {
                    append_reply(output, &buffer[..length]);
                }
                attempt
            })
        }));
        match attempt {
            Ok(Attempt::Reply(_)) => self.output_replies += 1,
            Ok(Attempt::Drop) => counters.dropped.add(1),
            Ok(Attempt::Wait) => self.wait(message),
            Err(_) => counters.panics.add(1),
        }
    }

    /// Has a task answer a message that must wait for upstream.
    fn wait(&mut self, message: &[u8]) {
        let Ok(permit) = self.shared.waiting.clone().try_acquire_owned() else {
            return self.counters().waiting_max_reached.add(1);
        };
        let answer = self.shared.service.clone().answer(message.to_vec(), self.client);
        self.answers.spawn(self.shared.closing.tracker.track_future(async move {
            let _permit = permit;
            answer.await
        }));
    }

    fn take_answers(&mut self) {
        while self.output.len() < WRITE_SIZE
            && let Some(answer) = self.answers.try_join_next()
        {
            append(&mut self.output, &mut self.output_replies, &self.shared.counters.tcp, answer);
        }
    }

    async fn flush(&mut self, write_timeout: Duration) -> Result<(), End> {
        match timeout(write_timeout, self.stream.write_all(&self.output)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(End::Failed),
            Err(_) => return Err(End::WriteTimeout),
        }
        let replies = std::mem::take(&mut self.output_replies);
        self.counters().replies.add(replies);
        self.output.clear();
        Ok(())
    }

    /// Reads what the kernel has received already, without waiting.
    fn read_what_is_there(&mut self) {
        self.input.reserve(self.room());
        let _ = self.stream.try_read_buf(&mut self.input);
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

impl<S> Drop for Connection<S> {
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
mod tests {
    use std::net::SocketAddr;

    use tokio::net::TcpSocket;
    use tokio::runtime::Handle;

    use super::super::echo::*;
    use super::super::{Listening, Settings, TcpCounts, TcpSettings, bind};
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    fn listen_with(tcp: TcpSettings) -> (Arc<Echo>, Listening, SocketAddr) {
        let (echo, listening) = listen(&Settings { tcp, ..settings(&["127.0.0.1:0"]) });
        let server = listening.addresses()[0];
        (echo, listening, server)
    }

    async fn connect(server: SocketAddr) -> TcpStream {
        TcpStream::connect(server).await.unwrap()
    }

    async fn receive_id(stream: &mut TcpStream) -> Option<u16> {
        receive_frame(stream).await.map(|message| id(&message))
    }

    async fn until_counted(listening: &Listening, is: impl Fn(TcpCounts) -> bool) {
        until(|| is(listening.counters().tcp)).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn replies_come_as_they_are_ready_and_not_in_order() {
        let (echo, listening, server) = listen_with(TcpSettings::default());
        let mut stream = connect(server).await;
        send_frames(&mut stream, &[question(1, "w"), question(2, "a"), question(3, "w"), question(4, "a")])
            .await;
        assert_eq!(receive_id(&mut stream).await, Some(2));
        assert_eq!(receive_id(&mut stream).await, Some(4));
        soon(echo.wait_for_at_gate(2)).await;
        echo.gate.send_replace(true);
        let mut waited = [receive_id(&mut stream).await, receive_id(&mut stream).await];
        waited.sort();
        assert_eq!(waited, [Some(1), Some(3)]);
        let counts = listening.counters().tcp;
        assert_eq!((counts.connections, counts.queries, counts.waited), (1, 4, 2));
        let client = echo.client.borrow().unwrap();
        assert_eq!(client.address, stream.local_addr().unwrap());
        assert_eq!(client.local, Some(server.ip()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_messages_in_one_piece_and_one_message_in_many_pieces() {
        let (_, _listening, server) = listen_with(TcpSettings::default());
        let mut stream = connect(server).await;
        let many: Vec<_> = (0..3000).map(|id| question(id, "a")).collect();
        send_frames(&mut stream, &many).await;
        for id in 0..3000 {
            assert_eq!(receive_id(&mut stream).await, Some(id));
        }
        stream.set_nodelay(true).unwrap();
        for byte in frames(&[question(7, "a"), question(8, "a")]) {
            stream.write_all(&[byte]).await.unwrap();
        }
        assert_eq!(receive_id(&mut stream).await, Some(7));
        assert_eq!(receive_id(&mut stream).await, Some(8));
        let mut largest = question(9, "a");
        largest.resize(65535, 0);
        send_frames(&mut stream, std::slice::from_ref(&largest)).await;
        largest[2] |= 0x80;
        assert_eq!(receive_frame(&mut stream).await, Some(largest));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn with_so_many_in_flight_a_connection_is_not_read_on() {
        let (echo, listening, server) =
            listen_with(TcpSettings { in_flight_max: 2, idle_timeout: SHORT, ..TcpSettings::default() });
        let mut stream = connect(server).await;
        send_frames(&mut stream, &[question(1, "w"), question(2, "w"), question(3, "a"), question(4, "w")])
            .await;
        until_counted(&listening, |counts| counts.in_flight_max_reached == 1).await;
        assert_eq!(listening.counters().tcp.queries, 2);
        echo.gate.send_replace(true);
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(receive_id(&mut stream).await.unwrap());
        }
        ids.sort();
        assert_eq!(ids, [1, 2, 3, 4]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_wait_than_may() {
        let (echo, listening, server) = listen_with(TcpSettings { waiting_max: 1, ..TcpSettings::default() });
        let mut stream = connect(server).await;
        send_frames(&mut stream, &[question(1, "w"), question(2, "w"), question(3, "a")]).await;
        assert_eq!(receive_id(&mut stream).await, Some(3));
        assert_eq!(listening.counters().tcp.waiting_max_reached, 1);
        echo.gate.send_replace(true);
        assert_eq!(receive_id(&mut stream).await, Some(1));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_silent_connection_is_closed_and_one_that_waits_is_not() {
        let (echo, listening, server) =
            listen_with(TcpSettings { idle_timeout: SHORT, ..TcpSettings::default() });
        let mut waiting = connect(server).await;
        send_frames(&mut waiting, &[question(1, "w")]).await;
        let mut silent = connect(server).await;
        assert_eq!(receive_id(&mut silent).await, None);
        assert_eq!(listening.counters().tcp.idle_timeouts, 1);
        echo.gate.send_replace(true);
        assert_eq!(receive_id(&mut waiting).await, Some(1));
        assert_eq!(receive_id(&mut waiting).await, None);
        until_counted(&listening, |counts| counts.connections_closed == 2).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_message_that_does_not_end_closes_its_connection() {
        let (_, listening, server) =
            listen_with(TcpSettings { message_timeout: SHORT, ..TcpSettings::default() });
        for begun in [&[0][..], &[0, 20, 1, 2]] {
            let mut stream = connect(server).await;
            send_frames(&mut stream, &[question(1, "a")]).await;
            stream.write_all(begun).await.unwrap();
            assert_eq!(receive_id(&mut stream).await, Some(1));
            assert_eq!(receive_id(&mut stream).await, None);
        }
        assert_eq!(listening.counters().tcp.message_timeouts, 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_does_not_read_its_replies_is_closed() {
        let (_, listening, server) =
            listen_with(TcpSettings { write_timeout: SHORT, ..TcpSettings::default() });
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(server).await.unwrap();
        // 30 MB of replies, far above what the kernel buffers.
        let many: Vec<_> = (0..500).map(|id| question(id, "l")).collect();
        send_frames(&mut stream, &many).await;
        until_counted(&listening, |counts| counts.write_timeouts == 1).await;
        until_counted(&listening, |counts| counts.connections_closed == 1).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_message_without_length_ends_the_connection_behind_the_replies() {
        let (_, listening, server) = listen_with(TcpSettings::default());
        let mut stream = connect(server).await;
        send_frames(&mut stream, &[question(1, "a"), Vec::new(), question(2, "a")]).await;
        assert_eq!(receive_id(&mut stream).await, Some(1));
        assert_eq!(receive_id(&mut stream).await, None);
        until_counted(&listening, |counts| counts.empty_messages == 1).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_ends_after_so_many_messages() {
        let (echo, listening, server) =
            listen_with(TcpSettings { messages_max: 3, ..TcpSettings::default() });
        let mut stream = connect(server).await;
        let labels = ["a", "w", "a", "a", "a"];
        let many: Vec<_> = labels.iter().enumerate().map(|(id, label)| question(id as u16, label)).collect();
        send_frames(&mut stream, &many).await;
        assert_eq!(receive_id(&mut stream).await, Some(0));
        assert_eq!(receive_id(&mut stream).await, Some(2));
        echo.gate.send_replace(true);
        assert_eq!(receive_id(&mut stream).await, Some(1));
        assert_eq!(receive_id(&mut stream).await, None);
        until_counted(&listening, |counts| counts.messages_max_reached == 1).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_client_cannot_take_the_connections_of_others() {
        let (_, listening, server) =
            listen_with(TcpSettings { connections_per_client_max: 1, ..TcpSettings::default() });
        let mut first = connect(server).await;
        send_frames(&mut first, &[question(1, "a")]).await;
        assert_eq!(receive_id(&mut first).await, Some(1));
        assert_eq!(receive_id(&mut connect(server).await).await, None);
        assert_eq!(listening.counters().tcp.connections_per_client_max_reached, 1);
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut other = socket.connect(server).await.unwrap();
        for stream in [&mut first, &mut other] {
            send_frames(stream, &[question(2, "a")]).await;
            assert_eq!(receive_id(stream).await, Some(2));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_idle_connection_makes_room_and_a_busy_one_does_not() {
        let (echo, listening, server) =
            listen_with(TcpSettings { connections_max: 1, ..TcpSettings::default() });
        let mut busy = connect(server).await;
        send_frames(&mut busy, &[question(1, "w")]).await;
        soon(echo.wait_for_at_gate(1)).await;
        assert_eq!(receive_id(&mut connect(server).await).await, None);
        assert_eq!(listening.counters().tcp.connections_max_reached, 1);
        echo.gate.send_replace(true);
        assert_eq!(receive_id(&mut busy).await, Some(1));
        // It is idle a moment after its reply has come.
        let mut newer = loop {
            let mut newer = connect(server).await;
            // The server may have closed it already.
            let _ = newer.write_all(&frames(&[question(2, "a")])).await;
            if receive_id(&mut newer).await == Some(2) {
                break newer;
            }
        };
        assert_eq!(receive_id(&mut busy).await, None);
        assert_eq!(listening.counters().tcp.evicted, 1);
        send_frames(&mut newer, &[question(3, "a")]).await;
        assert_eq!(receive_id(&mut newer).await, Some(3));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_closed_its_side_still_gets_its_replies() {
        let (echo, listening, server) = listen_with(TcpSettings::default());
        let mut stream = connect(server).await;
        send_frames(&mut stream, &[question(1, "w"), question(2, "a")]).await;
        stream.shutdown().await.unwrap();
        assert_eq!(receive_id(&mut stream).await, Some(2));
        echo.gate.send_replace(true);
        assert_eq!(receive_id(&mut stream).await, Some(1));
        assert_eq!(receive_id(&mut stream).await, None);
        until_counted(&listening, |counts| counts.connections_closed == 1 && counts.replies == 2).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_costs_one_message_and_not_its_connection() {
        let (_, listening, server) = listen_with(TcpSettings::default());
        let mut stream = connect(server).await;
        let labels = ["p", "wp", "n", "a"];
        let many: Vec<_> = labels.iter().enumerate().map(|(id, label)| question(id as u16, label)).collect();
        send_frames(&mut stream, &many).await;
        assert_eq!(receive_id(&mut stream).await, Some(3));
        until_counted(&listening, |counts| counts.panics == 2 && counts.dropped == 1).await;
        send_frames(&mut stream, &[question(9, "a")]).await;
        assert_eq!(receive_id(&mut stream).await, Some(9));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_end_finishes_what_is_in_flight_and_says_goodbye() {
        let (echo, listening, server) = listen_with(TcpSettings::default());
        let mut idle = connect(server).await;
        send_frames(&mut idle, &[question(1, "a")]).await;
        assert_eq!(receive_id(&mut idle).await, Some(1));
        let mut waiting = connect(server).await;
        send_frames(&mut waiting, &[question(2, "w")]).await;
        soon(echo.wait_for_at_gate(1)).await;
        let drained = tokio::spawn(listening.drain(Duration::from_secs(10)));
        assert_eq!(receive_id(&mut idle).await, None);
        echo.gate.send_replace(true);
        assert_eq!(receive_id(&mut waiting).await, Some(2));
        assert_eq!(receive_id(&mut waiting).await, None);
        drop((idle, waiting));
        assert_eq!(soon(drained).await.unwrap().unfinished, 0);
        assert!(TcpStream::connect(server).await.is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_end_has_bounded_patience() {
        let (echo, listening, server) = listen_with(TcpSettings::default());
        let mut stream = connect(server).await;
        send_frames(&mut stream, &[question(1, "w")]).await;
        soon(echo.wait_for_at_gate(1)).await;
        assert!(soon(listening.drain(SHORT)).await.unfinished > 0);
        assert_eq!(receive_id(&mut stream).await, None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_end_serves_the_connections_that_the_kernel_has_queued() {
        let bound = bind(&settings(&["127.0.0.1:0"])).unwrap();
        let server = bound.addresses()[0];
        let mut streams = Vec::new();
        for id in 0..20 {
            let mut stream = connect(server).await;
            // Half of them say what they want only later.
            if id % 2 == 0 {
                send_frames(&mut stream, &[question(id, "a")]).await;
            }
            streams.push((id, stream));
        }
        let listening = bound.run(Echo::new(), &Handle::current()).unwrap();
        let drained = tokio::spawn(listening.drain(Duration::from_secs(10)));
        for (id, mut stream) in streams {
            if id % 2 != 0 {
                send_frames(&mut stream, &[question(id, "a")]).await;
            }
            assert_eq!(receive_id(&mut stream).await, Some(id));
            assert_eq!(receive_id(&mut stream).await, None);
        }
        assert_eq!(soon(drained).await.unwrap().unfinished, 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reload_loses_no_connection() {
        let (_, mut listening, server) = listen_with(TcpSettings::default());
        let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let mut clients = Vec::new();
        for _ in 0..4 {
            let over = over.clone();
            clients.push(tokio::spawn(async move {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let mut stream = connect(server).await;
                    send_frames(&mut stream, &[question(1, "a")]).await;
                    assert_eq!(receive_id(&mut stream).await, Some(1));
                }
            }));
        }
        for _ in 0..5 {
            let next = listening.rebind(&settings(&["127.0.0.1:0"])).unwrap();
            let next = next.run(Echo::new(), &Handle::current()).unwrap();
            let connections = next.counters().tcp.connections;
            assert_eq!(listening.drain(Duration::from_secs(10)).await.unfinished, 0);
            until_counted(&next, |counts| counts.connections > connections + 20).await;
            listening = next;
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        for client in clients {
            client.await.unwrap();
        }
    }
}
