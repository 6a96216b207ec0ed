//! Names that no cache has: how they are asked and answered, with an upstream that answers at once.

use std::hint::black_box;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use privatelink_dns::answer::{self, PrivateReverse, PublicNames, Rules};
use privatelink_dns::cache::Cache;
use privatelink_dns::config::Config;
use privatelink_dns::dns::message::query;
use privatelink_dns::dns::{Name, QueryFlags, Rcode, RecordType};
use privatelink_dns::forward::{
    Asker, Exchange, Forwarder, Protocol, Query, RuleSettings, Settings, Transport, UpstreamAddress,
};
use privatelink_dns::respond::{Attempt, Relay, Responder, Serving, Settled};
use tokio::runtime::Runtime;

use crate::world::{self, BATCH, BUFFER_BYTES, World};

/// Bytes of a header, behind which the question stands.
const HEADER_BYTES: usize = 12;

/// Questions for names that are asked for once.
pub fn questions(world: &World, round: u32, count: u32) -> Vec<Vec<u8>> {
    let name =
        |number: u32| -> Name { format!("new{number}.round{round}.example.").parse().expect("a name") };
    let message =
        |number: u32| query(number as u16, name(number).borrow(), RecordType::A, QueryFlags::default(), true);
    world.strewn(count).map(message).collect()
}

/// A thread that reads messages and relays them, and its upstream.
pub struct OverUdp {
    responder: Arc<Responder>,
    relay: Relay<usize>,
    upstream: UdpSocket,
    buffers: Vec<Vec<u8>>,
}

impl OverUdp {
    pub fn new(world: &World, runtime: &Runtime) -> OverUdp {
        let upstream = UdpSocket::bind("127.0.0.1:0").expect("a port on loopback");
        upstream.set_nonblocking(true).expect("a socket that does not wait");
        let address = upstream.local_addr().expect("its address");
        let cache = Arc::new(Cache::new(Default::default()));
        serve_by(world, Forwarder::new(asking(address.into()), cache.clone()), cache);
        let responder = world.responder().clone();
        let relay = Relay::new(responder.clone(), runtime.handle().clone()).expect("descriptors");
        OverUdp { responder, relay, upstream, buffers: vec![vec![0; BUFFER_BYTES]; BATCH] }
    }

    /// Reads a batch of messages and asks upstream for them.
    pub fn ask(&mut self, messages: &[Vec<u8>]) {
        let (view, client) = (self.responder.view(), world::client());
        let read = messages.iter().map(|message| (&message[..], client.address.ip()));
        let aheads = self.responder.look_ahead(&view, read);
        for (index, message) in messages.iter().enumerate() {
            let buffer = &mut self.buffers[index];
            match self.responder.try_answer(&view, aheads[index].as_ref(), message, client, buffer) {
                Attempt::Wait(missing) => {
                    self.relay.take(
                        message,
                        client,
                        Asker::Network(client.address.ip().into()),
                        index,
                        missing,
                    );
                }
                attempt => panic!("{attempt:?} to a name that no cache has"),
            }
        }
        self.relay.send();
    }

    /// Has the upstream answer what has come.
    pub fn answer(&mut self) {
        let (mut query, mut reply) = ([0; BUFFER_BYTES], [0; BUFFER_BYTES]);
        while let Ok((length, from)) = self.upstream.recv_from(&mut query) {
            let length = answer(&query[..length], &mut reply);
            self.upstream.send_to(&reply[..length], from).expect("a reply is sent");
        }
    }

    /// Answers the messages.
    pub fn settle(&mut self, messages: usize) {
        let mut settled = 0;
        while settled < messages {
            self.relay.receive();
            let Some(mut settling) = self.relay.settling() else { continue };
            while let Some(message) = settling.next(&mut self.buffers[0]) {
                assert!(matches!(message, Settled::Reply(..)), "a message was not answered");
                settled += 1;
            }
        }
    }
}

/// Has messages answered as those of a connection are.
pub struct OverTcp {
    responder: Arc<Responder>,
    buffer: Vec<u8>,
}

impl OverTcp {
    pub fn new(world: &World) -> OverTcp {
        let cache = Arc::new(Cache::new(Default::default()));
        let upstream: SocketAddr = ([127, 0, 0, 1], 53).into();
        let forwarder = Forwarder::with_transport(asking(upstream.into()), cache.clone(), Arc::new(InMemory));
        serve_by(world, forwarder, cache);
        OverTcp { responder: world.responder().clone(), buffer: vec![0; BUFFER_BYTES] }
    }

    pub fn answer(&mut self, runtime: &Runtime, messages: &[Vec<u8>]) {
        let client = world::client();
        let asker = Asker::Network(client.address.ip().into());
        for message in messages {
            let view = self.responder.view();
            let attempt = self.responder.try_answer(&view, None, message, client, &mut self.buffer);
            let Attempt::Wait(missing) = attempt else { panic!("{attempt:?} to a name that no cache has") };
            let answer = self.responder.clone().answer(message.clone(), client, asker, missing);
            let reply = runtime.block_on(answer).expect("a reply");
            assert_eq!(black_box(reply)[3] & 15, Rcode::NOERROR.0 as u8);
        }
    }
}

/// An upstream that answers each query at once.
struct InMemory;

impl Transport for InMemory {
    fn exchange<'a>(&'a self, _: SocketAddr, query: &'a mut Query, _: Protocol) -> Exchange<'a> {
        Box::pin(async {
            let mut reply = vec![0; BUFFER_BYTES];
            let length = answer(query.as_bytes(), &mut reply);
            reply.truncate(length);
            Ok(reply)
        })
    }
}

fn asking(upstream: UpstreamAddress) -> Settings {
    let rule = RuleSettings { domain: Name::root(), upstreams: vec![upstream], queries_per_second_max: None };
    Settings { rules: vec![rule], ..Settings::default() }
}

/// Has a world's responder ask by a forwarder, with a cache that knows nothing.
fn serve_by(world: &World, forwarder: Arc<Forwarder>, cache: Arc<Cache>) {
    let config = Config::parse("", Path::new("config.toml")).expect("nothing is a config");
    let rules = Rules::new(answer::Settings {
        access: config.access.clone(),
        public_names: PublicNames::Splice,
        private_reverse: PrivateReverse::Here,
        forwarded: Vec::new(),
        catalogue: config.private_link.catalogue.clone(),
    });
    world.responder().replace(Serving::new(rules, cache, forwarder, None));
}

/// An address for whatever is asked; the reply's length.
fn answer(query: &[u8], reply: &mut [u8]) -> usize {
    let name_bytes = query[HEADER_BYTES..].iter().position(|byte| *byte == 0).expect("a name") + 1;
    let (id, question) = (&query[..2], &query[HEADER_BYTES..][..name_bytes + 4]);
    // QR, RD, RA; one question, one answer, one OPT.
    let counts = [0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 1];
    // The question's name, A, IN, for a minute.
    let record = [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7];
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    let mut length = 0;
    for part in [id, &counts, question, &record, &opt] {
        reply[length..][..part.len()].copy_from_slice(part);
        length += part.len();
    }
    length
}
