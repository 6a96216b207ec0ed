//! Upstreams that answer oddly, over real sockets. A question that comes over UDP is asked by a lane, one that comes over
//! TCP by a flight: what must be is the same for both.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use privatelink_dns::dns::edns::{ExtendedError, ReplyEdns};
use privatelink_dns::dns::{Message, Rcode, Request};
use privatelink_dns::forward::Standing;

use crate::support::client::{PATIENCE, answers, ask, ask_tcp, packet};
use crate::support::odd::{Odd, bare, good, reply};
use crate::support::running::Running;
use crate::support::skip::skip;
use crate::support::test_daemon::TestDaemon;
use crate::support::upstream::{Upstream, bind};

const TYPES: [&str; 7] = ["A", "AAAA", "MX", "SRV", "HTTPS", "TXT", "TYPE65280"];

/// A daemon that asks these; the last has a rule of its own for `corp.`, too.
fn daemon(upstreams: &[SocketAddr]) -> TestDaemon {
    let list = upstreams.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ");
    let rule = format!("[[forward.rule]]\ndomain = \"corp\"\nupstreams = [{list}]\n");
    TestDaemon::start(&format!("[forward]\nupstreams = [{list}]\n{rule}"), &[])
}

type Asks = fn(SocketAddr, &str, &str) -> Message;

/// By a lane, and by a flight.
const WAYS: [(&str, Asks); 2] = [
    ("lane", |server, name, rtype| in_time(|| ask(server, name, rtype))),
    ("flight", |server, name, rtype| in_time(|| ask_tcp(server, name, rtype))),
];

/// Asks again for as long as the time was up: on a busy machine an upstream of ours may be late.
fn in_time(ask: impl Fn() -> Message) -> Message {
    let began = Instant::now();
    loop {
        let reply = ask();
        let is_late = reply.extended_error.as_ref().is_some_and(|(_, text)| text.contains("times out"));
        if !is_late || began.elapsed() > PATIENCE {
            return reply;
        }
    }
}

/// Names and types that were asked for.
fn questions(queries: &[Message]) -> HashSet<(String, String)> {
    let questions = queries.iter().filter_map(|query| query.question.as_ref());
    questions.map(|question| (question.name.to_string(), question.rtype.to_string())).collect()
}

fn why(reply: &Message) -> (u16, &str) {
    let (code, text) = reply.extended_error.as_ref().expect("the reply says why");
    (*code, text)
}

#[test]
fn a_truncated_reply_that_is_cut_anywhere_is_asked_for_over_tcp_whatever_type_and_rule() {
    let cuts: [fn(&mut Vec<u8>); 5] = [
        |whole| whole.truncate(whole.len() - 13),
        // Empty, with counts left.
        |whole| whole.truncate(whole.iter().rposition(|byte| *byte == 0xC0).unwrap()),
        |whole| whole.truncate(12),
        |whole| whole.truncate(17),
        |whole| {
            whole.truncate(12);
            whole[4..].fill(0);
        },
    ];
    for (number, cut) in cuts.into_iter().enumerate() {
        let upstream = Odd::start(
            move |query| {
                let mut whole = good(query);
                whole[2] |= 0x02;
                cut(&mut whole);
                whole
            },
            good,
        );
        let daemon = daemon(&[upstream.address]);
        for (way, ask) in WAYS {
            for rtype in TYPES {
                for domain in ["vendor", "corp"] {
                    let reply = ask(daemon.address, &format!("{way}.{domain}."), rtype);
                    let case = format!("cut {number}, {way}, {rtype}, {domain}");
                    assert_eq!((reply.rcode, reply.answer.len()), (Rcode::NOERROR, 1), "{case}");
                    let question = (format!("{way}.{domain}."), rtype.to_owned());
                    assert!(questions(&upstream.over_tcp()).contains(&question), "{case}");
                }
            }
        }
        daemon.stop();
    }
}

#[test]
fn an_error_without_the_question_has_the_next_upstream_asked_at_once() {
    for (rcode, opt) in [(2, false), (4, true), (5, false), (5, true), (9, false), (3, false)] {
        let refusing = Odd::same(move |query| bare(query, rcode, opt));
        let other = Odd::same(good);
        let both = daemon(&[refusing.address, other.address]);
        for (way, ask) in WAYS {
            let reply = ask(both.address, &format!("{way}.vendor."), "A");
            assert_eq!(answers(&reply), [format!("{way}.vendor. 60 A 10.0.0.9")], "{rcode}, {way}");
        }
        both.stop();
        let alone = daemon(&[refusing.address]);
        let code = Rcode(rcode.into());
        for (way, ask) in WAYS {
            for _ in 0..2 {
                let before = refusing.over_udp().len();
                let reply = ask(alone.address, &format!("{way}.corp."), "A");
                assert_eq!(reply.rcode, Rcode::SERVFAIL, "{rcode}, {way}");
                let text = format!("upstream {} answered {code} without the question", refusing.address);
                assert_eq!(why(&reply), (22, &*text));
                // It is asked each time: a forger must not have a name fail for longer.
                assert!(refusing.over_udp().len() > before);
            }
        }
        let health = alone.responder.serving().forwarder.health();
        assert!(health[0].failures >= 4 && health[0].timeouts == 0);
        // What may be forged shows neither that it is up nor that it is down.
        assert_eq!(health[0].standing, Standing::Unknown);
        alone.stop();
    }
}

#[test]
fn a_server_that_does_not_know_edns_is_asked_without() {
    for with_question in [false, true] {
        let old = Odd::same(move |query| {
            match (Request::read(query).ok().unwrap().edns.is_some(), with_question) {
                (true, false) => bare(query, 1, false),
                (true, true) => reply(query, Rcode::FORMERR, &[], &[], None),
                (false, _) => reply(query, Rcode::NOERROR, &["@ 60 A 10.0.0.9"], &[], None),
            }
        });
        let daemon = daemon(&[old.address]);
        for (way, ask) in WAYS {
            assert_eq!(ask(daemon.address, &format!("{way}.vendor."), "A").answer.len(), 1, "{way}");
        }
        let known = old.over_udp().len();
        for (way, ask) in WAYS {
            assert_eq!(ask(daemon.address, &format!("{way}.corp."), "A").answer.len(), 1, "{way}");
        }
        assert!(old.over_udp()[known..].iter().all(|query| !query.has_edns));
        daemon.stop();
    }
}

#[test]
fn an_error_that_echoes_our_opt_record_is_asked_without_it() {
    let echoing = Odd::same(|query| match Request::read(query).ok().unwrap().edns {
        Some(_) => reply(query, Rcode::FORMERR, &[], &[], Some(&ReplyEdns::default())),
        None => reply(query, Rcode::NOERROR, &["@ 60 A 10.0.0.9"], &[], None),
    });
    let daemon = daemon(&[echoing.address]);
    for (way, ask) in WAYS {
        for domain in ["vendor", "corp"] {
            assert_eq!(ask(daemon.address, &format!("{way}.{domain}."), "A").answer.len(), 1, "{way}");
        }
    }
    // Each is asked with EDNS first: it means one question.
    let with_edns: Vec<Message> = echoing.over_udp().into_iter().filter(|query| query.has_edns).collect();
    assert_eq!(questions(&with_edns).len(), 4);
    daemon.stop();
}

#[test]
fn an_upstream_that_refers_to_others_is_lame_and_the_next_is_asked() {
    for servers in ["vendor. 60 NS ns.vendor.", ". 60 NS a.root-servers.net."] {
        let lame = Odd::same(move |query| {
            reply(query, Rcode::NOERROR, &[], &[servers], Some(&ReplyEdns::default()))
        });
        let other = Odd::same(good);
        let both = daemon(&[lame.address, other.address]);
        let alone = daemon(&[lame.address]);
        for (way, ask) in WAYS {
            let reply = ask(both.address, &format!("{way}.vendor."), "AAAA");
            assert_eq!(answers(&reply), [format!("{way}.vendor. 60 AAAA fd00::9")], "{way}");
            let reply = ask(alone.address, &format!("{way}.vendor."), "AAAA");
            let domain = servers.split(' ').next().unwrap();
            let text = format!(
                "upstream {} refers to the name servers of {domain} and does not ask them",
                lame.address
            );
            assert_eq!((reply.rcode, why(&reply)), (Rcode::SERVFAIL, (22, &*text)));
        }
        both.stop();
        alone.stop();
    }
}

#[test]
fn not_ready_is_told_as_not_reachable() {
    let starting = Odd::same(|query| {
        let errors = [ExtendedError::new(14, "starting up")];
        let edns = ReplyEdns { extended_errors: &errors, ..ReplyEdns::default() };
        reply(query, Rcode::SERVFAIL, &[], &[], Some(&edns))
    });
    let daemon = daemon(&[starting.address]);
    for (way, ask) in WAYS {
        let reply = ask(daemon.address, &format!("{way}.vendor."), "A");
        assert_eq!((reply.rcode, why(&reply)), (Rcode::SERVFAIL, (22, "upstream: starting up")));
    }
    daemon.stop();
}

#[test]
fn a_missing_name_is_asked_for_once_whatever_the_types() {
    const SOA: &str = "vendor. 60 SOA ns.vendor. host.vendor. 1 2 3 4 60";
    let upstream = Odd::same(|query| {
        let name = Request::read(query).ok().unwrap().name.to_buf().to_name().to_string();
        let alias = "@ 60 CNAME gone.vendor.";
        let answer = if name.contains("alias") { &[alias][..] } else { &[] };
        reply(query, Rcode::NXDOMAIN, answer, &[SOA], Some(&ReplyEdns::default()))
    });
    let daemon = daemon(&[upstream.address]);
    let mut asked = HashSet::new();
    for (way, ask) in WAYS {
        for name in [format!("{way}.vendor."), format!("{way}-alias.vendor.")] {
            for rtype in ["A", "AAAA", "HTTPS", "TXT", "MX"] {
                let reply = ask(daemon.address, &name, rtype);
                assert_eq!((reply.rcode, reply.authority.len()), (Rcode::NXDOMAIN, 1), "{name} {rtype}");
                assert_eq!(reply.answer.len(), usize::from(name.contains("alias")));
            }
            asked.insert((name, "A".to_owned()));
        }
        assert_eq!(ask(daemon.address, "gone.vendor.", "A").rcode, Rcode::NXDOMAIN);
        assert_eq!(questions(&upstream.over_udp()), asked);
    }
    daemon.stop();
}

#[test]
fn a_real_unbound_that_refuses_us_is_named_and_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, listener) = bind();
    let address = socket.local_addr().unwrap();
    drop((socket, listener));
    let path = folder.path().display();
    let config = format!(
        "server:\n interface: 127.0.0.1@{}\n access-control: 127.0.0.0/8 refuse\n do-daemonize: no\n chroot: \"\"\n \
         username: \"\"\n directory: \"{path}\"\n pidfile: \"\"\n use-syslog: no\nremote-control:\n control-enable: no\n",
        address.port()
    );
    std::fs::write(folder.path().join("unbound.conf"), config).unwrap();
    let conf = folder.path().join("unbound.conf");
    let spawned = Command::new("unbound").args(["-d", "-c"]).arg(conf).stderr(Stdio::null()).spawn();
    let _unbound = match spawned {
        Ok(child) => Running(child),
        Err(error) => {
            // The rule is held by the scripted servers above; this shows that they do as real ones.
            return skip(format!("unbound is not installed: {error}"));
        }
    };
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    client.connect(address).unwrap();
    let began = Instant::now();
    let mut buffer = [0; 512];
    while client.send(&packet("a.vendor.", "A")).and_then(|_| client.recv(&mut buffer)).is_err() {
        assert!(began.elapsed() < PATIENCE, "unbound starts");
        thread::yield_now();
    }
    let other = Upstream::start(&[("lane.vendor. A", &["lane.vendor. 60 A 10.0.0.9"])]);
    let (both, alone) = (daemon(&[address, other.address]), daemon(&[address]));
    assert_eq!(answers(&ask(both.address, "lane.vendor.", "A")), ["lane.vendor. 60 A 10.0.0.9"]);
    for (way, ask) in WAYS {
        let reply = ask(alone.address, &format!("{way}.vendor."), "A");
        assert_eq!(reply.rcode, Rcode::SERVFAIL);
        assert!(
            why(&reply).1.starts_with(&format!("upstream {address} answered REFUSED")),
            "{:?}",
            why(&reply)
        );
    }
    both.stop();
    alone.stop();
}
