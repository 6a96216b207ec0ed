//! What several tests stand on.

pub mod client;
pub mod test_daemon;
pub mod upstream;
