//! How a connection to an upstream is made, and what became of the last one.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::LinkState;
use crate::forward::{ExchangeError, Protocol, UpstreamAddress};
use crate::tls::{Client, Peer, TlsError, Trust};

/// How long a connection may take to be made: one that takes longer answers no question in its time.
const DIAL_MAX: Duration = Duration::from_secs(4);

/// What is agreed on with servers that agree on protocols (RFC 7858 §3.2 has none; IANA registered it later).
const ALPN: &[&[u8]] = &[b"dot"];

/// A stream that DNS messages go over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Makes connections to one upstream.
pub(super) struct Dial {
    security: Option<Security>,
    state: Mutex<LinkState>,
}

/// How the other end proves its identity.
struct Security {
    peer: Arc<Peer>,
    trust: Trust,
    client: OnceLock<Result<Client, TlsError>>,
}

impl Dial {
    /// None for an upstream that is asked by datagrams.
    pub fn new(address: &UpstreamAddress, trust: &Trust) -> Option<Dial> {
        let security = match (address.protocol(), address.peer()) {
            (Protocol::Udp, _) => return None,
            (_, None) => None,
            (_, Some(peer)) => {
                Some(Security { peer: peer.clone(), trust: trust.clone(), client: OnceLock::new() })
            }
        };
        Some(Dial { security, state: Mutex::default() })
    }

    pub fn state(&self) -> LinkState {
        self.state.lock().clone()
    }

    /// A connection, once the other end has proved who it is.
    pub async fn connect(&self, to: SocketAddr) -> Result<Box<dyn Stream>, ExchangeError> {
        let begun = Instant::now();
        let connected = match timeout(DIAL_MAX, self.connect_and_shake(to)).await {
            Ok(connected) => connected,
            Err(_) => Err(ExchangeError::Network(std::io::ErrorKind::TimedOut.into())),
        };
        let certificate = self.security.as_ref().and_then(Security::shown);
        let mut state = self.state.lock();
        state.certificate = certificate.or(state.certificate.take());
        match connected {
            Ok((stream, is_resumed)) => {
                (state.took, state.is_resumed) = (Some(begun.elapsed()), is_resumed);
                state.trouble = None;
                Ok(stream)
            }
            Err(error) => {
                state.trouble = Some(match &error {
                    ExchangeError::Network(error) => format!("it cannot be reached: {}", error.kind()),
                    error => error.to_string(),
                });
                Err(error)
            }
        }
    }

    async fn connect_and_shake(&self, to: SocketAddr) -> Result<(Box<dyn Stream>, bool), ExchangeError> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let Some(security) = &self.security else { return Ok((Box::new(stream), false)) };
        let client = security.client().await?;
        let connector = TlsConnector::from(client.config());
        match connector.connect(client.server_name(), stream).await {
            Ok(stream) => {
                let kind = stream.get_ref().1.handshake_kind();
                Ok((Box::new(stream), kind == Some(rustls::HandshakeKind::Resumed)))
            }
            Err(error) => Err(match client.explain(&error) {
                Some(why) => ExchangeError::Tls(why.into()),
                None => error.into(),
            }),
        }
    }
}

impl Security {
    /// What handshakes are made with.
    async fn client(&self) -> Result<Client, ExchangeError> {
        let client = match self.client.get() {
            Some(client) => client.clone(),
            None => {
                let (peer, trust) = (self.peer.clone(), self.trust.clone());
                // The system's authorities are files.
                let made = tokio::task::spawn_blocking(move || Client::new(&peer, &trust, ALPN)).await;
                let made = made.map_err(|_| std::io::Error::from(std::io::ErrorKind::Interrupted))?;
                self.client.get_or_init(|| made).clone()
            }
        };
        client.map_err(|error| ExchangeError::Tls(error.to_string().into()))
    }

    fn shown(&self) -> Option<crate::tls::Shown> {
        self.client.get()?.as_ref().ok()?.shown()
    }
}
