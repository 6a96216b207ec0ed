//! Zones: what is served from memory. Floor 2.

pub mod origin;

pub use origin::{Claim, Origin};
