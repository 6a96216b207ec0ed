//! Whether a server answers rightly: a few questions, their replies read whole by a codec that is not ours.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, ensure};
use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record};

use crate::questions::{Edns, Question, Questions, Right};
use crate::zones::SERVER;

/// Far more than any reply takes.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks the samples of a list; the error is the first that is wrong.
pub fn samples(server: SocketAddr, questions: &Questions) -> anyhow::Result<()> {
    let asker = Asker::to(server)?;
    for (question, wire) in &questions.samples {
        asker.ask(question, wire).with_context(|| format!("{} type {}", question.name, question.rtype))?;
    }
    Ok(())
}

/// Asks one question.
pub fn one(server: SocketAddr, question: &Question) -> anyhow::Result<()> {
    Asker::to(server)?.ask(question, &question.wire(Edns::Without))
}

struct Asker(UdpSocket);

impl Asker {
    fn to(server: SocketAddr) -> anyhow::Result<Asker> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Asker(socket))
    }

    fn ask(&self, question: &Question, wire: &[u8]) -> anyhow::Result<()> {
        let Asker(socket) = self;
        socket.send(wire)?;
        let mut reply = [0; 4096];
        let length = socket.recv(&mut reply).context("no reply")?;
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
    ensure!(reply.metadata.authoritative && !reply.metadata.truncation, "AA is clear or TC is set");
    ensure!(reply.answers.len() == usize::from(right.answers()), "not so many answers");
    let owners_are_right =
        reply.answers.iter().all(|record| is_name(&record.name.to_string(), &question.name));
    ensure!(owners_are_right, "another owner");
    let data = reply.answers.first().map(|record| &record.data);
    let is_there = match (right, data) {
        (Right::Address(right), Some(RData::A(address))) => address.0 == right,
        (Right::Soa, Some(RData::SOA(soa))) => is_name(&soa.mname.to_string(), SERVER),
        (Right::NameServer, Some(RData::NS(server))) => is_name(&server.0.to_string(), SERVER),
        (Right::NoData | Right::NoSuchName, None) => {
            matches!(reply.authorities.as_slice(), [soa] if is_soa_above(soa, question))
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
