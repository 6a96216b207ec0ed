//! The way from a zone's cut down to the server that has a name, within the time of one question.
//!
//! Each level is a rule made on the way, whose upstreams are the name servers of a domain and believed of that domain
//! alone.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::asker::Asker;
use super::delegation::Level;
use super::failure::{Failure, Trouble, Unanswered};
use super::forwarder::delegated;
use super::inflight::{Flight, Sender, Waiter};
use super::race::{DEADLINE, Won};
use super::referral::{NameServer, Referral};
use super::rule::Role;
use super::settings::Asked;
use super::{Cut, Delegation, Forwarder, Outcome, Quest, Rule, ServerAddresses, Upstream, UpstreamAddress};
use crate::dns::{ExtendedError, Name, QueryFlags, Question};

/// Steps from a zone of ours down to the server that has the name: each is an own organization, mostly.
const LEVELS_MAX: usize = 8;

/// Addresses of one domain's name servers that are asked.
const ADDRESSES_MAX: usize = 8;

/// Names of servers whose addresses are looked up for one domain (NXNSAttack: a referral names many that lie elsewhere).
const LOOKED_UP_MAX: usize = 3;

/// The port of name servers.
const PORT: u16 = 53;

impl Forwarder {
    /// What is known of a cut.
    pub fn delegation(&self, cut: Cut) -> Arc<Delegation> {
        self.delegations.of(cut)
    }

    /// Asks the servers of a delegation, without a look into the cache; what is learnt goes there. As [`Forwarder::ask`]
    /// does, it always has an outcome.
    pub async fn ask_delegated(
        self: &Arc<Self>,
        delegation: Arc<Delegation>,
        question: Question,
        flags: QueryFlags,
        names: Arc<dyn ServerAddresses>,
        quest: Quest,
        asker: Asker,
    ) -> Outcome {
        self.counters.questions.add(1);
        let asked = Asked { question, flags, of: delegation.respondent() };
        match self.board_below(&asked, asker, delegation, names, quest) {
            Ok(waiter) => self.wait(waiter).await,
            Err(why) => self.fall_back(&asked, why),
        }
    }

    /// Asks the servers of a delegation for the cache's sake.
    pub fn prefetch_delegated(
        self: &Arc<Self>,
        delegation: Arc<Delegation>,
        question: Question,
        flags: QueryFlags,
        names: Arc<dyn ServerAddresses>,
    ) {
        self.counters.prefetches.add(1);
        let asked = Asked { question, flags, of: delegation.respondent() };
        // If it cannot be asked now, it is asked when it is needed.
        let _ = self.board_below(&asked, Asker::Server, delegation, names, Quest::new());
    }

    /// Takes part in the flight of a question for the servers of a delegation; begins it if there is none.
    fn board_below(
        self: &Arc<Self>,
        asked: &Asked,
        asker: Asker,
        delegation: Arc<Delegation>,
        names: Arc<dyn ServerAddresses>,
        quest: Quest,
    ) -> Result<Waiter, ExtendedError> {
        let top = delegation.top();
        let rule = (delegated(self.settings()), &top.domain);
        self.board(asked, rule, asker, |flight, sender| {
            tokio::spawn(self.clone().fly_below(flight, delegation, names, quest, sender));
        })
    }

    async fn fly_below(
        self: Arc<Self>,
        flight: Arc<Flight>,
        delegation: Arc<Delegation>,
        names: Arc<dyn ServerAddresses>,
        quest: Quest,
        sender: Sender,
    ) {
        let settlement = self.inflight.settlement(&flight);
        let asked = &flight.asked;
        let level = delegation.nearest(&asked.question, Instant::now());
        let answered = self.descend(&flight, &delegation, level, &names, &quest).await;
        let answered = answered.map_err(|lost| {
            let mut unanswered = lost.conclude(Instant::now());
            // What another question's quest could not find out says nothing of this one.
            unanswered.is_worth_keeping &= quest.is_first();
            unanswered
        });
        let outcome = self.conclude(asked, answered);
        drop(settlement);
        sender.send(outcome);
    }

    /// Goes from level to level until a server answers.
    async fn descend(
        self: &Arc<Self>,
        flight: &Arc<Flight>,
        delegation: &Delegation,
        mut level: Arc<Level>,
        names: &Arc<dyn ServerAddresses>,
        quest: &Quest,
    ) -> Result<Won, Lost> {
        let mut was_remembered = !delegation.is_top(&level);
        let mut path: Vec<String> = Vec::new();
        for _ in 0..LEVELS_MAX {
            let mut lost = match self.ask_level(flight, &level, names, quest).await {
                Ok(won) => return Ok(won.by_way_of(path)),
                Err(lost) => lost,
            };
            match lost.take_referral() {
                Some((upstream, referral)) => {
                    path.push(format!("{upstream} refers to the name servers of {}", referral.domain));
                    level = delegation.learn(referral, upstream.socket().ip(), &level, Instant::now());
                }
                // It may have moved since.
                None if was_remembered => {
                    delegation.forget(&level);
                    level = delegation.top();
                }
                None => return Err(lost),
            }
            was_remembered = false;
        }
        Err(Lost { is_too_deep: true, ..Lost::of(&level, Failure::default()) })
    }

    /// Asks the servers of one level: those whose addresses came with it, and the others where these do not do.
    async fn ask_level(
        self: &Arc<Self>,
        flight: &Arc<Flight>,
        level: &Level,
        names: &Arc<dyn ServerAddresses>,
        quest: &Quest,
    ) -> Result<Won, Lost> {
        let mut addresses = given(level);
        let mut rule = self.rule_of(level, addresses.clone());
        let now = Instant::now();
        let are_up = rule.upstreams.iter().all(|upstream| upstream.standing(now).is_asked_first());
        let mut without_address = Vec::new();
        if addresses.is_empty() || !are_up {
            let deadline = flight.started + DEADLINE;
            let looked_up = look_up(level, names, quest);
            for (server, found) in timeout_at(deadline, looked_up).await.unwrap_or_default() {
                match found.is_empty() {
                    true => without_address.push(server),
                    false => addresses.extend(found),
                }
            }
            rule = self.rule_of(level, addresses);
        }
        let failure = match rule.upstreams.is_empty() {
            true => Failure::default(),
            false => match self.race(flight, &Arc::new(rule), None).await {
                Ok(won) => return Ok(won),
                Err(failure) => failure,
            },
        };
        if failure.troubles.is_empty() {
            let unknown = level.servers.iter().filter(|server| server.addresses.is_empty());
            without_address = unknown.map(|server| server.name.clone()).collect();
        }
        Err(Lost { without_address, ..Lost::of(level, failure) })
    }

    /// The rule that has these servers of a level asked.
    fn rule_of(&self, level: &Level, addresses: Vec<IpAddr>) -> Rule {
        let mut upstreams: Vec<Arc<Upstream>> = Vec::new();
        for address in addresses.into_iter().filter(|address| level.reach.permits(*address)) {
            let upstream = self.server(UpstreamAddress::from(SocketAddr::new(address, PORT)), &level.domain);
            if upstreams.len() < ADDRESSES_MAX && !upstreams.iter().any(|it| Arc::ptr_eq(it, &upstream)) {
                upstreams.push(upstream);
            }
        }
        let number = delegated(self.settings());
        Rule { number, domain: level.domain.clone(), upstreams, role: Role::NameServers }
    }

    /// The server of an address, which has this domain, with what is known of it.
    fn server(&self, address: UpstreamAddress, domain: &Name) -> Arc<Upstream> {
        let configured = &self.rules.upstreams;
        if let Ok(at) = configured.binary_search_by(|upstream| upstream.address.cmp(&address)) {
            return configured[at].clone();
        }
        self.delegations.server(address, domain, &self.links)
    }
}

/// The addresses that came with a level, IPv4 first: more hosts have it.
fn given(level: &Level) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> =
        level.servers.iter().flat_map(|server| server.addresses.iter().copied()).collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses
}

/// Looks up servers that came without an address, in the order of the level.
async fn look_up(level: &Level, names: &Arc<dyn ServerAddresses>, quest: &Quest) -> Vec<(Name, Vec<IpAddr>)> {
    // Below the cut only the parent's glue could tell.
    let is_elsewhere =
        |server: &&NameServer| server.addresses.is_empty() && !server.name.is_within(&level.domain);
    let mut looks = JoinSet::new();
    let mut found = Vec::new();
    for (number, server) in level.servers.iter().filter(is_elsewhere).take(LOOKED_UP_MAX).enumerate() {
        match quest.go_on(&server.name) {
            Some(quest) => {
                let (names, name) = (names.clone(), server.name.clone());
                looks.spawn(async move { (number, name.clone(), names.addresses(name, quest).await) });
            }
            None => found.push((number, server.name.clone(), Vec::new())),
        }
    }
    found.extend(looks.join_all().await);
    found.sort_by_key(|(number, ..)| *number);
    found.into_iter().map(|(_, name, addresses)| (name, addresses)).collect()
}

/// Why a level gave no answer.
struct Lost {
    domain: Name,
    failure: Failure,
    /// Servers that nobody knows the address of.
    without_address: Vec<Name>,
    is_too_deep: bool,
}

impl Lost {
    fn of(level: &Level, failure: Failure) -> Lost {
        Lost { domain: level.domain.clone(), failure, without_address: Vec::new(), is_too_deep: false }
    }

    /// The server that refers further down, and where.
    fn take_referral(&mut self) -> Option<(UpstreamAddress, Referral)> {
        let is_referral = |(_, trouble): &(_, Trouble)| matches!(trouble, Trouble::RefersBelow(_));
        let at = self.failure.troubles.iter().position(is_referral)?;
        match self.failure.troubles.swap_remove(at) {
            (upstream, Trouble::RefersBelow(referral)) => Some((upstream, *referral)),
            _ => None,
        }
    }

    fn conclude(self, now: Instant) -> Unanswered {
        let Lost { domain, failure, without_address, is_too_deep } = self;
        let mut reasons = Vec::new();
        if is_too_deep {
            reasons.push(format!("they lie more than {LEVELS_MAX} referrals below the zone"));
        }
        if !failure.troubles.is_empty() {
            reasons.push(failure.explain(now).text.into_owned());
        }
        if !without_address.is_empty() {
            let names: Vec<String> = without_address.iter().map(Name::to_string).collect();
            reasons.push(format!("no address is known of {}", names.join(", ")));
        }
        let mut unanswered = failure.conclude(now);
        let own = unanswered.reply.extended_error.take().filter(|error| error.text != unanswered.why.text);
        reasons.extend(own.map(|error| error.text.into_owned()));
        let text = format!("name servers of {domain}: {}", reasons.join("; "));
        unanswered.why = ExtendedError::new(unanswered.why.code, text);
        unanswered.reply.extended_error = Some(unanswered.why.clone());
        unanswered
    }
}

#[cfg(test)]
mod tests;
