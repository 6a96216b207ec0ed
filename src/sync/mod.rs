//! Keeping the zones like Azure: ARM's listings become an inventory, and that what should be published. Floor 3.

pub mod arm;
pub mod azure;
mod contest;
pub mod desired;
mod difference;
pub mod directory;
pub mod drift;
mod extent;
mod guard;
mod held;
mod held_back;
pub mod inventory;
pub mod listing;
pub mod private_dns;
pub mod publication;
mod publish_settings;
mod reconcile;
mod records;
mod refusal;
mod scope;
mod standing;
pub mod state;

pub use contest::Contest;
pub use desired::{Desired, desired};
pub use difference::Difference;
pub use drift::{Drift, DriftKind, ListedEndpoints, ListedExtent, drift};
pub use extent::Extent;
pub use guard::Hold;
pub use held_back::{Fingerprint, HeldBack, HeldPart};
pub use inventory::{ConnectionState, Endpoint, EndpointName, Inventory};
pub use private_dns::{PrivateZone, imported_header};
pub use publish_settings::PublishSettings;
pub use reconcile::{Conflict, Plan, conflicts, plan, subscriptions_of};
pub use refusal::{DERIVED_ZONES_MAX, NotServed, Refusal};
pub use scope::Scope;
pub use state::{LastGood, Saved, StateError, StateFolder};
