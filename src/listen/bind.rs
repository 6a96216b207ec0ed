//! Opening the sockets, before anything is served.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::runtime::Handle;
use tracing::warn;

use super::Service;
use super::counters::Counters;
use super::limits::Connections;
use super::listening::{Closing, Listening};
use super::settings::{Ipv6, Settings};
use super::tcp::{Acceptor, TcpService, TcpSocket};
use super::udp::{self, RECEIVE_TIMEOUT, UdpSocket, UdpWorker};
use super::waiting::Waiting;
use crate::net::{ignore_path_mtu, tell_drops, tell_source};

/// Connections the kernel keeps until they are accepted; a burst of a second, cut to `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// Ports tried until one is free for UDP and TCP; a few of all ports are taken.
const FREE_PORT_ATTEMPTS_MAX: usize = 16;

/// Sockets that are bound and serve nobody yet.
#[derive(Debug)]
pub struct Bound {
    addresses: Vec<SocketAddr>,
    udp: Vec<Arc<UdpSocket>>,
    tcp: Vec<Arc<TcpSocket>>,
    counters: Arc<Counters>,
    settings: Settings,
}

/// Why the listeners cannot start, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "{address} ({transport}) is in use by another process: `ss {} 'sport = :{}'` shows by which{}",
        .transport.options(), .address.port(), resolved_hint(.address)
    )]
    InUse { address: SocketAddr, transport: Kind },
    #[error(
        "{address} ({transport}) may not be bound: port {} needs the capability CAP_NET_BIND_SERVICE; in a systemd \
         unit set `AmbientCapabilities=CAP_NET_BIND_SERVICE`, in a container add NET_BIND_SERVICE, elsewhere run \
         `setcap cap_net_bind_service=+ep` on the program, or listen on a port above 1023",
        .address.port()
    )]
    NotPermitted { address: SocketAddr, transport: Kind },
    #[error(
        "{address} ({transport}) is no address of this host: `ip address` shows those it has; \
         0.0.0.0 and [::] listen on all of them"
    )]
    NoSuchAddress { address: SocketAddr, transport: Kind },
    #[error(
        "{address} ({transport}) needs IPv6, which this host has switched off: remove it from `listen.dns`"
    )]
    NoIpv6 { address: SocketAddr, transport: Kind },
    #[error("{address} ({transport}) cannot be bound")]
    Other { address: SocketAddr, transport: Kind, source: io::Error },
    #[error("the threads and tasks of {address} cannot be started")]
    Start { address: SocketAddr, source: io::Error },
}

/// The transport a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Udp,
    Tcp,
}

/// Whether sockets of other processes may share the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// No: SO_REUSEPORT is set after binding, or it would hide that another process of this user has the port.
    Exclusive,
    /// Yes, since it is our own sockets that do.
    Shared,
}

/// Binds UDP and TCP for every address.
pub fn bind(settings: &Settings) -> Result<Bound, BindError> {
    bind_beside(settings, Vec::new(), Vec::new(), Arc::default())
}

/// Binds beside listeners that serve already, taking over of their sockets those whose address stays.
pub(super) fn bind_beside(
    settings: &Settings,
    held_udp: Vec<Arc<UdpSocket>>,
    held_tcp: Vec<Arc<TcpSocket>>,
    counters: Arc<Counters>,
) -> Result<Bound, BindError> {
    let workers = settings.worker_count();
    let settings = settings.clone();
    let mut bound = Bound { addresses: Vec::new(), udp: Vec::new(), tcp: Vec::new(), counters, settings };
    let mut asked: Vec<SocketAddr> = Vec::new();
    let is_first = held_udp.is_empty();
    for &address in &bound.settings.dns {
        if address.port() != 0 && asked.contains(&address) {
            continue;
        }
        asked.push(address);
        let is_ours = |socket: SocketAddr| address.port() != 0 && socket.port() == address.port();
        let sharing = match held_udp.iter().chain(&bound.udp).any(|socket| is_ours(socket.address)) {
            true => Sharing::Shared,
            false => Sharing::Exclusive,
        };
        let free_udp = |socket: &&Arc<UdpSocket>| {
            (socket.asked == address || socket.address == address)
                && !bound.udp.iter().any(|taken| taken.address == socket.address)
        };
        let mut udp: Vec<_> = held_udp.iter().filter(free_udp).cloned().collect();
        // Two addresses with port 0 are two ports.
        let first = udp.first().map(|socket| socket.address);
        udp.retain(|socket| Some(socket.address) == first);
        udp.truncate(workers);
        let tcp = held_tcp.iter().find(|socket| Some(socket.address) == first).cloned();
        let tcp = match tcp {
            Some(tcp) => tcp,
            None => {
                let (new_udp, new_tcp) = match open_both(address, &bound.settings, sharing) {
                    Err(error) if bound.settings.ipv6 == Ipv6::IfThere && error.is_for_want_of_ipv6() => {
                        // Once, not with each reload.
                        if is_first {
                            warn!("IPv6 is switched off on this host: {address} is left out, IPv4 is served");
                        }
                        continue;
                    }
                    opened => opened?,
                };
                udp = vec![Arc::new(new_udp)];
                Arc::new(new_tcp)
            }
        };
        while udp.len() < workers {
            udp.push(Arc::new(open_udp(address, tcp.address, &bound.settings, Sharing::Shared)?));
        }
        bound.addresses.push(tcp.address);
        bound.udp.append(&mut udp);
        bound.tcp.push(tcp);
    }
    Ok(bound)
}

impl Bound {
    /// The addresses bound, with their real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until the result is drained or dropped.
    pub fn run<S: Service>(self, service: Arc<S>, runtime: &Handle) -> Result<Listening, BindError> {
        let closing = Arc::<Closing>::default();
        // From here on an error drops `listening`, which ends what was started.
        let listening = Listening {
            addresses: self.addresses,
            counters: self.counters.clone(),
            closing: closing.clone(),
            udp: self.udp.iter().map(Arc::downgrade).collect(),
            tcp: self.tcp.iter().map(Arc::downgrade).collect(),
        };
        let tcp_settings = self.settings.tcp.clone();
        let waiting = Waiting::new(&self.settings, self.counters.clone());
        let shared = Arc::new(TcpService {
            service: service.clone(),
            connections: Connections::new(&tcp_settings),
            waiting: waiting.clone(),
            settings: tcp_settings,
            counters: self.counters.clone(),
            closing: closing.clone(),
        });
        let _context = runtime.enter();
        for socket in self.tcp {
            let address = socket.address;
            let acceptor = Acceptor::new(socket, shared.clone())
                .map_err(|source| BindError::Start { address, source })?;
            closing.tracker.spawn(acceptor.run());
        }
        for (index, socket) in self.udp.into_iter().enumerate() {
            let address = socket.address;
            let worker = UdpWorker {
                socket,
                service: service.clone(),
                counters: self.counters.for_worker(),
                waiting: waiting.clone(),
                closing: closing.clone(),
                runtime: runtime.clone(),
            };
            udp::spawn(worker, index).map_err(|source| BindError::Start { address, source })?;
        }
        Ok(listening)
    }
}

/// A UDP and a TCP socket of one port.
fn open_both(
    address: SocketAddr,
    settings: &Settings,
    sharing: Sharing,
) -> Result<(UdpSocket, TcpSocket), BindError> {
    let mut attempts = 1;
    loop {
        let udp = open_udp(address, address, settings, sharing)?;
        match open_tcp(udp.address, sharing) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(BindError::InUse { .. }) if address.port() == 0 && attempts < FREE_PORT_ATTEMPTS_MAX => {
                attempts += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn open_udp(
    asked: SocketAddr,
    address: SocketAddr,
    settings: &Settings,
    sharing: Sharing,
) -> Result<UdpSocket, BindError> {
    let open = || -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        ask_for_paths(&socket, address)?;
        // The kernel gives what it may; a smaller buffer drops earlier, and `kernel_drops` tells.
        let _ = socket.set_recv_buffer_size(settings.udp_buffer_size_bytes);
        let _ = socket.set_send_buffer_size(settings.udp_buffer_size_bytes);
        socket.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
        socket.set_write_timeout(Some(RECEIVE_TIMEOUT))?;
        bind_socket(&socket, address, sharing)?;
        let address = local_address(&socket)?;
        Ok(UdpSocket::new(socket, asked, address))
    };
    open().map_err(|source| BindError::new(address, Kind::Udp, source))
}

/// Has the kernel tell the address each datagram was sent to, where that is not the socket's own, and what it drops.
pub(super) fn ask_for_paths(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.ip().is_unspecified() {
        tell_source(socket, address)?;
    }
    tell_drops(socket);
    ignore_path_mtu(socket, address);
    Ok(())
}

fn open_tcp(address: SocketAddr, sharing: Sharing) -> Result<TcpSocket, BindError> {
    let open = || -> io::Result<TcpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Connections of an instance that just ended must not keep us from the port.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        bind_socket(&socket, address, sharing)?;
        socket.listen(BACKLOG)?;
        let address = local_address(&socket)?;
        Ok(TcpSocket { listener: socket.into(), address })
    };
    open().map_err(|source| BindError::new(address, Kind::Tcp, source))
}

fn bind_socket(socket: &Socket, address: SocketAddr, sharing: Sharing) -> io::Result<()> {
    if address.is_ipv6() {
        // 0.0.0.0 and [::] stand side by side, and no client has two spellings (RFC 4038 §4.2).
        socket.set_only_v6(true)?;
    }
    if sharing == Sharing::Shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    // Also of a socket that was bound alone: others of ours shall join it.
    socket.set_reuse_port(true)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

impl BindError {
    fn new(address: SocketAddr, transport: Kind, source: io::Error) -> BindError {
        match source.raw_os_error() {
            Some(libc::EADDRINUSE) => BindError::InUse { address, transport },
            Some(libc::EACCES | libc::EPERM) => BindError::NotPermitted { address, transport },
            Some(libc::EADDRNOTAVAIL) => BindError::NoSuchAddress { address, transport },
            Some(libc::EAFNOSUPPORT) if address.is_ipv6() => BindError::NoIpv6 { address, transport },
            _ => BindError::Other { address, transport, source },
        }
    }

    /// Whether the kernel has no IPv6: then it has no such sockets, or none of its addresses.
    fn is_for_want_of_ipv6(&self) -> bool {
        match self {
            BindError::NoIpv6 { .. } => true,
            BindError::NoSuchAddress { address, .. } => address.is_ipv6() && address.ip().is_unspecified(),
            _ => false,
        }
    }
}

impl Kind {
    /// The options of `ss` that list its sockets.
    fn options(self) -> &'static str {
        match self {
            Kind::Udp => "-lunp",
            Kind::Tcp => "-ltnp",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Kind::Udp => "UDP",
            Kind::Tcp => "TCP",
        })
    }
}

fn resolved_hint(address: &SocketAddr) -> &'static str {
    if address.port() != 53 {
        return "";
    }
    "; if it is systemd-resolved, set `DNSStubListener=no` in /etc/systemd/resolved.conf and restart it, \
     or list in `listen.dns` only addresses it does not use"
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::net;
    use std::time::Duration;

    use super::super::batch::Batch;
    use super::super::echo::*;
    use super::*;
    use crate::net::Wait;

    #[test]
    fn port_0_is_one_free_port_for_udp_and_tcp_and_never_the_same_twice() {
        let first = bind(&settings(&["127.0.0.1:0", "127.0.0.1:0"])).unwrap();
        let second = bind(&settings(&["127.0.0.1:0"])).unwrap();
        let mut ports: Vec<u16> =
            first.addresses().iter().chain(second.addresses()).map(|a| a.port()).collect();
        assert_eq!(ports.len(), 3);
        ports.sort();
        ports.dedup();
        assert_eq!(ports.len(), 3);
        let address = first.addresses()[0];
        assert_eq!(net::UdpSocket::bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(net::TcpListener::bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_port_in_use_is_an_error_that_says_how_to_find_by_whom() {
        let other = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let error = bind(&settings(&[&address.to_string()])).unwrap_err();
        let port = address.port();
        let expected = format!(
            "127.0.0.1:{port} (UDP) is in use by another process: `ss -lunp 'sport = :{port}'` shows by which"
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_tcp_port_in_use_is_an_error_too() {
        let other = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let error = bind(&settings(&[&address.to_string()])).unwrap_err();
        assert!(matches!(error, BindError::InUse { transport: Kind::Tcp, .. }), "{error}");
        assert!(error.to_string().contains("ss -ltnp"), "{error}");
    }

    #[test]
    fn another_server_that_shares_its_port_is_not_joined() {
        let first = bind(&settings(&["127.0.0.1:0"])).unwrap();
        let again = settings(&[&first.addresses()[0].to_string()]);
        assert!(matches!(bind(&again).unwrap_err(), BindError::InUse { transport: Kind::Udp, .. }));
    }

    #[test]
    fn a_failure_leaves_nothing_bound() {
        let free = bind(&settings(&["127.0.0.1:0"])).unwrap().addresses()[0];
        let error = bind(&settings(&[&free.to_string(), "192.0.2.1:53"])).unwrap_err();
        assert!(!matches!(error, BindError::InUse { .. }), "{error}");
        bind(&settings(&[&free.to_string()])).unwrap();
    }

    /// Runs where the kernel gives no IPv6 socket: as with `ipv6.disable=1`, but for one thread alone.
    fn without_ipv6<T: Send>(run: impl FnOnce() -> T + Send) -> T {
        let op = |code: u32, jump_true, jump_false, k| libc::sock_filter {
            code: code as u16,
            jt: jump_true,
            jf: jump_false,
            k,
        };
        let (load, equals, end) = (
            libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            libc::BPF_RET,
        );
        // The number of the call, then the low half of its first argument (seccomp(2)).
        let argument = if cfg!(target_endian = "big") { 20 } else { 16 };
        let mut filter = [
            op(load, 0, 0, 0),
            op(equals, 0, 3, libc::SYS_socket as u32),
            op(load, 0, 0, argument),
            op(equals, 0, 1, libc::AF_INET6 as u32),
            op(end, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32),
            op(end, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
                // SAFETY: the program lives until the call returns, and holds for this thread alone, which ends below.
                unsafe {
                    assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
                    let mode = libc::SECCOMP_MODE_FILTER;
                    assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program), 0);
                }
                run()
            });
            thread.join().unwrap()
        })
    }

    #[test]
    fn without_ipv6_in_the_kernel_the_default_is_served_on_ipv4_and_what_is_asked_for_is_an_error() {
        let both = settings(&["127.0.0.1:0", "[::]:0"]);
        let by_default = Settings { ipv6: Ipv6::IfThere, ..both.clone() };
        let bound = without_ipv6(|| bind(&by_default)).unwrap();
        assert!(bound.addresses().len() == 1 && bound.addresses()[0].is_ipv4(), "{:?}", bound.addresses());
        let error = without_ipv6(|| bind(&both)).unwrap_err();
        assert!(error.to_string().contains("remove it from `listen.dns`"), "{error}");
        // Where there is IPv6, or another reason, nothing is left out.
        let taken = bind(&settings(&["127.0.0.1:0"])).unwrap();
        let again = settings(&[&taken.addresses()[0].to_string()]);
        assert!(bind(&Settings { ipv6: Ipv6::IfThere, ..again }).is_err());
    }

    #[test]
    fn errors_say_what_to_do() {
        let error = |address: &str, code| {
            let source = io::Error::from_raw_os_error(code);
            BindError::new(address.parse().unwrap(), Kind::Udp, source)
        };
        let text = error("127.0.0.1:53", libc::EADDRINUSE).to_string();
        assert!(text.contains("systemd-resolved") && text.contains("DNSStubListener=no"), "{text}");
        let text = error("0.0.0.0:53", libc::EACCES).to_string();
        assert!(text.contains("port 53 needs the capability CAP_NET_BIND_SERVICE"), "{text}");
        let text = error("192.0.2.1:53", libc::EADDRNOTAVAIL).to_string();
        assert!(text.starts_with("192.0.2.1:53 (UDP) is no address of this host"), "{text}");
        let text = error("[::]:53", libc::EAFNOSUPPORT).to_string();
        assert!(text.starts_with("[::]:53 (UDP) needs IPv6"), "{text}");
        let other = error("127.0.0.1:53", libc::ENOMEM);
        assert_eq!(other.to_string(), "127.0.0.1:53 (UDP) cannot be bound");
        assert!(other.source().is_some());
    }

    #[test]
    fn all_addresses_and_one_of_them_may_stand_side_by_side() {
        let all = bind(&settings(&["0.0.0.0:0"])).unwrap();
        let port = all.addresses()[0].port();
        drop(all);
        let (all, one) = (format!("0.0.0.0:{port}"), format!("127.0.0.1:{port}"));
        assert_eq!(bind(&settings(&[&all, &one, &one])).unwrap().addresses().len(), 2);
    }

    #[test]
    fn each_address_gets_a_socket_a_worker() {
        let settings = Settings { workers: 3, ..settings(&["127.0.0.1:0", "127.0.0.2:0"]) };
        let bound = bind(&settings).unwrap();
        assert_eq!((bound.udp.len(), bound.tcp.len()), (6, 2));
    }

    #[test]
    fn a_retired_socket_is_given_nothing_new_and_keeps_what_it_has() {
        let bound = bind(&Settings { workers: 3, ..settings(&["0.0.0.0:0"]) }).unwrap();
        let mut server = bound.addresses()[0];
        server.set_ip(net::Ipv4Addr::LOCALHOST.into());
        let mut batch = Batch::new();
        let mut received = |socket: &UdpSocket| batch.receive(&socket.socket, Wait::No).unwrap_or(0);
        let send_from_60_ports = || {
            for _ in 0..60 {
                net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"question", server).unwrap();
            }
        };
        send_from_60_ports();
        bound.udp[1].retire().unwrap();
        let before: Vec<_> = bound.udp.iter().map(|socket| received(socket)).collect();
        assert!(before.iter().sum::<usize>() == 60 && before[1] > 0, "{before:?}");
        send_from_60_ports();
        let after: Vec<_> = bound.udp.iter().map(|socket| received(socket)).collect();
        assert!(after.iter().sum::<usize>() == 60 && after[1] == 0, "{after:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reload_keeps_the_ports_of_addresses_that_stay_and_frees_the_others() {
        let (_, first) = listen(&settings(&["127.0.0.1:0", "127.0.0.2:0"]));
        let [stays, goes] = first.addresses() else { panic!("two addresses") };
        let (stays, goes) = (*stays, *goes);
        let next = first.rebind(&settings(&["127.0.0.3:0", "127.0.0.1:0"])).unwrap();
        assert_eq!(next.addresses()[1], stays);
        let next = next.run(Echo::new(), &Handle::current()).unwrap();
        first.drain(Duration::from_secs(10)).await;
        bind(&settings(&[&goes.to_string()])).unwrap();
        // From one address of the port to all of them, with the first still there.
        let all = format!("0.0.0.0:{}", stays.port());
        let last = next.rebind(&settings(&[&all])).unwrap().run(Echo::new(), &Handle::current()).unwrap();
        next.drain(Duration::from_secs(10)).await;
        let client = udp_client(stays).await;
        client.send_to(&question(1, "a"), stays).await.unwrap();
        assert_eq!(receive(&client).await.1, stays);
        drop(last);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reload_that_fails_leaves_the_listeners_as_they_are() {
        let (_, listening) = listen(&settings(&["127.0.0.1:0"]));
        let server = listening.addresses()[0];
        let holder = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let other = holder.local_addr().unwrap();
        listening.rebind(&settings(&["127.0.0.1:0", &other.to_string()])).unwrap_err();
        drop(listening.rebind(&settings(&["127.0.0.1:0"])).unwrap());
        let client = udp_client(server).await;
        client.send_to(&question(1, "a"), server).await.unwrap();
        receive(&client).await;
    }
}
