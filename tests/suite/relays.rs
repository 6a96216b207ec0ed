//! Questions that upstream must be asked, over real sockets from end to end.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use privatelink_dns::dns::edns::ReplyEdns;
use privatelink_dns::dns::message::query;
use privatelink_dns::dns::{
    Flags, Message, Name, QueryFlags, Rcode, RecordType, ReplyWriter, Request, Section,
};

use crate::support::client::{PATIENCE, answers, ask};
use crate::support::served::wait_until;
use crate::support::test_daemon::TestDaemon;
use crate::support::upstream::Upstream;

/// Between two replies that were held.
const BETWEEN_HELD: Duration = Duration::from_millis(10);

/// An upstream that answers `10.0.0.9` to everything, once it is told to.
struct Holding {
    address: SocketAddr,
    /// One message for each query that came.
    came: Receiver<()>,
    released: Sender<()>,
}

impl Holding {
    fn start() -> Holding {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let ((seen, came), (released, release)) = (channel(), channel());
        let replies = socket.try_clone().unwrap();
        let (held, holds) = channel::<(Vec<u8>, SocketAddr)>();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let _ = (held.send((reply(&buffer[..length]), from)), seen.send(()));
            }
        });
        // The threads end with the test.
        thread::spawn(move || {
            if release.recv().is_ok() {
                // The latest come first, so that the listeners that began last are the first to be done.
                let held: Vec<_> = holds.try_iter().collect();
                for (reply, to) in held.into_iter().rev() {
                    let _ = replies.send_to(&reply, to);
                    thread::sleep(BETWEEN_HELD);
                }
                for (reply, to) in holds {
                    let _ = replies.send_to(&reply, to);
                }
            }
        });
        Holding { address, came, released }
    }

    fn wait_for(&self, queries: usize) {
        for _ in 0..queries {
            self.came.recv_timeout(PATIENCE).expect("the query comes");
        }
    }

    fn release(&self) {
        let _ = self.released.send(());
    }

    fn config(&self) -> String {
        format!("[forward]\nupstreams = [\"{}\"]\n", self.address)
    }
}

fn reply(message: &[u8]) -> Vec<u8> {
    let request = Request::read(message).ok().expect("the forwarder asks well formed questions");
    let mut buffer = vec![0; 512];
    let mut writer = ReplyWriter::new(&mut buffer, 512, request.question).unwrap();
    writer
        .record(Section::Answer, request.name.to_buf().borrow(), RecordType::A, 60, &[10, 0, 0, 9])
        .unwrap();
    let flags = Flags::QR.with(Flags::RA, true);
    let length = writer.finish(request.id, flags, Rcode::NOERROR, Some(&ReplyEdns::default()));
    buffer.truncate(length);
    buffer
}

fn client() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn send(client: &UdpSocket, server: SocketAddr, id: u16, name: &str) {
    let name: Name = name.parse().unwrap();
    let message = query(id, name.borrow(), RecordType::A, QueryFlags::default(), true);
    client.send_to(&message, server).unwrap();
}

/// So many replies, by their ids.
fn receive(client: &UdpSocket, server: SocketAddr, count: usize) -> HashMap<u16, Message> {
    let mut replies = HashMap::new();
    let mut buffer = [0; 4096];
    while replies.len() < count {
        let (length, from) = client.recv_from(&mut buffer).expect("each question is answered");
        assert_eq!(from, server);
        let reply = Message::read(&buffer[..length]).unwrap();
        assert!(replies.insert(reply.id, reply).is_none(), "each question is answered once");
    }
    replies
}

#[test]
fn a_thousand_new_questions_are_all_answered_with_what_was_asked() {
    let upstream = Holding::start();
    upstream.release();
    let daemon = TestDaemon::start(&upstream.config(), &[]);
    let client = client();
    for round in 0..10 {
        for id in round * 100..round * 100 + 100 {
            send(&client, daemon.address, id, &format!("n{id}.example."));
        }
        for (id, reply) in receive(&client, daemon.address, 100) {
            assert_eq!(answers(&reply), [format!("n{id}.example. 60 A 10.0.0.9")]);
        }
    }
    upstream.wait_for(1000);
    daemon.stop();
}

#[test]
fn many_who_ask_the_same_are_all_answered_by_one_query() {
    let upstream = Holding::start();
    let daemon = TestDaemon::start(&upstream.config(), &[]);
    let clients = [client(), client(), client(), client()];
    for client in &clients {
        (0..50).for_each(|id| send(client, daemon.address, id, "same.example."));
    }
    upstream.wait_for(1);
    upstream.release();
    for client in &clients {
        let replies = receive(client, daemon.address, 50);
        assert!(replies.values().all(|reply| answers(reply) == ["same.example. 60 A 10.0.0.9"]));
    }
    // One lost query is asked again twice.
    assert!(upstream.came.try_iter().count() <= 2);
    daemon.stop();
}

#[test]
fn what_is_in_flight_is_answered_over_a_reload_with_other_workers_and_over_the_end() {
    let upstream = Holding::start();
    let daemon = TestDaemon::start(&upstream.config(), &[]);
    let client = client();
    (0..25).for_each(|id| send(&client, daemon.address, id, &format!("n{id}.example.")));
    upstream.wait_for(25);
    let network = "[[network]]\nname = \"other\"\nclients = [\"10.0.0.0/24\"]\n";
    let listen = format!("[listen]\ndns = [\"{}\"]\nworkers = 1\n", daemon.address);
    let config =
        format!("state_dir = \"state\"\n{}{network}{listen}[admin]\nlisten = []\n", upstream.config());
    daemon.write("config.toml", &config);
    daemon.wait_for(|snapshot| snapshot.networks().view_named("other").is_some());
    let server = daemon.address;
    (25..50).for_each(|id| send(&client, server, id, &format!("n{id}.example.")));
    upstream.wait_for(25);
    let ending = thread::spawn(move || daemon.stop());
    upstream.release();
    let replies = receive(&client, server, 50);
    assert!(replies.values().all(|reply| reply.rcode == Rcode::NOERROR && reply.answer.len() == 1));
    ending.join().unwrap();
}

#[test]
fn a_chain_over_two_upstreams_asks_each_once_though_nothing_may_be_kept() {
    let one = Upstream::start(&[("www.one. A", &["www.one. 0 CNAME web.two."])]);
    let two = Upstream::start(&[("web.two. A", &["web.two. 0 A 10.0.0.2"])]);
    let config = format!(
        "[forward]\nupstreams = [\"{}\"]\n[[forward.rule]]\ndomain = \"two\"\nupstreams = [\"{}\"]\n",
        one.address, two.address
    );
    let daemon = TestDaemon::start(&config, &[]);
    for round in 1..=3 {
        let reply = ask(daemon.address, "www.one.", "A");
        assert_eq!(answers(&reply), ["www.one. 0 CNAME web.two.", "web.two. 0 A 10.0.0.2"]);
        assert_eq!((one.asked(), two.asked()), (round, round));
    }
    daemon.stop();
}

#[test]
fn a_reload_that_changes_bounds_alone_forgets_nothing_of_upstream() {
    let upstream = Upstream::start(&[("www.one. A", &["www.one. 600 A 10.0.0.1"])]);
    let config = |more: &str| format!("[forward]\nupstreams = [\"{}\"]\n{more}", upstream.address);
    let daemon = TestDaemon::start(&config(""), &[]);
    assert_eq!(ask(daemon.address, "www.one.", "A").answer.len(), 1);
    daemon.configure(&config("questions_in_flight_max = 77\nwaiters_max = 7\n"));
    wait_until("the other bounds", || daemon.serving().forwarder.settings().questions_in_flight_max == 77);
    assert_eq!(ask(daemon.address, "www.one.", "A").answer.len(), 1);
    assert_eq!(upstream.asked(), 1);
    daemon.stop();
}

/// UDP and TCP on one port.
fn both_transports() -> (UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

/// A reply that says `10.0.0.N`.
fn with_last_byte(mut reply: Vec<u8>, last: u8) -> Vec<u8> {
    // The OPT record is the last and has 11 bytes.
    let end = reply.len() - 11;
    reply[end - 1] = last;
    reply
}

#[test]
fn forgeries_are_passed_over_and_only_the_reply_is_told() {
    let (upstream, tcp) = both_transports();
    let config = format!("[forward]\nupstreams = [\"{}\"]\n", upstream.local_addr().unwrap());
    thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            // The connection is kept for more.
            while stream.read_exact(&mut length).is_ok() {
                let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut message).unwrap();
                let reply = with_last_byte(reply(&message), 11);
                stream.write_all(&(reply.len() as u16).to_be_bytes()).unwrap();
                stream.write_all(&reply).unwrap();
            }
        }
    });
    let daemon = TestDaemon::start(&config, &[]);
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let client = client();
    let mut ports = HashSet::new();
    for id in 0..20 {
        send(&client, daemon.address, id, &format!("account{id}.blob.core.windows.net."));
        let mut buffer = [0; 512];
        let (length, port) = upstream.recv_from(&mut buffer).unwrap();
        let good = reply(&buffer[..length]);
        let forged = with_last_byte(good.clone(), 66);
        // Another id is passed over. Who hits the id, with no reply or with another name, may hit all of it the next time.
        let (spoilt, expected) = match id % 4 {
            1 => ((2, 0x80), "60 A 10.0.0.11"),
            3 => ((14, 1), "60 A 10.0.0.11"),
            _ => ((1, 1), "60 A 10.0.0.9"),
        };
        let mut near = forged.clone();
        near[spoilt.0] ^= spoilt.1;
        upstream.send_to(&near, port).unwrap();
        // All right but for its sender.
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&forged, port).unwrap();
        if expected.ends_with(".9") {
            upstream.send_to(&good, port).unwrap();
        }
        upstream.send_to(&forged, port).unwrap();
        let replies = receive(&client, daemon.address, 1);
        assert!(answers(&replies[&id])[0].ends_with(expected), "{id}: {:?}", answers(&replies[&id]));
        ports.insert(port);
    }
    assert!(ports.len() > 5, "{ports:?}");
    daemon.stop();
}
