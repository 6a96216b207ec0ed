//! What is seen of the queries that are answered. Floor 2.
//!
//! Threads that answer leave events in the `tap`, which costs them two copies; one reader hands them to `dnstap`, the
//! `query_log` and who looks for what is `busiest`. While nobody wants any, none are made.

mod busiest;
mod counters;
pub mod dnstap;
mod event;
#[cfg(test)]
mod made;
mod metrics;
mod moment;
mod observers;
mod outlet;
mod path;
pub mod query_log;
mod sketch;
mod tap;

pub use busiest::Busiest;
pub use counters::{Counters, FrameCounters, LineCounters};
pub use event::{End, Event, Kind, Transport};
pub use observers::{Observers, Settings, Zones};
pub use path::AnswerPath;
pub use tap::{Seen, Tap};
