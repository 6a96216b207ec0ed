//! What the server tells of itself: logs and numbers. Floor 1.

mod age;
mod called;
mod causes;
pub mod counter;
mod exposition;
mod families;
mod filter;
mod histogram;
pub mod logging;
mod nearest;
mod numbers;
mod quoted;
pub mod when;

pub use age::Age;
pub use called::{call_with_config, command};
pub use causes::in_full;
pub use counter::Counter;
pub use exposition::Format;
pub use families::{Audience, Families, Family, FamilyKind, Labels, Series, Value, label};
pub use filter::{Filter, FilterError};
pub use histogram::{Durations, Histogram, add_all, add_alone, subtract_all};
pub use logging::{LogFormat, LoggingError, Settings};
pub use nearest::{did_you_mean, nearest};
pub use numbers::{Measured, Numbers};
pub use quoted::{Quoted, is_hidden};
