//! What an upstream said to one question, reduced to what it may speak for.
//!
//! A forwarding rule's upstream speaks for the rule's domain. A record outside it is neither kept nor handed on:
//! where the chain leaves the domain it is cut, and its next name is asked again by its own rule (MaginotDNS).

use std::ops::Range;

use smallvec::SmallVec;

use crate::dns::edns::ExtendedError;
use crate::dns::{Flags, Message, Name, NameBuf, NameRef, Question, Rcode, Record, RecordType, Ttl};
use crate::telemetry::Quoted;

/// Most aliases in one chain: longer ones are loops or attacks (Unbound and Knot stop at about as many).
pub const CHAIN_MAX: usize = 16;

/// An upstream's answer along its CNAME chain.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamReply {
    /// The code of the chain's end (RFC 6604).
    pub rcode: Rcode,
    /// Whether upstream set AD.
    pub authenticated: bool,
    /// Aliases and the last name's records, in the order of the chain, signatures behind what they sign.
    pub answer: Vec<Record>,
    /// The SOA of a negative answer and its proof if that was asked for; of another answer what proves its wildcards.
    pub authority: Vec<Record>,
    pub end: End,
    /// Upstream's own extended error.
    pub extended_error: Option<ExtendedError>,
}

/// How far a reply goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// To the last name's data.
    Data,
    /// To the statement that the last name has none, or does not exist.
    Negative,
    /// To an alias of this name, which upstream said nothing about or may not speak for.
    Continues(Name),
    /// To a DNAME that makes the next name too long (RFC 6672 §2.2).
    TooLong,
    /// To a failure: SERVFAIL, REFUSED and the like.
    Failed,
}

/// Why a message is no reply to the question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAReply {
    #[error("it refers to the name servers of {0}")]
    Referral(Name),
    #[error("the CNAME chain of the reply loops or is longer than {CHAIN_MAX}")]
    Chain,
}

impl UpstreamReply {
    /// Whether it says that the last name of its chain does not exist.
    pub fn denies_name(&self) -> bool {
        self.rcode == Rcode::NXDOMAIN && self.end == End::Negative
    }

    /// Follows the chain through `message` as far as `speaks_for` allows.
    pub fn from_message(
        message: Message,
        question: &Question,
        speaks_for: impl Fn(NameRef<'_>) -> bool,
    ) -> Result<UpstreamReply, NotAReply> {
        let mut chain = Chain { message: &message, kept: Vec::new() };
        let mut current = question.name.clone();
        let mut aliases = 0;
        let end = loop {
            if aliases > 0 && !speaks_for(current.borrow()) {
                break End::Continues(current.clone());
            }
            if question.rtype == RecordType::CNAME {
                // The alias is the answer. One that a DNAME makes may be left to us (RFC 6672 §3.1).
                match chain.follow_dname(&current, &speaks_for) {
                    Ok(Some(_)) => break End::Data,
                    Ok(None) => {}
                    Err(TooLong) => break End::TooLong,
                }
            } else if let Some(target) = match chain.follow(&current, &speaks_for) {
                Ok(target) => target,
                Err(TooLong) => break End::TooLong,
            } {
                aliases += 1;
                let seen = chain.kept.iter().any(|record| record.owner == target);
                if seen || aliases > CHAIN_MAX {
                    return Err(NotAReply::Chain);
                }
                current = target;
                continue;
            }
            if chain.take(&current, question.rtype) {
                break End::Data;
            }
            let has_soa = message.authority.iter().any(|record| record.rtype == RecordType::SOA);
            break match message.rcode {
                Rcode::NXDOMAIN => End::Negative,
                // The alias alone: upstream does not know its target, which is not "no data".
                Rcode::NOERROR if aliases > 0 && !has_soa => End::Continues(current.clone()),
                Rcode::NOERROR => match referral(&message, &current) {
                    Some(domain) => return Err(NotAReply::Referral(domain.clone())),
                    None => End::Negative,
                },
                _ => End::Failed,
            };
        };
        let answer = chain.kept;
        let mut reply = UpstreamReply {
            rcode: match &end {
                End::Data | End::Continues(_) => Rcode::NOERROR,
                End::TooLong => Rcode::YXDOMAIN,
                End::Negative | End::Failed => message.rcode,
            },
            authenticated: message.flags.has(Flags::AD),
            answer,
            authority: Vec::new(),
            end,
            extended_error: message.extended_error.map(|(code, text)| {
                ExtendedError::new(without_invitation(code), format!("upstream: {}", Quoted(&text)))
            }),
        };
        if reply.end == End::Negative {
            let belongs = |record: &Record| match record.rtype {
                // RFC 2308 §5: the SOA of the zone that encloses the end of the chain.
                RecordType::SOA => current.is_within(&record.owner) && speaks_for(record.owner()),
                RecordType::NSEC | RecordType::NSEC3 | RecordType::RRSIG => speaks_for(record.owner()),
                _ => false,
            };
            reply.authority = message.authority.into_iter().filter(belongs).collect();
            // RFC 2308 §5: no longer than its minimum says; as it ages, it tells those who ask us what is left of that.
            for soa in reply.authority.iter_mut().filter(|record| record.rtype == RecordType::SOA) {
                let minimum = soa.data.last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
                soa.ttl = soa.ttl.min(Ttl::from_wire(minimum));
            }
        } else if reply.end != End::Failed {
            let wildcards = wildcard_zones(&reply.answer);
            let proves = |record: &Record| {
                speaks_for(record.owner()) && wildcards.iter().any(|zone| is_proof_of(record, zone))
            };
            reply.authority = message.authority.into_iter().filter(proves).collect();
        }
        reply.level_ttls();
        Ok(reply)
    }

    /// A failure without any record.
    pub fn failure(rcode: Rcode, why: ExtendedError) -> UpstreamReply {
        UpstreamReply {
            rcode,
            authenticated: false,
            answer: Vec::new(),
            authority: Vec::new(),
            end: End::Failed,
            extended_error: Some(why),
        }
    }

    /// Whether the chain comes by `domain` or what lies below it.
    pub fn speaks_of(&self, domain: NameRef<'_>) -> bool {
        let leads_there = |record: &Record| {
            let target = record.target().filter(|_| record.rtype == RecordType::CNAME);
            target.is_some_and(|target| target.borrow().is_within(domain))
        };
        self.answer.iter().any(|record| record.owner().is_within(domain) || leads_there(record))
    }

    /// What proves that these records of the answer stand in for names that are not there (RFC 4035 §3.1.3.3): NSEC and
    /// NSEC3 with their signatures.
    pub fn proofs(&self, records: Range<usize>) -> impl Iterator<Item = &Record> {
        let wildcards = match self.authority.is_empty() {
            true => SmallVec::new(),
            false => wildcard_zones(&self.answer[records]),
        };
        self.authority.iter().filter(move |record| wildcards.iter().any(|zone| is_proof_of(record, zone)))
    }

    /// The SOA of a negative answer.
    pub fn soa(&self) -> Option<&Record> {
        self.authority.iter().find(|record| record.rtype == RecordType::SOA)
    }

    /// Seconds that every part of the reply may be kept (RFC 2308 §5 for its negative part); zero without a promise.
    pub fn lifetime_secs(&self) -> u32 {
        let answer = self.answer.iter().map(|record| record.ttl.secs()).min();
        if self.end != End::Negative {
            // Without its proof an answer is of no use to a validator.
            let proof = self.authority.iter().map(|record| record.ttl.secs());
            return answer.map_or(0, |answer| proof.fold(answer, u32::min));
        }
        let negative = self.soa().map_or(0, |soa| soa.ttl.secs());
        answer.map_or(negative, |answer| answer.min(negative))
    }

    /// RFC 2181 §5.2: the records of a set have one lifetime, the least that was seen.
    pub(super) fn level_ttls(&mut self) {
        for set in self.answer.chunk_by_mut(|one, next| one.owner == next.owner && one.rtype == next.rtype) {
            let least = set.iter().map(|record| record.ttl).min();
            set.iter_mut().for_each(|record| record.ttl = least.unwrap_or(record.ttl));
        }
    }
}

/// The zones whose signatures say that a wildcard made the records they sign (RFC 4035 §5.3.4).
fn wildcard_zones(records: &[Record]) -> SmallVec<[NameBuf; 1]> {
    records.iter().filter(|record| record.is_of_wildcard()).filter_map(Record::signer).collect()
}

/// Whether a record may prove that a name of a zone does not exist.
fn is_proof_of(record: &Record, zone: &NameBuf) -> bool {
    let is_of = |rtype| matches!(rtype, RecordType::NSEC | RecordType::NSEC3);
    is_of(record.type_covered().unwrap_or(record.rtype)) && record.owner().is_within(zone.borrow())
}

/// The code of an upstream's extended error as we tell it.
// Not Ready has clients ask again at once, which is for upstream's own clients: to ours it is not reachable.
fn without_invitation(code: u16) -> u16 {
    if code == ExtendedError::NOT_READY { ExtendedError::NO_REACHABLE_AUTHORITY } else { code }
}

/// The domain whose name servers an empty reply leaves the question to: one above the name, or the name itself.
// RFC 2308 §2.2: name servers without an SOA make it a referral, not "no data"; but for an authoritative server's, which
// knows what it has. Those of other domains say nothing of the name.
fn referral<'m>(message: &'m Message, name: &Name) -> Option<&'m Name> {
    if message.flags.has(Flags::AA) || message.authority.iter().any(|record| record.rtype == RecordType::SOA)
    {
        return None;
    }
    let mut servers = message.authority.iter().filter(|record| record.rtype == RecordType::NS);
    servers.find(|record| name.is_within(&record.owner)).map(|record| &record.owner)
}

/// A DNAME makes a name too long.
struct TooLong;

/// The records kept while a chain is followed.
struct Chain<'m> {
    message: &'m Message,
    kept: Vec<Record>,
}

impl Chain<'_> {
    /// Keeps the alias at `owner`; answers its target.
    fn follow(
        &mut self,
        owner: &Name,
        speaks_for: &impl Fn(NameRef<'_>) -> bool,
    ) -> Result<Option<Name>, TooLong> {
        if let Some(target) = self.follow_dname(owner, speaks_for)? {
            return Ok(Some(target));
        }
        let mut answer = self.message.answer.iter();
        let alias = answer.find(|record| record.rtype == RecordType::CNAME && record.owner == *owner);
        let Some(alias) = alias else { return Ok(None) };
        self.keep(alias);
        Ok(alias.target().map(|target| target.to_name()))
    }

    /// Keeps the DNAME above `owner` and the alias that it makes; answers the alias's target.
    fn follow_dname(
        &mut self,
        owner: &Name,
        speaks_for: &impl Fn(NameRef<'_>) -> bool,
    ) -> Result<Option<Name>, TooLong> {
        let answer = &self.message.answer;
        let is_above = |record: &&Record| {
            record.rtype == RecordType::DNAME && record.owner != *owner && owner.is_within(&record.owner)
        };
        let Some(dname) = answer.iter().find(is_above) else { return Ok(None) };
        // Its owner lies above the question and may lie outside of what upstream speaks for. The alias does not.
        let is_spoken_for = speaks_for(dname.owner());
        if !is_spoken_for && answer.iter().any(|record| record.owner == *owner) {
            return Ok(None);
        }
        let Some(target) = dname.target() else { return Ok(None) };
        if is_spoken_for && !self.kept.contains(dname) {
            self.keep(dname);
        }
        let front = owner.borrow().strip_suffix(dname.owner()).unwrap_or_default();
        let target = NameBuf::join(front, target.borrow()).map_err(|_| TooLong)?.to_name();
        // RFC 6672 §3.1: the CNAME follows from the DNAME, whatever upstream made of it.
        self.kept.push(Record {
            owner: owner.clone(),
            rtype: RecordType::CNAME,
            ttl: dname.ttl,
            data: target.as_wire().into(),
        });
        Ok(Some(target))
    }

    /// Keeps what `owner` has of a type; answers whether there is any.
    fn take(&mut self, owner: &Name, rtype: RecordType) -> bool {
        let asked =
            |record: &&Record| record.owner == *owner && (record.rtype == rtype || rtype == RecordType::ANY);
        let before = self.kept.len();
        self.kept.extend(self.message.answer.iter().filter(asked).cloned());
        let found = self.kept.len() > before;
        if found && rtype != RecordType::ANY {
            self.keep_signatures(owner, rtype);
        }
        found
    }

    fn keep(&mut self, record: &Record) {
        self.kept.push(record.clone());
        self.keep_signatures(&record.owner, record.rtype);
    }

    fn keep_signatures(&mut self, owner: &Name, rtype: RecordType) {
        let signs = |record: &&Record| record.owner == *owner && record.type_covered() == Some(rtype);
        self.kept.extend(self.message.answer.iter().filter(signs).cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::rdata;

    fn record(text: &str) -> Record {
        let mut words = text.splitn(4, ' ');
        let mut next = || words.next().unwrap();
        let owner = next().parse().unwrap();
        let ttl = Ttl::from_secs(next().parse().unwrap()).unwrap();
        let rtype: RecordType = next().parse().unwrap();
        let data = rdata::from_text(rtype, next(), NameRef::ROOT).unwrap().into();
        Record { owner, rtype, ttl, data }
    }

    fn reply(
        rcode: Rcode,
        question: &str,
        answer: &[&str],
        authority: &[&str],
    ) -> Result<UpstreamReply, NotAReply> {
        let (name, rtype) = question.split_once(' ').unwrap();
        let question = Question { name: name.parse().unwrap(), rtype: rtype.parse().unwrap() };
        let message = Message {
            id: 0,
            flags: Flags::QR,
            rcode,
            question: Some(question.clone()),
            raw_question: Vec::new(),
            answer: answer.iter().map(|text| record(text)).collect(),
            authority: authority.iter().map(|text| record(text)).collect(),
            additional: Vec::new(),
            extended_error: None,
            has_edns: false,
            cookie: None,
        };
        let secret: Name = "secret.".parse().unwrap();
        let top: Name = "top.".parse().unwrap();
        UpstreamReply::from_message(message, &question, |name| {
            !name.is_within(secret.borrow()) && name != top.borrow()
        })
    }

    #[test]
    fn a_name_is_denied_where_the_chain_ends_and_not_on_the_way_to_others() {
        let soa = "x. 60 SOA ns.x. mail.x. 1 2 3 4 60";
        let denies = |rcode, answer: &[&str], authority: &[&str]| {
            reply(rcode, "a.x. A", answer, authority).unwrap().denies_name()
        };
        assert!(denies(Rcode::NXDOMAIN, &[], &[soa]));
        assert!(denies(Rcode::NXDOMAIN, &["a.x. 60 CNAME b.x."], &[soa]));
        assert!(!denies(Rcode::NOERROR, &[], &[soa]));
        // Only an upstream that may speak for the target can deny it.
        assert!(!denies(Rcode::NXDOMAIN, &["a.x. 60 CNAME a.secret."], &[soa]));
    }

    #[test]
    fn what_upstream_says_of_a_failure_steers_no_terminal() {
        let said = format!("\u{1b}[2Jdown\n{}", "z".repeat(60_000));
        let query = crate::dns::message::query(0, NameRef::ROOT, RecordType::A, Default::default(), false);
        let message = Message { extended_error: Some((23, said)), ..Message::read(&query).unwrap() };
        let question = message.question.clone().unwrap();
        let reply = UpstreamReply::from_message(message, &question, |_| true).unwrap();
        let text = reply.extended_error.unwrap().text;
        assert!(text.starts_with("upstream: \u{fffd}[2Jdown\u{fffd}zz") && text.len() < 600, "{text}");
    }

    #[test]
    fn the_chain_is_followed_in_its_order_and_strangers_are_left_out() {
        let reply = reply(
            Rcode::NOERROR,
            "a.x. A",
            &["c.x. 5 A 10.0.0.1", "b.x. 60 CNAME c.x.", "a.x. 60 CNAME b.x.", "evil.x. 60 A 6.6.6.6"],
            &["x. 60 NS evil.x."],
        )
        .unwrap();
        let owners: Vec<String> = reply.answer.iter().map(|record| record.owner.to_string()).collect();
        assert_eq!(owners, ["a.x.", "b.x.", "c.x."]);
        assert_eq!((reply.end, reply.authority.len()), (End::Data, 0));
    }

    #[test]
    fn a_chain_that_leaves_what_upstream_speaks_for_is_cut() {
        let cut =
            reply(Rcode::NOERROR, "a.x. A", &["a.x. 60 CNAME b.secret.", "b.secret. 60 A 6.6.6.6"], &[])
                .unwrap();
        assert_eq!(cut.end, End::Continues("b.secret.".parse().unwrap()));
        assert_eq!(cut.answer.len(), 1);
        let negative = reply(Rcode::NXDOMAIN, "a.x. A", &[], &["secret. 60 SOA a. b. 1 1 1 1 1"]).unwrap();
        assert!(negative.soa().is_none());
    }

    #[test]
    fn a_dname_above_what_upstream_speaks_for_is_left_out() {
        let answer = ["top. 60 DNAME evil.", "a.x.top. 60 A 10.0.0.1"];
        let kept = reply(Rcode::NOERROR, "a.x.top. A", &answer, &[]).unwrap();
        assert_eq!((kept.end, kept.answer.len()), (End::Data, 1));
    }

    #[test]
    fn an_alias_alone_continues_and_with_an_soa_it_is_no_data() {
        let alone = reply(Rcode::NOERROR, "a.x. A", &["a.x. 60 CNAME b.x."], &[]).unwrap();
        assert_eq!(alone.end, End::Continues("b.x.".parse().unwrap()));
        let soa = &["x. 60 SOA a. b. 1 1 1 1 20"];
        let no_data = reply(Rcode::NOERROR, "a.x. A", &["a.x. 60 CNAME b.x."], soa).unwrap();
        assert_eq!((&no_data.end, no_data.lifetime_secs()), (&End::Negative, 20));
        let gone = reply(Rcode::NXDOMAIN, "a.x. A", &["a.x. 10 CNAME b.x."], soa).unwrap();
        assert_eq!((gone.rcode, gone.lifetime_secs()), (Rcode::NXDOMAIN, 10));
        let failed = reply(Rcode::SERVFAIL, "a.x. A", &["a.x. 10 CNAME b.x."], &[]).unwrap();
        assert_eq!((failed.rcode, failed.end, failed.answer.len()), (Rcode::SERVFAIL, End::Failed, 1));
    }

    #[test]
    fn a_set_has_one_lifetime_the_least_of_its_records() {
        let answer = ["a.x. 60 A 10.0.0.1", "a.x. 60 A 10.0.0.2", "a.x. 30 A 10.0.0.3", "a.x. 40 A 10.0.0.4"];
        let kept = reply(Rcode::NOERROR, "a.x. A", &answer, &[]).unwrap();
        assert!(kept.answer.iter().all(|record| record.ttl.secs() == 30), "{:?}", kept.answer);
    }

    #[test]
    fn name_servers_above_the_name_and_no_soa_are_a_referral() {
        let soa = "x. 60 SOA a. b. 1 1 1 1 20";
        for servers in ["a.x. 60 NS ns.x.", "x. 60 NS ns.x.", ". 60 NS ns.x."] {
            let refers = reply(Rcode::NOERROR, "a.x. A", &[], &[servers]);
            assert!(matches!(refers, Err(NotAReply::Referral(_))), "{servers}");
            // With an SOA, with data, with a code, for an alias: what it is without them.
            let ends = [
                (Rcode::NOERROR, &[][..], &[servers, soa][..], End::Negative),
                (Rcode::NOERROR, &["a.x. 60 A 10.0.0.1"], &[servers], End::Data),
                (Rcode::NXDOMAIN, &[], &[servers], End::Negative),
                (Rcode::SERVFAIL, &[], &[servers], End::Failed),
                (Rcode::NOERROR, &["a.x. 60 CNAME y."], &[servers], End::Continues("y.".parse().unwrap())),
            ];
            for (rcode, answer, authority, end) in ends {
                assert_eq!(reply(rcode, "a.x. A", answer, authority).unwrap().end, end);
            }
        }
        // Those of other names say nothing of this one.
        for servers in ["b.x. 60 NS ns.x.", "y. 60 NS ns.x.", "b.a.x. 60 NS ns.x."] {
            assert_eq!(reply(Rcode::NOERROR, "a.x. A", &[], &[servers]).unwrap().end, End::Negative);
        }
        assert_eq!(reply(Rcode::NOERROR, "a.x. A", &[], &[]).unwrap().end, End::Negative);
    }

    #[test]
    fn an_authoritative_server_knows_that_it_has_no_data() {
        let query = crate::dns::message::query(0, NameRef::ROOT, RecordType::A, Default::default(), false);
        let mut message =
            Message { authority: vec![record(". 60 NS ns.x.")], ..Message::read(&query).unwrap() };
        let question = message.question.clone().unwrap();
        let end =
            |message: Message| UpstreamReply::from_message(message, &question, |_| true).map(|it| it.end);
        assert_eq!(end(message.clone()), Err(NotAReply::Referral(Name::root())));
        message.flags = Flags::QR.with(Flags::AA, true);
        assert_eq!(end(message), Ok(End::Negative));
    }

    #[test]
    fn nobody_is_invited_to_ask_again_at_once() {
        let query = crate::dns::message::query(0, NameRef::ROOT, RecordType::A, Default::default(), false);
        for (said, told) in [(14, 22), (13, 13), (23, 23)] {
            let message =
                Message { extended_error: Some((said, String::new())), ..Message::read(&query).unwrap() };
            let question = message.question.clone().unwrap();
            let reply = UpstreamReply::from_message(message, &question, |_| true).unwrap();
            assert_eq!(reply.extended_error.unwrap().code, told);
        }
    }

    #[test]
    fn a_dname_that_makes_a_name_too_long_is_the_end() {
        let label = "a".repeat(63);
        let long = format!("{label}.{label}.{label}.y.");
        let (dname, question) = (format!("x. 60 DNAME {long}"), format!("{label}.x."));
        for (rtype, rcode) in [("A", Rcode::YXDOMAIN), ("CNAME", Rcode::YXDOMAIN), ("A", Rcode::NOERROR)] {
            let ended = reply(rcode, &format!("{question} {rtype}"), &[&dname], &[]).unwrap();
            assert_eq!(
                (ended.end.clone(), ended.rcode, ended.answer.len()),
                (End::TooLong, Rcode::YXDOMAIN, 1)
            );
            assert_eq!(ended.lifetime_secs(), 60);
        }
    }

    #[test]
    fn loops_are_no_reply() {
        let looping = ["a.x. 60 CNAME b.x.", "b.x. 60 CNAME a.x."];
        assert_eq!(reply(Rcode::NOERROR, "a.x. A", &looping, &[]), Err(NotAReply::Chain));
        let own = ["a.x. 60 CNAME a.x."];
        assert_eq!(reply(Rcode::NOERROR, "a.x. A", &own, &[]), Err(NotAReply::Chain));
        let long: Vec<String> = (0..20).map(|n| format!("n{n}.x. 60 CNAME n{}.x.", n + 1)).collect();
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        assert_eq!(reply(Rcode::NOERROR, "n0.x. A", &long, &[]), Err(NotAReply::Chain));
    }

    #[test]
    fn a_cname_is_an_answer_to_its_own_type_and_a_dname_makes_one() {
        let asked = reply(Rcode::NOERROR, "a.x. CNAME", &["a.x. 60 CNAME b.x."], &[]).unwrap();
        assert_eq!((&asked.end, asked.answer.len()), (&End::Data, 1));
        assert_eq!(asked.lifetime_secs(), 60);
        let made = |question: &str, answer: &[&str]| {
            let reply = reply(Rcode::NOERROR, question, answer, &[]).unwrap();
            assert_eq!(reply.end, End::Data, "{question}");
            reply.answer.iter().map(Record::to_string).collect::<Vec<_>>()
        };
        let dname = ["x. 60 DNAME y.", "a.y. 5 A 10.0.0.1"];
        assert_eq!(made("a.x. A", &dname), ["x. 60 DNAME y.", "a.x. 60 CNAME a.y.", "a.y. 5 A 10.0.0.1"]);
        assert_eq!(made("a.x. CNAME", &dname), ["x. 60 DNAME y.", "a.x. 60 CNAME a.y."]);
        let further = ["x. 60 DNAME y.", "a.x. 60 CNAME a.y.", "a.y. 5 CNAME z."];
        assert_eq!(made("a.x. CNAME", &further), further[..2]);
        let twice = ["x. 60 DNAME y.", "a.y. 5 CNAME b.x.", "b.y. 5 A 10.0.0.1"];
        let once = [
            "x. 60 DNAME y.",
            "a.x. 60 CNAME a.y.",
            "a.y. 5 CNAME b.x.",
            "b.x. 60 CNAME b.y.",
            "b.y. 5 A 10.0.0.1",
        ];
        assert_eq!(made("a.x. A", &twice), once);
        // Not spoken for itself, it makes the alias of a name that is.
        assert_eq!(made("a.top. CNAME", &["top. 60 DNAME y."]), ["a.top. 60 CNAME a.y."]);
        assert_eq!(made("x. DNAME", &["x. 60 DNAME y."]), ["x. 60 DNAME y."]);
    }
}
