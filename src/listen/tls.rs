//! What a connection passes before it asks over TLS: a handshake, with bounds (RFC 7858).

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::Service;
use super::connection::{Connection, TcpService};
use super::failure::Failure;
use super::limits::{Admitted, Connections};
use super::settings::HandshakeSettings;
use crate::respond::Client;
use crate::tls::Server;

/// Whose certificates they are, for the log.
pub(super) const WHOSE: &str = "DNS over TLS";

/// The door of all TLS sockets.
pub(super) struct TlsDoor {
    server: Arc<Server>,
    handshakes: Arc<Connections>,
    timeout: Duration,
}

impl TlsDoor {
    pub fn new(server: Arc<Server>, settings: &HandshakeSettings) -> TlsDoor {
        let handshakes = Connections::of_handshakes(settings);
        TlsDoor { server, handshakes, timeout: settings.timeout }
    }

    /// Makes the handshake, and has the connection served.
    pub async fn enter<S: Service>(
        self: Arc<Self>,
        stream: TcpStream,
        client: Client,
        place: Admitted,
        shared: Arc<TcpService<S>>,
    ) {
        let shaken = self.shake(stream, client, &place, &shared).await;
        let counters = &shared.counters;
        match shaken {
            Ok(stream) => {
                counters.tls.handshakes.add(1);
                let kind = stream.get_ref().1.handshake_kind();
                counters.tls.resumed_handshakes.add((kind == Some(rustls::HandshakeKind::Resumed)).into());
                // A task of its own, so that what handshakes need does not lie there as long as the connection; and what
                // is large in it is moved once.
                let connection = Connection::new(Box::new(stream), client, place, shared.clone());
                shared.closing.tracker.spawn(connection.serve());
            }
            Err(failure) => {
                counters.failures[failure as usize].add(1);
                counters.tcp.connections_closed.add(1);
            }
        }
    }

    async fn shake<S: Service>(
        &self,
        stream: TcpStream,
        client: Client,
        place: &Admitted,
        shared: &TcpService<S>,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let Ok(turn) = self.handshakes.admit(client.address.ip()) else { return Err(Failure::Evicted) };
        shared.counters.tls.evicted_handshakes.add(turn.evicted.into());
        let deadline = Instant::now() + self.timeout;
        let handshake = timeout_at(deadline, TlsAcceptor::from(self.server.config()).accept(stream));
        tokio::select! {
            biased;
            shaken = handshake => match shaken {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(error)) => {
                    debug!(client = %client.address, %error, "A TLS handshake failed");
                    Err(Failure::of(&error))
                }
                Err(_) => Err(Failure::Timeout),
            },
            _ = place.evicted() => Err(Failure::Evicted),
            _ = turn.evicted() => Err(Failure::Evicted),
            () = shared.closing.last_moment() => Err(Failure::Timeout),
        }
    }
}

#[cfg(test)]
mod tests;
