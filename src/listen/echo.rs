//! A service for tests: the first letter of the name says what happens to a message.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Attempt, Ipv6, Listening, Service, Settings, bind};
use crate::dns::ExtendedError;
use crate::forward::Asker;
use crate::respond::{Aheads, Client, Missing};

/// Sends messages back with QR set; `w…` waits until the gate is opened, `p…` panics, `n…` gets no reply, `l…` a large one.
pub struct Echo {
    pub gate: watch::Sender<bool>,
    /// How many messages came to the gate.
    pub at_gate: watch::Sender<usize>,
    /// Who asked last.
    pub client: watch::Sender<Option<Client>>,
}

/// What marks the reply to a message that could not wait: SERVFAIL.
pub const REFUSED: u8 = 2;

/// Length of the reply to `l…`.
pub const LARGE: usize = 60_000;

impl Echo {
    pub fn new() -> Arc<Echo> {
        Arc::new(Echo {
            gate: watch::channel(false).0,
            at_gate: watch::channel(0).0,
            client: watch::channel(None).0,
        })
    }

    pub async fn wait_for_at_gate(&self, count: usize) {
        self.at_gate.subscribe().wait_for(|&at_gate| at_gate >= count).await.unwrap();
    }
}

impl Service for Echo {
    type View = ();
    type Ahead<'v> = ();

    fn view(&self) {}

    fn look_ahead<'v, 'm>(&self, (): &'v (), _: impl Iterator<Item = (&'m [u8], IpAddr)>) -> Aheads<()> {
        Aheads::new()
    }

    fn try_answer(
        &self,
        (): &(),
        _: Option<&()>,
        message: &[u8],
        client: Client,
        buffer: &mut [u8],
    ) -> Attempt {
        self.client.send_replace(Some(client));
        let length = match message.get(13) {
            Some(b'w') => return Attempt::Wait(Missing::UNKNOWN),
            Some(b'n') => return Attempt::Drop,
            Some(b'p') => panic!("a message asked for it"),
            Some(b'l') => LARGE,
            None => return Attempt::Drop,
            Some(_) => message.len(),
        };
        buffer[..message.len()].copy_from_slice(message);
        buffer[2] |= 0x80;
        Attempt::Reply(length)
    }

    fn refuse(
        &self,
        (): &(),
        message: &[u8],
        _: Client,
        _: Missing,
        _: ExtendedError,
        buffer: &mut [u8],
    ) -> Attempt {
        buffer[..message.len()].copy_from_slice(message);
        buffer[2] |= 0x80;
        buffer[3] |= REFUSED;
        Attempt::Reply(message.len())
    }

    async fn answer(
        self: Arc<Self>,
        mut message: Vec<u8>,
        _: Client,
        _: Asker,
        _: Missing,
    ) -> Option<Vec<u8>> {
        self.at_gate.send_modify(|count| *count += 1);
        if message.get(14) == Some(&b'p') {
            panic!("a message asked for it");
        }
        self.gate.subscribe().wait_for(|open| *open).await.ok()?;
        message[2] |= 0x80;
        Some(message)
    }
}

/// A question with this id; the name has one label.
pub fn question(id: u16, label: &str) -> Vec<u8> {
    let mut message = vec![0; 12];
    message[..2].copy_from_slice(&id.to_be_bytes());
    message[5] = 1;
    message.push(label.len() as u8);
    message.extend(label.as_bytes());
    message.extend([0, 0, 1, 0, 1]);
    message
}

pub fn id(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[0], message[1]])
}

/// Settings for one address of loopback, with one worker.
pub fn settings(dns: &[&str]) -> Settings {
    let dns = dns.iter().map(|address| address.parse().unwrap()).collect();
    Settings { dns, ipv6: Ipv6::Needed, workers: 1, ..Settings::default() }
}

pub fn listen(settings: &Settings) -> (Arc<Echo>, Listening) {
    let echo = Echo::new();
    let listening = bind(settings).unwrap().run(echo.clone(), &Handle::current()).unwrap();
    (echo, listening)
}

/// Waits for what must come; the bound is for tests that fail.
pub async fn soon<T>(coming: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), coming).await.expect("it comes within ten seconds")
}

/// Waits until `is` holds.
pub async fn until(is: impl Fn() -> bool) {
    soon(async {
        while !is() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A UDP client that takes replies from anywhere.
pub async fn udp_client(server: SocketAddr) -> UdpSocket {
    let any = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    UdpSocket::bind(any).await.unwrap()
}

/// The next datagram, and where it came from.
pub async fn receive(client: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65535];
    let (length, from) = soon(client.recv_from(&mut buffer)).await.unwrap();
    buffer.truncate(length);
    (buffer, from)
}

pub fn frames(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut frames = Vec::new();
    for message in messages {
        frames.extend((message.len() as u16).to_be_bytes());
        frames.extend(message);
    }
    frames
}

pub async fn send_frames(stream: &mut (impl AsyncWrite + Unpin), messages: &[Vec<u8>]) {
    stream.write_all(&frames(messages)).await.unwrap();
}

/// The next message; `None` if the server closed the connection.
pub async fn receive_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let length = soon(stream.read_u16()).await.ok()?;
    let mut message = vec![0; length.into()];
    soon(stream.read_exact(&mut message)).await.ok()?;
    Some(message)
}
