//! What the server tells of itself: logs and counters. Floor 1.

mod age;
mod causes;
pub mod counter;
pub mod histogram;
pub mod logging;
mod quoted;
pub mod when;

pub use age::Age;
pub use causes::in_full;
pub use counter::Counter;
pub use histogram::{Durations, Histogram, add_alone};
pub use logging::{LogFormat, LoggingError, Settings};
pub use quoted::{Quoted, is_hidden};
