//! Keeping the zones like Azure: ARM's listings become an inventory, and that what should be published. Floor 3.

pub mod arm;
pub mod azure;
pub mod desired;
pub mod directory;
pub mod inventory;
pub mod listing;
mod reconcile;

pub use desired::{Desired, Extent, desired};
pub use inventory::{ConnectionState, Endpoint, EndpointName, Inventory};
pub use reconcile::{
    Conflict, Plan, PublishSettings, address, conflicts, plan, sources_of, subscriptions_of,
};
