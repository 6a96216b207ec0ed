//! What operators wrote: who may write, the way of a write, and how what is written is served. Floor 4.
//!
//! Whatever a write comes by, it passes [`Ledger::write`]: it is checked as a draft, stored, served by the [`Applier`], and
//! only then answered. Nothing here knows HTTP.

mod applier;
mod door;
mod draft;
pub mod edit;
pub mod etag;
pub mod idempotency;
mod kept;
pub mod listing;
mod plan;
mod refusal;
mod scope;
mod token;
mod trail;
mod translation;
mod turns;
pub mod view;
mod who;
mod written;

pub use applier::{Applier, Following, Neighbours};
pub use door::{Ledger, Mode, Once, Outcome, Receipt, Who, Write, owner_of_key};
pub use plan::Plan;
pub use refusal::{Refusal, RefusalKind};
pub use scope::{NamePattern, PatternError, Scope};
pub use token::{Minted, Presented, StoredToken, TokenBook};
pub use trail::Trail;
pub use turns::{Turns, blocking};
pub use who::{How, Identity, NAME_CHARS_MAX, Role, shown};
pub use written::{Bases, Kept, SetKey, State, Written, role, stored_role};
