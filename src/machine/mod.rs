//! What the machine gives: its cores and its memory. Floor 1.

mod cores;
mod memory;

pub use cores::{Turns, at_once, in_turn, on_all_cores};
pub use memory::prefetch;
