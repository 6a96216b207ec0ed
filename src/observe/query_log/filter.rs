//! Which queries are logged.

use ipnet::IpNet;
use rand::Rng;

use super::super::{AnswerPath, Kind, Seen};
use crate::dns::header::HEADER_BYTES;
use crate::dns::{Gist, Name, RawQuestion, Rcode};
use std::time::Duration;

/// What a query must be to be logged; what is empty asks for nothing.
#[derive(Clone, PartialEq, Debug)]
pub struct Filter {
    /// Domains that its name lies in one of.
    pub suffixes: Vec<Name>,
    /// Ranges that its client belongs to one of.
    pub clients: Vec<IpNet>,
    /// Codes that its reply has one of.
    pub rcodes: Vec<Rcode>,
    /// Ways that its answer came in one of.
    pub paths: Vec<AnswerPath>,
    /// The least time that its reply took.
    pub slower_than: Duration,
    /// The share of those queries that is logged, by chance.
    pub sample: f64,
}

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            suffixes: Vec::new(),
            clients: Vec::new(),
            rcodes: Vec::new(),
            paths: Vec::new(),
            slower_than: Duration::ZERO,
            sample: 1.0,
        }
    }
}

impl Filter {
    /// Whether a client's query is one to be logged.
    pub(super) fn takes(&self, seen: Seen<'_>, gist: Option<&Gist<'_>>) -> bool {
        let Kind::Client { path, .. } = seen.event.kind else { return false };
        let is_one = |list_is_empty: bool, is_in_it: &dyn Fn() -> bool| list_is_empty || is_in_it();
        is_one(self.paths.is_empty(), &|| self.paths.contains(&path))
            && is_one(self.clients.is_empty(), &|| {
                let client = seen.event.from.map(|from| from.address.to_canonical());
                client.is_some_and(|client| self.clients.iter().any(|range| range.contains(&client)))
            })
            && is_one(self.slower_than.is_zero(), &|| seen.event.took() >= Some(self.slower_than))
            && is_one(self.rcodes.is_empty(), &|| gist.is_some_and(|gist| self.rcodes.contains(&gist.rcode)))
            && is_one(self.suffixes.is_empty(), &|| {
                let asked = RawQuestion::read(seen.query, HEADER_BYTES).map(|asked| asked.name.to_buf());
                asked.is_some_and(|name| {
                    self.suffixes.iter().any(|suffix| name.borrow().is_within(suffix.borrow()))
                })
            })
            && (self.sample >= 1.0 || rand::rng().random_bool(self.sample))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::made::{event, query, reply};
    use super::*;

    fn takes(filter: Filter) -> bool {
        let (event, query) = (event(), query("App.Corp.example."));
        let reply = reply(&query, 3);
        let seen = Seen { event: &event, query: &query, reply: &reply, zone: &[] };
        filter.takes(seen, Gist::read(&reply).as_ref())
    }

    #[test]
    fn a_query_must_be_all_that_the_filter_asks_for() {
        let all = Filter {
            suffixes: vec!["other.".parse().unwrap(), "corp.example.".parse().unwrap()],
            clients: vec!["10.0.0.0/24".parse().unwrap()],
            rcodes: vec![Rcode::SERVFAIL, Rcode::NXDOMAIN],
            paths: vec![AnswerPath::Authoritative],
            slower_than: Duration::from_millis(1),
            sample: 1.0,
        };
        assert!(takes(Filter::default()) && takes(all.clone()));
        for other in [
            Filter { suffixes: vec!["rp.example.".parse().unwrap()], ..all.clone() },
            Filter {
                clients: vec!["10.0.1.0/24".parse().unwrap(), "fd00::/8".parse().unwrap()],
                ..all.clone()
            },
            Filter { rcodes: vec![Rcode::SERVFAIL], ..all.clone() },
            Filter { paths: vec![AnswerPath::Cached, AnswerPath::Error], ..all.clone() },
            Filter { slower_than: Duration::from_millis(2), ..all.clone() },
            Filter { sample: 0.0, ..all },
        ] {
            assert!(!takes(other.clone()), "{other:?}");
        }
    }

    #[test]
    fn a_sample_is_about_its_share() {
        let taken = (0..10_000).filter(|_| takes(Filter { sample: 0.25, ..Filter::default() })).count();
        // Ten standard deviations.
        assert!((2067..2933).contains(&taken), "{taken}");
    }
}
