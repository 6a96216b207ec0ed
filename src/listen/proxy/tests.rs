//! Headers, and who is answered with them.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use super::super::echo::*;
use super::super::{Listening, Settings, TcpSettings};
use super::*;
use crate::respond::Transport;

/// A header: command and family as the protocol has them, and what stands behind.
fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [&SIGNATURE[..], &[0x20 | command, family], &length, rest].concat()
}

const V4: [u8; 12] = [192, 0, 2, 7, 192, 0, 2, 53, 0x12, 0x34, 0, 53];

fn of_client() -> Vec<u8> {
    header(PROXY, 0x12, &V4)
}

fn proxy() -> Client {
    Client::new("127.0.0.9:1".parse().unwrap(), Transport::Udp)
}

#[test]
fn a_header_tells_the_client_and_the_address_that_it_asked() {
    let read = |datagram: &[u8]| introduced(proxy(), datagram).map(|(client, rest)| (client, rest.to_vec()));
    let (client, message) = read(&[&of_client()[..], b"question"].concat()).unwrap();
    assert_eq!(
        (client.address, client.local),
        ("192.0.2.7:4660".parse().unwrap(), Some([192, 0, 2, 53].into()))
    );
    assert_eq!((client.standing, &message[..]), (Standing::Client, &b"question"[..]));
    // More behind the addresses, as HAProxy adds.
    let more = header(PROXY, 0x11, &[&V4[..], &[4, 0, 1, 0]].concat());
    assert_eq!(read(&more).unwrap().0, client);
    let v6 = |from: &str, to: &str| {
        let octets = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        header(PROXY, 0x22, &[&octets(from)[..], &octets(to), &[0, 9, 0, 53]].concat())
    };
    let (client, _) = read(&v6("2001:db8::7", "2001:db8::53")).unwrap();
    assert_eq!(
        (client.address, client.local),
        ("[2001:db8::7]:9".parse().unwrap(), Some("2001:db8::53".parse().unwrap()))
    );
    assert_eq!(read(&v6("::ffff:192.0.2.7", "::1")).unwrap().0.address.ip(), IpAddr::from([192, 0, 2, 7]));
    let (client, _) = read(&header(LOCAL, 0, &[])).unwrap();
    assert_eq!((client.address, client.standing), (proxy().address, Standing::Proxy));
    assert_eq!(read(&header(LOCAL, 0x11, &V4)).unwrap().0.standing, Standing::Proxy);
}

#[test]
fn what_is_no_header_tells_nothing() {
    let good = [&of_client()[..], b"question"].concat();
    for length in 0..of_client().len() {
        assert_eq!(introduced(proxy(), &good[..length]), None, "{length} bytes");
    }
    let mut other_signature = good.clone();
    other_signature[3] = 0;
    for bad in [
        other_signature,
        header(PROXY, 0, &V4),
        header(PROXY, 0x31, &[0; 216]),
        header(2, 0x11, &V4),
        header(PROXY, 0x11, &V4[..11]),
        header(PROXY, 0x21, &V4),
        header(PROXY, 0x11, &[0; REST_BYTES_MAX + 1]),
        b"PROXY TCP4 192.0.2.7 192.0.2.53 4660 53\r\n".to_vec(),
    ] {
        assert_eq!(introduced(proxy(), &bad), None, "{bad:02x?}");
    }
    let mut first_version = good;
    first_version[12] = 0x11;
    assert_eq!(introduced(proxy(), &first_version), None);
}

fn listening(change: impl FnOnce(&mut Settings)) -> (std::sync::Arc<Echo>, Listening, SocketAddr) {
    let mut settings = settings(&["127.0.0.1:0"]);
    settings.proxy_from = vec!["127.0.0.9/32".parse().unwrap()];
    change(&mut settings);
    let (echo, listening) = listen(&settings);
    let server = listening.addresses()[0];
    (echo, listening, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_proxies_are_those_of_their_clients_and_others_have_no_header() {
    let (echo, listening, server) = listening(|_| {});
    let proxy = UdpSocket::bind("127.0.0.9:0").await.unwrap();
    // Many at once, as they are looked ahead to; one waits, one cannot be read.
    proxy.send_to(&question(9, "a"), server).await.unwrap();
    for (number, label) in [(1, "a"), (2, "w"), (3, "a"), (4, "a"), (5, "a")] {
        let datagram = [of_client(), question(number, label)].concat();
        proxy.send_to(&datagram, server).await.unwrap();
    }
    soon(echo.wait_for_at_gate(1)).await;
    echo.gate.send_replace(true);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(id(&receive(&proxy).await.0));
    }
    ids.sort();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    let seen = echo.client.borrow().unwrap();
    assert_eq!((seen.address, seen.local), ("192.0.2.7:4660".parse().unwrap(), Some([192, 0, 2, 53].into())));
    until(|| listening.counters().udp.bad_proxy_headers == 1).await;
    // From elsewhere it is a message like any other.
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(&question(6, "a"), server).await.unwrap();
    assert_eq!(id(&receive(&client).await.0), 6);
    assert_eq!(echo.client.borrow().unwrap().address, client.local_addr().unwrap());
    client.send_to(&[of_client(), question(7, "a")].concat(), server).await.unwrap();
    assert_eq!(id(&receive(&client).await.0), 0x0D0A);
    assert_eq!(echo.client.borrow().unwrap().address, client.local_addr().unwrap());
}

async fn connect_as_proxy(server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    socket.connect(server).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_proxies_begin_with_a_header_and_count_for_their_clients() {
    let tcp = TcpSettings {
        connections_per_client_max: 1,
        message_timeout: Duration::from_millis(300),
        ..TcpSettings::default()
    };
    let (echo, listening, server) = listening(|settings| settings.tcp = tcp);
    let mut streams = Vec::new();
    for number in 1..=3 {
        let mut stream = connect_as_proxy(server).await;
        let mut address = V4;
        address[3] = number;
        let bytes = [header(PROXY, 0x11, &address), frames(&[question(number.into(), "a")])].concat();
        // In pieces, as a slow proxy sends it.
        for piece in bytes.chunks(10) {
            stream.write_all(piece).await.unwrap();
            stream.flush().await.unwrap();
        }
        assert_eq!(receive_frame(&mut stream).await.map(|it| id(&it)), Some(number.into()));
        assert_eq!(echo.client.borrow().unwrap().address.ip(), IpAddr::from([192, 0, 2, number]));
        streams.push(stream);
    }
    let counts = listening.counters().tcp;
    assert_eq!((counts.connections, counts.evicted, counts.connections_per_client_max_reached), (3, 0, 0));
    for nothing in [&frames(&[question(1, "a")])[..], &of_client()[..14]] {
        let mut stream = connect_as_proxy(server).await;
        stream.write_all(nothing).await.unwrap();
        assert!(receive_frame(&mut stream).await.is_none());
    }
    until(|| listening.counters().tcp.bad_proxy_headers == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_says_nothing_holds_up_no_end() {
    let tcp = TcpSettings { message_timeout: Duration::from_secs(3600), ..TcpSettings::default() };
    let (_, listening, server) = listening(|settings| settings.tcp = tcp);
    let mut silent = connect_as_proxy(server).await;
    let mut late = connect_as_proxy(server).await;
    let drained = tokio::spawn(listening.drain(Duration::from_secs(10)));
    let bytes = [of_client(), frames(&[question(1, "a")])].concat();
    late.write_all(&bytes).await.unwrap();
    assert_eq!(receive_frame(&mut late).await.map(|it| id(&it)), Some(1));
    assert!(receive_frame(&mut silent).await.is_none());
    assert_eq!(soon(drained).await.unwrap().unfinished, 0);
}
