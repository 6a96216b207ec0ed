//! Upstreams that say what they are told: as a recursive server that holds some records, or reply by reply.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, Weak};

use privatelink_dns::dns::{Flags, Name, NameBuf, NameRef, Rcode, Record, RecordType, Request, rdata};
use privatelink_dns::forward::Asker;
use privatelink_dns::respond::{Client, Missing, Responder, Transport};

use super::message::{Line, word};

/// Most aliases that an upstream follows for one question.
const CHAIN_MAX: usize = 20;

/// The upstreams of all forwarding rules; a rule is named by its domain, the default one is `.`. Name servers that are asked
/// themselves are named by their address.
#[derive(Default)]
pub struct Upstreams(Mutex<State>);

#[derive(Default)]
struct State {
    records: BTreeMap<String, Vec<Record>>,
    scripted: Vec<Scripted>,
    down: Vec<String>,
    looping: Vec<String>,
    asked: Vec<String>,
    shouts: bool,
    /// Where a loop leads.
    responder: Weak<Responder>,
}

/// One reply in full.
#[derive(Clone)]
pub struct Scripted {
    /// The rule whose upstream says it.
    pub rule: String,
    pub name: Name,
    /// `None`: to every type.
    pub rtype: Option<RecordType>,
    pub says: Says,
}

#[derive(Clone)]
pub enum Says {
    Nothing,
    /// What we say ourselves, when it asks us.
    WhatWeSay,
    This(Told),
}

/// What a reply says.
#[derive(Clone, Debug)]
pub struct Told {
    pub rcode: Rcode,
    pub authenticated: bool,
    pub authoritative: bool,
    pub answer: Vec<Record>,
    pub authority: Vec<Record>,
    pub additional: Vec<Record>,
    pub extended_error: Option<(u16, String)>,
}

impl Told {
    pub fn new(rcode: Rcode) -> Told {
        Told {
            rcode,
            authenticated: false,
            authoritative: false,
            answer: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            extended_error: None,
        }
    }
}

impl Upstreams {
    /// Adds a record to what a rule's upstream holds.
    pub fn hold(&self, rule: &str, record: Record) {
        self.0.lock().unwrap().records.entry(rule.to_owned()).or_default().push(record);
    }

    /// From now on this is the reply; what was told before to the same question is forgotten.
    pub fn tell(&self, reply: Scripted) {
        let mut state = self.0.lock().unwrap();
        state.scripted.retain(|other| {
            (&other.rule, &other.name, other.rtype) != (&reply.rule, &reply.name, reply.rtype)
        });
        state.scripted.push(reply);
    }

    /// A rule's upstream no longer answers, or answers again.
    pub fn set_down(&self, rule: &str, is_down: bool) {
        let mut state = self.0.lock().unwrap();
        state.down.retain(|other| other != rule);
        if is_down {
            state.down.push(rule.to_owned());
        }
    }

    /// A rule's upstream asks us, whatever it is asked.
    pub fn set_looping(&self, rule: &str) {
        self.0.lock().unwrap().looping.push(rule.to_owned());
    }

    /// All names of replies are written in capitals.
    pub fn shout(&self) {
        self.0.lock().unwrap().shouts = true;
    }

    /// The server that an upstream asks which leads back to it.
    pub fn lead_back_to(&self, responder: &Arc<Responder>) {
        self.0.lock().unwrap().responder = Arc::downgrade(responder);
    }

    /// What was asked since this was last called, as `name TYPE`, with ` of rule` but for the default one.
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    /// The reply to a query; `None`: none comes.
    pub async fn answer(&self, rule: &str, query: &[u8]) -> Option<Vec<u8>> {
        let request = Request::read(query).ok().expect("what we send upstream is a query");
        let responder = match self.says(rule, &request) {
            Says::Nothing => return None,
            Says::This(told) => return Some(write(&request, &told, self.0.lock().unwrap().shouts)),
            Says::WhatWeSay => self.0.lock().unwrap().responder.upgrade()?,
        };
        let address = SocketAddr::new(IpAddr::from([10, 0, 0, 53]), 53);
        let client = Client::new(address, Transport::Udp);
        responder.answer(query.to_vec(), client, Asker::Server, Missing::UNKNOWN).await
    }

    fn says(&self, rule: &str, request: &Request<'_>) -> Says {
        let mut state = self.0.lock().unwrap();
        let of = if rule == "." { String::new() } else { format!(" of {rule}") };
        state.asked.push(format!("{} {}{of}", request.name.to_buf(), request.rtype));
        if state.down.iter().any(|down| down == rule) {
            return Says::Nothing;
        }
        if state.looping.iter().any(|looping| looping == rule) {
            return Says::WhatWeSay;
        }
        let name = request.name.to_buf().to_name();
        let scripted = state.scripted.iter().rev().find(|reply| {
            reply.rule == rule && reply.name == name && reply.rtype.is_none_or(|rtype| rtype == request.rtype)
        });
        match scripted {
            Some(scripted) => scripted.says.clone(),
            None => {
                let records = state.records.get(rule).map_or(&[][..], Vec::as_slice);
                Says::This(resolve(records, name, request))
            }
        }
    }
}

/// What a recursive server says that knows these records and no others.
fn resolve(records: &[Record], mut name: Name, request: &Request<'_>) -> Told {
    let mut told = Told::new(Rcode::NOERROR);
    let signatures = request.dnssec_ok();
    let of = |owner: &Name, rtype: RecordType| -> Vec<Record> {
        let wanted = records.iter().filter(|record| record.owner == *owner);
        let signs = |record: &&Record| record.type_covered() == Some(rtype) && signatures;
        wanted.filter(|record| record.rtype == rtype || signs(record)).cloned().collect()
    };
    for _ in 0..CHAIN_MAX {
        if request.rtype == RecordType::ANY {
            let all =
                records.iter().filter(|record| record.owner == name && record.rtype != RecordType::RRSIG);
            told.answer.extend(all.cloned());
        } else {
            told.answer.extend(of(&name, request.rtype));
        }
        if told.answer.iter().any(|record| record.owner == name) {
            return told;
        }
        let alias = of(&name, RecordType::CNAME);
        if let Some(target) = alias.first().and_then(Record::target) {
            told.answer.extend(alias);
            name = target.to_name();
            continue;
        }
        let above =
            name.borrow().ancestors().skip(1).find_map(|owner| of(&owner.to_name(), RecordType::DNAME).pop());
        if let Some(dname) = above {
            let front = name.borrow().strip_suffix(dname.owner()).expect("the owner lies above");
            let target = dname.target().expect("a DNAME has a target");
            let target = NameBuf::join(front, target.borrow()).expect("scripts stay short").to_name();
            let alias = Record {
                owner: name,
                rtype: RecordType::CNAME,
                ttl: dname.ttl,
                data: target.as_wire().into(),
            };
            told.answer.extend([dname, alias]);
            name = target;
            continue;
        }
        if !records.iter().any(|record| record.owner.is_within(&name)) {
            told.rcode = Rcode::NXDOMAIN;
        }
        let soa = name.borrow().ancestors().find_map(|owner| of(&owner.to_name(), RecordType::SOA).pop());
        told.authority.extend(soa);
        return told;
    }
    told
}

/// The bytes of a reply; its question is as it came.
fn write(request: &Request<'_>, told: &Told, shouts: bool) -> Vec<u8> {
    let flags = Flags::QR.with(Flags::RD, true).with(Flags::RA, true).with(Flags::AD, told.authenticated);
    let flags = flags.with(Flags::AA, told.authoritative);
    let mut bytes = request.id.to_be_bytes().to_vec();
    bytes.extend((flags.0 | told.rcode.0 & 0x0F).to_be_bytes());
    let sections = [&told.answer, &told.authority, &told.additional];
    bytes.extend([0, 1]);
    for (number, section) in sections.iter().enumerate() {
        let opt = u16::from(number == 2 && request.edns.is_some());
        bytes.extend((section.len() as u16 + opt).to_be_bytes());
    }
    bytes.extend(request.question);
    for record in sections.into_iter().flatten() {
        let has_name = matches!(record.rtype, RecordType::CNAME | RecordType::DNAME | RecordType::NS);
        let shouted = |bytes: &[u8], on: bool| if on { bytes.to_ascii_uppercase() } else { bytes.to_vec() };
        bytes.extend(shouted(record.owner.as_wire(), shouts));
        bytes.extend(record.rtype.0.to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(record.ttl.secs().to_be_bytes());
        bytes.extend((record.data.len() as u16).to_be_bytes());
        bytes.extend(shouted(&record.data, shouts && has_name));
    }
    if request.edns.is_some() {
        let mut options = Vec::new();
        if let Some((code, text)) = &told.extended_error {
            options.extend([0, 15]);
            options.extend((text.len() as u16 + 2).to_be_bytes());
            options.extend(code.to_be_bytes());
            options.extend(text.as_bytes());
        }
        bytes.extend([0, 0, 41, 4, 208, (told.rcode.0 >> 4) as u8, 0, 0, 0]);
        bytes.extend((options.len() as u16).to_be_bytes());
        bytes.extend(options);
    }
    bytes
}

/// Reads `owner ttl TYPE data`.
pub fn record(text: &str, origin: NameRef<'_>) -> Result<Record, String> {
    let line = Line::parse(text, origin)?;
    let (_, rest) = word(text)?;
    let (_, rest) = word(rest)?;
    let (_, data) = word(rest)?;
    let rtype: RecordType = line.rtype.parse().expect("the line was read");
    Ok(Record {
        owner: line.owner.parse().expect("the line was read"),
        rtype,
        ttl: privatelink_dns::dns::Ttl::from_secs(line.ttl_secs).ok_or("the TTL is too long")?,
        data: rdata::from_text(rtype, data, origin).map_err(|error| error.to_string())?.into(),
    })
}
