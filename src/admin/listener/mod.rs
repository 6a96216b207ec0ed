//! The sockets of the admin API: bound first, served later, drained at the end.

mod activity;
mod connection;
mod error;
mod places;
mod tls;

pub use connection::Peer;
pub use error::StartError;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::settings::Settings;
use super::shell::Shell;
use crate::net::bind_freely;
use crate::tls::Server;
use connection::Connections;
use places::Places;
pub(super) use tls::settings as tls_settings;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 256;

/// The pause after an accept failed for want of descriptors: the next try would fail as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Sockets that are bound and serve nobody yet.
#[derive(Debug)]
pub struct Bound {
    settings: Settings,
    sockets: Vec<(StdListener, SocketAddr)>,
    tls: Option<Server>,
}

/// Checks the settings, reads the certificate and opens the sockets.
pub fn bind(settings: Settings) -> Result<Bound, StartError> {
    // Without tickets: what a client's certificate allows ends with the authority that signed it.
    let tls = tls_settings(&settings)?.map(|settings| Server::load(settings, None)).transpose()?;
    check_plaintext(&settings)?;
    let open = |address: &SocketAddr| {
        let open = open(*address, settings.freebind).and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (address, socket) = open.map_err(|source| StartError::bind(*address, source))?;
        Ok((socket, address))
    };
    let sockets = settings.listen.iter().map(open).collect::<Result<_, StartError>>()?;
    Ok(Bound { settings, sockets, tls })
}

/// Refuses what would carry tokens in the clear.
pub(super) fn check_plaintext(settings: &Settings) -> Result<(), StartError> {
    let is_exposed = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
    match settings.listen.iter().find(is_exposed) {
        Some(address) if settings.certificate.is_none() && !settings.allow_plaintext => {
            Err(StartError::Plaintext { address: *address })
        }
        _ => Ok(()),
    }
}

fn open(address: SocketAddr, freebind: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart takes the port back while old connections linger.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if freebind {
        bind_freely(&socket, address)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Bound {
    /// Where it listens, with the ports that were chosen for port 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(_, address)| *address).collect()
    }

    /// The settings that it was bound by.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Begins to answer by a router, within the bounds of its shell. Needs a tokio runtime.
    pub(super) fn serve_by(self, router: Router, shell: Arc<Shell>) -> Result<Serving, StartError> {
        let addresses = self.addresses();
        let (closing, ended, tasks) =
            (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let tls = self.tls.map(Arc::new);
        if let Some(tls) = &tls {
            let (tls, every, closing) = (Arc::clone(tls), self.settings.certificate_check, closing.clone());
            tasks.spawn(async move { closing.run_until_cancelled(tls.watch(every, tls::WHOSE)).await });
        }
        let connections = Arc::new(Connections {
            router,
            tls: tls.clone(),
            shell,
            closing: closing.clone(),
            ended: ended.clone(),
        });
        let places = Places::default();
        for (socket, address) in self.sockets {
            let socket =
                TcpListener::from_std(socket).map_err(|source| StartError::Bind { address, source })?;
            let accept = accept(socket, Arc::clone(&connections), places.clone(), tasks.clone());
            let closing = closing.clone();
            tasks.spawn(async move { closing.run_until_cancelled(accept).await });
        }
        Ok(Serving { addresses, tls, closing, ended, tasks })
    }
}

/// Sockets that answer; dropping them ends it at once.
pub(super) struct Serving {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) tls: Option<Arc<Server>>,
    closing: CancellationToken,
    ended: CancellationToken,
    tasks: TaskTracker,
}

impl Serving {
    /// Takes no more connections, lets requests end within `grace`, then ends what is left.
    pub(super) async fn drain(&self, grace: Duration) {
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            warn!(open = self.tasks.len(), "Requests of the admin API did not end in time");
            self.ended.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.closing.cancel();
        self.ended.cancel();
    }
}

/// Takes connections as long as there are places.
async fn accept(socket: TcpListener, connections: Arc<Connections>, places: Places, tasks: TaskTracker) {
    loop {
        let (stream, address) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                warn!(%error, "The admin API cannot take a connection now");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let limits = connections.shell.limits.load();
        let Some(place) = places.take(address.ip(), &limits) else {
            // Closed at once: an answer would take what there is too little of.
            connections.shell.counters.doors.crowded_connections.add(1);
            continue;
        };
        let connections = Arc::clone(&connections);
        tasks.spawn(async move {
            connections.serve(stream, address).await;
            drop(place);
        });
    }
}

/// Whether the connection is at fault, not the socket.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
