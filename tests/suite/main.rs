//! The one integration binary: what the parts do together.

mod cli;
mod inventory;
mod packets;
mod zones;
