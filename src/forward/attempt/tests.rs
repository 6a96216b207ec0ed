use std::sync::atomic::{AtomicBool, Ordering};

use super::super::scripted::{Said, Scripted, Seen, ask, settings};
use super::*;
use crate::cache::End;
use crate::dns::{Message, message};

const RECORD: &str = "account.blob.x. 60 A 10.0.0.1";

impl Seen {
    /// A header with a code, and nothing else.
    fn bare(&self, rcode: u8) -> Vec<u8> {
        [&self.bytes[..2], &[0x80, rcode, 0, 0, 0, 0, 0, 0, 0, 0]].concat()
    }
}

fn ways(script: &Scripted) -> Vec<(Protocol, bool)> {
    script.seen().iter().map(|seen| (seen.protocol, seen.message.has_edns)).collect()
}

fn lowered(seen: &Seen, mut reply: Vec<u8>) -> Vec<u8> {
    let end = 12 + seen.message.raw_question.len() - 4;
    reply[12..end].make_ascii_lowercase();
    reply
}

#[tokio::test(start_paused = true)]
async fn a_truncated_reply_is_asked_for_again_over_tcp() {
    let script = Scripted::new(|seen| match seen.protocol {
        Protocol::Udp => {
            let mut reply = seen.answer(Rcode::NOERROR, &[], &[]);
            reply[2] |= 0x02;
            Said::Reply(reply)
        }
        Protocol::Tcp | Protocol::Tls => Said::Reply(seen.answer(Rcode::NOERROR, &[RECORD], &[])),
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    assert_eq!(ask(&forwarder, "account.blob.x.").await.reply.end, End::Data);
    assert_eq!(ways(&script), [(Protocol::Udp, true), (Protocol::Tcp, true)]);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_truncated_over_tcp_too_is_no_answer() {
    let script = Scripted::new(|seen| {
        let mut reply = seen.answer(Rcode::NOERROR, &[], &[]);
        reply[2] |= 0x02;
        Said::Reply(reply)
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    let reply = ask(&forwarder, "account.blob.x.").await.reply;
    assert_eq!((&reply.end, reply.rcode), (&End::Failed, Rcode::SERVFAIL));
    assert!(reply.extended_error.as_ref().unwrap().text.contains("truncated over TCP"));
    assert_eq!(ways(&script), [(Protocol::Udp, true), (Protocol::Tcp, true)]);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_edns_is_asked_without_and_that_is_remembered() {
    let script = Scripted::new(|seen| match seen.message.has_edns {
        true => {
            let mut formerr = seen.bytes[..12].to_vec();
            formerr[2..].copy_from_slice(&[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
            Said::Reply(formerr)
        }
        false => Said::Reply(seen.plain_answer(Rcode::NOERROR, &[&format!("{} 60 A 10.0.0.1", seen.name())])),
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    for name in ["account.blob.x.", "b.x."] {
        assert_eq!(ask(&forwarder, name).await.reply.end, End::Data);
    }
    let udp = |edns| (Protocol::Udp, edns);
    // One forged reply cannot have the upstream asked without EDNS from then on.
    assert_eq!(ways(&script), [udp(true), udp(true), udp(false), udp(false)]);
    assert_eq!(forwarder.counters.edns_retries.value(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_without_the_question_is_a_failure_at_once_that_is_not_kept() {
    for rcode in [2, 3, 4, 5, 9, 11] {
        let script = Scripted::new(move |seen| Said::Reply(seen.bare(rcode)));
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
        let start = Instant::now();
        for round in 1..=2 {
            let reply = ask(&forwarder, "account.blob.x.").await.reply;
            assert_eq!((&reply.end, reply.rcode), (&End::Failed, Rcode::SERVFAIL));
            let text = format!("upstream 10.0.0.1 answered {} without the question", Rcode(rcode.into()));
            assert_eq!(reply.extended_error.as_ref().unwrap().text, text);
            assert_eq!(forwarder.counters.upstream_failures.value(), round);
        }
        assert_eq!((start.elapsed(), forwarder.health()[0].timeouts), (std::time::Duration::ZERO, 0));
        assert_eq!(forwarder.health()[0].failures, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn one_forged_error_without_the_question_changes_nothing_about_an_upstream() {
    let forged = AtomicBool::new(true);
    let script = Scripted::new(move |seen| {
        match seen.name().starts_with("forged") && forged.swap(false, Ordering::Relaxed) {
            true => Said::Reply(seen.bare(1)),
            false => {
                Said::Reply(seen.answer(Rcode::NOERROR, &[&format!("{} 60 A 10.0.0.1", seen.name())], &[]))
            }
        }
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    for name in ["forged.x.", "b.x.", "c.x."] {
        assert_eq!(ask(&forwarder, name).await.reply.end, End::Data);
    }
    assert_eq!(ways(&script), [(Protocol::Udp, true); 4]);
    // Nor does it make one that is down look well.
    let upstream = &forwarder.rules.upstreams[0];
    let now = Instant::now();
    upstream.health.missed_checkup(now, now);
    script.replace(|seen| Said::Reply(seen.bare(5)));
    ask(&forwarder, "d.x.").await;
    assert_eq!(forwarder.health()[0].standing, Standing::Down);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_echoes_our_opt_record_is_asked_once_without_it_and_means_one_question() {
    for answers in [true, false] {
        let script = Scripted::new(move |seen| match seen.message.has_edns || !answers {
            true => Said::Reply(seen.answer(Rcode::FORMERR, &[], &[])),
            false => Said::Reply(seen.plain_answer(Rcode::NOERROR, &[RECORD])),
        });
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
        let end = if answers { End::Data } else { End::Failed };
        assert_eq!(ask(&forwarder, "account.blob.x.").await.reply.end, end);
        ask(&forwarder, "b.x.").await;
        let udp = |edns| (Protocol::Udp, edns);
        assert_eq!(ways(&script), [udp(true), udp(false), udp(true), udp(false)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_cut_anywhere_is_asked_for_again_over_tcp() {
    let whole = Scripted::new(|seen| Said::Reply(seen.answer(Rcode::NOERROR, &[RECORD], &[])));
    ask(&whole.forwarder(settings(&[(".", &["10.0.0.1"])])), "account.blob.x.").await;
    let bytes = whole.seen()[0].answer(Rcode::NOERROR, &[RECORD], &[]).len();
    for end in 12..=bytes {
        let script = Scripted::new(move |seen| {
            let mut reply = seen.answer(Rcode::NOERROR, &[RECORD], &[]);
            if seen.protocol == Protocol::Udp {
                reply[2] |= 0x02;
                reply.truncate(end);
            }
            Said::Reply(reply)
        });
        let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
        let outcome = ask(&forwarder, "account.blob.x.").await;
        assert_eq!(outcome.reply.end, End::Data, "{end} bytes");
        let way = "upstream 10.0.0.1 was asked over TCP because its reply was truncated";
        assert_eq!(outcome.way.as_deref(), Some(way));
        assert_eq!(ways(&script), [(Protocol::Udp, true), (Protocol::Tcp, true)]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_refers_to_others_is_passed_over() {
    let script = Scripted::new(|seen| match seen.last_byte() {
        1 => Said::Reply(seen.answer(Rcode::NOERROR, &[], &["blob.x. 60 NS ns.blob.x."])),
        2 => Said::Reply(seen.answer(Rcode::NOERROR, &[], &[". 60 NS a.root-servers.net."])),
        _ => Said::Reply(seen.answer(Rcode::NOERROR, &[RECORD], &[])),
    });
    let all = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    let forwarder = script.forwarder(settings(&[(".", &all)]));
    let outcome = ask(&forwarder, "account.blob.x.").await;
    assert_eq!((&outcome.reply.end, outcome.upstream.unwrap().to_string()), (&End::Data, all[2].into()));
    let why = "upstream 10.0.0.1 refers to the name servers of blob.x. and does not ask them; \
               upstream 10.0.0.2 refers to the name servers of . and does not ask them";
    assert_eq!(outcome.way.as_deref(), Some(why));
    let forwarder = script.forwarder(settings(&[(".", &all[..2])]));
    let reply = ask(&forwarder, "account.blob.x.").await.reply;
    assert_eq!((reply.rcode, &*reply.extended_error.as_ref().unwrap().text), (Rcode::SERVFAIL, why));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_loses_case_proves_itself_over_tcp_once() {
    let script = Scripted::new(|seen| {
        let record = format!("{} 60 A 10.0.0.1", seen.name());
        Said::Reply(lowered(seen, seen.answer(Rcode::NOERROR, &[&record], &[])))
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    for name in ["account.blob.x.", "another.blob.x."] {
        assert_eq!(ask(&forwarder, name).await.reply.end, End::Data);
    }
    let tcp: Vec<Protocol> = script.seen().iter().map(|seen| seen.protocol).collect();
    assert_eq!(tcp, [Protocol::Udp, Protocol::Tcp, Protocol::Udp]);
    assert_eq!(script.seen()[2].message.raw_question, b"\x07another\x04blob\x01x\x00\x00\x01\x00\x01");
    assert_eq!(forwarder.counters.case_mismatches.value(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_loses_case_and_has_no_tcp_is_asked_anew_in_lower_case() {
    let script = Scripted::new(|seen| match seen.protocol {
        Protocol::Tcp | Protocol::Tls => Said::Unreachable,
        Protocol::Udp => Said::Reply(lowered(seen, seen.answer(Rcode::NOERROR, &[RECORD], &[]))),
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    assert_eq!(ask(&forwarder, "account.blob.x.").await.reply.end, End::Data);
    let seen = script.seen();
    assert_eq!(seen.len(), 3);
    assert_ne!(seen[0].message.id, seen[2].message.id);
}

#[tokio::test(start_paused = true)]
async fn a_forged_reply_in_the_wrong_case_is_not_believed() {
    let script = Scripted::new(|seen| match seen.protocol {
        Protocol::Udp => {
            Said::Reply(lowered(seen, seen.answer(Rcode::NOERROR, &["account.blob.x. 60 A 6.6.6.6"], &[])))
        }
        Protocol::Tcp | Protocol::Tls => Said::Reply(seen.answer(Rcode::NOERROR, &[RECORD], &[])),
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    let reply = ask(&forwarder, "account.blob.x.").await.reply;
    assert_eq!(*reply.answer[0].data, [10, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn strangers_lead_to_tcp_and_are_never_kept() {
    let script = Scripted::new(|seen| {
        let mut reply = seen.answer(Rcode::NOERROR, &[RECORD], &[]);
        if seen.protocol == Protocol::Udp {
            reply[0] ^= 1;
        }
        Said::Reply(reply)
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    assert_eq!(ask(&forwarder, "account.blob.x.").await.reply.end, End::Data);
    assert_eq!(forwarder.counters.near_misses.value(), 1);
    assert_eq!(forwarder.counters.tcp_queries.value(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_leaves_the_rule_is_cut_there_and_not_kept() {
    let chain = ["a.corp. 60 CNAME b.public.", "b.public. 60 A 6.6.6.6", "evil.corp. 60 A 6.6.6.6"];
    let script = Scripted::new(move |seen| Said::Reply(seen.answer(Rcode::NOERROR, &chain, &[])));
    let rules = settings(&[(".", &["10.0.0.1"]), ("corp.", &["10.0.0.2"]), ("eu.corp.", &["10.0.0.3"])]);
    let forwarder = script.forwarder(rules);
    let reply = ask(&forwarder, "a.corp.").await.reply;
    assert_eq!((&reply.end, reply.answer.len()), (&End::Continues("b.public.".parse().unwrap()), 1));
    let everything = forwarder.cache.page(crate::dns::NameRef::ROOT, None, 10, Instant::now());
    assert_eq!(everything.len(), 1);
    let asked = script.seen()[0].message.question.clone().unwrap();
    let rule = forwarder.rule_for(&asked);
    let speaks = |name: &str| {
        let name: crate::dns::Name = name.parse().unwrap();
        forwarder.speaks_for(rule.unwrap(), &asked, name.borrow())
    };
    assert!(speaks("x.corp.") && !speaks("x.eu.corp.") && !speaks("x.") && !speaks("xcorp."));
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_a_failure_that_says_so() {
    let script = Scripted::new(|seen| {
        let mut reply = seen.answer(Rcode::NOERROR, &[RECORD], &[]);
        reply.truncate(reply.len() - 13);
        Said::Reply(reply)
    });
    let forwarder = script.forwarder(settings(&[(".", &["10.0.0.1"])]));
    let reply = ask(&forwarder, "account.blob.x.").await.reply;
    assert_eq!(reply.rcode, Rcode::SERVFAIL);
    assert!(reply.extended_error.as_ref().unwrap().text.contains("nonsense"));
    let query =
        message::query(7, crate::dns::NameRef::ROOT, crate::dns::RecordType::A, Default::default(), true);
    assert!(Message::read(&query).is_ok());
}
