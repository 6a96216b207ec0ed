//! Programs of others that run beside a test.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use super::client::PATIENCE;
use super::test_daemon::write;

/// A program that runs; dropping it kills it.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An Unbound with more lines in `server:` and with clauses behind it, and its address; none if it is not installed.
pub fn unbound(folder: &Path, server: &str, clauses: &str) -> Option<(Running, SocketAddr)> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        // Another test may take the port before Unbound does, which ends then.
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!(
            "server:\n  interface: 127.0.0.1@{}\n  directory: \"{}\"\n  pidfile: \"\"\n  username: \"\"\n  chroot: \"\"\n  \
             use-syslog: no\n  do-daemonize: no\n  do-not-query-localhost: no\n{server}{clauses}",
            free.port(),
            folder.display(),
        );
        write(folder, "unbound.conf", &config);
        let started =
            Command::new("unbound").arg("-c").arg(folder.join("unbound.conf")).stderr(Stdio::null()).spawn();
        let mut running = Running(started.ok()?);
        while began.elapsed() < PATIENCE && running.0.try_wait().unwrap().is_none() {
            if TcpStream::connect(free).is_ok() {
                return Some((running, free));
            }
            thread::yield_now();
        }
    }
    panic!("unbound does not start");
}
