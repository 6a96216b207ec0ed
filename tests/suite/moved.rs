//! A server whose address changes under it, in network namespaces of the test's own.

use std::io;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;

use privatelink_dns::dns::Rcode;

use crate::support::client::{ask, ask_tcp};
use crate::support::odd::good;
use crate::support::skip::skip;
use crate::support::test_daemon::TestDaemon;

/// Moves this thread, and those that it starts, to a network of their own.
fn leave_the_network() -> io::Result<()> {
    // SAFETY: the call takes no pointer, and changes this thread's network only.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Runs `ip` for each line, in this thread's network.
fn ip(lines: &str) -> io::Result<()> {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let output = Command::new("ip").args(line.split(' ')).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("ip {line}: {said}")));
        }
    }
    Ok(())
}

/// A network with a name server at `192.0.2.53` and `2001:db8::53` at the other end of `here`, which has no address yet.
fn network() -> io::Result<()> {
    leave_the_network()?;
    ip("link set lo up\nlink add here type veth peer name there")?;
    let (ready, is_ready) = channel();
    let (moved, is_moved) = channel();
    // The thread ends with the test process.
    thread::spawn(move || {
        // SAFETY: the call has no conditions.
        let thread = unsafe { libc::gettid() };
        ready.send(leave_the_network().map(|()| thread)).unwrap();
        if is_moved.recv().is_err() {
            return;
        }
        let set =
            "link set there up\naddr add 192.0.2.53/24 dev there\naddr add 2001:db8::53/64 dev there nodad";
        let sockets = ip(set)
            .and_then(|()| Ok([UdpSocket::bind("192.0.2.53:53")?, UdpSocket::bind("[2001:db8::53]:53")?]));
        let (sockets, result) = match sockets {
            Ok(sockets) => (Some(sockets), Ok(thread)),
            Err(error) => (None, Err(error)),
        };
        ready.send(result).unwrap();
        for socket in sockets.into_iter().flatten() {
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&good(&buffer[..length]), from);
                }
            });
        }
    });
    let other = is_ready.recv().unwrap()?;
    ip(&format!("link set there netns {other}\nlink set here up"))?;
    moved.send(()).unwrap();
    is_ready.recv().unwrap().map(|_| ())
}

/// Runs a test in a network of its own, where one can be made.
fn in_a_network(test: fn()) {
    let tested = thread::spawn(move || match network() {
        Ok(()) => test(),
        // Also in CI: what cannot be made there cannot be tested there.
        Err(error) => skip(format!("no network of its own can be made here: {error}")),
    });
    tested.join().unwrap();
}

/// Over both protocols, so that a lane asks and a flight does.
fn ask_all(daemon: &TestDaemon, round: &str) {
    for number in 0..40 {
        for (way, ask) in [("lane", ask as fn(_, &str, &str) -> _), ("flight", ask_tcp)] {
            let reply = ask(daemon.address, &format!("{way}{number}.{round}.vendor."), "A");
            assert_eq!(
                (reply.rcode, reply.answer.len()),
                (Rcode::NOERROR, 1),
                "{round}: {:?}",
                reply.extended_error
            );
        }
    }
}

#[test]
fn every_question_is_answered_when_the_ipv4_address_has_changed() {
    in_a_network(|| {
        ip("addr add 192.0.2.1/24 dev here").unwrap();
        let daemon = TestDaemon::start("[forward]\nupstreams = [\"192.0.2.53\"]\n", &[]);
        ask_all(&daemon, "before");
        ip("addr del 192.0.2.1/24 dev here\naddr add 192.0.2.2/24 dev here").unwrap();
        ask_all(&daemon, "after");
        // Without any address, and back.
        ip("addr del 192.0.2.2/24 dev here").unwrap();
        assert_eq!(ask(daemon.address, "lost.vendor.", "A").rcode, Rcode::SERVFAIL);
        assert_eq!(ask_tcp(daemon.address, "lost.vendor.", "AAAA").rcode, Rcode::SERVFAIL);
        ip("addr add 192.0.2.3/24 dev here").unwrap();
        assert_eq!(ask(daemon.address, "lost.vendor.", "A").rcode, Rcode::NOERROR);
        assert_eq!(ask_tcp(daemon.address, "lost.vendor.", "AAAA").rcode, Rcode::NOERROR);
        ask_all(&daemon, "back");
        daemon.stop();
    });
}

#[test]
fn every_question_is_answered_when_the_ipv6_address_has_changed() {
    in_a_network(|| {
        ip("addr add 2001:db8::1/64 dev here nodad").unwrap();
        let daemon = TestDaemon::start("[forward]\nupstreams = [\"2001:db8::53\"]\n", &[]);
        ask_all(&daemon, "before");
        ip("addr add 2001:db8::2/64 dev here nodad\naddr del 2001:db8::1/64 dev here").unwrap();
        ask_all(&daemon, "after");
        daemon.stop();
    });
}
