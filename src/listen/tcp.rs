//! One TCP socket and the task that accepts its connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::Service;
use super::connection::{Connection, TcpService};
use super::limits::Refusal;
use super::proxy::introduce;
use super::sockets::TcpSocket;
use super::tls::TlsDoor;
use crate::respond::{Client, Transport};

/// Pause after `accept` failed for want of file descriptors or memory, which would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The task of one TCP socket.
pub struct Acceptor<S> {
    socket: Arc<TcpSocket>,
    listener: TcpListener,
    /// What a connection passes before it asks, where it speaks TLS.
    door: Option<Arc<TlsDoor>>,
    shared: Arc<TcpService<S>>,
}

impl<S: Service> Acceptor<S> {
    /// To be called within a runtime.
    pub fn new(
        socket: Arc<TcpSocket>,
        door: Option<Arc<TlsDoor>>,
        shared: Arc<TcpService<S>>,
    ) -> io::Result<Acceptor<S>> {
        // A copy, since two generations of listeners may be registered with the runtime at once.
        let listener = TcpListener::from_std(socket.listener.try_clone()?)?;
        Ok(Acceptor { socket, listener, door, shared })
    }

    /// Accepts until `closing`; then whatever is queued still, unless another has taken over the socket.
    pub async fn run(self) {
        let Acceptor { socket, listener, door, shared } = self;
        loop {
            let accepted = tokio::select! {
                biased;
                () = shared.closing.asked() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => shared.admit(stream, peer, door.as_ref()),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if shared.counters.tcp.accept_failures.value() == 0 {
                        let address = socket.address;
                        warn!(%address, %error, "Accepting on {address} failed");
                    }
                    shared.counters.tcp.accept_failures.add(1);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        if Arc::into_inner(socket).is_none() {
            return;
        }
        let Ok(listener) = listener.into_std() else { return };
        loop {
            match listener.accept() {
                Ok((stream, peer)) => {
                    if stream.set_nonblocking(true).is_ok()
                        && let Ok(stream) = TcpStream::from_std(stream)
                    {
                        shared.admit(stream, peer, door.as_ref());
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => return,
            }
        }
    }
}

impl<S: Service> TcpService<S> {
    fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, door: Option<&Arc<TlsDoor>>) {
        // Replies are written whole; waiting for more to send with them would only delay them.
        let _ = stream.set_nodelay(true);
        let transport = if door.is_some() { Transport::Tls } else { Transport::Tcp };
        let client = Client {
            local: stream.local_addr().ok().map(|address| address.ip()),
            keepalive_100ms: Some(self.settings.keepalive_100ms()),
            ..Client::new(peer, transport)
        };
        let door = door.cloned();
        match self.proxies.cover(peer.ip()) {
            false => self.take(stream, client, door),
            true => drop(self.closing.tracker.spawn(self.clone().introduce(stream, client, door))),
        }
    }

    /// Waits for a proxy to say whom it speaks for.
    async fn introduce(self: Arc<Self>, mut stream: TcpStream, proxy: Client, door: Option<Arc<TlsDoor>>) {
        let Ok(turn) = self.introductions.admit(proxy.address.ip()) else { return };
        let introduced = tokio::select! {
            introduced = timeout(self.settings.message_timeout, introduce(proxy, &mut stream)) => introduced,
            _ = turn.evicted() => return,
            () = self.closing.last_moment() => return,
        };
        match introduced {
            Ok(Ok(client)) => self.take(stream, client, door),
            Ok(Err(_)) | Err(_) => self.counters.tcp.bad_proxy_headers.add(1),
        }
    }

    fn take(self: &Arc<Self>, stream: TcpStream, client: Client, door: Option<Arc<TlsDoor>>) {
        let counters = &self.counters.tcp;
        let place = match self.connections.admit(client.address.ip()) {
            Ok(place) => place,
            Err(Refusal::Total) => return counters.connections_max_reached.add(1),
            Err(Refusal::Client) => return counters.connections_per_client_max_reached.add(1),
        };
        counters.connections.add(1);
        counters.evicted.add(place.evicted.into());
        let tracker = &self.closing.tracker;
        match door {
            None => drop(tracker.spawn(Connection::new(stream, client, place, self.clone()).serve())),
            Some(door) => drop(tracker.spawn(door.enter(stream, client, place, self.clone()))),
        }
    }
}

/// Whether an error of `accept` tells of the connection rather than of the listener (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::PermissionDenied
    )
}
