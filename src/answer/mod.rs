//! Decides what a question is answered: view, access, zone, splice. Floor 3; pure: no clock, socket, lock, await.

mod access;
mod chase;
mod part;
mod path;
mod rules;
mod special;

pub use access::{Access, AccessSettings};
pub use chase::{Chase, Recursion, Step};
pub use part::{Authority, Delegation, Freshness, Part, Relayed, STALE_TTL_SECS};
pub use rules::{PrivateReverse, PublicNames, Rules, Settings};
