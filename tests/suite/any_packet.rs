//! What must hold for any bytes that come in a packet; run by the test `packets` and by the fuzz target `packet`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::LazyLock;

use hickory_proto::op::Message as TheirMessage;
use privatelink_dns::config::Config;
use privatelink_dns::daemon::Parts;
use privatelink_dns::dns::edns::{ExtendedError, ReplyEdns};
use privatelink_dns::dns::header::Flags;
use privatelink_dns::dns::reply::Full;
use privatelink_dns::dns::request::Unanswerable;
use privatelink_dns::dns::{
    Message, NameRef, Rcode, Record, RecordType, ReplyWriter, Request, Section, rdata,
};
use privatelink_dns::forward::Asker;
use privatelink_dns::respond::{Attempt, Client, Transport};
use tokio::runtime::Runtime;

/// The largest message (RFC 1035 §4.2.2).
const MESSAGE_BYTES_MAX: usize = 65_535;

/// Reads a packet in every way and writes what was read; panics when something does not hold.
pub fn goes_through(packet: &[u8]) {
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    goes_through_as_request(packet, &mut buffer);
    goes_through_the_responder(packet, &mut buffer);
    if let Ok(message) = Message::read(packet) {
        goes_through_as_message(&message, &mut buffer);
    }
    if let Some((rtype, data)) = packet.split_first_chunk() {
        goes_through_as_data(RecordType(u16::from_be_bytes(*rtype)), data);
    }
}

/// A request is answered with its own question and nothing else of its bytes.
fn goes_through_as_request(packet: &[u8], buffer: &mut [u8]) {
    let (id, rcode, question, edns) = match Request::read(packet) {
        Ok(request) => {
            let asked = Message::read(packet).ok().and_then(|message| message.question);
            if let Some(asked) = asked {
                assert_eq!(
                    (asked.name.borrow(), asked.rtype),
                    (request.name.to_buf().borrow(), request.rtype)
                );
            }
            (request.id, Rcode::NOERROR, request.question, request.edns)
        }
        Err(Unanswerable::Refuse { id, rcode, question, edns, .. }) => (id, rcode, question, edns),
        Err(Unanswerable::Drop) => return,
    };
    assert_eq!(id.to_be_bytes(), packet[..2]);
    assert!(question.is_empty() || packet[12..].starts_with(question));
    let errors = [ExtendedError::new(ExtendedError::OTHER, "why")];
    let edns = edns.map(|edns| ReplyEdns {
        dnssec_ok: edns.dnssec_ok,
        cookie: edns.cookie.map(|_| [7; 24]),
        extended_errors: &errors,
        keepalive_100ms: edns.keepalive.then_some(100),
        padded_to: edns.padding.then_some(468),
    });
    let mut writer = ReplyWriter::new(buffer, 512, question).expect("a question fits 512 bytes");
    writer.reserve(edns.as_ref());
    let length = writer.finish(id, Flags::QR, rcode, edns.as_ref());
    let reply = Message::read(&buffer[..length]).expect("what was written can be read");
    assert_eq!((reply.id, &reply.raw_question[..], reply.has_edns), (id, question, edns.is_some()));
    assert_eq!(reply.rcode.0 & 0x0F, rcode.0 & 0x0F);
}

/// The parts of `config/quickstart.toml`: zones of every kind, and no upstream to wait for.
static QUICKSTART: LazyLock<(Runtime, Parts)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The fuzz target is a crate of its own, one folder further down.
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut files = folders.map(|folder| folder.join("config/quickstart.toml"));
    let config = Config::load(&files.find(|file| file.exists()).unwrap()).unwrap();
    let parts = {
        let _entered = runtime.enter();
        Parts::load(&config).unwrap()
    };
    (runtime, parts)
});

/// Whoever sends it over whatever: a reply is one, to this packet, and no larger than it may be.
fn goes_through_the_responder(packet: &[u8], buffer: &mut [u8]) {
    let (runtime, parts) = &*QUICKSTART;
    let responder = &parts.responder;
    for (address, transport) in [
        ("127.0.0.1:4000", Transport::Udp),
        ("127.0.0.1:4000", Transport::Tcp),
        ("127.0.0.1:4000", Transport::Tls),
        ("192.0.2.1:4000", Transport::Udp),
    ] {
        let address: SocketAddr = address.parse().unwrap();
        let client = Client::new(address, transport);
        // What the last reply left must not show in this one.
        buffer[..1500].fill(0xEE);
        let waited;
        let reply = match responder.try_answer(&responder.view(), None, packet, client, buffer) {
            Attempt::Reply(length) => &buffer[..length],
            Attempt::Wait(missing) => {
                waited = runtime.block_on(responder.clone().answer(
                    packet.to_vec(),
                    client,
                    Asker::Server,
                    missing,
                ));
                // Thousands may wait to be sent: they do not keep room for the largest.
                let room = waited.as_ref().map_or(0, Vec::capacity);
                assert!(room <= 2048.max(2 * waited.as_ref().map_or(0, Vec::len)), "{room}");
                waited.as_deref().expect("who must wait gets a reply")
            }
            Attempt::Drop => {
                assert!(matches!(Request::read(packet), Err(Unanswerable::Drop)), "a query gets a reply");
                continue;
            }
        };
        let edns = match Request::read(packet) {
            Ok(Request { edns, .. }) | Err(Unanswerable::Refuse { edns, .. }) => edns,
            Err(Unanswerable::Drop) => panic!("what is no query gets no reply"),
        };
        let limit = match transport {
            Transport::Tcp | Transport::Tls => MESSAGE_BYTES_MAX,
            Transport::Udp => edns.map_or(512, |edns| usize::from(edns.payload_bytes.clamp(512, 1232))),
        };
        assert!(reply.len() <= limit, "{} bytes, not {limit}", reply.len());
        let read = Message::read(reply).expect("a reply can be read");
        assert_eq!(read.id.to_be_bytes(), packet[..2]);
        assert!(read.flags.has(Flags::QR));
        assert!(read.raw_question.is_empty() || packet[12..].starts_with(&read.raw_question));
        assert_eq!(read.has_edns, edns.is_some());
        if let Err(error) = TheirMessage::from_vec(reply) {
            panic!("hickory cannot read it: {error}");
        }
    }
}

/// The records of a message have text, and are the same when they are written and read again.
fn goes_through_as_message(message: &Message, buffer: &mut [u8]) {
    let sections = [
        (Section::Answer, &message.answer),
        (Section::Authority, &message.authority),
        (Section::Additional, &message.additional),
    ];
    let question = message.question.as_ref().map_or(Vec::new(), |question| {
        [question.name.as_wire(), &question.rtype.0.to_be_bytes(), &[0, 1]].concat()
    });
    let mut writer = ReplyWriter::new(buffer, MESSAGE_BYTES_MAX, &question).expect("a question fits");
    let mut written: Vec<&Record> = Vec::new();
    for (section, records) in sections {
        for record in records {
            let text = rdata::to_text(record.rtype, &record.data);
            // Types that only have words are passed on as they are, and told as bytes where they are malformed.
            assert!(rdata::is_valid(record.rtype, &record.data) || text.starts_with("\\# "), "{record}");
            assert!(!text.is_empty(), "{}", record.rtype);
            let name_again = record.owner.to_string().parse();
            assert_eq!(name_again.as_ref(), Ok(&record.owner));
            match writer.record(section, record.owner(), record.rtype, record.ttl.secs(), &record.data) {
                Ok(()) => written.push(record),
                Err(Full) => break,
            }
        }
    }
    let length = writer.finish(message.id, Flags::QR, message.rcode, None);
    let again = Message::read(&buffer[..length]).expect("what was written can be read");
    assert_eq!(again.question, message.question);
    let read: Vec<&Record> = again.answer.iter().chain(&again.authority).chain(&again.additional).collect();
    assert_eq!(read.len(), written.len());
    for (read, written) in read.iter().zip(&written) {
        assert_eq!((&read.owner, read.rtype, read.ttl), (&written.owner, written.rtype, written.ttl));
        // A name points to one that was written before, whose case may be another.
        assert!(read.data.eq_ignore_ascii_case(&written.data), "{read} {written}");
    }
}

/// Data of any bytes has text; what is written in words reads back.
fn goes_through_as_data(rtype: RecordType, data: &[u8]) {
    let text = rdata::to_text(rtype, data);
    if let Ok(read) = rdata::from_text(rtype, &text, NameRef::ROOT) {
        assert!(read.eq_ignore_ascii_case(data), "{rtype} {text}");
    }
}
