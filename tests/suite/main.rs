//! The one integration binary: what the parts do together.

mod allocations;
mod answers;
mod azure;
mod cli;
mod daemon;
mod dig;
mod discovery;
mod house;
mod inventory;
mod matrix;
mod packets;
mod private_dns;
mod state;
mod support;
mod sync_once;
mod zones;
