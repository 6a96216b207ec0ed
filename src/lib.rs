//! privatelink-dns: a DNS server for Azure Private Link.
pub mod cache;
pub mod dns;
pub mod listen;
pub mod respond;
pub mod zone;
