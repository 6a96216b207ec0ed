//! What a client of DNS over TLS sees.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use rcgen::CertifiedKey;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as ClientStream;

use super::super::echo::*;
use super::super::{Listening, Settings, TcpSettings, bind};
use super::*;
use crate::respond::Transport;
use crate::tls::{self, Ended, PairFiles};

const SHORT: Duration = Duration::from_millis(50);

/// A server with a certificate in a folder of its own.
struct Place {
    folder: TempDir,
    settings: Settings,
}

impl Place {
    fn new(change: impl FnOnce(&mut Settings)) -> Place {
        let folder = tempfile::tempdir().unwrap();
        write_pair(folder.path());
        let path = |name: &str| folder.path().join(name);
        let mut settings = settings(&["127.0.0.1:0"]);
        settings.tls = vec!["127.0.0.1:0".parse().unwrap()];
        settings.handshakes.certificate_check = Duration::from_millis(20);
        settings.certificates = Some(tls::Settings {
            default: PairFiles { certificate: path("tls.crt"), key: path("tls.key") },
            others: Vec::new(),
            client_ca: None,
            alpn: vec![b"dot"],
            ended: Ended::Refused,
        });
        change(&mut settings);
        Place { folder, settings }
    }

    fn listen(&self) -> (Arc<Echo>, Listening, SocketAddr) {
        let (echo, listening) = listen(&self.settings);
        let server = listening.tls_addresses()[0];
        (echo, listening, server)
    }

    /// A client that trusts what is in the folder now.
    fn client(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let pem = fs::read(self.folder.path().join("tls.crt")).unwrap();
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        client_with(roots)
    }
}

fn write_pair(folder: &Path) {
    let names = vec!["dns.example".to_owned()];
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    fs::write(folder.join("tls.crt"), cert.pem()).unwrap();
    fs::write(folder.join("tls.key"), signing_key.serialize_pem()).unwrap();
}

fn client_with(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

async fn connect(config: &Arc<ClientConfig>, server: SocketAddr) -> io::Result<ClientStream<TcpStream>> {
    let stream = TcpStream::connect(server).await?;
    let name = ServerName::try_from("dns.example").unwrap();
    soon(TlsConnector::from(config.clone()).connect(name, stream)).await
}

async fn asked(stream: &mut ClientStream<TcpStream>, number: u16) -> Option<u16> {
    // The server may have closed it already.
    let _ = stream.write_all(&frames(&[question(number, "a")])).await;
    let _ = stream.flush().await;
    receive_frame(stream).await.map(|message| id(&message))
}

async fn until_failed(listening: &Listening, failure: Failure, times: u64) {
    let counting = listening.counting();
    until(|| counting.0.failures[failure as usize].value() == times).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_come_as_over_tcp() {
    let place = Place::new(|_| {});
    let (echo, listening, server) = place.listen();
    let client = Arc::new(place.client());
    let mut stream = connect(&client, server).await.unwrap();
    let many: Vec<_> = (10..600).map(|number| question(number, "a")).collect();
    let questions = [&[question(1, "w"), question(2, "a"), question(3, "l")], &many[..]].concat();
    send_frames(&mut stream, &questions).await;
    stream.flush().await.unwrap();
    assert_eq!(receive_frame(&mut stream).await.map(|it| id(&it)), Some(2));
    assert_eq!(receive_frame(&mut stream).await.unwrap().len(), LARGE);
    for number in 10..600 {
        assert_eq!(receive_frame(&mut stream).await.map(|it| id(&it)), Some(number));
    }
    soon(echo.wait_for_at_gate(1)).await;
    echo.gate.send_replace(true);
    assert_eq!(receive_frame(&mut stream).await.map(|it| id(&it)), Some(1));
    let seen = echo.client.borrow().unwrap();
    assert_eq!((seen.transport, seen.local), (Transport::Tls, Some(server.ip())));
    assert_eq!(seen.address, stream.get_ref().0.local_addr().unwrap());
    let counts = listening.counters();
    assert_eq!((counts.tls.handshakes, counts.tcp.connections, counts.tcp.queries), (1, 1, 593));
    // Two goodbyes: that of TLS, which a client can tell from a cut, and that of TCP.
    let drained = tokio::spawn(listening.drain(Duration::from_secs(10)));
    assert_eq!(soon(stream.read(&mut [0])).await.unwrap(), 0);
    drop(stream);
    assert_eq!(soon(drained).await.unwrap().unfinished, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_ends_with_a_goodbye() {
    let tcp = TcpSettings { idle_timeout: SHORT, ..TcpSettings::default() };
    let place = Place::new(|settings| settings.tcp = tcp);
    let (_, listening, server) = place.listen();
    let mut stream = connect(&Arc::new(place.client()), server).await.unwrap();
    assert_eq!(asked(&mut stream, 1).await, Some(1));
    assert_eq!(soon(stream.read(&mut [0])).await.unwrap(), 0, "no error: it was closed by TLS");
    until(|| listening.counters().tcp.idle_timeouts == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_resumed_in_both_versions_and_past_a_reload() {
    let place = Place::new(|_| {});
    let (_, mut listening, server) = place.listen();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut roots = RootCertStore::empty();
        let pem = fs::read(place.folder.path().join("tls.crt")).unwrap();
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider);
        let client = client.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots);
        let client = Arc::new(client.with_no_client_auth());
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut stream = connect(&client, server).await.unwrap();
            assert_eq!(asked(&mut stream, 1).await, Some(1));
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected), "{version:?}");
        }
        let next = listening.rebind(&place.settings).unwrap().run(Echo::new(), &Handle::current()).unwrap();
        std::mem::replace(&mut listening, next).drain(Duration::from_secs(10)).await;
        let mut stream = connect(&client, server).await.unwrap();
        assert_eq!(asked(&mut stream, 1).await, Some(1));
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    }
    assert_eq!(listening.counters().tls.resumed_handshakes, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_and_ends_no_connection() {
    let place = Place::new(|_| {});
    let (_, _listening, server) = place.listen();
    let old = Arc::new(place.client());
    let mut stream = connect(&old, server).await.unwrap();
    assert_eq!(asked(&mut stream, 1).await, Some(1));
    write_pair(place.folder.path());
    soon(async {
        while connect(&Arc::new(place.client()), server).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(asked(&mut stream, 2).await, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_handshake_is_closed_and_counted_by_its_reason() {
    let place = Place::new(|settings| settings.handshakes.timeout = Duration::from_millis(300));
    let (_, listening, server) = place.listen();
    let mut garbage = TcpStream::connect(server).await.unwrap();
    garbage.write_all(&frames(&[question(1, "a")])).await.unwrap();
    let mut told = Vec::new();
    let _ = soon(garbage.read_to_end(&mut told)).await;
    assert!(told.len() < 16, "an alert at most: {told:?}");
    until_failed(&listening, Failure::NotTls, 1).await;
    // The beginning of a handshake, and silence.
    let mut half = TcpStream::connect(server).await.unwrap();
    half.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).await.unwrap();
    assert_eq!(soon(half.read(&mut [0])).await.unwrap_or(0), 0);
    until_failed(&listening, Failure::Timeout, 1).await;
    drop(TcpStream::connect(server).await.unwrap());
    until_failed(&listening, Failure::Closed, 1).await;
    let stranger = Arc::new(client_with(RootCertStore::empty()));
    connect(&stranger, server).await.unwrap_err();
    until_failed(&listening, Failure::Refused, 1).await;
    let mut http = place.client();
    http.alpn_protocols = vec![b"h2".to_vec()];
    connect(&Arc::new(http), server).await.unwrap_err();
    until_failed(&listening, Failure::Alpn, 1).await;
    let counts = listening.counters();
    assert_eq!((counts.tls.handshakes, counts.tcp.connections, counts.tcp.queries), (0, 5, 0));
    until(|| listening.counters().tcp.connections_closed == 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_one_client_is_served() {
    let place = Place::new(|_| {});
    let (_, listening, server) = place.listen();
    let client = Arc::new(place.client());
    let burst = (0..24).map(|number| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut stream = connect(&client, server).await.unwrap();
            assert_eq!(asked(&mut stream, number).await, Some(number));
        })
    });
    for one in burst.collect::<Vec<_>>() {
        soon(one).await.unwrap();
    }
    assert_eq!(listening.counters().tls.evicted_handshakes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_handshakes_keep_nobody_out() {
    let place = Place::new(|settings| {
        settings.handshakes.max = 16;
        settings.handshakes.per_client_max = 4;
    });
    let (_, listening, server) = place.listen();
    let mut attackers = Vec::new();
    for number in 0..100 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("127.0.1.{}:0", 1 + number % 20).parse().unwrap()).unwrap();
        let mut stream = socket.connect(server).await.unwrap();
        let _ = stream.write_all(&[22, 3, 1, 2, 0, 1]).await;
        attackers.push(stream);
    }
    until(|| listening.counters().tls.evicted_handshakes >= 84).await;
    let client = Arc::new(place.client());
    for number in 0..20 {
        let mut stream = connect(&client, server).await.unwrap();
        assert_eq!(asked(&mut stream, number).await, Some(number));
    }
    until_failed(&listening, Failure::Evicted, listening.counters().tls.evicted_handshakes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_loses_no_handshake_and_frees_what_is_no_longer_asked_for() {
    let place = Place::new(|_| {});
    let (_, mut listening, server) = place.listen();
    let client = Arc::new(place.client());
    for _ in 0..3 {
        let next = listening.rebind(&place.settings).unwrap();
        let clients = (0..4).map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for number in 0..10 {
                    let mut stream = connect(&client, server).await.unwrap();
                    assert_eq!(asked(&mut stream, number).await, Some(number));
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        let next = next.run(Echo::new(), &Handle::current()).unwrap();
        assert_eq!(listening.drain(Duration::from_secs(10)).await.unfinished, 0);
        for client in clients {
            soon(client).await.unwrap();
        }
        listening = next;
    }
    let other = Settings { tls: Vec::new(), ..place.settings.clone() };
    let next = listening.rebind(&other).unwrap().run(Echo::new(), &Handle::current()).unwrap();
    listening.drain(Duration::from_secs(10)).await;
    let again = Settings { tls: vec![server], ..place.settings.clone() };
    assert_eq!(bind(&again).unwrap().tls_addresses(), [server]);
    drop(next);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_of_a_proxy_comes_before_the_handshake() {
    let place = Place::new(|settings| settings.proxy_from = vec!["127.0.0.0/8".parse().unwrap()]);
    let (echo, listening, server) = place.listen();
    let client = Arc::new(place.client());
    connect(&client, server).await.unwrap_err();
    let mut stream = TcpStream::connect(server).await.unwrap();
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x35\x12\x34\x03\x55";
    stream.write_all(header).await.unwrap();
    let name = ServerName::try_from("dns.example").unwrap();
    let mut stream = soon(TlsConnector::from(client).connect(name, stream)).await.unwrap();
    assert_eq!(asked(&mut stream, 1).await, Some(1));
    let seen = echo.client.borrow().unwrap();
    assert_eq!((seen.address, seen.transport), ("192.0.2.7:4660".parse().unwrap(), Transport::Tls));
    assert_eq!(listening.counters().tcp.bad_proxy_headers, 1);
}
