//! Finished answers that a thread keeps for itself: what was put together once is copied until it may have changed.
//!
//! Nothing is shared, so nothing is locked. An answer is good while the zones and the rules are those it was made of,
//! nothing was purged from the cache, and upstream's parts have not ended; the cache is asked again before that.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::client::Client;
use super::complete::{Asked, is_shown};
use super::reply::{Reply, ReplyKind};
use crate::answer::{Authority, Chase, Delegation, Freshness, Part, Relayed};
use crate::cache::Life;
use crate::dns::header::HEADER_BYTES;
use crate::dns::request::RawRecord;
use crate::dns::{Flags, NameRef, Rcode, Record, RecordType, ReplyWriter};
use crate::machine::prefetch;
use crate::zone::ViewId;

/// Answers that lie in one set of the table: one cache line of tags is looked through.
const WAYS: usize = 8;

/// Sets of the table. All answers of a thread take 7 MiB when the table is full, and nothing before they are made.
const SETS: usize = 2048;

/// Room for a name and the records of an answer; a longer one is put together each time.
const BYTES_MAX: usize = 320;

/// Most lifetimes in an answer that run down.
const AGEING_MAX: usize = 6;

/// Most entries of the cache that an answer is made of: a chain that comes by two zones of ours.
const LIVES_MAX: usize = 2;

thread_local! {
    static ANSWERS: RefCell<Answers> = RefCell::new(Answers::new());
}

/// What an answer depends on besides its question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Epoch {
    /// Of the rules, the cache and the forwarder that are in use.
    pub rules: u64,
    /// Of the zones.
    pub revision: u64,
    /// How often the cache was purged.
    pub purges: u64,
}

/// What an answer is found by.
#[derive(Clone, Copy)]
pub(super) struct Key<'n> {
    name: NameRef<'n>,
    rtype: RecordType,
    view: ViewId,
    /// The flags of the header that an answer depends on, and above them DO.
    flags: u32,
    /// Of all but the flags.
    hash: u64,
}

/// Where the answers to a question are, whatever its flags; see `Ahead`.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    hash: u64,
    at: Step,
}

/// How far the way to an answer is gone.
#[derive(Clone, Copy)]
enum Step {
    Set,
    Answer(u16),
    End,
}

/// A table of answers, by the hash of what was asked.
struct Answers {
    sets: Box<[Set]>,
    /// Never grows beyond what was reserved for it, whose pages are not there before they are used.
    answers: Vec<Answer>,
    hasher: RandomState,
    /// Moves on with each answer that must make room.
    turn: usize,
}

/// Places of answers.
#[derive(Clone, Copy, Default)]
struct Set {
    /// 32 bits of each answer's hash; zero where there is none.
    tags: [u32; WAYS],
    answers: [u16; WAYS],
}

struct Answer {
    epoch: Epoch,
    rtype: RecordType,
    view: ViewId,
    flags: u32,
    reply_flags: Flags,
    rcode: Rcode,
    kind: ReplyKind,
    /// The number of its zone.
    zone: u16,
    /// Records of each section, without OPT.
    counts: [u16; 3],
    name_bytes: u8,
    ageing_used: u8,
    bytes_used: u16,
    lives: [Option<Arc<Life>>; LIVES_MAX],
    ageing: [Ageing; AGEING_MAX],
    /// The name that was asked for, then the records.
    bytes: [u8; BYTES_MAX],
}

/// A lifetime that runs down.
#[derive(Clone, Copy, Default)]
struct Ageing {
    ttl_secs: u32,
    /// Where it lies in the records.
    at: u16,
    /// Which of the lives it ages with.
    life: u8,
}

impl<'n> Key<'n> {
    /// The key of a question; a spot that is there is that of this question.
    pub(super) fn new(asked: &Asked<'_>, name: NameRef<'n>, view: ViewId, spot: Option<&Spot>) -> Key<'n> {
        let relevant = Flags::RD.0 | Flags::CD.0 | Flags::AD.0;
        let dnssec_ok = u32::from(asked.dnssec_ok());
        Key {
            name,
            rtype: asked.rtype,
            view,
            flags: u32::from(asked.flags.0 & relevant) | dnssec_ok << 16,
            hash: spot.map_or_else(|| hash(name, asked.rtype, view), |spot| spot.hash),
        }
    }
}

impl Spot {
    /// Where answers to a question are, and asks for the memory that is read first.
    pub(super) fn new(name: NameRef<'_>, rtype: RecordType, view: ViewId) -> Spot {
        ANSWERS.with_borrow(|answers| {
            let hash = answers.hash(name, rtype, view);
            prefetch(answers.set(hash));
            Spot { hash, at: Step::Set }
        })
    }

    /// Goes one step and asks for the memory that the next one reads; answers whether there was a step to go.
    pub(super) fn go(&mut self) -> bool {
        ANSWERS.with_borrow(|answers| {
            self.at = match self.at {
                Step::Set => match answers.set(self.hash).tagged(tag(self.hash)).next() {
                    Some(at) => {
                        prefetch(&answers.answers[usize::from(at)]);
                        Step::Answer(at)
                    }
                    None => Step::End,
                },
                Step::Answer(at) => {
                    let lives = answers.answers[usize::from(at)].lives.iter();
                    lives.flatten().for_each(|life| prefetch(&**life));
                    Step::End
                }
                Step::End => return false,
            };
            true
        })
    }
}

fn hash(name: NameRef<'_>, rtype: RecordType, view: ViewId) -> u64 {
    ANSWERS.with_borrow(|answers| answers.hash(name, rtype, view))
}

/// What is compared before a question is.
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}

/// The reply to a question whose answer this thread has kept, and how many of the cache's entries it is made of.
pub(super) fn answer(
    key: &Key<'_>,
    epoch: Epoch,
    asked: &Asked<'_>,
    client: Client,
    now: Instant,
    buffer: &mut [u8],
) -> Option<(Reply, usize)> {
    ANSWERS.with_borrow(|answers| {
        let answer = answers.find(key, epoch)?;
        let mut ages = [0; LIVES_MAX];
        let mut hits = 0;
        for (age, life) in ages.iter_mut().zip(answer.lives.iter().flatten()) {
            *age = life.age_if_usual(now)?;
            hits += 1;
        }
        let edns = asked.reply_edns(client, &[]);
        let mut writer = ReplyWriter::new(buffer, asked.limit(client), asked.question).ok()?;
        writer.reserve(edns.as_ref());
        let records = writer.finished(answer.counts, answer.records()).ok()?;
        for ageing in &answer.ageing[..usize::from(answer.ageing_used)] {
            let left = ageing.ttl_secs.saturating_sub(ages[usize::from(ageing.life)]);
            records[usize::from(ageing.at)..][..4].copy_from_slice(&left.to_be_bytes());
        }
        let length = writer.finish(asked.id, answer.reply_flags, answer.rcode, edns.as_ref());
        Some((Reply::new(length, answer.kind, answer.zone), hits))
    })
}

/// Keeps what a chase came to, if it can be told again; `reply` is the whole message.
pub(super) fn keep(
    key: &Key<'_>,
    epoch: Epoch,
    chase: &Chase<'_>,
    asked: &Asked<'_>,
    now: Instant,
    reply: &[u8],
) {
    if let Some(answer) = Answer::new(key, epoch, chase, asked, now, reply) {
        ANSWERS.with_borrow_mut(|answers| answers.keep(key, answer));
    }
}

impl Answers {
    fn new() -> Answers {
        Answers {
            sets: vec![Set::default(); SETS].into(),
            answers: Vec::with_capacity(SETS * WAYS),
            hasher: RandomState::default(),
            turn: 0,
        }
    }

    /// What a question's answers are found by before they are compared.
    fn hash(&self, name: NameRef<'_>, rtype: RecordType, view: ViewId) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name.as_wire());
        hasher.write_u32(u32::from(rtype.0) << 16 | u32::from(view.0));
        hasher.finish()
    }

    fn set(&self, hash: u64) -> &Set {
        &self.sets[hash as usize % SETS]
    }

    fn find(&self, key: &Key<'_>, epoch: Epoch) -> Option<&Answer> {
        let found = self.set(key.hash).tagged(tag(key.hash));
        let mut found = found.map(|at| &self.answers[usize::from(at)]);
        found.find(|answer| answer.is_for(key) && answer.epoch == epoch)
    }

    fn keep(&mut self, key: &Key<'_>, answer: Answer) {
        let tag = tag(key.hash);
        let Answers { sets, answers, turn, .. } = self;
        let set = &mut sets[key.hash as usize % SETS];
        let same = |way: &usize| set.tags[*way] == tag && answers[usize::from(set.answers[*way])].is_for(key);
        let is_old = |way: &usize| answers[usize::from(set.answers[*way])].epoch != answer.epoch;
        let way = (0..WAYS).find(same);
        let way = way.or_else(|| (0..WAYS).find(|way| set.tags[*way] == 0));
        let way = way.or_else(|| (0..WAYS).find(is_old)).unwrap_or_else(|| {
            *turn += 1;
            *turn % WAYS
        });
        if set.tags[way] == 0 {
            set.answers[way] = answers.len() as u16;
            answers.push(answer);
        } else {
            answers[usize::from(set.answers[way])] = answer;
        }
        set.tags[way] = tag;
    }
}

impl Set {
    /// The answers that have this tag.
    fn tagged(&self, tag: u32) -> impl Iterator<Item = u16> {
        self.tags.iter().zip(self.answers).filter(move |(other, _)| **other == tag).map(|(_, at)| at)
    }
}

impl Answer {
    fn new(
        key: &Key<'_>,
        epoch: Epoch,
        chase: &Chase<'_>,
        asked: &Asked<'_>,
        now: Instant,
        reply: &[u8],
    ) -> Option<Answer> {
        let name = key.name.as_wire();
        let word = |at: usize| u16::from_be_bytes([reply[at], reply[at + 1]]);
        let reply_flags = Flags(word(2) & !0x0F);
        let is_plain =
            chase.errors().is_empty() && !reply_flags.has(Flags::TC) && chase.ends_with_its_parts();
        if !is_plain || matches!(chase.authority(), Authority::Delegation(_)) {
            return None;
        }
        // OPT stands last.
        let counts = [word(6), word(8), word(10) - u16::from(asked.edns.is_some())];
        let mut answer = Answer {
            epoch,
            rtype: key.rtype,
            view: key.view,
            flags: key.flags,
            reply_flags,
            rcode: chase.rcode(),
            kind: ReplyKind::new(chase.rcode(), chase.path()),
            zone: chase.zone_number(),
            counts,
            name_bytes: name.len() as u8,
            ageing_used: 0,
            bytes_used: 0,
            lives: [const { None }; LIVES_MAX],
            ageing: [Ageing::default(); AGEING_MAX],
            bytes: [0; BYTES_MAX],
        };
        if let Some(replaced) = chase.replaced() {
            answer.life(replaced, now)?;
        }
        let start = HEADER_BYTES + asked.question.len();
        let mut sources = sources(chase, asked);
        let mut at = start;
        for _ in 0..counts.iter().sum() {
            let record = RawRecord::read(reply, at)?;
            if let Some((relayed, ttl_secs)) = sources.next()? {
                let life = answer.life(relayed, now)?;
                let ageing = answer.ageing.get_mut(usize::from(answer.ageing_used))?;
                *ageing = Ageing { ttl_secs, at: (record.data_start - 6 - start) as u16, life };
                answer.ageing_used += 1;
            }
            at = record.end;
        }
        let records = &reply[start..at];
        answer.bytes_used = (name.len() + records.len()) as u16;
        answer.bytes.get_mut(..name.len())?.copy_from_slice(name);
        answer.bytes.get_mut(name.len()..name.len() + records.len())?.copy_from_slice(records);
        sources.next().is_none().then_some(answer)
    }

    /// The number of the life that a part of upstream's ages with.
    fn life(&mut self, relayed: &Relayed, now: Instant) -> Option<u8> {
        let life = relayed
            .life
            .as_ref()
            .filter(|life| relayed.freshness == Freshness::Fresh && life.is_usual(now))?;
        for (number, place) in self.lives.iter_mut().enumerate() {
            if Arc::ptr_eq(place.get_or_insert_with(|| life.clone()), life) {
                return Some(number as u8);
            }
        }
        None
    }

    fn is_for(&self, key: &Key<'_>) -> bool {
        let name = &self.bytes[..usize::from(self.name_bytes)];
        name == key.name.as_wire() && (self.rtype, self.view, self.flags) == (key.rtype, key.view, key.flags)
    }

    fn records(&self) -> &[u8] {
        &self.bytes[usize::from(self.name_bytes)..usize::from(self.bytes_used)]
    }
}

/// Where each record of a reply comes from, in the order in which `complete` writes them: upstream's with its lifetime
/// when it came, `None` for those of ours, whose lifetimes stand still.
fn sources<'c>(chase: &'c Chase<'_>, asked: &Asked<'_>) -> impl Iterator<Item = Option<(&'c Relayed, u32)>> {
    let (rtype, dnssec_ok) = (asked.rtype, asked.dnssec_ok());
    let ours = |records: usize| (records, None);
    let theirs = |relayed: &'c Relayed, records: &'c [Record]| (0, Some((relayed, records)));
    let answer = chase.parts().iter().map(move |part| match part {
        Part::Local { offer, .. } | Part::Dname { offer, .. } => ours(offer.set.len()),
        Part::Alias { .. } | Part::Pointer { .. } => ours(1),
        Part::Upstream { relayed, records } => theirs(relayed, &relayed.reply.answer[records.clone()]),
    });
    let authority = match chase.authority() {
        Authority::Nothing => ours(0),
        Authority::Soa(zone) => ours(zone.soa().set.len()),
        Authority::Upstream(relayed) => theirs(relayed, &relayed.reply.authority),
        Authority::Delegation(Delegation { servers, .. }) => ours(servers.set.len()),
    };
    let proofs = if dnssec_ok { chase.proofs() } else { Default::default() };
    let proofs =
        proofs.into_iter().map(move |(relayed, record)| (0, Some((relayed, std::slice::from_ref(record)))));
    answer.chain([authority]).chain(proofs).flat_map(move |(ours, theirs)| {
        let theirs = theirs.into_iter().flat_map(move |(relayed, records)| {
            let shown = records.iter().filter(move |record| is_shown(record.rtype, rtype, dnssec_ok));
            shown.map(move |record| Some((relayed, record.ttl.secs())))
        });
        std::iter::repeat_n(None, ours).chain(theirs)
    })
}
