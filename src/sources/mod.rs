//! One life for every source of records: restored, listed, published, held back, kept. Floor 4.

mod all;
mod azure;
mod azure_sources;
mod error;
mod hand;
mod instances;
mod known;
mod role;
mod settings;
mod share;
mod shared;
mod source;
mod spare;
mod told;

pub use all::{Sources, StateAccess};
pub use azure::{AzureSource, PassTimes};
pub use azure_sources::AzureSources;
pub use error::{ConfirmError, NoSuchSource, NudgeError};
pub use hand::SourceAt;
pub use known::Known;
pub use role::Role;
pub use settings::Settings;
pub use shared::Shared;
pub use source::{Proposal, Published, Reading, Source, SourceState};

pub(crate) use azure::WANTED_PAUSE;
pub(crate) use instances::{Instances, Tasks, Want};
pub(crate) use role::Roles;
pub(crate) use shared::Now;
pub(crate) use source::forget_confirmation;
pub(crate) use spare::give_back;
