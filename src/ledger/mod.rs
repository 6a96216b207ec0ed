//! What operators wrote: who may write, the way of a write, and how what is written is served. Floor 4.
//!
//! Whatever a write comes by, it passes [`Ledger::write`]: it is checked as a draft, stored, served by the [`Applier`], and
//! only then answered. Nothing here knows HTTP.

mod applier;
mod door;
mod draft;
pub mod edit;
pub mod etag;
mod found;
pub mod idempotency;
mod kept;
pub mod listing;
mod plan;
mod refusal;
mod rights;
mod scope;
mod token;
mod trail;
mod translation;
mod turns;
pub mod view;
mod who;
mod write;
mod written;

pub use applier::{Applier, Following, Neighbours};
pub use door::{Ledger, Receipt, WriteOutcome};
pub use found::FoundZone;
pub use kept::{Kept, SetKey};
pub use plan::Plan;
pub use refusal::{Refusal, RefusalKind};
pub use scope::{NamePattern, PatternError, Scope};
pub use token::{KnownToken, Minted, Presented, TokenBook};
pub use trail::Trail;
pub use turns::{Turns, blocking};
pub use who::{How, Identity, NAME_CHARS_MAX, Role, Who, shown};
pub use write::{Mode, Once, Write};
pub use written::{Bases, Written, WrittenState, role, stored_role};
