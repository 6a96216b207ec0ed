//! Queries that had to wait for upstream: they go on where they stopped, unless what was decided holds no longer.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use privatelink_dns::config::Config;
use privatelink_dns::daemon::Parts;
use privatelink_dns::dns::message::query;
use privatelink_dns::dns::{Flags, Message, Name, QueryFlags, RecordSet, RecordType, Ttl};
use privatelink_dns::forward::Asker;
use privatelink_dns::net::wait_for_either;
use privatelink_dns::respond::{Attempt, Client, Missing, Relay, Responder, Settled, Transport};
use privatelink_dns::zone::{Change, ChangeSet, Offer, Origin, Store, ZoneHeader};
use tokio::runtime::Handle;

use crate::support::client::PATIENCE;
use crate::support::upstream::Upstream;

/// Room for any reply over UDP.
const BUFFER_BYTES: usize = 4096;

/// A responder in front of an upstream that knows an address for each name.
fn responder() -> Arc<Responder> {
    let upstream = Upstream::answering(|name, _| Some(vec![format!("{name} 60 A 192.0.2.1")]));
    let text = format!("[forward]\nupstreams = [\"{}\"]\n", upstream.address);
    let config = Config::parse(&text, Path::new("config.toml")).expect("a config");
    Parts::load(&config).expect("its parts").responder
}

fn message(name: &str) -> Vec<u8> {
    let name: Name = name.parse().unwrap();
    query(7, name.borrow(), RecordType::A, QueryFlags::default(), true)
}

fn client(transport: Transport) -> Client {
    Client::new(SocketAddr::from(([10, 0, 0, 1], 4711)), transport)
}

fn missing(responder: &Responder, message: &[u8], client: Client) -> Missing {
    let mut buffer = vec![0; BUFFER_BYTES];
    match responder.try_answer(&responder.view(), None, message, client, &mut buffer) {
        Attempt::Wait(missing) => missing,
        attempt => panic!("{attempt:?} to a name that nobody knows here"),
    }
}

/// What one is answered who goes on where `try_answer` stopped.
async fn answered(responder: &Arc<Responder>, message: &[u8], client: Client, missing: Missing) -> Message {
    let reply = responder.clone().answer(message.to_vec(), client, Asker::Server, missing).await;
    Message::read(&reply.expect("a reply")).unwrap()
}

/// The same in the hands of a thread that relays.
async fn relayed(responder: &Arc<Responder>, message: &[u8], client: Client, missing: Missing) -> Message {
    let mut relay = Relay::new(responder.clone(), Handle::current()).expect("descriptors");
    relay.take(message, client, Asker::Server, (), missing);
    relay.send();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let settled = relay.settling().and_then(|mut settling| settling.next(&mut buffer));
        match settled {
            Some(Settled::Reply((), length)) => return Message::read(&buffer[..length]).unwrap(),
            Some(Settled::Wait((), answer)) => {
                return Message::read(&answer.await.expect("a reply")).unwrap();
            }
            Some(Settled::Drop(())) => panic!("it was dropped"),
            None => {}
        }
        let ready = tokio::task::block_in_place(|| wait_for_either(None, relay.as_fd(), PATIENCE));
        assert!(ready.other, "upstream does not answer");
        relay.receive();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_is_counted_once_however_it_is_waited_for() {
    let responder = responder();
    let (udp, tcp) = (client(Transport::Udp), client(Transport::Tcp));
    for (count, (name, client)) in [("a.example.", tcp), ("b.example.", udp)].into_iter().enumerate() {
        let message = message(name);
        let missing = missing(&responder, &message, client);
        let reply = match client.transport {
            Transport::Tcp | Transport::Tls => answered(&responder, &message, client, missing).await,
            Transport::Udp => relayed(&responder, &message, client, missing).await,
        };
        assert_eq!(reply.answer.len(), 1, "{name}");
        assert_eq!(looked_up(&responder), (count as u64 + 1, 0), "{name}");
    }
    // One that nobody looked for before.
    let message = message("c.example.");
    assert_eq!(answered(&responder, &message, tcp, Missing::UNKNOWN).await.answer.len(), 1);
    assert_eq!(looked_up(&responder), (3, 0));
}

/// Misses and hits of the cache.
fn looked_up(responder: &Responder) -> (u64, u64) {
    let cache = responder.serving().cache.clone();
    (cache.counters().misses.value(), cache.counters().hits.value())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_comes_while_a_query_waits_answers_it() {
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let responder = responder();
        let (message, client) = (message("www.privatelink.corp.example."), client(transport));
        let missing = missing(&responder, &message, client);
        publish(responder.store());
        let reply = match transport {
            Transport::Tcp | Transport::Tls => answered(&responder, &message, client, missing).await,
            Transport::Udp => relayed(&responder, &message, client, missing).await,
        };
        assert!(reply.flags.has(Flags::AA), "{transport:?}");
        let data: Vec<_> = reply.answer.iter().map(|record| record.data.to_vec()).collect();
        assert_eq!(data, [Ipv4Addr::new(10, 9, 9, 9).octets()], "{transport:?}");
    }
}

/// Has a zone answer for `www.privatelink.corp.example`.
fn publish(store: &Store) {
    let apex: Name = "privatelink.corp.example.".parse().unwrap();
    let set = RecordSet::new(RecordType::A, Ttl::from_secs(10).unwrap(), [[10, 9, 9, 9]]).unwrap();
    let name = Name::parse("www", apex.borrow()).unwrap();
    let put = Change::Put { zone: apex.clone(), name, offer: Offer { set, origin: Origin::Rest } };
    let changes = vec![Change::SetZone(ZoneHeader::private_link(apex)), put];
    store.commit(ChangeSet { changes }).unwrap();
}
