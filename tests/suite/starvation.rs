//! Clients that have very much wait for upstream: what others ask of a healthy upstream is answered all the same.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use privatelink_dns::dns::message::query;
use privatelink_dns::dns::{Message, Name, QueryFlags, Rcode, RecordType};
use socket2::{Domain, Socket, Type};

use crate::support::client::{PATIENCE, answers};
use crate::support::odd::good;
use crate::support::test_daemon::TestDaemon;

/// Networks that attack: more than one of them would be bound by `wait_limit` alone.
const ATTACKERS: u8 = 6;

/// The others that ask.
const OTHERS: Ipv4Addr = Ipv4Addr::new(127, 0, 200, 1);

/// Questions of others during an attack.
const QUESTIONS: u16 = 300;

/// An upstream that answers whatever does not lie below `silent.`.
fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // The thread ends with the test process.
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let query = &buffer[..length];
            let name = Message::read(query).unwrap().question.unwrap().name.to_string();
            if !name.to_ascii_lowercase().ends_with(".silent.") {
                let _ = socket.send_to(&good(query), from);
            }
        }
    });
    address
}

/// A daemon with small pools, so that small attacks fill them; and an upstream that never answers below `dead.`.
fn daemon(limits: &str) -> (TestDaemon, UdpSocket) {
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "[limits]\n{limits}\n[forward]\nquestions_in_flight_max = 1024\nupstreams = [\"{}\"]\n\
         [[forward.rule]]\ndomain = \"dead\"\nupstreams = [\"{}\"]\n",
        upstream(),
        dead.local_addr().unwrap()
    );
    (TestDaemon::start(&config, &[]), dead)
}

fn packet(id: u16, name: &str) -> Vec<u8> {
    let name: Name = name.parse().unwrap();
    query(id, name.borrow(), RecordType::A, QueryFlags::default(), true)
}

/// Clients of several networks that ask for new names below a domain without a pause for breath.
struct Attack {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Attack {
    /// Begins, and waits until each network has asked so many questions.
    fn begin(server: SocketAddr, domain: &'static str, rounds: usize) -> Attack {
        let ends = Arc::new(AtomicBool::new(false));
        let (begun, begins) = std::sync::mpsc::channel();
        let until = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            let sockets: Vec<UdpSocket> = (0..ATTACKERS)
                .map(|number| UdpSocket::bind((Ipv4Addr::new(127, 0, 10 + number, 1), 0)).unwrap())
                .collect();
            sockets.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
            let mut buffer = [0; 512];
            for number in 0.. {
                if until.load(Ordering::Relaxed) {
                    break;
                }
                for (at, socket) in sockets.iter().enumerate() {
                    let _ = socket.send_to(&packet(7, &format!("n{number}-{at}.{domain}")), server);
                    while socket.recv(&mut buffer).is_ok() {}
                }
                if number == rounds {
                    begun.send(()).unwrap();
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        begins.recv_timeout(PATIENCE).unwrap();
        Attack { ends, thread }
    }

    fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// Others ask an upstream that is well for new names; each is asked for again while the machine is too busy to answer.
fn all_are_answered(server: SocketAddr) {
    let socket = UdpSocket::bind((OTHERS, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let mut open: HashMap<u16, Instant> = HashMap::new();
    let (mut next, mut answered) = (0, 0);
    let began = Instant::now();
    let mut buffer = [0; 4096];
    while answered < QUESTIONS {
        assert!(began.elapsed() < PATIENCE, "{answered} of {QUESTIONS} are answered");
        let again =
            open.iter().find(|(_, asked)| asked.elapsed() > Duration::from_secs(3)).map(|(id, _)| *id);
        if let Some(id) = again.or((next < QUESTIONS).then_some(next)) {
            next += u16::from(again.is_none());
            socket.send_to(&packet(id, &format!("n{id}.good.")), server).unwrap();
            open.insert(id, Instant::now());
        }
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let reply = Message::read(&buffer[..length]).unwrap();
        if reply.rcode == Rcode::SERVFAIL {
            let why = reply.extended_error.expect("a failure says why").1;
            // The upstream of the test may be slow on a busy machine; places may not be what is missing.
            assert!(!why.contains("wait for upstream"), "{why}");
            open.insert(reply.id, began);
        } else if open.remove(&reply.id).is_some() {
            assert_eq!(answers(&reply), [format!("n{}.good. 60 A 10.0.0.9", reply.id)]);
            answered += 1;
        }
    }
}

#[test]
fn a_rule_whose_upstream_is_dead_takes_nothing_from_the_others() {
    let (daemon, _dead) = daemon("");
    let attack = Attack::begin(daemon.address, "dead.", 350);
    all_are_answered(daemon.address);
    attack.end();
    daemon.stop();
}

#[test]
fn names_that_a_healthy_upstream_is_silent_on_take_nothing_from_the_others() {
    let (daemon, _dead) = daemon("");
    let attack = Attack::begin(daemon.address, "silent.", 350);
    all_are_answered(daemon.address);
    attack.end();
    daemon.stop();
}

/// A connection from an address of loopback.
fn connect(client: Ipv4Addr, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((client, 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn send(stream: &mut TcpStream, packet: &[u8]) {
    stream.write_all(&[&(packet.len() as u16).to_be_bytes(), packet].concat()).unwrap();
}

fn receive(stream: &mut TcpStream) -> Message {
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("a reply comes");
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply).unwrap();
    Message::read(&reply).unwrap()
}

#[test]
fn questions_that_wait_on_many_connections_are_refused_aloud_and_take_nothing_from_the_others() {
    let (daemon, _dead) = daemon("wait_limit = 300");
    let mut attackers: Vec<TcpStream> =
        (0..10).map(|_| connect(Ipv4Addr::new(127, 0, 10, 1), daemon.address)).collect();
    for (number, stream) in attackers.iter_mut().enumerate() {
        for id in 0..100 {
            send(stream, &packet(id, &format!("n{number}-{id}.silent.")));
        }
    }
    let mut other = connect(OTHERS, daemon.address);
    for id in 0..60 {
        send(&mut other, &packet(id, &format!("n{id}.good.")));
    }
    for _ in 0..60 {
        let reply = receive(&mut other);
        assert_eq!(
            answers(&reply),
            [format!("n{}.good. 60 A 10.0.0.9", reply.id)],
            "{:?}",
            reply.extended_error
        );
    }
    let mut refused = 0;
    for stream in &mut attackers {
        for _ in 0..100 {
            let reply = receive(stream);
            let (code, why) = reply.extended_error.expect("a failure says why");
            let is_refused = why == "300 questions of 127.0.10.0/24 wait for upstream already";
            assert_eq!(reply.rcode, Rcode::SERVFAIL, "{code}: {why}");
            refused += usize::from(is_refused);
        }
    }
    assert!(refused >= 300, "{refused}");
    daemon.stop();
}

#[test]
fn what_piled_up_behind_one_name_is_sent_in_the_end_to_all_that_wait() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let config = format!("[forward]\nupstreams = [\"{}\"]\n", upstream.local_addr().unwrap());
    let daemon = TestDaemon::start(&config, &[]);
    let client = UdpSocket::bind("127.0.10.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    // One after the other, so that they come at a rate far below that of their replies, which are ready at once.
    for id in 0..300 {
        client.send_to(&packet(id, "slow."), daemon.address).unwrap();
        thread::sleep(Duration::from_millis(2));
    }
    let mut buffer = [0; 4096];
    let (length, from) = upstream.recv_from(&mut buffer).unwrap();
    upstream.send_to(&good(&buffer[..length]), from).unwrap();
    let mut ids: Vec<u16> = (0..300)
        .map(|_| {
            let length = client.recv(&mut buffer).expect("each is answered");
            Message::read(&buffer[..length]).unwrap().id
        })
        .collect();
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(0..300));
    daemon.stop();
}
