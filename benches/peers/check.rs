//! Whether a server answers rightly: a few questions, their replies read whole by a codec that is not ours.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, ensure};
use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record};

use crate::blast::Transport;
use crate::questions::{Edns, Question, Questions, Right};
use crate::zones::SERVER;

/// Far more than any reply takes.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks the samples of a list; the error is the first that is wrong.
pub fn samples(server: SocketAddr, transport: Transport, questions: &Questions) -> anyhow::Result<()> {
    let mut asker = match transport {
        Transport::Udp(_) => Asker::to(server)?,
        Transport::Tcp => {
            let stream = TcpStream::connect(server)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Asker::Stream(stream)
        }
    };
    for (question, wire) in &questions.samples {
        asker.ask(question, wire).with_context(|| format!("{} type {}", question.name, question.rtype))?;
    }
    Ok(())
}

/// Asks one question.
pub fn one(server: SocketAddr, question: &Question) -> anyhow::Result<()> {
    Asker::to(server)?.ask(question, &question.wire(Edns::Without))
}

enum Asker {
    Socket(UdpSocket),
    Stream(TcpStream),
}

impl Asker {
    fn to(server: SocketAddr) -> anyhow::Result<Asker> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Asker::Socket(socket))
    }

    fn ask(&mut self, question: &Question, wire: &[u8]) -> anyhow::Result<()> {
        let mut reply = [0; 4096];
        let length = match self {
            Asker::Socket(socket) => {
                socket.send(wire)?;
                socket.recv(&mut reply).context("no reply")?
            }
            Asker::Stream(stream) => {
                stream.write_all(&[&u16::try_from(wire.len())?.to_be_bytes(), wire].concat())?;
                let mut length = [0; 2];
                stream.read_exact(&mut length).context("no reply")?;
                let length = usize::from(u16::from_be_bytes(length));
                stream.read_exact(reply.get_mut(..length).context("a long reply")?).context("no reply")?;
                length
            }
        };
        let reply = &reply[..length];
        ensure!(reply.len() > wire.len().min(12) && reply[..2] == wire[..2], "another id");
        let end = 12 + question.name.len() + 2 + 4;
        ensure!(reply.get(12..end) == wire.get(12..end), "another question");
        let reply = Message::from_vec(reply)?;
        is_right(&reply, question).with_context(|| format!("{reply}"))?;
        ensure!(reply.edns.is_some() == (wire[11] == 1), "EDNS in only one of query and reply");
        Ok(())
    }
}

fn is_right(reply: &Message, question: &Question) -> anyhow::Result<()> {
    let right = question.right;
    ensure!(u16::from(reply.metadata.response_code) == u16::from(right.rcode()), "another rcode");
    let is_forwarded = matches!(right, Right::Forwarded(_) | Right::Alias(_));
    ensure!(!reply.metadata.truncation, "TC is set");
    // Of what is forwarded some hand on upstream's AA.
    ensure!(reply.metadata.authoritative || is_forwarded, "AA is clear");
    ensure!(reply.answers.len() == usize::from(right.answers()), "not so many answers");
    let is_owner = |record: &Record, name: &str| is_name(&record.name.to_string(), name);
    let is_there = match (right, reply.answers.as_slice()) {
        (Right::Alias(right), [alias, answer]) => {
            let target = match &alias.data {
                RData::CNAME(target) => target.0.to_string(),
                _ => String::new(),
            };
            is_owner(alias, &question.name)
                && is_owner(answer, &target)
                && matches!(&answer.data, RData::A(address) if address.0 == right)
        }
        (Right::NoData | Right::NoSuchName, []) => {
            matches!(reply.authorities.as_slice(), [soa] if is_soa_above(soa, question))
        }
        (_, [answer]) => {
            is_owner(answer, &question.name)
                && match (right, &answer.data) {
                    (Right::Address(right) | Right::Forwarded(right), RData::A(address)) => {
                        address.0 == right
                    }
                    (Right::Soa, RData::SOA(soa)) => is_name(&soa.mname.to_string(), SERVER),
                    (Right::NameServer, RData::NS(server)) => is_name(&server.0.to_string(), SERVER),
                    _ => false,
                }
        }
        _ => false,
    };
    ensure!(is_there, "another answer");
    Ok(())
}

/// Whether a record is the SOA of the zone that a name stands in.
fn is_soa_above(record: &Record, question: &Question) -> bool {
    let apex = question.name.split_once('.').map_or("", |(_, apex)| apex);
    matches!(record.data, RData::SOA(_)) && is_name(&record.name.to_string(), apex)
}

fn is_name(one: &str, other: &str) -> bool {
    one.trim_end_matches('.').eq_ignore_ascii_case(other.trim_end_matches('.'))
}
