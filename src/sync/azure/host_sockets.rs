//! The sockets that hosts are asked over: hickory's, and TLS of ours on its TCP.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_resolver::net::runtime::{RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::tls;

/// How long a handshake may take unless hickory says otherwise.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// Sockets to one upstream; with TLS what goes over TCP goes over it.
// hickory's own TLS would send no name (SNI), and its feature has rustls log what clients send.
#[derive(Clone)]
pub(super) struct HostSockets {
    pub plain: TokioRuntimeProvider,
    pub tls: Option<tls::Client>,
}

type Tcp = AsyncIoTokioAsStd<Either<TcpStream, Box<TlsStream<TcpStream>>>>;

impl RuntimeProvider for HostSockets {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = UdpSocket;
    type Tcp = Tcp;

    fn create_handle(&self) -> TokioHandle {
        self.plain.create_handle()
    }

    fn connect_tcp(
        &self,
        to: SocketAddr,
        from: Option<SocketAddr>,
        wait: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Tcp>>>> {
        let (connecting, tls) = (self.plain.connect_tcp(to, from, wait), self.tls.clone());
        Box::pin(async move {
            let AsyncIoTokioAsStd(stream) = connecting.await?;
            let Some(client) = tls else { return Ok(AsyncIoTokioAsStd(Either::Left(stream))) };
            let handshake = TlsConnector::from(client.config()).connect(client.server_name(), stream);
            match timeout(wait.unwrap_or(HANDSHAKE_MAX), handshake).await? {
                Ok(stream) => Ok(AsyncIoTokioAsStd(Either::Right(Box::new(stream)))),
                Err(error) => Err(client.explain(&error).map_or(error, io::Error::other)),
            }
        })
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<UdpSocket>>>> {
        self.plain.bind_udp(local, server)
    }
}
