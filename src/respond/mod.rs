//! One request from bytes to bytes. Floor 4.
//!
//! What zones and cache know is answered without waiting (`try_answer`); the rest awaits `forward` (`answer`), or goes
//! through a `Relay` in the hands of the listener's thread.

mod admission;
mod ahead;
mod client;
mod complete;
mod cookie;
mod delegated;
mod designation;
mod explain;
mod finished;
mod meter;
mod metrics;
mod observed;
mod query;
mod quick;
mod rate_limit;
mod rated;
mod refusal;
mod relay;
mod reply;
mod responder;
mod tally;

pub use ahead::{Ahead, Aheads};
pub use client::{Client, Standing, Transport};
pub use designation::Designation;
pub use explain::Explanation;
pub use query::Missing;
pub use rate_limit::{RateLimit, RateSettings};
pub use relay::{Answer, Relay, Settled, Settling};
pub use responder::{Attempt, Counters, Counts, Responder, Serving, View};
pub use tally::{Tallies, Totals};
