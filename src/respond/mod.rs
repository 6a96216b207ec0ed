//! One request from bytes to bytes. Floor 4.
//!
//! What zones and cache know is answered without waiting (`try_answer`); the rest awaits `forward` (`answer`).

mod client;
mod complete;
mod cookie;
mod explain;
mod finished;
mod quick;
mod responder;

pub use client::{Client, Transport};
pub use explain::Explanation;
pub use responder::{Attempt, Counters, Responder, Serving, View};
