//! Padding and the keepalive of connections: every reply has them that may, and no other reply is touched by them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use privatelink_dns::answer::AccessSettings;
use privatelink_dns::dns::{NameRef, RecordType};
use privatelink_dns::forward::Asker;
use privatelink_dns::respond::{Attempt, Client, Missing, Transport};

use crate::support::message::{Ask, AskEdns};
use crate::support::scripted::{Upstreams, record};
use crate::support::words::{name, puts};
use crate::support::world::{Setup, World, default_soa, header, range};
use privatelink_dns::zone::Change;

const PADDING: &[u8] = &[0, 12, 0, 7, 0, 0, 0, 0, 0, 0, 0];
const KEEPALIVE: &[u8] = &[0, 11, 0, 0];

fn world() -> (World, Arc<Upstreams>) {
    let upstreams: Arc<Upstreams> = Arc::default();
    for number in 0..40 {
        let text = format!("many.example. 60 A 192.0.2.{number}");
        upstreams.hold(".", record(&text, NameRef::ROOT).unwrap());
    }
    for text in [
        "acct.blob.core.windows.net. 60 CNAME acct.privatelink.blob.core.windows.net.",
        "public.example. 60 A 192.0.2.1",
    ] {
        upstreams.hold(".", record(text, NameRef::ROOT).unwrap());
    }
    let access = AccessSettings { allow: vec![range("10.10.0.0/16").unwrap()], ..AccessSettings::default() };
    let world = World::new(Setup { access, ..Setup::default() }, Arc::clone(&upstreams));
    let (blob, corp) = (name("privatelink.blob.core.windows.net.").unwrap(), name("corp.test.").unwrap());
    let mut changes =
        vec![Change::SetZone(header(&blob)), Change::SetZone(header(&corp)), default_soa(&corp)];
    changes.extend(puts(&blob, &[(1, "acct 10 A 10.0.0.4".to_owned())]).unwrap());
    changes.extend(
        puts(&corp, &["host 60 A 10.1.0.1", "out 60 CNAME public.example."].map(|it| (1, it.to_owned())))
            .unwrap(),
    );
    world.commit(changes);
    (world, upstreams)
}

/// A question with more options.
fn with(ask: &Ask, options: &[u8]) -> Vec<u8> {
    let mut message = ask.to_bytes();
    let length_at = message.len() - 2;
    message[length_at..].copy_from_slice(&(options.len() as u16).to_be_bytes());
    message.extend(options);
    message
}

/// The reply by the way that waits, or by that which does not where there is one.
async fn reply(world: &World, message: &[u8], ask: &Ask, transport: Transport, waits: bool) -> Vec<u8> {
    let responder = world.responder();
    let keepalive_100ms = transport.is_connected().then_some(255);
    let client = Client { keepalive_100ms, ..Client::new(SocketAddr::new(ask.from, 40_000), transport) };
    let mut buffer = vec![0xEE; 65_535];
    let attempt = match waits {
        true => Attempt::Wait(Missing::UNKNOWN),
        false => responder.try_answer(&responder.view(), None, message, client, &mut buffer),
    };
    match attempt {
        Attempt::Reply(length) => buffer[..length].to_vec(),
        Attempt::Wait(missing) => {
            let answer = Arc::clone(responder).answer(message.to_vec(), client, Asker::Server, missing);
            answer.await.expect("a reply")
        }
        Attempt::Drop => panic!("a reply"),
    }
}

/// A reply whose OPT record, the last one, has these options behind its own.
fn extended(mut reply: Vec<u8>, own_options: usize, options: &[u8]) -> Vec<u8> {
    let length_at = reply.len() - own_options - 2;
    let length = (own_options + options.len()) as u16;
    reply[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    reply.extend(options);
    reply
}

#[tokio::test(start_paused = true)]
async fn what_a_connection_adds_to_a_reply_stands_behind_all_else() {
    use Transport::{Tcp, Tls, Udp};
    let (world, upstreams) = world();
    let a = |name: &str| Ask::new(name, RecordType::A);
    let asks = [
        a("host.corp.test"),
        a("gone.corp.test"),
        Ask::new("corp.test", RecordType::SOA),
        a("acct.blob.core.windows.net"),
        a("out.corp.test"),
        a("public.example"),
        a("none.example"),
        a("many.example"),
        Ask { flags: 0, ..a("other.example") },
        Ask { class: 3, ..a("host.corp.test") },
        Ask {
            edns: Some(AskEdns { payload_bytes: 1232, version: 1, dnssec_ok: false, cookie: Vec::new() }),
            ..a("host.corp.test")
        },
    ];
    for ask in &asks {
        for waits in [true, false, false] {
            let over = async |transport, options: &[u8]| {
                reply(&world, &with(ask, options), ask, transport, waits).await
            };
            let plain = over(Tcp, &[]).await;
            // Extended errors are options of the reply's own; whatever they are, all ways have the same.
            let own = own_options(&plain);
            assert_eq!(over(Tls, &[]).await, plain, "{ask:?}");
            assert_eq!(over(Tcp, PADDING).await, plain, "{ask:?}: never in the clear");
            let udp = over(Udp, &[]).await;
            assert_eq!(over(Udp, &[PADDING, KEEPALIVE].concat()).await, udp, "{ask:?}");
            let padding = |unpadded: usize| {
                let bytes = (unpadded + 4).next_multiple_of(468) - unpadded - 4;
                [&[0, 12][..], &(bytes as u16).to_be_bytes(), &vec![0; bytes]].concat()
            };
            let padded = over(Tls, PADDING).await;
            assert_eq!(padded, extended(plain.clone(), own, &padding(plain.len())), "{ask:?}");
            assert_eq!(padded.len() % 468, 0);
            for transport in [Tcp, Tls] {
                // The keepalive stands before extended errors.
                let kept = over(transport, KEEPALIVE).await;
                let at = plain.len() - own;
                assert_eq!((kept.len(), &kept[at..at + 6]), (plain.len() + 6, &[0, 11, 0, 2, 0, 255][..]));
            }
        }
    }
    // A failure has its reason, and is padded as all others are.
    upstreams.set_down(".", true);
    let failing = a("down.example");
    let failed = reply(&world, &with(&failing, PADDING), &failing, Tls, true).await;
    assert!(failed[3] & 15 == 2 && failed.len() == 468);
    let refused = Ask { from: [192, 0, 2, 9].into(), ..a("host.corp.test") };
    let refused = reply(&world, &with(&refused, PADDING), &refused, Tls, false).await;
    assert!(refused[3] & 15 == 5 && refused.len() == 468);
    tokio::time::advance(Duration::from_secs(61)).await;
    let stale = a("public.example");
    let stale = reply(&world, &with(&stale, PADDING), &stale, Tls, false).await;
    assert!(stale[3] & 15 == 0 && stale.len() == 468);
}

/// Bytes of the options in the OPT record, which is the last of a reply and owned by the root.
fn own_options(reply: &[u8]) -> usize {
    let ends_here = |options: &usize| {
        let at = reply.len() - options - 11;
        reply[at..at + 3] == [0, 0, 41] && reply[at + 9..at + 11] == (*options as u16).to_be_bytes()
    };
    (0..reply.len() - 23).find(ends_here).expect("an OPT record is the last")
}
