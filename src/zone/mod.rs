//! Zones: what is served from memory. Floor 2.

pub mod export;
pub mod master_file;
pub mod origin;

pub use export::write_master_file;
pub use master_file::{MasterFile, MasterFileError};
pub use origin::{Claim, Origin};
