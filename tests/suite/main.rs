//! The one integration binary: what the parts do together.

mod answers;
mod daemon;
mod house;
mod inventory;
mod matrix;
mod packets;
mod support;
mod zones;
