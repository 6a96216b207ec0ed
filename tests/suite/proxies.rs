//! Proxies in front: whom they speak for decides what is answered.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use privatelink_dns::dns::{Message, Rcode};

use crate::support::client::{PATIENCE, answers, ask_from, packet};
use crate::support::running::Running;
use crate::support::skip::skip;
use crate::support::test_daemon::{TestDaemon, write};

const ZONE: &str = "@ 60 IN SOA ns hostmaster 7 3600 300 2419200 60\n@ 60 IN NS ns\na 60 IN A 10.0.0.1\n";

fn daemon(proxy: &str) -> TestDaemon {
    let config = format!(
        "# proxy {proxy}\n[forward]\nupstreams = []\n[access]\nallow = [\"192.0.2.0/24\", \"127.0.0.8\"]\n\
         [[network]]\nname = \"inner\"\nclients = [\"192.0.2.0/25\"]\n\
         [[zone]]\nname = \"inner.internal\"\nfile = \"a.zone\"\nnetworks = [\"inner\"]\n\
         [[zone]]\nname = \"open.internal\"\nfile = \"a.zone\"\n"
    );
    TestDaemon::start(&config, &[("a.zone", ZONE)])
}

/// A header for this client; none is of the kind LOCAL.
fn header(client: Option<[u8; 4]>) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    match client {
        None => header.extend([0x20, 0, 0, 0]),
        Some(client) => {
            header.extend([0x21, 0x11, 0, 12]);
            header.extend(client);
            header.extend([192, 0, 2, 53, 0x12, 0x34, 0, 53]);
        }
    }
    header
}

/// What a client is answered over UDP and over TCP, each behind a proxy: code, answers, extended error.
fn asked(server: SocketAddr, client: Option<[u8; 4]>, name: &str) -> (Rcode, Vec<String>, Option<u16>) {
    let (header, question) = (header(client), packet(name, "A"));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&[&header[..], &question].concat(), server).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).expect("a reply");
    let udp = Message::read(&buffer[..length]).unwrap();
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = (question.len() as u16).to_be_bytes();
    stream.write_all(&[&header[..], &length, &question].concat()).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut reply = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut reply).unwrap();
    let tcp = Message::read(&reply).unwrap();
    let of =
        |reply: &Message| (reply.rcode, answers(reply), reply.extended_error.as_ref().map(|(code, _)| *code));
    assert_eq!(of(&udp), of(&tcp), "{client:?} {name}");
    of(&udp)
}

#[test]
fn the_client_behind_a_proxy_decides_and_the_proxy_does_not() {
    let daemon = daemon("127.0.0.1");
    let ask = |client, name| asked(daemon.address, client, name);
    let inner = "inner.internal.";
    let answer = |zone: &str| (Rcode::NOERROR, vec![format!("a.{zone} 60 A 10.0.0.1")], None);
    assert_eq!(ask(Some([192, 0, 2, 7]), "a.inner.internal."), answer(inner));
    assert_eq!(ask(Some([192, 0, 2, 200]), "a.open.internal."), answer("open.internal."));
    assert_ne!(ask(Some([192, 0, 2, 200]), "a.inner.internal."), answer(inner), "it is of no network");
    let refused = (Rcode::REFUSED, Vec::new(), Some(18));
    assert_eq!(ask(Some([198, 51, 100, 1]), "a.open.internal."), refused);
    // The proxy itself is answered as nobody's client, though `access` does not name it.
    assert_eq!(ask(None, "a.open.internal."), answer("open.internal."));
    assert_ne!(ask(None, "a.inner.internal."), answer(inner));
    // Who is no proxy is asked for no header, and `access` is about its own address.
    let direct = |client| ask_from(client, daemon.address, "a.open.internal.", "A").rcode;
    assert_eq!(direct(Ipv4Addr::new(127, 0, 0, 8)), Rcode::NOERROR);
    assert_eq!(direct(Ipv4Addr::new(127, 0, 0, 7)), Rcode::REFUSED);
    daemon.stop();
}

#[test]
fn dnsdist_speaks_for_its_clients() {
    let daemon = daemon("127.0.0.1");
    let folder = daemon.folder.path();
    let began = Instant::now();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!(
        "setLocal(\"{free}\")\nsetACL({{\"127.0.0.0/8\"}})\nsetSecurityPollSuffix(\"\")\n\
         newServer({{address=\"{}\", useProxyProtocol=true, checkName=\"a.open.internal.\"}})\n",
        daemon.address
    );
    write(folder, "dnsdist.conf", &config);
    let mut dnsdist = Command::new("dnsdist");
    dnsdist.args(["--supervised", "--disable-syslog", "-C"]).arg(folder.join("dnsdist.conf"));
    let Ok(child) = dnsdist.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        skip("dnsdist is not installed");
        return daemon.stop();
    };
    let _running = Running(child);
    let ask = |client: Ipv4Addr| {
        let socket = UdpSocket::bind((client, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut buffer = [0; 4096];
        // It answers once it has seen that the server is there, by questions with headers of its own.
        loop {
            assert!(began.elapsed() < PATIENCE, "dnsdist does not answer");
            if socket.send_to(&packet("a.open.internal.", "A"), free).is_ok()
                && let Ok(length) = socket.recv(&mut buffer)
            {
                return Message::read(&buffer[..length]).unwrap().rcode;
            }
            thread::yield_now();
        }
    };
    assert_eq!(ask(Ipv4Addr::new(127, 0, 0, 8)), Rcode::NOERROR);
    assert_eq!(ask(Ipv4Addr::new(127, 0, 0, 7)), Rcode::REFUSED);
    daemon.stop();
}
