//! Several certificates, one of which a client is shown.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pair::Pair;

/// A default certificate, and others for names of their own.
#[derive(Debug)]
pub struct Identities {
    /// The default first; never empty.
    pairs: Vec<Pair>,
}

impl Identities {
    /// The first is the default one.
    pub fn new(default: Pair, others: impl IntoIterator<Item = Pair>) -> Identities {
        Identities { pairs: std::iter::once(default).chain(others).collect() }
    }

    /// What a client is shown that asks for this name; the default without a name, or with one that is nobody's.
    // RFC 6066 §3: an unknown name need not end the handshake, and clients that know the server by its address alone
    // send names that are not ours.
    pub fn of(&self, name: Option<&str>) -> &Pair {
        let named = name.and_then(|name| self.pairs.iter().find(|pair| pair.names().cover(name)));
        named.unwrap_or(&self.pairs[0])
    }

    /// Whether what a client is shown that asks for this name is for the name and for an address.
    pub fn cover(&self, name: &str, address: IpAddr) -> bool {
        let names = self.of(Some(name)).names();
        names.cover(name) && names.cover_address(address)
    }

    /// All of them, the default first.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.of(hello.server_name()).certified))
    }
}
