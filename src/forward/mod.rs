//! Questions to other servers: which to ask, how to know its reply, what to do when none comes. Floor 3.
//!
//! `forwarder` is the door; `inflight` asks each question once, for each `asker` no more than its `shares`; `race` chooses upstreams and waits; `attempt` asks one
//! of them; `sockets` and `tcp` carry bytes behind the `transport` trait, so that tests may answer in-process; a `link` keeps
//! connections to an upstream that is asked over TCP or TLS. `lane` is
//! the short way that a listener's thread takes itself: it hands all that is unusual over to a flight. `descent` asks the
//! servers of a `delegation` of ours instead of a rule's.

mod address;
mod asker;
mod attempt;
mod budget;
mod case;
mod checkup;
mod counters;
mod datagrams;
mod delegation;
mod descent;
mod failure;
mod fault;
mod forwarder;
mod health;
mod holdings;
mod inflight;
mod lane;
mod link;
mod loops;
mod metrics;
mod observed;
mod open_ports;
mod pool;
mod port;
mod query;
mod quest;
mod race;
mod reading;
mod referral;
mod rule;
#[cfg(test)]
mod scripted;
mod settings;
mod shares;
mod sockets;
mod tcp;
mod transport;
mod upstream;

pub use address::{UpstreamAddress, UpstreamAddressError};
pub use asker::Asker;
pub use counters::{Counters, Counts};
pub use delegation::{Cut, Delegation};
pub use forwarder::{Forwarder, Outcome};
pub use health::Standing;
pub use lane::{Awaited, Lane, Returned, Said, looks_own};
pub use link::{Link, LinkState};
pub use open_ports::OpenPorts;
pub use pool::Pool;
pub use query::{Judgement, Query};
pub use quest::{Quest, ServerAddresses};
pub use race::DEADLINE;
pub use referral::NameServer;
pub use rule::Rule;
pub use settings::{RuleSettings, Settings};
pub use sockets::{DESCRIPTORS_MAX, Sockets};
pub use transport::{Exchange, ExchangeError, Protocol, Transport};
pub use upstream::{Upstream, UpstreamHealth};
