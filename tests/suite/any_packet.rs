//! What must hold for any bytes that come in a packet; run by the test `packets` and by the fuzz target `packet`.

use privatelink_dns::dns::edns::{ExtendedError, ReplyEdns};
use privatelink_dns::dns::header::Flags;
use privatelink_dns::dns::reply::Full;
use privatelink_dns::dns::request::Unanswerable;
use privatelink_dns::dns::{
    Message, NameRef, Rcode, Record, RecordType, ReplyWriter, Request, Section, rdata,
};

/// The largest message (RFC 1035 §4.2.2).
const MESSAGE_BYTES_MAX: usize = 65_535;

/// Reads a packet in every way and writes what was read; panics when something does not hold.
pub fn goes_through(packet: &[u8]) {
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    goes_through_as_request(packet, &mut buffer);
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
                assert_eq!((asked.name.borrow(), asked.rtype), (request.name.borrow(), request.rtype));
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
            assert!(rdata::is_valid(record.rtype, &record.data), "{record}");
            assert!(!rdata::to_text(record.rtype, &record.data).is_empty(), "{}", record.rtype);
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
