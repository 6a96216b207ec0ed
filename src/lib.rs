//! privatelink-dns: a DNS server for Azure Private Link.
//!
//! The floors of the house, from the ground up. A folder imports from lower floors only, and rooms on one floor do not
//! know each other; `tests/suite/house.rs` holds the rule.

// Floor 1: words.
pub mod dns;
pub mod privatelink;
pub mod sync;
pub mod zone;

// Floor 3: verbs, what the server does.
pub mod answer;
