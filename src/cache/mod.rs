//! What upstreams said, kept for as long as they allow. Floor 2.

mod upstream_reply;

pub use upstream_reply::{CHAIN_MAX, End, NotAReply, UpstreamReply};
