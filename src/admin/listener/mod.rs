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

use arc_swap::ArcSwap;
use axum::Router;
use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::auth::Authenticator;
use super::counters::Counters;
use super::events::EventDoor;
use super::host::Hosts;
use super::settings::Settings;
use super::shell::Shell;
use super::{App, Parts, routes};
use connection::Connections;
use places::Places;
use tls::Tls;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 256;

/// The pause after an accept failed for want of descriptors: the next try would fail as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Sockets that are bound and serve nobody yet.
#[derive(Debug)]
pub struct Bound {
    settings: Settings,
    sockets: Vec<(StdListener, SocketAddr)>,
    tls: Option<Tls>,
}

/// Checks the settings, reads the certificate and opens the sockets.
pub fn bind(settings: Settings) -> Result<Bound, StartError> {
    let tls = Tls::of(&settings)?.map(Tls::load).transpose()?;
    check_plaintext(&settings)?;
    let open = |address: &SocketAddr| {
        let open = open(*address).and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (address, socket) = open.map_err(|source| StartError::Bind { address: *address, source })?;
        Ok((socket, address))
    };
    let sockets = settings.listen.iter().map(open).collect::<Result<_, StartError>>()?;
    Ok(Bound { settings, sockets, tls })
}

/// Refuses what would carry tokens in the clear.
fn check_plaintext(settings: &Settings) -> Result<(), StartError> {
    let is_exposed = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
    match settings.listen.iter().find(is_exposed) {
        Some(address) if settings.certificate.is_none() && !settings.allow_plaintext => {
            Err(StartError::Plaintext { address: *address })
        }
        _ => Ok(()),
    }
}

fn open(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart takes the port back while old connections linger.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
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

    /// Begins to answer. Needs a tokio runtime.
    pub fn serve(self, parts: Parts) -> Result<Running, StartError> {
        let addresses = self.addresses();
        let auth = Authenticator::new(&self.settings, parts.tokens, parts.refusals, parts.resolver)?;
        let counters = Arc::new(Counters::default());
        let events = Arc::new(EventDoor::new(self.settings.events.clone()));
        let app = App {
            server: parts.server,
            auth: Arc::new(auth),
            counters: Arc::clone(&counters),
            events: Arc::clone(&events),
            side: Arc::default(),
        };
        let limits = ArcSwap::from_pointee(self.settings.limits.clone());
        let hosts = ArcSwap::from_pointee(Hosts::of(&self.settings));
        let shell =
            Arc::new(Shell { limits, hosts, counters: Arc::clone(&counters), budget: Arc::default() });
        let router: Router = routes::router(app.clone(), Arc::clone(&shell), parts.more);
        let (closing, ended, tasks) =
            (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let tls = self.tls.map(Arc::new);
        if let Some(tls) = &tls {
            let (tls, every, closing) = (Arc::clone(tls), self.settings.certificate_check, closing.clone());
            tasks.spawn(async move { closing.run_until_cancelled(tls.watch(every)).await });
        }
        let connections = Arc::new(Connections {
            router,
            tls: tls.clone(),
            shell: Arc::clone(&shell),
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
            let scheme = if tls.is_some() { "https" } else { "http" };
            info!(%address, "The admin API is at {scheme}://{address}/api/docs");
        }
        let settings = Mutex::new(self.settings);
        Ok(Running { addresses, settings, auth: app.auth, events, shell, tls, closing, ended, tasks })
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
            connections.shell.counters.crowded.add(1);
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

/// The admin API while it answers; dropping it stops it at once.
pub struct Running {
    addresses: Vec<SocketAddr>,
    settings: Mutex<Settings>,
    auth: Arc<Authenticator>,
    events: Arc<EventDoor>,
    shell: Arc<Shell>,
    tls: Option<Arc<Tls>>,
    closing: CancellationToken,
    ended: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Goes on with other settings, or, if they are wrong, with those it has.
    // Addresses, and whether they speak TLS, are decided once: sockets are bound before privileges are dropped.
    pub fn reload(&self, new: Settings) -> Result<(), StartError> {
        let mut settings = self.settings.lock();
        if settings.listen != new.listen {
            return Err(StartError::Restart { key: "listen" });
        }
        check_plaintext(&new)?;
        let rules = self.auth.prepare(&settings, &new)?;
        let tls = Tls::of(&new)?;
        // The last that may fail: either all changes or nothing.
        match (&self.tls, tls) {
            (Some(running), Some(files)) => running.reload(files)?,
            (None, None) => {}
            _ => return Err(StartError::Restart { key: "certificate" }),
        }
        if let Some(rules) = rules {
            self.auth.adopt(rules);
        }
        self.shell.limits.store(Arc::new(new.limits.clone()));
        self.shell.hosts.store(Arc::new(Hosts::of(&new)));
        self.events.adopt(new.events.clone());
        *settings = new;
        Ok(())
    }

    /// Takes no more connections, lets requests end within `grace`, then ends what is left.
    pub async fn drain(&self, grace: Duration) {
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            warn!(open = self.tasks.len(), "Requests of the admin API did not end in time");
            self.ended.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.closing.cancel();
        self.ended.cancel();
    }
}
