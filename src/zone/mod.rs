//! Zones: what is served from memory. Floor 2.
//!
//! A `Snapshot` holds all `Zone`s; each is made by a `ZoneBuilder` and changed by a `ChangeSet` through the `Store`.

mod address_ranges;
mod apply;
mod builder;
mod change;
mod error;
mod export;
mod fit;
mod front;
mod header;
mod history;
mod load;
mod master_file;
mod metrics;
mod name_trie;
mod network;
mod node;
mod numbering;
mod origin;
mod outcome;
mod overlay;
mod reverse;
mod served;
mod slot;
mod snapshot;
mod stale;
mod store;
mod withheld;

pub use address_ranges::AddressRanges;
pub use builder::{ZoneBuilder, azure_soa, is_newer};
pub use change::{Change, ChangeSet, Effect};
pub use error::ZoneError;
pub use export::write_master_file;
pub use front::Owner;
pub use header::{Delegations, OnMissing, ZoneHeader, ZoneKind};
pub use load::{changes_of_file, changes_that_make_room, faults_of_file};
pub use master_file::{MasterFile, MasterFileErrors, MasterFileWarning};
pub use name_trie::NameTrie;
pub use network::{Network, NetworkError, Networks, ViewId};
pub use node::Node;
pub use numbering::{NUMBERS, Numbering, OTHERS, UNNAMED};
pub use origin::{AzureZone, Claim, Origin, VirtualNetworkLink};
pub use outcome::Outcome;
pub use overlay::Overlay;
pub use served::{Way, Zone};
pub use slot::{Contested, Offer, Slot};
pub use snapshot::{Reversed, Snapshot};
pub use stale::{StaleStanding, StaleZones};
pub use store::{Author, Committed, Store, TriedSet, Unwitnessed, Witness};
pub use withheld::Withheld;
