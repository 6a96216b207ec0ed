//! Bounds of replies and queries that config sets, over real sockets.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use privatelink_dns::dns::{Rcode, RecordType};

use crate::support::client::{PATIENCE, ask_tcp};
use crate::support::message::{Ask, Reply};
use crate::support::test_daemon::TestDaemon;

const ZONE: &str = "$ORIGIN corp.internal.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 10.0.0.1\n\
    www A 10.0.0.2\nlast A 10.0.0.3\n";

const TC: u16 = 0x0200;

/// So many of one question: enough to meet a bound of one a second, however slow the machine is.
const MANY: usize = 40;

fn served(limits: &str) -> TestDaemon {
    let config = format!(
        "[forward]\nupstreams = []\n[limits]\n{limits}\n[[zone]]\nname = \"corp.internal\"\nfile = \"corp.zone\"\n"
    );
    TestDaemon::start(&config, &[("corp.zone", ZONE)])
}

/// The replies to many of one question; `last`, which is another, says that no more are to come.
fn replies(daemon: &TestDaemon, from: u8, name: &str, cookie: &[u8], last: &str) -> Vec<Reply> {
    let socket = UdpSocket::bind((IpAddr::V4(Ipv4Addr::new(127, 0, 0, from)), 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(daemon.address).unwrap();
    let message = |name: &str| {
        let mut ask = Ask::new(name, RecordType::A);
        if let Some(edns) = &mut ask.edns {
            edns.cookie = cookie.to_vec();
        }
        ask.to_bytes()
    };
    for _ in 0..MANY {
        socket.send(&message(name)).unwrap();
    }
    socket.send(&message(last)).unwrap();
    let mut replies = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).expect("the last question is answered");
        let reply = Reply::read(&buffer[..length]).unwrap();
        if reply.question == Ask::new(last, RecordType::A).to_bytes()[12..][..reply.question.len()] {
            return replies;
        }
        replies.push(reply);
    }
}

/// How many are whole, cut, and of BADCOOKIE.
fn counts(replies: &[Reply]) -> [usize; 3] {
    let is_cut = |reply: &Reply| reply.flags & TC != 0;
    let whole =
        replies.iter().filter(|reply| !reply.answer.is_empty() && reply.rcode == Rcode::NOERROR).count();
    let cut = replies.iter().filter(|reply| is_cut(reply) && reply.answer.is_empty()).count();
    let bad = replies.iter().filter(|reply| reply.rcode == Rcode::BADCOOKIE).count();
    assert_eq!(whole + cut + bad, replies.len(), "{replies:?}");
    [whole, cut, bad]
}

#[test]
fn replies_of_one_kind_are_bounded_and_a_client_that_is_there_gets_all() {
    let daemon = served("responses_per_second = 1");
    let [whole, cut, bad] = counts(&replies(&daemon, 1, "www.corp.internal.", &[], "last.corp.internal."));
    assert!(whole >= 1 && cut >= 1 && bad == 0 && whole + cut < MANY, "{whole} {cut}");
    // Over TCP nobody forges an address.
    for _ in 0..MANY {
        assert_eq!(ask_tcp(daemon.address, "www.corp.internal.", "A").answer.len(), 1);
    }
    // A client that sends a cookie is told ours, and with it is believed.
    let client_cookie = [7; 8];
    let told = replies(&daemon, 1, "www.corp.internal.", &client_cookie, "ns.corp.internal.");
    let [whole, cut, bad] = counts(&told);
    assert!(bad >= 1 && cut == 0 && whole + bad < MANY, "{whole} {bad}");
    let refused = told.iter().find(|reply| reply.rcode == Rcode::BADCOOKIE).unwrap();
    let cookie = refused.cookie.clone().expect("BADCOOKIE comes with a cookie");
    let all = replies(&daemon, 1, "www.corp.internal.", &cookie, "last.corp.internal.");
    assert_eq!(counts(&all), [MANY, 0, 0]);
    daemon.stop();
}

#[test]
fn a_client_beyond_its_quota_is_told_where_it_is_known() {
    let daemon = served("queries_per_second = 1\nresponses_slip = 1");
    let mut refused = 0;
    for _ in 0..MANY {
        let reply = ask_tcp(daemon.address, "www.corp.internal.", "A");
        if reply.rcode == Rcode::SERVFAIL {
            let why = reply.extended_error.expect("a reason").1;
            assert_eq!(why, "a client may ask 1 questions a second");
            refused += 1;
        }
    }
    assert!((1..MANY).contains(&refused), "{refused}");
    let mut told = replies(&daemon, 2, "www.corp.internal.", &[], "last.corp.internal.");
    // The last question is beyond the bound, too.
    told.retain(|reply| reply.flags & TC != 0);
    assert!(!told.is_empty());
    daemon.stop();
}

#[test]
fn without_bounds_everything_is_answered() {
    let daemon = served("");
    let all = replies(&daemon, 1, "www.corp.internal.", &[], "last.corp.internal.");
    assert_eq!(counts(&all), [MANY, 0, 0]);
    daemon.stop();
}
