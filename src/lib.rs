//! privatelink-dns: a DNS server for Azure Private Link.
pub mod cache;
pub mod dns;
pub mod forward;
pub mod zone;
