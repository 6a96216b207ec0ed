//! The one integration binary: what the parts do together.

mod inventory;
mod packets;
mod zones;
