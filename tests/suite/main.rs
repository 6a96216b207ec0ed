//! The one integration binary: what the parts do together.

mod answers;
mod house;
mod inventory;
mod matrix;
mod support;
