//! The way to an upstream that is asked over connections: shared, kept, and made anew when they end.

mod connection;
mod dial;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::connection::Connection;
use self::dial::Dial;
use super::{Counters, Exchange, ExchangeError, Query, UpstreamAddress};
use crate::tls::{Shown, Trust};

/// Connections to one upstream: one is asked, and those beside it are silent. An upstream that is silent on all of them is
/// asked on the newest.
const CONNECTIONS_MAX: usize = 3;

/// Connections to all upstreams together.
pub(super) const LINKS_MAX: usize = 256;

/// A way to one upstream.
// The seam for what hickory-net carries: HTTPS and QUIC.
pub trait Link: Send + Sync {
    /// Sends a query and waits for its reply for as long as the caller does; its id may be renewed before.
    fn exchange<'a>(&'a self, query: &'a mut Query) -> Exchange<'a>;

    /// What is known of it.
    fn state(&self) -> LinkState;
}

/// What is known of a way to an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Connections that are open.
    pub connections: usize,
    /// How long the last connection took to be made, handshake and all.
    pub took: Option<Duration>,
    /// Whether its session was an earlier one resumed.
    pub is_resumed: bool,
    /// The certificate that was shown last.
    pub certificate: Option<Shown>,
    /// In words about the upstream, why the last one was not made.
    pub trouble: Option<String>,
}

impl fmt::Display for LinkState {
    /// `certificate for dns.example.com, by Example CA, until 2027-01-31; connected in 12 ms`
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.trouble.clone());
        parts.extend(self.certificate.as_ref().map(|shown| format!("certificate {shown}")));
        parts.extend(self.took.map(|took| {
            let session = if self.is_resumed { ", session resumed" } else { "" };
            format!("connected in {} ms{session}", took.as_millis())
        }));
        match parts.is_empty() {
            true => out.write_str("no connection was made yet"),
            false => out.write_str(&parts.join("; ")),
        }
    }
}

/// What all ways to upstreams share.
#[derive(Clone)]
pub(super) struct Links {
    counters: Arc<Counters>,
    /// One permit for each connection.
    room: Arc<Semaphore>,
}

impl Links {
    pub fn new(counters: Arc<Counters>) -> Links {
        Links { counters, room: Arc::new(Semaphore::new(LINKS_MAX)) }
    }

    /// A way to an upstream that is asked over connections; none to others.
    pub fn to(&self, address: &UpstreamAddress, trust: &Trust) -> Option<Arc<dyn Link>> {
        Some(Arc::new(StreamLink {
            socket: address.socket(),
            is_padded: address.peer().is_some(),
            dial: Arc::new(Dial::new(address, trust)?),
            links: self.clone(),
            connections: Mutex::default(),
        }))
    }
}

/// A way over streams: TCP, or TLS over it.
// hickory-net's DoT opens one connection a question in a cold burst, and sends neither SNI nor ALPN.
struct StreamLink {
    socket: SocketAddr,
    is_padded: bool,
    dial: Arc<Dial>,
    links: Links,
    /// The newest last.
    connections: Mutex<Vec<Arc<Connection>>>,
}

impl StreamLink {
    async fn ask(&self, query: &mut Query) -> Result<Vec<u8>, ExchangeError> {
        if self.is_padded {
            query.pad();
        }
        let mut is_asked_again = false;
        loop {
            let end = match self.connection()?.ask(query).await? {
                Ok(reply) => return Ok(reply),
                Err(end) => end,
            };
            // RFC 7766 §6.2.4: it may end at any time. One that answered others was of use; two that did not are none.
            if !end.was_open || (is_asked_again && !end.has_answered) {
                return Err(end.into());
            }
            is_asked_again = true;
            self.links.counters.asked_again.add(1);
        }
    }

    /// The connection that is asked now: the newest, or another if that is silent.
    fn connection(&self) -> Result<Arc<Connection>, ExchangeError> {
        let mut connections = self.connections.lock();
        connections.retain(|connection| !connection.has_ended());
        let now = Instant::now();
        if let Some(newest) = connections.last()
            && (connections.len() >= CONNECTIONS_MAX || !newest.is_silent(now))
        {
            return Ok(Arc::clone(newest));
        }
        let permit = Arc::clone(&self.links.room).try_acquire_owned();
        let permit = permit.map_err(|_| ExchangeError::TooManySockets)?;
        self.links.counters.connections_opened.add(1);
        let connection = Connection::open(self.socket, &self.dial, &self.links.counters, permit, now);
        connections.push(Arc::clone(&connection));
        Ok(connection)
    }
}

impl Link for StreamLink {
    fn exchange<'a>(&'a self, query: &'a mut Query) -> Exchange<'a> {
        Box::pin(self.ask(query))
    }

    fn state(&self) -> LinkState {
        let connections = self.connections.lock();
        let open = connections.iter().filter(|connection| connection.is_open()).count();
        LinkState { connections: open, ..self.dial.state() }
    }
}

impl Drop for StreamLink {
    /// Nobody asks by it any more; who is still waiting has its reply first.
    fn drop(&mut self) {
        self.connections.lock().iter().for_each(|connection| connection.leave());
    }
}
