//! The one integration binary: what the parts do together.

mod answers;
mod inventory;
mod support;
