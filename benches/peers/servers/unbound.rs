//! NLnet Labs' Unbound, as a forwarder with the private-link zones in its authority.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Scene;
use crate::install;

pub const PACKAGE: &str = "unbound";

pub fn program() -> anyhow::Result<PathBuf> {
    install::program("unbound", PACKAGE)
}

pub fn command(scene: &Scene<'_>, folder: &Path, address: SocketAddr) -> anyhow::Result<Command> {
    // No validation, as ours has none; caches as large as ours; nothing asked that no client asked.
    let mut config = format!(
        "server:
    interface: {}@{}
    num-threads: 1
    username: \"\"
    chroot: \"\"
    directory: {folder:?}
    pidfile: {:?}
    use-syslog: no
    do-daemonize: no
    module-config: \"iterator\"
    do-not-query-localhost: no
    do-ip6: no
    msg-cache-size: 128m
    rrset-cache-size: 256m
    outgoing-range: 4096
    num-queries-per-thread: 4096
    minimal-responses: yes
    prefetch: no
    trust-anchor-signaling: no
    root-key-sentinel: no
remote-control:
    control-enable: no
",
        address.ip(),
        address.port(),
        folder.join("unbound.pid"),
    );
    for apex in &scene.zones.apexes {
        let file = scene.zones.file(apex);
        writeln!(
            config,
            "auth-zone:\n    name: {apex:?}\n    zonefile: {file:?}\n    for-downstream: yes\n    for-upstream: yes"
        )?;
    }
    if let Some(upstream) = scene.upstream {
        let (ip, port) = (upstream.ip(), upstream.port());
        writeln!(config, "forward-zone:\n    name: \".\"\n    forward-addr: {ip}@{port}")?;
    }
    let file = folder.join("unbound.conf");
    fs::write(&file, config)?;
    let mut command = Command::new(program()?);
    command.arg("-d").arg("-p").arg("-c").arg(file);
    Ok(command)
}
