//! What is told when no upstream answers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::referral::Referral;
use super::sockets::is_of_here;
use super::{ExchangeError, Rule, Standing, UpstreamAddress};
use crate::cache::UpstreamReply;
use crate::dns::{ExtendedError, Name, NameRef, Rcode};

/// Why one upstream gave no usable reply.
#[derive(Debug)]
pub enum Trouble {
    /// It answered a failure code, perhaps behind aliases that are good.
    Answered(Rcode, Box<UpstreamReply>),
    /// It answered a failure code alone, without the question: a forger needs no more than id and port for it.
    Bare(Rcode),
    /// It answered with the name servers of this domain instead of asking them.
    Refers(Name),
    /// It answered with name servers further down, as a name server should.
    RefersBelow(Box<Referral>),
    /// It answered what cannot be used.
    Unreadable(String),
    Unreachable(ExchangeError),
    /// `queries_per_second_max` is spent.
    OverBudget(u32),
    /// Nothing, since then.
    Silent(Instant),
    /// Our question came back to us.
    Looping,
}

/// Why a question has no answer.
#[derive(Debug, Default)]
pub struct Failure {
    pub troubles: Vec<(UpstreamAddress, Trouble)>,
}

/// What a question comes to that nobody answered.
pub struct Unanswered {
    pub reply: UpstreamReply,
    pub why: ExtendedError,
    /// As `Failure::is_worth_keeping`.
    pub is_worth_keeping: bool,
}

impl Failure {
    /// What is known of a rule's upstreams without asking them.
    pub fn known(rule: &Rule, now: Instant) -> Failure {
        let trouble = |standing| match standing {
            Standing::Looping => Some(Trouble::Looping),
            Standing::Unknown | Standing::Up | Standing::Down => None,
        };
        let troubles = rule.upstreams.iter().filter_map(|upstream| {
            let silent = || upstream.health.silent_since().map(Trouble::Silent);
            Some((upstream.address.clone(), trouble(upstream.standing(now)).or_else(silent)?))
        });
        Failure { troubles: troubles.collect() }
    }

    /// Whether the failure is certainly upstream's, rather than of our own making or perhaps forged, and over in a
    /// moment.
    pub fn is_worth_keeping(&self) -> bool {
        !self.troubles.iter().any(|(_, trouble)| match trouble {
            Trouble::OverBudget(_) | Trouble::Bare(_) => true,
            Trouble::Unreachable(ExchangeError::TooManySockets | ExchangeError::TooManyQueries) => true,
            Trouble::Unreachable(ExchangeError::Network(error)) => is_of_here(error),
            _ => false,
        })
    }

    /// Says it in a sentence, with its code (RFC 8914).
    pub fn explain(&self, now: Instant) -> ExtendedError {
        let since = |trouble: &Trouble| match trouble {
            Trouble::Silent(since) => Some(*since),
            _ => None,
        };
        let silent: Option<Vec<Instant>> = self.troubles.iter().map(|(_, trouble)| since(trouble)).collect();
        if let Some(since) = silent.and_then(|silent| silent.into_iter().max()) {
            let text = match &self.troubles[..] {
                [(upstream, _)] => format!("upstream {upstream} times out since {}", clock(since, now)),
                _ => format!("all upstreams time out since {}", clock(since, now)),
            };
            return ExtendedError::new(ExtendedError::NO_REACHABLE_AUTHORITY, text);
        }
        let unreachable = |(_, trouble): &(_, Trouble)| matches!(trouble, Trouble::Unreachable(_));
        let code = match self.troubles.iter().all(unreachable) {
            true if !self.troubles.is_empty() => ExtendedError::NETWORK_ERROR,
            _ => ExtendedError::NO_REACHABLE_AUTHORITY,
        };
        // A loop is what an operator must repair: it goes first.
        let mut troubles: Vec<&(UpstreamAddress, Trouble)> = self.troubles.iter().collect();
        troubles.sort_by_key(|(_, trouble)| !matches!(trouble, Trouble::Looping));
        let parts: Vec<String> =
            troubles.into_iter().map(|(upstream, trouble)| trouble.explain(upstream, now)).collect();
        let text = if parts.is_empty() { "no upstream to ask".to_owned() } else { parts.join("; ") };
        ExtendedError::new(code, text)
    }

    /// What a question comes to that failed so.
    pub fn conclude(self, now: Instant) -> Unanswered {
        let (why, is_worth_keeping) = (self.explain(now), self.is_worth_keeping());
        Unanswered { reply: self.into_reply(now), why, is_worth_keeping }
    }

    /// The reply to hand on: upstream's own if it says more than that it failed.
    pub fn into_reply(self, now: Instant) -> UpstreamReply {
        let why = self.explain(now);
        let rank = |reply: &UpstreamReply| (!reply.answer.is_empty(), reply.extended_error.is_some());
        let replies = self.troubles.into_iter().filter_map(|(_, trouble)| match trouble {
            Trouble::Answered(_, reply) => Some(*reply),
            _ => None,
        });
        // The first of the best; `max_by_key` would answer the last.
        let best = replies.reduce(|best, next| if rank(&next) > rank(&best) { next } else { best });
        match best {
            // REFUSED and the like are between upstream and us; the client's server failed.
            Some(best) => UpstreamReply {
                rcode: Rcode::SERVFAIL,
                extended_error: best.extended_error.or(Some(why)),
                ..best
            },
            None => UpstreamReply::failure(Rcode::SERVFAIL, why),
        }
    }
}

impl Trouble {
    /// Says it in a part of a sentence.
    pub fn explain(&self, upstream: &UpstreamAddress, now: Instant) -> String {
        match self {
            Trouble::Answered(rcode, _) => format!("upstream {upstream} answered {rcode}"),
            Trouble::Bare(rcode) => format!("upstream {upstream} answered {rcode} without the question"),
            Trouble::Refers(domain) => {
                format!("upstream {upstream} refers to the name servers of {domain} and does not ask them")
            }
            Trouble::RefersBelow(referral) => {
                format!("upstream {upstream} refers to the name servers of {}", referral.domain)
            }
            Trouble::Unreadable(why) => format!("upstream {upstream} answered nonsense: {why}"),
            Trouble::Unreachable(ExchangeError::Network(error)) => {
                format!("upstream {upstream} cannot be reached: {}", error.kind())
            }
            Trouble::Unreachable(error) => format!("upstream {upstream}: {error}"),
            Trouble::OverBudget(bound) => {
                format!("more than {bound} queries a second for upstream {upstream}")
            }
            Trouble::Silent(since) => format!("upstream {upstream} times out since {}", clock(*since, now)),
            Trouble::Looping => {
                format!("forwarding loop: our question came back to us; upstream {upstream} leads back here")
            }
        }
    }
}

/// A failure for a name that no rule takes.
pub fn no_rule(name: NameRef<'_>) -> ExtendedError {
    ExtendedError::new(ExtendedError::NO_REACHABLE_AUTHORITY, format!("no forwarding rule takes {name}"))
}

/// The time of day at `then`, as `12:01 UTC`.
pub fn clock(then: Instant, now: Instant) -> String {
    let ago = now.saturating_duration_since(then);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let minutes = since_epoch.saturating_sub(ago).as_secs() / 60;
    format!("{:02}:{:02} UTC", minutes / 60 % 24, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(troubles: Vec<Trouble>) -> Failure {
        let address = |index: usize| format!("10.0.0.{}", index + 1).parse().unwrap();
        Failure {
            troubles: troubles.into_iter().enumerate().map(|(index, why)| (address(index), why)).collect(),
        }
    }

    fn answered(rcode: Rcode) -> Trouble {
        let mut reply = UpstreamReply::failure(rcode, ExtendedError::new(0, ""));
        reply.extended_error = None;
        Trouble::Answered(rcode, Box::new(reply))
    }

    #[test]
    fn the_reason_is_said_in_words() {
        let now = Instant::now();
        let said = |troubles| {
            let why = failure(troubles).explain(now);
            (why.code, why.text.into_owned())
        };
        let at = clock(now, now);
        assert_eq!(
            said(vec![Trouble::Silent(now), Trouble::Silent(now)]),
            (22, format!("all upstreams time out since {at}"))
        );
        assert_eq!(
            said(vec![Trouble::Silent(now), answered(Rcode::REFUSED)]),
            (22, format!("upstream 10.0.0.1 times out since {at}; upstream 10.0.0.2 answered REFUSED"))
        );
        let refused = ExchangeError::Network(std::io::ErrorKind::ConnectionRefused.into());
        assert_eq!(
            said(vec![Trouble::Unreachable(refused)]),
            (23, "upstream 10.0.0.1 cannot be reached: connection refused".to_owned())
        );
        assert!(
            said(vec![Trouble::Silent(now), Trouble::Looping]).1.starts_with("forwarding loop: our question")
        );
        assert_eq!(said(vec![]), (22, "no upstream to ask".to_owned()));
    }

    /// One of each kind: a new one has no reason before it stands here.
    fn one_of_each(now: Instant) -> Vec<Trouble> {
        let all = vec![
            answered(Rcode::REFUSED),
            Trouble::Bare(Rcode::REFUSED),
            Trouble::Refers("x.".parse().unwrap()),
            Trouble::RefersBelow(Box::new(Referral {
                domain: "a.x.".parse().unwrap(),
                servers: Vec::new(),
                ttl_secs: 60,
            })),
            Trouble::Unreadable("cut short".to_owned()),
            Trouble::Unreachable(ExchangeError::NearMisses),
            Trouble::OverBudget(9),
            Trouble::Silent(now),
            Trouble::Looping,
        ];
        for trouble in &all {
            match trouble {
                Trouble::Answered(..) | Trouble::Bare(_) | Trouble::Refers(_) | Trouble::Unreadable(_) => {}
                Trouble::RefersBelow(_) => {}
                Trouble::Unreachable(_) | Trouble::OverBudget(_) | Trouble::Silent(_) | Trouble::Looping => {}
            }
        }
        all
    }

    #[test]
    fn every_failure_says_why_and_names_the_upstream() {
        let now = Instant::now();
        for trouble in one_of_each(now) {
            let said = format!("{trouble:?}");
            let reply = failure(vec![trouble]).into_reply(now);
            assert_eq!((&reply.end, reply.rcode), (&crate::cache::End::Failed, Rcode::SERVFAIL));
            let why = reply.extended_error.expect("it says why");
            assert!(
                why.text.contains("upstream 10.0.0.1") && why.code != ExtendedError::NOT_READY,
                "{said}: {why:?}"
            );
        }
        assert!(failure(Vec::new()).into_reply(now).extended_error.is_some());
    }

    #[test]
    fn what_is_of_our_own_making_or_may_be_forged_is_not_kept() {
        let keeps = |trouble| failure(vec![Trouble::Silent(Instant::now()), trouble]).is_worth_keeping();
        let network =
            |errno| Trouble::Unreachable(ExchangeError::Network(std::io::Error::from_raw_os_error(errno)));
        assert!(keeps(answered(Rcode::REFUSED)) && keeps(network(libc::ECONNREFUSED)));
        assert!(!keeps(Trouble::Bare(Rcode::REFUSED)) && !keeps(Trouble::OverBudget(1)));
        assert!(!keeps(network(libc::ENETUNREACH)) && !keeps(network(libc::EADDRNOTAVAIL)));
        assert!(!keeps(Trouble::Unreachable(ExchangeError::TooManySockets)));
    }

    #[test]
    fn every_failure_code_becomes_servfail_with_the_code_in_words() {
        let reply = failure(vec![answered(Rcode::REFUSED)]).into_reply(Instant::now());
        assert_eq!(reply.rcode, Rcode::SERVFAIL);
        assert_eq!(reply.extended_error.unwrap().text, "upstream 10.0.0.1 answered REFUSED");
    }
}
