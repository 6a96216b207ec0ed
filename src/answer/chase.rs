//! The answer to one question, step by step along its chain: from zones, and from what upstream says.
//!
//! A chase is pure: it is handed upstream's replies and asks for the next. It never waits.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::part::{Authority, Freshness, Names, Part, Relayed};
use super::rules::{PublicNames, Rules};
use crate::cache::{CHAIN_MAX, End};
use crate::dns::{ExtendedError, NameBuf, NameRef, Rcode, RecordType, rdata};
use crate::zone::{Contested, Offer, OnMissing, Outcome, Snapshot, ViewId, Zone};

/// What an alias made from the catalogue may be kept for: as long as Azure's zone groups give their records.
const CATALOGUE_TTL_SECS: u32 = 10;

/// Most reasons in an answer: an endpoint's, an upstream's and that of staleness, with one to spare.
const ERRORS_MAX: usize = 4;

/// Whether a client wants us to ask others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recursion {
    Desired,
    NotDesired,
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The answer is there.
    Done,
    /// Upstream must be asked for `Chase::current`.
    Ask,
}

/// An answer in the making.
pub struct Chase<'s> {
    snapshot: &'s Snapshot,
    rules: &'s Rules,
    view: ViewId,
    rtype: RecordType,
    recursion: Recursion,
    names: Names,
    parts: SmallVec<[Part<'s>; 4]>,
    authority: Authority<'s>,
    rcode: Rcode,
    /// Whether the first name was answered from a zone (RFC 1034 §6.2.1: AA is the first owner's).
    authoritative: bool,
    /// Whether every part came from upstream, uncut and authenticated.
    authenticated: bool,
    /// How often upstream was asked.
    asked: usize,
    errors: SmallVec<[ExtendedError; 1]>,
    trace: Option<Vec<String>>,
}

impl<'s> Chase<'s> {
    /// Begins with a question. Nothing is decided yet.
    pub fn new(
        snapshot: &'s Snapshot,
        rules: &'s Rules,
        view: ViewId,
        question: NameBuf,
        rtype: RecordType,
        recursion: Recursion,
    ) -> Chase<'s> {
        Chase {
            snapshot,
            rules,
            view,
            rtype,
            recursion,
            names: smallvec![question],
            parts: SmallVec::new(),
            authority: Authority::Nothing,
            rcode: Rcode::NOERROR,
            authoritative: false,
            authenticated: true,
            asked: 0,
            errors: SmallVec::new(),
            trace: None,
        }
    }

    /// Notes each step in words, for `explain`.
    pub fn traced(mut self) -> Chase<'s> {
        self.trace = Some(Vec::new());
        self
    }

    /// Goes on as far as it can without upstream.
    pub fn run(&mut self) -> Step {
        loop {
            let at = self.names.len() - 1;
            let name = self.names[at];
            let zone = self.zone_for(name.borrow());
            if let Some(zone) = zone {
                match self.ask_zone(zone, &name, at) {
                    Local::Done => return Step::Done,
                    Local::Follow => continue,
                    Local::Missed => {}
                }
            }
            // What a zone leaves to upstream is special all the same, unless the zone lies within the special one.
            if let Some(special) = self.rules.special_zone_for(name.borrow())
                && zone.is_none_or(|zone| !zone.apex().is_within(special.apex()))
            {
                self.note(|| {
                    format!("{} is a special name of zone {} (RFC 6761, RFC 6303)", name, special.apex())
                });
                match self.ask_zone(special, &name, at) {
                    Local::Done | Local::Missed => return Step::Done,
                    Local::Follow => continue,
                }
            }
            if zone.is_none() {
                self.tell_withheld(name.borrow());
            }
            if self.recursion == Recursion::NotDesired {
                return self.refuse_recursion();
            }
            if self.rules.public_names == PublicNames::Local && self.take_catalogue(&name, at) {
                continue;
            }
            if self.asked >= CHAIN_MAX {
                return self.fail("the chain of aliases is longer than 16");
            }
            return Step::Ask;
        }
    }

    /// Whether nothing is decided yet: a chase that asks upstream now could as well have begun with that.
    pub fn is_untouched(&self) -> bool {
        let is_first = self.asked == 0 && self.names.len() == 1;
        is_first && self.parts.is_empty() && self.errors.is_empty() && !self.authoritative
    }

    /// The name that upstream must be asked for.
    pub fn current(&self) -> NameRef<'_> {
        self.names[self.names.len() - 1].borrow()
    }

    /// Takes what upstream said to `current`, and goes on.
    pub fn feed(&mut self, relayed: Relayed) -> Step {
        self.asked += 1;
        let at = self.names.len() - 1;
        let reply = Arc::clone(&relayed.reply);
        if let Some(error) = &reply.extended_error {
            self.add_error(error.clone());
        }
        let mut owner = at;
        for (index, record) in reply.answer.iter().enumerate() {
            let is_alias = record.rtype == RecordType::CNAME && self.rtype != RecordType::CNAME;
            if !is_alias || record.owner() != self.names[owner].borrow() {
                continue;
            }
            let Some(target) = record.target() else { continue };
            if let Err(why) = self.push(target) {
                return self.fail(why);
            }
            owner += 1;
            self.note(|| format!("upstream: {record}"));
            let end =
                index + 1 + reply.answer[index + 1..].iter().take_while(|next| is_signature(next)).count();
            match self.enters(target.borrow()) {
                Entry::Nowhere => {}
                Entry::Held(zone) => {
                    // Design R4: cut here; the target is answered from memory.
                    self.note(|| format!("{target} lies in zone {} and exists there: cut", zone.apex()));
                    self.parts.push(Part::Upstream { relayed, records: 0..end });
                    self.authenticated = false;
                    return self.run();
                }
                Entry::Missing(zone) => {
                    self.note(|| {
                        format!("{target} is missing in zone {}, which is strict: cut", zone.apex())
                    });
                    self.parts.push(Part::Upstream { relayed, records: 0..end });
                    return self.no_such_name(zone);
                }
            }
        }
        self.note(|| format!("upstream's answer ends with {}", reply.rcode));
        if reply.end == End::Failed {
            return self.upstream_failed(&reply.rcode, at);
        }
        // Design R5: upstream is down, and what it said last may be of before the endpoint.
        if relayed.freshness == Freshness::Stale {
            let rest: Names = self.names.drain(at + 1..).collect();
            let name = self.names[at];
            if self.take_catalogue(&name, at) {
                return self.run();
            }
            self.names.extend(rest);
        }
        self.authenticated &= reply.authenticated;
        self.parts.push(Part::Upstream { records: 0..reply.answer.len(), relayed: relayed.clone() });
        match &reply.end {
            End::Continues(_) => self.run(),
            End::Data => Step::Done,
            End::Negative | End::Failed => {
                self.rcode = reply.rcode;
                self.authority = Authority::Upstream(relayed);
                Step::Done
            }
        }
    }

    /// The zone that answers for a name (design R1).
    fn zone_for(&self, name: NameRef<'_>) -> Option<&'s Zone> {
        let zone = self.snapshot.zone_for(name, self.view)?;
        // RFC 4035 §3.1.4.1: the parent answers for DS, if it is served here too.
        let parent = name.parent().filter(|_| self.rtype == RecordType::DS && zone.apex().borrow() == name);
        parent.and_then(|parent| self.snapshot.zone_for(parent, self.view)).or(Some(zone))
    }

    /// Answers from one zone.
    fn ask_zone(&mut self, zone: &'s Zone, name: &NameBuf, at: usize) -> Local {
        let rtype = self.rtype;
        let outcome = zone.lookup(name.borrow(), rtype, self.view);
        let is_first = at == 0 && self.parts.is_empty();
        self.note(|| format!("zone {} to {name} {}: {}", zone.apex(), rtype, words(&outcome)));
        if self.trace.is_some() {
            let losers = zone.contested(name.borrow(), rtype, self.view, self.snapshot.networks());
            for Contested { offer, why } in losers {
                self.note(|| format!("not served: {}, as {why}", offered(offer)));
            }
        }
        // A miss that upstream answers is not ours, nor is a delegation.
        self.authoritative |=
            is_first && !self.is_missed(zone, &outcome) && !matches!(outcome, Outcome::Referral { .. });
        match outcome {
            Outcome::Hit(offer) => {
                self.authenticated = false;
                self.parts.push(Part::Local { owner: at, offer, zone });
                Local::Done
            }
            Outcome::Alias(offer) => {
                self.authenticated = false;
                self.parts.push(Part::Local { owner: at, offer, zone });
                match offer.set.target().ok_or("an alias has no target").and_then(|target| self.push(target))
                {
                    Ok(()) => Local::Follow,
                    Err(why) => self.fail_local(why),
                }
            }
            Outcome::Dname { owner, offer } => {
                self.authenticated = false;
                let front = name.borrow().strip_suffix(owner.to_buf().borrow()).unwrap_or_default();
                let target = offer.set.target().map(|target| NameBuf::join(front, target.borrow()));
                self.parts.push(Part::Dname { owner, offer, zone });
                match target {
                    // RFC 6672 §2.2.
                    Some(Err(_)) | None => {
                        self.rcode = Rcode::YXDOMAIN;
                        Local::Done
                    }
                    Some(Ok(target)) => {
                        self.parts.push(Part::Alias { owner: at, ttl_secs: offer.set.ttl.secs() });
                        match self.push(target) {
                            Ok(()) => Local::Follow,
                            Err(why) => self.fail_local(why),
                        }
                    }
                }
            }
            Outcome::NoData => {
                self.authenticated = false;
                self.authority = Authority::Soa(zone);
                Local::Done
            }
            Outcome::Referral { cut, offer } => {
                // An explicit rule below the apex knows better where the delegated names are.
                if self.recursion == Recursion::Desired && self.rules.is_forwarded(name.borrow()) {
                    return Local::Missed;
                }
                self.authenticated = false;
                self.authority = Authority::Delegation { cut, servers: offer, zone };
                Local::Done
            }
            Outcome::NoSuchName => {
                self.tell_withheld(name.borrow());
                if zone.header().on_missing == OnMissing::AskPublic {
                    return Local::Missed;
                }
                self.no_such_name(zone);
                Local::Done
            }
        }
    }

    fn is_missed(&self, zone: &Zone, outcome: &Outcome<'_>) -> bool {
        matches!(outcome, Outcome::NoSuchName) && zone.header().on_missing == OnMissing::AskPublic
    }

    /// What a target of upstream's chain means to us.
    fn enters(&mut self, target: NameRef<'_>) -> Entry<'s> {
        let special = || self.rules.special_zone_for(target);
        let Some(zone) = self.snapshot.zone_for(target, self.view).or_else(special) else {
            self.tell_withheld(target);
            return Entry::Nowhere;
        };
        if zone.holds(target, self.view) {
            return Entry::Held(zone);
        }
        self.tell_withheld(target);
        match zone.header().on_missing {
            OnMissing::AskPublic => Entry::Nowhere,
            OnMissing::NxDomain => Entry::Missing(zone),
        }
    }

    /// Design R5: a published endpoint's public name is answered without upstream.
    fn take_catalogue(&mut self, public: &NameBuf, at: usize) -> bool {
        for place in self.rules.catalogue.private_names(public.borrow()) {
            let private = place.record.borrow();
            let holds =
                self.snapshot.zone_for(private, self.view).is_some_and(|zone| zone.holds(private, self.view));
            if !holds {
                self.tell_withheld(private);
            } else if self.push(private.to_buf()).is_ok() {
                self.note(|| format!("{public} is the public name of {}", place.record));
                self.parts.push(Part::Alias { owner: at, ttl_secs: CATALOGUE_TTL_SECS });
                self.authenticated = false;
                return true;
            }
        }
        false
    }

    /// Upstream said nothing of use to the name number `at`.
    fn upstream_failed(&mut self, rcode: &Rcode, at: usize) -> Step {
        self.names.truncate(at + 1);
        let name = self.names[at];
        if self.take_catalogue(&name, at) {
            return self.run();
        }
        self.parts.clear();
        self.authoritative = false;
        self.authenticated = false;
        self.rcode = *rcode;
        Step::Done
    }

    /// Adds the next name of the chain.
    fn push(&mut self, target: NameBuf) -> Result<(), &'static str> {
        if self.names.contains(&target) {
            return Err("the chain of aliases loops");
        }
        if self.names.len() > CHAIN_MAX {
            return Err("the chain of aliases is longer than 16");
        }
        self.names.push(target);
        Ok(())
    }

    fn no_such_name(&mut self, zone: &'s Zone) -> Step {
        self.authenticated = false;
        self.rcode = Rcode::NXDOMAIN;
        self.authority = Authority::Soa(zone);
        Step::Done
    }

    fn fail(&mut self, why: &'static str) -> Step {
        self.note(|| why.to_owned());
        self.parts.clear();
        self.names.truncate(1);
        self.authoritative = false;
        self.authenticated = false;
        self.rcode = Rcode::SERVFAIL;
        self.add_error(ExtendedError::new(ExtendedError::OTHER, why));
        Step::Done
    }

    fn fail_local(&mut self, why: &'static str) -> Local {
        self.fail(why);
        Local::Done
    }

    /// Design R7: without RD only what we hold is answered.
    fn refuse_recursion(&mut self) -> Step {
        self.authenticated = false;
        // RFC 1034 §4.3.2: the aliases so far are an answer.
        if self.parts.is_empty() {
            self.rcode = Rcode::REFUSED;
            let why = "the name is not in a zone served here, and recursion was not asked for";
            self.add_error(ExtendedError::new(ExtendedError::NOT_AUTHORITATIVE, why));
        }
        Step::Done
    }

    /// Design R10: an endpoint that would publish the name, were it approved.
    fn tell_withheld(&mut self, name: NameRef<'_>) {
        if let Some(withheld) = self.snapshot.withheld(name).filter(|_| self.may_know(name)) {
            let text = format!("private endpoint {} is {}", withheld.endpoint_name, withheld.state);
            self.add_error(ExtendedError::new(ExtendedError::OTHER, text));
        }
    }

    /// Whether the client's network sees the zone around a name, be it served or still without a record.
    fn may_know(&self, name: NameRef<'_>) -> bool {
        let Some(zone) = name.ancestors().find_map(|apex| self.snapshot.zone(apex)) else { return true };
        let (seen_by, own) = (&zone.header().networks, self.snapshot.networks().name(self.view));
        seen_by.is_empty() || own.is_some_and(|own| seen_by.contains(own))
    }

    /// Adds a reason to the answer, if there is room; each is told once.
    pub fn add_error(&mut self, error: ExtendedError) {
        if self.errors.len() < ERRORS_MAX && !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Notes a step in words, if the chase is traced.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(text());
        }
    }
}

/// The parts of a finished answer.
impl<'s> Chase<'s> {
    /// The code of the chain's end (RFC 6604).
    pub fn rcode(&self) -> Rcode {
        self.rcode
    }

    /// Whether AA is set.
    pub fn is_authoritative(&self) -> bool {
        self.authoritative
    }

    /// Whether upstream authenticated all of the answer, so that AD may be set.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated && self.asked > 0 && !self.is_stale()
    }

    /// The records in their order.
    pub fn parts(&self) -> &[Part<'s>] {
        &self.parts
    }

    /// The authority section.
    pub fn authority(&self) -> &Authority<'s> {
        &self.authority
    }

    /// Why the answer is what it is.
    pub fn errors(&self) -> &[ExtendedError] {
        &self.errors
    }

    /// The name of this number along the chain.
    pub fn name(&self, number: usize) -> NameRef<'_> {
        self.names[number].borrow()
    }

    /// The view that the answer is for.
    pub fn view(&self) -> ViewId {
        self.view
    }

    /// The steps in words, if they were asked for.
    pub fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    /// Whether a part of the answer is past its lifetime.
    pub fn is_stale(&self) -> bool {
        self.parts.iter().any(
            |part| matches!(part, Part::Upstream { relayed, .. } if relayed.freshness == Freshness::Stale),
        )
    }
}

/// What a zone did for the chain.
enum Local {
    Done,
    Follow,
    /// The zone does not hold the name, and upstream may be asked.
    Missed,
}

/// Where a target of upstream's chain lies.
enum Entry<'s> {
    /// In no zone of ours, or in one that leaves a miss to upstream.
    Nowhere,
    Held(&'s Zone),
    Missing(&'s Zone),
}

fn is_signature(record: &crate::dns::Record) -> bool {
    record.rtype == RecordType::RRSIG
}

fn offered(offer: &Offer) -> String {
    let data = offer.set.records().map(|data| rdata::to_text(offer.set.rtype, data));
    format!("{} {} {}", offer.set.rtype, data.collect::<Vec<_>>().join(", "), offer.origin)
}

fn words(outcome: &Outcome<'_>) -> String {
    match outcome {
        Outcome::Hit(offer) | Outcome::Alias(offer) | Outcome::Dname { offer, .. } => offered(offer),
        Outcome::NoData => "the name exists, the type does not".to_owned(),
        Outcome::NoSuchName => "no such name".to_owned(),
        Outcome::Referral { cut, .. } => format!("delegated at {cut}"),
    }
}
