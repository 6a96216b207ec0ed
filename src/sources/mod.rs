//! One life for every source of records: restored, listed, published, held back, kept. Floor 4.

mod all;
mod error;
mod following;
mod ground;
mod hand;
mod instances;
mod known;
mod listing;
mod log;
mod metrics;
mod passes;
mod reading;
mod role;
mod rules;
mod settings;
mod share;
mod shared;
mod source;
mod spare;
mod status;

pub use all::Sources;
pub use error::{ConfirmError, NoSuchSource, NudgeError};
pub use ground::StateAccess;
pub use known::{Known, PassTimes, SourceState};
pub use listing::{Listing, Live};
pub use reading::Reading;
pub use role::Role;
pub use rules::Proposal;
pub use settings::Settings;
pub use shared::Shared;
pub use source::Source;

pub(crate) use instances::{Instances, Tasks};
pub(crate) use passes::WANTED_PAUSE;
pub(crate) use shared::Now;
pub(crate) use spare::give_back;
