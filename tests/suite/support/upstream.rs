//! An upstream on real sockets that answers from a table, or by a rule.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use privatelink_dns::dns::edns::ReplyEdns;
use privatelink_dns::dns::{Flags, Name, Rcode, RecordType, ReplyWriter, Request, Section};

/// Answers what it was told, NXDOMAIN to all else.
pub struct Upstream {
    pub address: SocketAddr,
    asked: Arc<AtomicU64>,
}

/// The answer section to a question, records as `owner ttl type data`; NXDOMAIN where there is none.
type Answers = dyn Fn(&Name, RecordType) -> Option<Vec<String>> + Send + Sync;

impl Upstream {
    /// `rows` are questions (`name type`) and their answer sections, records as `owner ttl type data`.
    pub fn start(rows: &[(&str, &[&str])]) -> Upstream {
        let mut table: HashMap<(Name, RecordType), Vec<String>> = HashMap::new();
        for (question, records) in rows {
            let (name, rtype) = question.split_once(' ').unwrap();
            let records = records.iter().map(|record| (*record).to_owned()).collect();
            table.insert((name.parse().unwrap(), rtype.parse().unwrap()), records);
        }
        Upstream::answering(move |name, rtype| table.get(&(name.clone(), rtype)).cloned())
    }

    /// Answers what `answers` says.
    pub fn answering(
        answers: impl Fn(&Name, RecordType) -> Option<Vec<String>> + Send + Sync + 'static,
    ) -> Upstream {
        let answers: Arc<Answers> = Arc::new(answers);
        let (udp, tcp) = bind();
        let address = udp.local_addr().unwrap();
        let asked = Arc::new(AtomicU64::new(0));
        let upstream = Upstream { address, asked: Arc::clone(&asked) };
        let (for_udp, for_tcp) = ((Arc::clone(&answers), Arc::clone(&asked)), (answers, asked));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The thread ends with the test process: closing needs no ceremony.
            while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                for_udp.1.fetch_add(1, Ordering::SeqCst);
                let _ = udp.send_to(&reply(&*for_udp.0, &buffer[..length], 1232), from);
            }
        });
        thread::spawn(move || {
            while let Ok((mut stream, _)) = tcp.accept() {
                let (answers, asked) = (Arc::clone(&for_tcp.0), Arc::clone(&for_tcp.1));
                thread::spawn(move || {
                    let mut length = [0; 2];
                    while stream.read_exact(&mut length).is_ok() {
                        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
                        stream.read_exact(&mut message)?;
                        asked.fetch_add(1, Ordering::SeqCst);
                        let reply = reply(&*answers, &message, usize::from(u16::MAX));
                        stream.write_all(&(reply.len() as u16).to_be_bytes())?;
                        stream.write_all(&reply)?;
                    }
                    std::io::Result::Ok(())
                });
            }
        });
        upstream
    }

    /// How many queries came so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

/// One port for both, which the kernel has free.
pub fn bind() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

fn reply(answers: &Answers, message: &[u8], limit: usize) -> Vec<u8> {
    let request = Request::read(message).ok().expect("the forwarder asks well formed questions");
    let records = answers(&request.name.to_buf().to_name(), request.rtype);
    let mut buffer = vec![0; usize::from(u16::MAX)];
    let mut writer = ReplyWriter::new(&mut buffer, limit, request.question).unwrap();
    let edns = ReplyEdns::default();
    writer.reserve(Some(&edns));
    let mut truncated = false;
    for record in records.iter().flatten() {
        let record = super::client::record(record);
        truncated |= writer
            .record(Section::Answer, record.owner(), record.rtype, record.ttl.secs(), &record.data)
            .is_err();
    }
    let rcode = if records.is_some() { Rcode::NOERROR } else { Rcode::NXDOMAIN };
    let flags = Flags::QR.with(Flags::RA, true).with(Flags::TC, truncated);
    let length = writer.finish(request.id, flags, rcode, Some(&edns));
    buffer.truncate(length);
    buffer
}
