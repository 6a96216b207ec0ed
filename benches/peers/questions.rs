//! Lists of questions in wire form, ready to be sent in runs, with what a right reply says.

use std::net::Ipv4Addr;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::bare::{A, AAAA, NS, SOA};
use crate::upstream::{ALIAS, PLAIN, public_address};
use crate::zones::{Zones, address, label, missing_label};

/// Questions that are sent with one call; UDP_SEGMENT takes 64 on every kernel that has it.
pub const RUN: usize = 64;

/// The same order each time.
const SEED: u64 = 5;

/// Whether questions carry an OPT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edns {
    Without,
    With,
}

/// What a right reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Address(Ipv4Addr),
    /// An address that upstream knows, or that a cache says it does.
    Forwarded(Ipv4Addr),
    /// An alias and the address of its target, and nothing else.
    Alias(Ipv4Addr),
    NoData,
    NoSuchName,
    Soa,
    NameServer,
}

impl Right {
    pub fn rcode(self) -> u8 {
        if self == Right::NoSuchName { 3 } else { 0 }
    }

    /// Records in the answer section.
    pub fn answers(self) -> u16 {
        match self {
            Right::Alias(_) => 2,
            Right::Address(_) | Right::Forwarded(_) | Right::Soa | Right::NameServer => 1,
            Right::NoData | Right::NoSuchName => 0,
        }
    }
}

/// One question.
#[derive(Clone, Debug)]
pub struct Question {
    pub name: String,
    pub rtype: u16,
    pub right: Right,
}

impl Question {
    /// For the address that a record holds.
    pub fn existing(zones: &Zones, number: u32) -> Question {
        let name = format!("{}.{}", label(number), zones.apex_of(number));
        Question { name, rtype: A, right: Right::Address(address(number)) }
    }

    /// For an IPv6 address that a name with an IPv4 address does not have.
    pub fn no_data(zones: &Zones, number: u32) -> Question {
        Question { rtype: AAAA, right: Right::NoData, ..Question::existing(zones, number) }
    }

    pub fn no_such_name(zones: &Zones, number: u32) -> Question {
        let name = format!("{}.{}", missing_label(number), zones.apex_of(number));
        Question { name, rtype: A, right: Right::NoSuchName }
    }

    /// For the SOA or the NS of a zone, in turn.
    pub fn apex(zones: &Zones, number: u32) -> Question {
        let name = zones.apex_of(number / 2).to_owned();
        let (rtype, right) =
            if number.is_multiple_of(2) { (SOA, Right::Soa) } else { (NS, Right::NameServer) };
        Question { name, rtype, right }
    }

    /// For an address that upstream knows.
    pub fn forwarded(number: u32) -> Question {
        let name = format!("{PLAIN}-{number:05}.contoso.com");
        Question { name, rtype: A, right: Right::Forwarded(public_address(number)) }
    }

    /// For a name that upstream says is an alias.
    pub fn forwarded_alias(number: u32) -> Question {
        let name = format!("{ALIAS}-{number:05}.contoso.com");
        Question { name, rtype: A, right: Right::Alias(public_address(number)) }
    }

    /// For a public name that upstream says is an alias of one in a private-link zone.
    pub fn spliced(zones: &Zones, number: u32) -> Question {
        let apex = zones.apex_of(number).trim_start_matches("privatelink.");
        let name = format!("{}.{apex}", label(number));
        Question { name, rtype: A, right: Right::Alias(address(number)) }
    }

    /// The query without an id.
    pub fn wire(&self, edns: Edns) -> Vec<u8> {
        let additional = u8::from(edns == Edns::With);
        // RD is set: so stub resolvers ask, and forwarders need it.
        let mut wire = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, additional];
        for part in self.name.split('.') {
            wire.push(u8::try_from(part.len()).expect("a label is short"));
            wire.extend_from_slice(part.as_bytes());
        }
        wire.push(0);
        wire.extend_from_slice(&self.rtype.to_be_bytes());
        wire.extend_from_slice(&1u16.to_be_bytes());
        if edns == Edns::With {
            // The root, OPT, 1232 bytes, nothing else.
            wire.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
        }
        wire
    }
}

/// Questions in an order that is mixed but for this: those of a run are of one length, as UDP_SEGMENT wants them.
pub struct Questions {
    /// All that is sent, back to back.
    wire: Vec<u8>,
    runs: Vec<Run>,
    /// What each question awaits, in the order of `wire`.
    rights: Vec<Right>,
    /// Some of them, spread over the list, to ask before measuring.
    pub samples: Vec<(Question, Vec<u8>)>,
    next: usize,
    /// The number of the next name, where no name is asked twice.
    fresh: Option<u32>,
}

#[derive(Clone, Copy)]
struct Run {
    /// Of the first question, in bytes and in questions.
    start: usize,
    first: usize,
    count: usize,
    /// Of each question.
    length: usize,
}

/// Questions to send with one call.
pub struct Burst<'q> {
    pub wire: &'q mut [u8],
    pub length: usize,
    pub rights: &'q [Right],
}

impl Questions {
    pub fn new(mut questions: Vec<Question>, edns: Edns) -> Questions {
        let mut random = StdRng::seed_from_u64(SEED);
        questions.shuffle(&mut random);
        let samples = questions.iter().step_by((questions.len() / SAMPLES).max(1));
        let samples = samples.map(|question| (question.clone(), question.wire(edns))).collect();
        // Stable, so the order within a length stays mixed.
        questions.sort_by_key(|question| question.name.len());
        let (mut wire, mut runs, mut rights) = (Vec::new(), Vec::<Run>::new(), Vec::new());
        for question in &questions {
            let bytes = question.wire(edns);
            match runs.last_mut() {
                Some(run) if run.length == bytes.len() && run.count < RUN => run.count += 1,
                _ => runs.push(Run { start: wire.len(), first: rights.len(), count: 1, length: bytes.len() }),
            }
            wire.extend_from_slice(&bytes);
            rights.push(question.right);
        }
        runs.shuffle(&mut random);
        Questions { wire, runs, rights, samples, next: 0, fresh: None }
    }

    /// Names that upstream knows, each of which is asked once.
    pub fn fresh() -> Questions {
        let question = |number: u32| {
            let name = format!("{PLAIN}-{number:0FRESH_DIGITS$}.contoso.com");
            Question { name, rtype: A, right: Right::Forwarded(public_address(number)) }
        };
        // More samples than there are servers would be asked of, each of a number that is not asked again.
        let mut questions = Questions::new((0..RUN as u32).map(question).collect(), Edns::Without);
        questions.fresh = Some(RUN as u32);
        questions
    }

    pub fn count(&self) -> usize {
        self.rights.len()
    }

    /// The next run; after the last one the first.
    pub fn burst(&mut self) -> Burst<'_> {
        let run = self.runs[self.next];
        self.next = (self.next + 1) % self.runs.len();
        if let Some(fresh) = &mut self.fresh {
            // The header, the length of the first label, what tells its sort, and a hyphen.
            let first = 12 + 1 + PLAIN.len() + 1;
            for query in self.wire[run.start..run.start + run.count * run.length].chunks_exact_mut(run.length)
            {
                let mut left = *fresh;
                for digit in query[first..first + FRESH_DIGITS].iter_mut().rev() {
                    *digit = b'0' + (left % 10) as u8;
                    left /= 10;
                }
                *fresh += 1;
            }
        }
        Burst {
            wire: &mut self.wire[run.start..run.start + run.count * run.length],
            length: run.length,
            rights: &self.rights[run.first..run.first + run.count],
        }
    }
}

/// Of the numbers of names that are asked once: enough for hours.
const FRESH_DIGITS: usize = 9;

/// Questions that are asked before measuring, about.
const SAMPLES: usize = 200;
