//! What is told when no upstream answers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::{ExchangeError, Rule, Standing, UpstreamAddress};
use crate::cache::UpstreamReply;
use crate::dns::{ExtendedError, NameRef, Rcode};

/// Why one upstream gave no usable reply.
#[derive(Debug)]
pub enum Trouble {
    /// It answered a failure code, perhaps behind aliases that are good.
    Answered(Rcode, Box<UpstreamReply>),
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

impl Failure {
    /// What is known of a rule's upstreams without asking them.
    pub fn known(rule: &Rule, now: Instant) -> Failure {
        let trouble = |standing| match standing {
            Standing::Looping => Some(Trouble::Looping),
            Standing::Up | Standing::Down => None,
        };
        let troubles = rule.upstreams.iter().filter_map(|upstream| {
            let silent = || upstream.health.silent_since().map(Trouble::Silent);
            Some((upstream.address, trouble(upstream.standing(now)).or_else(silent)?))
        });
        Failure { troubles: troubles.collect() }
    }

    /// Whether the failure is upstream's, rather than of our own making and over in a moment.
    pub fn is_worth_keeping(&self) -> bool {
        !self.troubles.iter().any(|(_, trouble)| {
            matches!(trouble, Trouble::OverBudget(_) | Trouble::Unreachable(ExchangeError::TooManySockets))
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
            troubles.into_iter().map(|(upstream, trouble)| trouble.explain(*upstream, now)).collect();
        let text = if parts.is_empty() { "no upstream to ask".to_owned() } else { parts.join("; ") };
        ExtendedError::new(code, text)
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
    fn explain(&self, upstream: UpstreamAddress, now: Instant) -> String {
        match self {
            Trouble::Answered(rcode, _) => format!("upstream {upstream} answered {rcode}"),
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

    #[test]
    fn every_failure_code_becomes_servfail_with_the_code_in_words() {
        let reply = failure(vec![answered(Rcode::REFUSED)]).into_reply(Instant::now());
        assert_eq!(reply.rcode, Rcode::SERVFAIL);
        assert_eq!(reply.extended_error.unwrap().text, "upstream 10.0.0.1 answered REFUSED");
    }
}
