//! Questions written and replies read by hand, so that a reply is checked by other code than wrote it.

use std::fmt;
use std::net::IpAddr;

use privatelink_dns::dns::{Message, NameRef, Rcode, Record, RecordType, rdata};
use privatelink_dns::respond::Transport;

/// A client's question.
#[derive(Clone, Debug)]
pub struct Ask {
    /// As the client writes it: its case is sent and must come back.
    pub name: String,
    pub rtype: RecordType,
    pub class: u16,
    pub opcode: u8,
    /// RD, CD, AD, QR and the like, as in a header.
    pub flags: u16,
    pub edns: Option<AskEdns>,
    pub from: IpAddr,
    /// `None`: whichever transport the test runs over.
    pub transport: Option<Transport>,
}

/// The OPT record of a question.
#[derive(Clone, Debug)]
pub struct AskEdns {
    pub payload_bytes: u16,
    pub version: u8,
    pub dnssec_ok: bool,
    pub cookie: Vec<u8>,
}

pub const RD: u16 = 0x0100;
pub const AD: u16 = 0x0020;
pub const CD: u16 = 0x0010;
pub const QR: u16 = 0x8000;

/// The identifier of every question.
const ID: u16 = 0x5AA5;

impl Ask {
    /// A question as stub resolvers ask it.
    pub fn new(name: &str, rtype: RecordType) -> Ask {
        Ask {
            name: name.to_owned(),
            rtype,
            class: 1,
            opcode: 0,
            flags: RD,
            edns: Some(AskEdns { payload_bytes: 1232, version: 0, dnssec_ok: false, cookie: Vec::new() }),
            from: IpAddr::from([10, 10, 0, 5]),
            transport: None,
        }
    }

    /// The message that is sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.with_options(&[])
    }

    /// The same of a client that asks for all that a connection may have: padding, and how long it may be idle.
    pub fn of_connection(&self) -> Vec<u8> {
        self.with_options(&[0, 12, 0, 3, 0, 0, 0, 0, 11, 0, 0])
    }

    fn with_options(&self, more: &[u8]) -> Vec<u8> {
        let mut message = ID.to_be_bytes().to_vec();
        message.extend((self.flags | u16::from(self.opcode) << 11).to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        message.extend(name_as_written(&self.name));
        message.extend(self.rtype.0.to_be_bytes());
        message.extend(self.class.to_be_bytes());
        if let Some(edns) = &self.edns {
            message.extend([0, 0, 41]);
            message.extend(edns.payload_bytes.to_be_bytes());
            message.extend([0, edns.version, if edns.dnssec_ok { 0x80 } else { 0 }, 0]);
            let options = if edns.cookie.is_empty() { 0 } else { edns.cookie.len() as u16 + 4 };
            message.extend((options + more.len() as u16).to_be_bytes());
            if options > 0 {
                message.extend([0, 10, 0, edns.cookie.len() as u8]);
                message.extend(&edns.cookie);
            }
            message.extend(more);
        }
        message
    }
}

/// Wire form of a name with the case of its text.
pub fn name_as_written(text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// A reply, read apart.
#[derive(Clone, Debug)]
pub struct Reply {
    pub id: u16,
    pub flags: u16,
    pub rcode: Rcode,
    /// The question section as it came.
    pub question: Vec<u8>,
    pub answer: Vec<Line>,
    pub authority: Vec<Line>,
    pub additional: Vec<Line>,
    pub extended_errors: Vec<(u16, String)>,
    pub has_opt: bool,
    pub dnssec_ok: bool,
    pub cookie: Option<Vec<u8>>,
    /// Bytes of the padding option.
    pub padding: Option<usize>,
    pub keepalive_100ms: Option<u16>,
    pub size_bytes: usize,
}

/// One record in words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    pub owner: String,
    pub rtype: String,
    pub ttl_secs: u32,
    /// `*` in an expectation stands for any.
    pub data: String,
}

impl Line {
    /// Reads `owner ttl TYPE data`; relative names end in `origin`.
    pub fn parse(text: &str, origin: NameRef<'_>) -> Result<Line, String> {
        let (owner, rest) = word(text)?;
        let (ttl, rest) = word(rest)?;
        let (rtype, data) = word(rest)?;
        let owner = privatelink_dns::dns::Name::parse(owner, origin).map_err(|error| error.to_string())?;
        let rtype: RecordType = rtype.parse().map_err(|error| format!("{error}"))?;
        let data = match data {
            "*" => "*".to_owned(),
            data => {
                let wire = rdata::from_text(rtype, data, origin).map_err(|error| error.to_string())?;
                rdata::to_text(rtype, &wire)
            }
        };
        let ttl_secs = ttl.parse().map_err(|_| format!("`{ttl}` is no TTL"))?;
        Ok(Line { owner: owner.to_string(), rtype: rtype.to_string(), ttl_secs, data })
    }

    fn is_set_of(&self, other: &Line) -> bool {
        self.owner == other.owner && self.rtype == other.rtype
    }

    fn matches(&self, got: &Line) -> bool {
        let any = Line { data: got.data.clone(), ..self.clone() };
        if self.data == "*" { any == *got } else { self == got }
    }
}

/// The first word and what is behind it.
pub fn word(text: &str) -> Result<(&str, &str), String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("the line ends early".to_owned());
    }
    Ok(text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim())))
}

/// Whether two sections say the same: the order of sets counts, the order within a set does not (RFC 2181 §5).
pub fn same_section(expected: &[Line], got: &[Line]) -> bool {
    let (expected, got) = (sorted_sets(expected), sorted_sets(got));
    expected.len() == got.len() && expected.iter().zip(&got).all(|(expected, got)| expected.matches(got))
}

fn sorted_sets(lines: &[Line]) -> Vec<Line> {
    let mut sorted = Vec::new();
    for set in lines.chunk_by(Line::is_set_of) {
        let mut set = set.to_vec();
        set.sort();
        sorted.extend(set);
    }
    sorted
}

impl From<&Record> for Line {
    fn from(record: &Record) -> Line {
        Line {
            owner: record.owner.to_string(),
            rtype: record.rtype.to_string(),
            ttl_secs: record.ttl.secs(),
            data: rdata::to_text(record.rtype, &record.data),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {} {}", self.owner, self.ttl_secs, self.rtype, self.data)
    }
}

impl Reply {
    /// Reads a reply, and refuses one that another implementation could not read.
    pub fn read(bytes: &[u8]) -> Result<Reply, String> {
        hickory_proto::op::Message::from_vec(bytes)
            .map_err(|error| format!("hickory cannot read the reply: {error}"))?;
        let message = Message::read(bytes).map_err(|error| error.to_string())?;
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let mut reply = Reply {
            id: word(0),
            flags: word(2),
            rcode: message.rcode,
            question: message.raw_question.clone(),
            answer: message.answer.iter().map(Line::from).collect(),
            authority: message.authority.iter().map(Line::from).collect(),
            additional: message.additional.iter().map(Line::from).collect(),
            extended_errors: Vec::new(),
            has_opt: false,
            dnssec_ok: false,
            cookie: None,
            padding: None,
            keepalive_100ms: None,
            size_bytes: bytes.len(),
        };
        let mut at = 12 + reply.question.len();
        for _ in 0..word(6) + word(8) + word(10) {
            at = skip_name(bytes, at);
            let (rtype, class, length) = (word(at), word(at + 2), usize::from(word(at + 8)));
            let data = &bytes[at + 10..at + 10 + length];
            match rtype {
                41 if reply.has_opt => return Err("the reply has two OPT records".to_owned()),
                41 => {
                    reply.has_opt = true;
                    reply.dnssec_ok = bytes[at + 6] & 0x80 != 0;
                    reply.read_options(data);
                }
                _ if class != 1 => return Err(format!("a record of class {class}")),
                _ => {}
            }
            at += 10 + length;
        }
        if at != bytes.len() {
            return Err(format!("{} bytes behind the last record", bytes.len() - at));
        }
        Ok(reply)
    }

    fn read_options(&mut self, mut data: &[u8]) {
        while let [code_high, code, length_high, length, rest @ ..] = data {
            let length = usize::from(u16::from_be_bytes([*length_high, *length]));
            let (value, behind) = rest.split_at(length);
            match u16::from_be_bytes([*code_high, *code]) {
                10 => self.cookie = Some(value.to_vec()),
                11 => self.keepalive_100ms = Some(u16::from_be_bytes([value[0], value[1]])),
                12 => {
                    assert!(behind.is_empty() && value.iter().all(|byte| *byte == 0), "zeros at the end");
                    self.padding = Some(length);
                }
                15 => {
                    let text = String::from_utf8(value[2..].to_vec()).expect("RFC 8914 §2: UTF-8");
                    self.extended_errors.push((u16::from_be_bytes([value[0], value[1]]), text));
                }
                _ => {}
            }
            data = behind;
        }
    }

    /// AA, TC and AD in words.
    pub fn flag_words(&self) -> Vec<&'static str> {
        let words = [(0x0400, "aa"), (0x0200, "tc"), (AD, "ad")];
        words.into_iter().filter(|(bit, _)| self.flags & bit != 0).map(|(_, word)| word).collect()
    }
}

/// As an expectation is written.
impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.rcode)?;
        self.flag_words().iter().try_for_each(|word| write!(out, " {word}"))?;
        self.answer.iter().try_for_each(|line| write!(out, "\n         {line}"))?;
        self.authority.iter().try_for_each(|line| write!(out, "\n         authority {line}"))?;
        self.additional.iter().try_for_each(|line| write!(out, "\n         additional {line}"))?;
        self.extended_errors.iter().try_for_each(|(code, text)| write!(out, "\n         ede {code} {text:?}"))
    }
}

/// The byte behind the name at `at`.
fn skip_name(bytes: &[u8], mut at: usize) -> usize {
    loop {
        match bytes[at] {
            0 => return at + 1,
            length if length & 0xC0 != 0 => return at + 2,
            length => at += 1 + usize::from(length),
        }
    }
}
