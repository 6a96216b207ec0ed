//! A responder as the server has it, and the questions that benchmarks ask of it.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use privatelink_dns::cache::UpstreamReply;
use privatelink_dns::config::Config;
use privatelink_dns::daemon::Parts;
use privatelink_dns::dns::message::query;
use privatelink_dns::dns::{
    Flags, Message, Name, QueryFlags, Question, Rcode, RecordSet, RecordType, ReplyWriter, Section, Ttl,
    rdata,
};
use privatelink_dns::respond::{Ahead, Attempt, Client, Responder, Transport, View};
use privatelink_dns::zone::{Change, ChangeSet, Offer, OnMissing, Origin, Snapshot, ZoneHeader};
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// Names of each kind that are not in the large zones: fewer than a thread keeps finished answers of.
pub const NAMES: u32 = 1024;

/// Longer than a benchmark takes.
const TTL_SECS: u32 = 3600;

/// Room for a reply.
pub const BUFFER_BYTES: usize = 4096;

/// As many questions as a thread takes at once.
pub const BATCH: usize = 64;

/// How many records there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub records: u32,
    pub zones: u32,
}

/// What is asked, by how it is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An address of a zone.
    Existing,
    /// The other type of a name that has an address.
    NoData,
    NoSuchName,
    /// Kept finished once it was answered.
    Soa,
    /// What upstream said, kept finished.
    CachedForward,
    /// What upstream said up to a name of ours, kept finished.
    CachedSplice,
    /// Two aliases and an address of a zone, kept finished.
    AliasChain,
    /// A delegation with glue: put together each time.
    LongWay,
}

/// What questions carry besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extra {
    Nothing,
    EdnsWithCookie,
}

/// Zones with their responder, whose cache knows what it is asked.
pub struct World {
    size: Size,
    responder: Arc<Responder>,
    /// What the responder was made in.
    _runtime: Runtime,
}

impl World {
    pub fn new(size: Size) -> World {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let entered = runtime.enter();
        let config = Config::parse("", Path::new("config.toml")).expect("nothing is a config");
        let responder = Parts::load(&config).expect("it has no parts that could fail").responder;
        drop(entered);
        let world = World { size, responder, _runtime: runtime };
        world.commit(world.private_link());
        world.commit(corporate());
        for number in 0..NAMES {
            world.keep_forward(number);
            world.keep_splice(number);
        }
        world
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.responder.store().snapshot()
    }

    pub fn responder(&self) -> &Arc<Responder> {
        &self.responder
    }

    /// The name of a record in the large zones.
    pub fn name(&self, number: u32) -> Name {
        name(&format!("account{number}"), &apex(number % self.size.zones))
    }

    /// A change of one record in the large zones.
    pub fn change(&self, number: u32, round: u8) -> ChangeSet {
        let address = Ipv4Addr::from((11 + u32::from(round)) << 24 | number);
        let put = put(&apex(number % self.size.zones), self.name(number), addresses(address));
        ChangeSet { changes: vec![put] }
    }

    /// Numbers of records in no order that a processor's caches could follow, each once.
    pub fn strewn(&self, count: u32) -> impl Iterator<Item = u32> {
        strewn(self.size.records).take(count as usize)
    }

    /// Questions of a kind.
    pub fn questions(&self, kind: Kind, extra: Extra, count: u32) -> Vec<Vec<u8>> {
        let corporate = plain_apex();
        let asked = |number: u32| match kind {
            Kind::Existing => (self.name(number), RecordType::A),
            Kind::NoData => (self.name(number), RecordType::AAAA),
            Kind::NoSuchName => {
                (name(&format!("nowhere{number}"), &apex(number % self.size.zones)), RecordType::A)
            }
            Kind::Soa => (apex(number % self.size.zones), RecordType::SOA),
            Kind::CachedForward => (forwarded(number % NAMES), RecordType::A),
            Kind::CachedSplice => (public(number % NAMES * self.size.zones), RecordType::A),
            Kind::AliasChain => (name(&format!("alias{}", number % NAMES), &corporate), RecordType::A),
            Kind::LongWay => (name(&format!("host{number}.sub"), &corporate), RecordType::A),
        };
        let message = |number| {
            let (name, rtype) = asked(number);
            let id = number as u16;
            match extra {
                Extra::Nothing => query(id, name.borrow(), rtype, QueryFlags::default(), false),
                Extra::EdnsWithCookie => {
                    with_cookie(query(id, name.borrow(), rtype, QueryFlags::default(), true))
                }
            }
        };
        self.strewn(count).map(message).collect()
    }

    /// Answers a question without waiting; the reply's length.
    pub fn answer(&self, view: &View, message: &[u8], buffer: &mut [u8]) -> usize {
        self.answer_to(client(), view, message, buffer)
    }

    /// The same of a client.
    pub fn answer_to(&self, client: Client, view: &View, message: &[u8], buffer: &mut [u8]) -> usize {
        self.answer_by(client, view, None, message, buffer)
    }

    /// Answers a batch of questions.
    pub fn answer_batch(&self, view: &View, messages: &[Vec<u8>; BATCH], buffers: &mut [Vec<u8>]) {
        let client = client();
        let read = messages.iter().map(|message| (&message[..], client.address.ip()));
        let aheads = self.responder.look_ahead(view, read);
        for ((message, ahead), buffer) in messages.iter().zip(&aheads).zip(buffers) {
            self.answer_by(client, view, ahead.as_ref(), message, buffer);
        }
    }

    fn answer_by(
        &self,
        client: Client,
        view: &View,
        ahead: Option<&Ahead<'_>>,
        message: &[u8],
        buffer: &mut [u8],
    ) -> usize {
        match self.responder.try_answer(view, ahead, message, client, buffer) {
            Attempt::Reply(length) => length,
            other => panic!(
                "{other:?} is no answer to {:?}",
                Message::read(message).map(|message| message.question)
            ),
        }
    }

    /// Asks all questions, and sees that they are of their kind.
    pub fn check(&self, kind: Kind, questions: &[Vec<u8>]) {
        let (rcode, answers) = match kind {
            Kind::NoData | Kind::LongWay => (Rcode::NOERROR, 0),
            Kind::NoSuchName => (Rcode::NXDOMAIN, 0),
            Kind::Existing | Kind::Soa | Kind::CachedForward => (Rcode::NOERROR, 1),
            Kind::CachedSplice => (Rcode::NOERROR, 2),
            Kind::AliasChain => (Rcode::NOERROR, 3),
        };
        let view = self.responder.view();
        let mut buffer = vec![0; BUFFER_BYTES];
        for question in questions {
            let length = self.answer(&view, question, &mut buffer);
            let reply = Message::read(&buffer[..length]).expect("a reply");
            assert_eq!((reply.rcode, reply.answer.len()), (rcode, answers), "{kind:?}");
        }
    }

    fn commit(&self, changes: Vec<Change>) {
        self.responder.store().commit(ChangeSet { changes }).expect("the zones are well formed");
    }

    fn private_link(&self) -> Vec<Change> {
        let header = |number| {
            let header = ZoneHeader::private_link(apex(number));
            // Else upstream is asked for what is missing.
            Change::SetZone(ZoneHeader { on_missing: OnMissing::NxDomain, ..header })
        };
        let headers = (0..self.size.zones).map(header);
        let records = (0..self.size.records).map(|number| {
            let address = Ipv4Addr::from(10 << 24 | number);
            put(&apex(number % self.size.zones), self.name(number), addresses(address))
        });
        headers.chain(records).collect()
    }

    fn keep_forward(&self, number: u32) {
        let name = forwarded(number);
        let address = Ipv4Addr::new(192, 0, 2, 1).octets();
        self.keep(&name, |reply| {
            reply.record(Section::Answer, name.borrow(), RecordType::A, TTL_SECS, &address).expect("room");
        });
    }

    /// What upstream says of a public name whose private one is in a zone of ours.
    fn keep_splice(&self, number: u32) {
        let number = number * self.size.zones;
        let (public, private) = (public(number), self.name(number));
        let address = Ipv4Addr::new(192, 0, 2, 2).octets();
        self.keep(&public, |reply| {
            let target = private.as_wire();
            let alias = reply.record(Section::Answer, public.borrow(), RecordType::CNAME, TTL_SECS, target);
            alias.expect("room");
            reply.record(Section::Answer, private.borrow(), RecordType::A, TTL_SECS, &address).expect("room");
        });
    }

    /// Keeps a reply as if an upstream had given it.
    fn keep(&self, name: &Name, write: impl FnOnce(&mut ReplyWriter<'_>)) {
        let asked = query(0, name.borrow(), RecordType::A, QueryFlags::default(), false);
        let mut buffer = vec![0; BUFFER_BYTES];
        // The header has twelve bytes.
        let mut writer = ReplyWriter::new(&mut buffer, BUFFER_BYTES, &asked[12..]).expect("room");
        write(&mut writer);
        let length = writer.finish(0, Flags::QR, Rcode::NOERROR, None);
        let message = Message::read(&buffer[..length]).expect("a message");
        let question = Question { name: name.clone(), rtype: RecordType::A };
        let reply = UpstreamReply::from_message(message, &question, |_| true).expect("a reply");
        let cache = &self.responder.serving().cache;
        cache.put(&question, QueryFlags::default(), Arc::new(reply), Instant::now());
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} in {}", self.records, self.zones)
    }
}

/// Numbers below a bound in no order that a processor's caches could follow, each once, over and over.
pub fn strewn(bound: u32) -> impl Iterator<Item = u32> {
    // A prime that is no factor of any bound in use.
    (0..).map(move |turn: u64| (turn * 611_953 % u64::from(bound)) as u32)
}

/// The name that upstream is asked for.
pub fn forwarded(number: u32) -> Name {
    format!("www{number}.example.").parse().expect("a name")
}

fn public(number: u32) -> Name {
    format!("account{number}.blob.core.windows.net.").parse().expect("a name")
}

/// The name of these labels in a zone.
pub fn name(front: &str, apex: &Name) -> Name {
    Name::parse(front, apex.borrow()).expect("a name")
}

/// The first is one that the catalogue has public names of.
pub fn apex(number: u32) -> Name {
    let text = match number {
        0 => "privatelink.blob.core.windows.net.".to_owned(),
        _ => format!("privatelink.service{number}.core.windows.net."),
    };
    text.parse().expect("a name")
}

fn plain_apex() -> Name {
    "corp.internal.".parse().expect("a name")
}

/// A zone with chains of aliases and a delegation.
fn corporate() -> Vec<Change> {
    let apex = plain_apex();
    let set = |rtype, data: &str| {
        let data = rdata::from_text(rtype, data, apex.borrow()).expect("record data");
        record_set(rtype, &data)
    };
    let mut changes = vec![
        Change::SetZone(ZoneHeader::plain(apex.clone())),
        put(&apex, apex.clone(), set(RecordType::SOA, "ns hostmaster 1 3600 600 86400 300")),
        put(&apex, name("sub", &apex), set(RecordType::NS, "ns.sub")),
        put(&apex, name("ns.sub", &apex), addresses(Ipv4Addr::new(10, 255, 0, 1))),
    ];
    for number in 0..NAMES {
        let (alias, middle, end) =
            (format!("alias{number}"), format!("middle{number}"), format!("end{number}"));
        changes.push(put(&apex, name(&alias, &apex), set(RecordType::CNAME, &middle)));
        changes.push(put(&apex, name(&middle, &apex), set(RecordType::CNAME, &end)));
        changes.push(put(&apex, name(&end, &apex), addresses(Ipv4Addr::from(10 << 24 | number))));
    }
    changes
}

fn put(zone: &Name, name: Name, set: RecordSet) -> Change {
    Change::Put { zone: zone.clone(), name, offer: Offer { set, origin: Origin::Rest } }
}

/// A record set of one address.
pub fn addresses(address: Ipv4Addr) -> RecordSet {
    record_set(RecordType::A, &address.octets())
}

fn record_set(rtype: RecordType, data: &[u8]) -> RecordSet {
    let ttl = Ttl::from_secs(10).expect("a lifetime");
    RecordSet::new(rtype, ttl, [data]).expect("one record")
}

/// A query whose OPT record, which stands last, gets a client's cookie (RFC 7873 §4).
fn with_cookie(mut message: Vec<u8>) -> Vec<u8> {
    let length_at = message.len() - 2;
    message[length_at..].copy_from_slice(&[0, 12]);
    message.extend([0, 10, 0, 8]);
    message.extend(*b"a cookie");
    message
}

/// The client that asks, unless a benchmark names another.
pub fn client() -> Client {
    Client::new(([10, 0, 0, 1], 4711).into(), Transport::Udp)
}
