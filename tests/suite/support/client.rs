//! A client on real sockets.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use privatelink_dns::dns::message::query;
use privatelink_dns::dns::{Message, Name, QueryFlags, Record, RecordType, Ttl, rdata};

/// Longer than any answer takes; reached only when a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A query for a name and a type, with EDNS.
pub fn packet(name: &str, rtype: &str) -> Vec<u8> {
    let name: Name = name.parse().unwrap();
    let rtype: RecordType = rtype.parse().unwrap();
    query(4711, name.borrow(), rtype, QueryFlags::default(), true)
}

/// Asks over UDP from a loopback address.
pub fn ask_from(client: Ipv4Addr, server: SocketAddr, name: &str, rtype: &str) -> Message {
    let socket = UdpSocket::bind((IpAddr::V4(client), 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(server).unwrap();
    socket.send(&packet(name, rtype)).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).expect("a reply");
    Message::read(&buffer[..length]).unwrap()
}

/// Asks over UDP.
pub fn ask(server: SocketAddr, name: &str, rtype: &str) -> Message {
    ask_from(Ipv4Addr::LOCALHOST, server, name, rtype)
}

/// Asks over TCP.
pub fn ask_tcp(server: SocketAddr, name: &str, rtype: &str) -> Message {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let packet = packet(name, rtype);
    stream.write_all(&(packet.len() as u16).to_be_bytes()).unwrap();
    stream.write_all(&packet).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply).unwrap();
    Message::read(&reply).unwrap()
}

/// The answer section as text.
pub fn answers(message: &Message) -> Vec<String> {
    message.answer.iter().map(ToString::to_string).collect()
}

/// A record from `owner ttl type data`.
pub fn record(text: &str) -> Record {
    let words: Vec<&str> = text.splitn(4, ' ').collect();
    let owner: Name = words[0].parse().unwrap();
    let rtype: RecordType = words[2].parse().unwrap();
    let data = rdata::from_text(rtype, words[3], owner.borrow()).unwrap().into();
    Record { owner, rtype, ttl: Ttl::from_secs(words[1].parse().unwrap()).unwrap(), data }
}
