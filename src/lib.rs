//! privatelink-dns: a DNS server for Azure Private Link.
//!
//! The floors of the house, from the ground up. A folder imports from lower floors only, and rooms on one floor do not
//! know each other; `tests/suite/house.rs` holds the rule.

// Floor 1: words, and what the machine gives.
pub mod dns;
pub mod machine;
pub mod net;
pub mod telemetry;
pub mod tls;

// Floor 2: nouns, what the server holds.
pub mod cache;
pub mod observe;
pub mod privatelink;
pub mod zone;

// Floor 3: verbs, what the server does.
pub mod answer;
pub mod forward;
pub mod persist;
pub mod sync;

// Floor 4: one request from bytes to bytes, what operators wrote, and one life for every source of records.
pub mod ledger;
pub mod respond;
pub mod sources;

// Floor 5: bytes in, bytes out.
pub mod admin;
pub mod listen;

// Floor 6: the config file becomes the parts' settings.
pub mod config;

// Floor 7: from settings to a server that runs.
pub mod daemon;

// Floor 8: the command line.
pub mod commands;
