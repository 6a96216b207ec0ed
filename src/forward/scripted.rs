//! Upstreams that are a closure, for tests under a paused clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use super::{
    Asker, Exchange, ExchangeError, Forwarder, Outcome, Protocol, Query, RuleSettings, Settings, Transport,
};
use crate::cache::{Cache, End, UpstreamReply};
use crate::dns::edns::ReplyEdns;
use crate::dns::{
    Flags, Message, NameRef, QueryFlags, Question, Rcode, Record, RecordType, ReplyWriter, Section, Ttl,
    rdata,
};

/// What an upstream does with a query.
pub enum Said {
    Reply(Vec<u8>),
    After(Duration, Vec<u8>),
    Silence,
    Unreachable,
}

/// A query as an upstream sees it.
#[derive(Clone)]
pub struct Seen {
    pub upstream: SocketAddr,
    pub protocol: Protocol,
    pub bytes: Vec<u8>,
    pub message: Message,
}

type Script = Arc<dyn Fn(&Seen) -> Said + Send + Sync>;

/// All upstreams at once.
#[derive(Clone)]
pub struct Scripted(Arc<Inner>);

struct Inner {
    script: Mutex<Script>,
    seen: Mutex<Vec<Seen>>,
    /// Questions of the forwarder's own.
    checkups: Mutex<Vec<Seen>>,
}

impl Scripted {
    pub fn new(script: impl Fn(&Seen) -> Said + Send + Sync + 'static) -> Scripted {
        let script: Script = Arc::new(script);
        let (seen, checkups) = Default::default();
        Scripted(Arc::new(Inner { script: Mutex::new(script), seen, checkups }))
    }

    pub fn replace(&self, script: impl Fn(&Seen) -> Said + Send + Sync + 'static) {
        *self.0.script.lock() = Arc::new(script);
    }

    /// What clients' questions, and probes for loops, made of queries.
    pub fn seen(&self) -> Vec<Seen> {
        self.0.seen.lock().clone()
    }

    pub fn checkups(&self) -> Vec<Seen> {
        self.0.checkups.lock().clone()
    }

    pub fn forwarder(&self, settings: Settings) -> Arc<Forwarder> {
        let cache = Arc::new(Cache::new(crate::cache::Settings::default()));
        Forwarder::with_transport(settings, cache, Arc::new(self.clone()))
    }
}

impl Transport for Scripted {
    fn exchange<'a>(
        &'a self,
        upstream: SocketAddr,
        query: &'a mut Query,
        protocol: Protocol,
    ) -> Exchange<'a> {
        Box::pin(async move {
            let bytes = query.as_bytes().to_vec();
            let message = Message::read(&bytes).unwrap();
            let seen = Seen { upstream, protocol, bytes, message };
            match seen.is_checkup() {
                true => self.0.checkups.lock().push(seen.clone()),
                false => self.0.seen.lock().push(seen.clone()),
            }
            let script = self.0.script.lock().clone();
            match script(&seen) {
                Said::Reply(reply) => Ok(reply),
                Said::After(time, reply) => {
                    sleep(time).await;
                    Ok(reply)
                }
                Said::Silence => std::future::pending().await,
                Said::Unreachable => {
                    Err(ExchangeError::Network(std::io::ErrorKind::ConnectionRefused.into()))
                }
            }
        })
    }
}

impl Seen {
    /// Whether it is a question of the forwarder's own: tests ask for addresses.
    pub fn is_checkup(&self) -> bool {
        let question = self.message.question.as_ref().unwrap();
        matches!(question.rtype, RecordType::NS | RecordType::SOA)
    }

    pub fn name(&self) -> String {
        self.message.question.as_ref().unwrap().name.to_string()
    }

    pub fn last_byte(&self) -> u8 {
        match self.upstream {
            SocketAddr::V4(address) => address.ip().octets()[3],
            SocketAddr::V6(address) => address.ip().octets()[15],
        }
    }

    /// A reply with EDNS.
    pub fn answer(&self, rcode: Rcode, answer: &[&str], authority: &[&str]) -> Vec<u8> {
        self.write(rcode, answer, authority, Some(&ReplyEdns::default()))
    }

    /// A reply of a server without EDNS.
    pub fn plain_answer(&self, rcode: Rcode, answer: &[&str]) -> Vec<u8> {
        self.write(rcode, answer, &[], None)
    }

    fn write(
        &self,
        rcode: Rcode,
        answer: &[&str],
        authority: &[&str],
        edns: Option<&ReplyEdns<'_>>,
    ) -> Vec<u8> {
        let mut buffer = vec![0; 4096];
        let mut writer = ReplyWriter::new(&mut buffer, 4096, &self.message.raw_question).unwrap();
        for (section, records) in [(Section::Answer, answer), (Section::Authority, authority)] {
            for record in records.iter().map(|text| record(text)) {
                writer
                    .record(section, record.owner(), record.rtype, record.ttl.secs(), &record.data)
                    .unwrap();
            }
        }
        let length = writer.finish(self.message.id, Flags::QR.with(Flags::RA, true), rcode, edns);
        buffer.truncate(length);
        buffer
    }
}

/// `a.x. 60 A 10.0.0.1`.
pub fn record(text: &str) -> Record {
    let mut words = text.splitn(4, ' ');
    let mut next = || words.next().unwrap();
    let owner = next().parse().unwrap();
    let ttl = Ttl::from_secs(next().parse().unwrap()).unwrap();
    let rtype: RecordType = next().parse().unwrap();
    let data = rdata::from_text(rtype, next(), NameRef::ROOT).unwrap().into();
    Record { owner, rtype, ttl, data }
}

/// A reply of one record.
pub fn data(text: &str) -> UpstreamReply {
    UpstreamReply {
        rcode: Rcode::NOERROR,
        authenticated: false,
        answer: vec![record(text)],
        authority: Vec::new(),
        end: End::Data,
        extended_error: None,
    }
}

pub fn question(name: &str) -> Question {
    Question { name: name.parse().unwrap(), rtype: RecordType::A }
}

pub async fn ask(forwarder: &Arc<Forwarder>, name: &str) -> Outcome {
    forwarder.ask(question(name), QueryFlags::default(), Asker::Server).await
}

/// Rules from domains and their upstreams.
pub fn settings(rules: &[(&str, &[&str])]) -> Settings {
    let rules = rules.iter().map(|(domain, upstreams)| RuleSettings {
        domain: domain.parse().unwrap(),
        upstreams: upstreams.iter().map(|text| text.parse().unwrap()).collect(),
        queries_per_second_max: None,
    });
    Settings { rules: rules.collect(), ..Settings::default() }
}
