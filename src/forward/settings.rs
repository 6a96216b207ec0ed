//! Who is asked what, and how much at once.

use super::UpstreamAddress;
use crate::cache::{Manner, Respondent};
use crate::dns::{Name, QueryFlags};
use crate::tls::Trust;

/// Azure's resolver, reachable from every VNet.
pub(super) const AZURE_DNS: std::net::IpAddr =
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(168, 63, 129, 16));

/// What may be sent to Azure's resolver a second: it drops silently past 1000 from one VM.
pub(super) const AZURE_DNS_QUERIES_PER_SECOND: u32 = 900;

/// The rules of forwarding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub rules: Vec<RuleSettings>,
    /// Most questions asked upstream at one time: with 1.8 s for each at worst, 2000 a second until all is known to be
    /// down, and 20,000 from then on.
    pub questions_in_flight_max: usize,
    /// The authorities that certificates of upstreams are verified against.
    pub trust: Trust,
    /// Most callers that wait for one question (DNSBomb: what piles up comes back in one pulse).
    pub waiters_max: usize,
}

/// What is asked for one domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSettings {
    /// The domain; `.` for all that no longer rule takes.
    pub domain: Name,
    /// In the order of preference.
    pub upstreams: Vec<UpstreamAddress>,
    /// Bound for each upstream; without one 900 for 168.63.129.16, none for others.
    pub queries_per_second_max: Option<u32>,
}

impl Default for Settings {
    fn default() -> Settings {
        let azure = UpstreamAddress::from(std::net::SocketAddr::new(AZURE_DNS, 53));
        let rule =
            RuleSettings { domain: Name::root(), upstreams: vec![azure], queries_per_second_max: None };
        Settings {
            rules: vec![rule],
            questions_in_flight_max: 4096,
            trust: Trust::default(),
            waiters_max: 1024,
        }
    }
}

impl Settings {
    /// Whether what no other rule takes goes to Azure's resolver and to nobody else.
    pub fn asks_azure_alone(&self) -> bool {
        let default = self.rules.iter().find(|rule| rule.domain.borrow().is_root());
        default.is_some_and(|rule| {
            !rule.upstreams.is_empty() && rule.upstreams.iter().all(|upstream| upstream.is_azure())
        })
    }
}

/// What makes two questions the same one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Asked {
    pub question: crate::dns::Question,
    pub flags: QueryFlags,
    /// Whom it goes to.
    pub of: Respondent,
}

impl Asked {
    /// A question that the rules say whom to ask.
    pub fn by_rules(question: crate::dns::Question, flags: QueryFlags) -> Asked {
        Asked { question, flags, of: Respondent::RULES }
    }

    /// What the cache keeps the answer under, besides the question.
    pub fn manner(&self) -> Manner {
        Manner { flags: self.flags, of: self.of }
    }
}
