//! What upstreams said, kept for as long as they allow. Floor 2.

mod counters;
mod denial;
mod entry;
mod key;
mod life;
mod listing;
mod metrics;
mod store;
mod upstream_reply;
mod usual_reply;

pub use counters::{Counters, Counts};
pub use key::{Manner, Respondent};
pub use life::Life;
pub use listing::Cursor;
pub use store::{Cache, Hit, Listed, Lookup, Settings};
pub use upstream_reply::{CHAIN_MAX, End, NotAReply, UpstreamReply};
