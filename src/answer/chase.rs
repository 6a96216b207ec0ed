//! The answer to one question, step by step along its chain: from zones, and from what upstream says.
//!
//! A chase is pure: it is handed upstream's replies and asks for the next. It never waits.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::part::{Authority, Delegation, Freshness, Names, Part, Relayed};
use super::rules::{PublicNames, Rules};
use crate::cache::{CHAIN_MAX, End, UpstreamReply};
use crate::dns::{ExtendedError, NameBuf, NameRef, Question, Rcode, Record, RecordType, rdata};
use crate::zone::{
    Contested, Delegations, Offer, OnMissing, Outcome, Owner, Reversed, Snapshot, StaleStanding, ViewId,
    Zone, ZoneKind,
};

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
    /// `Chase::current` must be asked for: of the servers of `Chase::delegation`, else of upstream.
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
    /// Whose servers are asked for the current name, if not upstream.
    delegation: Option<Delegation<'s>>,
    /// How often upstream was asked.
    asked: usize,
    /// Whether something that upstream said decided the answer and is no part of it.
    hides_upstream: bool,
    /// What upstream said in vain: a special zone answers in its place, for as long as that would be kept.
    replaced: Option<Relayed>,
    errors: SmallVec<[ExtendedError; 1]>,
    /// Who answered last, of those that were asked.
    upstream: Option<SocketAddr>,
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
            delegation: None,
            asked: 0,
            hides_upstream: false,
            replaced: None,
            errors: SmallVec::new(),
            upstream: None,
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
            self.delegation = None;
            let at = self.names.len() - 1;
            let name = self.names[at];
            let zone = self.zone_for(name.borrow());
            if self.rtype == RecordType::DS && zone.is_some_and(|zone| self.is_of_parent(zone, name.borrow()))
            {
                self.note(|| format!("{name} is an apex: its DS belongs to the parent (RFC 4035 §3.1.4.1)"));
                return self.ask_upstream();
            }
            if let Some(zone) = zone {
                match self.ask_zone(zone, &name, at) {
                    Local::Done => return Step::Done,
                    Local::Follow => continue,
                    Local::Delegated => return self.ask_upstream(),
                    Local::Missed => {}
                }
            }
            if self.ask_addresses(&name, at) {
                return Step::Done;
            }
            // What a zone leaves to upstream is special all the same, unless the zone lies within the special one.
            if let Some(special) = self.rules.special_zone_for(name.borrow())
                && zone.is_none_or(|zone| !zone.apex().is_within(special.apex()))
            {
                self.note(|| {
                    format!("{} is a special name of zone {} (RFC 6761, RFC 6303)", name, special.apex())
                });
                if self.recursion == Recursion::NotDesired || !self.rules.is_asked(special, name.borrow()) {
                    match self.ask_special(special, &name, at) {
                        // A special zone delegates nothing.
                        Local::Done | Local::Missed | Local::Delegated => return Step::Done,
                        Local::Follow => continue,
                    }
                }
                self.note(|| "upstream may know the address, and is asked first".to_owned());
            }
            if zone.is_none() {
                self.tell_withheld(name.borrow());
            }
            if self.recursion == Recursion::NotDesired {
                return self.refuse_recursion();
            }
            if self.rules.public_names == PublicNames::Local && self.take_catalogue(&name, at) {
                match self.rtype == RecordType::CNAME {
                    true => return Step::Done,
                    false => continue,
                }
            }
            return self.ask_upstream();
        }
    }

    fn ask_upstream(&mut self) -> Step {
        match self.asked >= CHAIN_MAX {
            true => self.fail("the chain of aliases is longer than 16"),
            false => Step::Ask,
        }
    }

    /// Whether nothing is decided yet: a chase that asks upstream now could as well have begun with that.
    pub fn is_untouched(&self) -> bool {
        let is_first = self.asked == 0 && self.names.len() == 1;
        is_first
            && self.parts.is_empty()
            && self.errors.is_empty()
            && !self.authoritative
            && self.delegation.is_none()
    }

    /// Whether there is an answer to the name that upstream must be asked for, should upstream fail.
    pub fn has_own_answer(&self) -> bool {
        self.asked_special_zone().is_some()
    }

    /// The delegation whose servers must be asked for `current`; none if upstream must.
    pub fn delegation(&self) -> Option<&Delegation<'s>> {
        self.delegation.as_ref()
    }

    /// The name that must be asked for.
    pub fn current(&self) -> NameRef<'_> {
        self.names[self.names.len() - 1].borrow()
    }

    /// The question for that name.
    pub fn question(&self) -> Question {
        Question { name: self.current().to_name(), rtype: self.rtype }
    }

    /// Takes what was said to `current`, and goes on.
    pub fn feed(&mut self, relayed: Relayed) -> Step {
        self.asked += 1;
        let at = self.names.len() - 1;
        let reply = Arc::clone(&relayed.reply);
        if let Some(error) = &reply.extended_error {
            self.add_error(error.clone());
        }
        if self.rtype == RecordType::DS && !is_of_delegation(&reply) {
            // An apex of ours exists, whatever upstream knows of it.
            let name = self.names[at];
            let zone = self.zone_for(name.borrow()).filter(|zone| self.is_of_parent(zone, name.borrow()));
            if let Some(zone) = zone {
                self.note(|| format!("upstream's {} says nothing of a delegation of {name}", reply.rcode));
                self.hides_upstream = true;
                self.ask_zone(zone, &name, at);
                return Step::Done;
            }
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
            let end = end_of_set(&reply.answer, index);
            match self.enters(target.borrow()) {
                Entry::Nowhere => {}
                Entry::Held(zone) => {
                    // Design R4: cut here; the target is answered from memory.
                    self.note(|| format!("{target} lies in zone {} and exists there: cut", zone.apex()));
                    self.take_upstream(relayed, 0..end);
                    self.authenticated = false;
                    return self.run();
                }
                Entry::Missing(zone) => {
                    self.note(|| {
                        format!("{target} is missing in zone {}, which is strict: cut", zone.apex())
                    });
                    self.take_upstream(relayed, 0..end);
                    return self.no_such_name(zone);
                }
            }
        }
        self.note(|| format!("upstream's answer ends with {}", reply.rcode));
        if reply.end == End::Failed {
            return self.upstream_failed(relayed, at);
        }
        if reply.rcode == Rcode::NXDOMAIN
            && let Some(special) = self.asked_special_zone()
        {
            if !reply.answer.is_empty() {
                self.take_upstream(relayed.clone(), 0..reply.answer.len());
            }
            return self.answer_in_place(relayed, special);
        }
        // Design R5: upstream is down, and what it said last may be of before the endpoint.
        if relayed.freshness == Freshness::Stale
            && let Some(step) = self.take_published(&relayed, at)
        {
            return step;
        }
        // Nobody has validated what a domain's own servers say.
        self.authenticated &= reply.authenticated && self.delegation.is_none();
        self.take_upstream(relayed.clone(), 0..reply.answer.len());
        match &reply.end {
            End::Continues(_) => self.run(),
            End::Data => Step::Done,
            End::TooLong => {
                self.rcode = Rcode::YXDOMAIN;
                Step::Done
            }
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

    /// Whether upstream is asked for the DS of `name`: the apex of a zone here, whose parent is elsewhere.
    // RFC 4035 §3.1.4.1. What lies below a special name has no parent that upstream could know.
    fn is_of_parent(&self, zone: &Zone, name: NameRef<'_>) -> bool {
        self.recursion == Recursion::Desired
            && zone.apex().borrow() == name
            && !name.is_root()
            && self.rules.special_zone_for(name).is_none()
    }

    /// Whether a zone of this name is served to the view.
    fn is_apex(&self, name: NameRef<'_>) -> bool {
        self.snapshot.zone_for(name, self.view).is_some_and(|zone| zone.apex().borrow() == name)
    }

    /// The name whose servers answer for `name`.
    // RFC 4035 §3.1.4.1: DS is the parent's.
    fn asked_at<'n>(&self, name: NameRef<'n>) -> Option<NameRef<'n>> {
        if self.rtype == RecordType::DS { name.parent() } else { Some(name) }
    }

    /// Answers from one zone.
    fn ask_zone(&mut self, zone: &'s Zone, name: &NameBuf, at: usize) -> Local {
        let rtype = self.rtype;
        let outcome = zone.lookup(name.borrow(), rtype, self.view);
        if let Some((standing, why)) = self.standing(zone)
            && self.is_stale_miss(zone, standing, why, &outcome)
        {
            return Local::Done;
        }
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
                if !self.has_dname(owner.to_buf().borrow()) {
                    self.parts.push(Part::Dname { owner, offer, zone });
                }
                match target {
                    // RFC 6672 §2.2.
                    Some(Err(_)) | None => {
                        self.rcode = Rcode::YXDOMAIN;
                        Local::Done
                    }
                    // However far it is followed, one that leads below itself makes a name too long in the end.
                    Some(Ok(_)) if self.names.len() > CHAIN_MAX && leads_below_itself(owner, offer) => {
                        self.rcode = Rcode::YXDOMAIN;
                        Local::Done
                    }
                    Some(Ok(target)) => {
                        self.parts.push(Part::Alias { owner: at, ttl_secs: offer.set.ttl.secs() });
                        // RFC 6672 §3.2 would go on; BIND, NSD and Knot do not. RFC 8482 §4.1 for ANY.
                        if matches!(self.rtype, RecordType::CNAME | RecordType::ANY) {
                            self.names.push(target);
                            return Local::Done;
                        }
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
                let has_rule =
                    || self.asked_at(name.borrow()).is_some_and(|name| self.rules.is_forwarded(name));
                if self.recursion == Recursion::Desired && has_rule() {
                    return Local::Missed;
                }
                self.authenticated = false;
                let delegation = Delegation { cut, servers: offer, zone };
                if self.recursion == Recursion::Desired && zone.header().delegations == Delegations::Follow {
                    self.delegation = Some(delegation);
                    return Local::Delegated;
                }
                self.authority = Authority::Delegation(delegation);
                Local::Done
            }
            // RFC 4035 §3.1.4.1: the parent answers for it, and has no delegation; the name is an apex here all the same.
            Outcome::NoSuchName if rtype == RecordType::DS && self.is_apex(name.borrow()) => {
                self.authenticated = false;
                self.authority = Authority::Soa(zone);
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

    /// How far a zone can be trusted while the store of what operators write is away, and why that is so.
    fn standing(&self, zone: &Zone) -> Option<(StaleStanding, &'s str)> {
        let stale = self.snapshot.stale()?;
        stale.zones.get(zone.apex()).map(|standing| (*standing, &*stale.why))
    }

    /// Tells that an answer is stale. What such a zone does not hold may be there by now: it is no upstream's to know, and
    /// fails; answers whether it does.
    fn is_stale_miss(
        &mut self,
        zone: &Zone,
        standing: StaleStanding,
        why: &str,
        outcome: &Outcome<'_>,
    ) -> bool {
        let why = why.to_owned();
        let is_asked = self.is_missed(zone, outcome) && zone.header().kind == ZoneKind::Plain;
        if standing == StaleStanding::Unknown || is_asked {
            // Not 14: systemd-resolved takes it for an invitation to leave.
            self.fail_with(ExtendedError::new(ExtendedError::NO_REACHABLE_AUTHORITY, why));
            return true;
        }
        match outcome {
            // A private-link zone's names of others are upstream's.
            Outcome::NoSuchName if zone.header().on_missing == OnMissing::AskPublic => {}
            _ => self.add_error(ExtendedError::stale(matches!(outcome, Outcome::NoSuchName), why)),
        }
        false
    }

    fn is_missed(&self, zone: &Zone, outcome: &Outcome<'_>) -> bool {
        matches!(outcome, Outcome::NoSuchName) && zone.header().on_missing == OnMissing::AskPublic
    }

    /// What a target of upstream's chain means to us.
    fn enters(&mut self, target: NameRef<'_>) -> Entry<'s> {
        let special = self.rules.special_zone_for(target);
        if let (Some(special), Some(Reversed::Pointer { .. })) =
            (special, self.snapshot.reversed(target, self.view))
        {
            return Entry::Held(special);
        }
        let special = || special.filter(|special| !self.rules.is_asked(special, target));
        let Some(zone) = self.snapshot.zone_for(target, self.view).or_else(special) else {
            self.tell_withheld(target);
            return Entry::Nowhere;
        };
        // Of a stale zone it is the zone's to say what comes of it.
        let is_stale = zone.header().kind == ZoneKind::Plain && self.standing(zone).is_some();
        if is_stale || zone.holds(target, self.view) {
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
    fn upstream_failed(&mut self, relayed: Relayed, at: usize) -> Step {
        if let Some(step) = self.take_published(&relayed, at) {
            return step;
        }
        self.names.truncate(at + 1);
        if let Some(special) = self.asked_special_zone() {
            return self.answer_in_place(relayed, special);
        }
        self.parts.clear();
        self.authoritative = false;
        self.authenticated = false;
        self.rcode = relayed.reply.rcode;
        Step::Done
    }

    /// Goes on from the first name of a published endpoint that upstream's chain comes by, from the name number `at` on.
    fn take_published(&mut self, relayed: &Relayed, at: usize) -> Option<Step> {
        let rest: Names = self.names.drain(at + 1..).collect();
        let (answer, mut end) = (&relayed.reply.answer, 0);
        for number in at..=at + rest.len() {
            let name = self.names[number];
            let before = self.parts.len();
            if self.take_catalogue(&name, number) {
                self.hides_upstream = true;
                if end > 0 {
                    let alias: SmallVec<[Part<'s>; 1]> = self.parts.drain(before..).collect();
                    self.take_upstream(relayed.clone(), 0..end);
                    self.parts.extend(alias);
                }
                return Some(if self.rtype == RecordType::CNAME { Step::Done } else { self.run() });
            }
            let Some(next) = rest.get(number - at) else { break };
            let is_alias =
                |record: &Record| record.rtype == RecordType::CNAME && record.owner() == name.borrow();
            end = answer.iter().position(is_alias).map_or(end, |index| end_of_set(answer, index));
            self.names.push(*next);
        }
        None
    }

    /// Takes records of upstream's into the answer. A DNAME that several steps of the chain pass stands there once.
    fn take_upstream(&mut self, relayed: Relayed, records: Range<usize>) {
        let mut start = records.start;
        if !self.parts.is_empty() {
            for index in records.clone() {
                let record = &relayed.reply.answer[index];
                let rtype = record.type_covered().unwrap_or(record.rtype);
                if rtype == RecordType::DNAME && self.has_dname(record.owner()) {
                    self.parts.push(Part::Upstream { relayed: relayed.clone(), records: start..index });
                    start = index + 1;
                }
            }
        }
        self.parts.push(Part::Upstream { relayed, records: start..records.end });
    }

    /// Whether the DNAME at `owner` is in the answer.
    fn has_dname(&self, owner: NameRef<'_>) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Dname { owner: other, .. } => other.to_buf().borrow() == owner,
            Part::Upstream { relayed, records } => {
                let mut records = relayed.reply.answer[records.clone()].iter();
                records.any(|record| record.rtype == RecordType::DNAME && record.owner() == owner)
            }
            Part::Local { .. } | Part::Alias { .. } | Part::Pointer { .. } => false,
        })
    }

    /// The special zone of the chain's last name, if upstream is asked for its names first (design R8).
    fn asked_special_zone(&self) -> Option<&'s Zone> {
        if self.delegation.is_some() {
            return None;
        }
        let special = self.rules.special_zone_for(self.current())?;
        self.rules.is_asked(special, self.current()).then_some(special)
    }

    /// Answers the chain's last name from a special zone, as upstream knows nothing of it.
    fn answer_in_place(&mut self, of: Relayed, special: &'s Zone) -> Step {
        let at = self.names.len() - 1;
        let name = self.names[at];
        self.replaced = Some(of);
        self.ask_special(special, &name, at);
        Step::Done
    }

    /// Answers from a special zone. What lies above the addresses of endpoints exists.
    fn ask_special(&mut self, special: &'s Zone, name: &NameBuf, at: usize) -> Local {
        let is_above = !special.holds(name.borrow(), self.view)
            && self.snapshot.reversed(name.borrow(), self.view) == Some(Reversed::Above);
        if !is_above {
            return self.ask_zone(special, name, at);
        }
        self.note(|| format!("{name} exists: addresses of private endpoints lie below it"));
        self.answer_locally(at);
        self.authority = Authority::Soa(special);
        Local::Done
    }

    /// Answers the reverse name of an endpoint's address (`private_link.reverse`). Its other types are ours to deny only
    /// within a special zone, whose SOA says so; a rule that forwards the range is asked for them.
    fn ask_addresses(&mut self, name: &NameBuf, at: usize) -> bool {
        let Some(Reversed::Pointer { target, ttl, claim }) = self.snapshot.reversed(name.borrow(), self.view)
        else {
            return false;
        };
        let special = self.rules.special_zone_for(name.borrow());
        let is_asked_for = matches!(self.rtype, RecordType::PTR | RecordType::ANY);
        if !is_asked_for && special.is_none() {
            return false;
        }
        self.note(|| format!("{name} is the address of {target}, from private endpoint {}", claim.endpoint));
        self.answer_locally(at);
        match special.filter(|_| !is_asked_for) {
            Some(special) => self.authority = Authority::Soa(special),
            None => self.parts.push(Part::Pointer { owner: at, ttl_secs: ttl.secs(), target }),
        }
        true
    }

    /// Notes that the name number `at` is answered here; before its records.
    fn answer_locally(&mut self, at: usize) {
        self.authoritative |= at == 0 && self.parts.is_empty();
        self.authenticated = false;
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
        self.fail_with(ExtendedError::new(ExtendedError::OTHER, why))
    }

    fn fail_with(&mut self, error: ExtendedError) -> Step {
        self.note(|| error.text.to_string());
        self.parts.clear();
        self.names.truncate(1);
        self.authoritative = false;
        self.authenticated = false;
        self.rcode = Rcode::SERVFAIL;
        self.add_error(error);
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

    /// Notes who answers what is fed next.
    pub fn note_upstream(&mut self, upstream: SocketAddr) {
        self.upstream = Some(upstream);
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

    /// Who answered last, of those that were asked.
    pub fn upstream(&self) -> Option<SocketAddr> {
        self.upstream
    }

    /// Whether upstream was asked, or the cache in its place.
    pub(super) fn has_asked(&self) -> bool {
        self.asked > 0
    }

    /// What upstream said that is not shown, but that the answer rests on.
    pub fn replaced(&self) -> Option<&Relayed> {
        self.replaced.as_ref()
    }

    /// The authority section.
    pub fn authority(&self) -> &Authority<'s> {
        &self.authority
    }

    /// What goes with upstream's parts into the authority section: the proofs of wildcards in them (RFC 4035 §3.1.3.3),
    /// each once. A negative answer of upstream's has its own there.
    pub fn proofs(&self) -> SmallVec<[(&Relayed, &Record); 4]> {
        let mut proofs: SmallVec<[(&Relayed, &Record); 4]> = SmallVec::new();
        for part in &self.parts {
            let Part::Upstream { relayed, records } = part else { continue };
            let at_end = match &self.authority {
                Authority::Upstream(end) => &end.reply.authority[..],
                _ => &[],
            };
            for record in relayed.reply.proofs(records.clone()) {
                let is_same = |other: &Record| {
                    (&other.owner, other.rtype, &other.data) == (&record.owner, record.rtype, &record.data)
                };
                if !at_end.iter().chain(proofs.iter().map(|(_, other)| *other)).any(is_same) {
                    proofs.push((relayed, record));
                }
            }
        }
        proofs
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

    /// Whether the answer is good for as long as its parts are.
    pub fn ends_with_its_parts(&self) -> bool {
        !self.hides_upstream
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
    /// It leaves the name to the servers of `Chase::delegation`, which are asked.
    Delegated,
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

/// Whether a reply to a question for DS tells how a name is delegated.
fn is_of_delegation(reply: &UpstreamReply) -> bool {
    let is_alias = reply.answer.first().is_some_and(|record| record.rtype != RecordType::DS);
    reply.rcode == Rcode::NOERROR && reply.end != End::Failed && !is_alias
}

/// Whether what a DNAME makes of a name lies below the DNAME again.
fn leads_below_itself(owner: Owner<'_>, offer: &Offer) -> bool {
    offer.set.target().is_some_and(|target| target.borrow().is_within(owner.to_buf().borrow()))
}

/// Where the signatures of the record at `index` end.
fn end_of_set(records: &[Record], index: usize) -> usize {
    let signatures = records[index + 1..].iter().take_while(|next| next.rtype == RecordType::RRSIG);
    index + 1 + signatures.count()
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
