//! Opening the sockets, before anything is served.

use std::net::SocketAddr;
use std::sync::Arc;

use tracing::warn;

use super::counters::Counters;
use super::error::{BindError, Kind};
use super::settings::{Ipv6, Settings};
use super::sockets::{Sharing, TcpSocket, UdpSocket, open_both, open_tcp, open_udp};
use crate::tls::{Server, Tickets};

/// Sockets that are bound and serve nobody yet.
#[derive(Debug)]
pub struct Bound {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) udp: Vec<Arc<UdpSocket>>,
    pub(super) tcp: Vec<Arc<TcpSocket>>,
    pub(super) tls: Vec<Arc<TcpSocket>>,
    /// What handshakes are made with, if there are addresses of TLS.
    pub(super) server: Option<Arc<Server>>,
    pub(super) counters: Arc<Counters>,
    pub(super) settings: Settings,
}

/// What listeners have that serve already.
#[derive(Default)]
pub(super) struct Held {
    pub udp: Vec<Arc<UdpSocket>>,
    pub tcp: Vec<Arc<TcpSocket>>,
    pub tls: Vec<Arc<TcpSocket>>,
    pub tickets: Option<Tickets>,
}

/// Reads certificates, and binds every address.
pub fn bind(settings: &Settings) -> Result<Bound, BindError> {
    bind_beside(settings, Held::default(), Arc::default())
}

/// Binds beside listeners that serve already, taking over of their sockets those whose address stays.
pub(super) fn bind_beside(
    settings: &Settings,
    held: Held,
    counters: Arc<Counters>,
) -> Result<Bound, BindError> {
    let workers = settings.worker_count();
    let Held { udp: held_udp, tcp: held_tcp, tls: held_tls, tickets } = held;
    let server = server(settings, tickets)?;
    let mut bound = Bound {
        addresses: Vec::new(),
        udp: Vec::new(),
        tcp: Vec::new(),
        tls: Vec::new(),
        server,
        counters,
        settings: settings.clone(),
    };
    let is_first = held_udp.is_empty();
    for address in distinct(&bound.settings.dns) {
        let sharing = sharing(address, held_udp.iter().chain(&bound.udp).map(|socket| socket.address));
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
    bound.bind_tls(&held_tls)?;
    Ok(bound)
}

/// Addresses, each once; two with port 0 are two ports.
fn distinct(addresses: &[SocketAddr]) -> impl Iterator<Item = SocketAddr> {
    let is_first = |at: usize| addresses[at].port() == 0 || !addresses[..at].contains(&addresses[at]);
    (0..addresses.len()).filter(move |at| is_first(*at)).map(|at| addresses[at])
}

/// Whether the port of an address may be shared: with sockets of ours alone.
fn sharing(address: SocketAddr, mut ours: impl Iterator<Item = SocketAddr>) -> Sharing {
    match address.port() != 0 && ours.any(|own| own.port() == address.port()) {
        true => Sharing::Shared,
        false => Sharing::Exclusive,
    }
}

/// What handshakes are made with, by settings that have been read anew.
fn server(settings: &Settings, tickets: Option<Tickets>) -> Result<Option<Arc<Server>>, BindError> {
    let Some(certificates) = settings.certificates.clone().filter(|_| !settings.tls.is_empty()) else {
        return Ok(None);
    };
    let tickets = tickets.map_or_else(Tickets::new, Ok)?;
    Ok(Some(Arc::new(Server::load(certificates, Some(tickets))?)))
}

impl Bound {
    /// The addresses bound, with their real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The addresses of TLS, with their real ports.
    pub fn tls_addresses(&self) -> Vec<SocketAddr> {
        self.tls.iter().map(|socket| socket.address).collect()
    }

    fn bind_tls(&mut self, held: &[Arc<TcpSocket>]) -> Result<(), BindError> {
        for address in distinct(&self.settings.tls) {
            let sharing = sharing(address, held.iter().chain(&self.tls).map(|socket| socket.address));
            let is_free = |socket: &&Arc<TcpSocket>| {
                (socket.asked == address || socket.address == address)
                    && !self.tls.iter().any(|taken| taken.address == socket.address)
            };
            let socket = match held.iter().find(is_free) {
                Some(socket) => socket.clone(),
                None => Arc::new(open_tcp(address, address, Kind::Tls, &self.settings, sharing)?),
            };
            self.tls.push(socket);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use std::{io, net};

    use tokio::runtime::Handle;

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

    #[tokio::test(flavor = "multi_thread")]
    async fn an_address_that_comes_later_is_bound_by_freebind_alone_and_left_again() {
        for later in ["192.0.2.1:0", "[2001:db8::1]:0"] {
            let error = match bind(&settings(&[later])) {
                Err(BindError::NoIpv6 { .. }) => continue,
                bound => bound.unwrap_err(),
            };
            assert!(matches!(error, BindError::NoSuchAddress { .. }), "{error}");
            let freely = Settings { freebind: true, ..settings(&[later, "127.0.0.1:0"]) };
            let (_, first) = listen(&freely);
            assert_eq!(first.addresses()[0].ip(), later.parse::<SocketAddr>().unwrap().ip());
            // What is bound stays so, as long as it is asked for.
            let bound = first.rebind(&Settings { freebind: false, ..freely.clone() }).unwrap();
            assert_eq!(bound.addresses(), first.addresses());
            drop(bound);
            let next = first.rebind(&settings(&["127.0.0.1:0"])).unwrap();
            let next = next.run(Echo::new(), &Handle::current()).unwrap();
            assert_eq!(first.drain(Duration::from_secs(10)).await.unfinished, 0);
            drop(next);
        }
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
        drop(next);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reload_goes_from_one_address_of_a_port_to_all_with_the_first_still_there() {
        // A client of another test that left such a port a minute ago keeps all addresses of it from being bound.
        for _ in 0..50 {
            let (_, first) = listen(&settings(&["127.0.0.1:0"]));
            let stays = first.addresses()[0];
            let Ok(bound) = first.rebind(&settings(&[&format!("0.0.0.0:{}", stays.port())])) else {
                continue;
            };
            let last = bound.run(Echo::new(), &Handle::current()).unwrap();
            first.drain(Duration::from_secs(10)).await;
            let client = udp_client(stays).await;
            client.send_to(&question(1, "a"), stays).await.unwrap();
            assert_eq!(receive(&client).await.1, stays);
            return drop(last);
        }
        panic!("no port can be bound");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reload_gives_sockets_that_stay_the_new_buffers_and_others_beside_them() {
        let of = |workers, udp_buffer_size_bytes| Settings {
            workers,
            udp_buffer_size_bytes,
            ..settings(&["127.0.0.1:0"])
        };
        let (_, first) = listen(&of(1, 16 << 10));
        let bound = first.rebind(&of(3, 64 << 10)).unwrap();
        let sockets = bound.udp.clone();
        let room = || sockets.iter().map(|it| it.socket.recv_buffer_size().unwrap()).collect::<Vec<_>>();
        assert_eq!(
            room(),
            [2 * (16 << 10), 2 * (64 << 10), 2 * (64 << 10)],
            "nothing changes before it runs"
        );
        let next = bound.run(Echo::new(), &Handle::current()).unwrap();
        assert_eq!(room(), [2 * (64 << 10); 3]);
        first.drain(Duration::from_secs(10)).await;
        drop(next);
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
