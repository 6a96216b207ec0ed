//! The one integration binary: what the parts do together.

mod daemon;
mod inventory;
mod packets;
mod support;
mod zones;
