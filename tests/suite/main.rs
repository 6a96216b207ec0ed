//! The one integration binary: what the parts do together.

mod allocations;
mod answers;
mod azure;
mod cli;
mod daemon;
mod dig;
mod discovery;
mod enemy;
mod faults;
mod house;
mod inventory;
mod matrix;
mod packets;
mod pains;
mod passes;
mod private_dns;
mod state;
mod support;
mod sync_once;
mod zones;
