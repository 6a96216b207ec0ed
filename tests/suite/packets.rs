//! Packets: any bytes are survived, and valid messages mean to us what they mean to hickory-proto.

#[path = "any_packet.rs"]
mod any_packet;

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Edns, Message as TheirMessage, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NULL, SOA, SRV, TXT};
use hickory_proto::rr::{Name as TheirName, RData, Record as TheirRecord, RecordType as TheirType};
use privatelink_dns::dns::header::Flags;
use privatelink_dns::dns::{Message, Name, NameBuf, Rcode, Record, RecordType, ReplyWriter, Section, rdata};
use proptest::prelude::*;

type Labels = Vec<Vec<u8>>;

/// Names that `config/quickstart.toml` has something to say of.
const SERVED: [&str; 12] = [
    "corp.internal.",
    "www.corp.internal.",
    "files.corp.internal.",
    "x.apps.corp.internal.",
    "nothing.corp.internal.",
    "contosodata01.blob.core.windows.net.",
    "contosodata01.privatelink.blob.core.windows.net.",
    "nothing.privatelink.blob.core.windows.net.",
    "localhost.",
    "1.0.0.10.in-addr.arpa.",
    "www.example.com.",
    ".",
];

/// Labels that often repeat, so that names are compressed; cases differ.
fn labels() -> impl Strategy<Value = Labels> {
    let known = prop::sample::select(vec!["a", "A", "blob", "Blob", "core", "windows", "net", "privatelink"]);
    let label = prop_oneof![
        8 => known.prop_map(|label| label.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..=63),
    ];
    // Three labels of 63 bytes still fit a name.
    prop::collection::vec(label, 0..=3)
}

fn theirs(labels: &Labels) -> TheirName {
    TheirName::from_labels(labels.iter().map(Vec::as_slice)).unwrap()
}

fn wire(labels: &Labels) -> Vec<u8> {
    let mut wire: Vec<u8> =
        labels.iter().flat_map(|label| [&[label.len() as u8], &label[..]].concat()).collect();
    wire.push(0);
    wire
}

fn ours(labels: &Labels) -> Name {
    NameBuf::read_plain(&wire(labels), 0).unwrap().0.to_name()
}

/// Record data for hickory, and the bytes that we should read out of hickory's message.
fn data() -> impl Strategy<Value = (RData, Vec<u8>)> {
    let texts = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..4);
    prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| (RData::A(A(Ipv4Addr::from(ip))), ip.to_vec())),
        any::<[u8; 16]>().prop_map(|ip| (RData::AAAA(AAAA(Ipv6Addr::from(ip))), ip.to_vec())),
        labels().prop_map(|name| (RData::CNAME(CNAME(theirs(&name))), wire(&name))),
        (any::<u16>(), labels()).prop_map(|(preference, name)| {
            let bytes = [&preference.to_be_bytes()[..], &wire(&name)].concat();
            (RData::MX(MX::new(preference, theirs(&name))), bytes)
        }),
        (any::<[u16; 3]>(), labels()).prop_map(|([priority, weight, port], name)| {
            let numbers = [priority, weight, port].map(u16::to_be_bytes).concat();
            (RData::SRV(SRV::new(priority, weight, port, theirs(&name))), [numbers, wire(&name)].concat())
        }),
        (labels(), labels(), any::<u32>(), any::<[i32; 3]>(), any::<u32>()).prop_map(
            |(server, mailbox, serial, [refresh, retry, expire], minimum)| {
                let soa =
                    SOA::new(theirs(&server), theirs(&mailbox), serial, refresh, retry, expire, minimum);
                let times = [refresh, retry, expire].map(i32::to_be_bytes).concat();
                let numbers = [&serial.to_be_bytes()[..], &times, &minimum.to_be_bytes()].concat();
                (RData::SOA(soa), [wire(&server), wire(&mailbox), numbers].concat())
            }
        ),
        texts.prop_map(|texts| {
            let bytes = texts.iter().flat_map(|text| [&[text.len() as u8], &text[..]].concat()).collect();
            (RData::TXT(TXT::from_bytes(texts.iter().map(Vec::as_slice).collect())), bytes)
        }),
        // Private use; hickory gives 65305 a meaning.
        (65_400_u16..65_534, prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(number, bytes)| {
            let code = TheirType::Unknown(number);
            (RData::Unknown { code, rdata: NULL::with(bytes.clone()) }, bytes)
        }),
    ]
}

/// A record as hickory gets it and as we should read it.
#[derive(Clone, Debug)]
struct Expected {
    owner: Labels,
    ttl: u32,
    data: RData,
    bytes: Vec<u8>,
}

impl Expected {
    fn theirs(&self) -> TheirRecord {
        TheirRecord::from_rdata(theirs(&self.owner), self.ttl, self.data.clone())
    }

    fn is(&self, record: &Record) -> bool {
        record.owner == ours(&self.owner)
            && record.rtype == self.rtype()
            && record.ttl.secs() == self.ttl
            && record.data.eq_ignore_ascii_case(&self.bytes)
    }

    fn rtype(&self) -> RecordType {
        RecordType(u16::from(self.data.record_type()))
    }
}

fn records() -> impl Strategy<Value = Vec<Expected>> {
    let record = (labels(), 0..=i32::MAX as u32, data()).prop_map(|(owner, ttl, (data, bytes))| Expected {
        owner,
        ttl,
        data,
        bytes,
    });
    prop::collection::vec(record, 0..6)
}

/// A question and three sections.
#[derive(Clone, Debug)]
struct Scene {
    id: u16,
    asked: (Labels, u16),
    sections: [Vec<Expected>; 3],
    has_edns: bool,
}

impl Scene {
    fn any() -> impl Strategy<Value = Scene> {
        let asked = (labels(), prop::sample::select(vec![1_u16, 28, 16, 65, 255, 65_280]));
        (any::<u16>(), asked, [records(), records(), records()], any::<bool>())
            .prop_map(|(id, asked, sections, has_edns)| Scene { id, asked, sections, has_edns })
    }

    fn packet(&self, message_type: MessageType) -> Vec<u8> {
        let mut message = TheirMessage::new(self.id, message_type, OpCode::Query);
        message.add_query(Query::query(theirs(&self.asked.0), TheirType::from(self.asked.1)));
        let [answers, authorities, additionals] =
            self.sections.each_ref().map(|section| section.iter().map(Expected::theirs));
        message.add_answers(answers).add_authorities(authorities).add_additionals(additionals);
        if self.has_edns {
            message.set_edns(Edns::new());
        }
        message.to_vec().unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(packet in prop::collection::vec(any::<u8>(), 0..600)) {
        any_packet::goes_through(&packet);
    }

    #[test]
    fn any_records_behind_a_good_header_are_survived(
        counts in any::<[u8; 3]>().prop_map(|counts| counts.map(|count| count % 4)),
        body in prop::collection::vec(prop_oneof![0..4_u8, Just(0xC0), Just(12), any::<u8>()], 0..200),
    ) {
        let header = [0, 1, 1, 0, 0, 1, 0, counts[0], 0, counts[1], 0, counts[2]];
        let question = b"\x01a\x04blob\x00\x00\x01\x00\x01";
        any_packet::goes_through(&[&header[..], question, &body].concat());
    }

    #[test]
    fn mutated_messages_are_survived(
        scene in Scene::any(),
        is_query in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut packet = scene.packet(if is_query { MessageType::Query } else { MessageType::Response });
        for (at, byte) in changes {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        if let Some(cut) = cut {
            packet.truncate(cut.index(packet.len()));
        }
        any_packet::goes_through(&packet);
    }

    #[test]
    fn questions_for_what_is_served_are_survived_however_they_are_spoilt(
        name in prop::sample::select(SERVED.to_vec()),
        rtype in prop_oneof![prop::sample::select(vec![1, 2, 5, 6, 12, 15, 16, 28, 39, 64, 65, 255]), any::<u16>()],
        payload_bytes in prop::option::of(prop_oneof![Just(0), Just(511), Just(512), Just(1232), Just(u16::MAX)]),
        dnssec_ok in any::<bool>(),
        options in prop::collection::vec((any::<u8>().prop_map(|code| code % 17), prop::collection::vec(any::<u8>(), 0..41)), 0..4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        more in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        let mut packet = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(payload_bytes.is_some())];
        packet.extend_from_slice(name.parse::<Name>().unwrap().as_wire());
        packet.extend([&u16::to_be_bytes(rtype)[..], &[0, 1]].concat());
        if let Some(payload_bytes) = payload_bytes {
            let options: Vec<u8> = options.iter().flat_map(|(code, value)| {
                [&[0, *code, 0, value.len() as u8], &value[..]].concat()
            }).collect();
            packet.extend([0, 0, 41]);
            packet.extend(u16::to_be_bytes(payload_bytes));
            packet.extend([0, 0, if dnssec_ok { 0x80 } else { 0 }, 0]);
            packet.extend((options.len() as u16).to_be_bytes());
            packet.extend(options);
        }
        for (at, byte) in changes {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        if let Some(cut) = cut {
            packet.truncate(cut.index(packet.len()));
        } else if more.len() == 2 {
            packet.extend(more);
        }
        any_packet::goes_through(&packet);
    }

    #[test]
    fn a_message_of_hickory_reads_as_it_was_meant(scene in Scene::any()) {
        let packet = scene.packet(MessageType::Response);
        any_packet::goes_through(&packet);
        let message = Message::read(&packet).unwrap();
        prop_assert_eq!(message.id, scene.id);
        prop_assert_eq!(message.has_edns, scene.has_edns);
        let question = message.question.unwrap();
        prop_assert_eq!((question.name, question.rtype.0), (ours(&scene.asked.0), scene.asked.1));
        for (read, expected) in [&message.answer, &message.authority, &message.additional].iter().zip(&scene.sections) {
            prop_assert_eq!(read.len(), expected.len());
            for (read, expected) in read.iter().zip(expected) {
                prop_assert!(expected.is(read), "{} {:?}", read, expected);
            }
        }
    }

    #[test]
    fn a_reply_of_ours_reads_to_hickory_as_it_was_meant(scene in Scene::any()) {
        let question = [&wire(&scene.asked.0)[..], &scene.asked.1.to_be_bytes(), &[0, 1]].concat();
        let mut buffer = vec![0; 65_535];
        let mut writer = ReplyWriter::new(&mut buffer, 65_535, &question).unwrap();
        for (section, records) in [Section::Answer, Section::Authority, Section::Additional].iter().zip(&scene.sections) {
            for record in records {
                let owner = ours(&record.owner);
                writer.record(*section, owner.borrow(), record.rtype(), record.ttl, &record.bytes).unwrap();
            }
        }
        let length = writer.finish(scene.id, Flags::QR, Rcode::NOERROR, None);
        let message = TheirMessage::from_vec(&buffer[..length]).unwrap();
        prop_assert_eq!(&message.queries[0].name, &theirs(&scene.asked.0));
        for (read, expected) in
            [message.answers, message.authorities, message.additionals].iter().zip(&scene.sections)
        {
            // Names of hickory are equal whatever their case.
            let expected: Vec<TheirRecord> = expected.iter().map(Expected::theirs).collect();
            prop_assert_eq!(read, &expected);
        }
    }

    #[test]
    fn names_go_round_in_both_forms(labels in labels()) {
        let name = ours(&labels);
        prop_assert_eq!(name.as_wire(), &wire(&labels).to_ascii_lowercase()[..]);
        prop_assert_eq!(&name.to_string().parse::<Name>().unwrap(), &name);
        let theirs = theirs(&labels).to_lowercase();
        prop_assert!(theirs.iter().eq(name.borrow().labels()));
    }

    #[test]
    fn record_data_goes_round_as_text((data, bytes) in data()) {
        let rtype = RecordType(u16::from(data.record_type()));
        let text = rdata::to_text(rtype, &bytes);
        let read = rdata::from_text(rtype, &text, Name::root().borrow()).unwrap();
        prop_assert!(read.eq_ignore_ascii_case(&bytes), "{}", text);
    }
}
