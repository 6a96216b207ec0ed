//! Each reply is counted once, by its code and by the way that it came to be.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use privatelink_dns::answer::{AccessSettings, PublicNames};
use privatelink_dns::dns::{NameRef, RecordType};
use privatelink_dns::forward::Asker;
use privatelink_dns::respond::{Attempt, Client, Responder, Transport};
use privatelink_dns::zone::Change;

use crate::support::message::Ask;
use crate::support::scripted::{Upstreams, record};
use crate::support::words::{name, puts};
use crate::support::world::{Setup, World, default_soa, header, range};

/// Replies that were counted, as `CODE path`, and how often.
fn counted(responder: &Responder) -> BTreeMap<String, u64> {
    let totals = responder.totals();
    let counted = totals.responses().filter(|(_, _, count)| *count > 0);
    counted.map(|(rcode, path, count)| (format!("{rcode} {}", path.word()), count)).collect()
}

/// Asks as a listener does; what was counted of it.
async fn ask(world: &World, ask: &Ask, transport: Transport) -> String {
    let responder = world.responder();
    let (before, timed) = (counted(responder), durations(responder));
    let client = Client::new(SocketAddr::new(ask.from, 40_000), transport);
    let (sent, mut buffer) = (ask.to_bytes(), vec![0; 65_535]);
    let attempt = responder.try_answer(&responder.view(), None, &sent, client, &mut buffer);
    if let Attempt::Wait(missing) = attempt {
        Arc::clone(responder).answer(sent, client, Asker::Server, missing).await.expect("a reply");
    }
    assert_eq!(durations(responder), timed + 1, "a reply's duration is counted once");
    let mut new = counted(responder);
    for (what, count) in before {
        *new.get_mut(&what).expect("counts do not go back") -= count;
    }
    new.retain(|_, count| *count > 0);
    let words: Vec<_> = new.into_iter().collect();
    let [(what, 1)] = &words[..] else { panic!("one reply is counted as {words:?}") };
    what.clone()
}

fn durations(responder: &Responder) -> u64 {
    responder.totals().durations().map(|(_, durations)| durations.count()).sum()
}

fn world(setup: Setup) -> (World, Arc<Upstreams>) {
    let upstreams: Arc<Upstreams> = Arc::default();
    for text in [
        "acct.blob.core.windows.net. 60 CNAME acct.privatelink.blob.core.windows.net.",
        "public.example. 60 A 192.0.2.1",
    ] {
        upstreams.hold(".", record(text, NameRef::ROOT).unwrap());
    }
    let world = World::new(setup, Arc::clone(&upstreams));
    let (blob, corp) = (name("privatelink.blob.core.windows.net.").unwrap(), name("corp.test.").unwrap());
    let mut changes =
        vec![Change::SetZone(header(&blob)), Change::SetZone(header(&corp)), default_soa(&corp)];
    changes.extend(puts(&blob, &[(1, "acct 10 A 10.0.0.4".to_owned())]).unwrap());
    let corp_records = ["host 60 A 10.1.0.1", "out 60 CNAME public.example.", "old 60 DNAME corp.test."];
    changes.extend(puts(&corp, &corp_records.map(|text| (1, text.to_owned()))).unwrap());
    world.commit(changes);
    (world, upstreams)
}

#[tokio::test(start_paused = true)]
async fn each_reply_is_counted_by_its_code_and_path() {
    let access = AccessSettings { allow: vec![range("10.10.0.0/16").unwrap()], ..AccessSettings::default() };
    let (world, upstreams) = world(Setup { access, ..Setup::default() });
    let a = |name: &str| Ask::new(name, RecordType::A);
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        for (question, expected) in [
            (a("host.corp.test"), "NOERROR authoritative"),
            (a("gone.corp.test"), "NXDOMAIN authoritative"),
            (Ask::new("corp.test", RecordType::SOA), "NOERROR authoritative"),
            (a("host.old.corp.test"), "NOERROR authoritative"),
            (a("acct.blob.core.windows.net"), "NOERROR spliced"),
            (a("out.corp.test"), "NOERROR spliced"),
            // Once more, and kept finished.
            (a("acct.blob.core.windows.net"), "NOERROR spliced"),
            (a("acct.blob.core.windows.net"), "NOERROR spliced"),
            (Ask { from: [192, 0, 2, 9].into(), ..a("host.corp.test") }, "REFUSED refused"),
            (Ask { flags: 0, ..a("other.example") }, "REFUSED refused"),
            (Ask { opcode: 2, ..a("host.corp.test") }, "NOTIMP error"),
        ] {
            assert_eq!(ask(&world, &question, transport).await, expected, "{question:?} over {transport:?}");
        }
    }
    for (name, expected) in [("public.example", "NOERROR cached"), ("none.example", "NXDOMAIN forwarded")] {
        assert_eq!(ask(&world, &a(name), Transport::Udp).await, expected, "{name}");
    }
    upstreams.set_down(".", true);
    assert_eq!(ask(&world, &a("new.example"), Transport::Udp).await, "SERVFAIL error");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(ask(&world, &a("public.example"), Transport::Udp).await, "NOERROR stale");
}

#[tokio::test(start_paused = true)]
async fn what_the_catalogue_makes_is_counted_as_synthesised() {
    let (world, _) = world(Setup { public_names: PublicNames::Local, ..Setup::default() });
    let question = Ask::new("acct.blob.core.windows.net", RecordType::A);
    for _ in 0..3 {
        assert_eq!(ask(&world, &question, Transport::Udp).await, "NOERROR synthesised");
    }
}
