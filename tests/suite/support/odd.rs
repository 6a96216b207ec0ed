//! An upstream on real sockets that answers as a test has it answer.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

use privatelink_dns::dns::edns::ReplyEdns;
use privatelink_dns::dns::{Flags, Message, Rcode, RecordType, ReplyWriter, Request, Section};

use super::client::record;
use super::upstream::bind;

/// An upstream that is two closures, for UDP and for TCP.
pub struct Odd {
    pub address: SocketAddr,
    over_udp: Arc<Mutex<Vec<Message>>>,
    over_tcp: Arc<Mutex<Vec<Message>>>,
}

impl Odd {
    pub fn start(
        over_udp: impl Fn(&[u8]) -> Vec<u8> + Send + 'static,
        over_tcp: impl Fn(&[u8]) -> Vec<u8> + Send + 'static,
    ) -> Odd {
        let (socket, listener) = bind();
        let address = socket.local_addr().unwrap();
        let odd = Odd { address, over_udp: Arc::default(), over_tcp: Arc::default() };
        let (udp, tcp) = (odd.over_udp.clone(), odd.over_tcp.clone());
        // The threads end with the test process.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                udp.lock().unwrap().push(Message::read(&buffer[..length]).unwrap());
                let _ = socket.send_to(&over_udp(&buffer[..length]), from);
            }
        });
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut length = [0; 2];
                while stream.read_exact(&mut length).is_ok() {
                    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                    let _ = stream.read_exact(&mut query);
                    tcp.lock().unwrap().push(Message::read(&query).unwrap());
                    let reply = over_tcp(&query);
                    let _ = stream.write_all(&[&(reply.len() as u16).to_be_bytes(), &reply[..]].concat());
                }
            }
        });
        odd
    }

    /// The same over UDP and over TCP.
    pub fn same(reply: impl Fn(&[u8]) -> Vec<u8> + Clone + Send + 'static) -> Odd {
        Odd::start(reply.clone(), reply)
    }

    /// The queries that came over UDP. On a busy machine one may have come twice.
    pub fn over_udp(&self) -> Vec<Message> {
        self.over_udp.lock().unwrap().clone()
    }

    /// The queries that came over TCP.
    pub fn over_tcp(&self) -> Vec<Message> {
        self.over_tcp.lock().unwrap().clone()
    }
}

/// A reply to `query`: a code, and records of the answer and of the authority, their owner `@` for the question's name.
pub fn reply(
    query: &[u8],
    rcode: Rcode,
    answer: &[&str],
    authority: &[&str],
    edns: Option<&ReplyEdns<'_>>,
) -> Vec<u8> {
    let request = Request::read(query).ok().expect("the forwarder asks well formed questions");
    let name = request.name.to_buf().to_name().to_string();
    let mut buffer = vec![0; 4096];
    let mut writer = ReplyWriter::new(&mut buffer, 4096, request.question).unwrap();
    for (section, records) in [(Section::Answer, answer), (Section::Authority, authority)] {
        for text in records {
            let record = record(&text.replace('@', &name));
            writer.record(section, record.owner(), record.rtype, record.ttl.secs(), &record.data).unwrap();
        }
    }
    let length = writer.finish(request.id, Flags::QR.with(Flags::RA, true), rcode, edns);
    buffer.truncate(length);
    buffer
}

/// One record of the type that is asked for.
pub fn good(query: &[u8]) -> Vec<u8> {
    let rtype = Request::read(query).ok().unwrap().rtype;
    reply(
        query,
        Rcode::NOERROR,
        &[&format!("@ 60 {rtype} {}", data(rtype))],
        &[],
        Some(&ReplyEdns::default()),
    )
}

/// Some data of a type.
fn data(rtype: RecordType) -> &'static str {
    match rtype {
        RecordType::A => "10.0.0.9",
        RecordType::AAAA => "fd00::9",
        RecordType::MX => "10 mail.x.",
        // A server asks so whether its upstream lives.
        RecordType::NS => "ns.x.",
        RecordType::SOA => "ns.x. hostmaster.x. 1 3600 600 86400 60",
        RecordType::SRV => "0 5 443 web.x.",
        RecordType::HTTPS => "1 . alpn=h2",
        RecordType::TXT => "\"some text\"",
        _ => "\\# 3 abcdef",
    }
}

/// `12` bytes: id, QR and a code, and perhaps an OPT record behind them.
pub fn bare(query: &[u8], rcode: u8, opt: bool) -> Vec<u8> {
    let header = [query[0], query[1], 0x81, rcode, 0, 0, 0, 0, 0, 0, 0, u8::from(opt)];
    let opt = if opt { &b"\0\0\x29\x04\xd0\0\0\0\0\0\0"[..] } else { b"" };
    [&header[..], opt].concat()
}
