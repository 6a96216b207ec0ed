//! privatelink-dns: a DNS server for Azure Private Link.
pub mod dns;
pub mod privatelink;
pub mod sync;
pub mod zone;
