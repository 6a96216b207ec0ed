//! What a client of TCP sees.

use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Handle;

use super::super::echo::*;
use super::super::{Listening, Settings, TcpCounts, TcpSettings, bind};
use super::*;
use crate::respond::Transport;

const SHORT: Duration = Duration::from_millis(50);

fn listen_with(tcp: TcpSettings) -> (Arc<Echo>, Listening, SocketAddr) {
    let (echo, listening) = listen(&Settings { tcp, ..settings(&["127.0.0.1:0"]) });
    let server = listening.addresses()[0];
    (echo, listening, server)
}

async fn connect(server: SocketAddr) -> TcpStream {
    TcpStream::connect(server).await.unwrap()
}

async fn receive_id(stream: &mut (impl AsyncRead + Unpin)) -> Option<u16> {
    receive_frame(stream).await.map(|message| id(&message))
}

async fn until_counted(listening: &Listening, is: impl Fn(TcpCounts) -> bool) {
    until(|| is(listening.counters().tcp)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_come_as_they_are_ready_and_not_in_order() {
    let (echo, listening, server) = listen_with(TcpSettings::default());
    let mut stream = connect(server).await;
    send_frames(&mut stream, &[question(1, "w"), question(2, "a"), question(3, "w"), question(4, "a")]).await;
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

/// What `closing`, and a bound of messages, do to a connection that is no socket.
#[tokio::test]
async fn any_stream_of_bytes_is_served_as_a_socket_is() {
    let settings = Settings::default();
    let (echo, counters) = (Echo::new(), Arc::<Counters>::default());
    let shared = Arc::new(TcpService {
        service: echo.clone(),
        settings: TcpSettings { in_flight_max: 2, ..TcpSettings::default() },
        counters: counters.clone(),
        connections: Connections::new(&settings.tcp),
        introductions: Connections::of_introductions(&settings.tcp),
        proxies: Arc::default(),
        waiting: Waiting::new(&settings, counters.met.clone()),
        closing: Arc::default(),
    });
    // Less than one message fits into it at once.
    let (mut stream, served) = tokio::io::duplex(16);
    let address = ([192, 0, 2, 1], 4711).into();
    let place = shared.connections.admit([192, 0, 2, 1].into()).unwrap();
    let client = Client::new(address, Transport::Tcp);
    let serving = tokio::spawn(Connection::new(served, client, place, shared.clone()).serve());
    send_frames(&mut stream, &[question(1, "w"), question(2, "a"), question(3, "w")]).await;
    assert_eq!(receive_id(&mut stream).await, Some(2));
    soon(echo.wait_for_at_gate(2)).await;
    assert_eq!(*echo.client.borrow(), Some(client));
    // What was sent before the end was asked for is read, and answered as what waits.
    stream.write_all(&frames(&[question(4, "a")])[..16]).await.unwrap();
    shared.closing.ask();
    stream.write_all(&frames(&[question(4, "a")])[16..]).await.unwrap();
    echo.gate.send_replace(true);
    let mut ids = Vec::new();
    while let Some(id) = receive_id(&mut stream).await {
        ids.push(id);
    }
    ids.sort();
    assert_eq!(ids, [1, 3, 4]);
    drop(stream);
    soon(serving).await.unwrap();
    let counts = counters.sum().tcp;
    assert_eq!((counts.queries, counts.replies, counts.waited, counts.connections_closed), (4, 4, 2, 1));
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
    send_frames(&mut stream, &[question(1, "w"), question(2, "w"), question(3, "a"), question(4, "w")]).await;
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
    // A client whose message cannot wait is told at once.
    let refused = receive_frame(&mut stream).await.unwrap();
    assert_eq!((id(&refused), refused[3]), (2, REFUSED));
    assert_eq!(receive_id(&mut stream).await, Some(3));
    let counts = listening.counters().tcp;
    assert_eq!((counts.waiting_max_reached, counts.wait_limit_reached), (1, 0));
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
    let (_, listening, server) = listen_with(TcpSettings { write_timeout: SHORT, ..TcpSettings::default() });
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
    let (echo, listening, server) = listen_with(TcpSettings { messages_max: 3, ..TcpSettings::default() });
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

async fn connect_from(client: &str, server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(format!("{client}:0").parse().unwrap())?;
    socket.connect(server).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_cannot_take_the_connections_of_others() {
    let (echo, listening, server) =
        listen_with(TcpSettings { connections_per_client_max: 1, ..TcpSettings::default() });
    let mut other = connect_from("127.0.0.2", server).await.unwrap();
    send_frames(&mut other, &[question(1, "a")]).await;
    assert_eq!(receive_id(&mut other).await, Some(1));
    let mut first = connect(server).await;
    send_frames(&mut first, &[question(1, "w")]).await;
    soon(echo.wait_for_at_gate(1)).await;
    assert_eq!(receive_id(&mut connect(server).await).await, None);
    assert_eq!(listening.counters().tcp.connections_per_client_max_reached, 1);
    echo.gate.send_replace(true);
    assert_eq!(receive_id(&mut first).await, Some(1));
    for stream in [&mut first, &mut other] {
        send_frames(stream, &[question(2, "a")]).await;
        assert_eq!(receive_id(stream).await, Some(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_message_makes_room() {
    for (connections_max, connections_per_client_max) in [(1, 10), (10, 1)] {
        let tcp = TcpSettings { connections_max, connections_per_client_max, ..TcpSettings::default() };
        let (_, listening, server) = listen_with(tcp);
        let mut half = connect(server).await;
        half.write_all(&[0, 20, 1, 2]).await.unwrap();
        room_is_made_for("127.0.0.1", server).await;
        assert_eq!(receive_id(&mut half).await, None);
        let counts = listening.counters().tcp;
        assert_eq!((counts.evicted, counts.message_timeouts), (1, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_take_its_replies_makes_room() {
    let (_, listening, server) = listen_with(TcpSettings { connections_max: 1, ..TcpSettings::default() });
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stuck = socket.connect(server).await.unwrap();
    let many: Vec<_> = (0..500).map(|id| question(id, "l")).collect();
    send_frames(&mut stuck, &many).await;
    room_is_made_for("127.0.0.2", server).await;
    until_counted(&listening, |counts| counts.evicted == 1 && counts.connections_closed > 0).await;
    assert_eq!(listening.counters().tcp.write_timeouts, 0);
}

/// Connects until it is answered: the connection that makes room may still be busy with what was sent on it.
async fn room_is_made_for(client: &str, server: SocketAddr) {
    let answered = async {
        loop {
            let mut new = connect_from(client, server).await.unwrap();
            // The server may have closed it already.
            let _ = new.write_all(&frames(&[question(1, "a")])).await;
            if receive_id(&mut new).await == Some(1) {
                return;
            }
        }
    };
    timeout(Duration::from_secs(30), answered).await.expect("room is made");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_with_half_messages_turn_nobody_away() {
    let tcp = TcpSettings { connections_max: 64, connections_per_client_max: 8, ..TcpSettings::default() };
    let (_, listening, server) = listen_with(tcp);
    let mut attackers = JoinSet::new();
    for number in 0..160 {
        let client = format!("127.0.1.{}", 1 + number % 20);
        attackers.spawn(async move {
            loop {
                let Ok(mut stream) = connect_from(&client, server).await else { continue };
                let _ = stream.write_all(&[0, 20, 1, 2]).await;
                // Until it is closed; then the next.
                let _ = stream.read(&mut [0]).await;
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
        });
    }
    until_counted(&listening, |counts| counts.evicted > 0).await;
    let mut served = 0;
    for number in 1..=200 {
        let mut stream = connect_from(&format!("127.0.2.{number}"), server).await.unwrap();
        // The server may have closed it already.
        let _ = stream.write_all(&frames(&[question(number, "a")])).await;
        served += usize::from(receive_id(&mut stream).await == Some(number));
    }
    assert!(served >= 199, "{served} of 200 are served: {:?}", listening.counters().tcp);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_makes_room_and_a_busy_one_does_not() {
    let (echo, listening, server) = listen_with(TcpSettings { connections_max: 1, ..TcpSettings::default() });
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
    for _ in 0..5 {
        let next = listening.rebind(&settings(&["127.0.0.1:0"])).unwrap();
        let clients: Vec<_> = (0..4).map(|_| tokio::spawn(connect_often(server))).collect();
        let next = next.run(Echo::new(), &Handle::current()).unwrap();
        assert_eq!(listening.drain(Duration::from_secs(10)).await.unfinished, 0);
        for client in clients {
            soon(client).await.unwrap();
        }
        listening = next;
    }
    until_counted(&listening, |counts| counts.replies == 500).await;
}

async fn connect_often(server: SocketAddr) {
    for _ in 0..25 {
        let mut stream = connect(server).await;
        send_frames(&mut stream, &[question(1, "a")]).await;
        assert_eq!(receive_id(&mut stream).await, Some(1));
        // Ends by a reset, which leaves no port in TIME_WAIT to other tests.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}
