//! Frames as a collector reads them.

use std::net::SocketAddr;
use std::time::Duration;

use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::made::{event, query, reply, until};
use super::super::{Event, FrameCounters};
use super::*;

/// What is sent of an event.
fn sent(event: &Event, query: &[u8], reply: &[u8], zone: &[u8]) -> Vec<Dnstap> {
    let zones: Arc<Zones> = Arc::new(|name, client| {
        assert_eq!(client.to_string(), "10.0.0.5");
        name.parent().map(|parent| parent.to_name())
    });
    let settings =
        Settings { collector: Collector::Socket("unused".into()), identity: "this server".to_owned() };
    let (frames, mut inlet) = outlet(Arc::<FrameCounters>::default());
    let mut sender = Sender { settings, frames, zones };
    sender.take(Seen { event, query, reply, zone }, &Moment::now());
    sender.flush();
    drop(sender);
    let mut bytes = Vec::new();
    while let Some(super::super::outlet::Order::Write(piece)) = inlet.wait_for_next() {
        bytes.extend(piece.bytes);
    }
    messages(&bytes)
}

fn messages(mut bytes: &[u8]) -> Vec<Dnstap> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (frame, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        messages.push(Dnstap::decode(frame).unwrap());
        bytes = rest;
    }
    messages
}

#[test]
fn an_answer_of_our_zones_is_a_query_and_a_response_of_an_authority() {
    let (event, query) = (event(), query("a.corp.example."));
    let reply = reply(&query, 0);
    let [asked, answered] = sent(&event, &query, &reply, &[]).try_into().unwrap();
    assert_eq!(asked.identity.as_deref(), Some(&b"this server"[..]));
    assert_eq!(asked.version.as_deref(), Some(VERSION.as_bytes()));
    assert_eq!(asked.r#type(), Type::Message);
    let [asked, answered] = [asked, answered].map(|dnstap| dnstap.message.unwrap());
    assert_eq!((asked.r#type(), answered.r#type()), (MessageType::AuthQuery, MessageType::AuthResponse));
    for message in [&asked, &answered] {
        assert_eq!(
            (message.socket_family(), message.socket_protocol()),
            (SocketFamily::Inet, SocketProtocol::Udp)
        );
        assert_eq!(message.query_address.as_deref(), Some(&[10, 0, 0, 5][..]));
        assert_eq!(message.response_address.as_deref(), Some(&[10, 0, 0, 53][..]));
        assert_eq!((message.query_port, message.response_port), (Some(4242), None));
        assert_eq!(message.query_zone.as_deref(), Some(&b"\x04corp\x07example\0"[..]));
    }
    assert_eq!((asked.query_message, asked.response_message), (Some(query), None));
    assert_eq!((answered.query_message, answered.response_message), (None, Some(reply)));
    let nanos =
        |secs: Option<u64>, nanos: Option<u32>| secs.unwrap() * 1_000_000_000 + u64::from(nanos.unwrap());
    let began = nanos(answered.query_time_sec, answered.query_time_nsec);
    assert_eq!(nanos(answered.response_time_sec, answered.response_time_nsec) - began, 1_500_000);
    assert_eq!((asked.response_time_sec, asked.query_time_sec), (None, answered.query_time_sec));
}

#[test]
fn others_answers_are_a_clients_and_questions_of_ours_a_forwarders() {
    let query = query("a.corp.example.");
    let upstream: SocketAddr = "[fd00::53]:53".parse().unwrap();
    let cached = Kind::Client { path: AnswerPath::Cached, upstream: None };
    let [asked, answered] = sent(&Event { kind: cached, ..event() }, &query, &reply(&query, 0), &[])
        .try_into()
        .map(|both: [Dnstap; 2]| both.map(|dnstap| dnstap.message.unwrap()))
        .unwrap();
    assert_eq!(
        (asked.r#type(), answered.r#type(), asked.query_zone),
        (MessageType::ClientQuery, MessageType::ClientResponse, None)
    );
    // It is not answered, and the address it left from is not known.
    let forwarder = Event {
        kind: Kind::Forwarder,
        transport: Transport::Tcp,
        from: None,
        to: Some(upstream.into()),
        answered: None,
        ..event()
    };
    let [asked] = sent(&forwarder, &query, &[], b"\x04corp\0").try_into().unwrap();
    let asked = asked.message.unwrap();
    assert_eq!((asked.r#type(), asked.socket_family()), (MessageType::ForwarderQuery, SocketFamily::Inet6));
    assert_eq!((asked.socket_protocol(), asked.query_address), (SocketProtocol::Tcp, None));
    assert_eq!((asked.response_port, asked.query_zone.as_deref()), (Some(53), Some(&b"\x04corp\0"[..])));
}

/// A collector that takes one connection, with this many frames, and hangs up.
async fn collect(listener: &TcpListener, frames: usize) -> (TcpStream, Vec<Dnstap>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut control = [0; 42];
    stream.read_exact(&mut control).await.unwrap();
    let mut accept = control;
    accept[11] = 1;
    stream.write_all(&accept).await.unwrap();
    stream.read_exact(&mut control).await.unwrap();
    assert_eq!(control[11], 2);
    let mut messages = Vec::new();
    while messages.len() < frames {
        let length = stream.read_u32().await.unwrap();
        let mut frame = vec![0; length as usize];
        stream.read_exact(&mut frame).await.unwrap();
        messages.push(Dnstap::decode(&frame[..]).unwrap());
    }
    (stream, messages)
}

/// A sender to a collector, and what it counts.
fn sender(listener: &TcpListener, tracker: &TaskTracker) -> (Sender, Arc<FrameCounters>) {
    let collector = Collector::Address(listener.local_addr().unwrap());
    let settings = Settings { collector, identity: "this server".to_owned() };
    let tally = Arc::<FrameCounters>::default();
    let ends = (tracker, CancellationToken::new());
    let sender =
        Sender::new(settings, Arc::new(|_, _| None), Arc::clone(&tally) as _, &Handle::current(), ends);
    (sender, tally)
}

fn ask(sender: &mut Sender, name: &str) {
    let query = query(name);
    let event = Event { answered: None, ..event() };
    sender.take(Seen { event: &event, query: &query, reply: &[], zone: &[] }, &Moment::now());
    sender.flush();
}

#[tokio::test]
async fn a_collector_that_goes_away_is_connected_to_again_and_the_end_is_confirmed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tracker = TaskTracker::new();
    let (mut sender, tally) = sender(&listener, &tracker);
    ask(&mut sender, "a.example.");
    let (stream, first) = collect(&listener, 1).await;
    assert_eq!(first[0].message.as_ref().unwrap().query_message, Some(query("a.example.")));
    drop(stream);
    let mut asked = 1;
    let mut stream = tokio::select! {
        (stream, _) = collect(&listener, 1) => stream,
        // Some may still go to where nobody is any more.
        () = async {
            loop {
                ask(&mut sender, "b.example.");
                asked += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        } => unreachable!(),
    };
    drop(sender);
    let mut rest = Vec::new();
    while !rest.ends_with(b"\0\0\0\0\0\0\0\x04\0\0\0\x03") {
        assert_ne!(stream.read_buf(&mut rest).await.unwrap(), 0, "it ended without STOP");
    }
    stream.write_all(b"\0\0\0\0\0\0\0\x04\0\0\0\x05").await.unwrap();
    tracker.close();
    tracker.wait().await;
    assert_eq!(tally.sent.value() + tally.dropped.value(), asked);
}

#[tokio::test]
async fn a_collector_that_takes_nothing_holds_up_nobody_and_drops_are_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tracker = TaskTracker::new();
    let (mut sender, tally) = sender(&listener, &tracker);
    let (stream, _) = collect(&listener, 0).await;
    let long = vec![0; 60_000];
    let event = Event { answered: None, ..event() };
    until(|| {
        sender.take(Seen { event: &event, query: &long, reply: &[], zone: &[] }, &Moment::now());
        sender.flush();
        tally.dropped.value() > 0
    })
    .await;
    drop(stream);
}
