//! One life for every source of records: restored, listed, published, held back, kept. Floor 4.

mod error;

pub use error::{ConfirmError, NoSuchSource, NudgeError};
